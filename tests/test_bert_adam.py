"""BertAdam: its update worked by hand, its schedules, and the habits of torch's optimisers."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from vmrlib.engine.bert_adam import BertAdam, warmup_schedule


def parameter(*values, gradient=None):
    made = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    made.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float64)
    return made


def test_an_update_is_the_one_worked_by_hand():
    weight = parameter(2.0, gradient=[0.5])
    optimiser = BertAdam([weight], lr=0.1, betas=(0.9, 0.99), eps=0.0, weight_decay=0.01)
    optimiser.step()  # m = .05, v = .0025: m / sqrt(v) = 1, and the decay adds .02
    assert weight.item() == pytest.approx(2.0 - 0.1 * (1.0 + 0.02))
    weight.grad = torch.tensor([-0.5], dtype=torch.float64)
    before = weight.item()
    optimiser.step()  # m = .045 - .05 = -.005, v = .002475 + .0025 = .004975
    assert weight.item() == pytest.approx(before - 0.1 * (-0.005 / math.sqrt(0.004975) + 0.01 * before))


def test_every_tensor_is_clipped_on_its_own():
    long, short = parameter(0.0, 0.0, gradient=[3.0, 4.0]), parameter(0.0, gradient=[0.1])
    optimiser = BertAdam([long, short], lr=1.0, betas=(0.0, 0.0), eps=1.0)
    optimiser.step()  # the long one becomes (.6, .8); p = -g / (|g| + 1)
    torch.testing.assert_close(
        long.detach(), torch.tensor([-0.6 / 1.6, -0.8 / 1.8]).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(short.detach(), torch.tensor([-0.1 / 1.1]).double())
    assert long.grad.tolist() == [3.0, 4.0], "the gradient itself stays"


def test_groups_have_their_own_options_and_no_gradient_means_no_change():
    decayed, plain, idle = parameter(1.0, gradient=[0.0]), parameter(1.0, gradient=[0.0]), parameter(1.0)
    groups = [{"params": [decayed, idle], "weight_decay": 0.5, "lr": 0.2}, {"params": [plain]}]
    BertAdam(groups, lr=0.1).step()
    assert [each.item() for each in (decayed, plain, idle)] == [0.9, 1.0, 1.0]


def test_a_state_dict_goes_on_where_it_was():
    def run(steps, weight, optimiser):
        for number in steps:
            weight.grad = torch.tensor([math.sin(number)], dtype=torch.float64)
            optimiser.step()

    whole = parameter(1.0)
    optimiser = BertAdam([whole], lr=0.1)
    run(range(3), whole, optimiser)
    again = nn.Parameter(whole.detach().clone())
    other = BertAdam([again], lr=9.0)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))  # else both change one state
    run(range(3, 6), whole, optimiser)
    run(range(3, 6), again, other)
    assert again.item() == whole.item() != 1.0


def test_a_closure_gives_the_loss():
    weight = parameter(3.0)
    optimiser = BertAdam([weight], lr=0.1)

    def closure():
        optimiser.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    losses = [optimiser.step(closure).item() for _ in range(40)]
    assert losses[0] == 9.0 and losses[-1] < 1.0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.0, 0.5, 1.0, 5 / 8, 0.0, 0.0]),
        ("cosine", [0.0, 0.5, (1 + math.cos(0.2 * math.pi)) / 2, 0.5, 0.0, 0.0]),
    ],
)
def test_a_schedule_starts_at_zero_and_ends_as_documented(kind, expected):
    factor = warmup_schedule(kind, total=10, warmup=0.2)
    assert [factor(step) for step in (0, 1, 2, 5, 10, 12)] == pytest.approx(expected)


def test_the_first_step_of_a_warm_up_moves_nothing():
    weight = parameter(1.0)
    optimiser = BertAdam([weight], lr=0.1)
    schedule, values = LambdaLR(optimiser, warmup_schedule("linear", total=10, warmup=0.2)), []
    for _ in range(3):
        weight.grad = torch.ones(1, dtype=torch.float64)
        optimiser.step()
        schedule.step()
        values.append(weight.item())
    assert values[0] == 1.0 > values[1] > values[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr: expected 0 or more, found -1.0"),
        ({"eps": math.nan}, "eps: expected 0 or more, found nan"),
        ({"weight_decay": math.inf}, "weight_decay: expected 0 or more, found inf"),
        ({"max_norm": 0.0}, "max_norm: expected a number above 0, found 0.0"),
        ({"betas": (0.9, 1.0)}, "betas: expected numbers from 0 to below 1"),
    ],
)
def test_impossible_options_are_refused_in_every_group(options, message):
    with pytest.raises(ValueError, match=message):
        BertAdam([parameter(1.0)], **options)
    with pytest.raises(ValueError, match=message):
        BertAdam([{"params": [parameter(1.0)], **options}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("square", 10, 0.1), "kind: expected one of constant, linear, cosine, found 'square'"),
        (("linear", 0, 0.1), "total: expected a number of steps above 0, found 0"),
        (("linear", 10, 1.0), "warmup: expected a share from 0 to below 1, found 1.0"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        warmup_schedule(*arguments)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(3, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="no sparse gradients"):
        BertAdam(table.parameters()).step()

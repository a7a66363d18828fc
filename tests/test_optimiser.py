"""Which optimiser the settings choose, what it is given, and a run with BertAdam that was broken off."""

import json
from dataclasses import replace

import pytest
import torch
from test_reloclnet import SMALL, built
from toy_training import ToyModel, toy_run, toy_settings

from vmrlib import checkpoints
from vmrlib.engine.bert_adam import BertAdam
from vmrlib.engine.optimiser import make_optimiser
from vmrlib.training import TrainingError, TrainingSettings

CPU = torch.device("cpu")
# of 24 steps six grow and eighteen fall
BERT = {"optimizer": "bert_adam", "schedule": "linear", "warmup_steps": 6, "clip_norm": 0.5}


class KilledError(Exception):
    """What ends a run in the middle."""


def toy_model():
    torch.manual_seed(0)
    return ToyModel()


def killed_after(step):
    def look(record):
        if record["step"] == step and "losses" in record:
            raise KilledError

    return look


def rates_and_losses(log):
    return [(r["learning_rate"], r["losses"]["total"]) for r in log if "losses" in r]


def test_the_settings_choose_the_optimiser():
    model = ToyModel()
    assert isinstance(make_optimiser(model, toy_settings(), CPU), torch.optim.AdamW)
    found = make_optimiser(model, toy_settings(**BERT), CPU)
    assert isinstance(found, BertAdam) and len(found.param_groups) == 1
    assert found.param_groups[0]["max_norm"] == 0.5, "it clips each tensor"


@pytest.mark.parametrize("choice", [{}, BERT], ids=["adamw", "bert_adam"])
def test_the_model_says_which_parameters_decay(choice):
    model = built(SMALL)
    decayed, others = make_optimiser(model, toy_settings(**choice), CPU).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_learning_rates_of_bert_adam_by_hand():
    settings = TrainingSettings(steps=14, learning_rate=2.0, **(BERT | {"warmup_steps": 4}))
    rates = [settings.learning_rate_at(step, 14) for step in range(14)]
    assert rates[:5] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    assert rates[9] == pytest.approx(1.0) and rates[13] == pytest.approx(0.2)
    constant = replace(settings, schedule="constant", warmup_steps=0)
    assert {constant.learning_rate_at(step, 14) for step in range(14)} == {2.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "sgd"}, "training.optimizer: expected one of adamw, bert_adam, found 'sgd'"),
        (
            {"optimizer": "bert_adam", "schedule": "plateau"},
            "training.schedule: expected one of constant, linear, cosine, found 'plateau'",
        ),
        (
            {"schedule": "linear"},
            "training.schedule: expected one of constant, cosine, plateau, or a list of epochs",
        ),
        (
            {"optimizer": "bert_adam", "schedule": (2, 4)},
            "training.schedule: a list of epochs goes with adamw, not bert_adam",
        ),
    ],
)
def test_what_does_not_go_together_is_named(values, message):
    with pytest.raises(TrainingError, match=message):
        TrainingSettings(steps=1, **values)


def test_gradients_are_clipped_as_published_with_each_optimiser():
    assert TrainingSettings(steps=1).clip_norm == 10.0
    assert TrainingSettings(steps=1, optimizer="bert_adam").clip_norm == 1.0
    assert TrainingSettings(steps=1, optimizer="bert_adam", clip_norm=3).clip_norm == 3


def test_a_warm_up_without_an_end_is_refused_before_anything_is_written(tmp_path):
    message = "training.warmup_steps: expected fewer than the 24 steps of the run, found 24"
    with pytest.raises(TrainingError, match=message):
        toy_run(tmp_path / "run", **(BERT | {"warmup_steps": 24}))
    assert not (tmp_path / "run").exists()


def test_a_run_with_bert_adam_steps_as_bert_adam_does():
    model, by_hand = toy_model(), toy_model()
    seen = []
    losses = model.loss
    model.loss = lambda outputs, batch: seen.append(batch) or losses(outputs, batch)
    model.dropout.p = by_hand.dropout.p = 0.0
    result = toy_run(None, model=model, evaluate_steps=100, **BERT)
    optimiser = BertAdam(by_hand.parameters(), max_norm=0.5)
    for batch, (rate, _) in zip(seen, rates_and_losses(result.log), strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        by_hand.loss(by_hand(batch), batch)["total"].backward()
        optimiser.step()
    for found, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert (
        result.log[0]["learning_rate"] == 0.0
        and max(rate for rate, _ in rates_and_losses(result.log)) == 0.01
    )


@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_run_with_bert_adam_that_was_broken_off_ends_bit_for_bit_as_one_that_was_not(tmp_path, step):
    whole, parts = toy_model(), toy_model()
    expected = toy_run(tmp_path / "whole", model=whole, **BERT)
    with pytest.raises(KilledError):
        toy_run(tmp_path / "parts", model=toy_model(), on_step=killed_after(step), **BERT)
    found = toy_run(tmp_path / "parts", model=parts, resume=True, **BERT)
    assert rates_and_losses(found.log) == rates_and_losses(expected.log)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    last = [checkpoints.read(tmp_path / name / "last.json")[2] for name in ("whole", "parts")]
    assert {"0.mean", "0.mean_of_squares"} <= set(last[0])
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])


def test_a_run_does_not_go_on_with_another_optimiser(tmp_path):
    toy_run(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match=r"training.optimizer is 'adamw' there, 'bert_adam' here"):
        toy_run(tmp_path, resume=True, epochs=1, optimizer="bert_adam", clip_norm=10.0)


def test_a_run_from_before_there_was_a_choice_goes_on(tmp_path):
    toy_run(tmp_path, epochs=1)
    about = json.loads((tmp_path / "last.json").read_text())
    del about["training"]["settings"]["optimizer"]
    (tmp_path / "last.json").write_text(json.dumps(about))
    assert toy_run(tmp_path, resume=True, epochs=1).already_finished

"""Asymmetric co-attention and its contrastive loss, ours and the transcription, give the released numbers."""

import pytest
import torch
from acb_sides import ACBCase, OursACB, OursSteps, PlainACB, PlainSteps, steps
from msat_sides import cases
from test_parity_msat import (
    GRADIENT_SHARE,
    LOSS_RTOL,
    assert_close,
    check_activations,
    check_proposals,
    check_training_step,
)

SIDES = pytest.mark.parametrize("side", [OursACB, PlainACB])
MODULES = pytest.mark.parametrize("side", [OursSteps, PlainSteps])
# A number that is added to all logits of a row does not change its softmax.
ZERO = ("self.key.bias",)


def networks(golden):
    return cases(golden, "acb_*", ACBCase)


@SIDES
def test_activations_and_maps_are_the_released_ones(golden, side):
    for case in networks(golden):
        check_activations(side(case))


@SIDES
def test_a_training_step_has_the_released_losses_gradients_queues_and_momentum(golden, side):
    for case in networks(golden):
        check_training_step(side(case), ZERO)


@SIDES
def test_proposals_before_suppression_are_the_released_ones(golden, side):
    for case in networks(golden):
        check_proposals(side(case))


def test_candidates_of_every_network_are_those_of_its_file(golden):
    for case in networks(golden):
        assert torch.equal(OursACB(case).model.candidates, case.iou_mask_map.nonzero()), case.name


@MODULES
def test_every_step_of_the_loss_alone_is_the_released_one(golden, side):
    for case in steps(golden):
        ran = side(case)
        for number in range(int(case.about["steps"])):
            check_step(case, ran, number)
            with torch.no_grad():
                for parameter in ran.parameters().values():
                    if parameter.grad is not None:
                        parameter -= float(case.about["sgd_lr"]) * parameter.grad


def check_step(case, ran, number):
    """Outputs, loss, gradients, momentum parameters and queues of one step, all that the file has of it."""
    expected, where = case.step(number), f"{case.name} step {number}"
    given = {key[len("in/") :]: value for key, value in expected.items() if key.startswith("in/")}
    for parameter in ran.parameters().values():
        parameter.grad = None
    video, words, loss = ran.run(given, training=True)
    assert loss.item() == pytest.approx(expected["loss"].item(), rel=LOSS_RTOL), where
    loss.backward()
    found = {"out/image_embeds": video, "out/text_embeds": words}
    ran.after_step()
    found |= {f"after/{name}": value for name, value in ran.queues().items()}
    parameters = ran.parameters()
    slow = {f"momentum_after/{name}": value for name, value in parameters.items() if "_m." in name}
    gradients = {f"grad/{name}": p.grad for name, p in parameters.items() if p.grad is not None}
    assert set(gradients) == {key for key in expected if key.startswith("grad/")}, where
    compared = found | slow | gradients
    assert set(compared) == {key for key in expected if not key.startswith(("in/", "loss"))}, where
    for key, value in compared.items():
        share = GRADIENT_SHARE * expected[key].abs().max().item()
        limit = {"atol": share} if key in gradients else {}
        if not expected[key].is_floating_point():
            assert torch.equal(value, expected[key]), f"{where} {key}"
        else:
            assert_close(value, expected[key], f"{where} {key}", **limit)


@MODULES
def test_out_of_training_the_loss_is_that_of_the_file_and_nothing_is_remembered(golden, side):
    for case in steps(golden):
        ran = side(case)
        before = {name: value.clone() for name, value in ran.queues().items()}
        given = {key[len("in/") :]: value for key, value in case.step(0).items() if key.startswith("in/")}
        _, _, loss = ran.run(given, training=False)
        assert loss.item() == case.data["eval/loss"].item() == 0
        ran.after_step()
        assert all(torch.equal(value, before[name]) for name, value in ran.queues().items())

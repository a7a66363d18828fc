"""Perturbed top-k: shares and slopes worked by hand, what is kept, and the order of what is chosen."""

import pytest
import torch

from vmrlib.models.ucofia_selection import PatchSelection, perturbed_top_k, top_places

# two draws: the best two of [0, 1, 2] + 1 * noise are {1, 2} and then {0, 2}
SCORES = torch.tensor([[0.0, 1.0, 2.0]])
NOISE = torch.tensor([[[0.0, 0.5, 0.0], [3.0, -1.0, 1.0]]])


def test_shares_are_how_often_a_patch_is_chosen_in_the_order_of_places():
    shares = perturbed_top_k(SCORES, NOISE, 2, sigma=1.0)
    assert shares.tolist() == [[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]]


def test_the_gradient_is_the_noise_of_the_draws_that_chose_a_patch():
    # dL/ds_j = sum_r G[r, j] / (S sigma) sum_n 1[idx_r^n = j] z_j^n, with S = 2 and sigma = 1
    scores = SCORES.clone().requires_grad_()
    upstream = torch.tensor([[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]])
    perturbed_top_k(scores, NOISE, 2, sigma=1.0).backward(upstream)
    first = [1.0 * 3.0 / 2, 2.0 * 0.5 / 2, 0.0]  # patch 0 in draw 1, patch 1 in draw 0
    second = [0.0, 0.0, 32.0 * (0.0 + 1.0) / 2]  # patch 2 in both
    assert scores.grad.tolist() == [[a + b for a, b in zip(first, second, strict=True)]]


def test_without_noise_the_shares_are_those_of_the_best():
    shares = perturbed_top_k(SCORES, torch.zeros(1, 5, 3), 2)
    assert shares.tolist() == [[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    assert top_places(torch.tensor([3.0, 1.0, 2.0, 5.0]), 2).tolist() == [0, 3]


def test_neither_noise_nor_single_draws_are_kept():
    scores, kept = torch.randn(6, 9, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        perturbed_top_k(scores, torch.randn(6, 500, 9), 3)
    assert kept == [(6, 3, 9)]


@pytest.mark.parametrize("scorer", ["frame", "video"])
def test_chosen_vectors_follow_the_class_token_of_their_frame(scorer):
    torch.manual_seed(0)
    selection = PatchSelection(8, 2, scorer, samples=50)
    tokens = torch.randn(3, 4, 6, 8)
    chosen = selection(tokens).unflatten(1, (4, 3))
    assert torch.equal(chosen[:, :, 0], tokens[:, :, 0])
    # soft choices are mixtures of patches: no value lies beyond those of the patches
    assert (chosen[:, :, 1:] <= tokens[:, :, 1:].amax(dim=2, keepdim=True) + 1e-6).all()
    assert (chosen[:, :, 1:] >= tokens[:, :, 1:].amin(dim=2, keepdim=True) - 1e-6).all()


@pytest.mark.parametrize("scorer", ["frame", "video"])
def test_one_video_of_one_frame_is_chosen_from_as_among_others(scorer):
    torch.manual_seed(0)
    selection, tokens = PatchSelection(8, 2, scorer).eval(), torch.randn(2, 1, 6, 8)
    assert torch.equal(selection(tokens)[:1], selection(tokens[:1]))


def test_the_scorer_learns_from_what_is_chosen():
    torch.manual_seed(0)
    selection = PatchSelection(8, 2, samples=50)
    selection(torch.randn(2, 3, 6, 8)).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in selection.parameters())


@pytest.mark.parametrize("scorer", ["frame", "video"])
def test_a_model_of_double_precision_stays_one(scorer):
    torch.manual_seed(0)
    selection, tokens = PatchSelection(8, 2, scorer, samples=50).double(), torch.randn(2, 3, 6, 8).double()
    noise = torch.randn(6, 50, 5)
    for given in (noise, noise.double()):  # noise of any precision is taken
        chosen = selection(tokens, given)
        assert chosen.dtype == torch.float64
        torch.testing.assert_close(chosen, selection(tokens, noise=noise.double()))
    # nothing is rounded on the way: a perturbation far below float32's is still seen by the scorer
    scores = selection.scorer(tokens)[:, :, 1:].flatten(0, 1)
    assert perturbed_top_k(scores, noise, 2).dtype == torch.float64
    assert selection(tokens).dtype == torch.float64


def test_tokens_of_half_precision_are_chosen_from_in_full():
    torch.manual_seed(0)
    selection, tokens = PatchSelection(8, 2).eval(), torch.randn(2, 3, 6, 8).half()
    with torch.autocast("cpu", torch.bfloat16):
        chosen = selection(tokens)
    assert chosen.dtype == torch.float32 and torch.equal(chosen, selection(tokens.float()))


def test_more_patches_than_there_are_cannot_be_chosen():
    with pytest.raises(ValueError, match="patches: 6 of 5 cannot be chosen"):
        PatchSelection(8, 6)(torch.randn(1, 1, 6, 8))

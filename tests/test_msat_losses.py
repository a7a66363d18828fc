"""What MSAT learns from: targets and losses worked by hand."""

import math

import pytest
import torch

from vmrlib.models import msat_losses


def test_targets_by_hand():
    # Length 3, so the start's bell is exp(-(t - 0.5)^2 / (2 * 0.75^2)): 0.801 at 0 and 1, 0.135 at 2.
    # The middle's, of width 0.637 around 2: exp(-1.232) = 0.292 at 1 and 3, 0.007 at 0 and 4.
    moment = torch.tensor([[0.5, 3.5]], dtype=torch.float64)
    start, end, middle = msat_losses.stage_targets(moment, 6, peak=0.7)[0]
    torch.testing.assert_close(start, torch.tensor([1, 1, 0.1353, 0, 0, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(end, torch.tensor([0, 0, 0.1353, 1, 1, 0.1353]), atol=1e-4, rtol=0)
    torch.testing.assert_close(middle, torch.tensor([0, 0.2916, 1, 0.2916, 0, 0]), atol=1e-4, rtol=0)
    start = msat_losses.stage_targets(moment, 6, peak=0.85)[0, 0]
    torch.testing.assert_close(start, torch.tensor([0.8007, 0.8007, 0.1353, 0, 0, 0]), atol=1e-4, rtol=0)


def test_a_moment_between_the_points_takes_the_nearest():
    moment = torch.tensor([[1.4, 1.6]], dtype=torch.float64)
    assert msat_losses.stage_targets(moment, 4, peak=0.7)[0].tolist() == [
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 1, 0, 0],
    ]


def test_a_bell_below_the_limit_is_kept_beside_the_nearest_point():
    # Length 1.29: 0 and 1 are half a cell from the start, exp(-2 / 1.29^2) = 0.3006, not above 0.4.
    moment = torch.tensor([[0.5, 1.79]], dtype=torch.float64)
    start = msat_losses.stage_targets(moment, 4, peak=0.7)[0, 0]
    torch.testing.assert_close(start, torch.tensor([1, 0.3006, 0, 0]), atol=1e-4, rtol=0)


def test_regression_cells_are_pairs_near_both_boundaries():
    targets = torch.zeros(2, 3, 4)
    targets[0, 0, [1, 3]] = torch.tensor([1.0, 0.4])
    targets[0, 1, [2, 3]] = torch.tensor([1.0, 0.39])
    targets[1, 0, 0] = targets[1, 1, 0] = 1.0
    sample, cells = msat_losses.regression_cells(targets)
    assert sample.tolist() == [0, 0, 1]
    assert cells.tolist() == [[1, 2], [3, 2], [0, 0]]  # one of them is reversed, one is empty


def test_stage_loss_by_hand():
    # Logits 0: ln 2 for every target, times (0.5 - target)^2; sums over the points 0.3466, 0.3466, 0.
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]])
    loss = msat_losses.stage_loss(torch.zeros(1, 3, 2), targets)
    assert loss.item() == pytest.approx(2 * math.log(2) * 0.5 / 3)


def test_regression_loss_by_hand():
    # Sample 0 wants (0.2, 0.4) and (0.2, -0.6): off by 0.3, 0.9 and 0.2, 0.6; sample 1 is right.
    moments = torch.tensor([[1.2, 3.4], [2.0, 4.0]], dtype=torch.float64)
    offsets = torch.tensor([[0.5, -0.5], [0.0, 0.0], [0.0, 0.0]])
    cells, sample = torch.tensor([[1, 3], [1, 4], [2, 4]]), torch.tensor([0, 0, 1])
    loss = msat_losses.regression_loss(offsets, cells, sample, moments)
    assert loss.item() == pytest.approx(((0.3 + 0.2) / 2 + (0.9 + 0.6) / 2) / 2 / 2)


def test_iou_loss_by_hand():
    # IoU with 0 to 2.5: 0.8; 1.5 / 3 = 0.5, which is not below 0.5; 0.4, which counts as 0; one is reversed.
    cells = torch.tensor([[0, 2], [1, 3], [0, 1], [2, 3]])
    offsets = torch.zeros(1, 4, 2)
    offsets[0, 3, 0] = 2.0
    truth = torch.tensor([[0.0, 2.5]], dtype=torch.float64)
    loss = msat_losses.iou_loss(torch.zeros(1, 4), offsets, cells, truth)
    assert loss.item() == pytest.approx(math.log(2) * (0.3**2 + 0.0**2 + 0.5**2) / 3)


def test_iou_target_has_no_gradient_but_its_factor_has():
    cells, truth = torch.tensor([[0, 2]]), torch.tensor([[0.0, 2.5]], dtype=torch.float64)
    logit, offsets = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, 2, requires_grad=True)
    msat_losses.iou_loss(logit, offsets, cells, truth).backward()
    assert offsets.grad is None
    # d/dz of BCE(z, 0.8) (sigmoid(z) - 0.8)^2 at 0: (s - y)^3 + ln 2 * 2 (s - y) / 4
    assert logit.grad.item() == pytest.approx((-0.3) ** 3 - math.log(2) * 2 * 0.3 / 4)


def test_no_loss_is_nan_where_nothing_counts():
    cells = torch.tensor([[0, 2]])
    logits = torch.zeros(1, 1, requires_grad=True)
    reversed_ = torch.tensor([[[3.0, 0.0]]])
    loss = msat_losses.iou_loss(logits, reversed_, cells, torch.tensor([[0.0, 2.5]]))
    none = torch.zeros(1, 2, dtype=torch.bool)
    words = torch.zeros(0, 4, requires_grad=True)
    loss = loss + msat_losses.words_loss(words, torch.ones(1, 2, dtype=torch.long), none)
    loss.backward()
    assert loss.item() == 0 and logits.grad.item() == 0


def test_words_loss_is_a_sum_over_words_and_a_mean_over_samples_that_hide_some():
    hidden = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
    labels = torch.tensor([[1, 2, 3], [1, 0, 0], [3, 1, 0]])
    logits = torch.zeros(3, 4)
    logits[2, 1] = math.log(3)  # word 1 of the third sample: probability 3 / 6
    loss = msat_losses.words_loss(logits, labels, hidden)
    assert loss.item() == pytest.approx((2 * math.log(4) + math.log(2)) / 2)


def test_a_moment_that_is_not_in_the_video_leaves_nothing_to_find_and_no_score():
    nowhere = torch.tensor([[math.nan, math.nan], [1.0, 3.0]], dtype=torch.float64)
    targets = msat_losses.stage_targets(nowhere, 5, peak=0.7)
    assert not targets[0].any() and targets[1].any()
    sample, cells = msat_losses.regression_cells(targets)
    assert set(sample.tolist()) == {1}

    offsets = torch.ones(len(cells), 2)
    alone = msat_losses.regression_loss(offsets, cells, sample - 1, nowhere[1:])
    both = msat_losses.regression_loss(offsets, cells, sample, nowhere)
    torch.testing.assert_close(both, alone)  # the mean is over the moments that are there

    # A score of 0.5 for a moment that is not there costs ln 2 in full, whatever its boundaries.
    logits, moved = torch.zeros(1, 2), torch.zeros(1, 2, 2)
    cost = msat_losses.iou_loss(logits, moved, torch.tensor([[0, 2], [1, 3]]), nowhere[:1])
    assert cost.item() == pytest.approx(math.log(2))


def test_words_without_a_label_are_neither_guessed_nor_counted():
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    hidden = torch.tensor([[True, False], [True, False]])
    labels = torch.tensor([[0, 1], [-100, -100]])
    own = -torch.log_softmax(logits[0], dim=0)[0]
    torch.testing.assert_close(msat_losses.words_loss(logits, labels, hidden), own)
    assert msat_losses.words_loss(logits[1:], labels[1:], hidden[1:]).item() == 0.0

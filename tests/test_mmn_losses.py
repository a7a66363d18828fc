"""The losses of MMN by hand: what they want, what counts as a negative, how long the contrasts count."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_mmn import SMALL, make_batch, part_of, small_model

from vmrlib.models import mmn_losses
from vmrlib.moments import iou_of_pairs


@pytest.fixture
def model():
    return small_model()


def test_a_moment_of_the_map_lasts_to_the_end_of_its_last_clip(model):
    seconds = model.spans(torch.tensor([20.0, 7.0]))
    cells, size = model.cells, SMALL.cells
    assert seconds[0].tolist() == [[20 * i / size, 20 * (j + 1) / size] for i, j in cells.tolist()]
    assert seconds[1, -1].tolist() == [7 * (size - 1) / size, 7.0]


def test_ious_are_those_of_float32_seconds_to_the_last_bit():
    # All moments of one length that hold the true one have the same IoU but for the last bit, which decides
    # which are positives. The released code multiplies by the duration before it divides.
    model = replace(SMALL, clips=24, cells=24, pooling_counts=(23,)).build()
    true, duration = np.array([187.5871, 372.1278], np.float32), np.float32(900.25)
    i, j = model.cells.T.numpy().astype(np.float32)
    bounds = np.stack([i, j + 1]) * duration / np.float32(24)
    overlap = np.minimum(bounds[1], true[1]) - np.maximum(bounds[0], true[0])
    hull = np.maximum(bounds[1], true[1]) - np.minimum(bounds[0], true[0])
    found = iou_of_pairs(torch.from_numpy(true)[None, None], model.spans(torch.tensor([duration])))
    assert found[0].tolist() == (overlap.clip(min=0) / hull).tolist()


def test_the_wanted_score_grows_between_two_ious():
    logits = torch.zeros(1, 3)
    ious = torch.tensor([[0.5, 0.75, 1.0]])  # wanted: 0, 1/2, 1, each with a cross entropy of ln 2 at 1/2
    assert mmn_losses.iou_loss(logits, ious, (0.5, 1.0)).item() == pytest.approx(math.log(2))
    sure = mmn_losses.iou_loss(torch.full((1, 1), 3.0), torch.tensor([[0.9]]), (0.3, 0.7))
    assert sure.item() == pytest.approx(math.log(1 + math.exp(-3)))


SIMILAR = torch.tensor([[[0.5, 0.1], [0.2, 0.3]], [[0.4, 0.0], [0.1, 0.6]], [[0.3, 0.2], [0.9, 0.8]]])
OWN = torch.tensor([0, 0, 1])  # [sentence, video, moment]; the first two sentences are about the first video


def softmax_loss(positive, *others):
    return math.log(sum(map(math.exp, (positive, *others)))) - positive


@pytest.mark.parametrize("overlap", [0.4, 0.5])
def test_from_video_to_sentence_by_hand(overlap):
    positives, between = torch.tensor([[0], [1], [1]]), torch.eye(3)
    between[0, 1] = between[1, 0] = overlap
    found = mmn_losses.video_loss(SIMILAR, OWN, positives, between, 0.1, 0.1, removal_iou=0.5)
    near = overlap < 0.5  # is the other sentence about the same video a negative?
    first = softmax_loss(4.0, *([4.0] if near else []), 3.0)
    second = softmax_loss(-1.0, *([1.0] if near else []), 2.0)
    third = softmax_loss(7.0, 3.0, 6.0)
    assert found.item() == pytest.approx((first + second + third) / 3, rel=1e-5)


def test_from_sentence_to_video_by_hand():
    positives = torch.tensor([[0], [1], [1]])
    ious = torch.tensor([[0.9, 0.1], [0.1, 0.4], [0.6, 0.7]])
    found = mmn_losses.sentence_loss(SIMILAR, OWN, positives, ious, 0.1, 0.1, negative_iou=0.5)
    least = math.log(1e-6)
    first = softmax_loss(4.0, 0.0, 1.0, 2.0, 3.0, least)  # its positive stays in the sum, with a cosine of 0
    second = softmax_loss(-1.0, 4.0, 0.0, 1.0, 6.0, least)  # its positive is a negative, too
    third = softmax_loss(7.0, 3.0, 2.0, 0.0, 0.0, least)
    assert found.item() == pytest.approx((first + second + third) / 3, rel=1e-5)


def test_two_equal_moments_of_no_length_are_no_negatives_of_each_other():
    # as released: an IoU of 0 / 0 is not below any number
    moments = torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])
    ious = mmn_losses.sentence_ious(moments, torch.tensor([0, 0, 0, 1]))
    expected = torch.zeros(4, 4)
    expected[:2, :2] = expected[2, 2] = expected[3, 3] = math.nan
    torch.testing.assert_close(ious, expected, equal_nan=True)
    found = mmn_losses.video_loss(
        SIMILAR, OWN, torch.tensor([[0], [1], [1]]), ious[[0, 1, 3]][:, [0, 1, 3]], 0.1, 0.1, removal_iou=0.5
    )
    by_hand = softmax_loss(4.0, 3.0) + softmax_loss(-1.0, 2.0) + softmax_loss(7.0, 3.0, 6.0)
    assert found.item() == pytest.approx(by_hand / 3, rel=1e-5)


def test_groups_of_videos_know_nothing_of_each_other(model):
    batch = make_batch()
    outputs = model(batch)
    model.config = replace(SMALL, group=2)
    grouped = model.loss(outputs, batch)
    model.config = SMALL
    parts = []
    for videos in ([0, 2], [1]):  # every second video
        part = part_of(batch, videos)
        parts.append(model.loss(model(part), part))
    for name, value in grouped.items():
        assert value.item() == pytest.approx((parts[0][name] + parts[1][name]).item() / 2, rel=1e-4), name
    assert grouped["sentence"] < model.loss(outputs, batch)["sentence"], "fewer negatives"


def test_contrasts_count_a_hundredth_after_their_epochs(model):
    batch = make_batch()
    outputs = model(batch)
    for epoch, share in ((SMALL.contrast_epochs - 1, 1.0), (SMALL.contrast_epochs, 0.01)):
        losses = model.loss(outputs, batch | {"epoch": epoch})
        contrasts = SMALL.weight * share * (losses["video"] + losses["sentence"])
        assert losses["total"].item() == pytest.approx((losses["iou"] + contrasts).item())

"""Sinkhorn biases: small cases by hand, scores far apart, and what a bias may and may not change."""

import math

import pytest
import torch

from vmrlib.models.sinkhorn import normalised, sinkhorn


def test_equal_scores_give_equal_biases():
    rows, columns = sinkhorn(torch.zeros(4, 3))
    torch.testing.assert_close(rows, torch.full((4,), -math.log(4)))
    torch.testing.assert_close(columns, torch.full((3,), -math.log(3)))


def test_a_column_that_everybody_likes_loses_what_it_is_liked_more():
    # K = [[1, e], [1, e]] is of rank one: b is 1 / (1, e) up to a factor, at once
    rows, columns = sinkhorn(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), iterations=1)
    torch.testing.assert_close(rows, torch.full((2,), -math.log(2)))
    total = math.log(1 + math.exp(-1))
    torch.testing.assert_close(columns, torch.tensor([-total, -1 - total]))


def test_scores_hundreds_apart_neither_overflow_nor_underflow():
    scores = torch.randn(20, 9, generator=torch.Generator().manual_seed(0))
    scores[3] -= 500
    scores[:, 2] += 900
    for bias in sinkhorn(scores):
        assert bias.isfinite().all()
    expected = sinkhorn(scores.double())
    for bias, exact in zip(sinkhorn(scores), expected, strict=True):
        torch.testing.assert_close(bias.double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("spread", [1, 4, 10])
def test_biases_are_exact_wherever_the_scores_lie_and_however_often_they_are_made(spread):
    # CLIP's logits are far from 0: a hundred times a cosine
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        scores = 60 + spread * torch.randn(50, 12, generator=generator)
        for bias, exact in zip(sinkhorn(scores, 20), sinkhorn(scores.double(), 20), strict=True):
            assert bias.dtype == torch.float32
            assert (bias - exact).abs().max() <= 1e-7 * exact.abs().max()


def test_the_same_queries_twice_change_no_bias():
    scores = torch.randn(30, 7, generator=torch.Generator().manual_seed(0)) * 3
    once, twice = sinkhorn(scores)[1], sinkhorn(torch.cat([scores, scores]))[1]
    torch.testing.assert_close(once, twice)


def test_a_bias_of_videos_changes_no_rank_among_texts_and_the_other_way_round():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randn(3, 6, 5, generator=generator)
    references = torch.randn(3, 8, 5, generator=generator) * 4, torch.randn(3, 6, 9, generator=generator) * 4
    both = normalised(levels, *references)
    texts, videos = normalised(levels, references[0]), normalised(levels, None, references[1])
    assert both.scores.argsort(dim=1).tolist() == texts.scores.argsort(dim=1).tolist()
    assert both.scores.argsort(dim=0).tolist() == videos.scores.argsort(dim=0).tolist()
    assert both.scores.argsort(dim=1).tolist() != normalised(levels).scores.argsort(dim=1).tolist()
    torch.testing.assert_close(normalised(levels).scores, levels.mean(dim=0))


def test_every_level_has_its_own_bias():
    levels = torch.zeros(3, 2, 2)
    reference = torch.zeros(3, 4, 2)
    reference[0, :, 1] = 5  # on the first level everybody likes the second video
    found = normalised(levels, reference)
    assert found.video_bias[0, 1] < found.video_bias[0, 0] - 4
    torch.testing.assert_close(found.video_bias[1:], torch.full((2, 2), -math.log(2)))
    assert found.text_bias.eq(0).all()


def test_no_iteration_is_no_normalisation():
    with pytest.raises(ValueError, match="iterations: expected 1 or more, found 0"):
        sinkhorn(torch.zeros(2, 2), 0)
    with pytest.raises(ValueError, match="iterations: expected 1 or more, found 0"):
        normalised(torch.zeros(3, 2, 2), torch.zeros(3, 2, 2), iterations=0)

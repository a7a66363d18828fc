"""Ranks, R@K, MdR and MnR: worked by hand, ties in both rules, and several sentences per video."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmrlib.metrics import ranks, text_to_video, video_to_text
from vmrlib.metrics.retrieval import entries_released, summary

SQUARE = np.array(
    [
        [0.9, 0.1, 0.2],  # the truth is first
        [0.8, 0.5, 0.6],  # third
        [0.3, 0.7, 0.4],  # second
    ]
)


def test_ranks_by_hand():
    assert ranks(SQUARE).tolist() == [1, 3, 2]
    assert ranks(SQUARE.T).tolist() == [1, 2, 2]  # columns: 0.9 first, 0.5 behind 0.7, 0.4 behind 0.6
    assert ranks(SQUARE, [1, 0, 1]).tolist() == [3, 1, 1]


def test_figures_by_hand():
    figures = text_to_video(torch.tensor(SQUARE), top=(1, 2))
    assert figures == pytest.approx(
        {"R@1": 100 / 3, "R@2": 200 / 3, "MdR": 2, "MnR": 2, "std": (2 / 3) ** 0.5}
    )
    assert video_to_text(SQUARE)["R@1"] == pytest.approx(100 / 3)


def test_constant_scores_come_last_and_not_first():
    constant = np.zeros((4, 4))
    assert ranks(constant).tolist() == [4, 4, 4, 4]
    assert text_to_video(constant)["R@1"] == 0
    # Released: each row counts four times, at ranks 1 to 4.
    assert entries_released(constant).tolist() == [1, 2, 3, 4] * 4
    assert text_to_video(constant, ties="released")["R@1"] == 25


def test_equal_scores_stand_before_the_truth_unless_released():
    scores = np.array([[0.5, 0.5, 0.9], [0.0, 1.0, 0.0], [0.1, 0.2, 0.2]])
    assert ranks(scores).tolist() == [3, 1, 2]
    assert ranks(scores, ties="released").tolist() == [2, 1, 2]  # in the order of the columns
    assert entries_released(scores).tolist() == [2, 3, 1, 1, 2]
    released = text_to_video(scores, ties="released")
    assert released["R@1"] == 40  # two of five entries, though there are three queries
    assert released["MnR"] == pytest.approx(9 / 5)


def test_a_score_that_is_not_a_number_is_never_better():
    scores = np.array([[np.nan, 0.1], [np.nan, 0.1]])
    assert ranks(scores).tolist() == [2, 2]
    assert entries_released(scores).tolist() == [1]  # such a truth does not count there


def test_ties_are_those_of_the_scores_own_precision():
    close = np.array([[1.0, 1.0 + 1e-9], [0.0, 1.0]])
    assert ranks(close).tolist() == [2, 1]
    assert ranks(close.astype(np.float32), ties="released").tolist() == [1, 1]


SENTENCES = np.array(  # 5 sentences, 2 videos
    [[0.9, 0.1], [0.2, 0.3], [0.8, 0.1], [0.7, 0.6], [0.1, 0.5]]
)
VIDEO_OF = [0, 0, 0, 1, 1]


def test_every_sentence_is_a_query_and_the_median_is_the_lower_one():
    assert ranks(SENTENCES, VIDEO_OF).tolist() == [1, 2, 1, 2, 1]
    assert text_to_video(SENTENCES, VIDEO_OF)["R@1"] == 60
    even = text_to_video(SENTENCES[:4], VIDEO_OF[:4])
    assert even["MdR"] == 1  # the lower of the two in the middle
    assert summary(np.array([1, 1, 2, 2]))["MdR"] == 1.5


def test_a_group_of_sentences_has_its_best_score():
    # Video 0: groups 0.9 and 0.7; video 1: groups 0.3 and 0.6.
    assert video_to_text(SENTENCES, VIDEO_OF)["R@1"] == 100
    # Without its good sentences group 0 has 0.2 for video 0, behind 0.7 of group 1.
    assert video_to_text(SENTENCES[1::2], [0, 1])["R@1"] == 50
    shuffled = [3, 0, 4, 2, 1]
    assert video_to_text(SENTENCES[shuffled], np.array(VIDEO_OF)[shuffled])["R@1"] == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranks(np.zeros((2, 3))), r"shape \(2, 3\) are not square"),
        (lambda: ranks(np.zeros((2, 3)), [0]), "one column number for each of 2 rows"),
        (lambda: ranks(np.zeros((2, 3)), [0, 3]), "row 1 has true column 3, but there are 3 columns"),
        (lambda: ranks(np.zeros((2, 2)), ties="best"), "ties must be"),
        (lambda: ranks(np.zeros((0, 0))), "must be a matrix"),
        (lambda: video_to_text(np.zeros((2, 2)), [0, 0]), "video 1 has no sentence"),
    ],
)
def test_what_cannot_be_ranked_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


grids = st.integers(1, 7).flatmap(
    lambda size: arrays(np.float64, (size, size), elements=st.integers(0, 4).map(float))
)


@given(grids)
def test_ranks_follow_from_sorting_and_counting(scores):
    for row, own in enumerate(np.diag(scores)):
        behind = sorted(scores[row], reverse=True)
        assert ranks(scores)[row] == len(behind) - behind[::-1].index(own)  # last of the equals
    # The released code: all places in the sorted row that hold the score of the diagonal.
    places = np.nonzero(np.sort(-scores, axis=1) == np.diag(-scores)[:, None])[1]
    assert entries_released(scores).tolist() == (places + 1).tolist()


@given(grids)
def test_no_rank_is_better_than_in_the_order_of_the_columns(scores):
    assert (ranks(scores) >= ranks(scores, ties="released")).all()


@given(grids)
def test_distinct_scores_have_the_same_figures_in_both_rules(scores):
    distinct = np.argsort(np.argsort(scores, axis=None)).reshape(scores.shape).astype(float)
    assert text_to_video(distinct) == text_to_video(distinct, ties="released")
    assert video_to_text(distinct) == video_to_text(distinct, np.arange(len(distinct)))


def test_released_groups_leave_out_sentences_whose_own_score_is_not_finite():
    scores = np.array([[0.9, 0.1], [0.2, np.nan], [np.inf, 0.3]])
    assert text_to_video(scores, [0, 1, 0], ties="released") == summary(np.array([1]), lower_median=True)
    assert video_to_text(scores[:2], [0, 1], ties="released")["R@1"] == 100  # of the one video that counts


def test_released_ties_of_groups_are_in_the_order_of_the_sort():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 3, (40, 20)).astype(np.float32)
    groups = np.repeat(np.arange(20), 2)
    order = torch.argsort(torch.from_numpy(scores), dim=-1, descending=True)
    places = torch.argsort(order, dim=-1)[torch.arange(40), torch.from_numpy(groups)].numpy()
    assert text_to_video(scores, groups, ties="released") == summary(places + 1, lower_median=True)


def test_half_precision_of_any_kind_is_read():
    scores = torch.tensor([[0.5, 0.25], [0.125, 0.75]])
    assert text_to_video(scores.bfloat16()) == text_to_video(scores.half()) == text_to_video(scores)

"""Moment arithmetic: hand-computed values, edges, and what must hold for any moments."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.moments import (
    clip_centres,
    clips_in_moment,
    moments_from_norm,
    moments_to_norm,
    non_maximum_suppression,
    suppress_batch,
    temporal_iou,
)


def seconds(*rows):
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)


times = st.integers(0, 400).map(lambda quarter: quarter / 4)  # exact in binary
moment = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))
moments = st.lists(moment, min_size=1, max_size=8).map(lambda rows: seconds(*rows))


def test_overlap_over_union_by_hand():
    got = temporal_iou(seconds((0, 10)), seconds((0, 10), (5, 15), (10, 20), (20, 30), (2, 4)))
    torch.testing.assert_close(got, torch.tensor([[1, 1 / 3, 0, 0, 0.2]], dtype=torch.float64))


def test_moments_without_length_have_iou_zero_and_never_nan():
    got = temporal_iou(seconds((3, 3), (0, 6)), seconds((3, 3), (4, 4)))
    assert got.tolist() == [[0, 0], [0, 0]]


def test_no_moments_give_an_empty_table():
    assert temporal_iou(seconds(), seconds((0, 1))).shape == (0, 1)


def test_whole_numbers_are_as_good_as_fractions():
    assert temporal_iou(torch.tensor([[0, 4]]), torch.tensor([[2, 6]])).item() == pytest.approx(1 / 3)


def test_a_moment_that_runs_backwards_is_named():
    with pytest.raises(ValueError, match=r"moment b\[1\] ends before it starts: \[4.0, 2.0\]"):
        temporal_iou(seconds((0, 1)), seconds((0, 1), (4, 2)))


@given(moments, moments)
def test_iou_is_symmetric_and_lies_between_0_and_1(a, b):
    table = temporal_iou(a, b)
    assert torch.equal(table, temporal_iou(b, a).T)
    assert bool(((table >= 0) & (table <= 1)).all())


@given(moments)
def test_a_moment_equals_itself_unless_it_has_no_length(a):
    expected = (a[:, 1] > a[:, 0]).double()
    assert torch.equal(temporal_iou(a, a).diagonal(), expected)


@given(moments, moments, st.integers(0, 1000), st.sampled_from([0.25, 2.0, 8.0]))
def test_iou_knows_neither_origin_nor_unit(a, b, shift, scale):
    assert torch.equal(temporal_iou(a * scale + shift, b * scale + shift), temporal_iou(a, b))


# ---- non-maximum suppression ----------------------------------------------------------------------


def slow_suppression(rows, scores, threshold, top):
    """The definition, word by word: take the best of the rest, strike out all that overlap it too much."""
    rest = sorted(range(len(rows)), key=lambda index: (-scores[index], index))
    kept = []
    while rest and (top is None or len(kept) < top):
        best = rest.pop(0)
        kept.append(best)
        survivors = []
        for index in rest:
            (a, b), (c, d) = rows[best], rows[index]
            shared = max(min(b, d) - max(a, c), 0)
            union = (b - a) + (d - c) - shared
            if union == 0 or shared / union <= threshold:
                survivors.append(index)
        rest = survivors
    return kept


@given(
    st.lists(st.tuples(moment, st.integers(0, 3)), max_size=9),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([None, 0, 1, 3]),
)
def test_suppression_equals_its_definition_ties_and_duplicates_included(rows, threshold, top):
    spans, scores = [span for span, _ in rows], [score for _, score in rows]
    got = non_maximum_suppression(seconds(*spans), torch.tensor(scores, dtype=torch.float64), threshold, top)
    assert got.tolist() == slow_suppression(spans, scores, threshold, top)


def test_suppression_by_hand():
    spans = seconds((0, 10), (1, 11), (20, 30), (0, 10))
    scores = torch.tensor([0.5, 0.9, 0.1, 0.5])
    assert non_maximum_suppression(spans, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(spans, scores, 1.0).tolist() == [
        1,
        0,
        3,
        2,
    ]  # equal: in the order they came
    assert non_maximum_suppression(spans, scores, 0.5, top=1).tolist() == [1]


def test_an_overlap_of_exactly_the_threshold_survives():
    spans = seconds((0, 10), (5, 10))
    assert non_maximum_suppression(spans, torch.tensor([2.0, 1.0]), 0.5).tolist() == [0, 1]


# ---- units ----------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.tuples(moment, st.integers(-1, 4)), min_size=6, max_size=6), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(1, 8),
)
def test_suppression_of_a_batch_is_that_of_each_sample_without_negative_scores(samples, threshold, top):
    rows = torch.stack([seconds(*(moment for moment, _ in sample)) for sample in samples])
    scores = torch.tensor([[score / 4 for _, score in sample] for sample in samples])
    kept = suppress_batch(rows, scores, threshold, top)
    assert kept.shape == (len(samples), top)
    for own_rows, own_scores, own_kept in zip(rows, scores, kept, strict=True):
        positive = (own_scores >= 0).nonzero()[:, 0]
        wanted = positive[non_maximum_suppression(own_rows[positive], own_scores[positive], threshold, top)]
        assert own_kept.tolist() == wanted.tolist() + [-1] * (top - len(wanted))


def test_centres_lie_in_the_middle_of_their_clips():
    assert clip_centres(3, 2.0).tolist() == [1, 3, 5]
    assert clip_centres(0, 2.0).tolist() == []


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 10), (0, 10)),
        ((2.0, 4.0), (2, 4)),
        ((0.5, 1.5), (0, 1)),  # the start belongs to the moment, the end does not
        ((2.5, 4.5), (2, 4)),
        ((0.6, 0.9), (0, 1)),  # between two centres: the clip it lies in
        ((3.6, 4.4), (4, 5)),
        ((9.8, 10), (9, 10)),
        ((12, 15), (9, 10)),  # after the last clip
    ],
)
def test_clips_of_a_moment_by_hand(span, expected):
    assert clips_in_moment(span, 10, 1.0) == expected


@given(moment, st.integers(1, 60), st.sampled_from([0.5, 1.0, 3.0]))
def test_clips_of_a_moment_are_those_with_their_centre_in_it(span, n_clips, length):
    first, last = clips_in_moment(span, n_clips, length)
    centres = clip_centres(n_clips, length).tolist()
    inside = [k for k, centre in enumerate(centres) if span[0] <= centre < span[1]]
    assert 0 <= first < last <= n_clips
    assert list(range(first, last)) == inside if inside else last == first + 1


def test_a_video_without_clips_is_an_error():
    with pytest.raises(ValueError, match="n_clips must be at least 1, not 0"):
        clips_in_moment((0, 1), 0, 1.0)


@given(moments)
def test_fractions_of_the_duration_and_back(a):
    torch.testing.assert_close(moments_from_norm(moments_to_norm(a, 128.0), 128.0), a)


def test_fractions_stay_within_the_video():
    assert moments_to_norm(seconds((-1, 30)), 20.0).tolist() == [[0, 1]]


def test_a_video_without_duration_is_an_error():
    with pytest.raises(ValueError, match="duration must be positive, not 0"):
        moments_to_norm(seconds((0, 1)), 0)

"""R@n, IoU=m and mean IoU: hand-computed values, edges, and what must hold for any predictions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.metrics import hits_at, mean_iou, recall_at


def seconds(*rows):
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)


PREDICTIONS = [
    seconds((0, 10), (20, 30)),  # IoU 1/3, then 1
    seconds((0, 4)),  # exactly 1/2
    seconds(),  # nothing predicted
    seconds((50, 60), (0, 1), (2, 3)),  # never
]
TRUTHS = [seconds((5, 15), (20, 30)), seconds((0, 8)), seconds((0, 1)), seconds((10, 20))]


def test_recall_by_hand():
    assert hits_at(PREDICTIONS, TRUTHS, n=1, iou=0.5).tolist() == [False, True, False, False]
    assert recall_at(PREDICTIONS, TRUTHS, n=1, iou=0.5) == 25
    assert recall_at(PREDICTIONS, TRUTHS, n=2, iou=0.5) == 50
    assert recall_at(PREDICTIONS, TRUTHS, n=1, iou=0.3) == 50
    assert recall_at(PREDICTIONS, TRUTHS, n=1, iou=0.7) == 0


def test_an_iou_of_exactly_the_threshold_is_a_hit():
    assert hits_at([seconds((0, 1))], [seconds((0, 2))], iou=0.5).tolist() == [True]


def test_any_of_several_true_moments_counts():
    assert recall_at([seconds((20, 30))], [seconds((0, 5), (21, 30))], iou=0.7) == 100


def test_mean_iou_by_hand():
    assert mean_iou(PREDICTIONS, TRUTHS) == pytest.approx(100 * (1 / 3 + 1 / 2) / 4)


times = st.integers(0, 100).map(float)
moment = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))
answers = st.lists(
    st.tuples(st.lists(moment, max_size=4), st.lists(moment, min_size=1, max_size=3)), min_size=1, max_size=5
)


@given(answers)
def test_more_predictions_never_hurt_and_a_higher_iou_never_helps(rows):
    predictions, truths = [seconds(*a) for a, _ in rows], [seconds(*b) for _, b in rows]
    by_n = [recall_at(predictions, truths, n=n) for n in (1, 2, 5)]
    by_iou = [recall_at(predictions, truths, iou=iou) for iou in (0.3, 0.5, 0.7)]
    assert by_n == sorted(by_n)
    assert by_iou == sorted(by_iou, reverse=True)
    assert 0 <= mean_iou(predictions, truths) <= 100


@given(answers)
def test_the_order_of_queries_does_not_matter(rows):
    predictions, truths = [seconds(*a) for a, _ in rows], [seconds(*b) for _, b in rows]
    assert recall_at(predictions, truths) == recall_at(predictions[::-1], truths[::-1])


@pytest.mark.parametrize(
    ("predictions", "truths", "n", "message"),
    [
        ([seconds((0, 1))], [], 1, "1 queries have predictions, 0 have true moments"),
        ([], [], 1, "no queries to evaluate"),
        ([seconds((0, 1))], [seconds((0, 1))], 0, "n must be at least 1, not 0"),
        ([seconds((0, 1))] * 2, [seconds((0, 1)), seconds()], 1, "query 1 has no true moment"),
        ([seconds((3, 1))], [seconds((0, 1))], 1, r"query 0: moment a\[0\] ends before it starts"),
    ],
)
def test_what_cannot_be_measured_is_said(predictions, truths, n, message):
    with pytest.raises(ValueError, match=message):
        recall_at(predictions, truths, n=n)

"""R@n, IoU=m, mIoU and dR@n, IoU=m: values worked by hand, edges, and what must hold for any predictions."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.metrics import (
    CONVENTIONS,
    batch_averaged_mean,
    best_iou,
    discounted_hits_at,
    discounted_recall_at,
    hits_at,
    mean_iou,
    recall_at,
    recall_curve,
    sign_of,
)
from vmrlib.moments import temporal_iou


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


@pytest.mark.parametrize(
    ("convention", "hit"), [(">=", True), (">", False), ("MMN", True), ("2d-tan", False)]
)
def test_an_iou_of_exactly_the_threshold_is_a_hit_by_convention(convention, hit):
    found, true = [seconds((0, 1))], [seconds((0, 2))]
    assert hits_at(found, true, iou=0.5, convention=convention).tolist() == [hit]
    assert recall_at(found, true, 1, 0.5, convention) == 100 * hit
    assert (
        discounted_recall_at(found, true, [2], convention=convention) == 50 * hit
    )  # the end is 1 s of 2 off


def test_who_counts_how_is_on_record_and_the_default_is_at_least():
    strict = {name for name, sign in CONVENTIONS.items() if sign == ">"}
    assert {"2D-TAN", "MSAT", "DCM"} <= strict
    assert not {"MMN", "QVHighlights", "Moment-DETR", "TVR"} & strict
    assert hits_at([seconds((0, 1))], [seconds((0, 2))], iou=0.5).tolist() == [True]
    with pytest.raises(ValueError, match=r"convention must be >, >= or one of 2D-TAN, .* not 'XML'"):
        sign_of("XML")


def test_any_of_several_true_moments_counts():
    assert recall_at([seconds((20, 30))], [seconds((0, 5), (21, 30))], iou=0.7) == 100


def test_mean_iou_by_hand():
    assert mean_iou(PREDICTIONS, TRUTHS) == pytest.approx(100 * (1 / 3 + 1 / 2) / 4)


def test_recall_over_an_iou_axis_by_hand():
    # Best IoUs of the first predictions: 1/3, 1/2, 0, 0.
    axis = [0.1, 0.4, 0.5, 0.6]
    assert recall_curve(PREDICTIONS, TRUTHS, axis).tolist() == [50, 25, 25, 0]
    assert recall_curve(PREDICTIONS, TRUTHS, axis, convention=">").tolist() == [50, 25, 0, 0]
    assert recall_curve(PREDICTIONS, TRUTHS, axis, n=2).tolist() == [50, 50, 50, 25]


def test_the_area_under_recall_over_iou_is_the_mean_iou():
    axis = (np.arange(20_000) + 0.5) / 20_000
    area = recall_curve(PREDICTIONS, TRUTHS, axis).mean().item()
    assert area == pytest.approx(mean_iou(PREDICTIONS, TRUTHS), abs=0.01)


def test_discounted_recall_by_hand():
    # Start 1 s and end 2 s off in a video of 20 s: 0.95 x 0.9; a miss counts nothing; an exact one fully.
    found = [seconds((1, 12)), seconds((0, 1)), seconds((3, 4))]
    true = [seconds((0, 10)), seconds((5, 9)), seconds((3, 4))]
    values = discounted_hits_at(found, true, [20, 20, 20], iou=0.5)
    torch.testing.assert_close(values, torch.tensor([0.855, 0, 1], dtype=torch.float64))
    assert discounted_recall_at(found, true, [20, 20, 20]) == pytest.approx(100 * 1.855 / 3)


def test_of_several_hits_the_best_discounted_one_counts():
    found = [seconds((0, 8), (0, 9), (0, 10))]  # 2 s, 1 s and 0 s off at the end, in 10 s
    true = [seconds((0, 10))]
    by_n = [discounted_hits_at(found, true, [10], n).item() for n in (1, 2, 3)]
    assert by_n == pytest.approx([0.8, 0.9, 1.0])


def test_an_error_longer_than_the_video_discounts_to_nothing():
    assert discounted_hits_at([seconds((0, 30))], [seconds((0, 20))], [9]).tolist() == [0]


@pytest.mark.parametrize("durations", [[10], [10, 0], [10, float("nan")]])
def test_discounted_recall_needs_the_duration_of_every_video(durations):
    with pytest.raises(ValueError, match="durations must be 2 numbers above 0"):
        discounted_hits_at([seconds((0, 1))] * 2, [seconds((0, 1))] * 2, durations)


def test_a_moment_that_ends_before_it_starts_is_a_miss():
    found, true = [seconds((9, 1)), seconds((20, 10))], [seconds((0, 10)), seconds((0, 10))]
    assert best_iou(found, true).tolist() == [0, 0]
    assert hits_at(found, true, iou=0.1).tolist() == [False, False]


def test_batches_are_averaged_before_their_means():
    hits = torch.tensor([True, True, False, True, False])
    assert batch_averaged_mean(hits, 2) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert batch_averaged_mean(hits, 5) == pytest.approx(3 / 5)


def test_arrays_and_tensors_give_the_same():
    as_arrays = [moments.numpy() for moments in PREDICTIONS], [moments.numpy() for moments in TRUTHS]
    assert torch.equal(hits_at(*as_arrays), hits_at(PREDICTIONS, TRUTHS))
    assert mean_iou(*as_arrays) == mean_iou(PREDICTIONS, TRUTHS)


def test_metrics_need_neither_matplotlib_nor_transformers():
    heavy = {"matplotlib", "transformers", "HanTa"}
    code = f"import sys, vmrlib.metrics; print(sorted({heavy} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


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
def test_one_query_at_a_time_gives_the_same_iou(rows):
    predictions, truths = [seconds(*a) for a, _ in rows], [seconds(*b) for _, b in rows]
    for n in (1, 3):
        alone = [
            temporal_iou(a[:n], b).max().item() if len(a) else 0.0
            for a, b in zip(predictions, truths, strict=True)
        ]
        assert best_iou(predictions, truths, n).tolist() == pytest.approx(alone, abs=1e-12)


@given(answers)
def test_a_discount_never_adds_and_the_strict_convention_never_helps(rows):
    predictions, truths = [seconds(*a) for a, _ in rows], [seconds(*b) for _, b in rows]
    durations = [100] * len(rows)
    for n in (1, 5):
        hits = hits_at(predictions, truths, n).double()
        discounted = discounted_hits_at(predictions, truths, durations, n)
        assert ((discounted >= 0) & (discounted <= hits)).all()
        assert recall_at(predictions, truths, n, convention=">") <= recall_at(predictions, truths, n)


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
        ([seconds((0, 1))], [seconds((0, 1), (3, 1))], 1, "query 0: true moment 1 ends before it starts"),
    ],
)
def test_what_cannot_be_measured_is_said(predictions, truths, n, message):
    with pytest.raises(ValueError, match=message):
        recall_at(predictions, truths, n=n)

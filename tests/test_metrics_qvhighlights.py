"""mAP and highlights of QVHighlights: worked by hand, and against the plain transcription on anything."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import Prediction, PredictionError
from vmrlib.metrics import HighlightError, average_precision, evaluate_qvhighlights, highlight_scores
from vmrlib.metrics.qvhighlights import AP_IOUS, R1_IOUS, first_iou

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("plain", ROOT / "benchmarks/reference/qvhighlights.py")
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)


def prediction(name, windows, saliency=None):
    rows = np.array(windows, dtype=float).reshape(-1, 3)
    return Prediction(name, rows[:, :2], rows[:, 2], None if saliency is None else np.array(saliency, float))


def query(name, moments, duration=150, clips=(), scores=()):
    extra = {"relevant_clip_ids": list(clips), "saliency_scores": [list(row) for row in scores]}
    pairs = tuple((float(start), float(end)) for start, end in moments)
    return Query(name, "text", "video", pairs, float(duration), extra=extra)


# ---- moments, by hand ------------------------------------------------------------------------------


def test_average_precision_by_hand():
    # Truths 0-10 and 20-30. Best first: a miss, the exact first, the second with IoU 0.6.
    windows, scores = [[50, 60], [0, 10], [24, 30]], [0.9, 0.8, 0.7]
    (precision,) = average_precision([windows], [scores], [[(0, 10), (20, 30)]], ious=[0.5, 0.6, 0.7])
    # Recall 1/2 at precision 1/2, recall 1 at precision 2/3: interpolated, both have 2/3.
    assert precision[:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert precision[2] == pytest.approx(1 / 2 * 1 / 2)


def test_a_true_moment_is_matched_once_by_the_best_scored():
    windows, scores = [[0, 9], [0, 10]], [0.1, 0.2]
    (precision,) = average_precision([windows], [scores], [[(0, 10)]], ious=[0.5, 0.95])
    assert precision.tolist() == [1, 1]  # the second window comes first; the other one is a repetition
    (precision,) = average_precision([windows], [[0.2, 0.1]], [[(0, 10)]], ious=[0.5, 0.95])
    assert precision.tolist() == [1, 0.5]


def test_a_window_takes_the_free_moment_it_overlaps_best():
    # 0-10 has IoU 1 with the first truth and 0.8 with the second; the second window only fits the first.
    truths = [(0, 10), (2, 10)]
    both = average_precision([[[0, 10], [0, 9]]], [[0.9, 0.8]], [truths], ious=[0.7])
    assert both.tolist() == [[1]]  # 0-9 overlaps 2-10 with 0.7, and that one is free
    assert average_precision([[[0, 10], [0, 8]]], [[0.9, 0.8]], [truths], ious=[0.7]).tolist() == [[0.5]]


def test_of_two_moments_with_equal_iou_the_later_in_the_list_is_taken():
    # 0-20 overlaps both with 1/2 and takes the later; the next window fits one of them only.
    windows = [[0, 20], [10, 20]]
    assert average_precision([windows], [[0.9, 0.8]], [[(0, 10), (10, 20)]], ious=[0.5]).tolist() == [[0.5]]
    assert average_precision([windows], [[0.9, 0.8]], [[(10, 20), (0, 10)]], ious=[0.5]).tolist() == [[1]]


def test_only_the_first_ten_windows_count_and_equal_scores_keep_their_order():
    windows = [[100, 110, 0.1]] * 10 + [[0, 10, 0.9]]
    figures = evaluate_qvhighlights([prediction("1", windows)], [query("1", [(0, 10)])])
    assert figures["full"]["MR-mAP"]["average"] == 0
    tied = [[0, 10, 0.5], [100, 110, 0.5]]
    figures = evaluate_qvhighlights([prediction("1", tied)], [query("1", [(0, 10)])])
    assert figures["full"]["MR-mAP"]["average"] == 100


def test_the_first_window_of_the_list_is_judged_even_if_another_scores_higher():
    figures = evaluate_qvhighlights([prediction("1", [[0, 10, 0.1], [50, 60, 0.9]])], [query("1", [(0, 10)])])
    assert figures["full"]["MR-R1"]["0.95"] == 100
    assert figures["full"]["MR-mAP"]["0.95"] == 50


def test_a_query_without_windows_is_a_miss_and_counts():
    figures = evaluate_qvhighlights(
        [prediction("1", []), prediction("2", [[0, 10, 1]])], [query("1", [(0, 10)]), query("2", [(0, 10)])]
    )
    assert figures["brief"]["MR-full-mAP"] == figures["brief"]["MR-full-R1@0.5"] == 50
    assert figures["brief"]["MR-full-mIoU"] == 50


@pytest.mark.parametrize("window", [[30, 20, 1], [20, 10, 1], [5, 5, 1], [10, 0, 1]])
def test_an_empty_or_reversed_window_is_a_miss(window):
    # 20-10 and 0-10 have lengths that cancel: IoU is 0 there, not 0 / 0.
    figures = evaluate_qvhighlights([prediction("1", [window])], [query("1", [(0, 10)])])
    assert set(figures["full"]["MR-mAP"].values()) == {0.0}
    assert figures["full"]["MR-mIoU"] == 0


def test_a_query_counts_in_the_ranges_of_its_moments_with_those_moments_only():
    queries = [query("1", [(0, 10), (40, 70.5)]), query("2", [(0, 30)])]  # 10 s, 30.5 s; 30 s
    found = [prediction("1", [[0, 10, 1]]), prediction("2", [[0, 15, 1]])]
    figures = evaluate_qvhighlights(found, queries)
    assert figures["short"]["MR-R1"]["0.5"] == 100
    assert figures["middle"]["MR-R1"]["0.5"] == 100  # IoU 1/2
    assert figures["middle"]["MR-R1"]["0.55"] == 0
    assert figures["long"]["MR-R1"]["0.5"] == 0
    assert figures["full"]["MR-mAP"]["0.5"] == 75  # a half of query 1, all of query 2


def test_a_range_without_queries_has_no_figures():
    figures = evaluate_qvhighlights([prediction("1", [[0, 10, 1]])], [query("1", [(0, 10)])])
    assert figures["long"]["MR-mIoU"] is None
    assert set(figures["long"]["MR-mAP"].values()) == {None}
    assert figures["brief"]["MR-long-mAP"] is None
    assert "NaN" not in json.dumps(figures)


def test_the_structure_is_that_of_the_official_file():
    figures = evaluate_qvhighlights(
        [prediction("1", [[0, 10, 1]], [1] * 75)], [query("1", [(0, 10)], 150, [0], [[2, 3, 4]])]
    )
    levels = ["HL-min-Fair", "HL-min-Good", "HL-min-VeryGood"]
    assert list(figures) == ["brief", *levels, "full", "long", "middle", "short"]
    assert list(figures["full"]) == ["MR-mIoU", "MR-mAP", "MR-R1"]
    assert list(figures["full"]["MR-mAP"]) == [*map(str, AP_IOUS), "average"]
    assert list(figures["full"]["MR-R1"]) == list(map(str, R1_IOUS))
    assert R1_IOUS[0] == 0.3 and AP_IOUS[0] == 0.5 and R1_IOUS[-1] == AP_IOUS[-1] == 0.95
    assert figures[levels[0]].keys() == {"HL-mAP", "HL-Hit1"}


# ---- highlights, by hand ---------------------------------------------------------------------------


def one(saliency, ratings, duration):
    """Scores of a single query whose clips 0, 1, ... have these ratings."""
    return highlight_scores([saliency], [query("1", [(0, 2)], duration, range(len(ratings)), ratings)])


def test_highlight_precision_by_hand():
    # Clips by saliency: positive, negative, positive. Precision 1 at recall 1/2, 2/3 at recall 1.
    scores = one([3, 2, 1], [[4, 0, 2], [0, 0, 2], [4, 0, 0]], 6)
    assert scores["VeryGood"].precision.tolist() == [[pytest.approx((1 + 2 / 3) / 2), 0, 0]]
    # For the third rater the first two are fair: 1 and 1.
    assert scores["Fair"].precision[0, 2] == 1
    assert scores["Good"].precision[0, 2] == 0


def test_clips_of_equal_saliency_are_one_point():
    # All equal: one point, where 1 of 4 clips is positive.
    assert one([5, 5, 5, 5], [[0, 0, 0], [4, 0, 0]], 8)["Fair"].precision[0, 0] == 0.25
    # Two points: of the first two clips one is positive, of all four two.
    assert one([5, 5, 1, 1], [[4] * 3, [0] * 3, [4] * 3], 8)["Fair"].precision[0].tolist() == [0.5] * 3


def test_saliency_is_cut_or_filled_with_zeros_that_rank_above_negative_clips():
    ratings = [[4] * 3, [0] * 3, [0] * 3]
    assert one([3, 2, 1, 9, 9], ratings, 6)["Fair"].precision[0, 0] == 1  # the last two are cut off
    assert one([-1, -2], ratings, 6)["Fair"].precision[0, 0] == 0.5  # the third has 0 and comes first


def test_the_best_clip_hits_if_any_rater_agrees_and_misses_behind_the_video():
    ratings = [[0, 0, 3], [4, 4, 4]]
    assert one([9, 1], ratings, 4)["Good"].hit.tolist() == [True]
    assert one([9, 1], ratings, 4)["VeryGood"].hit.tolist() == [False]
    assert one([0, 1, 9], ratings, 4)["Fair"].hit.tolist() == [False]
    assert one([7, 7], ratings, 4)["VeryGood"].hit.tolist() == [False]  # the first of equals
    assert one([], ratings, 4)["Fair"].hit.tolist() == [False]


def test_a_rater_who_found_nothing_counts_as_zero_and_all_clips_as_one():
    scores = one([1, 2], [[4, 0, 2], [4, 0, 2]], 4)["Fair"].precision
    assert scores.tolist() == [[1, 0, 1]]


def test_highlights_are_left_out_where_nobody_predicted_or_rated_them():
    bare = Query("1", "text", "video", ((0.0, 10.0),), 150.0)
    rated = query("1", [(0, 10)], 150, [0], [[2, 2, 2]])
    silent, speaking = prediction("1", [[0, 10, 1]]), prediction("1", [[0, 10, 1]], [1] * 75)
    assert "HL-min-Fair" not in evaluate_qvhighlights([silent], [rated])
    assert "HL-min-Fair" not in evaluate_qvhighlights([speaking], [bare])
    assert evaluate_qvhighlights([speaking], [rated])["brief"]["HL-min-Fair-Hit1"] == 100


def test_saliency_for_some_queries_only_is_an_error():
    queries = [query("1", [(0, 10)], 150, [0], [[2, 2, 2]]), query("2", [(0, 10)], 150, [0], [[2, 2, 2]])]
    found = [prediction("1", [[0, 10, 1]], [1]), prediction("2", [[0, 10, 1]])]
    with pytest.raises(HighlightError, match=r"1 of 2 predictions have no pred_saliency_scores.* query 2"):
        evaluate_qvhighlights(found, queries)


@pytest.mark.parametrize(
    ("clips", "scores"),
    [
        ([75], [[1, 1, 1]]),  # the video has 75 clips, 0 to 74
        ([-1], [[1, 1, 1]]),
        ([0, 1], [[1, 1, 1]]),
        ([0], [[1, 1]]),
        ([0], [[1, 1, 5]]),
        ([0.5], [[1, 1, 1]]),
        ([0], [["1", "1", "1"]]),
        (None, None),
    ],
)
def test_ratings_that_do_not_fit_are_named(clips, scores):
    extra = {"relevant_clip_ids": clips, "saliency_scores": scores}
    broken = Query("77", "text", "video", ((0.0, 10.0),), 150.0, extra=extra)
    with pytest.raises(HighlightError, match="query 77: relevant_clip_ids must be whole numbers below 75"):
        highlight_scores([[1.0]], [broken])


# ---- matching --------------------------------------------------------------------------------------


def test_the_order_of_queries_does_not_matter():
    queries = [query(str(number), [(0, 10 + number)]) for number in range(6)]
    found = [prediction(str(number), [[0, 12, 1]]) for number in range(6)]
    assert evaluate_qvhighlights(found, queries) == evaluate_qvhighlights(found, queries[::-1])


def test_ids_without_partner_are_named_unless_partial():
    queries = [query(str(number), [(0, 10)]) for number in range(9)]
    found = [prediction(name, [[0, 10, 1]]) for name in ("8", "x")]
    with pytest.raises(PredictionError) as error:
        evaluate_qvhighlights(found, queries)
    assert "8 of 9 queries have no prediction (0, 1, 2, 3, 4, ...)" in str(error.value)
    assert "1 predictions are for no query (x)" in str(error.value)
    figures = evaluate_qvhighlights(found, queries, partial=True)
    assert figures["partial"] == {"queries": 1, "without_prediction": 8, "without_query": 1}
    assert figures["brief"]["MR-full-R1@0.7"] == 100
    assert "partial" not in evaluate_qvhighlights(found[:1], queries[8:], partial=True)
    with pytest.raises(PredictionError, match="no prediction is for a query of these annotations"):
        evaluate_qvhighlights(found[1:], queries, partial=True)


def test_queries_without_true_moments_cannot_be_judged():
    with pytest.raises(PredictionError, match="query 1 has no true moment: annotations of a blind split"):
        evaluate_qvhighlights([prediction("1", [[0, 10, 1]])], [query("1", [])])


# ---- against the plain transcription ---------------------------------------------------------------

seconds = st.one_of(
    st.integers(0, 75).map(lambda clip: 2.0 * clip), st.floats(0, 150).map(lambda s: round(s, 4))
)
score = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-5, 5).map(lambda value: round(value, 3)))
moment = st.tuples(seconds, seconds).map(sorted).filter(lambda pair: pair[0] < pair[1])
near = st.tuples(moment, st.floats(-3, 3), st.floats(-3, 3)).map(lambda x: [x[0][0] + x[1], x[0][1] + x[2]])


@st.composite
def rows(draw):
    """One query: its line of a submission and its annotation, with anything a file may hold."""
    truths = draw(st.lists(moment, min_size=1, max_size=6))
    guesses = st.one_of(
        st.tuples(seconds, seconds).map(list),  # reversed and empty ones, too
        st.sampled_from(truths).map(list),
        st.sampled_from(truths).map(lambda pair: [pair[0], (pair[0] + pair[1]) / 2]),  # IoU of exactly 1/2
        near,
    )
    windows = [[*pair, draw(score)] for pair in draw(st.lists(guesses, max_size=25))]
    duration = draw(st.integers(2, 40))
    clips = draw(st.lists(st.integers(0, duration // 2 - 1), unique=True))
    ratings = draw(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=len(clips), max_size=len(clips)))
    saliency = draw(st.lists(score, max_size=25))
    return (
        {"pred_relevant_windows": windows, "pred_saliency_scores": saliency},
        {
            "duration": duration,
            "relevant_windows": [list(pair) for pair in truths],
            "relevant_clip_ids": clips,
            "saliency_scores": [list(row) for row in ratings],
        },
    )


def both(pairs):
    """The same rows for the transcription and for us."""
    submission = [{"qid": str(number)} | row for number, (row, _) in enumerate(pairs)]
    annotations = [{"qid": str(number)} | row for number, (_, row) in enumerate(pairs)]
    predictions = [
        prediction(row["qid"], row["pred_relevant_windows"], row["pred_saliency_scores"])
        for row in submission
    ]
    queries = [
        query(
            row["qid"],
            row["relevant_windows"],
            row["duration"],
            row["relevant_clip_ids"],
            row["saliency_scores"],
        )
        for row in annotations
    ]
    return submission, annotations, predictions, queries


@given(st.lists(rows(), min_size=1, max_size=4))
def test_every_query_has_the_values_of_the_plain_transcription(pairs):
    submission, annotations, predictions, queries = both(pairs)
    truths = [row["relevant_windows"] for row in annotations]
    windows = [found.moments for found in predictions]
    ours = average_precision(windows, [found.scores for found in predictions], truths)
    theirs = [
        plain.average_precisions(row["pred_relevant_windows"][:10], true)
        for row, true in zip(submission, truths, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    first = [
        plain.first_overlap(row["pred_relevant_windows"], true)
        for row, true in zip(submission, truths, strict=True)
    ]
    assert first_iou(windows, truths).tolist() == first
    scores = highlight_scores([found.saliency for found in predictions], queries)
    for level, least in plain.LEVELS.items():
        for index, (row, annotation) in enumerate(zip(submission, annotations, strict=True)):
            positive = plain.rated_clips(annotation) >= least
            saliency = np.zeros(len(positive))
            given_scores = row["pred_saliency_scores"][: len(positive)]
            saliency[: len(given_scores)] = given_scores
            expected = [plain.highlight_precision(positive[:, rater], saliency) for rater in range(3)]
            np.testing.assert_allclose(scores[level].precision[index], expected, atol=1e-12)


@given(st.lists(rows(), min_size=1, max_size=4))
def test_all_printed_figures_are_those_of_the_plain_transcription(pairs):
    submission, annotations, predictions, queries = both(pairs)
    ours, theirs = evaluate_qvhighlights(predictions, queries), plain.evaluate(submission, annotations)
    assert list(ours) == list(theirs)
    assert list(ours["brief"]) == list(theirs["brief"])
    assert flat(ours) == flat(theirs)


def flat(figures, prefix=""):
    result = {}
    for name, value in figures.items():
        result |= flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
    return result

"""VR, SVMR and VCMR: worked by hand, and the places where float32, cutting and rounding decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import CorpusPredictions, PredictionError
from vmrlib.metrics import evaluate_corpus
from vmrlib.metrics.corpus import percent_numpy, task_hits

INDEX = {"a": 7, "b": 9}


def query(name, video="a", moments=((0, 10),), kind="v"):
    pairs = tuple((float(start), float(end)) for start, end in moments)
    return Query(name, "text", video, pairs, 60.0, extra={"type": kind} if kind else {})


def submission(**tasks):
    """Tasks -> query id -> rows (video index, start, end)."""
    return CorpusPredictions(
        INDEX,
        {
            task: {name: np.array(rows, dtype=np.float32).reshape(-1, 3) for name, rows in answers.items()}
            for task, answers in tasks.items()
        },
    )


ROWS = {"1": [[9, 0, 10], [7, 30, 40], [9, 0, 10], [7, 0, 8]]}  # IoU 0.8 at rank 4; the second of its video


def test_vcmr_asks_for_video_and_moment_by_hand():
    figures = evaluate_corpus(submission(VCMR=ROWS), [query("1")], top=(1, 3, 4), ious=(0.5, 0.9))
    assert figures["VCMR"] == {"0.5-r1": 0, "0.5-r3": 0, "0.5-r4": 100, "0.9-r1": 0, "0.9-r3": 0, "0.9-r4": 0}


def test_svmr_takes_the_rows_of_the_video_before_it_counts():
    figures = evaluate_corpus(submission(SVMR=ROWS), [query("1")], top=(1, 2), ious=(0.5,))
    assert figures["SVMR"] == {"0.5-r1": 0, "0.5-r2": 100}


def test_vr_asks_for_the_video_only():
    figures = evaluate_corpus(submission(VR=ROWS), [query("1")], top=(1, 2))
    assert figures["VR"] == {"r1": 0, "r2": 100}


def test_a_query_without_rows_is_a_miss():
    figures = evaluate_corpus(submission(VCMR=ROWS | {"2": []}), [query("1"), query("2")], (4,), (0.5,))
    assert figures["VCMR"] == {"0.5-r4": 50}


def test_by_type_each_type_has_its_own_denominator():
    queries = [query("1"), query("2", kind="t"), query("3", kind="v")]
    answers = {name: [[7, 0, 10]] if name != "3" else [[9, 0, 10]] for name in "123"}
    figures = evaluate_corpus(submission(VR=answers), queries, top=(1,))
    assert figures["VR"] == {"r1": 66.67}
    assert figures["VR_by_type"] == {
        "v-r1": 50.0,
        "t-r1": 100.0,
        "vt-r1": None,
        "desc_type_ratio": "v 66.67 t 33.33 vt 0.0",
    }


def test_without_types_there_are_no_figures_by_type():
    assert list(evaluate_corpus(submission(VR=ROWS), [query("1", kind=None)], (1,))) == ["VR"]


@pytest.mark.parametrize(
    ("moment", "end", "in_float64", "recall"), [((0.2, 3.2), 2.3, False, 100), ((0.1, 13.1), 9.2, True, 0)]
)
def test_float32_decides_at_the_threshold(moment, end, in_float64, recall):
    start = moment[0]  # 2.1 of 3 seconds, and 9.1 of 13: an IoU of 0.7 but for rounding
    assert ((end - start) / (moment[1] - start) >= 0.7) == in_float64
    rows = {"1": [[7, start, end]]}
    assert evaluate_corpus(submission(VCMR=rows), [query("1", moments=[moment])])["VCMR"]["0.7-r1"] == recall


def test_reversed_rows_and_rows_without_length_are_misses():
    rows = {"1": [[7, 10, 0], [7, 5, 5], [7, 20, 30]]}
    assert evaluate_corpus(submission(VCMR=rows), [query("1")], (100,), (0.5,))["VCMR"] == {"0.5-r100": 0}


def test_of_four_annotators_two_must_agree():
    annotators = [(0, 5), (0, 5), (5, 10), (20, 25)]
    one, two = {"1": [[7, 5, 10]]}, {"1": [[7, 0, 5]]}
    asked = [query("1", moments=annotators, kind=None)]
    assert evaluate_corpus(submission(VCMR=one), asked, (1,), (0.5,))["VCMR"] == {"0.5-r1": 0}
    assert evaluate_corpus(submission(VCMR=two), asked, (1,), (0.5,))["VCMR"] == {"0.5-r1": 100}


def test_figures_are_rounded_as_numpy_rounds():
    assert percent_numpy(1 / 4000) == 0.02  # 0.025: formatted it would be 0.03
    assert f"{100 / 4000:.2f}" == "0.03"


@pytest.mark.parametrize(
    ("answers", "asked", "message"),
    [
        ({"1": []}, ["1", "2"], r"VR: 1 of 2 queries have no prediction \(2\)"),
        ({"1": [], "x": []}, ["1"], r"VR: 1 predictions are for no query \(x\)"),
        ({"x": []}, ["1"], "no prediction is for a query of these annotations"),
    ],
)
def test_ids_must_match(answers, asked, message):
    with pytest.raises(PredictionError, match=message):
        evaluate_corpus(submission(VR=answers), [query(name) for name in asked])


def test_partial_judges_the_shared_queries_and_says_how_many():
    figures = evaluate_corpus(submission(VR=ROWS), [query("1"), query("2")], (2,), partial=True)
    assert figures["VR"] == {"r2": 100}
    assert figures["partial"] == {"VR": {"queries": 1, "without_prediction": 1, "without_query": 0}}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (query("1", video="c"), "query 1: video 'c' has no index in video2idx"),
        (query("1", moments=()), "query 1 has no true moment"),
        (query("1", kind="audio"), "must be one of v, t, vt, not 'audio'"),
    ],
)
def test_queries_that_cannot_be_judged_are_named(asked, message):
    with pytest.raises(ValueError, match=message):
        evaluate_corpus(submission(VCMR=ROWS), [asked])


grid = st.integers(0, 12).map(lambda clip: 1.5 * clip)
row = st.tuples(st.sampled_from([7, 9]), grid, grid).map(list)


@given(st.lists(st.lists(row, max_size=12), min_size=1, max_size=4), st.sampled_from(["VCMR", "SVMR", "VR"]))
def test_a_loop_over_rows_finds_the_same_hits(answers, task):
    queries = [query(str(number), moments=[(1.5, 6)]) for number in range(len(answers))]
    rows = {str(number): np.array(one, dtype=np.float32).reshape(-1, 3) for number, one in enumerate(answers)}
    hits = task_hits(task, rows, queries, INDEX, (1, 3, 100), (0.5,))
    for number, one in enumerate(answers):
        kept = [entry for entry in one if entry[0] == 7] if task == "SVMR" else one
        for k in (1, 3, 100):
            expected = False
            for video, start, end in kept[:k]:
                overlap = max(0, min(end, 6) - max(start, 1.5)) / (max(end, 6) - min(start, 1.5))
                expected |= video == 7 and (task == "VR" or overlap >= 0.5)
            assert hits[f"r{k}" if task == "VR" else f"0.5-r{k}"][number] == expected

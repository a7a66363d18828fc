"""Files of predictions: what is read is what was written, and what is wrong is named to the value."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import (
    Prediction,
    PredictionError,
    match,
    read_corpus_predictions,
    read_corpus_queries,
    read_predictions,
    write_predictions,
)

GOOD = {
    "qid": 12,
    "query": "A cat\u2028jumps.",
    "vid": "v_1",
    "pred_relevant_windows": [[0, 2.5, 0.9], [8.0, 4.0, 0.1]],
    "pred_saliency_scores": [-1, 0.5],
}


@pytest.fixture
def written(tmp_path):
    """Writes lines, objects or text, to a file."""

    def write(*lines):
        path = tmp_path / "predictions.jsonl"
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    return write


def test_a_line_is_read_with_all_it_holds(written):
    (one,) = read_predictions(written("", GOOD, "  "))
    assert (one.query_id, one.video_id, one.text) == ("12", "v_1", "A cat\u2028jumps.")
    assert one.moments.tolist() == [[0, 2.5], [8, 4]]  # as it stands: reversed windows are for the metrics
    assert one.scores.tolist() == [0.9, 0.1]
    assert one.saliency.tolist() == [-1, 0.5]
    assert one.moments.dtype == one.scores.dtype == one.saliency.dtype == np.float64


def test_text_video_and_saliency_may_be_absent_and_windows_empty(written):
    (one,) = read_predictions(written({"qid": "a", "pred_relevant_windows": []}))
    assert one.moments.shape == (0, 2)
    assert one.scores.shape == (0,)
    assert one.saliency is None
    assert (one.video_id, one.text) == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qid": None}, 'field "qid": expected text or a whole number, found None'),
        ({"qid": True}, 'field "qid": expected text or a whole number, found True'),
        ({"query": 3}, 'field "query": expected text, found 3'),
        ({"vid": ["x"]}, "field \"vid\": expected text, found ['x']"),
        (
            {"pred_relevant_windows": None},
            'field "pred_relevant_windows": expected [[start, end, score], ...], f',
        ),
        ({"pred_relevant_windows": [[0, 1, 1], [2, 3]]}, "found [2, 3]"),
        ({"pred_relevant_windows": [[0, 1, 1], [2, "3", 1]]}, "found [2, '3', 1]"),
        ({"pred_relevant_windows": [[0, True, 1]]}, "found [0, True, 1]"),
        ({"pred_relevant_windows": [[0, float("nan"), 1]]}, "found [0, nan, 1]"),
        ({"pred_relevant_windows": [[0, 10**400, 1]]}, "expected [[start, end, score], ...], found [0, 1000"),
        ({"pred_relevant_windows": [3]}, "found 3"),
        (
            {"pred_saliency_scores": "high"},
            'field "pred_saliency_scores": expected one number a clip, found ',
        ),
        ({"pred_saliency_scores": [1, None]}, "found None"),
        ({"pred_saliency_scores": [1, float("inf")]}, "found inf"),
        ({"pred_saliency_scores": [[1]]}, "found [1]"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_field_and_value(written, change, message):
    path = written(GOOD, GOOD | {"qid": 13} | change)
    with pytest.raises(PredictionError) as error:
        read_predictions(path)
    assert str(error.value).startswith(f"{path}, line 2: field ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON: "),
        ("[1]", "line 2: expected an object, found list"),
        ({"qid": 3}, 'line 2: field "pred_relevant_windows" is missing'),
        (GOOD, "line 2: field \"qid\": '12' has an answer already: line 1"),
    ],
)
def test_lines_that_are_no_predictions_are_named(written, line, message):
    with pytest.raises(PredictionError, match="predictions") as error:
        read_predictions(written(GOOD, line))
    assert message in str(error.value)


def test_a_file_without_predictions_and_bytes_that_are_no_text_are_named(written):
    with pytest.raises(PredictionError, match="no predictions"):
        read_predictions(written(""))
    path = written("")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        read_predictions(path)


finite = st.floats(-1e6, 1e6)
window = st.tuples(finite, finite, finite)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=5), st.lists(window, max_size=3), st.none() | st.lists(finite, max_size=3)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "a" / "p.jsonl"
    given_ = [
        Prediction(
            query_id=str(number),
            moments=np.array(windows, dtype=float).reshape(-1, 3)[:, :2],
            scores=np.array(windows, dtype=float).reshape(-1, 3)[:, 2],
            saliency=None if saliency is None else np.array(saliency, dtype=float),
            video_id="v",
            text=text,
        )
        for number, (text, windows, saliency) in enumerate(rows)
    ]
    write_predictions(path, given_)
    again = read_predictions(path)
    assert not list(path.parent.glob("*.tmp"))
    for one, other in zip(given_, again, strict=True):
        assert (one.query_id, one.text, one.video_id) == (other.query_id, other.text, other.video_id)
        assert one.moments.tolist() == other.moments.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert (one.saliency is None) == (other.saliency is None)
        assert one.saliency is None or one.saliency.tolist() == other.saliency.tolist()


def test_a_failed_write_leaves_the_old_file(written):
    path = written(GOOD)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_predictions(path, [Prediction("1", np.array([[0.0, np.nan]]), np.ones(1))])
    assert path.read_bytes() == before


def test_matching_keeps_the_order_of_the_predictions():
    queries = [Query(name, "", "v", ((0.0, 1.0),), 10.0) for name in "abc"]
    found = [Prediction(name, np.zeros((0, 2)), np.zeros(0)) for name in "cab"]
    matched = match(found, queries)
    assert [query.id for query in matched.queries] == ["c", "a", "b"]
    assert matched.note == {}


# ---- a corpus --------------------------------------------------------------------------------------

CORPUS = {
    "video2idx": {"v_1": 5, "v_2": 6},
    "VR": [{"desc_id": 1, "desc": "x", "predictions": [[5, 0, 0, 0.5], [6, 0, 0, 0.4]]}],
    "VCMR": [{"desc_id": 1, "desc": "x", "predictions": [[5, 1.5, 3, 0.5]] * 120}],
}


def test_a_submission_is_read_with_its_first_hundred_rows(written):
    submission = read_corpus_predictions(written(CORPUS))
    assert submission.video_index == {"v_1": 5, "v_2": 6}
    assert list(submission.tasks) == ["VCMR", "VR"]
    assert submission.tasks["VR"]["1"].tolist() == [[5, 0, 0], [6, 0, 0]]
    assert submission.tasks["VCMR"]["1"].shape == (100, 3)
    assert submission.tasks["VCMR"]["1"].dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video2idx": None}, 'field "video2idx": expected whole numbers by video id'),
        ({"video2idx": {"v": "5"}}, 'field "video2idx": expected whole numbers by video id'),
        ({"VR": {}}, "VR: expected a list of predictions, found {}"),
        (
            {"VR": [{"desc_id": 1}]},
            'VR[0]: expected fields "desc_id" and "predictions", found {\'desc_id\': 1}',
        ),
        ({"VR": CORPUS["VR"] * 2}, "VR[1]: field \"desc_id\": '1' has an answer already"),
        (
            {"VR": [{"desc_id": 1, "predictions": [[5, 0]]}]},
            'VR, desc_id 1: field "predictions": expected [video',
        ),
        ({"VR": [{"desc_id": 1, "predictions": [["v_1", 0, 0]]}]}, "found ['v_1', 0, 0]"),
    ],
)
def test_what_is_wrong_in_a_submission_is_named(written, change, message):
    with pytest.raises(PredictionError) as error:
        read_corpus_predictions(written(CORPUS | change))
    assert message in str(error.value)


def test_a_submission_has_at_least_one_task(written):
    with pytest.raises(PredictionError, match="none of the tasks VCMR, SVMR, VR"):
        read_corpus_predictions(written({"video2idx": {}}))
    with pytest.raises(PredictionError, match="expected an object, found list"):
        read_corpus_predictions(written("[]"))


def test_queries_of_tvr_are_read_from_any_file_of_that_format(written):
    line = {
        "desc_id": 3,
        "desc": "He sits.",
        "vid_name": "v_1",
        "duration": 60.5,
        "ts": [0, 2.5],
        "type": "vt",
    }
    (one,) = read_corpus_queries(written(line))
    assert (one.id, one.text, one.video_id, one.duration) == ("3", "He sits.", "v_1", 60.5)
    assert one.moments == ((0.0, 2.5),)
    assert one.extra == {"type": "vt"}
    (four,) = read_corpus_queries(written(line | {"ts": [[0, 5]] * 4}))
    assert len(four.moments) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"desc_id": 3, "desc": "x"}, 'line 1: field "vid_name" is missing'),
        ({"desc_id": 3, "vid_name": "v", "ts": [1]}, 'field "ts": expected [start, end], found [1]'),
        ({"desc_id": 3, "vid_name": "v", "ts": []}, 'field "ts": expected [start, end], found []'),
        (
            {"desc_id": 3, "vid_name": "v", "ts": [[1, "2"]]},
            "field \"ts\": expected [start, end], found [[1, '2']]",
        ),
        ({"desc_id": 3, "vid_name": "v", "ts": [9, 4]}, 'field "ts": expected [start, end], found [9, 4]'),
        ({"desc_id": 3, "vid_name": "v", "ts": [10**400, 1]}, 'field "ts": expected [start, end]'),
        ({"desc_id": [3], "vid_name": "v", "ts": [0, 1]}, 'field "desc_id": expected text'),
        (
            {"desc_id": 3, "vid_name": "v", "ts": [0, 1], "duration": None},
            'field "duration": expected seconds',
        ),
    ],
)
def test_what_is_wrong_in_queries_of_tvr_is_named(written, line, message):
    with pytest.raises(PredictionError) as error:
        read_corpus_queries(written(line))
    assert message in str(error.value)


def test_a_query_of_tvr_is_there_once(written):
    line = {"desc_id": 3, "vid_name": "v", "ts": [0, 1]}
    with pytest.raises(PredictionError, match="line 2: field \"desc_id\": '3' is already used in line 1"):
        read_corpus_queries(written(line, line))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "line 1: not JSON that can be read"),
        ('{"qid": 1, "qid": 2, "pred_relevant_windows": []}', "'qid' is there twice"),
        ('{"qid": 1, "pred_relevant_windows": [[0, 1e300, 1]]}', "found [0, 1e+300, 1]"),
    ],
)
def test_json_that_cannot_be_used_is_named_with_its_line(written, text, message):
    path = written("")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_predictions(path)
    assert message in str(error.value) and f"{path}, line 1" in str(error.value)


def test_a_byte_order_mark_is_no_mistake(written):
    path = written("")
    path.write_text('\ufeff{"qid": 1, "pred_relevant_windows": []}', encoding="utf-8")
    assert read_predictions(path)[0].query_id == "1"

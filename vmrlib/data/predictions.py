"""What models answered: files of predicted moments, and of predictions over a corpus of videos.

Moments: JSON lines as the field's tools write them, `{"qid", "query", "vid", "pred_relevant_windows":
[[start, end, score], ...], "pred_saliency_scores": [...]}`, seconds, best first, one saliency score per clip
of two seconds; `query`, `vid` and the saliency may be absent. Corpus: one JSON object, the submission format
of TVR.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from vmrlib.data.annotations import (
    Problem,
    Query,
    is_number,
    parse_line,
    read_lines,
    read_text,
)
from vmrlib.data.files import write_text

TASKS = ("VCMR", "SVMR", "VR")
MOST = 100  # rows of a corpus prediction that count
MOST_VIDEOS = 2**24  # whole numbers up to here are exact in float32
LARGEST = float(np.finfo(np.float32).max)
SHOWN = 5  # ids that an error names


class PredictionError(ValueError):
    """A line that is no valid prediction, or predictions that do not fit the queries."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The moments that a model found for one query (seconds, best first), with their scores."""

    query_id: str
    moments: Float[np.ndarray, "N 2"]
    scores: Float[np.ndarray, " N"]
    saliency: Float[np.ndarray, " T"] | None = None
    video_id: str = ""
    text: str = ""


@dataclass(frozen=True, eq=False)
class CorpusPredictions:
    """What a model found in a corpus: task -> query id -> rows (video index, start, end), best first.

    Float32, as the evaluator of TVR computes; at most the first 100 rows of a query.
    """

    video_index: dict[str, int]
    tasks: dict[str, dict[str, Float[np.ndarray, "N 3"]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Matched:
    """Predictions and queries with the same ids in the same order, and how many had no partner."""

    predictions: list
    queries: list[Query]
    without_prediction: int = 0
    without_query: int = 0

    @property
    def note(self) -> dict[str, int]:
        """How many queries were judged and how many left out; empty where none was left out."""
        if not (self.without_prediction or self.without_query):
            return {}
        return {
            "queries": len(self.queries),
            "without_prediction": self.without_prediction,
            "without_query": self.without_query,
        }


def read_predictions(path: str | os.PathLike) -> list[Prediction]:
    """The predictions of a JSONL file, one a line; blank lines are skipped.

    Raises PredictionError that names file, line, field and value, and OSError when it cannot be read.
    """
    predictions, seen = [], {}
    for where, row in json_lines(path):
        prediction = _prediction(row, where)
        if prediction.query_id in seen:
            first = seen[prediction.query_id]
            raise PredictionError(
                f'{where}: field "qid": {prediction.query_id!r} has an answer already: {first}'
            )
        seen[prediction.query_id] = where.rpartition(", ")[2]
        predictions.append(prediction)
    if not predictions:
        raise PredictionError(f"{path}: no predictions")
    return predictions


def write_predictions(path: str | os.PathLike, predictions: Iterable[Prediction]) -> None:
    """Writes one line a prediction; the file appears whole or not at all."""
    write_text(path, "".join(_line(prediction) for prediction in predictions))


def read_corpus_predictions(path: str | os.PathLike) -> CorpusPredictions:
    """A submission in TVR's format: `{"video2idx", "VCMR", "SVMR", "VR"}`, any of the three tasks.

    A task is a list of `{"desc_id", "predictions": [[video index, start, end, score], ...]}`, best first;
    the score is ignored. Raises PredictionError that names file, task, query and value.
    """
    submission = _object(read_text(path), f"{path}")
    index = submission.get("video2idx")
    if not isinstance(index, dict) or not all(
        type(number) is int and abs(number) <= MOST_VIDEOS for number in index.values()
    ):
        raise PredictionError(f'{path}: field "video2idx": expected whole numbers by video id')
    present = [task for task in TASKS if task in submission]
    if not present:
        raise PredictionError(f"{path}: none of the tasks {', '.join(TASKS)}")
    return CorpusPredictions(index, {task: _task(submission[task], f"{path}, {task}") for task in present})


def read_corpus_queries(path: str | os.PathLike) -> list[Query]:
    """The queries of a JSONL file in TVR's fields: `desc_id, desc, vid_name, duration, ts, type`.

    `ts` is one moment, or one for each annotator, as in DiDeMo. Raises PredictionError as
    `read_predictions`.
    """
    queries, seen = [], {}
    for where, row in json_lines(path):
        query = _corpus_query(row, where)
        if query.id in seen:
            raise PredictionError(
                f'{where}: field "desc_id": {query.id!r} is already used in {seen[query.id]}'
            )
        seen[query.id] = where.rpartition(", ")[2]
        queries.append(query)
    if not queries:
        raise PredictionError(f"{path}: no queries")
    return queries


def match(predictions: Sequence[Prediction], queries: Sequence[Query], partial: bool = False) -> Matched:
    """The queries that have a prediction, beside it, in the order of the predictions.

    Raises PredictionError for a query without prediction or a prediction without query, unless `partial`.
    """
    by_id = {query.id: query for query in queries}
    answered = {prediction.query_id for prediction in predictions}
    kept = [prediction for prediction in predictions if prediction.query_id in by_id]
    check_ids(answered, by_id.keys(), partial)
    return Matched(
        kept,
        [by_id[prediction.query_id] for prediction in kept],
        without_prediction=len(by_id.keys() - answered),
        without_query=len(answered - by_id.keys()),
    )


def check_queries(queries: Iterable[Query]) -> None:
    """Raises PredictionError for a query that cannot be judged: no true moment, or no duration."""
    for query in queries:
        if not query.moments:
            raise PredictionError(f"query {query.id} has no true moment: annotations of a blind split?")
        if query.duration <= 0:
            raise PredictionError(f"query {query.id} has no duration")


def check_ids(answered: Iterable[str], asked: Iterable[str], partial: bool = False, what: str = "") -> None:
    """Raises PredictionError that counts and names the ids which only one side has.

    With `partial` only when no id is shared. `what` begins the message.
    """
    answered, asked = dict.fromkeys(answered), dict.fromkeys(asked)
    unanswered = [name for name in asked if name not in answered]
    unknown = [name for name in answered if name not in asked]
    if len(unknown) == len(answered):
        raise PredictionError(
            f"{what}no prediction is for a query of these annotations: predictions are for "
            f"{_named(unknown) or 'none'}, annotations have {_named(list(asked)) or 'none'}"
        )
    if partial or not (unanswered or unknown):
        return
    parts = []
    if unanswered:
        parts.append(f"{len(unanswered)} of {len(asked)} queries have no prediction ({_named(unanswered)})")
    if unknown:
        parts.append(f"{len(unknown)} predictions are for no query ({_named(unknown)})")
    raise PredictionError(f"{what}{' and '.join(parts)}; --partial judges the shared ones")


def json_lines(path: str | os.PathLike) -> Iterator[tuple[str, dict]]:
    """Where it stands and the object, of every line that is not blank."""
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        yield where, _object(line, where)


def _object(text: str, where: str) -> dict:
    row = parse_line(text)
    if isinstance(row, Problem):
        raise PredictionError(f"{where}: {row.message}")
    return row


def _corpus_query(row: dict, where: str) -> Query:
    for name in ("desc_id", "vid_name", "ts"):
        if name not in row:
            raise PredictionError(f'{where}: field "{name}" is missing')
    _check_id(row["desc_id"], "desc_id", where)
    moments = [row["ts"]] if _is_moment(row["ts"]) else row["ts"]
    if not isinstance(moments, list) or not moments or not all(map(_is_moment, moments)):
        raise PredictionError(f'{where}: field "ts": expected [start, end], found {_short(row["ts"])}')
    duration = row.get("duration", 0)
    if not is_number(duration):
        raise PredictionError(f'{where}: field "duration": expected seconds, found {_short(duration)}')
    return Query(
        id=str(row["desc_id"]),
        text=str(row.get("desc", "")),
        video_id=str(row["vid_name"]),
        moments=tuple((float(start), float(end)) for start, end in moments),
        duration=float(duration),
        extra={"type": row["type"]} if "type" in row else {},
    )


def _check_id(value, name: str, where: str) -> None:
    if type(value) not in (str, int):
        raise PredictionError(
            f'{where}: field "{name}": expected text or a whole number, found {_short(value)}'
        )


def _prediction(row: dict, where: str) -> Prediction:
    for name in ("qid", "pred_relevant_windows"):
        if name not in row:
            raise PredictionError(f'{where}: field "{name}" is missing')
    _check_id(row["qid"], "qid", where)
    for name in ("query", "vid"):
        if not isinstance(row.get(name, ""), str):
            raise PredictionError(f'{where}: field "{name}": expected text, found {_short(row[name])}')
    windows = _numbers(row["pred_relevant_windows"], 3)
    if windows is None:
        value = _culprit(row["pred_relevant_windows"], lambda window: _numbers([window], 3) is None)
        raise PredictionError(
            f'{where}: field "pred_relevant_windows": expected [[start, end, score], ...], found {value}'
        )
    saliency = None
    if row.get("pred_saliency_scores") is not None:
        saliency = _numbers(row["pred_saliency_scores"])
        if saliency is None:
            value = _culprit(row["pred_saliency_scores"], lambda score: not is_number(score))
            raise PredictionError(
                f'{where}: field "pred_saliency_scores": expected one number a clip, found {value}'
            )
    return Prediction(
        query_id=str(row["qid"]),
        moments=windows[:, :2],
        scores=windows[:, 2],
        saliency=saliency,
        video_id=row.get("vid", ""),
        text=row.get("query", ""),
    )


def _numbers(values, columns: int = 0) -> np.ndarray | None:
    """A list of numbers, or of rows of `columns` numbers, as an array; None where it is anything else."""
    if not isinstance(values, list):
        return None
    flat = values
    if columns:
        if not all(isinstance(row, list) and len(row) == columns for row in values):
            return None
        flat = [value for row in values for value in row]
    if not set(map(type, flat)) <= {int, float}:  # True is no number here, and NumPy reads "1" as one
        return None
    try:
        array = np.array(flat, dtype=np.float64)
    except OverflowError:
        return None
    if not (np.abs(array) <= LARGEST).all():  # not NaN or infinity either
        return None
    return array.reshape(-1, columns) if columns else array


def _culprit(values, wrong) -> str:
    """The first element that is wrong, or the whole value where it is no list; short."""
    found = next((value for value in values if wrong(value)), values) if isinstance(values, list) else values
    return _short(found)


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _line(prediction: Prediction) -> str:
    windows = np.column_stack([prediction.moments, prediction.scores])
    row = {
        "qid": prediction.query_id,
        "query": prediction.text,
        "vid": prediction.video_id,
        "pred_relevant_windows": windows.astype(float).tolist(),
    }
    if prediction.saliency is not None:
        row["pred_saliency_scores"] = np.asarray(prediction.saliency, dtype=float).tolist()
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _task(items, where: str) -> dict[str, np.ndarray]:
    """Rows (video index, start, end) by query id of one task."""
    if not isinstance(items, list):
        raise PredictionError(f"{where}: expected a list of predictions, found {_short(items)}")
    rows = {}
    for number, item in enumerate(items):
        if not isinstance(item, dict) or not {"desc_id", "predictions"} <= item.keys():
            raise PredictionError(
                f'{where}[{number}]: expected fields "desc_id" and "predictions", found {_short(item)}'
            )
        _check_id(item["desc_id"], "desc_id", f"{where}[{number}]")
        name = str(item["desc_id"])
        if name in rows:
            raise PredictionError(f'{where}[{number}]: field "desc_id": {name!r} has an answer already')
        rows[name] = _corpus_rows(item["predictions"], f"{where}, desc_id {name}")
    return rows


def _corpus_rows(values, where: str) -> np.ndarray:
    good = isinstance(values, list) and all(isinstance(row, list) and len(row) >= 3 for row in values[:MOST])
    rows = _numbers([row[:3] for row in values[:MOST]], 3) if good else None
    if rows is None:
        value = _culprit(
            values, lambda row: not isinstance(row, list) or len(row) < 3 or _numbers([row[:3]], 3) is None
        )
        raise PredictionError(
            f'{where}: field "predictions": expected [video, start, end, score], found {value}'
        )
    return rows.astype(np.float32)


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


def _is_moment(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]

"""One query with its moments, and the JSON lines it is written in.

The fields of a line are those of QVHighlights, which the field's tools already read:
`{"qid", "query", "vid", "duration", "relevant_windows": [[start, end], ...]}`, seconds.
Whatever else a line carries is kept in `Query.extra`.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

REQUIRED = ("qid", "query", "vid", "duration", "relevant_windows")


class AnnotationError(ValueError):
    """A line that is no valid query; the message names file, line, field and value."""


@dataclass(frozen=True)
class Query:
    """A sentence and the moments of a video that it describes (seconds)."""

    id: str
    text: str
    video_id: str
    moments: tuple[tuple[float, float], ...]
    duration: float
    split: str = ""
    extra: dict = field(default_factory=dict, compare=False)


def read_jsonl(path: str | os.PathLike, split: str = "") -> list[Query]:
    """The queries of a JSONL file, one a line; blank lines are skipped.

    Raises AnnotationError that names file, line, field and value, and OSError when it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    queries, seen = [], {}
    # Not splitlines(), which also cuts at characters that JSON allows inside a text, like U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        query = _parse(line, where, split)
        if query.id in seen:
            raise AnnotationError(
                f'{where}: field "qid": {query.id!r} is already used in line {seen[query.id]}'
            )
        seen[query.id] = number
        queries.append(query)
    return queries


def write_jsonl(path: str | os.PathLike, queries: list[Query]) -> None:
    """Writes one line a query; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(_line(query) for query in queries)  # before any file is touched
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def _line(query: Query) -> str:
    row = {
        "qid": query.id,
        "query": query.text,
        "vid": query.video_id,
        "duration": query.duration,
        "relevant_windows": [list(moment) for moment in query.moments],
    }
    if query.split:
        row["split"] = query.split
    return json.dumps(row | query.extra, ensure_ascii=False, allow_nan=False) + "\n"


def _parse(line: str, where: str, split: str) -> Query:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(row, dict):
        raise AnnotationError(f"{where}: expected an object, found {type(row).__name__}")
    for name in REQUIRED:
        if name not in row:
            raise AnnotationError(f'{where}: field "{name}" is missing')
    for name in ("query", "vid"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise AnnotationError(f'{where}: field "{name}": expected text, found {row[name]!r}')
    if not isinstance(row["qid"], str | int) or isinstance(row["qid"], bool):
        raise AnnotationError(f'{where}: field "qid": expected text or a whole number, found {row["qid"]!r}')
    duration = row["duration"]
    if not _is_number(duration) or duration <= 0:
        raise AnnotationError(f'{where}: field "duration": expected seconds above 0, found {duration!r}')
    windows = row["relevant_windows"]
    if not isinstance(windows, list) or not windows:
        raise AnnotationError(
            f'{where}: field "relevant_windows": expected [[start, end], ...], found {windows!r}'
        )
    for window in windows:
        if not (isinstance(window, list) and len(window) == 2 and all(map(_is_number, window))):
            raise AnnotationError(
                f'{where}: field "relevant_windows": expected [start, end], found {window!r}'
            )
        if not 0 <= window[0] < window[1]:
            raise AnnotationError(
                f'{where}: field "relevant_windows": {window!r} does not run forwards from 0'
            )
        if window[0] >= duration:
            raise AnnotationError(
                f'{where}: field "relevant_windows": {window!r} starts after the video\'s {duration} s'
            )
    known = (*REQUIRED, "split")
    return Query(
        id=str(row["qid"]),
        text=row["query"],
        video_id=row["vid"],
        moments=tuple((float(start), float(end)) for start, end in windows),
        duration=float(duration),
        split=str(row.get("split", split)),
        extra={name: value for name, value in row.items() if name not in known},
    )


def _is_number(value) -> bool:
    # The comparison is False for NaN and infinity, and for whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max

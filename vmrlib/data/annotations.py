"""One query with its moments, and the JSON lines it is written in.

The fields of a line are those of QVHighlights, which the field's tools already read:
`{"qid", "query", "vid", "duration", "relevant_windows": [[start, end], ...]}`, seconds.
A line without `relevant_windows` is blind: a test query whose moments are not given.
Whatever else a line carries is kept in `Query.extra`. `docs/own-data.md` explains every field.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vmrlib.data.files import write_text

REQUIRED = ("qid", "query", "vid", "duration")
WINDOWS, CLIPS, SALIENCY = "relevant_windows", "relevant_clip_ids", "saliency_scores"
CLIP = 2  # seconds of a clip that is rated, as in QVHighlights
SHOWN = 80  # characters of a value in a message


class AnnotationError(ValueError):
    """An annotation that is wrong; the message names file, line or video, field and value."""


@dataclass(frozen=True)
class Query:
    """A sentence and the moments of a video that it describes (seconds).

    `moments` is empty where they are not given (a blind test query, a caption of a whole video);
    `duration` is 0 where a dataset does not say it.
    """

    id: str
    text: str
    video_id: str
    moments: tuple[tuple[float, float], ...]
    duration: float
    split: str = ""
    extra: dict = field(default_factory=dict, compare=False)


class Problem(NamedTuple):
    """What is wrong with a line: the field ("" for the line as a whole), its value, and the message."""

    field: str
    value: object
    message: str

    def __str__(self) -> str:
        return f'field "{self.field}"{self.message}' if self.field else self.message


def read_jsonl(path: str | os.PathLike, split: str = "") -> list[Query]:
    """The queries of a JSONL file, one a line; blank lines are skipped.

    Raises AnnotationError that names file, line, field and value, and OSError when it cannot be read.
    """
    queries, seen = [], {}
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        row = parse_line(line)
        for problem in [row] if isinstance(row, Problem) else find_problems(row):
            raise AnnotationError(f"{where}: {problem}")
        query = _query(row, split)
        if query.id in seen:
            message = f"{shown(query.id)} is already used in line {seen[query.id]}"
            raise AnnotationError(f'{where}: field "qid": {message}')
        seen[query.id] = number
        queries.append(query)
    return queries


def write_jsonl(path: str | os.PathLike, queries: list[Query]) -> None:
    """Writes one line a query; the file appears whole or not at all."""
    write_text(path, "".join(_line(query) for query in queries))


def read_text(path: str | os.PathLike) -> str:
    """The text of a UTF-8 file, without a byte order mark; AnnotationError names the line that is none."""
    content = _content(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        number, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"not UTF-8 text: {error.reason} at byte {column}"
        raise AnnotationError(f"{path}, line {number}: {message}") from None


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers from 1; AnnotationError as `read_text`."""
    for number, line in decoded_lines(path):
        if isinstance(line, Problem):
            raise AnnotationError(f"{path}, line {number}: {line}")
        yield number, line


def decoded_lines(path: str | os.PathLike) -> Iterator[tuple[int, str | Problem]]:
    """The lines that are not blank, numbered from 1; a Problem for each one that is not UTF-8 text."""
    # Not splitlines(), which also cuts at characters that JSON allows inside a text, like U+2028.
    for number, line in enumerate(_content(path).split(b"\n"), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8 text: {error.reason} at byte {error.start + 1}"
            yield number, Problem("", line.decode("utf-8", "replace"), message)
            continue
        if text.strip():
            yield number, text


def parse_line(line: str) -> dict | Problem:
    """The object that a line of JSON holds, or the Problem that it has."""
    try:
        row = json.loads(line, object_pairs_hook=unique_fields)
    except json.JSONDecodeError as error:
        return Problem("", line, f"not JSON: {error.msg} at column {error.colno}")
    except AnnotationError as error:
        return Problem("", line, str(error))
    except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
        return Problem("", line, f"not JSON that can be read: {error}")
    if not isinstance(row, dict):
        return Problem("", row, f"expected an object, found {type(row).__name__}")
    return row


def unique_fields(pairs: list[tuple[str, object]]) -> dict:
    """The object that JSON's pairs make; AnnotationError for a name that is there twice.

    Python's parser would keep the last of them and say nothing.
    """
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError(f"{shown(twice)} is there twice")
    return row


def find_problems(row: dict) -> Iterator[Problem]:
    """Everything that keeps a line from being a query, in the order of the fields."""
    for name in REQUIRED:
        if name not in row:
            yield Problem(name, None, " is missing")
    for name in ("query", "vid"):
        if name in row and (not isinstance(row[name], str) or not row[name].strip()):
            yield Problem(name, row[name], f": expected text, found {shown(row[name])}")
    qid = row.get("qid", "")
    if not isinstance(qid, str | int) or isinstance(qid, bool):
        yield Problem("qid", qid, f": expected text or a whole number, found {shown(qid)}")
    duration = row.get("duration")
    known = is_number(duration) and duration > 0
    if "duration" in row and not known:
        yield Problem("duration", duration, f": expected seconds above 0, found {shown(duration)}")
    if WINDOWS in row:
        yield from _window_problems(row[WINDOWS], duration if known else sys.float_info.max)
    if not isinstance(row.get("split", ""), str):
        yield Problem("split", row["split"], f": expected text, found {shown(row['split'])}")
    if CLIPS in row and not are_clips(row[CLIPS]):
        yield Problem(CLIPS, row[CLIPS], f": expected whole numbers from 0, found {shown(row[CLIPS])}")
    if SALIENCY in row and not are_ratings(row[SALIENCY]):
        message = f": expected a list of ratings for each clip, found {shown(row[SALIENCY])}"
        yield Problem(SALIENCY, row[SALIENCY], message)


def are_clips(value) -> bool:
    """True for a list of whole numbers from 0, the numbers of clips of `CLIP` seconds."""
    return isinstance(value, list) and all(
        isinstance(clip, int) and not isinstance(clip, bool) and clip >= 0 for clip in value
    )


def are_ratings(value) -> bool:
    """True for a list that has a list of numbers for each clip, one of each rater."""
    return isinstance(value, list) and all(
        isinstance(ratings, list) and ratings and all(map(is_number, ratings)) for ratings in value
    )


def is_number(value) -> bool:
    """True for an int or float that is finite, False for anything else, truth values included."""
    # The comparison is False for NaN and infinity, and for whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def shown(value: object) -> str:
    """The value as a message shows it: cut off where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _content(path: str | os.PathLike) -> bytes:
    """What is in a file, with a line feed at the end of each line and no byte order mark."""
    content = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _window_problems(windows: object, duration: float) -> Iterator[Problem]:
    if not isinstance(windows, list) or not windows:
        yield Problem(WINDOWS, windows, f": expected [[start, end], ...], found {shown(windows)}")
        return
    for window in windows:
        if not (isinstance(window, list) and len(window) == 2 and all(map(is_number, window))):
            yield Problem(WINDOWS, window, f": expected [start, end], found {shown(window)}")
        elif not 0 <= window[0] < window[1]:
            yield Problem(WINDOWS, window, f": {shown(window)} does not run forwards from 0")
        elif window[0] >= duration:
            yield Problem(WINDOWS, window, f": {shown(window)} starts after the video's {duration} s")


def _line(query: Query) -> str:
    row = {"qid": query.id, "query": query.text, "vid": query.video_id, "duration": query.duration}
    if query.moments:
        row[WINDOWS] = [list(moment) for moment in query.moments]
    if query.split:
        row["split"] = query.split
    return json.dumps(row | query.extra, ensure_ascii=False, allow_nan=False) + "\n"


def _query(row: dict, split: str) -> Query:
    known = (*REQUIRED, WINDOWS, "split")
    return Query(
        id=str(row["qid"]),
        text=row["query"],
        video_id=row["vid"],
        moments=tuple((float(start), float(end)) for start, end in row.get(WINDOWS, ())),
        duration=float(row["duration"]),
        split=row.get("split", split),
        extra={name: value for name, value in row.items() if name not in known},
    )

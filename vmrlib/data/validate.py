"""`data validate`: everything that is wrong or suspicious in annotations of one's own, line by line.

The fields are explained in `docs/own-data.md`. An error is what `read_jsonl` refuses, or what no tool could
use; a warning is what may be meant but seldom is.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

from vmrlib.data.annotations import (
    CLIP,
    CLIPS,
    SALIENCY,
    SHOWN,
    WINDOWS,
    Problem,
    are_clips,
    are_ratings,
    decoded_lines,
    find_problems,
    is_number,
    parse_line,
    shown,
)

SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
TOLERANCE = 1.0  # seconds that a video may be longer or shorter than its `duration`


@dataclass(frozen=True)
class Finding:
    """An error or a warning: the line (0: the whole file), field, value and what is wrong with it."""

    level: str
    line: int
    field: str
    value: object
    message: str


def validate(path: str | Path, videos: str | Path | None = None) -> tuple[list[Finding], int]:
    """Everything found in a JSONL file, in the order of its lines, and the number of queries.

    `videos` is a folder in which every video must be, as VID or VID with the suffix of a video; what a video
    says of its length is compared with `duration`. Raises OSError when the file or the folder is not there.
    """
    rows: dict[int, dict] = {}
    found: list[Finding] = []
    for number, line in decoded_lines(path):
        row = line if isinstance(line, Problem) else parse_line(line)
        if isinstance(row, Problem):
            found.append(Finding("error", number, "", row.value, row.message))
            continue
        rows[number] = row
        found += _line(number, row)
    if not rows and not found:
        found.append(Finding("error", 0, "", None, "there are no queries in it"))
    found += _repetitions(rows)
    found += _blind(rows)
    if videos is not None:
        found += _videos(rows, Path(videos))
    return sorted(found, key=lambda one: one.line), len(rows)


def as_line(path: str | Path, finding: Finding) -> str:
    """A finding in one line: level, file, line, field and what is wrong."""
    where = f"{path}, line {finding.line}" if finding.line else f"{path}"
    field = f' field "{finding.field}":' if finding.field else ""
    return f"{finding.level}: {where}:{field} {' '.join(finding.message.split())}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "exit code 1: there are errors\nexample: python -m vmrlib data validate mine.jsonl --videos videos"
    )
    parser.add_argument(
        "file", metavar="FILE", help="annotations, JSON lines as docs/own-data.md explains them"
    )
    parser.add_argument(
        "--videos", metavar="FOLDER", help="the videos: each must be there and last as long as told"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints all findings; 0 when there is no error among them."""
    found, queries = validate(args.file, args.videos)
    errors = sum(one.level == "error" for one in found)
    if args.json:
        findings = [vars(one) | {"value": _as_json(one.value)} for one in found]
        about = {"file": args.file, "queries": queries, "errors": errors, "warnings": len(found) - errors}
        print(json.dumps(about | {"findings": findings}, indent=1))  # ASCII: any terminal can show it
    else:
        for one in found:
            print(as_line(args.file, one))
        print(f"{args.file}: {queries} queries, {errors} errors, {len(found) - errors} warnings")
    return 1 if errors else 0


def _line(number: int, row: dict) -> Iterator[Finding]:
    """What can be said of a line by itself."""
    for problem in find_problems(row):
        yield Finding(
            "error", number, problem.field, problem.value, problem.message.removeprefix(":").strip()
        )
    text = row.get("query")
    if isinstance(text, str) and text.strip() and " ".join(text.split()) != text:
        yield Finding("warning", number, "query", text, f"blanks outside or several inside: {shown(text)}")
    duration = row.get("duration")
    known = is_number(duration) and duration > 0
    if known:
        yield from _window_warnings(number, row, duration)
    yield from _saliency(number, row, duration if known else None)


def _window_warnings(number: int, row: dict, duration: float) -> Iterator[Finding]:
    windows = row.get(WINDOWS)
    proper = [
        tuple(w)
        for w in (windows if isinstance(windows, list) else ())
        if isinstance(w, list) and len(w) == 2 and all(map(is_number, w)) and w[0] < w[1]
    ]
    for window in proper:
        if window[1] > duration:
            message = f"{list(window)} ends after the video's {duration} s"
            yield Finding("warning", number, WINDOWS, list(window), message)
    ordered = sorted(proper)
    for first, second in pairwise(ordered):
        if second[0] < first[1]:
            message = f"{list(first)} and {list(second)} overlap"
            yield Finding("warning", number, WINDOWS, list(second), message)


def _saliency(number: int, row: dict, duration: float | None) -> Iterator[Finding]:
    """What is suspicious in the optional fields of highlights: clips, and ratings of each of them."""
    clips, scores = row.get(CLIPS), row.get(SALIENCY)
    if are_clips(clips) and clips and duration is not None and max(clips) * CLIP >= duration:
        message = f"clip {shown(max(clips))} starts after the video's {duration} s (clips are {CLIP} s)"
        yield Finding("warning", number, CLIPS, max(clips), message)
    if not are_ratings(scores):
        return
    message = f"of {len(scores)} clips, but "
    if CLIPS not in row:
        yield Finding("warning", number, SALIENCY, len(scores), message + f'no "{CLIPS}"')
    elif are_clips(clips) and len(clips) != len(scores):
        yield Finding("warning", number, SALIENCY, len(scores), message + f"{CLIPS} has {len(clips)}")


def _repetitions(rows: dict[int, dict]) -> Iterator[Finding]:
    """Ids, queries and durations that contradict or repeat those of an earlier line."""
    ids: dict[str, int] = {}
    texts: dict[tuple[str, str], int] = {}
    durations: dict[str, tuple[float, int]] = {}
    for number, row in rows.items():
        qid, text, video, duration = (row.get(name) for name in ("qid", "query", "vid", "duration"))
        if isinstance(qid, str | int) and not isinstance(qid, bool):
            first = ids.setdefault(str(qid), number)
            if first != number:
                message = f"{shown(str(qid))} is already used in line {first}"
                yield Finding("error", number, "qid", qid, message)
        if not isinstance(video, str):
            continue
        if isinstance(text, str):
            first = texts.setdefault((video, " ".join(text.lower().split())), number)
            if first != number:
                message = f"the same query of the same video as in line {first}: {shown(text)}"
                yield Finding("warning", number, "query", text, message)
        if is_number(duration):
            told, first = durations.setdefault(video, (duration, number))
            if told != duration:
                message = f"{duration} s, but {told} s in line {first} for the same video"
                yield Finding("warning", number, "duration", duration, message)


def _blind(rows: dict[int, dict]) -> Iterator[Finding]:
    """Lines without windows in a split with windows: most likely the field is forgotten or misspelt."""
    told = {_split(row) for row in rows.values() if WINDOWS in row}
    for number, row in rows.items():
        if WINDOWS not in row and _split(row) in told:
            which = f"of split {shown(_split(row))} " if _split(row) else ""
            yield Finding("warning", number, WINDOWS, None, f"missing, though other lines {which}have it")


def _split(row: dict) -> str:
    split = row.get("split", "")
    return split if isinstance(split, str) else ""


def _videos(rows: dict[int, dict], folder: Path) -> Iterator[Finding]:
    """Videos that are not in the folder, cannot be opened or last longer or shorter than told."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder of videos")
    there = {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}
    by_id = {file.stem: file for file in there.values() if file.suffix.lower() in SUFFIXES} | there
    seen = set()
    for number, row in rows.items():
        video, duration = row.get("vid"), row.get("duration")
        if not isinstance(video, str) or not video.strip() or video in seen:
            continue
        seen.add(video)
        if video not in by_id:
            yield Finding("error", number, "vid", video, f"no video {shown(video)} in {folder}")
            continue
        seconds = _seconds(by_id[video])
        if seconds is None:
            yield Finding("error", number, "vid", video, f"{by_id[video]} cannot be opened as a video")
        elif seconds and is_number(duration) and abs(seconds - duration) > TOLERANCE:
            message = f"{duration} s, but {by_id[video].name} lasts {seconds:.2f} s"
            yield Finding("warning", number, "duration", duration, message)


def _seconds(path: Path) -> float | None:
    """How long the file says it lasts, 0 where it does not say, None where it is no video."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return None
            return (container.duration or 0) / av.time_base
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _as_json(value: object) -> object:
    """The value itself where it is short, else the beginning of its text."""
    try:
        return value if len(json.dumps(value, allow_nan=False)) <= SHOWN else shown(value)
    except ValueError:  # NaN and infinity, which JSON does not have
        return shown(value)

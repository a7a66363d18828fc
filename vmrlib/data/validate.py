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
    WINDOWS,
    Problem,
    find_problems,
    is_number,
    parse_line,
    read_lines,
)

CLIPS, SALIENCY = "relevant_clip_ids", "saliency_scores"
CLIP = 2  # seconds, as in QVHighlights
SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
TOLERANCE = 1.0  # seconds that a video may be longer or shorter than its `duration`
SHOWN = 80  # characters of a value in a message


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
    says of its length is compared with `duration`. Raises OSError when the file or the folder is not there,
    and AnnotationError when the file is no text.
    """
    rows: dict[int, dict] = {}
    found: list[Finding] = []
    for number, line in read_lines(path):
        row = parse_line(line)
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
        findings = [vars(one) | {"value": _short(one.value)} for one in found]
        about = {"file": args.file, "queries": queries, "errors": errors, "warnings": len(found) - errors}
        print(json.dumps(about | {"findings": findings}, ensure_ascii=False, indent=1))
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
    if "split" in row and not isinstance(row["split"], str):
        yield Finding("error", number, "split", row["split"], f"expected text, found {_short(row['split'])}")
    text = row.get("query")
    if isinstance(text, str) and text.strip() and " ".join(text.split()) != text:
        yield Finding("warning", number, "query", text, f"blanks outside or several inside: {_short(text)}")
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
    """The optional fields of highlights: clips of 2 s, and a rating of each of them by each rater."""
    clips, scores = row.get(CLIPS), row.get(SALIENCY)
    right = {}
    if CLIPS in row:
        whole = isinstance(clips, list) and all(
            isinstance(clip, int) and not isinstance(clip, bool) and clip >= 0 for clip in clips
        )
        right[CLIPS] = whole
        if not whole:
            message = f"expected whole numbers from 0, found {_short(clips)}"
            yield Finding("error", number, CLIPS, clips, message)
        elif duration is not None and clips and max(clips) * CLIP >= duration:
            message = f"clip {max(clips)} starts after the video's {duration} s (clips are {CLIP} s)"
            yield Finding("warning", number, CLIPS, max(clips), message)
    if SALIENCY in row:
        right[SALIENCY] = isinstance(scores, list) and all(
            isinstance(ratings, list) and ratings and all(map(is_number, ratings)) for ratings in scores
        )
        if not right[SALIENCY]:
            message = f"expected a list of ratings for each clip, found {_short(scores)}"
            yield Finding("error", number, SALIENCY, scores, message)
        elif CLIPS not in row:
            yield Finding(
                "warning", number, SALIENCY, len(scores), f'of {len(scores)} clips, but no "{CLIPS}"'
            )
    if right.get(CLIPS) and right.get(SALIENCY) and len(clips) != len(scores):
        message = f"of {len(scores)} clips, but {CLIPS} has {len(clips)}"
        yield Finding("warning", number, SALIENCY, len(scores), message)


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
                message = f"{str(qid)!r} is already used in line {first}"
                yield Finding("error", number, "qid", qid, message)
        if not isinstance(video, str):
            continue
        if isinstance(text, str):
            first = texts.setdefault((video, " ".join(text.lower().split())), number)
            if first != number:
                message = f"the same query of the same video as in line {first}: {_short(text)}"
                yield Finding("warning", number, "query", text, message)
        if is_number(duration):
            told, first = durations.setdefault(video, (duration, number))
            if told != duration:
                message = f"{duration} s, but {told} s in line {first} for the same video"
                yield Finding("warning", number, "duration", duration, message)


def _blind(rows: dict[int, dict]) -> Iterator[Finding]:
    """Lines without windows among lines that have them: most likely the field is forgotten or misspelt."""
    blind = [number for number, row in rows.items() if WINDOWS not in row]
    if len(blind) < len(rows):
        for number in blind:
            yield Finding("warning", number, WINDOWS, None, "missing, though other lines have it")


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
            yield Finding("error", number, "vid", video, f"no video {video!r} in {folder}")
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


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."

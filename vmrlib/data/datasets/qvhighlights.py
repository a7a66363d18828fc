"""QVHighlights (Lei et al. 2021): JSON lines, several moments a query, saliency of their clips.

The video id is YOUTUBE_START_END. A YouTube id may hold `_` itself, so it is read from the right, and the
`duration` of a row may be shorter than the span in the id: the field is the truth. Clips are 2 s long. `test`
is blind; `test_with_gt` is the same test set with the moments that were released after the server closed.

`extra` keeps `youtube_id` and, where given, `relevant_clip_ids` and `saliency_scores` (three raters, 0 to 4).
The id of a query is its `qid`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vmrlib.data.annotations import CLIP, CLIPS, SALIENCY, WINDOWS, is_number
from vmrlib.data.datasets.files import find_file, get, get_pair, get_seconds, load_lines, wrong
from vmrlib.data.datasets.findings import count_texts, summary
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

FILES = {
    "train": "highlight_train_release.jsonl",
    "val": "highlight_val_release.jsonl",
    "test": "highlight_test_release.jsonl",
    "test_with_gt": "highlight_test_with_gt.jsonl",
}
RATERS, BEST = 3, 4
LABELS = (CLIPS, SALIENCY)


def read_qvhighlights(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its file has it."""
    path = find_file(dataset, folder, FILES[split])
    rows, findings, fields = [], Counter(), Counter()
    for place, record in load_lines(path):
        fields.update(record.keys())
        row = _row(path, place, record)
        findings.update(_oddities(row, record))
        rows.append(row)
    per_moment = [row.text for row in rows for _ in row.moments]
    findings["texts with double blanks, one for each moment"] = count_texts(per_moment).get(
        "texts with double blanks", 0
    )
    videos = {row.extra["youtube_id"] for row in rows}
    findings["YouTube videos"] = len(videos)
    split = assemble(
        dataset,
        split,
        rows,
        [path],
        findings=findings,
        tallies={"fields": fields, "duration": Counter(f"{row.duration:g}" for row in rows)},
    )
    if words := summary([len(text.split()) for text in per_moment]):
        split.figures["words, one text for each moment"] = words
    return split


def youtube_span(video_id: str) -> tuple[str, float, float]:
    """YouTube id, start and end in seconds of an id YOUTUBE_START_END; ValueError where it is none."""
    parts = video_id.rsplit("_", 2)
    if len(parts) == 3 and parts[0]:
        start, end = float(parts[1]), float(parts[2])
        if 0 <= start < end < math.inf:
            return parts[0], start, end
    raise ValueError(f"{video_id!r} is not YOUTUBE_START_END")


def _row(path: Path, place: str, record: dict) -> Row:
    identity = get(record, "qid", (int, str), path, place)
    text, video = get(record, "query", str, path, place), get(record, "vid", str, path, place)
    duration = get_seconds(record, "duration", path, place)
    try:
        youtube, _, _ = youtube_span(video)
    except ValueError:
        raise wrong(path, place, "vid", video, "YOUTUBE_START_END") from None
    windows = get(record, WINDOWS, list, path, place) if WINDOWS in record else []
    extra = {"youtube_id": youtube} | {name: record[name] for name in LABELS if name in record}
    _check_labels(path, place, record)
    moments = tuple(get_pair(window, WINDOWS, path, place) for window in windows)
    return Row(path, f"{place}, video {video!r}", str(identity), text, video, moments, duration, extra)


def _check_labels(path: Path, place: str, record: dict) -> None:
    for clip in get(record, CLIPS, list, path, place) if CLIPS in record else ():
        if not isinstance(clip, int) or not is_number(clip * CLIP + CLIP) or isinstance(clip, bool):
            raise wrong(path, place, CLIPS, clip, "whole numbers")
    for scores in get(record, SALIENCY, list, path, place) if SALIENCY in record else ():
        if not isinstance(scores, list) or not set(map(type, scores)) <= {int, float}:
            raise wrong(path, place, SALIENCY, scores, "a list of ratings")


def _oddities(row: Row, record: dict) -> dict[str, int]:
    youtube, start, end = youtube_span(row.video_id)
    found = {
        "durations shorter than the span in the video id": int(row.duration < end - start),
        "durations longer than the span in the video id": int(row.duration > end - start),
        "YouTube ids with _": int("_" in youtube),
        "window ends that are no whole clips": sum(
            value % CLIP != 0 for moment in row.moments for value in moment
        ),
    }
    if WINDOWS in record:
        found["queries without moments"] = int(not row.moments)
    if row.extra.keys() >= set(LABELS):
        clips, saliency = row.extra[CLIPS], row.extra[SALIENCY]
        found["saliency of another number of clips"] = int(len(clips) != len(saliency))
        found["moments that are not the relevant clips"] = int(list(row.moments) != moments_of(clips))
        found["clips past the video"] = sum(clip * CLIP >= row.duration for clip in clips)
        found["ratings outside 0 to 4"] = sum(
            not 0 <= rating <= BEST for scores in saliency for rating in scores
        )
        found["clips without three raters"] = sum(len(scores) != RATERS for scores in saliency)
    return found


def moments_of(clips: Sequence[int]) -> list[tuple[float, float]]:
    """The moments (seconds) that runs of neighbouring clips make, in the order of time."""
    moments: list[tuple[float, float]] = []
    for clip in sorted(set(clips)):
        start, end = float(clip * CLIP), float((clip + 1) * CLIP)
        if moments and moments[-1][1] == start:
            start, _ = moments.pop()
        moments.append((start, end))
    return moments

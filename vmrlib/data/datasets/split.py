"""A split of a public dataset as queries, with all that was found or left out on the way.

A reader yields `Row`s as they stand in the file; `assemble` makes queries of them by rules that are the same
for every dataset:

- texts lose their outer blanks; line breaks, tabs and double blanks inside become one blank; all other
  characters stay, ASCII or not;
- moments are clipped to the video; one that does not run forwards then is left out and recorded;
- repeated rows are counted and kept: without them published test sets would be smaller.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vmrlib.data.annotations import AnnotationError, Query, shown
from vmrlib.data.datasets.findings import BLANKS, describe

INNER_BLANKS = re.compile(r"[ \t\r\n]{2,}|[\t\r\n]")


class Row(NamedTuple):  # not a dataclass: there are a quarter of a million, and these are made faster
    """A query as it stands in a file: text untouched, moments in seconds but not clipped.

    `place` says where in the file: a line, or a video and the index of the row in it (from 0).
    `duration` is 0 where the file does not say it.
    """

    path: Path
    place: str
    id: str
    text: str
    video_id: str
    moments: tuple[tuple[float, float], ...] = ()
    duration: float = 0.0
    extra: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Dropped:
    """A moment, or a row without text, that was left out: where it stands, why, and its value."""

    where: str
    reason: str
    value: object


@dataclass(frozen=True)
class AnnotatedSplit:
    """The queries of a split and what was found in its files.

    rows: queries in the files; those without a moment left are not in `queries` (`rows - len(queries)`)
    dropped: every moment that was left out, and every row without text
    findings: anomaly -> how often; moments are counted before they are clipped, videos that nobody asks
        about after that
    figures: "video duration", "moment length" (seconds) and "words" -> min, median, mean, max
    tallies: a field -> each of its values -> how often
    videos: ids in the order of the files, also of videos without queries
    sentences: (video id, text) of every row with a text, whatever became of its moment
    notes: what a reader must know, such as that the split was derived
    """

    dataset: str
    split: str
    queries: tuple[Query, ...]
    rows: int
    dropped: tuple[Dropped, ...]
    findings: dict[str, int]
    figures: dict[str, dict[str, float]]
    tallies: dict[str, dict[str, int]]
    videos: tuple[str, ...]
    sentences: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def clean_text(text: str) -> str:
    """The text without outer blanks, and with one blank for each run of blanks and line breaks inside."""
    return INNER_BLANKS.sub(" ", text.strip(BLANKS))


def assemble(
    dataset: str,
    split: str,
    rows: Iterable[Row],
    files: Iterable[Path],
    *,
    clip: bool = True,
    videos: Iterable[str] | None = None,
    findings: Mapping[str, int] | None = None,
    tallies: Mapping[str, Mapping] | None = None,
    notes: Iterable[str] = (),
) -> AnnotatedSplit:
    """The split that the rows of the files make.

    `clip=False` leaves ends alone, for datasets that do not know how long a video is. `findings`, `tallies`
    and `notes` are added to those that every dataset has; `videos` replaces the ids seen in the rows.
    Raises AnnotationError where two rows have one id.
    """
    rows = list(rows)
    queries, dropped, sentences, places = [], [], [], {}
    for row in rows:
        first = places.setdefault(row.id, row)
        if first is not row:
            message = f"id {shown(row.id)} is already used in {first.path.name}, {first.place}"
            raise AnnotationError(f"{row.path}, {row.place}: {message}")
        text = clean_text(row.text)
        if not text:
            dropped.append(_dropped(row, "no text", row.text))
            continue
        sentences.append((row.video_id, text))
        kept = []
        for moment in row.moments:
            start, end = _clipped(moment, row.duration) if clip else moment
            if start < end:
                kept.append((float(start), float(end)))
            else:
                dropped.append(_dropped(row, _reason(moment, row.duration), list(moment)))
        if kept or not row.moments:
            queries.append(
                Query(row.id, text, row.video_id, tuple(kept), float(row.duration), split, dict(row.extra))
            )
    videos = tuple(dict.fromkeys(row.video_id for row in rows) if videos is None else videos)
    general = describe(rows)
    if any(row.video_id for row in rows):  # not in a list of videos only, nor in a blind test of a corpus
        asked = {query.video_id for query in queries}
        general.findings["videos without queries"] = sum(video not in asked for video in videos)
    return AnnotatedSplit(
        dataset=dataset,
        split=split,
        queries=tuple(queries),
        rows=len(rows),
        dropped=tuple(dropped),
        findings=general.findings | dict(findings or {}),
        figures=general.figures,
        tallies={name: _most_common_first(counts) for name, counts in (tallies or {}).items()},
        videos=videos,
        sentences=tuple(sentences),
        files=tuple(path.name for path in files),
        notes=tuple(notes),
    )


def _dropped(row: Row, reason: str, value: object) -> Dropped:
    return Dropped(f"{row.path.name}, {row.place}", reason, value)


def _most_common_first(counts: Mapping) -> dict[str, int]:
    return {str(value): count for value, count in Counter(counts).most_common()}


def _clipped(moment: tuple[float, float], duration: float) -> tuple[float, float]:
    return max(0.0, moment[0]), min(moment[1], duration)


def _reason(moment: tuple[float, float], duration: float) -> str:
    if moment[0] >= moment[1]:
        return "the start is not before the end"
    return f"outside the video of {duration:.2f} s"

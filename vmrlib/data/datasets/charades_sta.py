"""Charades-STA (Gao et al. 2017): lines `VIDEO START END##sentence.`, durations from tables.

A sentence may hold a `#` of its own ("person #1"), so a line is cut at the first `##` only. Four training
rows are reversed and left out, which leaves the 12,404 that others train on. About 15 % of the moments end
after the video and are clipped. The id of a query is VIDEO#INDEX, its index among the lines of the video.
"""

import math
from collections import Counter
from pathlib import Path

from vmrlib.data.annotations import AnnotationError, read_lines, shown
from vmrlib.data.datasets.files import find_file, load_table, wrong
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble


def read_charades_sta(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its text file and the table of Charades have it."""
    path = find_file(dataset, folder, f"charades_sta_{split}.txt")
    table = find_file(dataset, folder, f"Charades_v1_{split}.csv")
    durations = read_durations(table)
    rows, counts = [], Counter()
    for number, line in read_lines(path):
        place = f"line {number}"
        head, cut, text = line.rstrip("\r").partition("##")
        if not cut or len(head.split()) != 3:
            raise AnnotationError(f"{path}, {place}: expected VIDEO START END##sentence, found {shown(line)}")
        video, *times = head.split()
        start, end = (
            _number(value, name, path, place) for name, value in zip(("start", "end"), times, strict=True)
        )
        if video not in durations:
            raise AnnotationError(f"{path}, {place}: video {video!r} has no length in {table.name}")
        identity = f"{video}#{counts[video]}"
        counts[video] += 1
        place = f"{place}, video {video!r}"
        rows.append(Row(path, place, identity, text, video, ((start, end),), durations[video]))
    findings = {"rows of the Charades table": len(durations)}
    return assemble(dataset, split, rows, [path, table], findings=findings)


def read_durations(path: Path) -> dict[str, float]:
    """Seconds of every video in a table of Charades (columns `id` and `length`)."""
    durations = {}
    for place, row in load_table(path, ("id", "length")):
        length = _number(row["length"], "length", path, place)
        if length <= 0:
            raise wrong(path, place, "length", row["length"], "seconds above 0")
        durations[row["id"]] = length
    return durations


def _number(text: str, name: str, path: Path, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise wrong(path, place, name, text, "a number")
    return value

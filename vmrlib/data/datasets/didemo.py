"""DiDeMo (Hendricks et al. 2017): each query has the segments that several annotators chose.

Times are indices of segments of 5 s, [first, last], one pair an annotator. The moments of a query are the
different choices in seconds, the one most annotators agree on first. The file does not say how long a video
is: the last of its 5 or 6 segments may be shorter than 5 s. `duration` is 5 s for each segment, an upper
bound, and nothing is clipped. `extra` keeps `times`, `num_segments` and `annotation_id`, which is the query's
id. Some videos have two names in a file, with different endings (`A.mov` and `A.mp4`): they are counted, and
each query keeps the name of its row.
"""

from collections import Counter
from pathlib import Path

from vmrlib.data.datasets.files import find_file, get, load_json, wrong
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

SEGMENT = 5.0  # seconds
LAST = 5  # index of the last segment a video can have
MOST = 10_000  # segments: half a day
TWO_NAMES = "videos under two names"  # names beyond the first one of a video


def read_didemo(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its file has it."""
    path = find_file(dataset, folder, f"{split}_data.json")
    rows, findings = [], Counter()
    tallies = {"fields": Counter(), "num_segments": Counter(), "annotators": Counter()}
    for index, record in enumerate(load_json(path, list)):
        place = f"row {index}"
        if not isinstance(record, dict):
            raise wrong(path, place, "row", record, "an object")
        identity = get(record, "annotation_id", (int, str), path, place)
        video, text = get(record, "video", str, path, place), get(record, "description", str, path, place)
        segments = get(record, "num_segments", int, path, place)
        if not 0 < segments <= MOST:
            raise wrong(path, place, "num_segments", segments, f"a number above 0 and up to {MOST}")
        times = [_times(pair, path, place) for pair in get(record, "times", list, path, place)]
        if not times:
            raise wrong(path, place, "times", [], "a pair for each annotator")
        tallies["fields"].update(record.keys())
        tallies["num_segments"][segments] += 1
        tallies["annotators"][len(times)] += 1
        findings["choices that end before they start"] += sum(first > last for first, last in times)
        findings["choices past the last segment"] += sum(last >= segments for _, last in times)
        findings["choices past segment 5"] += sum(last > LAST for _, last in times)
        findings["queries on which no two annotators agree"] += 1 < len(times) == len(set(times))
        extra = {"times": [list(pair) for pair in times], "num_segments": segments, "annotation_id": identity}
        place = f"{place}, video {video!r}"
        rows.append(
            Row(path, place, str(identity), text, video, by_agreement(times), SEGMENT * segments, extra)
        )
    names = {row.video_id for row in rows}
    findings[TWO_NAMES] = len(names) - len(set(map(without_ending, names)))
    notes = ["durations are upper bounds: 5 s for each segment"]
    return assemble(dataset, split, rows, [path], clip=False, findings=findings, tallies=tallies, notes=notes)


def by_agreement(times: list[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """The different choices in seconds, those of more annotators first, else in the order they came."""
    return tuple((SEGMENT * first, SEGMENT * (last + 1)) for (first, last), _ in Counter(times).most_common())


def without_ending(name: str) -> str:
    """The video that a name stands for, whatever its ending."""
    return name.rpartition(".")[0] or name


def _times(pair, path: Path, place: str) -> tuple[int, int]:
    if not (
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST for n in pair)
    ):
        raise wrong(path, place, "times", pair, "[first segment, last segment]")
    return pair[0], pair[1]

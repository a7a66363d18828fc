"""What the splits and side files of a dataset say about each other: shared videos, ids, durations."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from vmrlib.data.datasets.charades_sta import read_durations
from vmrlib.data.datasets.files import MissingFile, beside, find_file, load_ids, load_json
from vmrlib.data.datasets.findings import TOLERANCE
from vmrlib.data.datasets.split import AnnotatedSplit
from vmrlib.data.datasets.tvr import INDEX, corpus


def compare(
    dataset: str, splits: Mapping[str, AnnotatedSplit], folder: str | Path | None = None
) -> dict[str, int]:
    """Finding -> count, for the splits of a dataset that could be read and the files beside them.

    A side file that is not there is left out. Raises AnnotationError for one that cannot be read.
    """
    found = shared({name: split.videos for name, split in splits.items()}, "videos")
    extra = {
        "activitynet_captions": _available,
        "charades_sta": _valid,
        "charades_cd": _durations,
        "msrvtt": _repeated,
        "qvhighlights": _highlights,
        "tvr": _corpora,
    }.get(dataset)
    if extra:
        with suppress(MissingFile):
            found |= extra(splits, folder)
    return found


def shared(ids: Mapping[str, object], what: str) -> dict[str, int]:
    """How many of the ids each two of the lists have in common."""
    sets = {name: set(values) for name, values in ids.items()}
    return {f"{what} in {a} and {b}": len(sets[a] & sets[b]) for a, b in combinations(sets, 2)}


def _available(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    """ActivityNet Captions: the videos that could still be had when BMT was made."""
    listed = load_ids(find_file("activitynet_captions", folder, "available_mp4.txt"))
    there = set(listed)
    found = {
        "lines of available_mp4.txt": len(listed),
        "different videos in available_mp4.txt": len(there),
    }
    return found | {
        f"videos of {name} in available_mp4.txt": len(there & set(split.videos))
        for name, split in splits.items()
    }


def _valid(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    """Charades-STA: the list of videos that 2D-TAN uses."""
    listed = set(load_ids(find_file("charades_sta", folder, "valid_videos.txt")))
    used = {video for split in splits.values() for video in split.videos}
    return {
        "videos in valid_videos.txt": len(listed),
        "videos of the splits that are not in valid_videos.txt": len(used - listed),
        "videos in valid_videos.txt that are in no split": len(listed - used),
    }


def _durations(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    """Charades-CD: durations, taken at 16 frames per second, against the tables of Charades."""
    table: dict[str, float] = {}
    for name in ("train", "test"):
        table |= read_durations(
            find_file("charades_sta", beside("charades_sta", folder), f"Charades_v1_{name}.csv")
        )
    own = {query.video_id: query.duration for split in splits.values() for query in split.queries}
    differences = [abs(duration - table[video]) for video, duration in own.items() if video in table]
    return {
        "videos that the Charades tables do not have": len(own) - len(differences),
        "durations that differ from the Charades tables": sum(value > TOLERANCE for value in differences),
        "durations that differ by more than 0.3 s": sum(value > 0.3 for value in differences),
        "durations that differ by more than 1 s": sum(value > 1 for value in differences),
    }


def _repeated(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    if not {"train_7k", "train_9k"} <= splits.keys():
        return {}
    small, large = (set(splits[name].videos) for name in ("train_7k", "train_9k"))
    return {"videos of train_7k that are not in train_9k": len(small - large)}


def _highlights(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    """QVHighlights: YouTube videos that splits share, and the two files of the test."""
    found = shared(
        {name: {q.extra["youtube_id"] for q in split.queries} for name, split in splits.items()},
        "YouTube videos",
    )
    if {"test", "test_with_gt"} <= splits.keys():
        blind, told = ({q.id: q for q in splits[name].queries} for name in ("test", "test_with_gt"))
        found["ids of only one of test and test_with_gt"] = len(blind.keys() ^ told.keys())
        found["queries that differ between test and test_with_gt"] = sum(
            (blind[name].text, blind[name].video_id) != (told[name].text, told[name].video_id)
            for name in blind.keys() & told.keys()
        )
    return found


def _corpora(splits: Mapping[str, AnnotatedSplit], folder: str | Path | None) -> dict[str, int]:
    """TVR: the corpora of all four splits, also of those without annotations."""
    names = load_json(find_file("tvr", folder, INDEX))
    videos = {name: corpus(name, folder) for name in names}
    return {f"videos of {name} in the corpus": len(ids) for name, ids in videos.items()} | shared(
        videos, "videos of the corpora"
    )

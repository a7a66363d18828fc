"""TVR (Lei et al. 2020): one moment a query, and a corpus of videos to find it in.

`test_public` is blind: it gives neither video nor time (`video_id` is "" and `moments` is ()), and is scored
by the authors' server only. `extra["type"]` says what a query needs: video (v), subtitles (t) or both (vt).
The corpus of a split, and the numbering of its videos in result files, is in `tvr_video2dur_idx.json`.
The id of a query is its `desc_id`.
"""

from collections import Counter
from pathlib import Path

from vmrlib.data.annotations import is_number
from vmrlib.data.datasets.files import (
    MissingFile,
    download_command,
    find_file,
    get,
    get_pair,
    get_seconds,
    load_json,
    load_lines,
    wrong,
)
from vmrlib.data.datasets.findings import TOLERANCE
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

INDEX = "tvr_video2dur_idx.json"
BLIND = ("test_public",)


def read_tvr(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its file has it, its durations compared with those of the corpus."""
    path = find_file(dataset, folder, f"tvr_{split}_release.jsonl")
    files, notes, rows = [path], [], []
    fields, kinds, findings = Counter(), Counter(), Counter()
    try:
        videos = corpus(split, folder)
        files.append(find_file(dataset, folder, INDEX))
    except MissingFile:
        videos = None
        notes.append(f"{INDEX} is not there: durations are not compared ({download_command(dataset)})")
    for place, record in load_lines(path):
        fields.update(record.keys())
        identity = str(get(record, "desc_id", (int, str), path, place))
        text = get(record, "desc", str, path, place)
        if split in BLIND:
            rows.append(Row(path, place, identity, text, ""))
            continue
        video = get(record, "vid_name", str, path, place)
        moment = get_pair(get(record, "ts", list, path, place), "ts", path, place)
        duration = get_seconds(record, "duration", path, place)
        kind = get(record, "type", str, path, place)
        kinds[kind] += 1
        findings["times without decimals"] += sum(isinstance(value, int) for value in record["ts"])
        if videos is not None:
            there = video in videos
            findings["queries whose video is in the corpus"] += there
            findings["durations that differ from the corpus"] += (
                there and abs(videos[video] - duration) > TOLERANCE
            )
        place = f"{place}, video {video!r}"
        rows.append(Row(path, place, identity, text, video, (moment,), duration, {"type": kind}))
    tallies = {"fields": fields} | ({"type": kinds} if kinds else {})
    return assemble(
        dataset,
        split,
        rows,
        files,
        videos=(videos or ()) if split in BLIND else None,  # None: those of the queries
        findings=findings,
        tallies=tallies,
        notes=notes,
    )


def corpus(split: str, folder: str | Path | None = None) -> dict[str, float]:
    """The videos that a query of the split may be in, with their durations (seconds).

    The order is that of the indices in the file. Besides train, val and test_public there is test_challenge.
    """
    path = find_file("tvr", folder, INDEX)
    content = load_json(path)
    if split not in content:
        raise wrong(path, "the file", "split", split, "one of " + ", ".join(map(str, content)))
    videos = {}
    for video, entry in get(content, split, dict, path, "the file").items():
        place = f"split {split!r}, video {video!r}"
        if not (isinstance(entry, list) and len(entry) == 2 and all(map(is_number, entry)) and entry[0] > 0):
            raise wrong(path, place, video, entry, "[duration, index]")
        videos[video] = entry
    return {video: float(entry[0]) for video, entry in sorted(videos.items(), key=lambda item: item[1][1])}

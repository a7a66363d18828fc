"""MSR-VTT (Xu et al. 2016) as retrieval uses it: captions of whole videos, no moments.

`test_1k_a` is the test of JSFusion (Yu et al. 2018): 1000 videos with one caption each, in
`MSRVTT_JSFUSION_test.csv`. `train_9k` and `train_7k` are lists of training videos; their captions come from
`MSRVTT_data.json` (all 20 a video), which also says how long the videos are. Where that file is not there,
the training splits have videos but no queries, and durations are 0. Ids of queries are `key` in the test and
`sen_id` in training.
"""

from collections.abc import Iterator
from pathlib import Path

from vmrlib.data.annotations import is_number
from vmrlib.data.datasets.files import (
    MissingFile,
    download_command,
    find_file,
    get,
    load_json,
    load_table,
    wrong,
)
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

TEST = "MSRVTT_JSFUSION_test.csv"
LISTS = {"train_9k": "MSRVTT_train.9k.csv", "train_7k": "MSRVTT_train.7k.csv"}
CAPTIONS = "MSRVTT_data.json"


def read_msrvtt(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its list of videos and, where it is there, the file of captions have it."""
    files, notes = [find_file(dataset, folder, LISTS.get(split, TEST))], []
    captions, durations = None, {}
    try:
        captions = find_file(dataset, folder, CAPTIONS)
        files.append(captions)
    except MissingFile:
        what = "durations are not known" if split == "test_1k_a" else "only the list of videos was read"
        notes.append(f"{CAPTIONS} is not there: {what} ({download_command(dataset)})")
    content = load_json(captions) if captions else {}
    if captions:
        durations = _durations(captions, content)
    findings: dict[str, int] = {}
    if split == "test_1k_a":
        rows = list(_test_rows(files[0], durations))
        findings["captions repeated by other videos"] = len(rows) - len({row.text for row in rows})
        findings["keys of another video"] = sum(
            row.extra["vid_key"].removeprefix("msr") != row.video_id.removeprefix("video") for row in rows
        )
        return assemble(dataset, split, rows, files, findings=findings, notes=notes)
    listed = [(place, row["video_id"].strip()) for place, row in load_table(files[0], ("video_id",))]
    videos = list(dict.fromkeys(video for _, video in listed))
    findings["videos listed twice"] = len(listed) - len(videos)
    rows = list(_caption_rows(captions, content, set(videos), durations)) if captions else []
    return assemble(dataset, split, rows, files, videos=videos, findings=findings, notes=notes)


def _test_rows(path: Path, durations: dict[str, float]) -> Iterator[Row]:
    # forks of the file call the column of captions "sentences"
    for place, row in load_table(path, ("key", "vid_key", "video_id")):
        text = row.get("sentence", row.get("sentences"))
        if text is None:
            raise wrong(path, place, "sentence", None, "text")
        video = row["video_id"].strip()
        place = f"{place}, video {video!r}"
        extra = {"vid_key": row["vid_key"]}
        yield Row(path, place, row["key"], text, video, (), durations.get(video, 0.0), extra)


def _caption_rows(path: Path, content: dict, videos: set[str], durations: dict[str, float]) -> Iterator[Row]:
    for index, record in enumerate(get(content, "sentences", list, path, "the file")):
        place = f"sentence {index}"
        if not isinstance(record, dict):
            raise wrong(path, place, "sentences", record, "an object")
        video = get(record, "video_id", str, path, place)
        if video in videos:
            identity = str(get(record, "sen_id", (int, str), path, place))
            text = get(record, "caption", str, path, place)
            place = f"{place}, video {video!r}"
            yield Row(path, place, identity, text, video, (), durations.get(video, 0.0))


def _durations(path: Path, content: dict) -> dict[str, float]:
    """Seconds of the videos that have a start and an end time; some copies have captions only."""
    durations = {}
    videos = get(content, "videos", list, path, "the file") if "videos" in content else []
    for index, record in enumerate(videos):
        place = f"video {index}"
        if not isinstance(record, dict):
            raise wrong(path, place, "videos", record, "an object")
        start, end = record.get("start time"), record.get("end time")
        if is_number(start) and is_number(end) and end > start:
            durations[get(record, "video_id", str, path, place)] = float(end - start)
    return durations

"""Files of the form {video: {duration, timestamps: [[start, end], ...], sentences: [...]}}.

ActivityNet Captions (Krishna et al. 2017) made it; TACoS as 2D-TAN ships it, ActivityNet-CD and Charades-CD
(Yuan et al. 2021), Charades-CG and ActivityNet-CG (Li et al. 2022) follow it with small differences:

- TACoS counts in frames: times are divided by `fps`, and the duration is `num_frames / fps`. These frame
  counts are 16 (one window of C3D) short of the video, so some moments end up to 0.51 s after it.
- Charades-CD writes `video_duration`, taken at 16 frames per second; its texts have no final period. Rows
  that are reversed in Charades-STA were swapped there, and three of them start after the video.
- The test files of the compositional splits name what is novel, kept in `extra`: `novels` (compositions),
  `news` (words).

The id of a query is VIDEO#INDEX, its index among the sentences of the video, from 0. Video ids stay as they
are written (those of TACoS end in `.avi`).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmrlib.data.annotations import is_number
from vmrlib.data.datasets.files import find_file, get, get_pair, get_seconds, load_json, wrong
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

NOVEL = ("novels", "news")  # one entry a sentence


@dataclass(frozen=True)
class Form:
    """The files of a dataset (split -> names, the first that exists is read) and how they write time."""

    files: dict[str, tuple[str, ...]]
    duration: str = "duration"
    in_frames: bool = False
    tallied: tuple[str, ...] = ()


def _plain(*splits: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"{split}.json",) for split in splits}


def _cd(prefix: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"{prefix}_{split}.json",) for split in ("train", "val", "test_iid", "test_ood")}


FORMS = {
    "tacos": Form(_plain("train", "val", "test"), "num_frames", in_frames=True, tallied=("fps",)),
    # 2D-TAN renamed the official val_1.json and val_2.json
    "activitynet_captions": Form(
        {
            "train": ("train.json",),
            "val_1": ("val.json", "val_1.json"),
            "val_2": ("test.json", "val_2.json"),
        }
    ),
    "activitynet_cd": Form(_cd("anet")),
    "activitynet_cg": Form(_plain("train", "test_trivial", "novel_composition", "novel_word")),
    "charades_cd": Form(_cd("charades"), "video_duration", tallied=("video_fps", "decode_fps")),
    "charades_cg": Form(_plain("train", "test_trivial", "novel_composition", "novel_word")),
}


def read(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its file has it."""
    form = FORMS[dataset]
    path = find_file(dataset, folder, *form.files[split])
    content = load_json(path)
    tallies = {"fields": Counter(name for record in content.values() for name in _names(record))}
    rows = list(read_rows(path, content, form))
    for name in form.tallied:
        for video, record in content.items():
            if name in record and not is_number(record[name]):
                raise wrong(path, f"video {video!r}", name, record[name], "a number")
        tallies[name] = Counter(record.get(name) for record in content.values())
    findings = {}
    if form.in_frames:
        findings["video ids that end in .avi"] = sum(video.endswith(".avi") for video in content)
    return assemble(dataset, split, rows, [path], videos=content, findings=findings, tallies=tallies)


def read_rows(path: Path, content: dict, form: Form) -> Iterator[Row]:
    """The rows of a file of this form, in its order."""
    for video, record in content.items():
        place = f"video {video!r}"
        if not isinstance(record, dict):
            raise wrong(path, place, video, record, "an object")
        times, texts = (
            get(record, "timestamps", list, path, place),
            get(record, "sentences", list, path, place),
        )
        rate = get_seconds(record, "fps", path, place) if form.in_frames else 1.0
        duration = get_seconds(record, form.duration, path, place) / rate
        if not is_number(duration):
            raise wrong(path, place, "fps", rate, f"a rate that makes {form.duration} a time")
        novel = {name: get(record, name, list, path, place) for name in NOVEL if name in record}
        for name, values in {"sentences": texts, **novel}.items():
            if len(values) != len(times):
                wanted = f"{len(times)} entries, as timestamps has"
                raise wrong(path, place, name, f"{len(values)} entries", wanted)
        for index, (pair, text) in enumerate(zip(times, texts, strict=True)):
            here = f"{place}, row {index}"
            start, end = get_pair(pair, "timestamps", path, here)
            if not (is_number(start / rate) and is_number(end / rate)):
                raise wrong(path, here, "timestamps", pair, f"frames at {rate} per second")
            if not isinstance(text, str):
                raise wrong(path, here, "sentences", text, "text")
            extra = {name: values[index] for name, values in novel.items()}
            moment = (start / rate, end / rate) if form.in_frames else (start, end)
            yield Row(path, here, f"{video}#{index}", text, video, (moment,), duration, extra)


def _names(record) -> list[str]:
    return list(record) if isinstance(record, dict) else []

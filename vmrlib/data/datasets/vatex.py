"""VATEX (Wang et al. 2019): ten English captions for each clip of 10 s, no moments.

The official files are lists of `{"videoID": "YOUTUBE_START_END", "enCap": [...], "chCap": [...]}`, START and
END in whole seconds. Retrieval papers use the split of HGR (Chen et al. 2020): 25,991 videos to train, and
two halves of 1,500 of the official validation set. `train_list.txt`, `val_list.txt` and `test_list.txt`, one
id a line, give such a split and are followed where they are there; else the splits are the official files.
`ref_captions.json`, {video: [caption, ...]}, which UCoFiA reads, serves in place of the official files where
there are lists. The id of a query is VIDEO#INDEX.
"""

from collections.abc import Iterator
from pathlib import Path

from vmrlib.data.annotations import AnnotationError
from vmrlib.data.datasets.files import (
    MissingFile,
    find_file,
    get,
    load_ids,
    load_json,
    look_for,
    wrong,
)
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

OFFICIAL = {
    "train": "vatex_training_v1.0.json",
    "val": "vatex_validation_v1.0.json",
    "test": "vatex_public_test_english_v1.1.json",
}
REFERENCE = "ref_captions.json"


def read_vatex(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its list has it, or the official file of that name."""
    name = f"{split}_list.txt"
    listing = look_for(dataset, folder, name)
    if listing is None:
        path = find_file(dataset, folder, OFFICIAL[split])
        captions = _official(path)
        notes = [f"no {name}: this is the official split, not the one of retrieval papers"]
        return assemble(
            dataset, split, _rows({v: (path, c) for v, c in captions.items()}), [path], notes=notes
        )
    names = (REFERENCE, *OFFICIAL.values())
    paths = [path for name in names if (path := look_for(dataset, folder, name))]
    if not paths:
        raise MissingFile(dataset, listing.parent, *OFFICIAL.values(), REFERENCE)
    ids, found, used = load_ids(listing), {}, [listing]
    for path in paths:
        if all(video in found for video in ids):
            break
        captions = _reference(path) if path.name == REFERENCE else _official(path)
        new = {video: (path, captions[video]) for video in ids if video in captions and video not in found}
        if new:
            used.append(path)
            found |= new
    for video in ids:
        if video not in found:
            names = " or ".join(path.name for path in paths)
            raise AnnotationError(f"{listing}: video {video!r} has no captions in {names}")
    return assemble(dataset, split, _rows({video: found[video] for video in ids}), used, videos=ids)


def _official(path: Path) -> dict[str, list[str]]:
    captions = {}
    for index, record in enumerate(load_json(path, list)):
        place = f"row {index}"
        if not isinstance(record, dict):
            raise wrong(path, place, "row", record, "an object")
        video = get(record, "videoID", str, path, place)
        if video in captions:
            raise wrong(path, place, "videoID", video, "a video that is not there already")
        captions[video] = get(record, "enCap", list, path, f"{place}, video {video!r}")
    return captions


def _reference(path: Path) -> dict[str, list[str]]:
    content = load_json(path)
    return {video: get(content, video, list, path, f"video {video!r}") for video in content}


def _rows(captions: dict[str, tuple[Path, list[str]]]) -> Iterator[Row]:
    for video, (path, texts) in captions.items():
        place = f"video {video!r}"
        youtube, *span = video.rsplit("_", 2)
        if len(span) != 2 or not all(number.isdecimal() for number in span) or int(span[1]) <= int(span[0]):
            raise wrong(path, place, "videoID", video, "YOUTUBE_START_END")
        duration = float(int(span[1]) - int(span[0]))
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise wrong(path, f"{place}, row {index}", "enCap", text, "text")
            yield Row(
                path,
                f"{place}, row {index}",
                f"{video}#{index}",
                text,
                video,
                (),
                duration,
                {"youtube_id": youtube},
            )

"""YouCook2 (Zhou et al. 2018): the steps of recipes, each with its segment of the video.

`youcookii_annotations_trainval.json` is {"database": {VIDEO: {"subset", "duration", "recipe_type",
"annotations": [{"id", "segment": [start, end], "sentence"}]}}}, seconds. The authors keep the test split to
themselves. `extra` has the recipe_type. The id of a query is VIDEO#INDEX, its index among the annotations of
the video.
"""

from collections import Counter
from pathlib import Path

from vmrlib.data.datasets.files import find_file, get, get_pair, get_seconds, load_json, wrong
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

FILE = "youcookii_annotations_trainval.json"
SUBSETS = {"train": "training", "val": "validation"}


def read_youcook2(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as the file has it."""
    path = find_file(dataset, folder, FILE)
    rows, videos, subsets = [], [], Counter()
    for video, record in get(load_json(path), "database", dict, path, "the file").items():
        place = f"video {video!r}"
        if not isinstance(record, dict):
            raise wrong(path, place, video, record, "an object")
        subset = get(record, "subset", str, path, place)
        subsets[subset] += 1
        if subset != SUBSETS[split]:
            continue
        videos.append(video)
        duration = get_seconds(record, "duration", path, place)
        extra = {"recipe_type": record["recipe_type"]} if "recipe_type" in record else {}
        for index, entry in enumerate(get(record, "annotations", list, path, place)):
            here = f"{place}, row {index}"
            if not isinstance(entry, dict):
                raise wrong(path, here, "annotations", entry, "an object")
            moment = get_pair(get(entry, "segment", list, path, here), "segment", path, here)
            text = get(entry, "sentence", str, path, here)
            rows.append(Row(path, here, f"{video}#{index}", text, video, (moment,), duration, extra))
    return assemble(dataset, split, rows, [path], videos=videos, tallies={"subset": subsets})

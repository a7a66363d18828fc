"""The public datasets of the field, read from their own files into `Query`s.

`read_split("tacos", "train")` is an `AnnotatedSplit`: the queries, and everything that was found, changed or
left out on the way. Every module describes one format. Moments are in seconds and lie inside the video.
"""

import gc
from pathlib import Path

from vmrlib.data.datasets.activitynet_cd import read_activitynet_cd
from vmrlib.data.datasets.charades_sta import read_charades_sta
from vmrlib.data.datasets.didemo import read_didemo
from vmrlib.data.datasets.files import MissingFile, download_command
from vmrlib.data.datasets.msrvtt import read_msrvtt
from vmrlib.data.datasets.msvd import read_msvd
from vmrlib.data.datasets.qvhighlights import read_qvhighlights
from vmrlib.data.datasets.sentences import read as read_sentences
from vmrlib.data.datasets.split import AnnotatedSplit, Dropped
from vmrlib.data.datasets.tvr import corpus, read_tvr
from vmrlib.data.datasets.vatex import read_vatex
from vmrlib.data.datasets.youcook2 import read_youcook2

__all__ = [
    "DATASETS",
    "AnnotatedSplit",
    "Dropped",
    "MissingFile",
    "corpus",
    "download_command",
    "read_split",
]

CD = ("train", "val", "test_iid", "test_ood")
CG = ("train", "test_trivial", "novel_composition", "novel_word")
SPLITS = ("train", "val", "test")

READERS = {
    "tacos": (read_sentences, SPLITS),
    "activitynet_captions": (read_sentences, ("train", "val_1", "val_2")),
    "charades_sta": (read_charades_sta, ("train", "test")),
    "charades_cd": (read_sentences, CD),
    "activitynet_cd": (read_activitynet_cd, CD),
    "charades_cg": (read_sentences, CG),
    "activitynet_cg": (read_sentences, CG),
    "qvhighlights": (read_qvhighlights, ("train", "val", "test", "test_with_gt")),
    "tvr": (read_tvr, ("train", "val", "test_public")),
    "didemo": (read_didemo, SPLITS),
    "msrvtt": (read_msrvtt, ("train_9k", "train_7k", "test_1k_a")),
    "msvd": (read_msvd, SPLITS),
    "vatex": (read_vatex, SPLITS),
    "youcook2": (read_youcook2, ("train", "val")),
}
DATASETS: dict[str, tuple[str, ...]] = {dataset: splits for dataset, (_, splits) in READERS.items()}


def read_split(dataset: str, split: str, folder: str | Path | None = None) -> AnnotatedSplit:
    """The queries of a split, with what was found on the way.

    `folder` holds the files of the dataset (default: `annotations_folder(dataset)`); folders of other
    datasets that a split is derived from stand beside it. Raises ValueError for a dataset or split that does
    not exist, MissingFile with the command that fetches it, and AnnotationError that names file, place, field
    and value.
    """
    if dataset not in READERS:
        raise ValueError(f"no dataset {dataset!r}: there are {', '.join(READERS)}")
    reader, splits = READERS[dataset]
    if split not in splits:
        raise ValueError(f"{dataset} has no split {split!r}: there are {', '.join(splits)}")
    collecting = gc.isenabled()
    gc.disable()  # many objects and no cycles: looking for some takes up to half the time
    try:
        return reader(dataset, split, None if folder is None else Path(folder))
    finally:
        if collecting:
            gc.enable()

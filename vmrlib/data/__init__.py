"""Queries, the public datasets, the embedded dataset Stage, feature stores and the clip grid."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where `data_download.sh` puts real data: VMRLIB_DATA, or `data/` beside the package."""
    return Path(os.environ.get("VMRLIB_DATA") or Path(__file__).parents[2] / "data")


def annotations_folders(dataset: str) -> list[Path]:
    """The folders in which an annotation file of a dataset may be, whether they are there or not.

    The first is `annotations/DATASET` in the data folder, where downloads go. Mirrors keep the files in
    `mirror/DATASET`; a local one (VMRLIB_MIRROR) comes after the data folder.
    """
    roots = [data_folder()]
    if mirror := os.environ.get("VMRLIB_MIRROR"):
        roots.append(Path(mirror))
    return [root / name / dataset for root in roots for name in ("annotations", "mirror")]


def annotations_folder(dataset: str) -> Path:
    """The folder with the annotation files of a dataset (`tacos`, `charades_sta`, ...).

    It is the first of `annotations_folders` with a file in it, or else the one where downloads go. A single
    file may still be in another one: `vmrlib.data.datasets.files.find_file` looks into all.
    """
    folders = annotations_folders(dataset)
    for folder in folders:
        if folder.is_dir() and any(path.is_file() for path in folder.iterdir()):
            return folder
    return folders[0]

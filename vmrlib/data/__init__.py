"""Queries, the public datasets, the embedded dataset Stage, feature stores and the clip grid."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where `data_download.sh` puts real data: VMRLIB_DATA, or `data/` beside the package."""
    return Path(os.environ.get("VMRLIB_DATA", Path(__file__).parents[2] / "data"))


def annotations_folder(dataset: str) -> Path:
    """The folder with the annotation files of a dataset (`tacos`, `charades_sta`, ...).

    It is `annotations/DATASET` in the data folder. A local mirror (VMRLIB_MIRROR) serves where that is
    absent; mirrors keep the files in `mirror/DATASET`.
    """
    roots = [data_folder()]
    if mirror := os.environ.get("VMRLIB_MIRROR"):
        roots.append(Path(mirror))
    for root in roots:
        for name in ("annotations", "mirror"):
            if (root / name / dataset).is_dir():
                return root / name / dataset
    return data_folder() / "annotations" / dataset

"""Queries, the embedded dataset Stage, feature stores and the clip grid."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where `data_download.sh` puts real data: VMRLIB_DATA, or `data/` beside the package."""
    return Path(os.environ.get("VMRLIB_DATA", Path(__file__).parents[2] / "data"))

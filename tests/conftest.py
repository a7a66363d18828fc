"""Where the tests find the public data, the reference figures, and how hypothesis behaves."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from no_skips import pytest_sessionfinish, pytest_terminal_summary  # noqa: F401 (hooks)

# The same examples every time: a red test must be red for everybody.
settings.register_profile("vmrlib", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("vmrlib")

# So small models gain nothing from a second thread. Where another process has its core it waits by spinning:
# a step then takes up to sixty times the CPU time.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the public data files, or a skip that says how to get them."""
    folder = os.environ.get("VMRLIB_MIRROR")
    if not folder:
        pytest.skip("needs the public files: set VMRLIB_MIRROR to a mirror of them")
    path = Path(folder)
    path = path if path.is_absolute() else ROOT / path
    if not path.is_dir():
        pytest.fail(f"VMRLIB_MIRROR is set to {folder}, which is no folder")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference figures; its absence is a failure, not a skip."""
    path = Path(os.environ.get("VMRLIB_GOLDEN", ROOT / "tests" / "golden"))
    if not path.is_dir() or not any(path.rglob("*.safetensors")):
        pytest.fail(f"no reference figures in {path}: set VMRLIB_GOLDEN or restore tests/golden")
    return path

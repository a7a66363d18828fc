"""Scripts beside the tests, each in a process of its own: some fork, before torch has started threads."""

import os
import subprocess
import sys
from pathlib import Path


def run_script(name: str, *arguments: str | Path, timeout: int = 600) -> subprocess.CompletedProcess:
    """What tests/NAME printed, on one thread of the CPU; it must succeed."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(name), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done

"""Files that appear whole or not at all: written under another name first, then renamed.

What has its name is on the disk: a computer that loses its power keeps the old file or the new one.
Standard library only, and Python 3.9: downloads use it before anything is installed.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file, and the folders above it; what was there stays until the new one is complete.

    Several processes may write the same path: the last one wins. Raises OSError when it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes text as UTF-8 with the line ends it has, as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def put(complete: str | os.PathLike, path: str | os.PathLike) -> None:
    """Gives a complete file its name, once its contents are on the disk; a file of that name is replaced.

    Raises OSError when the disk does not take it; what was there is then still there.
    """
    sync(complete)  # first: a file system may keep a new name sooner than the contents
    os.replace(complete, path)
    _sync_folder(Path(path).parent)


def sync(path: str | os.PathLike) -> None:
    """Returns when the contents of a file are on the disk. Raises OSError when they cannot get there."""
    with open(path, "rb+") as file:  # for writing, because Windows flushes no other
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the platform can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder, and keeps names in a journal
        return
    with contextlib.suppress(OSError):  # some network file systems refuse; the file has its name already
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Files without a published checksum: can they be read to their end, and what is in them?

Only the standard library is needed: `data_download.sh` uses this before anything is installed.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from vmrlib.data.files import put

HDF5 = b"\x89HDF\r\n\x1a\n"
BLOCK = 1 << 20


class Parts(io.RawIOBase):
    """The bytes of several files, one after the other, to be read as one file."""

    def __init__(self, paths: Sequence[str | Path]):
        self._files: list[tuple[BinaryIO, int]] = []  # with the position at which each ends
        self._size = self._position = 0
        for path in paths:
            file = Path(path).open("rb")  # noqa: SIM115 (closed by close)
            self._size += os.fstat(file.fileno()).st_size
            self._files.append((file, self._size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer) -> int:
        for file, end in self._files:
            if self._position < end:
                file.seek(self._position - end, os.SEEK_END)
                count = file.readinto(memoryview(buffer)[: end - self._position])
                self._position += count
                return count
        return 0

    def close(self) -> None:
        for file, _ in self._files:
            file.close()
        super().close()


def problem(path: str | Path, name: str | None = None) -> str | None:
    """What is wrong with the contents of a file, or None when it can be read to its end.

    `name` says what the file is, where `path` (a download that is not finished) does not: archives are read
    through, with the checksums they hold; JSON is parsed; HDF5 must be as long as it says. Of other files
    it is only known that they are not empty and no web page, which is what servers send instead of a file.
    """
    path = Path(path)
    name = Path(name or path).name.lower()
    with path.open("rb") as file:
        beginning = file.read(512)
    if not beginning:
        return "is empty"
    if re.match(rb"\s*<(!doctype html|html)", beginning, re.I) and not name.endswith((".html", ".htm")):
        return "is a web page, not the file (too many downloads, or a login?)"
    try:
        if name.endswith((".zip", ".npz")) or (name.endswith((".pt", ".pth")) and zipfile.is_zipfile(path)):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            return damaged and f"member {damaged} is damaged"
        if name.endswith((".tar", ".tar.gz", ".tgz")):
            return _read_tar(path)
        if name.endswith(".gz"):
            with gzip.open(path) as file:
                _read(file)
        elif name.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8-sig"))
        elif name.endswith(".jsonl"):
            for line in path.read_text(encoding="utf-8-sig").split("\n"):
                if line.strip():
                    json.loads(line)
        elif name.endswith((".hdf5", ".h5")):
            return _hdf5_problem(beginning, path.stat().st_size)
    except Exception as error:  # of damaged or encrypted contents each decoder has its own
        return f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}"
    return None


def unpack(paths: Sequence[str | Path], member: str, destination: str | Path) -> None:
    """Writes one member of a zip or tar archive (in one file or cut into parts) to a file of its own.

    The member is found by its last name, in whatever folder of the archive; the file appears whole or not at
    all. Raises ValueError when the archive has no such member, OSError when it cannot be written.
    """
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    try:
        for name, file in _members(paths):
            if name.rpartition("/")[2] == member:
                with temporary.open("wb") as copy:
                    for block in iter(lambda file=file: file.read(BLOCK), b""):
                        copy.write(block)
                put(temporary, destination)
                return
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{paths[0]}: cannot be read: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    raise ValueError(f"{paths[0]}: has no member {member}")


def _members(paths: Sequence[str | Path]) -> Iterator[tuple[str, BinaryIO]]:
    with Parts(paths) as joined:
        if zipfile.is_zipfile(joined):
            with zipfile.ZipFile(joined) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        with archive.open(name) as file:
                            yield name, file
            return
        joined.seek(0)
        with tarfile.open(fileobj=io.BufferedReader(joined)) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, archive.extractfile(member)


def _read(file: BinaryIO) -> None:
    while file.read(BLOCK):
        pass


def _read_tar(path: Path) -> str | None:
    count = 0
    with tarfile.open(path) as archive:
        for member in archive:
            count += 1
            if member.isfile():
                _read(archive.extractfile(member))
    return None if count else "is an empty archive"


def _hdf5_problem(beginning: bytes, size: int) -> str | None:
    """HDF5's superblock holds the address of the file's end: a copy that was cut off is shorter."""
    if not beginning.startswith(HDF5):
        return "is no HDF5 file"
    if len(beginning) < 48:
        return "is cut off"
    version = beginning[8]
    offset = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
    address_bytes = beginning[13] if version < 2 else beginning[9]
    if offset is None or address_bytes != 8:
        return None  # a kind that nobody writes today
    (end,) = struct.unpack_from("<Q", beginning, offset)
    return None if size >= end else f"is cut off: {size} of {end} bytes"

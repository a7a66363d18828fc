"""The list of files that `data_download.sh` fetches: what they are, and whether a copy is right.

The shell script runs this file by its path, before anything is installed: standard library only.
The list (`downloads.json`) has targets; a file of a target has its path, the same below `data/` and
below a local mirror, its size, its licence, a checksum (`sha256`, or `git_blob` where only the blob id
of the upstream repository is known) and the URLs it can be had from, best first.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

MANIFEST = Path(__file__).with_name("downloads.json")
SLOWEST_BYTES_PER_SECOND = 1000  # below this a connection counts as stalled


class DownloadError(ValueError):
    """A target that does not exist, or a list of files that cannot be read."""


@dataclass(frozen=True)
class File:
    """A file to fetch; `path` is relative to the data folder."""

    path: str
    bytes: int
    checksum: str  # "sha256:..." or "git_blob:..."
    licence: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """Files that are fetched together, and what their owners ask for."""

    about: str
    notice: tuple[str, ...]
    files: tuple[File, ...]


def read_targets(manifest: str | Path = MANIFEST) -> dict[str, Target]:
    """The targets of a list of files, by name."""
    try:
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
        return {
            name: Target(target["about"], tuple(target["notice"]), tuple(map(_file, target["files"])))
            for name, target in content["targets"].items()
        }
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DownloadError(f"{manifest}: not a list of downloads ({problem})") from None


def checksum(path: str | Path, kind: str = "sha256") -> str:
    """The checksum of a file, written `kind:hexadecimal`; kind is sha256 or git_blob."""
    path = Path(path)
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git_blob":
        digest.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def state(file: File, folder: str | Path) -> str:
    """`right`, `damaged` or `missing`: how the copy of a file in a folder compares with the list."""
    path = Path(folder) / file.path
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.bytes:
        return "damaged"
    return "right" if checksum(path, file.checksum.partition(":")[0]) == file.checksum else "damaged"


def fetch(url: str, path: str | Path, stall_seconds: float) -> None:
    """Continues a partial file from a URL; what a machine without curl downloads with.

    Raises OSError when the server refuses, stalls or hangs up; the bytes so far stay in the file.
    """
    path = Path(path)
    offset = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    with urllib.request.urlopen(request, timeout=stall_seconds) as answer:
        whole_file = answer.status != 206  # a server without ranges starts again at byte 0
        with path.open("wb" if whole_file else "ab") as file:
            since, received = time.monotonic(), 0
            while block := answer.read1(1 << 16):
                file.write(block)
                received += len(block)
                if (seconds := time.monotonic() - since) > stall_seconds:
                    if received < SLOWEST_BYTES_PER_SECOND * seconds:
                        raise TimeoutError(f"{url}: {received} bytes in {seconds:.0f} s")
                    since, received = time.monotonic(), 0
        if answer.length:
            raise ConnectionError(f"{url}: {answer.length} bytes are missing")


def _file(row: dict) -> File:
    kind = "sha256" if "sha256" in row else "git_blob"
    return File(row["path"], row["bytes"], f"{kind}:{row[kind]}", row["licence"], tuple(row["urls"]))


def _chosen(targets: dict[str, Target], names: list[str]) -> list[Target]:
    for name in names:
        if name not in targets:
            raise DownloadError(f"no target {name!r}; there are: {', '.join(targets)}")
    return [targets[name] for name in names]


def _print_list(targets: dict[str, Target]) -> None:
    for name, target in targets.items():
        megabytes = sum(file.bytes for file in target.files) / 1e6
        print(f"{name}: {target.about} ({len(target.files)} files, {megabytes:.1f} MB)")
        for licence, count in Counter(file.licence for file in target.files).most_common():
            print(f"    {count:3d} x {licence}")


def _print_plan(targets: list[Target], folder: str) -> None:
    """One line a file: state, path, bytes, checksum, then the URLs, with tabs between."""
    for file in dict.fromkeys(file for target in targets for file in target.files):
        print(state(file, folder), file.path, file.bytes, file.checksum, *file.urls, sep="\t")


def main(command: str, manifest: str, *arguments: str) -> int:
    """0, or 1 when a file is not as it should be: one step of data_download.sh."""
    if command == "fetch":
        url, path, stall_seconds = arguments
        fetch(url, path, float(stall_seconds))
        return 0
    if command == "check":
        path, expected = arguments
        return int(checksum(path, expected.partition(":")[0]) != expected)
    targets = read_targets(manifest)
    if command == "list":
        _print_list(targets)
    elif command == "started":  # targets of which at least one file is there
        folder = Path(arguments[0])
        print(*(n for n, t in targets.items() if any((folder / file.path).exists() for file in t.files)))
    elif command == "plan":
        folder, *names = arguments
        _print_plan(_chosen(targets, names), folder)
    elif command == "notice":
        for target in _chosen(targets, list(arguments)):
            print(*target.notice, sep="\n")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(newline="\n")  # bash reads these lines on Windows, too
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, HTTPException, DownloadError) as problem:
        sys.exit(f"data_download.sh: {problem}")

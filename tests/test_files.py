"""What has its name is on the disk: a loss of power leaves the old file or the new one, whole."""

import ast
import errno
import os
import stat
from itertools import pairwise
from pathlib import Path

import pytest
from toy_training import toy_run

from vmrlib.data.files import put, write_bytes, write_text

SOURCES = sorted((Path(__file__).resolve().parent.parent / "vmrlib").rglob("*.py"))


@pytest.fixture
def order(monkeypatch) -> list[tuple]:
    """What is done with files: ("sync", inode, bytes), ("sync folder", inode), ("replace", inode, name)."""
    done, fsync, replace = [], os.fsync, os.replace

    def noting_fsync(descriptor):
        about = os.fstat(descriptor)
        folder = stat.S_ISDIR(about.st_mode)
        done.append(("sync folder", about.st_ino) if folder else ("sync", about.st_ino, about.st_size))
        fsync(descriptor)

    def noting_replace(source, target):
        done.append(("replace", os.stat(source).st_ino, Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    return done


def test_contents_reach_the_disk_before_the_name_and_the_name_after(order, tmp_path):
    path = tmp_path / "new" / "file.json"
    write_text(path, "täglich\r\n")
    inode = path.stat().st_ino
    folder = [("sync folder", path.parent.stat().st_ino)] if hasattr(os, "O_DIRECTORY") else []
    assert order == [("sync", inode, 10), ("replace", inode, "file.json"), *folder]
    assert path.read_bytes() == "täglich\r\n".encode() and os.listdir(path.parent) == ["file.json"]


def test_what_the_disk_does_not_take_leaves_the_old_file(monkeypatch, tmp_path):
    write_bytes(tmp_path / "file", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("folders", ["cannot be opened", "refuse"])
def test_platforms_that_cannot_sync_a_folder_keep_the_file(monkeypatch, tmp_path, folders):
    if folders == "cannot be opened":
        monkeypatch.delattr(os, "O_DIRECTORY", raising=False)  # as on Windows
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a folder was opened"))
    else:
        fsync = os.fsync

        def files_only(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a file")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", files_only)
    (tmp_path / "part").write_bytes(b"new")
    put(tmp_path / "part", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_a_checkpoint_knows_only_of_lines_of_the_log_that_are_on_the_disk(order, tmp_path):
    toy_run(tmp_path, epochs=2)  # six steps, saved at every second one
    log = (tmp_path / "log.jsonl").stat().st_ino
    events = [event[2] if event[0] == "replace" else event for event in order]
    saved = [number for number, event in enumerate(events) if event == "last.json"]
    sizes = []
    for before, after in pairwise(saved):  # the first is of a log without a line
        (size,) = (event[2] for event in events[before:after] if event[:2] == ("sync", log))
        sizes.append(size)
    assert len(saved) >= 4 and sizes == sorted(set(sizes)), "the log grew between any two checkpoints"
    assert sizes[-1] == (tmp_path / "log.jsonl").stat().st_size


def test_nothing_in_the_package_is_renamed_without_it():
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name = node.func.attr
            of_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
            # a path is replaced with one argument, a text with two
            if name in ("rename", "renames", "replace") and (of_os or (len(node.args) == 1)):
                found.append(path.name)
    assert found == ["files.py"]

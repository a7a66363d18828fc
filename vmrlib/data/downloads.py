"""The list of files that can be downloaded: what they are, and whether a copy is right.

`downloads.json` has targets and groups of targets. A target has files, all of them or none of some kind
(`tacos-features/c3d`); CONTRIBUTING.md explains the fields. Where nobody publishes a checksum, a file is read
through when it arrives, and its sha256 is kept in `downloads-record.json` in the data folder.

Standard library only, and Python 3.9: `data_download.sh` runs this before anything is installed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vmrlib.data.files import write_text

MANIFEST = Path(__file__).with_name("downloads.json")
RECORD = "downloads-record.json"
HASHES = {"sha256": hashlib.sha256, "git_blob": hashlib.sha1, "md5": hashlib.md5}


class DownloadError(ValueError):
    """A target that does not exist, or a list of files that cannot be read."""


@dataclass(frozen=True)
class File:
    """A file to fetch; `path` is relative to the data folder and ends in `/` for a folder of files."""

    path: str
    bytes: int | None
    checksum: str | None  # "sha256:...", "git_blob:..." or "md5:..."; None: nobody publishes one
    licence: str
    urls: tuple[str, ...]  # none: it has to be fetched by hand
    mirror: str = ""  # its path in a local mirror
    kind: str = ""
    about_bytes: int | None = None  # what others state, where the exact size is not known


@dataclass(frozen=True)
class Kind:
    """Files of a target that belong together, and how to get those that no program can fetch."""

    about: str
    links: tuple[str, ...] = ()  # pages to open
    take: str = ""  # what to take from there
    source: str = ""  # who states the links and the size
    features: str = ""  # the feature file or folder that `python -m vmrlib data features` checks
    unpack: tuple[tuple[str, str], ...] = ()  # members of its archive, and the paths they are written to
    after: str = ""  # a command to run in the data folder


@dataclass(frozen=True)
class Target:
    """Files that are fetched together, and what their owners ask for."""

    about: str
    notice: tuple[str, ...]
    files: tuple[File, ...]
    section: str = ""
    kinds: tuple[tuple[str, Kind], ...] = ()
    default: tuple[str, ...] = ()  # the kinds that are meant when none is named


@dataclass(frozen=True)
class Unit:
    """The files of a target, or of one kind of a target."""

    name: str  # "tacos", "tacos-features/c3d"
    target: Target
    kind: Kind
    files: tuple[File, ...]

    @property
    def features_name(self) -> str:
        """What `python -m vmrlib data features` calls it: "tacos/c3d"."""
        return self.name.replace("-features/", "/")


@dataclass(frozen=True)
class Manifest:
    """What a list of files says: targets, and names that stand for several targets."""

    targets: dict[str, Target]
    groups: dict[str, tuple[str, ...]]

    def units(self, name: str) -> list[Unit]:
        """The units of a target (of all its kinds), or the one of `TARGET/KIND`."""
        target_name, _, kind = name.partition("/")
        target = self.targets.get(target_name)
        kinds = dict(target.kinds) if target else {}
        if target is None or (kind and kind not in kinds):
            known = [*self.targets, *self.groups, *(f"{target_name}/{each}" for each in kinds if each)]
            near = difflib.get_close_matches(name, known, n=3) or list(known)[:5]
            raise DownloadError(f"no target {name!r}; there are {', '.join(near)} ... (--list shows all)")
        return [
            Unit(
                f"{target_name}/{name}" if name else target_name,
                target,
                kinds.get(name, Kind(target.about)),
                tuple(file for file in target.files if file.kind == name),
            )
            for name in ([kind] if kind else kinds or [""])
        ]

    def choose(self, names: Iterable[str]) -> list[Unit]:
        """The units that groups, targets and kinds stand for, each once; of a target its default kinds."""
        chosen = {}
        for name in names:
            for member in self.groups.get(name, (name,)):
                default = self.targets[member].default if member in self.targets else ()
                for wanted in [f"{member}/{kind}" for kind in default if kind] or [member]:
                    chosen.update((unit.name, unit) for unit in self.units(wanted))
        return list(chosen.values())


def read_manifest(path: str | Path = MANIFEST) -> Manifest:
    """The targets and groups of a list of files; DownloadError when it is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        targets = {name: _target(name, row) for name, row in content["targets"].items()}
        rows = content.get("groups", {})
        groups = {name: _texts(rows, name, "groups") for name in rows}
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read ({error.strerror})") from None
    except DownloadError as error:
        raise DownloadError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DownloadError(f"{path}: not a list of downloads ({problem})") from None
    manifest = Manifest(targets, groups)
    for name, members in groups.items():
        try:
            manifest.choose(members)
        except DownloadError as error:
            raise DownloadError(f"{path}: group {name!r}: {error}") from None
    return manifest


def checksum(path: str | Path, kind: str = "sha256") -> str:
    """The checksum of a file, written `kind:hexadecimal`; kind is sha256, git_blob or md5."""
    path = Path(path)
    digest = HASHES[kind](usedforsecurity=kind == "sha256")
    if kind == "git_blob":
        digest.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def state(file: File, folder: str | Path) -> str:
    """How the copy of a file in a folder compares with the list and the folder's record.

    `missing`, `damaged` or `right`; `unrecorded`: it is there, but nobody knows its checksum yet; `there`:
    a folder with files in it.
    """
    return _compare(Path(folder), file.path, file.bytes, file.checksum)


def member_state(path: str, folder: str | Path) -> str:
    """The same of a file that comes out of an archive: only the record knows its checksum."""
    return _compare(Path(folder), path, None, None)


def _compare(folder: Path, name: str, size: int | None, expected: str | None) -> str:
    path = folder / name
    if name.endswith("/"):
        return "there" if path.is_dir() and any(path.iterdir()) else "missing"
    if not path.is_file():
        return "missing"
    if expected is None:
        recorded = Record(folder).files.get(name, {})
        size, expected = recorded.get("bytes", size), recorded.get("checksum")
    if size is not None and path.stat().st_size != size:
        return "damaged"
    if expected is None:
        return "unrecorded"
    return "right" if checksum(path, expected.partition(":")[0]) == expected else "damaged"


class Record:
    """What a data folder remembers: files without published checksums, and what could not be had."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files: dict[str, dict] = {}  # path -> {"bytes": ..., "checksum": ...}
        self.absent: list[str] = []  # names of units that were asked for, of which nothing is there
        path = self.folder / RECORD
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                self.files, self.absent = dict(content["files"]), list(content["absent"])
            except (ValueError, KeyError, TypeError) as error:
                raise DownloadError(f"{path}: damaged ({error}); delete it and run again") from None

    def add(self, path: str) -> str:
        """The checksum of a file of the folder, after it was noted."""
        file = self.folder / path
        self.files[path] = {"bytes": file.stat().st_size, "checksum": checksum(file)}
        self._write()
        return self.files[path]["checksum"]

    def ask(self, units: Iterable[str], absent: Iterable[str]) -> None:
        """Notes of which units of a run nothing could be had."""
        wanted = sorted((set(self.absent) - set(units)) | set(absent))
        if wanted != self.absent:
            self.absent = wanted
            self._write()

    def _write(self) -> None:
        if not self.files and not self.absent:
            (self.folder / RECORD).unlink(missing_ok=True)
            return
        content = {"files": dict(sorted(self.files.items())), "absent": self.absent}
        write_text(self.folder / RECORD, json.dumps(content, indent=1))


def _target(name: str, row: dict) -> Target:
    where = f"target {name!r}"
    _known(row, ("about", "notice", "files", "section", "kinds", "default"), where)
    kinds = {kind: _kind(fields, f"{where}, kind {kind!r}") for kind, fields in row.get("kinds", {}).items()}
    files = tuple(_file(file, f"{where}, file {number}") for number, file in enumerate(row["files"], 1))
    default = _texts(row, "default", where) if "default" in row else tuple(kinds)
    used = {file.kind for file in files}
    if used != set(kinds or {""}) or not set(default) <= used:
        raise DownloadError(f"{where}: its files are of the kinds {sorted(used)}, and it has {sorted(kinds)}")
    return Target(
        about=_text(row, "about", where),
        notice=_texts(row, "notice", where),
        files=files,
        section=_text(row, "section", where, ""),
        kinds=tuple(kinds.items()),
        default=default,
    )


def _kind(row: dict, where: str) -> Kind:
    texts = ("about", "take", "source", "features", "after")
    _known(row, (*texts, "links", "unpack"), where)
    fields = {name: _text(row, name, where) for name in texts if name in row}
    unpack = row.get("unpack", {})
    members = tuple((member, _path(unpack, member, where)) for member in unpack)
    if "features" in row:
        _path(row, "features", where)
    return Kind(links=_texts(row, "links", where), unpack=members, **fields)


def _file(row: dict, where: str) -> File:
    path = _path(row, "path", where)
    where = f"{where} ({path})"
    known = ("path", "bytes", "about_bytes", "licence", "urls", "mirror", "kind")
    _known(row, (*known, *HASHES), where)
    checksum = None
    for kind in HASHES:
        if kind in row:
            checksum = f"{kind}:{_text(row, kind, where).lower()}"
            if not re.fullmatch(
                f"{kind}:[0-9a-f]{{{HASHES[kind](usedforsecurity=False).digest_size * 2}}}", checksum
            ):
                raise DownloadError(f"{where}: {kind} is {row[kind]!r}, which is none")
    urls = _texts(row, "urls", where)
    if urls and path.endswith("/"):
        raise DownloadError(f"{where}: a folder cannot have urls")
    return File(
        path=path,
        bytes=_size(row, "bytes", where),
        checksum=checksum,
        licence=_text(row, "licence", where),
        urls=urls,
        mirror=_path(row, "mirror", where) if "mirror" in row else path,
        kind=_text(row, "kind", where, ""),
        about_bytes=_size(row, "about_bytes", where),
    )


def _known(row: dict, names: Iterable[str], where: str) -> None:
    if unknown := [name for name in row if name not in names]:
        raise DownloadError(f"{where}: unknown field {unknown[0]!r}")


def _text(row: dict, name: str, where: str, default: str | None = None) -> str:
    """A field of one line: the shell script reads lines with tabs between the fields."""
    value = row.get(name, default)
    if not isinstance(value, str) or (not value and value != default) or re.search(r"[\t\r\n]", value):
        raise DownloadError(f"{where}: {name} is {value!r}, wanted a text of one line")
    return value


def _texts(row: dict, name: str, where: str) -> tuple[str, ...]:
    values = row.get(name, [])
    if not isinstance(values, list):
        raise DownloadError(f"{where}: {name} is {values!r}, wanted a list of texts")
    return tuple(_text({name: value}, name, where) for value in values)


def _path(row: dict, name: str, where: str) -> str:
    path = _text(row, name, where)
    if path.startswith("/") or re.search(r"[\\:]", path) or ".." in path.split("/"):
        raise DownloadError(f"{where}: {name} is {path!r}, wanted a path in the data folder, with /")
    return path


def _size(row: dict, name: str, where: str) -> int | None:
    value = row.get(name)
    if value is not None and (type(value) is not int or value <= 0):
        raise DownloadError(f"{where}: {name} is {value!r}, wanted a number of bytes or null")
    return value

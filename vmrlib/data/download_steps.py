"""The steps of `data_download.sh` that a shell is not made for: reading the list, checking, unpacking.

    python -m vmrlib.data.download_steps begin MANIFEST ACTION DATA MIRROR [TARGET ...]
    python -m vmrlib.data.download_steps keep MANIFEST PART DATA PATH BYTES CHECKSUM
    python -m vmrlib.data.download_steps end MANIFEST ACTION DATA FAILED [TARGET ...]

Standard library only, and Python 3.9: this runs before anything is installed. (Published features are
compared with the annotations only where the package is.)
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

from vmrlib.data import archives
from vmrlib.data.downloads import (
    RECORD,
    DownloadError,
    File,
    Manifest,
    Record,
    Unit,
    checksum,
    member_state,
    read_manifest,
    state,
)
from vmrlib.data.files import put


def show_list(manifest: Manifest) -> None:
    """Prints every target and group: contents, size, licences, and what has to be fetched by hand."""
    print("The script fetches everything but what is marked `by hand`: of that it says where it is.")
    section = None
    for name, target in manifest.targets.items():
        if target.section != section:
            section = target.section
            print(f"\n{section}:")
        print(f"{name}: {target.about} ({_size(target.files)})")
        for licence, count in Counter(file.licence for file in target.files).most_common():
            print(f"    {count:3d} x {licence}")
        for unit in manifest.units(name):
            if unit.name != name:
                print(f"    /{unit.name.partition('/')[2]}: {unit.kind.about} ({_size(unit.files)})")
        if 0 < len(target.default) < len(target.kinds):
            print(f"    {name} alone means {', '.join(f'/{kind}' for kind in target.default)}")
    if manifest.groups:
        print("\nGroups:")
    for name, members in manifest.groups.items():
        print(f"{name}: {', '.join(members)}")


def started(manifest: Manifest, folder: Path) -> list[Unit]:
    """The units of which something is there, or that an earlier run was asked for in vain."""
    units = [unit for name in manifest.targets for unit in manifest.units(name)]
    owners = Counter(path for unit in units for path in {file.path for file in unit.files})
    absent = Record(folder).absent
    return [
        unit
        for unit in units
        if unit.name in absent
        or any(owners[file.path] == 1 and (folder / file.path).exists() for file in unit.files)
        or any((folder / path).exists() for _, path in unit.kind.unpack)
    ]


def begin(units: list[Unit], action: str, folder: Path, mirror: Path | None) -> int:
    """Prints what there is to do; 0, or 1 when there is no space for it.

    Lines are `say`, tab, a sentence for the user; or, one a file, with tabs between: state (`right`,
    `missing` or `damaged`), path, bytes, checksum, path in a mirror, URLs. `-` stands for what nobody knows;
    a file without URLs has to be fetched by hand. With a mirror what is in it is copied here.
    """
    if action != "verify":
        for line in dict.fromkeys(line for unit in units for line in unit.target.notice):
            print("say", line, sep="\t")
    files = {file.path: file for unit in units for file in unit.files}
    if action == "fetch" and mirror is not None:
        for file in files.values():
            copy(file, folder, mirror)
    elif action == "fetch" and not _enough_space(files.values(), folder):
        return 1
    for unit in units:
        members = {member_state(path, folder) for _, path in unit.kind.unpack}
        for file in unit.files:
            status = state(file, folder)
            if status == "missing" and members and members <= {"right", "unrecorded"}:
                status = "right"  # an archive may be deleted after it was unpacked
            elif status == "unrecorded":
                status = _first_look(file, folder, write=action == "fetch")
            elif status == "there":
                status = "right"
                if not unit.kind.features:
                    print("say", f"{file.path} is there; what is in it is not checked", sep="\t")
            if status == "damaged" and not file.urls and file.path in Record(folder).files:
                print(f"  replaced on purpose? delete {file.path} in {folder / RECORD}", file=sys.stderr)
            size = "-" if file.bytes is None else file.bytes
            if files.pop(file.path, None):
                print(status, file.path, size, file.checksum or "-", file.mirror, *file.urls, sep="\t")
    return 0


def copy(file: File, folder: Path, mirror: Path) -> None:
    """Copies a file that is missing or damaged from a local mirror, if it is there and right."""
    source, path = mirror / file.mirror, folder / file.path
    if not source.is_file() or state(file, folder) not in ("missing", "damaged"):
        return
    print("say", f"{file.path} ({source.stat().st_size} bytes)", sep="\t")
    part = path.with_name(f"{path.name}.part.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        if not keep(part, folder, file.path, file.bytes, file.checksum, say="say\t"):
            print(f"  {file.path}: wrong checksum or contents in {mirror}", file=sys.stderr)
    except OSError as error:
        print(f"  {file.path}: {error}", file=sys.stderr)
    finally:
        part.unlink(missing_ok=True)


def keep(part: Path, folder: Path, path: str, size: int | None, expected: str | None, say: str = "") -> bool:
    """Whether a new file is right; if so it gets its name. OSError when it cannot get it.

    Right means that it has this size and checksum; where nobody knows a checksum, that it can be read as
    what its name says: then its sha256 is kept.
    """
    if size not in (None, part.stat().st_size):
        print(f"  {path} has {part.stat().st_size} bytes, wanted {size}", file=sys.stderr)
        return False
    if expected is not None:
        if checksum(part, expected.partition(":")[0]) != expected:
            return False
    elif problem := archives.problem(part, path):
        print(f"  {path} {problem}", file=sys.stderr)
        return False
    put(part, folder / path)
    if expected is None:
        _record(folder, path, say)
    return True


def end(units: list[Unit], action: str, folder: Path, failed: bool) -> int:
    """What is left when the files are there: archives, instructions, a look into features; 0 or 1."""
    complete = all([_unpacked(unit, folder, write=action == "fetch") for unit in units])
    if action == "fetch":
        # of units that were begun the files tell that they are not whole
        direct = [unit for unit in units if all(file.urls for file in unit.files)]
        absent = [u.name for u in direct if not any((folder / file.path).exists() for file in u.files)]
        Record(folder).ask([unit.name for unit in units], absent)
        for unit in units:
            done = unit.kind.features and (folder / unit.kind.features).exists()
            if unit.kind.after and not done and all((folder / file.path).exists() for file in unit.files):
                print(f"{unit.name}: now, in {folder}: {unit.kind.after}")
    if failed and action != "verify":
        for unit in units:
            _show_instructions(unit, folder)
    there = [unit for unit in units if unit.kind.features and (folder / unit.kind.features).exists()]
    if there:
        complete &= _features_are_right({unit.features_name: folder / unit.kind.features for unit in there})
    return int(not complete)


def _first_look(file: File, folder: Path, write: bool) -> str:
    """The state of a file that was put there by hand, or that nobody has checked yet."""
    if problem := archives.problem(folder / file.path):
        print(f"  {file.path} {problem}", file=sys.stderr)
        return "damaged"
    if write:
        _record(folder, file.path, "say\t")
    return "right"


def _record(folder: Path, path: str, say: str) -> None:
    kept = Record(folder).add(path)
    print(f"{say}  {path}: nobody publishes a checksum; it can be read, and {kept} is kept")


def _enough_space(files, folder: Path) -> bool:
    """Whether what is missing, as far as sizes are known, fits on the disk; prints a line if not."""
    needed = 0
    for file in files:
        if file.urls and not (folder / file.path).exists():
            part = folder / f"{file.path}.part"
            needed += (file.bytes or file.about_bytes or 0) - (part.stat().st_size if part.exists() else 0)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        sizes = f"{_bytes(needed)} are needed, {_bytes(free)} are free"
        print(f"not enough space in {folder}: {sizes}", file=sys.stderr)
    return needed <= free


def _unpacked(unit: Unit, folder: Path, write: bool) -> bool:
    """Whether everything that comes out of an archive is there and right; unpacks what is not, if `write`."""
    complete = True
    paths = [folder / file.path for file in unit.files]
    for member, name in unit.kind.unpack:
        status = member_state(name, folder)
        if status == "right" or (status == "missing" and not all(path.exists() for path in paths)):
            continue
        try:
            if status == "unrecorded" and (problem := archives.problem(folder / name)):
                raise ValueError(f"{name} {problem}")
            if status != "unrecorded":
                if not write:
                    raise ValueError(f"{status}: {name} (bash data_download.sh {unit.name} unpacks it)")
                archives.unpack(paths, member, folder / name)
                print(f"unpacked {name}")
            if write:
                Record(folder).add(name)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            complete = False
    return complete


def _show_instructions(unit: Unit, folder: Path) -> None:
    """Prints what to fetch by hand, from where, and where to put it, if something is not there."""
    kind = unit.kind
    missing = [file.path for file in unit.files if state(file, folder) == "missing"]
    if not missing or not kind.links:
        return
    if any(file.urls for file in unit.files):  # it is what comes out of the files that is on these pages
        missing = [path for _, path in kind.unpack] or missing
    print(f"\nHow to get {unit.name} by hand: {kind.about}")
    for number, link in enumerate(kind.links):
        print(f"  {'or     ' if number else 'open   '} {link}")
    print(f"  take    {kind.take}")
    print(f"          (links and size: {kind.source}; no checksum is published)")
    for path in missing:
        print(f"  to      {(folder / path).absolute()}{' (a folder)' if path.endswith('/') else ''}")
    print(f"  check   bash data_download.sh {unit.name}")
    others = [name for name, other in unit.target.kinds if other is not kind]
    if others:
        print(f"  instead another kind: {', '.join(others)} (--list describes them)")
    if kind.features:
        print("  gone?   python -m vmrlib extract VIDEOS --out FOLDER makes features of your own videos")


def _features_are_right(paths: dict[str, Path]) -> bool:
    try:
        from vmrlib.data import feature_files  # needs numpy, h5py and torch
    except ImportError:
        print(f"not compared with the annotations, which needs an installation: {', '.join(paths)}")
        return True
    try:
        return feature_files.report(paths) == 0
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return False


def _size(files: tuple[File, ...]) -> str:
    known = sum(file.bytes or file.about_bytes or 0 for file in files)
    unknown = sum(file.bytes is None and file.about_bytes is None for file in files)
    by_hand = sum(not file.urls for file in files)
    about = "about " if any(file.bytes is None and file.about_bytes for file in files) else ""
    text = f"{len(files)} file{'s' * (len(files) != 1)}, "
    text += f"{about}{_bytes(known)}" if known else "size unknown"
    if known and unknown:
        text += f" and {unknown} of unknown size"
    if by_hand:
        text += ", by hand" if by_hand == len(files) else f", {by_hand} by hand"
    return text


def _bytes(number: int) -> str:
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def main(step: str, manifest_path: str, *arguments: str) -> int:
    """0, or 1 when a file is not as it should be; 3 when a right one cannot be written."""
    if step == "keep":
        part, folder, path, size, expected = arguments
        known = None if size == "-" else int(size), None if expected == "-" else expected
        try:
            return int(not keep(Path(part), Path(folder), path, *known))
        except OSError as error:
            print(f"  {path}: cannot be written ({error})", file=sys.stderr)
            return 3
    manifest = read_manifest(manifest_path)
    if step == "list":
        show_list(manifest)
        return 0
    action, folder, other, *targets = arguments
    units = manifest.choose(targets) if targets else started(manifest, Path(folder))
    if step == "begin":
        return begin(units, action, Path(folder), Path(other) if other else None)
    return end(units, action, Path(folder), failed=other != "0")


if __name__ == "__main__":
    sys.stdout.reconfigure(newline="\n", encoding="utf-8")  # bash reads these lines on Windows, too
    try:
        sys.exit(main(*sys.argv[1:]))
    except DownloadError as problem:
        print(f"data_download.sh: {problem}", file=sys.stderr)
        sys.exit(2)
    except OSError as problem:
        sys.exit(f"data_download.sh: {problem}")

"""Annotation files and their fields, with errors that name file, line or video, field and value."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from vmrlib.data import annotations_folder, annotations_folders
from vmrlib.data.annotations import (
    AnnotationError,
    Problem,
    is_number,
    parse_line,
    read_lines,
    read_text,
    shown,
    unique_fields,
)

KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


class MissingFile(AnnotationError, FileNotFoundError):  # noqa: N818
    """An annotation file that is not there; the message says which command fetches it."""

    def __init__(self, dataset: str, folder: Path, *names: str):
        self.dataset, self.names = dataset, names
        super().__init__(
            f"{folder / names[0]}: no such file"
            + "".join(f", and no {name} in its place" for name in names[1:])
            + f"; to fetch it: {download_command(dataset)}"
        )

    def __str__(self) -> str:  # OSError would print its arguments in another way
        return str(self.args[0])


def download_command(dataset: str) -> str:
    """The command that fetches the annotations of a dataset."""
    return f"bash data_download.sh {dataset}"


def beside(dataset: str, folder: str | Path | None) -> Path | None:
    """The folder of another dataset: beside the one given, or None for the default."""
    return None if folder is None else Path(folder).parent / dataset


def find_file(dataset: str, folder: str | Path | None, *names: str) -> Path:
    """The first of the names that is there; MissingFile when none is."""
    if path := look_for(dataset, folder, *names):
        return path
    raise MissingFile(dataset, annotations_folder(dataset) if folder is None else Path(folder), *names)


def look_for(dataset: str, folder: str | Path | None, *names: str) -> Path | None:
    """The first of the names that is there, or None: in the folder given, or else where data may be."""
    for place in annotations_folders(dataset) if folder is None else [Path(folder)]:
        for name in names:
            if (place / name).is_file():
                return place / name
    return None


def load_json(path: Path, kind: type = dict):
    """The content of a JSON file, an object or a list; a name that is there twice is an error."""
    try:
        content = json.loads(read_text(path), object_pairs_hook=unique_fields)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at column {error.colno}"
        raise AnnotationError(f"{path}, line {error.lineno}: {message}") from None
    except AnnotationError as error:
        message = str(error)
        raise AnnotationError(message if str(path) in message else f"{path}: {message}") from None
    except (RecursionError, ValueError) as error:
        raise AnnotationError(f"{path}: not JSON that can be read: {error}") from None
    if not isinstance(content, kind):
        wanted = "an object" if kind is dict else "a list"
        raise AnnotationError(f"{path}: expected {wanted}, found {type(content).__name__}")
    return content


def load_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """The place ("line 3") and the object of every line of a JSONL file."""
    for number, line in read_lines(path):
        row = parse_line(line)
        if isinstance(row, Problem):
            raise AnnotationError(f"{path}, line {number}: {row}")
        yield f"line {number}", row


def load_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The place and the row of every line of a CSV file with at least these columns."""
    # strict: a quote that is never closed would else swallow the rest of the table
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    first = 1  # line of the row that is read
    try:
        for name in columns:
            if name not in (reader.fieldnames or ()):
                message = f'column "{name}" is missing in {shown(reader.fieldnames)}'
                raise AnnotationError(f"{path}, line 1: {message}")
        first = reader.line_num + 1
        for row in reader:
            place = f"line {reader.line_num}"
            for name in columns:
                if row[name] is None:
                    raise AnnotationError(f'{path}, {place}: column "{name}" is missing')
            yield place, row
            first = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(f"{path}, line {first}: not CSV: {error}") from None


def load_ids(path: Path) -> list[str]:
    """The ids of a file with one a line."""
    return [line.strip() for _, line in read_lines(path)]


def get(row: dict, name: str, kind: type | tuple[type, ...], path: Path, place: str):
    """The field of a row, of the type asked for; AnnotationError names file, place, field and value."""
    if name not in row:
        raise AnnotationError(f'{path}, {place}: field "{name}" is missing')
    value = row[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise wrong(path, place, name, value, " or ".join(KINDS[kind] for kind in kinds))
    return value


def get_seconds(row: dict, name: str, path: Path, place: str) -> float:
    """A field that holds a number above 0, such as a duration."""
    value = row.get(name)
    if not is_number(value) or value <= 0:
        if name not in row:
            raise AnnotationError(f'{path}, {place}: field "{name}" is missing')
        raise wrong(path, place, name, value, "a number above 0")
    return float(value)


def get_pair(value, name: str, path: Path, place: str) -> tuple[float, float]:
    """A [start, end] of two finite numbers, in whatever order."""
    if isinstance(value, list) and len(value) == 2 and is_number(value[0]) and is_number(value[1]):
        return float(value[0]), float(value[1])
    raise wrong(path, place, name, value, "[start, end]")


def wrong(path: Path, place: str, name: str, value, wanted: str) -> AnnotationError:
    """The error of a field with a wrong value."""
    return AnnotationError(f'{path}, {place}: field "{name}": expected {wanted}, found {shown(value)}')

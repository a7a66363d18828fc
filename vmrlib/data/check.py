"""`data check`: what is in every public dataset that is there, and what is odd about it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vmrlib.data.annotations import AnnotationError
from vmrlib.data.datasets import (
    DATASETS,
    AnnotatedSplit,
    MissingFile,
    download_command,
    read_split,
)
from vmrlib.data.datasets.across import compare
from vmrlib.data.datasets.counts import difference

SUMMARY = Path(__file__).with_name("real_summary.json")
HEADING = ("videos", "queries", "rows in the file", "moments and rows left out")


def report(datasets: Sequence[str] = tuple(DATASETS), folder: str | Path | None = None) -> dict:
    """Everything that was found in the datasets, ready for JSON.

    `datasets`: dataset -> `splits` (split -> videos, queries, rows, dropped, findings, figures, tallies,
    files, notes) and `across` (finding -> count); datasets that are not there have no entry.
    `published`: splits with other counts than the published ones, `known` when the public file has them, too,
    and `fails` when neither has them and we have read a public file.
    `missing`: files that are not there, with the command that gets them; `problems`: files that are wrong.
    `folder` holds one folder for each dataset (default: where `data_download.sh` puts them).
    """
    found = {"datasets": {}, "published": [], "missing": [], "problems": []}
    for dataset in datasets:
        place = None if folder is None else Path(folder) / dataset
        splits: dict[str, AnnotatedSplit] = {}
        for name in DATASETS[dataset]:
            try:
                splits[name] = read_split(dataset, name, place)
            except MissingFile as error:
                found["missing"].append(
                    {
                        "dataset": dataset,
                        "split": name,
                        "file": " or ".join(error.names),
                        "command": download_command(error.dataset),
                    }
                )
            except Exception as error:  # a damaged file may fail in any way; the others are still checked
                found["problems"].append(_problem(dataset, name, error))
        if not splits:
            continue
        try:
            across = compare(dataset, splits, place)
        except Exception as error:
            across = {}
            found["problems"].append(_problem(dataset, "", error))
        found["datasets"][dataset] = {
            "splits": {name: _split(split) for name, split in splits.items()},
            "across": across,
        }
        differences = filter(None, map(difference, splits.values()))
        found["published"] += [one._asdict() | {"message": str(one)} for one in differences]
    return found


def failures(found: dict, named: Sequence[str] = ()) -> list[str]:
    """Why the check fails: wrong files, impossible counts, missing files of datasets asked for by name."""
    lines = [problem["message"] for problem in found["problems"]]
    lines += [one["message"] for one in found["published"] if one["fails"]]
    lines += [
        f"{one['dataset']} {one['split']}: {one['file']} is not there"
        for one in found["missing"]
        if one["dataset"] in named
    ]
    return lines


def as_text(found: dict, named: Sequence[str] = ()) -> str:
    """The report as lines to read: a table for each dataset, then what differs, is wrong and is missing."""
    blocks = [_dataset(name, content) for name, content in found["datasets"].items()]
    blocks.append(_list("published counts that differ", [one["message"] for one in found["published"]]))
    blocks.append(_list("wrong files", [problem["message"] for problem in found["problems"]]))
    missing: dict[str, dict[str, list[str]]] = {}
    for one in found["missing"]:
        files = missing.setdefault(f"{one['dataset']} ({one['command']})", {})
        files.setdefault(one["file"], []).append(one["split"])
    lines = [
        f"{target}: " + ", ".join(f"{file} ({' and '.join(splits)})" for file, splits in files.items())
        for target, files in missing.items()
    ]
    blocks.append(_list("not there", lines))
    reasons = failures(found, named)
    blocks.append(_list("the check fails", reasons) if reasons else "no file is wrong\n")
    return "\n".join(filter(None, blocks))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "exit code 1: a file is wrong, a count is none of the known ones (of files that we have read), or a\n"
        "dataset asked for by name is not whole\n"
        "example: python -m vmrlib data check tacos charades_sta --json"
    )
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET",
        help=f"all that are there, or some of: {', '.join(DATASETS)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--summary",
        nargs="?",
        const=SUMMARY,
        type=Path,
        metavar="PATH",
        help="only write the statistics that the notebooks draw where the real files are absent",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the report; 0 when nothing is wrong."""
    for name in args.datasets:
        if name not in DATASETS:
            raise ValueError(f"no dataset {name!r}: there are {', '.join(DATASETS)}")
    if args.summary:
        from vmrlib.data.summary import write_summary

        write_summary(args.summary)
        print(f"wrote {args.summary}")
        return 0
    found = report(tuple(dict.fromkeys(args.datasets)) or tuple(DATASETS))
    reasons = failures(found, args.datasets)
    if args.json:
        print(json.dumps(found | {"failures": reasons}, indent=1))  # ASCII: any terminal can show it
    else:
        print(as_text(found, args.datasets), end="")
    return 1 if reasons else 0


def _problem(dataset: str, split: str, error: Exception) -> dict:
    message = str(error)
    if not isinstance(error, AnnotationError | OSError):  # nobody foresaw it: there is no file in the message
        message = f"{dataset} {split}: {type(error).__name__}: {message}"
    return {"dataset": dataset, "split": split, "message": message}


def _split(split: AnnotatedSplit) -> dict:
    return {
        "videos": len(split.videos),
        "queries": len(split.queries),
        "rows": split.rows,
        "dropped": [vars(one) for one in split.dropped],
        "findings": split.findings,
        "figures": split.figures,
        "tallies": split.tallies,
        "files": list(split.files),
        "notes": list(split.notes),
    }


def _dataset(name: str, content: dict) -> str:
    """The table of a dataset, a column for each split; findings that are 0 everywhere are left out."""
    splits = content["splits"]
    columns = [
        (split["videos"], split["queries"], split["rows"], len(split["dropped"])) for split in splits.values()
    ]
    table = [[heading, *map(str, counts)] for heading, *counts in zip(HEADING, *columns, strict=True)]
    for finding in dict.fromkeys(key for split in splits.values() for key in split["findings"]):
        counts = [split["findings"].get(finding) for split in splits.values()]
        if any(counts):
            table.append([finding, *("-" if count is None else str(count) for count in counts)])
    figures = [
        [f"{figure}, {split}", *(f"{number:.2f}" for number in numbers.values())]
        for figure in dict.fromkeys(figure for split in splits.values() for figure in split["figures"])
        for split, values in splits.items()
        if (numbers := values["figures"].get(figure))
    ]
    lines = [name, *_aligned([["", *splits], *table])]
    if figures:
        lines += _aligned([["", "min", "median", "mean", "max"], *figures])
    lines += [f"  {finding}: {count}" for finding, count in content["across"].items() if count]
    for split, values in splits.items():
        for field, counts in values["tallies"].items():
            shown = ", ".join(f"{value} ({count})" for value, count in counts.items())
            lines.append(f"  {split}, {field}: {shown}")
    for split, values in splits.items():
        lines += [f"  {split}: {note}" for note in values["notes"]]
        lines += [
            f"  {split}, left out: {d['where']}: {d['reason']}: {d['value']}" for d in values["dropped"]
        ]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *cells in rows:
        right = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(("  " + first.ljust(widths[0]) + "".join(right)).rstrip())
    return lines


def _list(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) + "\n" if lines else ""

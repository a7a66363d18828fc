"""`python -m vmrlib data features`: published feature files, compared with the annotations.

Nobody publishes checksums of these files, and some copies are damaged, cut off or of another version. So
they are checked by what must be in them: the videos of the annotations (or the queries, for features of
texts), rows of the documented dimension, as many as the video is long, and numbers that are finite.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vmrlib.data import data_folder
from vmrlib.data.datasets import DATASETS, MissingFile, corpus, download_command, read_split
from vmrlib.data.datasets.files import look_for
from vmrlib.data.downloads import read_manifest
from vmrlib.data.published import LAYOUTS, NUMBERS, TACOS_FPS, PublishedFeatures
from vmrlib.data.store import StoreError

SAMPLE = 32  # videos whose numbers are read; of the others only the shapes
NAMED = 5  # how many ids a line of text names

RowCheck = Callable[[int, float | int], str]  # rows and seconds -> what was wanted instead, "" when they fit


def every(seconds: float | int) -> RowCheck:
    """One row for so many seconds, give or take the two that differ between frame counts."""

    def wanted(rows: int, duration: float | int) -> str:
        return "" if abs(rows - duration / seconds) <= 2 else f"about {duration / seconds:.0f}"

    return wanted


def rate(low: float | int, high: float | int) -> RowCheck:
    """So many rows a second: for strides in frames, of videos with different frame rates."""

    def wanted(rows: int, duration: float | int) -> str:
        return "" if low * duration - 2 <= rows <= high * duration + 2 else f"{low * duration:.0f} or more"

    return wanted


def between(low: int, high: int) -> RowCheck:
    """So many rows, however long the video is."""

    def wanted(rows: int, duration: float | int) -> str:
        return "" if low <= rows <= high else f"{low} to {high}"

    return wanted


def tacos_c3d(rows: int, duration: float | int) -> str:
    """2D-TAN's script takes 64 frames every 12; QMN's features 16 every 4 of a video 16 frames longer."""
    frames = round(duration * TACOS_FPS)
    wanted = ((frames - 64) // 12 + 1, -(-frames // 4) + 1)
    return "" if rows in wanted else f"{wanted[0]} or {wanted[1]}"


@dataclass(frozen=True)
class Expected:
    """What must be in the features that a download calls DATASET/KIND."""

    layout: str  # a key of LAYOUTS
    rows: RowCheck
    of_queries: bool = False
    available: str = ""  # an annotation file that names the videos the features could be made of


UNIVTG = {
    "univtg-clip": Expected("univtg-clip", every(2.0)),
    "univtg-slowfast": Expected("univtg-slowfast", every(2.0)),
}
BMT = {"available": "available_mp4.txt"}

EXPECTED: dict[str, dict[str, Expected | tuple[Expected, ...]]] = {
    "tacos": UNIVTG
    | {
        "c3d": Expected("tacos-c3d", tacos_c3d),
        "vslnet-i3d": Expected("vslnet-i3d", rate(29.4 / 24, 29.4 / 12)),
    },
    "activitynet_captions": UNIVTG
    | {
        # 16 frames every 8, of videos with 8 to 65 frames a second
        "c3d": Expected("activitynet-c3d", rate(1, 8.2)),
        "bmt-i3d": (
            Expected("bmt-i3d-rgb", every(2.56), **BMT),
            Expected("bmt-i3d-flow", every(2.56), **BMT),
        ),
        "bmt-vggish": Expected("bmt-vggish", every(0.96), **BMT),
        "vslnet-i3d": Expected("vslnet-i3d", rate(0.3, 8)),
    },
    "charades_sta": UNIVTG
    | {"vgg": Expected("charades-vgg", rate(3, 9)), "vslnet-i3d": Expected("vslnet-i3d", rate(0.7, 1.6))},
    "tvr": {
        "i3d": Expected("tvr-i3d", every(1.5)),
        "resnet": Expected("tvr-resnet", every(1.5)),
        "resnet-i3d": Expected("tvr-resnet-i3d", every(1.5)),
        "subtitles": Expected("tvr-subtitles", every(1.5)),
        "queries": Expected("tvr-queries", between(1, 512), of_queries=True),
        "queries-only": Expected("tvr-queries", between(1, 512), of_queries=True),
    },
    "qvhighlights": UNIVTG
    | {
        "slowfast": Expected("qvhighlights-slowfast", every(2.0)),
        "clip": Expected("qvhighlights-clip", every(2.0)),
        "text": Expected("qvhighlights-text", between(2, 77), of_queries=True),
    },
    "didemo": {
        "vgg": Expected("didemo-vgg", between(6, 6)),
        "flow": Expected("didemo-flow", between(6, 6)),
        "univtg-clip": Expected("univtg-clip", between(1, 1000)),
        "univtg-slowfast": Expected("univtg-slowfast", between(1, 1000)),
    },
}


@dataclass(frozen=True)
class FeatureReport:
    """What a check of published features found.

    wanted, found: numbers of ids of the annotations; read: of how many the numbers were read
    unavailable: how many more could not be had when the features were made
    others: ids in the features that the annotations do not have
    missing: ids of the annotations that are not in the features (without those known as not available)
    empty: ids with no rows; unreadable, not_finite: id -> why, or ids; shapes: id -> a shape that is wrong
    lengths: id -> number of rows, and what was wanted for the duration
    """

    name: str
    path: str
    layout: str
    splits: tuple[str, ...]
    wanted: int
    found: int
    read: int
    unavailable: int
    others: tuple[str, ...]
    missing: tuple[str, ...]
    empty: tuple[str, ...]
    unreadable: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    lengths: dict[str, tuple[int, str]]
    not_finite: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """One phrase for each thing that is wrong."""
        dim = LAYOUTS[self.layout].dim
        shapes = [f"{key} {shape}" for key, shape in self.shapes.items()]
        lengths = [f"{key} has {rows}, wanted {wanted}" for key, (rows, wanted) in self.lengths.items()]
        found = [
            (f"missing of {self.wanted}", self.missing),
            ("empty", self.empty),
            ("unreadable", [f"{key}: {why}" for key, why in self.unreadable.items()]),
            (f"not (rows, {dim})", shapes),
            ("with other numbers of rows than their length needs", lengths),
            (f"not finite, of {self.read} read whole", self.not_finite),
        ]
        phrases = [f"{len(items)} {text} ({_some(items)})" for text, items in found if items]
        return phrases if self.wanted else [f"there are no annotations to compare with: {self._command()}"]

    @property
    def verdict(self) -> str:
        """`right`, `incomplete` (only ids are missing) or `wrong`."""
        if not self.problems:
            return "right"
        return "incomplete" if self.found and self.missing and len(self.problems) == 1 else "wrong"

    def __str__(self) -> str:
        told = []
        if not self.problems:
            told = [
                f"{self.found} of {self.wanted} are there, as they should be ({self.read} were read whole)"
            ]
        if self.unavailable:
            told.append(f"{self.unavailable} more were not to be had when they were made")
        if self.others and self.missing:
            told.append(f"{len(self.others)} other ids ({_some(self.others)})")
        about = f"{self.name} ({LAYOUTS[self.layout].dim} numbers a row): {self.verdict}: "
        about += "; ".join([*self.problems, *told])
        return f"{about}\n    {self.path}, compared with {', '.join(self.splits) or 'nothing'}"

    def _command(self) -> str:
        return download_command(self.name.partition("/")[0])


def check_features(name: str, path: str | Path) -> list[FeatureReport]:
    """What is in a published file or folder: a report for each of its kinds of arrays (RGB, flow).

    `name` is DATASET/KIND. Raises ValueError for a name that has no check, FileNotFoundError for a path
    where nothing is, and StoreError for a file that cannot be opened.
    """
    dataset, _, kind = name.partition("/")
    expected = EXPECTED.get(dataset, {}).get(kind)
    if expected is None:
        known = [f"{d}/{k}" for d, kinds in EXPECTED.items() for k in kinds]
        raise ValueError(f"no check of features is known as {name!r}: there are {', '.join(known)}")
    if not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: not there; how to get it: bash data_download.sh {dataset}-features/{kind}"
        )
    variants = expected if isinstance(expected, tuple) else (expected,)
    return [_check(name, Path(path), variant) for variant in variants]


def _check(name: str, path: Path, expected: Expected) -> FeatureReport:
    dataset = name.partition("/")[0]
    layout = LAYOUTS[expected.layout]
    splits, durations = _annotated(dataset, expected.of_queries)
    features = PublishedFeatures(layout, path)
    missing, empty, unreadable, shapes, lengths = [], [], {}, {}, {}
    for key, duration in durations.items():
        if key not in features:
            missing.append(key)
            continue
        try:
            shape, dtype = features.header(key)
        except StoreError as error:
            unreadable[key] = str(error)
            continue
        if dtype.kind not in NUMBERS:
            unreadable[key] = f"holds {dtype}, not numbers"
            continue
        if shape[:1] == (0,):
            empty.append(key)
        elif len(shape) != 2 or shape[1] != layout.dim:
            shapes[key] = shape
        elif wanted := expected.rows(shape[0], duration):
            lengths[key] = shape[0], wanted
    present = [key for key in durations if key in features and key not in unreadable]
    sample = (
        [present[i] for i in np.unique(np.linspace(0, len(present) - 1, SAMPLE).astype(int))]
        if present
        else []
    )
    not_finite = []
    for key in sample:
        try:
            if not np.isfinite(features.read(key)).all():
                not_finite.append(key)
        except StoreError as error:
            unreadable[key] = str(error)
    online = _available(dataset, expected.available)
    unavailable = [key for key in missing if online and key not in online]
    return FeatureReport(
        name=name,
        path=str(path),
        layout=expected.layout,
        splits=splits,
        wanted=len(durations) - len(unavailable),
        found=len(present),
        read=len(sample),
        unavailable=len(unavailable),
        others=tuple(key for key in features if key.removesuffix(".avi") not in durations),
        missing=tuple(key for key in missing if key not in set(unavailable)),
        empty=tuple(empty),
        unreadable=unreadable,
        shapes=shapes,
        lengths=lengths,
        not_finite=tuple(not_finite),
    )


def _annotated(dataset: str, of_queries: bool) -> tuple[tuple[str, ...], dict[str, float]]:
    """The splits whose annotations are there, and the seconds of each of their videos (or queries)."""
    splits, durations = [], {}
    for split in DATASETS[dataset]:
        try:
            annotated = read_split(dataset, split)
        except MissingFile:
            continue
        splits.append(split)
        for query in annotated.queries:
            durations[query.id if of_queries else query.video_id] = query.duration
    if dataset == "tvr" and not of_queries:
        durations.pop("", None)  # blind queries name no video
        for split in ("train", "val", "test_public"):
            try:
                durations |= corpus(split)
            except MissingFile:
                break
            splits = [*splits, split] if split not in splits else splits
    return tuple(splits), {key.removesuffix(".avi"): seconds for key, seconds in durations.items()}


def _available(dataset: str, name: str) -> set[str]:
    path = look_for(dataset, None, name) if name else None
    return set(path.read_text(encoding="utf-8").split()) if path else set()


def _some(items: Iterable[str]) -> str:
    items = list(items)
    more = f", and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return f"{', '.join(items[:NAMED])}{more}"


def report(paths: Mapping[str, str | Path], as_json: bool = False) -> int:
    """Prints what is in published features, by their names; 0 when all are right, else 1."""
    reports = [found for name, path in paths.items() for found in check_features(name, path)]
    if as_json:
        rows = [asdict(each) | {"verdict": each.verdict} for each in reports]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print(*reports, sep="\n")
    return int(any(each.verdict != "right" for each in reports))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "example: python -m vmrlib data features tacos/c3d"
    parser.add_argument(
        "names",
        nargs="*",
        metavar="DATASET[/KIND]",
        help="what to check (default: all that is there); data_download.sh --list names the kinds",
    )
    parser.add_argument("--path", type=Path, help="where the file or folder of one DATASET/KIND is")
    parser.add_argument("--json", action="store_true", help="print everything that was found, with all ids")


def run(args: argparse.Namespace) -> int:
    """Checks features; 0 when all are right, 1 when one is not."""
    if args.path is not None:
        if len(args.names) != 1:
            raise ValueError("--path needs exactly one DATASET/KIND")
        return report({args.names[0]: args.path}, args.json)
    known = _known()
    chosen = {}
    for name in args.names or EXPECTED:
        if name not in known and name not in EXPECTED:
            raise ValueError(f"no features are known as {name!r}: there are {', '.join([*EXPECTED, *known])}")
        there = {each: path for each, path in known.items() if each.startswith(f"{name}/") and path.exists()}
        if name in known:
            there = {name: known[name]}
        elif args.names and not there:
            raise ValueError(f"there are no features of {name}: bash data_download.sh {name}-features")
        chosen |= there
    if not chosen:
        print("[]" if args.json else f"there are no published features in {data_folder()}")
    return report(chosen, args.json) if chosen else 0


def _known() -> dict[str, Path]:
    """Names and places of the features that the list of downloads knows and that can be checked."""
    manifest = read_manifest()
    units = [unit for name in manifest.targets for unit in manifest.units(name)]
    return {unit.features_name: data_folder() / unit.kind.features for unit in units if unit.kind.features}

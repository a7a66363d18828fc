"""From video files to a feature store: `extract(...)`, and the command `python -m vmrlib extract`.

Every video is written as soon as it is done, whole or not at all: an extraction that was killed goes on where
it stopped, and several can share the work (`shard`).
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from vmrlib.data.store import Features, FeatureStore
from vmrlib.features.decode import DecodeError, clip_times, iter_clips, probe

SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


@dataclass(frozen=True)
class Report:
    """What an extraction did: ids of the videos extracted and skipped, and why others failed."""

    store: str
    extracted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find_videos(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Return the video files by id (the stem of the name); folders are searched for known suffixes.

    Raises FileNotFoundError for a path that is not there, ValueError when two files have one id.
    """
    videos: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
            )
        elif path.exists():
            found = [path]
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
        for file in found:
            other = videos.setdefault(file.stem, file)
            if other.resolve() != file.resolve():
                raise ValueError(f"{other} and {file}: two videos of one id {file.stem!r}")
    if not videos:
        raise ValueError("no video files found")
    return dict(sorted(videos.items()))


def extract_video(path: str | Path, extractor, batch_size: int = 8, progress: bool = False) -> Features:
    """Return the features of one video, one row per clip; only a batch of frames is in memory."""
    window, duration = extractor.seconds_per_clip, probe(path).duration
    stride = getattr(extractor, "stride", window)
    count = len(clip_times(duration, window, stride)[0])
    clips = iter_clips(path, window, stride, extractor.frames_per_clip, extractor.size, batch_size)
    times, values = [], []
    with tqdm(total=count, desc=Path(path).stem, unit="clip", leave=False, disable=not progress) as bar:
        for centres, frames in clips:
            values.append(extractor(torch.from_numpy(frames)).float().cpu())
            times.append(torch.from_numpy(centres))
            bar.update(len(centres))
    return Features(torch.cat(values), torch.cat(times), float(stride), duration)


def extract(
    videos: Iterable[str | Path],
    extractor,
    out: str | Path,
    batch_size: int = 8,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
    dataset: str = "",
) -> Report:
    """Return what was done after putting the features of all videos (files or folders) into the store `out`.

    Videos that are there already are skipped; a damaged one is reported and the others go on. `shard` (i, n)
    takes every n-th video from the i-th on. Raises FeatureMismatch when the store holds other features.
    """
    index, shards = shard
    if not (0 <= index < shards and batch_size >= 1):
        raise ValueError(f"shard {index}/{shards}: i must be 0 to n - 1; batch size {batch_size}: at least 1")
    mine = list(find_videos(videos).items())[index::shards]
    store = FeatureStore.create(out, extractor.metadata(), dataset)
    report = Report(str(store.path))
    for video_id, path in tqdm(mine, unit="video", disable=not progress):
        if video_id in store:
            report.skipped.append(video_id)
            continue
        try:
            features = extract_video(path, extractor, batch_size, progress)
        except (DecodeError, FileNotFoundError, PermissionError) as error:
            report.failed[video_id] = str(error)
            continue
        store.add(video_id, features)
        report.extracted.append(video_id)
    store.reindex()
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m vmrlib extract`."""
    from vmrlib.features import SPECIFICATIONS

    parser.epilog = "example: python -m vmrlib extract videos/ --extractor baseline --out features/baseline"
    parser.add_argument("videos", nargs="+", metavar="VIDEOS", help="video files or folders of them")
    parser.add_argument("--extractor", required=True, metavar="SPEC", help=SPECIFICATIONS)
    parser.add_argument("--out", required=True, metavar="STORE", help="folder of the feature store")
    parser.add_argument("--batch-size", type=int, default=8, help="clips computed at a time (default 8)")
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="part I of N, from 0")
    parser.add_argument("--seconds-per-clip", type=float, help="default: what suits the extractor")
    parser.add_argument("--device", help="cpu or cuda; default: a GPU if there is one")
    parser.add_argument("--dataset", default="", metavar="NAME", help="noted in the store")
    parser.add_argument("--pack", action="store_true", help="merge the files of single videos into shards")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code of `python -m vmrlib extract`: 1 when a video failed."""
    from vmrlib.features import load_extractor

    extractor = load_extractor(args.extractor, args.device, args.seconds_per_clip)
    report = extract(args.videos, extractor, args.out, args.batch_size, args.shard, dataset=args.dataset)
    if args.pack:
        FeatureStore(args.out).pack()
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        done, skipped, failed = len(report.extracted), len(report.skipped), len(report.failed)
        print(f"{report.store}: {done} extracted, {skipped} already there, {failed} failed")
    for message in report.failed.values():
        print(f"vmrlib extract: {message}", file=sys.stderr)
    return 1 if report.failed else 0


def _shard(text: str) -> tuple[int, int]:
    """`1/3` as (1, 3)."""
    try:
        index, shards = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, as in 0/3") from None
    if not 0 <= index < shards:
        raise argparse.ArgumentTypeError(f"{text!r}: I must be 0 to {shards - 1}")
    return index, shards

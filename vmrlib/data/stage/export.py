"""Stage as files that other tools read: mp4, annotations (JSON lines) and subtitles (SRT)."""

import argparse
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vmrlib.data.annotations import write_jsonl
from vmrlib.data.files import write_text
from vmrlib.data.stage.render import render
from vmrlib.data.stage.splits import DURATIONS, PROFILES, SPLITS, StageConfig, StageSplit, make_split
from vmrlib.data.stage.statistics import table
from vmrlib.data.stage.world import Line, Script
from vmrlib.data.video import write_video

CHUNK = 48  # frames rendered at a time: a long video is never in memory


def export(
    split: StageSplit, out: str | os.PathLike, size: int = 224, fps: int = 12, progress: bool = False
) -> Path:
    """Writes OUT/videos/ID.mp4 and ID.srt, OUT/annotations.jsonl and OUT/stage.json; returns OUT.

    A video that is there already is kept, so that an interrupted export goes on where it stopped.
    """
    out = Path(out)
    _check_same(out, split, size, fps)
    for script in tqdm(split.scripts, disable=not progress, desc=f"stage {split.name}", unit="video"):
        video = out / "videos" / f"{script.video_id}.mp4"
        if not video.exists():
            write_text(video.with_suffix(".srt"), srt(script.lines))
            write_video(video, frames(script, size, fps), fps, crf=24)
    write_jsonl(out / "annotations.jsonl", split.queries)
    return out


def frames(script: Script, size: int, fps: int):
    """The frames (size, size, 3) of the whole video, one by one; frame k is shown from k / fps."""
    times = np.arange(int(Fraction(script.duration_ms * fps, 1000))) / fps
    for start in range(0, len(times), CHUNK):
        yield from render(script, times[start : start + CHUNK], size=size)


def srt(lines: tuple[Line, ...]) -> str:
    """The lines in SubRip format."""
    blocks = [
        f"{number}\n{_clock(line.start_ms)} --> {_clock(line.end_ms)}\n{line.text}\n"
        for number, line in enumerate(lines, start=1)
    ]
    return "\n".join(blocks)


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"


def _check_same(out: Path, split: StageSplit, size: int, fps: int) -> None:
    """Two different exports do not share a folder."""
    about = json.loads(json.dumps(split.provenance | {"size": size, "fps": fps}))
    path = out / "stage.json"
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(f"{path}: damaged: delete the folder, or choose another --out") from None
        for name, value in about.items():
            if there.get(name) != value:
                raise ValueError(f"{path}: holds another export: {name} is {there.get(name)}, not {value}")
    else:
        write_text(path, json.dumps(about, indent=2) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: python -m vmrlib stage --split test-iid --n 20 --out stage_test"
    parser.add_argument("--split", default="test-iid", choices=SPLITS)
    parser.add_argument("--n", type=int, help="videos (default: the whole split)")
    parser.add_argument("--out", help="folder to write to")
    parser.add_argument("--profile", default="open", choices=PROFILES)
    parser.add_argument("--duration", type=int, choices=DURATIONS, help="seconds of a video")
    parser.add_argument(
        "--complexity", type=int, nargs="+", choices=(1, 2, 3, 4), help="levels of query to ask"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224, help="side of the frames in pixels, even")
    parser.add_argument("--fps", type=int, default=12)
    parser.add_argument(
        "--statistics", action="store_true", help="print both profiles beside TACoS and ActivityNet"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.statistics:
        print(table(as_json=args.json))
        return 0
    if not args.out:
        raise ValueError("--out FOLDER is missing (or --statistics)")
    if args.n is not None and args.n < 1:
        raise ValueError(f"--n must be at least 1, not {args.n}")
    if args.size < 16 or args.size % 2:
        raise ValueError(f"--size must be even and at least 16, not {args.size}")
    if args.fps < 1:
        raise ValueError(f"--fps must be at least 1, not {args.fps}")
    knobs = {"seed": args.seed}
    if args.duration:
        knobs["duration"] = args.duration
    if args.complexity:
        knobs["complexity"] = tuple(sorted(set(args.complexity)))
    config = StageConfig.kitchen(**knobs) if args.profile == "kitchen" else StageConfig.open(**knobs)
    split = make_split(args.split, config, args.n)
    out = export(split, args.out, args.size, args.fps, progress=not args.json)
    if args.json:
        print(
            json.dumps(
                {
                    "out": str(out),
                    "videos": len(split.scripts),
                    "queries": len(split.queries),
                    **split.provenance,
                }
            )
        )
    else:
        print(f"{len(split.scripts)} videos and {len(split.queries)} queries in {out} (hash {split.hash})")
    return 0

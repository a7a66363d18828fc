"""How fast QVHighlights is evaluated: vmrlib against a plain transcription of the specification.

    python benchmarks/metrics.py [--quick]

Both judge the same generated submission (1,550 queries of 150 s, ten windows and 75 clips each, three
raters) in turn, in one process, and must print the same figures. CPU seconds, medians. `speedup_map` is the
ratio for the whole evaluation (moments and highlights) of what is in memory, `seconds_ours` ours with
reading the two files. Memory is the peak minus what was there before judging, in a fresh process each.
The script that QVHighlights released took 7.1 CPU seconds for this size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from reference import qvhighlights as plain

from vmrlib.data.annotations import read_jsonl
from vmrlib.data.predictions import read_predictions
from vmrlib.metrics import evaluate_qvhighlights

QUERIES, QUICK_QUERIES = 1550, 400
RUNS, QUICK_RUNS = 9, 5
DURATION, CLIP = 150, 2  # seconds
WINDOWS = 10


def generate(number: int, seed: int = 0) -> tuple[list[dict], list[dict]]:
    """Rows of a submission and of its annotations, with the counts and lengths of QVHighlights' val split.

    A third of the queries has several moments; windows lie on a grid of 2 s, near the truth the more often
    the better they are ranked; some are reversed or empty, as in published files.
    """
    generator = np.random.default_rng(seed)
    clips = DURATION // CLIP
    submission, annotations = [], []
    for index in range(number):
        edges = np.sort(generator.choice(clips + 1, size=2 * _moments(generator), replace=False))
        moments = CLIP * edges.reshape(-1, 2)
        rated = np.concatenate([np.arange(start, end) for start, end in edges.reshape(-1, 2)])
        ratings = generator.integers(0, 5, size=(len(rated), 3))
        true = moments[generator.integers(len(moments), size=WINDOWS)]
        spread = np.linspace(3, 40, WINDOWS)[:, None]
        windows = np.clip(
            CLIP * np.round((true + spread * generator.normal(size=true.shape)) / CLIP), 0, DURATION
        )
        scores = np.sort(generator.random(WINDOWS).round(4))[::-1]
        saliency = generator.normal(size=clips).round(2)
        saliency[rated] += ratings.mean(axis=1).round(2) - 1
        shared = {"qid": index, "query": f"query {index}", "vid": f"video {index}"}
        submission.append(
            shared
            | {
                "pred_relevant_windows": np.column_stack([windows, scores]).tolist(),
                "pred_saliency_scores": saliency.tolist(),
            }
        )
        annotations.append(
            shared
            | {
                "duration": DURATION,
                "relevant_windows": moments.tolist(),
                "relevant_clip_ids": rated.tolist(),
                "saliency_scores": ratings.tolist(),
            }
        )
    return submission, annotations


def _moments(generator: np.random.Generator) -> int:
    return 1 if generator.random() < 0.66 else int(generator.integers(2, 7))


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSONL file, unchecked, as the transcription takes them."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def timed(function, *arguments):
    """CPU seconds of one call, and what it returned."""
    started = time.process_time()
    result = function(*arguments)
    return time.process_time() - started, result


def peak_memory(side: str, paths: list[Path]) -> float:
    """MB that judging needs beyond what was read, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory", side, *map(str, paths)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_memory(side: str, submission: str, annotations: str) -> None:
    """What the fresh process does: prints the MB."""
    inputs = READING[side](Path(submission), Path(annotations))
    tracemalloc.start()
    JUDGING[side](*inputs)
    print(tracemalloc.get_traced_memory()[1] / 1e6)


READING = {
    "plain": lambda *paths: [read_rows(path) for path in paths],
    "ours": lambda submission, annotations: [read_predictions(submission), read_jsonl(annotations)],
}
JUDGING = {"plain": plain.evaluate, "ours": evaluate_qvhighlights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer queries and runs")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(*options.memory)
        return
    number, runs = (QUICK_QUERIES, QUICK_RUNS) if options.quick else (QUERIES, RUNS)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("submission.jsonl", "annotations.jsonl")]
        for path, rows in zip(paths, generate(number), strict=True):
            write(path, rows)
        seconds = {(side, step): [] for side in JUDGING for step in ("read", "judge")}
        for _ in range(runs + 1):  # the first one warms up
            figures = {}
            for side in ("plain", "ours"):
                read, inputs = timed(READING[side], *paths)
                judge, figures[side] = timed(JUDGING[side], *inputs)
                seconds[side, "read"].append(read)
                seconds[side, "judge"].append(judge)
            assert figures["plain"] == figures["ours"], "the two print different figures"
        memory = {side: peak_memory(side, paths) for side in JUDGING}
    median = {key: statistics.median(values[1:]) for key, values in seconds.items()}
    print(
        f"{number} queries, median of {runs} alternating runs, CPU seconds (reading + judging), peak memory:"
    )
    for side in ("plain", "ours"):
        print(f"  {side:6} {median[side, 'read']:.3f} + {median[side, 'judge']:.3f}  {memory[side]:.1f} MB")
    print(f"figures equal: {json.dumps(figures['ours']['brief'])}")
    ours, transcription = (median[side, "read"] + median[side, "judge"] for side in ("ours", "plain"))
    result = {
        "speedup_map": median["plain", "judge"] / median["ours", "judge"],
        "speedup_with_reading": transcription / ours,
        "seconds_ours": ours,
        "seconds_plain": transcription,
        "megabytes_ours": memory["ours"],
        "megabytes_plain": memory["plain"],
    }
    result = {name: round(value, 3) for name, value in result.items()}
    print(json.dumps(result | {"queries": number, "quick": options.quick}))


if __name__ == "__main__":
    main()

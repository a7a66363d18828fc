"""A small file of statistics of the real datasets, which notebooks draw where the files are not there.

`real_summary.json` holds counts, histograms and scores: no sentence, no annotation and no prediction.
`python -m vmrlib data check --summary` makes it anew from the files. It is the same on every machine:
means come from exact sums, what is drawn at random from fixed seeds, and floats are rounded.
"""

import gc
import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vmrlib.data import data_folder, model_free
from vmrlib.data.annotations import Query
from vmrlib.data.datasets import AnnotatedSplit, MissingFile, read_split
from vmrlib.data.datasets.files import look_for
from vmrlib.data.files import write_text
from vmrlib.data.ood import shift_queries
from vmrlib.data.summary_results import (
    LOGS,
    MODELS,
    agreement,
    ceilings,
    percent,
    published,
    training_runs,
    two_intervals,
)
from vmrlib.metrics.overlap import hull_iou, pad
from vmrlib.text import plain_words, tag

PACKAGED = Path(__file__).with_name("real_summary.json")
CD, CG = (
    ("train", "val", "test_iid", "test_ood"),
    ("train", "test_trivial", "novel_composition", "novel_word"),
)
SPLITS = {  # what is summarised; the training files of TVR and DiDeMo are not
    "tacos": ("train", "val", "test"),
    "activitynet_captions": ("train", "val_1", "val_2"),
    "charades_sta": ("train", "test"),
    "charades_cd": CD,
    "activitynet_cd": CD,
    "charades_cg": CG,
    "qvhighlights": ("train", "val", "test", "test_with_gt"),
    "tvr": ("val", "test_public"),
    "didemo": ("val", "test"),
    "msrvtt": ("test_1k_a",),
}
OTHERS = (("activitynet_captions", "val_2"), ("charades_sta", "test"), ("tvr", "val"))
LEARNT_FROM = {"didemo": "val", "tvr": None}  # split that constants are learnt from, where it is not train
STANDARD_TEST = {"charades_sta": "test", "activitynet_captions": "val_2", "didemo": "test"}  # of OOD-1, OOD-2
LEVELS = (0.3, 0.5, 0.7)
TUNED_FOR = (0.3, 0.5)  # IoU for which the constant window is the best on train
SECONDS = [round(10 ** (k / 8), 3) for k in range(-8, 27)]  # edges: 0.1 to 1778 s, eight to a power of ten
CELLS = 20  # of a video, along a side of the location map
LONGEST = 40  # words; longer queries are counted here
GROWTH = (100, 300, 1000, 3000, 10_000, 30_000)
TAGGED = 300  # queries of a dataset's first split whose first verb is looked for, evenly spread
COMMON = 15  # words and verbs that are kept
SEEDS = range(3)


def read_summary() -> dict:
    """The packaged file."""
    return json.loads(PACKAGED.read_text(encoding="utf-8"))


def write_summary(path: str | os.PathLike) -> None:
    """Writes the summary of the files that are here; the file appears whole or not at all."""
    write_text(path, as_text(build_summary()))


def build_summary() -> dict:
    """The summary of the real files; MissingFile with the command that fetches the first one missing."""
    collecting = gc.isenabled()
    gc.disable()  # half a million objects and no cycles: looking for some takes as long as reading
    try:
        return _summary(
            {
                dataset: {name: read_split(dataset, name) for name in names}
                for dataset, names in SPLITS.items()
            }
        )
    finally:
        if collecting:
            gc.enable()


def _summary(splits: Mapping[str, Mapping[str, AnnotatedSplit]]) -> dict:
    results, logs = (
        results_folder("qvhighlights", MODELS.values()),
        results_folder("training_logs", LOGS.values()),
    )
    highlights, didemo = splits["qvhighlights"], splits["didemo"]
    return {
        "made from": hashes(splits, results, logs),
        "edges": {"seconds": SECONDS, "cells": CELLS, "words": LONGEST, "growth": list(GROWTH)},
        "datasets": {dataset: describe_all(own) for dataset, own in splits.items()},
        "model-free": {
            name: scored
            for dataset, own in splits.items()
            for name, scored in constants(dataset, own).items()
        },
        "published": published(results, highlights["train"].queries, highlights["val"].queries),
        "agreement": agreement([*didemo["val"].queries, *didemo["test"].queries]),
        "ceilings": {
            f"{dataset} {name}": ceilings(splits[dataset][name].queries)
            for dataset, name in [*(("tacos", name) for name in SPLITS["tacos"]), *OTHERS]
        },
        "intervals": {
            f"{dataset} {name}": two_intervals(splits[dataset][name].queries)
            for dataset, name in [("tacos", "test"), *OTHERS]
        },
        "training": training_runs(logs),
    }


def judged(dataset: str, name: str, split: AnnotatedSplit) -> bool:
    """Is this a split on which answers are scored? Not a training split, nor a blind one."""
    return (
        name not in ("train", LEARNT_FROM.get(dataset))
        and bool(split.queries)
        and bool(split.queries[0].moments)
    )


def describe_all(splits: Mapping[str, AnnotatedSplit]) -> dict[str, dict]:
    """Counts, histograms, words and anomalies of all splits of a dataset; verbs of the first."""
    texts = {name: [text for _, text in split.sentences] for name, split in splits.items()}
    tokens = {name: [plain_words(text) for text in own] for name, own in texts.items()}
    result = {}
    for name, split in splits.items():
        result[name] = describe(split) | {"words": words(tokens[name])}
        if name != "train" and "train" in splits:
            known = {word for sentence in tokens["train"] for word in sentence}
            lacking = percent(not known.issuperset(sentence) for sentence in tokens[name])
            result[name]["words"]["queries with a word that train has not"] = lacking
    first = next(iter(splits))
    result[first]["words"]["first verbs"] = first_verbs(texts[first])
    return result


def describe(split: AnnotatedSplit) -> dict:
    """Counts, histograms, words and anomalies of a split."""
    moments = [(query, moment) for query in split.queries for moment in query.moments]
    known = [query for query in split.queries if query.duration > 0]
    durations = list({query.video_id: query.duration for query in known}.values())
    lengths = [end - start for _, (start, end) in moments]
    result = {
        "videos": len(split.videos),
        "rows": split.rows,
        "queries": len(split.queries),
        "dropped": dict(Counter(entry.reason.split(" of ")[0] for entry in split.dropped)),
    }
    if durations:
        result["video duration"] = histogram(durations)
    if moments:
        shares = np.array([(start / query.duration, end / query.duration) for query, (start, end) in moments])
        result["moment length"] = histogram(lengths)
        result["moment share"] = {
            "median": round(float(np.median(shares[:, 1] - shares[:, 0])), 4),
            "counts": np.histogram(shares[:, 1] - shares[:, 0], CELLS, (0, 1))[0].tolist(),
        }
        result["location"] = locations(shares)
        result["moments per query"] = as_list(Counter(min(len(query.moments), 10) for query in split.queries))
    result["findings"] = {name: count for name, count in split.findings.items() if count}
    return result


def histogram(seconds: Sequence[float]) -> dict:
    """Counts between the edges `SECONDS`, what is shorter or longer in the outer ones; and the median."""
    clipped = np.clip(seconds, SECONDS[0], SECONDS[-1])
    return {
        "median": round(statistics.median(seconds), 2),
        "counts": np.histogram(clipped, SECONDS)[0].tolist(),
    }


def locations(shares) -> list[list[int]]:
    """How many moments start in cell i and end in cell j of their video, for shares (N, 2) of the duration.

    A moment ends in the cell before its end: one that ends at half the video does not reach the second half.
    """
    start = np.clip(np.floor(shares[:, 0] * CELLS), 0, CELLS - 1).astype(int)
    end = np.clip(np.ceil(shares[:, 1] * CELLS) - 1, 0, CELLS - 1).astype(int)
    grid = np.zeros((CELLS, CELLS), dtype=int)
    np.add.at(grid, (start, end), 1)
    return grid.tolist()


def words(tokens: Sequence[Sequence[str]]) -> dict:
    """Length of queries, vocabulary and its growth, and frequent words."""
    counts, growth = Counter(), []
    for number, sentence in enumerate(tokens, 1):
        counts.update(sentence)
        if number in GROWTH:
            growth.append(len(counts))
    return {
        "vocabulary": len(counts),
        "growth": growth,
        "per query": as_list(Counter(min(len(sentence), LONGEST) for sentence in tokens)),
        "mean": round(sum(map(len, tokens)) / len(tokens), 2),
        "common": most_common(counts),
    }


def first_verbs(texts: Sequence[str]) -> dict[str, int]:
    """The most frequent first full verbs of `TAGGED` texts, as they stand there."""
    step = max(1, len(texts) // TAGGED)
    tags = [tag(text) for text in texts[::step][:TAGGED]]
    first = [next((word for word, kind in words if kind.startswith("VV")), "(none)") for words in tags]
    return most_common(Counter(first))


def most_common(counts: Counter) -> dict[str, int]:
    """The most frequent words with their counts; equal ones in the order of the alphabet."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:COMMON])


def as_list(counts: Counter) -> list[int]:
    """How often 0, 1, 2, ... occur."""
    return [counts[number] for number in range(max(counts, default=0) + 1)]


def constants(dataset: str, splits: Mapping[str, AnnotatedSplit]) -> dict[str, dict]:
    """How answers fare that see neither the video nor the query: split -> answer -> scores in percent.

    The scores are R@1, IoU = 0.3, 0.5, 0.7 and mIoU; for random moments their mean and standard deviation.
    """
    train = splits.get(LEARNT_FROM.get(dataset, "train"))
    tests = {name: split.queries for name, split in splits.items() if judged(dataset, name, split)}
    tests |= moved(dataset, splits)
    queries = [query for own in tests.values() for query in own]
    if not queries:
        return {}
    durations = np.array([query.duration for query in queries])[:, None, None]
    unit = [Query("", "", "", (), duration=1.0)]  # a window for it is one in shares of the duration
    answers = {"full video": model_free.full_video(unit)}
    if train is not None:
        answers["train median"] = model_free.train_median(train.queries, unit)
        for level in TUNED_FOR:
            answers[f"constant, IoU={level}"] = model_free.constant_window(train.queries, unit, iou=level)
    found = {name: [in_seconds(window.numpy(), durations)] for name, (window,) in answers.items()}
    drawn = [model_free.random_moment(queries, seed=seed) for seed in SEEDS]
    found["random moment"] = [np.stack([window.numpy() for window in run]) for run in drawn]
    truths, mask = pad([query.moments for query in queries])
    result, first = {}, 0
    for name, own in tests.items():
        rows = slice(first, first := first + len(own))
        result[f"{dataset} {name}"] = scored = {}
        for answer, runs in found.items():
            given = [scores(windows[rows], truths[rows], mask[rows]) for windows in runs]
            scored[answer] = [round(statistics.fmean(column), 2) for column in zip(*given, strict=True)]
            if len(runs) > 1:
                spread = [round(statistics.stdev(column), 2) for column in zip(*given, strict=True)]
                scored[f"{answer}, sd"] = spread
    return result


def moved(dataset: str, splits: Mapping[str, AnnotatedSplit]) -> dict[str, list[Query]]:
    """The standard test queries with noise before their videos, as OOD-1 and OOD-2.

    The seconds of noise depend on the feature rows of a video; here it has one a second.
    """
    name = STANDARD_TEST.get(dataset)
    if name not in splits:
        return {}
    queries = splits[name].queries
    rows = {query.video_id: max(1, round(query.duration)) for query in queries}
    return {f"{name}, OOD-{level}": shift_queries(dataset, level, queries, rows) for level in (1, 2)}


def in_seconds(window, durations):
    """A window (1, 2) of shares as seconds in each of the videos (Q, 1, 1): (Q, 1, 2).

    Inside the video the ends are rounded to a billionth of a second: a sixth of 30 s must be 5 s and not a
    little less, because on DiDeMo's grid many IoUs lie exactly at the threshold.
    """
    seconds = window * durations
    rounded = np.array([round(value, 9) for value in seconds.ravel().tolist()]).reshape(seconds.shape)
    return np.where((window > 0) & (window < 1), rounded, seconds)


def scores(windows, truths, mask) -> list[float]:
    """R@1 at `LEVELS` and mIoU in percent, of one window a query (Q, 1, 2) and its true moments (Q, M, 2)."""
    iou = np.where(mask, hull_iou(windows, truths), 0).max(axis=1)
    return [*(percent(iou >= level) for level in LEVELS), percent(iou)]


def results_folder(name: str, files: Iterable[str]) -> Path:
    """The folder with published predictions or logs, in the data folder or a mirror."""
    roots = [data_folder()] + ([Path(mirror)] if (mirror := os.environ.get("VMRLIB_MIRROR")) else [])
    for root in roots:
        if all((root / "eval" / name / file).is_file() for file in files):
            return root / "eval" / name
    missing = next(file for file in files if not (roots[-1] / "eval" / name / file).is_file())
    raise MissingFile("predictions", roots[-1] / "eval" / name, missing)


def hashes(splits: Mapping[str, Mapping[str, AnnotatedSplit]], results: Path, logs: Path) -> dict[str, str]:
    """Beginning of the sha256 of every file that was read."""
    paths = {f"qvhighlights/{file}": results / file for file in MODELS.values()}
    paths |= {f"training_logs/{file}": logs / file for file in LOGS.values()}
    for dataset, own in splits.items():
        for file in dict.fromkeys(file for split in own.values() for file in split.files):
            if path := look_for(dataset, None, file):
                paths[f"{dataset}/{file}"] = path
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for name, path in sorted(paths.items())
        if path.is_file()
    }


def as_text(summary: dict) -> str:
    """The summary as JSON, a line for each entry of its upper levels, so that changes can be read."""

    def written(value, depth: int) -> str:
        if isinstance(value, dict) and depth > 0 and value:
            inner = ",\n".join(
                f"{json.dumps(key)}: {written(item, depth - 1)}" for key, item in value.items()
            )
            return f"{{\n{inner}\n}}"
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    return written(summary, 4) + "\n"

"""The part of the summary that is about results: published predictions, ceilings, annotators, training runs.

Everything in percent, rounded to two decimals; nothing of the files themselves is kept.
"""

import itertools
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from vmrlib.data import model_free
from vmrlib.data.annotations import CLIP, Query
from vmrlib.data.predictions import Prediction, match, read_predictions
from vmrlib.metrics.bootstrap import bootstrap_intervals
from vmrlib.metrics.overlap import area_iou
from vmrlib.metrics.qvhighlights import LENGTHS, average_precision, evaluate_qvhighlights
from vmrlib.metrics.recall import best_iou, discounted_hits_at, reaches

AXIS = tuple(round(0.05 * k, 2) for k in range(1, 20))  # IoU thresholds, 0.05 to 0.95
TEN = AXIS[9:]  # those of mAP
MODELS = {  # files in public repositories, one run each; these are not the figures of a paper
    "Moment-DETR": "moment_detr_sample/sample_val_preds.jsonl",
    "UniVTG": "univtg/univtg.jsonl",
    "CG-DETR": "cgdetr/hl_val_submission.jsonl",
    "CG-DETR, CLIP only": "cgdetr_clip_only/hl_val_submission.jsonl",
}
LOGS = {  # released logs: one line or table an evaluation
    "ACB + VTC, TACoS test": "xmodal_tacos_MSAT-128_training.log",
    "ACB + VTC, ActivityNet val_2": "xmodal_activitynet_MSAT-32_training.log",
    "CG-DETR, QVHighlights val": "cgdetr_qvh_eval.log.txt",
    "Moment-DETR, CLIP only, QVHighlights val": "moment_detr_clip_only_eval.log.txt",
}
STRETCHES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
WINDOW_COUNTS = {"1": (1, 1), "2": (2, 2), "3 to 5": (3, 5), "6 and more": (6, 99)}
EPSILON = 1e-9


def published(folder: Path, train: Sequence[Query], queries: Sequence[Query]) -> dict:
    """Scores of published predictions on QVHighlights val, and of answers that need no model.

    `train` are the training queries that constants are learnt from; `folder` holds `MODELS`.
    """
    models = {name: _ordered(read_predictions(folder / path), queries) for name, path in MODELS.items()}
    answers = models | _model_free(train, queries)
    truths = [np.array(query.moments) for query in queries]
    videos = [query.video_id for query in queries]
    durations = [query.duration for query in queries]
    scores = {name: _per_query(given, truths, durations) for name, given in answers.items()}
    result = {"queries": len(queries), "videos": len(set(videos)), "axis": list(AXIS)}
    result["curves"], result["scores"] = {}, {}
    for name, own in scores.items():
        hits = {level: own["IoU"] >= level for level in AXIS}
        bands = _intervals(hits | {metric: own[metric] for metric in SCORES}, videos)
        result["scores"][name] = {metric: bands[metric] for metric in SCORES}
        result["curves"][name] = _curves(own) | {
            "R@1 low": [bands[level][1] for level in AXIS],
            "R@1 high": [bands[level][2] for level in AXIS],
        }
    pairs = list(itertools.combinations(models, 2))
    gaps = {(a, b, metric): scores[a][metric] - scores[b][metric] for a, b in pairs for metric in SCORES}
    bands = _intervals(gaps, videos)
    long = {name: _long_ap(given, queries) for name, given in models.items()}
    long_bands = _intervals(
        {pair: long[pair[0]][0] - long[pair[1]][0] for pair in pairs},
        [videos[row] for row in long[pairs[0][0]][1]],
    )
    result["differences"] = {
        f"{a} - {b}": {metric: bands[a, b, metric] for metric in SCORES} | {"mAP, long": long_bands[a, b]}
        for a, b in pairs
    }
    result["short"] = _short_only(scores, models, truths)
    result["official"] = {name: _official(given, queries) for name, given in models.items()}
    result["exact ties"] = {
        name: {str(level): int((own["IoU"] == level).sum()) for level in (0.5, 0.7)}
        for name, own in scores.items()
    }
    result["R@1, IoU=0.5 by number of true windows"] = {
        label: {"queries": int(chosen.sum())}
        | {name: percent((own["IoU"][chosen] >= 0.5).tolist()) for name, own in scores.items()}
        for label, chosen in _by_count(truths).items()
        if chosen.any()
    }
    result["stretched"] = {name: _stretched(given, truths, durations) for name, given in models.items()}
    result["rounded"] = {name: _rounded(given, truths) for name, given in models.items()}
    return result


# What is compared: name -> the value of every query, from its IoU (Q,) and its AP (Q, axis).
SCORES = {
    "R@1, IoU=0.3": lambda iou, ap: iou >= 0.3,
    "R@1, IoU=0.5": lambda iou, ap: iou >= 0.5,
    "R@1, IoU=0.7": lambda iou, ap: iou >= 0.7,
    "R@1, IoU=0.9": lambda iou, ap: iou >= 0.9,
    "mIoU": lambda iou, ap: iou,
    "mAP@0.5": lambda iou, ap: ap[:, AXIS.index(0.5)],
    "mAP@0.75": lambda iou, ap: ap[:, AXIS.index(0.75)],
    "mAP": lambda iou, ap: ap[:, AXIS.index(0.5) :].mean(axis=1),
}


def _per_query(answers: Sequence[Prediction], truths, durations) -> dict:
    """Every score of `SCORES` for every query, and what the curves are made of."""
    windows, ranks = [given.moments for given in answers], [given.scores for given in answers]
    iou = best_iou(windows, truths, 1).numpy()
    precision = average_precision(windows, ranks, truths, AXIS)
    values = {name: score(iou, precision).astype(float) for name, score in SCORES.items()}
    discounted = [discounted_hits_at(windows, truths, durations, 1, level).numpy() for level in AXIS]
    best_of_five = best_iou(windows, truths, 5).numpy()
    return values | {"IoU": iou, "R@5": best_of_five, "AP": precision, "dR@1": np.stack(discounted, axis=1)}


def _curves(own: Mapping) -> dict[str, list[float]]:
    """R@1 (both conventions), R@5, dR@1 and mAP at every threshold."""
    return {
        "R@1": [percent(own["IoU"] >= level) for level in AXIS],
        "R@1, >": [percent(reaches(own["IoU"], level, ">")) for level in AXIS],
        "R@5": [percent(own["R@5"] >= level) for level in AXIS],
        "dR@1": [percent(column) for column in own["dR@1"].T],
        "mAP": [percent(column) for column in own["AP"].T],
    }


def _intervals(values: Mapping, videos: Sequence) -> dict:
    """For values (Q,) by name: mean, low and high end of the 95 % interval over resampled videos; percent.

    All names share their resamples, so that what is compared is drawn together.
    """
    table = np.stack([np.asarray(column, dtype=float) for column in values.values()], axis=1)
    ends = np.round(100 * bootstrap_intervals(table, videos), 2)
    return {
        name: [percent(column), *map(float, pair)]
        for (name, column), pair in zip(values.items(), ends, strict=True)
    }


def _official(answers: Sequence[Prediction], queries: Sequence[Query]) -> dict:
    """The figures of the official evaluator, and R@1, IoU=0.5 by length."""
    figures = evaluate_qvhighlights(answers, queries)
    by_length = {name: figures[name]["MR-R1"]["0.5"] for name in LENGTHS}
    return figures["brief"] | {f"MR-{name}-R1@0.5": value for name, value in by_length.items()}


def _long_ap(answers: Sequence[Prediction], queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
    """AP of the queries that have long moments, judged by these alone, and the rows of those queries."""
    low, high = LENGTHS["long"]
    truths = [[(a, b) for a, b in query.moments if low < b - a <= high] for query in queries]
    rows = np.array([row for row, own in enumerate(truths) if own])
    chosen = [answers[row] for row in rows]
    precision = average_precision(
        [one.moments for one in chosen], [one.scores for one in chosen], [truths[row] for row in rows]
    )
    return precision.mean(axis=1), rows


def _short_only(scores: Mapping[str, Mapping], names: Iterable[str], truths) -> dict:
    """How many queries have a short moment, how many a longer one too, and R@1, IoU=0.5 of the others."""
    short = [own[:, 1] - own[:, 0] <= LENGTHS["short"][1] for own in truths]
    only = np.array([own.all() for own in short])
    return {
        "queries": sum(bool(own.any()) for own in short),
        "short moments only": int(only.sum()),
        "R@1, IoU=0.5": {name: percent(scores[name]["IoU"][only] >= 0.5) for name in names if only.any()},
    }


def _ordered(predictions: Sequence[Prediction], queries: Sequence[Query]) -> list[Prediction]:
    """The predictions in the order of the queries."""
    matched = match(predictions, queries).predictions
    by_id = {prediction.query_id: prediction for prediction in matched}
    return [by_id[query.id] for query in queries]


def _model_free(train: Sequence[Query], queries: Sequence[Query]) -> dict[str, list[Prediction]]:
    """Answers that see neither video nor query, one window a query."""
    answers = {
        "full video": model_free.full_video(queries),
        "constant, IoU=0.3": model_free.constant_window(train, queries, iou=0.3),
        "constant, IoU=0.5": model_free.constant_window(train, queries, iou=0.5),
        "random moment": model_free.random_moment(queries, seed=0),
    }
    return {
        name: [
            Prediction(query.id, np.asarray(window), np.ones(1))
            for query, window in zip(queries, windows, strict=True)
        ]
        for name, windows in answers.items()
    }


def _by_count(truths) -> dict[str, Bool[np.ndarray, " Q"]]:
    """Which queries have that many true windows."""
    count = np.array([len(moments) for moments in truths])
    return {label: (low <= count) & (count <= high) for label, (low, high) in WINDOW_COUNTS.items()}


def _stretched(answers: Sequence[Prediction], truths, durations) -> dict[str, list[float]]:
    """R@1 at 0.3, 0.5, 0.7 and mIoU when each first window is made longer or shorter about its middle."""
    first = np.stack([given.moments[0] for given in answers])
    middle, half = first.mean(axis=1), (first[:, 1] - first[:, 0]) / 2
    rows = {}
    for factor in STRETCHES:
        start, end = np.maximum(middle - factor * half, 0), np.minimum(middle + factor * half, durations)
        iou = best_iou(list(np.stack([start, end], axis=1)[:, None]), truths).numpy()
        rows[str(factor)] = [*(percent(iou >= level) for level in (0.3, 0.5, 0.7)), percent(iou)]
    return rows


def _rounded(answers: Sequence[Prediction], truths) -> dict:
    """R@1 over the axis when both ends of each first window go to the nearest multiple of 2 s."""
    first = np.stack([given.moments[0] for given in answers])
    on_grid = np.round(first / CLIP) * CLIP
    iou = best_iou(list(on_grid[:, None]), truths).numpy()
    return {
        "on the grid before": percent((first == on_grid).all(axis=1)),
        "R@1": [percent(iou >= level) for level in AXIS],
        "R@1, >": [percent(iou > level) for level in AXIS],
    }


def two_intervals(queries: Sequence[Query]) -> dict:
    """R@1, IoU=0.3 of the full video with its 95 % interval over single queries and over whole videos."""
    windows, truths = model_free.full_video(queries), [np.array(query.moments) for query in queries]
    hits = {"hits": best_iou(windows, truths).numpy() >= 0.3}
    videos = [query.video_id for query in queries]
    value, *by_query = _intervals(hits, range(len(queries)))["hits"]
    by_video = _intervals(hits, videos)["hits"][1:]
    counts = {"queries": len(queries), "videos": len(set(videos))}
    return counts | {"R@1, IoU=0.3": value, "over queries": by_query, "over videos": by_video}


def ceilings(queries: Iterable[Query]) -> dict:
    """The best R@1 of whoever sees the text and the video, where one text has several moments in one video.

    Every query has one true moment; of equal pairs of text and video one answer must serve all. The window
    that hits most of their moments is found exactly (`most_hits`).
    """
    groups = defaultdict(Counter)
    for query in queries:
        groups[query.video_id, query.text.lower()][query.moments[0]] += 1
    several = [group for group in groups.values() if len(group) > 1]
    total = sum(group.total() for group in groups.values())
    ambiguous = sum(group.total() for group in several)
    result = {"queries": total, "repeated rows": total - sum(map(len, groups.values()))}
    result["queries with another moment for the same text"] = ambiguous
    for level in (0.3, 0.5, 0.7):
        hit = (
            total - ambiguous + sum(most_hits(list(group), list(group.values()), level) for group in several)
        )
        result[f"R@1, IoU={level}"] = round(100 * hit / total, 2)
    return result


def most_hits(moments: Sequence[Sequence], weights: Sequence, iou: float) -> float:
    """The largest sum of weights of moments that one window reaches with this IoU.

    The windows (start, end) that reach a moment form a quadrilateral, whose four sides are straight:
    (1 + iou) (x - y) >= iou (end - start + length), where x is the window's or the moment's end and y a
    start. A window that hits most can be moved to a corner or a crossing of sides, so these are tried.
    """
    known = np.asarray(moments, dtype=float)
    sides = []
    for start, end in known:
        for own_end, own_start in itertools.product((True, False), repeat=2):
            constant = (1 + iou) * ((0 if own_end else end) - (0 if own_start else start)) - iou * (
                end - start
            )
            sides.append((iou - (1 + iou) * own_start, (1 + iou) * own_end - iou, constant))
    a, b, c = np.array(sides).T
    i, j = np.triu_indices(len(sides), 1)
    determinant = a[i] * b[j] - a[j] * b[i]
    i, j, determinant = (values[np.abs(determinant) > EPSILON] for values in (i, j, determinant))
    crossings = (
        np.stack([b[i] * c[j] - b[j] * c[i], a[j] * c[i] - a[i] * c[j]], axis=1) / determinant[:, None]
    )
    windows = np.concatenate([known, crossings[crossings[:, 0] < crossings[:, 1]]])
    reached = area_iou(windows[:, None], known[None]) >= iou - EPSILON
    return float((reached * np.asarray(weights, dtype=float)).sum(axis=1).max())


def agreement(queries: Sequence[Query]) -> dict:
    """How far DiDeMo's annotators agree: IoU of pairs, unanimous queries, recall of one judged by another.

    The curves are averages over the queries, in percent, at `AXIS`: an annotator, and answers without a
    model, each judged by every other annotator in turn; and the answer that suits the annotators best.
    """
    unanimous, judged, asked = 0, defaultdict(list), Counter()
    for query in queries:
        segments = [tuple(pair) for pair in query.extra["times"]]
        unanimous += len(set(segments)) == 1
        last = query.extra["num_segments"] - 1
        judged["another annotator"].append(
            [segment_iou(a, b) for a, b in itertools.combinations(segments, 2)]
        )
        judged["first segment"].append([segment_iou((0, 0), other) for other in segments])
        judged["full video"].append([segment_iou((0, last), other) for other in segments])
        asked[tuple(sorted(segments)), last] += 1
    pairs = Counter(NAMED.get(iou, "other") for row in judged["another annotator"] for iou in row)
    result = {
        "queries": len(queries),
        "annotators": sum(len(query.extra["times"]) for query in queries),
        "unanimous": round(100 * unanimous / len(queries), 2),
        "pairs": {name: round(100 * pairs[name] / pairs.total(), 2) for name in [*NAMED.values(), "other"]},
        "axis": list(AXIS),
    }
    for label, convention in (("curves", ">="), ("curves, >", ">")):
        result[label] = {name: _judged(rows, convention) for name, rows in judged.items()}
        result[label]["best possible answer"] = _best_possible(asked, convention)
    result["mIoU"] = {name: percent(sum(row) / len(row) for row in rows) for name, rows in judged.items()}
    return result


NAMED = {0.0: "0", 1 / 3: "1/3", 0.5: "1/2", 2 / 3: "2/3", 1.0: "1"}  # the frequent IoUs of segments


@cache  # there are 21 runs of six segments
def segment_iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    """The IoU of two runs of segments (first, last); all segments count as equally long."""
    shared = max(0, min(a[1], b[1]) + 1 - max(a[0], b[0]))
    return shared / (a[1] - a[0] + b[1] - b[0] + 2 - shared)


def _judged(rows: Sequence[Sequence[float]], convention: str) -> list[float]:
    """Percent of hits at every threshold, each query counting as much as every other."""
    values = np.array(list(itertools.chain(*rows)))
    weights = np.repeat([1 / len(row) for row in rows], [len(row) for row in rows])
    sums = [math.fsum(weights[reaches(values, level, convention)]) for level in AXIS]
    return [round(100 * total / len(rows), 2) for total in sums]


def _best_possible(asked: Mapping, convention: str) -> list[float]:
    """Percent of annotators that the best single answer to each query hits, at every threshold.

    `asked` counts queries by (choices of their annotators, index of the last segment).
    """
    shares = []
    for segments, last in asked:
        runs = itertools.combinations_with_replacement(range(last + 1), 2)
        ious = np.array([[segment_iou(run, other) for other in segments] for run in runs])
        hits = np.stack([reaches(ious, level, convention) for level in AXIS], axis=2)  # (runs, annotators, K)
        shares.append(hits.mean(axis=1).max(axis=0))
    weighted = np.array(list(asked.values()))[:, None] * np.stack(shares)
    return [round(100 * math.fsum(column) / asked.total(), 2) for column in weighted.T]


def training_runs(folder: Path) -> dict[str, dict]:
    """The evaluations that released training logs hold: R@1, IoU=0.5 in the order of the log, percent."""
    result = {}
    for name, file in LOGS.items():
        text = (folder / file).read_text(encoding="utf-8", errors="replace")
        briefs = re.findall(r'\[Metrics\] \{"brief": (\{.*?\})', text)
        tables = re.findall(r"^\|" + r" +(\d+\.\d+) +\|" * 7, text, re.MULTILINE)
        values = [json.loads(brief)["MR-full-R1@0.5"] for brief in briefs]
        values = values or [float(row[1]) for row in tables]
        result[name] = {"R@1, IoU=0.5": values}
    return result


def percent(values: Iterable) -> float:
    """The mean of numbers or booleans in percent, two decimals; the sum is exact, whatever its order."""
    values = [float(value) for value in values]
    return round(100 * math.fsum(values) / len(values), 2)

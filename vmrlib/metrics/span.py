"""A file of predicted moments judged by R@n, IoU=m, mIoU and dR@n, IoU=m, with intervals."""

from collections.abc import Sequence

import numpy as np
import torch

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import Prediction, check_queries, match
from vmrlib.metrics.bootstrap import bootstrap_intervals
from vmrlib.metrics.recall import best_iou, discounted_hits_at, reaches, sign_of
from vmrlib.moments import non_maximum_suppression

RANKS = (1, 5)
IOUS = (0.3, 0.5, 0.7)


def evaluate_span(
    predictions: Sequence[Prediction],
    queries: Sequence[Query],
    top: Sequence[int] = RANKS,
    ious: Sequence[float] = IOUS,
    convention: str = ">=",
    nms: float | None = None,
    partial: bool = False,
) -> dict:
    """Figures in percent with two decimals, and 95 % intervals from resampled videos.

    `{"R@1, IoU=0.5": ..., "mIoU": ..., "dR@1, IoU=0.5": ..., "intervals": {name: [low, high]}, "queries": Q,
    "convention": ">="}`. Of several true moments the one that fits best counts. `convention` is a sign or a
    name of `recall.CONVENTIONS`; `nms` applies non-maximum suppression at that IoU first. `partial` as in
    `evaluate_qvhighlights`. Raises PredictionError or ValueError where predictions and queries do not fit.
    """
    sign = sign_of(convention)
    matched = match(predictions, queries, partial)
    queries = matched.queries
    check_queries(queries)
    answers = [suppress(one, nms) if nms is not None else one.moments for one in matched.predictions]
    truths = [np.array(query.moments) for query in queries]
    values = per_query_values(answers, truths, [query.duration for query in queries], top, ious, sign)
    table = 100 * np.stack(list(values.values()), axis=1)
    intervals = bootstrap_intervals(table, [query.video_id for query in queries])
    means = table.mean(axis=0)
    return (
        {name: two_decimals(mean) for name, mean in zip(values, means, strict=True)}
        | {
            "intervals": {
                name: [two_decimals(edge) for edge in interval]
                for name, interval in zip(values, intervals, strict=True)
            },
            "queries": len(queries),
            "convention": sign,
        }
        | ({"partial": matched.note} if matched.note else {})
    )


def per_query_values(
    answers: Sequence,
    truths: Sequence,
    durations: Sequence[float],
    top: Sequence[int] = RANKS,
    ious: Sequence[float] = IOUS,
    convention: str = ">=",
) -> dict[str, np.ndarray]:
    """What each query adds to each figure (0..1): hits, the IoU of the first answer, discounted hits."""
    best = {n: best_iou(answers, truths, n) for n in {1, *top}}
    hits = {
        f"R@{n}, IoU={iou}": reaches(best[n], iou, convention).double().numpy() for n in top for iou in ious
    }
    discounted = {
        f"dR@{n}, IoU={iou}": discounted_hits_at(answers, truths, durations, n, iou, convention).numpy()
        for n in top
        for iou in ious
    }
    return hits | {"mIoU": best[1].numpy()} | discounted


def suppress(prediction: Prediction, threshold: float) -> np.ndarray:
    """The moments of a prediction after non-maximum suppression at this IoU, best score first.

    Moments that do not end after their start are dropped before, as MSAT does.
    """
    moments, scores = torch.from_numpy(prediction.moments), torch.from_numpy(prediction.scores)
    forwards = moments[:, 0] < moments[:, 1]
    moments, scores = moments[forwards], scores[forwards]
    return moments[non_maximum_suppression(moments, scores, threshold)].numpy()


def two_decimals(value: float) -> float:
    return float(f"{value:.2f}")

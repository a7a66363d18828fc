"""The figures of QVHighlights, as its evaluator prints them: mAP, R1 and mIoU by length, and highlights.

The rules are those of `standalone_eval/eval.py` of jayleicn/moment_detr (Lei et al. 2021), commit
2fa9e32e, with the mIoU and the R1 from 0.3 on that CG-DETR adds. Three things are ours: a query without
windows counts as a miss (the script leaves it out of the mAP, and stops in R1); a moment that ends before
it starts has IoU 0 (the script divides 0 by 0 where such lengths cancel, and counts a hit); of two true
moments with equal IoU the later one in the list is matched (the script sorts, unstably).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import Prediction, check_queries, match
from vmrlib.metrics.highlights import LEVELS, HighlightError, highlight_scores
from vmrlib.metrics.overlap import area_iou, as_array, hull_iou, pad

LENGTHS = {
    "full": (0, 150),
    "long": (30, 150),
    "middle": (10, 30),
    "short": (0, 10),
}  # (above, up to] seconds
R1_IOUS = tuple(round(0.3 + 0.05 * step, 2) for step in range(14))
AP_IOUS = R1_IOUS[4:]
MOST = 10  # predictions of a query that count for mAP


def evaluate_qvhighlights(
    predictions: Sequence[Prediction], queries: Sequence[Query], partial: bool = False
) -> dict:
    """The figures of a submission in percent, with the keys, order and two decimals of the official file.

    `brief` repeats the main ones; then come `HL-min-Fair`, `-Good` and `-VeryGood` (left out where
    predictions hold no saliency or annotations no raters' scores), and `full`, `long`, `middle`, `short`: R1
    and mIoU of the first window, and mAP of the first ten. A query belongs to a range of lengths when one
    of its moments does, and only those moments count there; None stands where a range has no query.
    Predictions are matched to queries by id; with `partial` those without a partner are left out, and
    `partial` in the result tells how many. Raises PredictionError or ValueError where they do not fit.
    """
    matched = match(predictions, queries, partial)
    predictions, queries = matched.predictions, matched.queries
    check_queries(queries)
    windows = [prediction.moments for prediction in predictions]
    ordered = _by_score(windows, [prediction.scores for prediction in predictions], MOST)
    first = pad(windows, 1)[0][:, 0]
    known, mask = pad([query.moments for query in queries])
    length = known[..., 1] - known[..., 0]
    ranges = {}
    for name, (low, high) in LENGTHS.items():
        inside = mask if name == "full" else mask & (low < length) & (length <= high)
        rows = np.flatnonzero(inside.any(axis=1))
        ranges[name] = _figures(ordered[rows], first[rows], known[rows], inside[rows])
    highlights = _highlight_figures(predictions, queries)
    result = {"brief": _brief(ranges, highlights)} | highlights | ranges
    return result | ({"partial": matched.note} if matched.note else {})


def average_precision(
    windows: Sequence,
    scores: Sequence,
    truths: Sequence,
    ious: Sequence[float] = AP_IOUS,
    most: int | None = MOST,
) -> Float[np.ndarray, "Q K"]:
    """The average precision of each query at each of the K IoU thresholds, 0..1.

    `windows[q]` (N, 2) and `scores[q]` (N,) are the answers to query q, `truths[q]` (M, 2) its true moments.
    The first `most` windows, ordered by score, are matched in turn: each takes the free true moment it
    overlaps best, if their IoU reaches the threshold. AP is the area under the interpolated precision.
    """
    return _precision(_by_score(windows, scores, most), *pad(truths), ious)


def first_iou(windows: Sequence, truths: Sequence) -> Float[np.ndarray, " Q"]:
    """The IoU of each query's first window with the true moment it overlaps best; 0 without a window."""
    return _first_iou(pad(windows, 1)[0][:, 0], *pad(truths))


def _by_score(windows: Sequence, scores: Sequence, most: int | None) -> Float[np.ndarray, "Q N 2"]:
    """The first `most` windows of each query, the best first; equal scores keep their order."""
    found, mask = pad(windows, most)
    score = np.full(mask.shape, -np.inf)
    score[mask] = np.concatenate([as_array(row)[:most] for row in scores])
    order = np.argsort(-score, axis=1, kind="stable")
    return np.take_along_axis(found, order[:, :, None], axis=1)


def _first_iou(first: Float[np.ndarray, "Q 2"], known: Float[np.ndarray, "Q M 2"], mask):
    overlap = np.where(mask, area_iou(first[:, None], known), -1)
    best = known[np.arange(len(known)), overlap.argmax(axis=1)]
    return hull_iou(first, best)


def _precision(
    found: Float[np.ndarray, "Q N 2"],
    known: Float[np.ndarray, "Q M 2"],
    mask: Bool[np.ndarray, "Q M"],
    ious: Sequence[float],
) -> Float[np.ndarray, "Q K"]:
    """Average precision of padded windows, best first; `mask` says which true moments count."""
    number = mask.sum(axis=1)
    front = np.argsort(~mask, axis=1, kind="stable")  # those that count come first
    known = np.take_along_axis(known, front[:, :, None], axis=1)
    hits = np.zeros((len(found), len(ious), found.shape[1]), dtype=bool)
    # Most queries have one or two moments, few have 25: those of like number are matched together.
    size = np.ceil(np.log2(np.maximum(number, 1))).astype(int)
    for exponent in np.unique(size):
        rows = np.flatnonzero(size == exponent)
        columns = slice(min(2**exponent, known.shape[1]))
        overlap = area_iou(found[rows, :, None], known[rows, None, columns])  # (Q, N, M)
        overlap = np.where(np.arange(overlap.shape[2]) < number[rows, None, None], overlap, -1.0)
        hits[rows] = _greedy_matches(overlap, np.asarray(ious))
    return _interpolated_area(hits, number)


def _greedy_matches(overlap: Float[np.ndarray, "Q N M"], ious) -> Bool[np.ndarray, "Q K N"]:
    """Which predictions, best first, are hits at each threshold; each true moment is hit once."""
    n_queries, n_found, n_known = overlap.shape
    hits = np.zeros((n_queries, len(ious), n_found), dtype=bool)
    if n_known == 1:  # the first that reaches the threshold takes it
        reached = overlap[:, None, :, 0] >= ious[:, None]
        first = reached.argmax(axis=2)[..., None]
        np.put_along_axis(hits, first, np.take_along_axis(reached, first, axis=2), axis=2)
        return hits
    overlap = overlap[:, :, ::-1]  # so that argmax finds the later one of equals
    free = np.ones((n_queries, len(ious), n_known), dtype=bool)
    for index in range(n_found):
        candidates = np.where(free, overlap[:, None, index], -1.0)
        taken = candidates.argmax(axis=2)[..., None]
        hit = np.take_along_axis(candidates, taken, axis=2) >= ious[:, None]
        hits[:, :, index] = hit[..., 0]
        np.put_along_axis(free, taken, np.take_along_axis(free, taken, axis=2) & ~hit, axis=2)
    return hits


def _interpolated_area(hits: Bool[np.ndarray, "Q K N"], number) -> Float[np.ndarray, "Q K"]:
    """The area under precision over recall, where precision is the best at that recall or a higher one."""
    count = hits.cumsum(axis=2)
    precision = count / np.arange(1, hits.shape[2] + 1)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    recall = count / np.maximum(number, 1)[:, None, None]
    area, before = np.zeros(hits.shape[:2]), np.zeros(hits.shape[:2])
    for index in range(hits.shape[2]):  # in the order in which the evaluator adds, for the same last digit
        area += (recall[..., index] - before) * envelope[..., index]
        before = recall[..., index]
    return area


def _figures(ordered, first, known, mask) -> dict:
    """mIoU, mAP and R1 of queries with these windows and true moments; None where there is no query."""
    ap_keys = [*map(str, AP_IOUS), "average"]
    r1_keys = list(map(str, R1_IOUS))
    if not len(known):
        return {"MR-mIoU": None, "MR-mAP": dict.fromkeys(ap_keys), "MR-R1": dict.fromkeys(r1_keys)}
    precision = _precision(ordered, known, mask, AP_IOUS).mean(axis=0)
    overlap = _first_iou(first, known, mask)
    recall = (overlap[:, None] >= R1_IOUS).mean(axis=0)
    return {
        "MR-mIoU": percent(overlap.mean()),
        "MR-mAP": dict(zip(ap_keys, map(percent, [*precision, precision.mean()]), strict=True)),
        "MR-R1": dict(zip(r1_keys, map(percent, recall), strict=True)),
    }


def _highlight_figures(predictions: Sequence[Prediction], queries: Sequence[Query]) -> dict:
    """mAP and Hit@1 for each level; empty where nobody predicted saliency or nobody rated it."""
    silent = [prediction.query_id for prediction in predictions if prediction.saliency is None]
    if len(silent) == len(predictions) or not any("saliency_scores" in query.extra for query in queries):
        return {}
    if silent:
        raise HighlightError(
            f"{len(silent)} of {len(predictions)} predictions have no pred_saliency_scores, the first is "
            f"that of query {silent[0]}"
        )
    scores = highlight_scores([prediction.saliency for prediction in predictions], queries)
    return {
        f"HL-min-{level}": {
            "HL-mAP": percent(scores[level].precision.mean()),
            "HL-Hit1": percent(scores[level].hit.mean()),
        }
        for level in LEVELS
    }


def _brief(ranges: dict, highlights: dict) -> dict:
    """The main figures under the names of the official file."""
    full = ranges["full"]
    return (
        {f"MR-full-R1@{iou}": full["MR-R1"][iou] for iou in ("0.3", "0.5", "0.7")}
        | {
            "MR-full-mAP": full["MR-mAP"]["average"],
            "MR-full-mAP@0.5": full["MR-mAP"]["0.5"],
            "MR-full-mAP@0.75": full["MR-mAP"]["0.75"],
            "MR-full-mIoU": full["MR-mIoU"],
        }
        | {f"MR-{name}-mAP": ranges[name]["MR-mAP"]["average"] for name in ("long", "middle", "short")}
        | {
            f"{level}-{name.removeprefix('HL-')}": value
            for level, values in highlights.items()
            for name, value in values.items()
        }
    )


def percent(fraction: float) -> float:
    """A fraction in percent with the two decimals of the official file."""
    return float(f"{100 * fraction:.2f}")

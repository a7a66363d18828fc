"""How moment retrieval is measured: R@n, IoU=m, mean IoU, and recall discounted by boundary errors.

Released evaluators disagree on an IoU of exactly m, which is frequent where moments lie on a grid: for
some it is a hit (`>=`), for others a miss (`>`). Wherever a `convention` is asked for, the sign or the name
of somebody who uses it may stand; `CONVENTIONS` lists the names.

A predicted moment that ends before it starts has IoU 0, as in every released evaluator.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vmrlib.metrics.overlap import as_array, hull_iou, pad

CONVENTIONS = {
    "2D-TAN": ">",
    "MSAT": ">",
    "ACB": ">",  # the released code of asymmetric co-attention with video-text contrastive learning
    "DCM": ">",
    "MMN": ">=",
    "QVHighlights": ">=",
    "Moment-DETR": ">=",
    "TVR": ">=",
}

Moments = Float[Tensor, "_ 2"] | Float[np.ndarray, "_ 2"]  # of one query: another number for each


def sign_of(convention: str) -> str:
    """`>` or `>=`: what an IoU must be to the threshold to count as a hit.

    Raises ValueError for a name that is not in `CONVENTIONS`.
    """
    if convention in (">", ">="):
        return convention
    for name, sign in CONVENTIONS.items():
        if name.lower() == convention.lower():
            return sign
    known = ", ".join(CONVENTIONS)
    raise ValueError(f"convention must be >, >= or one of {known}, not {convention!r}")


def reaches(values, threshold: float, convention: str = ">="):
    """Is each value a hit? Values of a tensor or array; the result has their shape."""
    return values > threshold if sign_of(convention) == ">" else values >= threshold


def best_iou(predictions: Sequence[Moments], truths: Sequence[Moments], n: int = 1) -> Float[Tensor, " Q"]:
    """For each query the best IoU that its `n` best predictions reach with a true moment; float64.

    `predictions[q]` (N, 2) are query q's moments, best first, in the unit of `truths[q]` (M, 2). A query
    without predictions has 0. Raises ValueError when the two lists differ in length, when there is no
    query, and for a query that has no true moment or one that ends before it starts.
    """
    found, _, known, _ = _padded(predictions, truths, n)
    iou = hull_iou(found[:, :, None], known[:, None])  # (Q, n, M); padding has no length: its IoU is 0
    return torch.from_numpy(iou.max(axis=(1, 2)))


def hits_at(
    predictions: Sequence[Moments],
    truths: Sequence[Moments],
    n: int = 1,
    iou: float = 0.5,
    convention: str = ">=",
) -> Bool[Tensor, " Q"]:
    """For each query: does one of its `n` best predictions hit a true moment?

    Arguments and errors as in `best_iou`; a query without predictions is a miss.
    """
    return reaches(best_iou(predictions, truths, n), iou, convention)


def recall_at(
    predictions: Sequence[Moments],
    truths: Sequence[Moments],
    n: int = 1,
    iou: float = 0.5,
    convention: str = ">=",
) -> float:
    """R@n, IoU=iou in percent: the share of queries with a hit among their `n` best predictions."""
    return 100 * hits_at(predictions, truths, n, iou, convention).double().mean().item()


def mean_iou(predictions: Sequence[Moments], truths: Sequence[Moments]) -> float:
    """mIoU in percent: the IoU of each query's first prediction with its best true moment, averaged.

    2D-TAN and DCM print another number under this name: the mean of the three best IoUs among the first
    five predictions.
    """
    return 100 * best_iou(predictions, truths, 1).mean().item()


def recall_curve(
    predictions: Sequence[Moments],
    truths: Sequence[Moments],
    ious: Sequence[float] | Float[np.ndarray, " K"],
    n: int = 1,
    convention: str = ">=",
) -> Float[Tensor, " K"]:
    """R@n in percent at each of the K thresholds; the area under it over 0..1 is the mIoU where n is 1."""
    best = best_iou(predictions, truths, n)
    return torch.stack([100 * reaches(best, iou, convention).double().mean() for iou in ious])


def discounted_hits_at(
    predictions: Sequence[Moments],
    truths: Sequence[Moments],
    durations: Sequence[float | int],
    n: int = 1,
    iou: float = 0.5,
    convention: str = ">=",
) -> Float[Tensor, " Q"]:
    """For each query its hit times (1 - |start error| / duration) (1 - |end error| / duration); float64.

    Yuan et al. 2021 (the changing distributions), dR@n, IoU=m: a long prediction that just reaches the IoU
    counts less. `durations[q]` is that of query q's video, in the unit of its moments. Of several hits
    among the first `n` predictions the best discounted one counts; the paper leaves that open.
    Raises ValueError as `best_iou`, and for a duration that is not positive.
    """
    found, found_mask, known, known_mask = _padded(predictions, truths, n)
    duration = as_array(durations)
    if duration.shape != (len(found),) or not (duration > 0).all():
        raise ValueError(f"durations must be {len(found)} numbers above 0")
    found, known = found[:, :, None], known[:, None]
    hit = reaches(hull_iou(found, known), iou, convention)  # (Q, n, M)
    hit &= found_mask[:, :, None] & known_mask[:, None]
    errors = np.abs(found - known) / duration[:, None, None, None]  # (Q, n, M, 2)
    discount = np.maximum(1 - errors, 0).prod(axis=-1)
    return torch.from_numpy((hit * discount).max(axis=(1, 2)))


def discounted_recall_at(
    predictions: Sequence[Moments],
    truths: Sequence[Moments],
    durations: Sequence[float | int],
    n: int = 1,
    iou: float = 0.5,
    convention: str = ">=",
) -> float:
    """dR@n, IoU=iou in percent: `discounted_hits_at`, averaged over the queries."""
    hits = discounted_hits_at(predictions, truths, durations, n, iou, convention)
    return 100 * hits.mean().item()


def batch_averaged_mean(values: Bool[Tensor, " Q"] | Float[Tensor, " Q"], batch: int) -> float:
    """The mean of the means of consecutive batches of `batch` queries.

    So the release of asymmetric co-attention averages its recall and IoU: the queries of a short last
    batch count more than the others. For parity only.
    """
    return torch.stack([part.double().mean() for part in values.split(batch)]).mean().item()


def _padded(predictions, truths, n: int):
    """Predictions (Q, n, 2) and truths (Q, M, 2) with their masks, checked."""
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} queries have predictions, {len(truths)} have true moments")
    if len(predictions) == 0:
        raise ValueError("no queries to evaluate")
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    found, found_mask = pad(predictions, n)
    known, known_mask = pad(truths)
    if not known_mask[:, 0].all():
        raise ValueError(f"query {int(np.argmin(known_mask[:, 0]))} has no true moment")
    backwards = known[..., 1] < known[..., 0]
    if backwards.any():
        query, which = np.argwhere(backwards)[0]
        raise ValueError(
            f"query {query}: true moment {which} ends before it starts: {known[query, which].tolist()}"
        )
    return found, found_mask, known, known_mask

"""How moment retrieval is measured: R@n, IoU=m and mean IoU."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vmrlib.moments import temporal_iou


def hits_at(
    predictions: list[Float[Tensor, "N 2"]],
    truths: list[Float[Tensor, "M 2"]],
    n: int = 1,
    iou: float = 0.5,
) -> Bool[Tensor, " Q"]:
    """For each query: does one of its `n` best predictions have at least `iou` with a true moment?

    `predictions[q]` (N, 2) are query q's moments, best first, in the unit of `truths[q]` (M, 2).
    A query without predictions is a miss. Raises ValueError when the two lists differ in length
    or a query has no true moment.
    """
    best = _best_iou(predictions, truths, n)
    return best >= iou


def recall_at(
    predictions: list[Float[Tensor, "N 2"]],
    truths: list[Float[Tensor, "M 2"]],
    n: int = 1,
    iou: float = 0.5,
) -> float:
    """R@n, IoU=iou in percent: the share of queries with a hit among their `n` best predictions."""
    return 100 * hits_at(predictions, truths, n, iou).double().mean().item()


def mean_iou(predictions: list[Float[Tensor, "N 2"]], truths: list[Float[Tensor, "M 2"]]) -> float:
    """mIoU in percent: the IoU of each query's first prediction with its best true moment, averaged."""
    return 100 * _best_iou(predictions, truths, 1).mean().item()


def _best_iou(predictions, truths, n: int) -> Float[Tensor, " Q"]:
    """The best IoU that any of the first `n` predictions of each query reaches."""
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} queries have predictions, {len(truths)} have true moments")
    if not predictions:
        raise ValueError("no queries to evaluate")
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    best = torch.zeros(len(truths), dtype=torch.float64)
    for query, (predicted, true) in enumerate(zip(predictions, truths, strict=True)):
        if len(true) == 0:
            raise ValueError(f"query {query} has no true moment")
        if len(predicted):
            try:
                best[query] = temporal_iou(predicted[:n].double(), true.double()).max()
            except ValueError as error:
                raise ValueError(f"query {query}: {error} (a: predictions, b: truths)") from None
    return best

"""Moments of many queries in one array, and the IoU of such arrays.

Released evaluators compute the IoU in two ways that agree but for the last bit, which decides when an IoU
lies exactly at the threshold: `hull_iou` divides by latest end minus earliest start, `area_iou` by the sum
of the two lengths minus the overlap. Both are 0, never NaN or negative, for a moment that ends before it
starts.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


def pad(
    rows: Sequence, most: int | None = None
) -> tuple[Float[np.ndarray, "Q N 2"], Bool[np.ndarray, "Q N"]]:
    """Moments of all queries, zeros where a query has fewer, and a mask that is True at real ones.

    `rows[q]` is a tensor, array or list of the moments of query q, (N, 2) or empty; only its first `most`
    count.
    """
    arrays = [as_array(row).reshape(-1, 2)[:most] for row in rows]
    counts = np.array([len(array) for array in arrays], dtype=int)
    mask = np.arange(max(counts.max(initial=0), 1)) < counts[:, None]
    padded = np.zeros((*mask.shape, 2))
    if arrays:
        padded[mask] = np.concatenate(arrays)
    return padded, mask


def as_array(values) -> Float[np.ndarray, "..."]:
    """A tensor on any device, an array or nested lists as a float64 array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def hull_iou(a: Float[np.ndarray, "... 2"], b: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """IoU of moments in arrays that broadcast, in their precision: overlap / (last end - first start).

    That is the IoU where two moments overlap, and 0 where they do not. So compute the evaluators of
    2D-TAN, MSAT, MMN and TVR, and that of QVHighlights its R1.
    """
    overlap = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    hull = np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0])
    return np.divide(np.maximum(overlap, 0), hull, out=np.zeros_like(hull), where=hull > 0)


def area_iou(a: Float[np.ndarray, "... 2"], b: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """IoU of moments in arrays that broadcast: overlap / (length + length - overlap).

    So computes the evaluator of QVHighlights its mAP.
    """
    overlap = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    overlap = np.maximum(overlap, 0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)

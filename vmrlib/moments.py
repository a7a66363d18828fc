"""Moment arithmetic: temporal IoU, non-maximum suppression, and the units a moment is written in.

A moment is a pair [start, end] in seconds. Names say when the unit differs: `moments_clip` are clip
indices, `moments_norm` are fractions of the video's duration.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def temporal_iou(a: Float[Tensor, "N 2"], b: Float[Tensor, "M 2"]) -> Float[Tensor, "N M"]:
    """IoU of every moment in `a` with every moment in `b`.

    Any one unit serves, as long as both use it. The IoU is 0 where the union has no length
    (two moments of length zero), and never NaN. Raises ValueError for an end before its start.
    """
    for name, moments in (("a", a), ("b", b)):
        backwards = moments[:, 1] < moments[:, 0]
        if bool(backwards.any()):
            row = int(backwards.nonzero()[0])
            raise ValueError(f"moment {name}[{row}] ends before it starts: {moments[row].tolist()}")
    return iou_of_pairs(a[:, None], b[None])


def iou_of_pairs(a: Float[Tensor, "*#N 2"], b: Float[Tensor, "*#N 2"]) -> Float[Tensor, "*N"]:
    """IoU of every moment in `a` with the one in its place in `b`; axes of one entry are stretched.

    As `temporal_iou`, but nothing is checked.
    """
    overlap = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    # The union of two moments that overlap is what lies between their first start and their last end; the
    # released evaluators divide by that. The sum of the lengths less the overlap differs in the last bit,
    # which decides where an IoU lies exactly at a threshold.
    hull = torch.maximum(a[..., 1], b[..., 1]) - torch.minimum(a[..., 0], b[..., 0])
    return torch.where(hull > 0, overlap / torch.where(hull > 0, hull, 1), 0.0)


def non_maximum_suppression(
    moments: Float[Tensor, "N 2"], scores: Float[Tensor, " N"], threshold: float, top: int | None = None
) -> Int[Tensor, " K"]:
    """Indices of the moments that survive, best first.

    The best moment is kept, every other one whose IoU with it is above `threshold` is dropped, and so
    on with what is left, until `top` are kept. Equal scores keep the order they came in.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    overlaps = temporal_iou(moments, moments)
    alive = torch.ones(len(moments), dtype=torch.bool, device=moments.device)
    kept: list[int] = []
    for index in order.tolist():
        if top is not None and len(kept) == top:
            break
        if alive[index]:
            kept.append(index)
            alive &= overlaps[index] <= threshold
    return torch.tensor(kept, dtype=torch.long, device=moments.device)


def suppress_batch(
    moments: Float[Tensor, "B N 2"], scores: Float[Tensor, "B N"], threshold: float, top: int
) -> Int[Tensor, "B {top}"]:
    """Indices of the `top` moments of each sample that survive, best first, -1 where there are fewer.

    As `non_maximum_suppression`, for many samples at once and without the N x N matrix. Moments of a
    negative score take no part; of equal scores the first one counts as better.
    """
    alive = scores.masked_fill(scores < 0, -torch.inf)
    kept = []
    for _ in range(top):
        best_score, best = alive.max(dim=1, keepdim=True)
        kept.append(torch.where(best_score > -torch.inf, best, -1))
        iou = iou_of_pairs(moments, moments.gather(1, best[..., None].expand(-1, -1, 2)))
        alive = alive.masked_fill(iou > threshold, -torch.inf).scatter(1, best, -torch.inf)
    return torch.cat(kept, dim=1)


def clip_centres(n_clips: int, seconds_per_clip: float) -> Float[Tensor, " T"]:
    """The time in the middle of each of `n_clips` clips, in seconds."""
    return (torch.arange(n_clips, dtype=torch.float64) + 0.5) * seconds_per_clip


def clips_in_moment(moment: tuple[float, float], n_clips: int, seconds_per_clip: float) -> tuple[int, int]:
    """The clips [first, last) whose centres lie in [start, end) of a moment of seconds; at least one clip.

    A moment between two centres gets the clip that its middle lies in.
    """
    if n_clips < 1:
        raise ValueError(f"n_clips must be at least 1, not {n_clips}")
    start, end = (value / seconds_per_clip for value in moment)
    first, last = (min(max(math.ceil(edge - 0.5), 0), n_clips) for edge in (start, end))
    if first < last:
        return first, last
    middle = min(max(int((start + end) / 2), 0), n_clips - 1)
    return middle, middle + 1


def moments_to_norm(moments: Float[Tensor, "N 2"], duration: float) -> Float[Tensor, "N 2"]:
    """Moments as fractions of the duration, cut to 0..1."""
    if duration <= 0:
        raise ValueError(f"duration must be positive, not {duration}")
    return (moments / duration).clamp(0, 1)


def moments_from_norm(moments_norm: Float[Tensor, "N 2"], duration: float) -> Float[Tensor, "N 2"]:
    """Fractions of the duration as seconds."""
    return moments_norm * duration

"""Features on a clip grid, as the papers make it: resampled, pooled, marked with their place, padded.

2D-TAN's resampling is shared by MSAT (section 2.3 of its data pipeline), MMN (`avgfeats`) and ReLoCLNet
(contexts longer than 128 clips); pooling onto boundary points is MSAT's; end points and padding are
those of ReLoCLNet's loader.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def l2_normalise(features: Float[Tensor, "*B D"], added: float = 0.0) -> Float[Tensor, "*B D"]:
    """Rows divided by their norm plus `added`; rows of zeros stay zero.

    MSAT and MMN add nothing; ReLoCLNet adds 1e-5.
    """
    norms = features.norm(dim=-1, keepdim=True)
    return features / (norms.clamp_min(1e-12) + added)


def resample_edges(rows: int, clips: int) -> Int[Tensor, " {clips}+1"]:
    """First row of each of `clips` spans of `rows` rows, and the end of the last: round(k / clips * rows).

    Computed in float32 and rounded half to even, as the released codes do. No edge exceeds rows - 1: the
    end of a span is exclusive, so the last row is left out unless a span is empty and picks it.
    """
    share = torch.arange(clips + 1, dtype=torch.float32) / clips
    return (share * rows).round().long().clamp_max(rows - 1)


def resample_mean(features: Float[Tensor, "rows D"], clips: int) -> Float[Tensor, "clips D"]:
    """Mean of the rows of each span of `resample_edges`; an empty span takes the row at its start.

    With fewer rows than clips, rows repeat. Raises ValueError for no rows or no clips.
    """
    if len(features) == 0 or clips < 1:
        raise ValueError(f"cannot resample {len(features)} feature rows to {clips} clips")
    features = features.float()
    edges = resample_edges(len(features), clips).to(features.device)
    lengths = edges.diff()
    span = torch.arange(clips, device=features.device).repeat_interleave(lengths)
    sums = features.new_zeros(clips, features.shape[1]).index_add(0, span, features[: len(span)])
    means = sums / lengths.clamp_min(1)[:, None]
    return torch.where(lengths[:, None] > 0, means, features[edges[:-1]])


def pool_boundary_points(features: Float[Tensor, "B M D"], stride: int) -> Float[Tensor, "B T D"]:
    """Means of `stride` clips around the T = M / stride + 1 boundaries between cells of that length.

    Half a window of zeros is added at both ends and counted in the mean, so that the two outer points
    have about half the norm (MSAT, section 2.3). Raises ValueError for an odd stride, where T would be off.
    """
    if stride % 2:
        raise ValueError(f"stride {stride} is odd: points on the boundaries of cells need an even one")
    return F.avg_pool1d(features.transpose(1, 2), stride, stride, padding=stride // 2).transpose(1, 2)


def limit_clips(features: Float[Tensor, "rows D"], longest: int) -> Float[Tensor, "T D"]:
    """The features as they are, or resampled to `longest` clips where there are more.

    The clips of a resampled video are longer than its labels assume: ReLoCLNet does not rescale times.
    """
    return features if len(features) <= longest else resample_mean(features, longest)


def append_end_points(features: Float[Tensor, "T D"]) -> Float[Tensor, "T D+2"]:
    """Two columns more: where a clip starts and ends, i / T and (i + 1) / T (temporal endpoint features)."""
    points = torch.arange(len(features) + 1, dtype=features.dtype, device=features.device) / len(features)
    return torch.cat([features, points[:-1, None], points[1:, None]], dim=1)


def pad(
    rows: Sequence[Float[Tensor, "_ D"]], length: int | None = None
) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
    """Sequences of clips or words filled up with zeros to `length`, else to the longest; and their mask.

    Raises ValueError where a sequence is longer than `length`.
    """
    longest = max(len(row) for row in rows)
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"a sequence of {longest} rows does not fit into {length}")
    padded = torch.stack([F.pad(row, (0, 0, 0, length - len(row))) for row in rows])
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return padded, torch.arange(length, device=padded.device) < lengths[:, None]

"""The losses of ReLoCLNet as its authors released them (section 4 of the specification).

They differ from the slides: one sampled negative instead of all; the best clip instead of a pooled video; dot
products instead of learnt projections and a learnt discriminator; two cross entropies added, not averaged.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmrlib.models.precision import in_full_precision
from vmrlib.models.reloclnet_blocks import masked

RANKINGS = ("hinge", "lse")
SHIFT = math.log(2)  # of both means of FrameCL
FIRST = 999.0  # the score that puts the right one at rank 0


def span_labels(moments_clip: Float[Tensor, "B 2"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B 2"]:
    """Clip that a moment starts in, and clip before which it ends; both at most the last clip of the video.

    `moments_clip` counts clips. Raises ValueError for a sample without a moment (NaN), and for a moment that
    begins before its video or ends before it begins.
    """
    start, end = moments_clip.unbind(dim=1)
    wrong = ~((start >= 0) & (end >= start))  # NaN is wrong, too
    if bool(wrong.any()):
        found = moments_clip[wrong][0].tolist()
        if math.isnan(sum(found)):
            what = "a sample without a moment; ReLoCLNet finds its negatives in the batch"
        else:
            what = f"expected clips from 0 on, the end not before the start, found {found}"
        raise ValueError(f"moments_cell: {what}")
    return torch.minimum(
        torch.stack([start.floor(), end.ceil()], dim=1).long(), (mask.sum(dim=1) - 1)[:, None]
    )


def span_loss(
    start_logits: Float[Tensor, "B T"], end_logits: Float[Tensor, "B T"], labels: Int[Tensor, "B 2"]
) -> Float[Tensor, ""]:
    """The cross entropies of start and end, added; the slides have half of it."""
    return F.cross_entropy(start_logits, labels[:, 0]) + F.cross_entropy(end_logits, labels[:, 1])


def drawn_ranks(draws: Float[Tensor, "B 2"], pool: int | None) -> Int[Tensor, "2 B"]:
    """Ranks of the negatives: for all rows of the scores, then for all of their columns.

    Numbers drawn from 0..1 become ranks from 1..B - 1, or from 1..pool where there is a pool of hard ones;
    rank 0 is the right one.
    """
    most = len(draws) - 1 if pool is None else min(pool, len(draws) - 1)
    return 1 + (draws.T * most).long().clamp(0, max(most, 1) - 1)


def negatives(scores: Float[Tensor, "B B"], ranks: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The column of each row that has this rank when the row is sorted, the diagonal put first."""
    forced = scores.detach().clone().fill_diagonal_(FIRST)
    return forced.argsort(dim=1, descending=True, stable=True).gather(1, ranks[:, None])[:, 0]


def ranking_loss(
    scores: Float[Tensor, "B B"], ranks: Int[Tensor, " B"] | None, margin: float, kind: str = "hinge"
) -> Float[Tensor, ""]:
    """How far the diagonal is from beating one sampled entry of its row, or without ranks all of them.

    hinge: max(0, margin + negative - positive); lse: log(1 + exp(negative - positive)). The mean; 0 for a
    batch of one, which has no negative. Sentences about the same video are negatives, too, as released.
    """
    if len(scores) < 2:
        return 0.0 * scores.sum()
    positive = scores.diagonal()[:, None]
    if ranks is None:
        others = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        negative = scores[others].view(len(scores), -1)
    else:
        negative = scores.gather(1, negatives(scores, ranks)[:, None])
    difference = negative - positive
    return (F.softplus(difference) if kind == "lse" else (margin + difference).relu()).mean()


@in_full_precision
def frame_similarity(
    vectors: Float[Tensor, "B S d"], middle: Float[Tensor, "B S T d"]
) -> Float[Tensor, "B S T"]:
    """The dot products of each sentence and the clips of its own video."""
    return torch.einsum("bsd,bstd->bst", vectors, middle)


@in_full_precision
def video_similarity(
    vectors: Float[Tensor, "Q S d"], middle: Float[Tensor, "V S T d"], mask: Bool[Tensor, "V T"]
) -> Float[Tensor, "Q V"]:
    """The largest dot product of a sentence and a clip of a video, the mean over the streams."""
    products = torch.einsum("qsd,vstd->qsvt", vectors, middle)
    return masked(products, mask).amax(dim=-1).mean(dim=1)


def video_contrast(similarity: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """VideoCL: each pair against all others of its row and its column.

    The pair itself is counted in both, so the loss never falls below ln 2.
    """
    against = torch.cat([similarity, similarity.T], dim=1)  # (B, 2 B)
    return (against.logsumexp(dim=1) - similarity.diagonal()).mean()


def clips_inside(labels: Int[Tensor, "B 2"], clips: int) -> Bool[Tensor, "B T"]:
    """Which of all places belong to a moment: the clip of the label of its end, too, one more than it has."""
    place = torch.arange(clips, device=labels.device)
    return (place >= labels[:, :1]) & (place <= labels[:, 1:])


def frame_contrast(
    similarity: Float[Tensor, "B S T"],
    labels: Int[Tensor, "B 2"],
    mask: Bool[Tensor, "B T"],
    shift: float = SHIFT,
) -> Float[Tensor, " S"]:
    """FrameCL of each stream: clips of the moment should be like the sentence, others of the video not.

    A bound of Jensen and Shannon's kind on the mutual information. Where the moment fills the video there are
    no others, and their mean is 0. The released code shifts both means, the slides do not.
    """
    inside = clips_inside(labels, mask.shape[1])
    alike = _mean(shift - F.softplus(-similarity), inside)
    unlike = _mean(F.softplus(similarity) - shift, mask & ~inside)
    return (unlike - alike).mean(dim=0)


def _mean(values: Float[Tensor, "B S T"], chosen: Bool[Tensor, "B T"]) -> Float[Tensor, "B S"]:
    """The mean over the chosen places; 0 where there are none."""
    weights = chosen.to(values.dtype)[:, None]
    return (values * weights).sum(dim=2) / (weights.sum(dim=2) + 1e-12)

"""What MMN learns from: the IoU of every moment, and two contrasts between moments and sentences.

All losses read one table of cosines, `similarities[s, v, p]`: sentence s of the batch and moment p of video
v. Positives of a sentence are the moments of its own video with the largest IoU with the true one. What
counts as a negative differs by direction, and so does what happens to a moment that is none:

    video to sentence    a sentence whose true moment is nearly the same is left out of the sum
    sentence to video    a moment that is nearly the true one stays in the sum with a cosine of 0

Wang et al., "Negative Sample Matters: A Renaissance of Metric Learning for Temporal Grounding" (AAAI 2022),
and the code that its authors released (MCG-NJU/MMN at e694e69).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vmrlib.moments import temporal_iou

LEAST_SUM = 1e-6  # added to the denominator, from sentence to video only


def sentence_ious(moments: Float[Tensor, "S 2"], sentence_video: Int[Tensor, " S"]) -> Float[Tensor, "S S"]:
    """IoU of the true moments of two sentences about one video; 0 between videos.

    NaN, as released, for two equal moments of length zero: no IoU can be said to be more than theirs.
    """
    same = sentence_video[:, None] == sentence_video
    start, end = moments.unbind(dim=1)
    points = same & (start == end) & (start[:, None] == start) & (end[:, None] == end)
    return (temporal_iou(moments, moments) * same).masked_fill(points, math.nan)


def iou_loss(
    logits: Float[Tensor, "S P"], ious: Float[Tensor, "S P"], iou_range: tuple[float, float]
) -> Float[Tensor, ""]:
    """L_iou: cross entropy of the score and the IoU, which `iou_range` stretches to 0..1."""
    lowest, highest = iou_range
    wanted = ((ious - lowest) / (highest - lowest)).clamp(0, 1)
    return F.binary_cross_entropy_with_logits(logits, wanted)


def video_loss(
    similarities: Float[Tensor, "S V P"],
    sentence_video: Int[Tensor, " S"],
    positives: Int[Tensor, "S K"],
    overlap: Float[Tensor, "S S"],
    margin: float,
    temperature: float,
    removal_iou: float,
) -> Float[Tensor, ""]:
    """L_vid: each positive moment finds its own sentence among those of all videos.

    Sentences of the same video are left out unless their true moments overlap (`overlap`, an IoU or NaN) by
    less than `removal_iou`.
    """
    everyone = torch.arange(len(sentence_video), device=positives.device)
    # [s, k, other]: the moment k of sentence s, compared with another sentence
    scores = similarities[:, sentence_video[:, None], positives].permute(1, 2, 0)
    same_video = sentence_video[:, None] == sentence_video
    left_out = same_video & ~(overlap < removal_iou)
    left_out[everyone, everyone] = True
    others = (scores / temperature).masked_fill(left_out[:, None], -math.inf)
    own = (scores[everyone, :, everyone] - margin) / temperature
    return (torch.cat([own[..., None], others], dim=2).logsumexp(dim=2) - own).mean()


def sentence_loss(
    similarities: Float[Tensor, "S V P"],
    sentence_video: Int[Tensor, " S"],
    positives: Int[Tensor, "S K"],
    ious: Float[Tensor, "S P"],
    margin: float,
    temperature: float,
    negative_iou: float,
) -> Float[Tensor, ""]:
    """L_sent: each sentence finds its positive moments among the moments of all videos.

    In its own video, moments of an IoU of `negative_iou` or more are no negatives: their cosine is replaced
    by 0, so that each adds exp(0) = 1 to the sum, the positive's own cell among them. A positive whose IoU is
    smaller is in the sum twice, with its margin and without.
    """
    everyone = torch.arange(len(sentence_video), device=positives.device)
    own = similarities[everyone, sentence_video]  # (S, P)
    pulled = (own.gather(1, positives) - margin) / temperature
    no_negative = torch.zeros_like(similarities, dtype=torch.bool)
    no_negative[everyone, sentence_video] = ious >= negative_iou
    others = (similarities.masked_fill(no_negative, 0.0) / temperature).flatten(1).logsumexp(dim=1)
    least = others.new_tensor(math.log(LEAST_SUM))
    everything = torch.logaddexp(pulled, torch.logaddexp(others, least)[:, None])
    return (everything - pulled).mean()

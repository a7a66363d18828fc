"""The best spans of clips, of one video or of many, from the probabilities of their starts and ends."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Spans(NamedTuple):
    """Spans of every query, best first: which of its K videos, first clip, clip before which it ends, score.

    A span of score 0 is none: there were not enough.
    """

    video: Int[Tensor, "Q N"]
    start: Int[Tensor, "Q N"]
    end: Int[Tensor, "Q N"]
    score: Float[Tensor, "Q N"]


def best_spans(
    start: Float[Tensor, "Q K T"],
    end: Float[Tensor, "Q K T"],
    weight: Float[Tensor, "Q K"],
    lengths: tuple[int, int],
    top: int,
) -> Spans:
    """The `top` spans of each query by start(i) weight end(j), over all its videos (section 6).

    `lengths`: j - i is at least the first and below the second number. Fewer than `top` come back where
    there are fewer starts times lengths. Of equal spans the first comes first, by video, start and end.

    Exact, without a table of all spans: as many starts as spans are wanted, by the best end that each can
    reach, hold them all, since every other start has at best a span that is worse, or later, than one of
    each of these.
    """
    shortest, longest = lengths
    clips = start.shape[-1]
    start = weight[..., None] * start
    end = F.pad(end, (0, longest))  # ends behind the video: probability 0
    reach = F.max_pool1d(end[..., shortest:], longest - shortest, stride=1)[..., :clips]
    places = best((start * reach).flatten(1), top)[1].sort(dim=1).values  # (Q, C): video and first clip
    video, first = places // clips, places % clips
    width = torch.arange(shortest, longest, device=start.device)
    ends = (video * end.shape[-1] + first)[..., None] + width  # (Q, C, lengths)
    found = end.flatten(1).gather(1, ends.flatten(1)).view_as(ends)
    scores = start.flatten(1).gather(1, places)[..., None] * found
    score, chosen = best(scores.flatten(1), top)
    cell, length = chosen // len(width), chosen % len(width)
    first = first.gather(1, cell)
    return Spans(video.gather(1, cell), first, first + shortest + length, score)


def best(values: Float[Tensor, "Q N"], top: int) -> tuple[Tensor, Tensor]:
    """The `top` largest values of each row, all where there are fewer, and their places, best first.

    Of equal values the one with the first place comes first, which `topk` leaves to chance; sorting all of
    them would take several times as long.
    """
    top = min(top, values.shape[1])
    found = values.topk(top, dim=1)
    places, least = found.indices, found.values[:, -1:]
    if bool(((values >= least).sum(dim=1) > top).any()):  # there are more of the least than have been taken
        above, equal = values > least, values == least
        left = top - above.sum(dim=1, keepdim=True)
        places = (above | (equal & (equal.cumsum(dim=1) <= left))).nonzero()[:, 1].view_as(places)
    places = places.sort(dim=1).values
    largest, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return largest, places.gather(1, order)

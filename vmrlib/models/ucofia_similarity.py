"""How alike a text and a video are, three times: UCoFiA's similarities (section 5 of its specification).

    video and sentence     one cosine
    frames and sentence    F cosines, brought together by interaction
    patches and words      P x W products, brought together twice: words then patches, patches then words

Interaction (ISA) of scores c with a learnt square matrix M, which starts as the identity:
p = softmax(c / tau), q = softmax(p M / tau), ISA(c) = sum_i q_i c_i; the softmax of a softmax is meant.

What depends on one side alone is computed once (`TextSide`, `VideoSide`); pairs are compared in blocks, so
that nothing of size texts x videos x words x patches is ever there, in training neither: a block is computed
again in the backward pass. The temperature of 0.01 enters the fine scores with the words, before the product.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vmrlib.models.precision import in_full_precision


class TextSide(NamedTuple):
    """What texts bring to every comparison.

    sentence: of norm 1. mapped: the same times G0. words: each of norm 1, times L0.
    """

    sentence: Float[Tensor, "A D"]
    mapped: Float[Tensor, "A D"]
    words: Float[Tensor, "A W D"]


class VideoSide(NamedTuple):
    """What videos bring to every comparison.

    mapped: the video's vector, of norm 1, times G1. frames: each of norm 1. patches: times L1, of any norm.
    """

    mapped: Float[Tensor, "B D"]
    frames: Float[Tensor, "B F D"]
    patches: Float[Tensor, "B P D"]


@dataclass(frozen=True)
class Reference:
    """Texts and videos that Sinkhorn biases are taken from, with their ids; training queries as a rule."""

    texts: TextSide | None = None
    text_ids: Sequence[str] = ()
    videos: VideoSide | None = None
    video_ids: Sequence[str] = ()


def joined(sides: list):
    """The texts, or the videos, of several batches as one side."""
    return type(sides[0])(*map(torch.cat, zip(*sides, strict=True)))


def blocks(side, size: int) -> Iterator:
    """A side in parts of `size` texts or videos."""
    for parts in zip(*(part.split(size) for part in side), strict=True):
        yield type(side)(*parts)


def weights(
    scores: Float[Tensor, "..."], matrix: Float[Tensor, "n n"], temperature: float, dim: int = -1
) -> Float[Tensor, "..."]:
    """q along the last axis, or the one before it; scores are already divided by temperature."""
    shares = scores.softmax(dim)
    mixed = shares @ (matrix / temperature) if dim == -1 else (matrix / temperature).T @ shares
    return mixed.softmax(dim)


def interact(
    scores: Float[Tensor, "..."], matrix: Float[Tensor, "n n"], temperature: float, dim: int = -1
) -> Float[Tensor, "..."]:
    """sum_i q_i s_i along such an axis, of such scores: what comes out is divided by temperature, too."""
    shares = weights(scores, matrix, temperature, dim)
    return (shares * scores if torch.is_grad_enabled() else shares.mul_(scores)).sum(dim)


class Similarity(nn.Module):
    """The three similarities of all pairs of texts and videos."""

    def __init__(self, frames: int, words: int, patches: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.frames = nn.Parameter(torch.eye(frames))
        self.words_first, self.patches_second = (
            nn.Parameter(torch.eye(words)),
            nn.Parameter(torch.eye(patches)),
        )
        self.patches_first, self.words_second = (
            nn.Parameter(torch.eye(patches)),
            nn.Parameter(torch.eye(words)),
        )

    def forward(
        self, texts: TextSide, videos: VideoSide, scale: Float[Tensor, ""], block: int
    ) -> Float[Tensor, "3 A B"]:
        """Similarities of video, frames and patches; `block` texts and as many videos at a time."""
        rows, columns = [], list(blocks(videos, block))
        for some in blocks(texts, block):
            row = [self.remembered(some, others, scale) for others in columns]
            rows.append(torch.cat(row, dim=2))
        return torch.cat(rows, dim=1)

    def remembered(self, texts: TextSide, videos: VideoSide, scale: Tensor) -> Float[Tensor, "3 a b"]:
        """A block of which only what went in is kept for the backward pass: that computes it again."""
        if not torch.is_grad_enabled():
            return self.block(texts, videos, scale)
        inputs = (*texts, *videos, scale, *self.matrices)
        return Recomputed.apply(partial(levels_of_block, self.temperature), *inputs)

    def block(self, texts: TextSide, videos: VideoSide, scale: Tensor) -> Float[Tensor, "3 a b"]:
        """All three similarities of some texts with some videos."""
        return levels_of_block(self.temperature, *texts, *videos, scale, *self.matrices)

    def compile_blocks(self) -> None:
        """Lets blocks that need no gradient go through torch.compile: faster after a minute of compiling.

        It needs a C++ compiler, on a GPU Triton; a block of another size, as the last one, is compiled, too.
        """
        self.block = torch.compile(self.block, dynamic=False)

    @property
    def matrices(self) -> tuple[nn.Parameter, ...]:
        """As `levels_of_block` takes them."""
        words_first, patches_second = self.words_first, self.patches_second
        return self.frames, words_first, patches_second, self.patches_first, self.words_second


class Recomputed(torch.autograd.Function):
    """A function of tensors that keeps nothing but these: its backward pass computes it a second time."""

    @staticmethod
    def forward(ctx, function: Callable, *inputs: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple:
        wanted = ctx.needs_input_grad[1:]
        inputs = [
            each.detach().requires_grad_(needed)
            for each, needed in zip(ctx.saved_tensors, wanted, strict=True)
        ]
        with torch.enable_grad():
            output = ctx.function(*inputs)
        found = iter(torch.autograd.grad(output, [each for each in inputs if each.requires_grad], gradient))
        return None, *(next(found) if needed else None for needed in wanted)


@in_full_precision
def levels_of_block(
    tau: float,
    sentence: Float[Tensor, "a D"],
    mapped: Float[Tensor, "a D"],
    words: Float[Tensor, "a W D"],
    video: Float[Tensor, "b D"],
    frames: Float[Tensor, "b F D"],
    patches: Float[Tensor, "b P D"],
    scale: Float[Tensor, ""],
    frames_matrix: Float[Tensor, "F F"],
    *fine_matrices: Float[Tensor, "_ _"],
) -> Float[Tensor, "3 a b"]:
    """Similarities of video, frames and patches."""
    whole = (scale * mapped) @ video.T
    # a few numbers a pair, a hundred times as large as the fine level: the temperature stays out of them
    cosines = (sentence @ frames.flatten(0, 1).T).unflatten(1, frames.shape[:2])
    by_frame = (scale * weights(cosines / tau, frames_matrix, tau) * cosines).sum(dim=-1)
    return torch.stack([whole, by_frame, fine_level(tau, words, patches, *fine_matrices)])


def fine_level(
    tau: float,
    words: Float[Tensor, "a W D"],
    patches: Float[Tensor, "b P D"],
    words_first: Float[Tensor, "W W"],
    patches_second: Float[Tensor, "P P"],
    patches_first: Float[Tensor, "P P"],
    words_second: Float[Tensor, "W W"],
) -> Float[Tensor, "a b"]:
    """Patches and words, both ways; it has no logit scale, and the patches' norms count."""
    (a, W), (b, P) = words.shape[:2], patches.shape[:2]
    products = (words.flatten(0, 1) / tau) @ patches.flatten(0, 1).T  # (a W, b P)
    with_words = products.view(a, W, b * P)  # no copy: both ways read the same scores
    per_patch = interact(with_words, words_first, tau, dim=-2).view(a, b, P)
    per_word = interact(products.view(a * W * b, P), patches_first, tau)
    per_word = per_word.view(a, W, b).transpose(1, 2).contiguous()
    both = interact(per_patch, patches_second, tau) + interact(per_word, words_second, tau)
    return both * (tau / 2)

"""One vector for a video: UCoFiA's temporal encoder and its mean over frames (section 3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmrlib.models.attention import NORM_EPS, split_heads

HIDDEN = -1e6  # what a padded frame's logit gets; finite, so that a video of padding alone gives numbers


class TemporalBlock(nn.Module):
    """A block of CLIP's text encoder: norms first, gelu as x sigmoid(1.702 x); their epsilon is 1e-12."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_ffn = nn.LayerNorm(dim, NORM_EPS), nn.LayerNorm(dim, NORM_EPS)
        self.projections, self.dense = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)  # query, key, value
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(
        self, states: Float[Tensor, "B F D"], bias: Float[Tensor, "#B 1 1 F"]
    ) -> Float[Tensor, "B F D"]:
        parts = self.projections(self.norm_in(states)).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        states = states + self.dense(mixed.transpose(1, 2).flatten(2))
        hidden = self.widen(self.norm_ffn(states))
        return states + self.narrow(hidden * torch.sigmoid(1.702 * hidden))


class TemporalEncoder(nn.Module):
    """Frame features that know their neighbours: blocks over frames with positions, added to the frames."""

    def __init__(self, dim: int, heads: int, layers: int, positions: int):
        super().__init__()
        self.positions = nn.Parameter(0.01 * torch.randn(positions, dim))
        self.blocks = nn.ModuleList(TemporalBlock(dim, heads) for _ in range(layers))

    def encode(self, frames: Float[Tensor, "B F D"], mask: Bool[Tensor, "B F"]) -> Float[Tensor, "B F D"]:
        """What the blocks make of the frames; nobody attends to padding, but padding attends."""
        states = frames + self.positions[: frames.shape[1]]
        bias = torch.where(mask, 0.0, HIDDEN)[:, None, None]
        for block in self.blocks:
            states = block(states, bias)
        return states

    def forward(self, frames: Float[Tensor, "B F D"], mask: Bool[Tensor, "B F"]) -> Float[Tensor, "B F D"]:
        return self.encode(frames, mask) + frames


def video_vector(frames: Float[Tensor, "B F D"], mask: Bool[Tensor, "B F"]) -> Float[Tensor, "B D"]:
    """The mean of the frames' directions over the real frames, scaled to norm 1.

    Of a video without a real frame it is zero; the released code has NaN there.
    """
    directions = F.normalize(frames, dim=-1) * mask[..., None]
    return F.normalize(directions.sum(dim=1) / mask.sum(dim=1).clamp_min(1)[:, None], dim=-1)

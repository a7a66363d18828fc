"""Attention between a video and a sentence, one layer at a time.

The two-stream layer is MSAT's (Zhang et al., CVPR 2021; read in mxingzhang90/MSAT at d9a467c): each stream
asks itself and the other one, with queries, keys and values of its own for each of the two questions, and one
softmax decides between all the answers.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

NORM_EPS = 1e-12
PADDED = -1e6  # added to the logits of padding words; it is finite, so that nothing ever becomes NaN


def position_table(positions: int, dim: int) -> Float[Tensor, "positions dim"]:
    """The fixed sinusoid of MSAT: sin in even columns, cos in odd ones.

    The angle of position p in column k is 2 pi (p / positions) / 10000^(2 floor(k / 2) / dim): the usual
    angles (Vaswani et al. 2017, section 3.5), but squeezed, so that the whole table is one turn of the first
    column.
    """
    turn = 2 * math.pi * torch.arange(positions, dtype=torch.float64) / positions
    column = torch.arange(dim, dtype=torch.float64).div(2, rounding_mode="floor") * 2
    angle = turn[:, None] / 10000 ** (column / dim)
    return torch.where(torch.arange(dim) % 2 == 0, angle.sin(), angle.cos()).float()


def word_bias(word_mask: Bool[Tensor, "B L"], dtype: torch.dtype) -> Float[Tensor, "B 1 1 L"]:
    """What is added to the logits of every word as a key: nothing, or -1e6 (fp16: its least) for padding."""
    padded = max(PADDED, torch.finfo(dtype).min)
    return torch.zeros_like(word_mask, dtype=dtype).masked_fill(~word_mask, padded)[:, None, None]


def attention_share(
    weights: Float[Tensor, "H X K"], asking: Bool[Tensor, " X"], keys: Bool[Tensor, " K"]
) -> Float[Tensor, " H"]:
    """How much of their attention the tokens that ask give to these keys, on average; 0 if nobody asks."""
    rows = weights[:, asking][:, :, keys].sum(dim=2)
    return rows.sum(dim=1) / max(1, rows.shape[1])


def split_heads(states: Float[Tensor, "B X d"], heads: int) -> Float[Tensor, "B H X dh"]:
    """The d features of every token as `heads` vectors of d / heads."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


class JointAttention(nn.Module):
    """One softmax over a stream's own tokens and those of the other stream (MSAT, section 3.2).

    logits = [q k^T ; q' k'^T] / sqrt(d / H) over the keys of both streams, own keys first.
    """

    def __init__(self, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout

    def forward(
        self,
        queries: tuple[Float[Tensor, "B X d"], Float[Tensor, "B X d"]],
        keys: tuple[Float[Tensor, "B X d"], Float[Tensor, "B Y d"]],
        values: tuple[Float[Tensor, "B X d"], Float[Tensor, "B Y d"]],
        bias: Float[Tensor, "B 1 1 X+Y"],
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B X d"], Float[Tensor, "B H X X+Y"] | None]:
        """The mixed values, and the weights if asked for; each pair is (for own keys, for the other's)."""
        own_q, other_q = (split_heads(part, self.heads) for part in queries)
        own_k, other_k = (split_heads(part, self.heads) for part in keys)
        value = torch.cat([split_heads(part, self.heads) for part in values], dim=2)
        scale = own_q.shape[-1] ** -0.5
        if need_weights:
            logits = torch.cat([own_q @ own_k.mT, other_q @ other_k.mT], dim=-1) * scale + bias
            weights = logits.softmax(dim=-1)
            mixed = F.dropout(weights, self.dropout, self.training) @ value
        else:
            # The same in one fused call: a query [q | q'] meets keys [k | 0] and [0 | k'].
            weights = None
            query = torch.cat([own_q, other_q], dim=-1)
            width = own_q.shape[-1]
            key = torch.cat([F.pad(own_k, (0, width)), F.pad(other_k, (width, 0))], dim=2)
            value = F.pad(value, (0, width))  # the fused kernels want values as wide as keys
            mixed = F.scaled_dot_product_attention(
                query, key, value, bias, self.dropout if self.training else 0.0, scale=scale
            )[..., :width]
        return mixed.transpose(1, 2).flatten(2), weights


class StreamOutput(nn.Module):
    """What a stream makes of its mixed values: two residual steps, each normalised afterwards (post-LN)."""

    def __init__(self, dim: int, dim_ffn: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim, NORM_EPS)
        self.widen, self.narrow = nn.Linear(dim, dim_ffn), nn.Linear(dim_ffn, dim)
        self.ffn_norm = nn.LayerNorm(dim, NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, mixed: Float[Tensor, "B X d"], states: Float[Tensor, "B X d"]
    ) -> Float[Tensor, "B X d"]:
        """The stream's new states."""
        states = self.attention_norm(self.dropout(self.dense(mixed)) + states)
        return self.ffn_norm(self.dropout(self.narrow(F.gelu(self.widen(states)))) + states)


class TwoStreamLayer(nn.Module):
    """One layer of MSAT's encoder: words and video points look at themselves and at each other.

    Both streams read the states from before the layer. The six things that are computed from a stream's
    states (q, q', k, v for itself; k', v' for the other stream) are one matrix product.
    """

    def __init__(self, dim: int, heads: int, dim_ffn: int, dropout: float):
        super().__init__()
        self.from_words, self.from_video = nn.Linear(dim, 6 * dim), nn.Linear(dim, 6 * dim)
        self.attention = JointAttention(heads, dropout)
        self.words_out = StreamOutput(dim, dim_ffn, dropout)
        self.video_out = StreamOutput(dim, dim_ffn, dropout)

    def forward(
        self,
        words: Float[Tensor, "B L d"],
        video: Float[Tensor, "B T d"],
        bias: Float[Tensor, "B 1 1 L"],
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """New states of words and video, and the weights of both (own keys first) if asked for."""
        w_query, w_query_video, w_key, w_value, w_key_for_video, w_value_for_video = self.from_words(
            words
        ).chunk(6, dim=-1)
        v_query, v_query_words, v_key, v_value, v_key_for_words, v_value_for_words = self.from_video(
            video
        ).chunk(6, dim=-1)
        points = bias.new_zeros(*bias.shape[:3], video.shape[1])  # video points are never padding
        words_mixed, words_weights = self.attention(
            (w_query, w_query_video),
            (w_key, v_key_for_words),
            (w_value, v_value_for_words),
            torch.cat([bias, points], dim=-1),
            need_weights,
        )
        video_mixed, video_weights = self.attention(
            (v_query, v_query_words),
            (v_key, w_key_for_video),
            (v_value, w_value_for_video),
            torch.cat([points, bias], dim=-1),
            need_weights,
        )
        return (
            self.words_out(words_mixed, words),
            self.video_out(video_mixed, video),
            words_weights,
            video_weights,
        )

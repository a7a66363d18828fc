"""The asymmetric co-attention network (arXiv 2312.07435): MSAT with another encoder.

Read beside the code its authors released (love481/Cross-modal-Contrastive-Learning-with-Asymmetric-Co-
attention-Network-for-Video-Moment-Retrieval at 552d625); sections 7 and 8 of the specification. A video has
many more tokens than a sentence, so most blocks spend nothing on it:

    A  asymmetric co-attention: the words ask themselves, then the video; the video passes by untouched
    C  connected attention: [video ; words] ask themselves, with one set of weights for both

and `A A C`, three times, is the encoder. Embedding, heads, targets, losses and inference are MSAT's, and so
is the contrastive loss (`vtc.py`), which the released model always has. A third block, for comparison:

    B  both ways: as A, and the video asks itself, then the words, with weights of its own
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vmrlib.models.attention import NORM_EPS, split_heads, word_bias
from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.vtc import VTCConfig


@dataclass(frozen=True)
class ACBConfig(MSATConfig):
    """Sizes and constants of one model, as of MSAT, but for what its layers are.

    group: one letter for each block, A, B or C; not A at the end, where the video would not see the words.
    layers: how many such groups.
    ffn: a feed-forward step in every block, as the paper draws it; the released code has none.
    residual: the connected block adds its video to what skipped the blocks before, as mPLUG does; the
    released code replaces it.
    """

    group: str = "AAC"
    layers: int = 3
    ffn: bool = False
    residual: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.group or set(self.group) - set("ABC"):
            raise ValueError(f"group: expected letters A, B and C, found {self.group!r}")
        if self.group[-1] == "A":
            raise ValueError(f"group: {self.group!r} ends with A, whose words the video never sees")

    @property
    def blocks(self) -> str:
        """The letters of all blocks, in order."""
        return self.group * self.layers

    @property
    def title(self) -> str:
        return "MSAT + ACB + VTC" if self.contrast else "MSAT + ACB"

    def build(self) -> "ACB":
        """The model of this configuration, with fresh weights."""
        return ACB(self)

    @classmethod
    def tacos(cls, **changes) -> "ACBConfig":
        """As released for TACoS.

        22,484,977 parameters that learn (21,434,352 with `contrast=None`), and 1,050,624 of the momentum
        encoders. The release counts 1,026 more, of an `itm_head` that it never uses.
        """
        values = {"weights": (0.5, 0.5, 100.0, 0.5), "heads": 16, "contrast": VTCConfig(weight=0.5)}
        return super().tacos(**(values | changes))

    @classmethod
    def activitynet(cls, **changes) -> "ACBConfig":
        """As released for ActivityNet Captions.

        25,370,607 parameters that learn (24,319,982 with `contrast=None`), and 1,050,624 of the momentum
        encoders. The release counts 1,026 more, of an `itm_head` that it never uses.
        """
        values = {"weights": (0.5, 0.5, 10.0, 0.25), "heads": 32, "contrast": VTCConfig(weight=0.25)}
        return super().activitynet(**(values | changes))

    @classmethod
    def stage(cls, **changes) -> "ACBConfig":
        """MSAT's preset for Stage with two groups for its two layers, and its contrastive loss."""
        return super().stage(**({"contrast": VTCConfig.stage()} | changes))


class Attention(nn.Module):
    """Multi-head attention with its residual, normalised afterwards: LN(dropout(Wo mixed) + states)."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.heads, self.dropout = config.heads, nn.Dropout(config.dropout)
        self.projections = nn.Linear(config.dim, 3 * config.dim)  # query, key, value
        self.dense = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim, NORM_EPS)

    def forward(
        self,
        states: Float[Tensor, "B X d"],
        asked: Float[Tensor, "B Y d"] | None = None,
        bias: Float[Tensor, "B 1 1 Y"] | None = None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B X d"], Float[Tensor, "B H X Y"] | None]:
        """New states, and the weights if wanted. Without `asked` the states ask themselves."""
        if asked is None:
            query, key, value = self.projections(states).chunk(3, dim=-1)
        else:
            dim = states.shape[-1]
            weight, offset = self.projections.weight, self.projections.bias
            query = F.linear(states, weight[:dim], offset[:dim])
            key, value = F.linear(asked, weight[dim:], offset[dim:]).chunk(2, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        if need_weights:
            logits = query @ key.mT * query.shape[-1] ** -0.5
            weights = (logits if bias is None else logits + bias).softmax(dim=-1)
            mixed = self.dropout(weights) @ value
        else:
            weights, rate = None, self.dropout.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.norm(self.dropout(self.dense(mixed)) + states), weights


class FeedForward(nn.Module):
    """LN(dropout(W2 gelu(W1 x)) + x)."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.widen, self.narrow = nn.Linear(config.dim, config.dim_ffn), nn.Linear(config.dim_ffn, config.dim)
        self.norm, self.dropout = nn.LayerNorm(config.dim, NORM_EPS), nn.Dropout(config.dropout)

    def forward(self, states: Float[Tensor, "B X d"]) -> Float[Tensor, "B X d"]:
        return self.norm(self.dropout(self.narrow(F.gelu(self.widen(states)))) + states)


class CoAttention(nn.Module):
    """Tokens ask themselves, then those of the other modality."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.own, self.other = Attention(config), Attention(config)
        self.ffn = FeedForward(config) if config.ffn else nn.Identity()

    def forward(self, states, others, own_bias, other_bias, need_weights):
        """New states, and the weights of both steps, (B, H, X, X) and (B, H, X, Y)."""
        states, own_weights = self.own(states, bias=own_bias, need_weights=need_weights)
        states, other_weights = self.other(states, others, other_bias, need_weights)
        return self.ffn(states), (own_weights, other_weights)


class AsymmetricBlock(nn.Module):
    """A: the words change, the video does not."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.words = CoAttention(config)

    def forward(self, words, video, bias, need_weights=False):
        """Words (B, L, d), video (B, T, d) and the weights of the words over words and over points."""
        words, weights = self.words(words, video, bias, None, need_weights)
        return words, video, weights


class SymmetricBlock(nn.Module):
    """B: both change; each reads the other's states from before the block."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.words, self.video = CoAttention(config), CoAttention(config)

    def forward(self, words, video, bias, need_weights=False):
        """Words, video and four weights: words over words and points, points over points and words."""
        new_words, by_words = self.words(words, video, bias, None, need_weights)
        new_video, by_video = self.video(video, words, None, bias, need_weights)
        return new_words, new_video, by_words + by_video


class ConnectedBlock(nn.Module):
    """C: [video ; words] ask themselves; in the released stack the one place where the video sees words."""

    def __init__(self, config: ACBConfig):
        super().__init__()
        self.residual = config.residual
        self.attention = Attention(config)
        self.ffn = FeedForward(config) if config.ffn else nn.Identity()

    def forward(self, words, video, bias, need_weights=False):
        """Words, video and one matrix of weights, (B, H, T + L, T + L), video first."""
        points = video.shape[1]
        tokens, weights = self.attention(
            torch.cat([video, words], dim=1), bias=F.pad(bias, (points, 0)), need_weights=need_weights
        )
        new_video, words = self.ffn(tokens).split([points, words.shape[1]], dim=1)
        return words, new_video + video if self.residual else new_video, (weights,)


BLOCKS = {"A": AsymmetricBlock, "B": SymmetricBlock, "C": ConnectedBlock}


def count_encoder(blocks: str, d: int, ffn: bool = False) -> int:
    """Parameters of blocks A and C of width d, with feed-forward steps of width d or without."""
    matrix, norm = d * d + d, 2 * d
    step = 2 * matrix + norm if ffn else 0
    return sum({"A": 2, "C": 1}[letter] * (4 * matrix + norm) + step for letter in blocks)


def block_flops(letter: str, points: int, words: int, d: int) -> int:
    """FLOPs of the matrix products of one block A or C of width d of one query; no feed-forward step."""

    def attention(asking: int, asked: int) -> int:
        return 4 * (asking + asked) * d * d + 4 * asking * asked * d

    if letter == "A":
        return attention(words, words) + attention(words, points)
    return attention(points + words, points + words)


class ACB(MSAT):
    """MSAT whose layers are blocks of (mostly) asymmetric co-attention."""

    def build_encoder(self, config: ACBConfig) -> nn.ModuleList:
        return nn.ModuleList(BLOCKS[letter](config) for letter in config.blocks)

    def encode(self, words: Tensor, video: Tensor, word_mask: Tensor, attention: bool = False):
        """New states of words and points after all blocks, and the tuple of weights of every block."""
        bias, weights = word_bias(word_mask, words.dtype), []
        for block in self.layers:
            words, video, of_block = block(words, video, bias, attention)
            weights.append(of_block)
        return words, video, weights

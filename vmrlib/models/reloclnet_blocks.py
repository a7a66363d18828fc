"""Parts of ReLoCLNet's encoders of sentences and videos (section 2 of its specification)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmrlib.models.attention import split_heads

MASKED_ATTENTION = -10000.0  # added to the logits of padding, as in BERT
MASKED = -1e10  # the score of padding


def masked(scores: Tensor, mask: Tensor) -> Tensor:
    """The scores with -1e10 where the mask is False; in half precision with its least number."""
    return scores.masked_fill(~mask, max(MASKED, torch.finfo(scores.dtype).min))


def check_mask(name: str, mask: Tensor, to_the_end: bool = False) -> None:
    """Raises ValueError for a mask of numbers, or, with `to_the_end`, one that has holes."""
    if mask.dtype != torch.bool:
        raise ValueError(f"{name}: expected True where there is data, else False, found {mask.dtype}")
    if to_the_end and bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        row = int((mask[:, 1:] & ~mask[:, :-1]).any(dim=1).nonzero()[0])
        raise ValueError(f"{name}: row {row} has data behind padding")


class InputProjection(nn.Module):
    """ReLU(W dropout(LN(x)) + b): the norm comes first, over the raw features."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.norm, self.dropout, self.linear = (
            nn.LayerNorm(dim_in),
            nn.Dropout(dropout),
            nn.Linear(dim_in, dim),
        )

    def forward(self, features: Float[Tensor, "B X D"]) -> Float[Tensor, "B X d"]:
        return self.linear(self.dropout(self.norm(features))).relu()


class Positions(nn.Module):
    """dropout(LN(x + E)) with a learnt row of E for every place."""

    def __init__(self, places: int, dim: int, dropout: float):
        super().__init__()
        self.table, self.norm, self.dropout = (
            nn.Embedding(places, dim),
            nn.LayerNorm(dim),
            nn.Dropout(dropout),
        )

    def forward(self, states: Float[Tensor, "B X d"]) -> Float[Tensor, "B X d"]:
        """The states with their places; ValueError where there are more than places."""
        length, places = states.shape[1], self.table.num_embeddings
        if length > places:
            raise ValueError(f"a sequence of {length}, but the model has positions for {places}")
        return self.dropout(self.norm(states + self.table.weight[:length]))


class Attention(nn.Module):
    """Multi-head attention without a projection of what comes out.

    Three layers and not one product: the optimiser clips the gradient of each by itself.
    """

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))

    def forward(
        self, asking: Float[Tensor, "B X d"], asked: Float[Tensor, "B Y d"], mask: Bool[Tensor, "B _ Y"]
    ) -> Float[Tensor, "B X d"]:
        """The mixed values. A row whose mask is False throughout asks everything, padding, too."""
        # Not -inf, and in this precision: that is what rows of padding are made of.
        bias = torch.zeros_like(mask, dtype=asking.dtype).masked_fill(~mask, MASKED_ATTENTION)[:, None]
        query, key, value = (
            split_heads(layer(states), self.heads)
            for layer, states in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)  # (B, H, X, dh)
        return mixed.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """LN(dropout(W attention(x, x) + b) + x); no feed-forward step follows."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.attention = Attention(dim, heads, dropout)
        self.dense, self.norm, self.dropout = nn.Linear(dim, dim), nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, states: Float[Tensor, "B X d"], mask: Bool[Tensor, "B X"]) -> Float[Tensor, "B X d"]:
        mixed = self.attention(states, states, mask[:, None])
        return self.norm(self.dropout(self.dense(mixed)) + states)


class Stream(nn.Module):
    """What clips, or subtitles, go through; `query_out` is the sentence's view of them for spans.

    asks: whether there is another stream to ask.
    """

    def __init__(
        self, dim_in: int, dim: int, heads: int, dropout: float, input_dropout: float, asks: bool = True
    ):
        super().__init__()
        sizes = (dim, heads, dropout)
        self.input = InputProjection(dim_in, dim, input_dropout)
        self.first, self.second, self.third = Block(*sizes), Block(*sizes), Block(*sizes)
        self.query_out = nn.Linear(dim, dim)
        if asks:
            self.cross, self.cross_norm = Attention(*sizes), nn.LayerNorm(dim)


class QueryEncoder(nn.Module):
    """Words to states, and states to one vector for each stream of the video (modular vectors)."""

    def __init__(
        self,
        dim_words: int,
        longest: int,
        streams: int,
        dim: int,
        heads: int,
        dropout: float,
        input_dropout: float,
    ):
        super().__init__()
        self.input = InputProjection(dim_words, dim, input_dropout)
        self.positions = Positions(longest, dim, dropout)
        self.first, self.second = Block(dim, heads, dropout), Block(dim, heads, dropout)
        self.pooling = nn.Linear(dim, streams, bias=False)

    def forward(
        self, words: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B L d"], Float[Tensor, "B L S"], Float[Tensor, "B S d"]]:
        """States of the words, their weights in the vector of each stream, and these vectors."""
        check_mask("word_mask", mask)
        states = self.second(self.first(self.positions(self.input(words)), mask), mask)
        weights = masked(self.pooling(states), mask[..., None]).softmax(dim=1)
        return states, weights, weights.mT @ states

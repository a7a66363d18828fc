"""The contrastive losses of ReLoCLNet as its authors' slides write them (section 12 of the specification).

The released code has simpler ones (`reloclnet_losses.py`). The slides leave open what f, g and C are; here
f and g are one linear layer each, for every stream, and C is a bilinear form with a bias.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmrlib.models.precision import in_full_precision
from vmrlib.models.reloclnet_blocks import masked


class PooledContrast(nn.Module):
    """f(c) g(q) of sentences and pooled videos in each stream, for VideoCL (`contrast_of_pairs`).

    c is a sum of the clips with learnt weights that sum to 1.
    """

    def __init__(self, dim: int, streams: int):
        super().__init__()
        self.pooling = nn.ModuleList(nn.Linear(dim, 1) for _ in range(streams))
        self.video_out = nn.ModuleList(nn.Linear(dim, dim) for _ in range(streams))
        self.query_out = nn.ModuleList(nn.Linear(dim, dim) for _ in range(streams))

    def pooled(
        self, middle: Float[Tensor, "B S T d"], mask: Bool[Tensor, "B T"]
    ) -> list[Float[Tensor, "B d"]]:
        """The vector of each video in each stream."""
        vectors = []
        for pooling, states in zip(self.pooling, middle.unbind(dim=1), strict=True):
            weights = masked(pooling(states), mask[..., None]).softmax(dim=1)  # (B, T, 1)
            vectors.append((weights.mT @ states)[:, 0])
        return vectors

    @in_full_precision
    def forward(
        self, vectors: Float[Tensor, "Q S d"], middle: Float[Tensor, "V S T d"], mask: Bool[Tensor, "V T"]
    ) -> Float[Tensor, "S Q V"]:
        pairs = [
            self.query_out[s](vectors[:, s]) @ self.video_out[s](video).mT
            for s, video in enumerate(self.pooled(middle, mask))
        ]
        return torch.stack(pairs)


def contrast_of_pairs(logits: Float[Tensor, "S B B"]) -> Float[Tensor, ""]:
    """-log(positive / (positive + negatives)), the mean over streams and batch.

    Negatives of a pair are the rest of its row and its column. 0 for a batch of one, which has none.
    """
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    against = torch.cat([logits, logits.mT.masked_fill(own, -torch.inf)], dim=2)
    return (against.logsumexp(dim=2) - logits.diagonal(dim1=1, dim2=2)).mean()


class FrameDiscriminator(nn.Module):
    """C(q, h) = q^T W h + b for each stream: how much a clip has to do with the sentence, for FrameCL."""

    def __init__(self, dim: int, streams: int):
        super().__init__()
        self.forms = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(streams))
        self.bias = nn.Parameter(torch.zeros(streams))

    @in_full_precision
    def forward(
        self, vectors: Float[Tensor, "B S d"], middle: Float[Tensor, "B S T d"]
    ) -> Float[Tensor, "B S T"]:
        products = [
            torch.einsum("bd,btd->bt", F.linear(vectors[:, s], form.weight.mT), middle[:, s])
            for s, form in enumerate(self.forms)
        ]
        return torch.stack(products, dim=1) + self.bias[:, None]

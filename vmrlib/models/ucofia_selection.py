"""Which patches of a frame count: UCoFiA's scorers and the perturbed top-k (section 4 of its specification).

Every token of a frame gets a score; the k best patches are taken *softly*: noise is added to the scores many
times over, and a patch counts by how often it is among the k best (Cordonnier et al. 2021). Rows are ordered
by the patches' place in the frame, not by score, and the class token always comes first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vmrlib.models.precision import in_full_precision

SAMPLES, SIGMA = 500, 0.05  # draws of noise, and their standard deviation, as released


class FrameScorer(nn.Module):
    """Scores a token by itself and its frame's class token: the released checkpoint's scorer (train, v2t)."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.narrow = nn.Linear(dim, dim // 2, bias=False)
        self.mix = nn.Linear(2 * (dim // 2), dim // 2, bias=False)  # [token ; context]
        self.out = nn.Linear(dim // 2, 1, bias=False)

    def forward(self, tokens: Float[Tensor, "B F T D"]) -> Float[Tensor, "B F T"]:
        """Scores in -1..1 of all tokens, the class token (place 0) among them."""
        hidden = F.gelu(self.narrow(self.norm(tokens)))
        return self.scored(hidden, hidden[:, :, :1])

    def scored(self, hidden: Tensor, context: Tensor) -> Tensor:
        """tanh(b . gelu(C [hidden ; context])), the context's share computed once for all tokens."""
        of_token, of_context = self.mix.weight.chunk(2, dim=1)
        mixed = F.gelu(F.linear(hidden, of_token) + F.linear(context, of_context))
        return torch.tanh(self.out(mixed)).squeeze(-1)


class VideoScorer(FrameScorer):
    """Scores a token by itself, its class token and a sum over the frames: the first release's (eval_t2v).

    Padded frames are in the sum, too.
    """

    def __init__(self, dim: int):
        super().__init__(2 * dim)

    def forward(self, tokens: Float[Tensor, "B F T D"]) -> Float[Tensor, "B F T"]:
        both = torch.cat([tokens, tokens[:, :, :1].expand_as(tokens)], dim=-1)
        hidden = F.gelu(self.narrow(self.norm(both)))
        return self.scored(hidden, hidden[:, :, :1].sum(dim=1, keepdim=True))


SCORERS = {"frame": FrameScorer, "video": VideoScorer}


def top_places(scores: Float[Tensor, "... N"], k: int) -> Int[Tensor, "... k"]:
    """The places of the k largest scores, in rising order of the places."""
    return scores.topk(k, dim=-1, sorted=False).indices.sort(dim=-1).values


class PerturbedTopK(torch.autograd.Function):
    """How often each patch is the r-th of the k best of a frame, over draws of noise.

    Its gradient is the released one, dL/ds_j = sum_r G[r, j] / (S sigma) sum_n 1[idx_r^n = j] z_j^n: the
    diagonal of the perturbed optimiser's Jacobian. Neither indicators of single draws nor the noise are kept:
    counts, and counts weighted by noise, are all that both passes need.
    """

    @staticmethod
    def forward(ctx, scores, noise, k, sigma):
        """(R, k, N) from scores (R, N) and standard normal noise (R, S, N)."""
        noise = noise.to(scores)
        samples, places = noise.shape[1], top_places(scores[:, None] + sigma * noise, k)  # (R, S, k)
        drawn = noise.gather(2, places).transpose(1, 2)
        places = places.transpose(1, 2)
        empty = scores.new_zeros(len(scores), k, scores.shape[1])
        counts = empty.scatter_add(2, places, scores.new_ones(1).expand(places.shape))
        ctx.save_for_backward(empty.scatter_add(2, places, drawn) / (samples * sigma))
        return counts / samples

    @staticmethod
    def backward(ctx, gradient):
        (slope,) = ctx.saved_tensors
        return (gradient * slope).sum(dim=1), None, None, None


def perturbed_top_k(
    scores: Float[Tensor, "R N"], noise: Float[Tensor, "R S N"], k: int, sigma: float = SIGMA
) -> Float[Tensor, "R k N"]:
    """Shares by which patch j is the r-th (by place) of the k best; every row sums to 1."""
    return PerturbedTopK.apply(scores, noise, k, sigma)


class PatchSelection(nn.Module):
    """The class token and k soft patches of every frame.

    `generator` is where the noise comes from; None: the default generator of the scores' device, which
    `torch.manual_seed` seeds and a resumed training restores. `noisy_evaluation`: noise out of training, too.
    """

    def __init__(
        self,
        dim: int,
        patches: int,
        scorer: str = "frame",
        samples: int = SAMPLES,
        sigma: float = SIGMA,
        noisy_evaluation: bool = False,
    ):
        super().__init__()
        self.patches, self.samples, self.sigma = patches, samples, sigma
        self.noisy_evaluation = noisy_evaluation
        self.scorer = SCORERS[scorer](dim)
        self.generator: torch.Generator | None = None

    @in_full_precision
    def forward(
        self, tokens: Float[Tensor, "B F T D"], noise: Float[Tensor, "R S N"] | None = None
    ) -> Float[Tensor, "B P D"]:
        """F * (1 + k) vectors, frame by frame, class token first; not normalised.

        `noise` (B * F frames, samples, T - 1 patches), standard normal, is drawn where none is given. Without
        noise (evaluation) the k best patches themselves are taken. Raises ValueError for too few patches.
        """
        if tokens.shape[2] <= self.patches:
            raise ValueError(f"patches: {self.patches} of {tokens.shape[2] - 1} cannot be chosen")
        patches = tokens[:, :, 1:].flatten(0, 1)  # (R, N, D)
        scores = self.scorer(tokens)[:, :, 1:].flatten(0, 1)  # (R, N)
        if noise is None and (self.training or self.noisy_evaluation):
            noise = self.draw(scores)
        if noise is None:
            places = top_places(scores, self.patches)
            chosen = patches.gather(1, places[..., None].expand(-1, -1, patches.shape[-1]))
        else:
            chosen = perturbed_top_k(scores, noise, self.patches, self.sigma) @ patches
        chosen = chosen.unflatten(0, tokens.shape[:2])
        return torch.cat([tokens[:, :, :1], chosen], dim=2).flatten(1, 2)

    def draw(self, scores: Float[Tensor, "R N"]) -> Float[Tensor, "R S N"]:
        """Noise for these scores, made on their device; in float32, so that a seed means the same always."""
        shape = (len(scores), self.samples, scores.shape[1])
        return torch.randn(shape, generator=self.generator, device=scores.device)

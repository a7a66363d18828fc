"""MSAT's heads: what a boundary point is worth as start, end and middle, and what a moment is (section 3.3).

`msat_proposals.py` has other heads for moments, which describe them in another way.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class StageHead(nn.Module):
    """Three features and three scores of every boundary point: as a start, an end, a middle."""

    def __init__(self, dim: int, dim_head: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.features = nn.Linear(dim, 3 * dim)
        self.scores = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, dim_head),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(dim_head, 1),
            )
            for _ in ("start", "end", "middle")
        )

    def forward(
        self, video: Float[Tensor, "B T d"]
    ) -> tuple[Float[Tensor, "B T 3*d"], Float[Tensor, "B 3 T"]]:
        """Features start | end | middle, and the logits in the same order."""
        features = self.dropout(F.relu(self.features(self.dropout(video))))
        stages = zip(self.scores, features.chunk(3, dim=-1), strict=True)
        return features, torch.cat([score(stage) for score, stage in stages], dim=-1).transpose(1, 2)


class MomentHead(nn.Module):
    """Offsets and score of the moment (i, j) from [start_i ; middle_(i + j) // 2 ; end_j].

    The released code builds that vector for all T x T moments. But W [s ; m ; e] = W_s s + W_m m + W_e e:
    three products per point are enough, and a moment is a sum of three rows, computed only where somebody
    asks.
    """

    def __init__(self, dim: int, dim_head: int, dropout: float):
        super().__init__()
        self.hidden = nn.Linear(3 * dim, dim_head)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(dim_head, 3)

    def table(self, features: Float[Tensor, "B T stages"]) -> Float[Tensor, "B 3 T h"]:
        """W_s S, W_m M and W_e E of every point, from features in the order start | end | middle."""
        start, end, middle = features.chunk(3, dim=-1)
        # another order than the features'
        for_start, for_middle, for_end = self.hidden.weight.chunk(3, dim=1)
        return torch.stack(
            [
                F.linear(start, for_start, self.hidden.bias),
                F.linear(middle, for_middle),
                F.linear(end, for_end),
            ],
            dim=1,
        )

    def forward(
        self,
        table: Float[Tensor, "B 3 T h"],
        cells: Int[Tensor, "*K 2"],
        sample: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "*BK 3"]:
        """(start offset, end offset, score logit) of the same moments (i, j) in every sample, (B, K, 3).

        With `sample`, cell k belongs to that sample alone, and the result is (K, 3).
        """
        batch, _, points, width = table.shape
        start, end = cells.unbind(dim=-1)
        rows = torch.stack([start, points + (start + end) // 2, 2 * points + end])  # (3, K)
        if sample is None:
            sample = torch.arange(batch, device=table.device)[:, None]  # (B, 1)
            rows = rows[:, None]  # (3, 1, K)
        rows = rows + 3 * points * sample
        flat = table.reshape(-1, width)
        # index_select, because the backward pass of flat[rows] is several times slower
        hidden = sum(flat.index_select(0, part.flatten()) for part in rows)
        return self.out(self.dropout(F.relu(hidden))).view(*rows.shape[1:], 3)

"""Other ways to describe a moment (i, j), to see what MSAT's start, middle and end are worth.

Each head answers as `msat_heads.MomentHead` does and has the same inputs: the three features of every
point. It describes the moment by the mean or the maximum of its points' middle features (as 2D-TAN pools
clips), or by its two end points alone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class _Head(nn.Module):
    """The two layers that all heads share; `width` features describe a moment."""

    def __init__(self, width: int, dim_head: int, dropout: float):
        super().__init__()
        self.hidden = nn.Linear(width, dim_head)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(dim_head, 3)

    def answer(self, hidden: Tensor) -> Tensor:
        return self.out(self.dropout(F.relu(hidden)))


def _of(rows: Tensor, sample: Int[Tensor, " K"] | None, point: Int[Tensor, " K"]) -> Tensor:
    """Rows of these points: (B, K, h) in every sample, or (K, h) each from its own."""
    return rows[:, point] if sample is None else rows[sample, point]


class EndPointHead(_Head):
    """[start_i ; end_j]: MSAT's without the middle."""

    def __init__(self, dim: int, dim_head: int, dropout: float):
        super().__init__(2 * dim, dim_head, dropout)

    def table(self, features: Float[Tensor, "B T stages"]) -> Float[Tensor, "B T two_h"]:
        """W_s S and W_e E of every point."""
        start, end, _ = features.chunk(3, dim=-1)
        for_start, for_end = self.hidden.weight.chunk(2, dim=1)
        return torch.cat([F.linear(start, for_start, self.hidden.bias), F.linear(end, for_end)], dim=-1)

    def forward(self, table: Tensor, cells: Int[Tensor, "K 2"], sample: Tensor | None = None) -> Tensor:
        """As `msat_heads.MomentHead`."""
        start, end = table.chunk(2, dim=-1)
        return self.answer(_of(start, sample, cells[:, 0]) + _of(end, sample, cells[:, 1]))


class MeanHead(_Head):
    """The mean of the middle features of points i to j; sums of rows up to a point make it cheap."""

    def __init__(self, dim: int, dim_head: int, dropout: float):
        super().__init__(dim, dim_head, dropout)

    def table(self, features: Float[Tensor, "B T stages"]) -> Float[Tensor, "B T+1 h"]:
        """Sums of W M over the points before each one."""
        rows = F.linear(features.chunk(3, dim=-1)[2], self.hidden.weight)
        return F.pad(rows.cumsum(dim=1), (0, 0, 1, 0))

    def forward(self, table: Tensor, cells: Int[Tensor, "K 2"], sample: Tensor | None = None) -> Tensor:
        """As `msat_heads.MomentHead`; a moment that is reversed has the points between its ends, too."""
        first, last = cells.amin(dim=1), cells.amax(dim=1)
        inside = _of(table, sample, last + 1) - _of(table, sample, first)
        return self.answer(inside / (last - first + 1)[:, None] + self.hidden.bias)


class MaxHead(_Head):
    """The maximum of the middle features of points i to j, number by number."""

    def __init__(self, dim: int, dim_head: int, dropout: float):
        super().__init__(dim, dim_head, dropout)

    def table(self, features: Float[Tensor, "B T stages"]) -> Float[Tensor, "B T T d"]:
        """The maxima of all moments (first point, length): T times the memory of the other heads."""
        longest = rows = features.chunk(3, dim=-1)[2]
        table = [rows]
        for length in range(1, rows.shape[1]):
            longest = torch.maximum(longest[:, :-1], rows[:, length:])
            table.append(F.pad(longest, (0, 0, 0, length)))
        return torch.stack(table, dim=2)

    def forward(self, table: Tensor, cells: Int[Tensor, "K 2"], sample: Tensor | None = None) -> Tensor:
        """As `msat_heads.MomentHead`; a moment that is reversed has the points between its ends, too."""
        first = cells.amin(dim=1)
        length = cells.amax(dim=1) - first
        found = table[:, first, length] if sample is None else table[sample, first, length]
        return self.answer(self.hidden(found))


HEADS = {"endpoints": EndPointHead, "mean": MeanHead, "max": MaxHead}

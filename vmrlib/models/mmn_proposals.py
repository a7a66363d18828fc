"""The 2D map of MMN: which moments it holds, what describes them, and convolutions that know its holes.

The map comes from 2D-TAN (Zhang et al., AAAI 2020): cell (i, j) is the moment from the start of clip i to
the end of clip j. Long moments are sampled sparsely, so that most cells of a large map are empty.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def proposal_cells(cells: int, pooling_counts: tuple[int, ...]) -> Int[Tensor, "P 2"]:
    """The moments (i, j), i <= j, both clips included, in the order of i, then j (2D-TAN's sparse sampling).

    All moments of one clip; then level l = 0, 1, ... has `pooling_counts[l]` diagonals, each 2^l further from
    the main one, of which every 2^l-th cell is taken. On the CPU whatever the default device: a configuration
    asks how many there are.
    """
    chosen, offset = torch.eye(cells, dtype=torch.bool, device="cpu"), 0
    for level, count in enumerate(pooling_counts):
        step = 2**level
        for _ in range(count):
            offset += step
            start = torch.arange(0, max(0, cells - offset), step, device="cpu")
            chosen[start, start + offset] = True
    return chosen.nonzero()


def longest_offset(pooling_counts: tuple[int, ...]) -> int:
    """How many clips the longest moments end behind the clip in which they start."""
    return sum(count * 2**level for level, count in enumerate(pooling_counts))


class MomentPooling(nn.Module):
    """The largest value of clips i to j, both included, of each moment: what describes it before all else.

    The released code reaches the same by a chain of max-pooling layers. Here each moment is covered by two
    windows of 2^k clips, which may overlap, and each window by two of half its length: log2 N steps.
    """

    def __init__(self, cells: Int[Tensor, "P 2"], size: int, device: torch.device):
        """`cells`: the moments, on the CPU; `size`: N, how many clips there are."""
        super().__init__()
        start, end = cells.unbind(dim=1)
        lengths = end - start + 1
        self.levels = int(lengths.max()).bit_length()  # windows of 1, 2, ... 2^(levels - 1) clips
        widths = 2 ** torch.arange(self.levels, device="cpu")
        level = (lengths[:, None] >= widths).sum(dim=1) - 1
        counts = size + 1 - widths
        before = (counts.cumsum(0) - counts)[level]  # shorter windows, which stand before these in `forward`
        first, last = before + start, before + end + 1 - widths[level]
        self.register_buffer("first", first.to(device), persistent=False)
        self.register_buffer("last", last.to(device), persistent=False)

    def forward(self, features: Float[Tensor, "V C N"]) -> Float[Tensor, "V C P"]:
        """Of N clips, all the moments."""
        windows = [features]
        for level in range(1, self.levels):
            half, shorter = 2 ** (level - 1), windows[-1]
            windows.append(torch.maximum(shorter[..., :-half], shorter[..., half:]))
        every = torch.cat(windows, dim=-1)
        return torch.maximum(every[..., self.first], every[..., self.last])


def as_map(values: Float[Tensor, "*B P"], cells: Int[Tensor, "P 2"], size: int) -> Float[Tensor, "*B N N"]:
    """Values of the moments on the map of `size` x `size` cells, zeros where there is none."""
    flat = values.new_zeros(*values.shape[:-1], size * size)
    places = (cells[:, 0] * size + cells[:, 1]).expand(values.shape)
    return flat.scatter(-1, places, values).unflatten(-1, (size, size))


def window_shares(mask: Bool[Tensor, "N N"], kernel: int, layers: int) -> list[Float[Tensor, "_ _"]]:
    """What each layer's map is multiplied with: 1 / filled cells under the window, 0 where there are none.

    A cell counts as filled for the next layer where there was one under its window: the mask grows.
    """
    filled, shares = mask.float()[None, None], []
    window = filled.new_ones(1, 1, kernel, kernel)
    for padding in paddings(kernel, layers):
        count = F.conv2d(filled, window, padding=padding).round()
        filled = (count > 0).float()
        shares.append((filled / count.clamp_min(1))[0, 0])
    return shares


def paddings(kernel: int, layers: int) -> list[int]:
    """Of each convolution: the first one pads for all of them, so that the map grows and then shrinks."""
    return [(kernel - 1) * layers // 2] + [0] * (layers - 1)


class MaskedConvolutions(nn.Module):
    """L convolutions over the map, each divided by the number of filled cells under its window.

    Normalisation sees the whole padded map. Empty cells below the diagonal are filled by the first layers
    and read by the later ones; nothing sets them to zero again, here as in the released code.
    """

    def __init__(self, mask: Bool[Tensor, "N N"], dim_in: int, dim: int, kernel: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(dim if number else dim_in, dim, kernel, padding=padding)
            for number, padding in enumerate(paddings(kernel, layers))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(dim) for _ in range(layers))
        for number, share in enumerate(window_shares(mask, kernel, layers)):
            self.register_buffer(f"share{number}", share, persistent=False)

    def forward(self, maps: Float[Tensor, "V C N N"]) -> Float[Tensor, "V D N N"]:
        """The map after all layers, of the size it had."""
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            maps = F.relu(norm(layer(maps))) * getattr(self, f"share{number}")
        return maps

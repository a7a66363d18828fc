"""Where one shot of a video ends and the next one begins.

What moves changes a part of the picture, a cut nearly all of it. So a frame is described by the mean colours
of 8 x 8 cells, and the change from one frame to the next is one that seven of ten cells exceed.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vmrlib.features.decode import iter_clips

SIDE = 64  # pixels of the frames that are compared
CELLS = 8
CALM = 0.3  # share of the cells that may change less at a cut: a sky, a letter box
LEAST = 0.004  # change (of colours in 0..1) below which nothing is a cut
TIMES = 6.0  # how much more a cut changes than what is usual around it, as where the camera moves
AROUND = 12  # frames on either side that say what is usual


def cell_colours(frames: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, "N 8 8 3"]:
    """Mean colour (0..1) of each cell of each frame."""
    images = frames.permute(0, 3, 1, 2).float() / 255
    return F.adaptive_avg_pool2d(images, CELLS).permute(0, 2, 3, 1)


def find_cuts(colours: Float[Tensor, "N 8 8 3"]) -> list[int]:
    """Indices of the frames with which a new shot begins (never the first one)."""
    if len(colours) < 2:
        return []
    cells = (colours[1:] - colours[:-1]).abs().mean(dim=-1).flatten(1)
    change = cells.quantile(CALM, dim=1).numpy()
    usual = np.array([np.median(change[max(0, k - AROUND) : k + AROUND + 1]) for k in range(len(change))])
    return [int(k) + 1 for k in np.flatnonzero((change > LEAST) & (change > TIMES * usual))]


def video_cuts(video: str | Path, step: float = 1.0) -> list[float]:
    """When new shots of a video file begin (seconds), found in one frame every `step` seconds.

    A cut is placed half-way between the two frames, a multiple of `step`. Raises DecodeError for a file that
    cannot be read.
    """
    colours = [
        cell_colours(torch.from_numpy(frames[:, 0]))
        for _, frames in iter_clips(video, step, step, 1, SIDE, 32)
    ]
    return [step * frame for frame in find_cuts(torch.cat(colours))]

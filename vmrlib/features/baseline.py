"""Features without weights: where colours, edges and motion are in a clip.

Everything is computed by hand from four frames (`baseline:2`: two, in half the time), so that one can say
what each number means. The frame is cut into 4 x 4 cells, counted row by row. The 306 numbers are, in this
order:

    colour     16 x 3   mean red, green, blue
    hue        16 x 6   amount of red, yellow, green, cyan, blue, magenta
    edges      16 x 4   strength of edges at 0, 45, 90, 135 degrees
    change     16 x 1   difference between consecutive frames
    direction  16 x 4   the part of it that moves right, left, down, up
    drift       6 x 3   per hue: shift to the right, shift down, growth of the coloured area

A cell's four directions say that something moves there; the drift says which colour does, and since
what stands still cancels in it, it does so before any background.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmrlib.features.extractor import Extractor, ExtractorError
from vmrlib.features.pixels import resize

CELLS = 4
HUES = 6
SIDE = 64  # pixels
# Factors that bring the groups to the spread that colours have on Stage, about 0.2.
HUE_SCALE, EDGE_SCALE, CHANGE_SCALE, DIRECTION_SCALE, DRIFT_SCALE = 4.0, 4.0, 12.0, 36.0, 240.0


def cell_means(values: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B 16"]:
    """Mean over each of the 4 x 4 cells, row by row."""
    *batch, height, width = values.shape
    cells = F.avg_pool2d(values.reshape(-1, 1, height, width), (height // CELLS, width // CELLS))
    return cells.reshape(*batch, CELLS * CELLS)


def hue_maps(images: Float[Tensor, "N F 3 H W"]) -> Float[Tensor, "N F 6 H W"]:
    """How much of each hue a pixel has: its chroma, shared between the two nearest of six hues.

    Hue is the angle and chroma the length of a colour in the plane orthogonal to grey; grey has none.
    """
    red, green, blue = images.unbind(dim=2)
    x, y = red - (green + blue) / 2, math.sqrt(3) / 2 * (green - blue)
    hue = torch.atan2(y, x)[:, :, None]  # (N, F, 1, H, W)
    centres = torch.arange(HUES, device=images.device)[:, None, None] * (2 * math.pi / HUES)
    distance = (hue - centres + math.pi).remainder(2 * math.pi) - math.pi
    return F.relu(1 - distance.abs() * HUES / (2 * math.pi)) * torch.hypot(x, y)[:, :, None]


def gradients(
    grey: Float[Tensor, "N F H W"],
) -> tuple[Float[Tensor, "N F H W"], Float[Tensor, "N F H W"]]:
    """Central differences to the right and down; the border repeats its pixels."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    return (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (
        padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    ) / 2


def edges(right: Float[Tensor, "N F H W"], down: Float[Tensor, "N F H W"]) -> Float[Tensor, "N 64"]:
    """Root of the mean edge strength per cell and orientation, each shared between two orientations."""
    angle = torch.atan2(down, right)[:, :, None] * 2  # doubled: an edge has no sign
    centres = torch.arange(4, device=right.device)[:, None, None] * (math.pi / 2)
    distance = (angle - centres + math.pi).remainder(2 * math.pi) - math.pi
    share = F.relu(1 - distance.abs() * 2 / math.pi) * torch.hypot(right, down)[:, :, None]
    return (cell_means(share).mean(dim=1) + 1e-6).sqrt().transpose(1, 2).flatten(1)  # cell by cell


def motion(
    grey: Float[Tensor, "N F H W"], right: Float[Tensor, "N F H W"], down: Float[Tensor, "N F H W"]
) -> tuple[Float[Tensor, "N 16"], Float[Tensor, "N 64"]]:
    """Change per cell; and its part along the brightness gradient to the right, left, down and up.

    Where brightness rises to the right and falls in time, the picture moves right: the change is
    -(gradient . velocity), the equation of optical flow (Horn and Schunck 1981, eq. 1). Only the part
    across an edge can be seen, so a change counts for a direction as far as its gradient points there.
    """
    change = grey[:, 1:] - grey[:, :-1]
    right, down = (right[:, 1:] + right[:, :-1]) / 2, (down[:, 1:] + down[:, :-1]) / 2
    strength = torch.hypot(right, down) + 1e-3
    to_right, to_down = -change * right / strength, -change * down / strength
    parts = (F.relu(to_right), F.relu(-to_right), F.relu(to_down), F.relu(-to_down))
    amount = cell_means(change.abs()).mean(dim=1)
    directions = torch.stack([cell_means(part).mean(dim=1) for part in parts], dim=-1)  # (N, 16, 4)
    return amount, directions.flatten(1)


def drift(hues: Float[Tensor, "N F 6 H W"]) -> Float[Tensor, "N 18"]:
    """Per hue, from first to last frame: change of its moment in x, in y, and of its amount.

    A moment is the sum of amount times position, x and y in -1..1. What stands still cancels.
    """
    change = hues[:, -1] - hues[:, 0]  # (N, 6, H, W)
    y = torch.linspace(-1, 1, change.shape[-2], device=change.device)[:, None]
    x = torch.linspace(-1, 1, change.shape[-1], device=change.device)
    weights = (x, y, torch.ones_like(x))
    return torch.stack([(change * weight).mean(dim=(-2, -1)) for weight in weights], dim=-1).flatten(1)


class BaselineExtractor(Extractor):
    """306 hand-made features of colour, edges and motion from the frames of a clip, at least two."""

    name = "baseline"
    dim = CELLS * CELLS * (3 + HUES + 4 + 1 + 4) + 3 * HUES
    size = SIDE
    normalisation = "0..1"
    half_precision = False
    weights_sha256 = "none"

    def __init__(
        self,
        device: str | torch.device | None = None,
        seconds_per_clip: float = 1.0,
        stride: float | None = None,
        frames_per_clip: int = 4,
    ):
        if frames_per_clip < 2:
            raise ExtractorError(f"extractor baseline: motion needs 2 frames a clip, not {frames_per_clip}")
        self.frames_per_clip = frames_per_clip
        self.name = "baseline" if frames_per_clip == 4 else f"baseline:{frames_per_clip}"
        super().__init__(nn.Identity(), device, seconds_per_clip, stride)

    def features(self, frames: UInt8[Tensor, "N F H W 3"]) -> Float[Tensor, "N 306"]:
        """Features of clips, in the order given above."""
        # Half the resolution widens edges beyond the pixel or two that things move between two frames.
        images = F.avg_pool2d(resize(frames, self.size).flatten(0, 1), 2).unflatten(0, frames.shape[:2])
        grey = images.mean(dim=2)
        hues = hue_maps(images)
        right, down = gradients(grey)
        change, directions = motion(grey, right, down)
        parts = (
            cell_means(images).mean(dim=1).transpose(1, 2).flatten(1),
            cell_means(hues).mean(dim=1).transpose(1, 2).flatten(1) * HUE_SCALE,
            edges(right, down) * EDGE_SCALE,
            change * CHANGE_SCALE,
            directions * DIRECTION_SCALE,
            drift(hues) * DRIFT_SCALE,
        )
        return torch.cat(parts, dim=1)

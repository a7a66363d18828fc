"""Features without weights: what outline each colour has in the frame.

Walk around a shape, and note for each piece of the outline which way it faces. A circle faces everywhere, a
square four ways, a triangle three, whatever way they are turned. So for each of the six hues of
`baseline.hue_maps`, and for each k, the k-th harmonic of those directions,

    |sum over pixels of  m exp(i k theta)|  /  sum over pixels of  m

with m the strength of the edge of that hue and theta the way it faces, tells how much the outline repeats
every 360 / k degrees: k = 4, 8 for squares, 3, 6 for triangles. The 66 numbers are, hue by hue (6 x 11):

    length     the sum of m
    harmonics  k = 1, 2, 3, 4, 5, 6, 8, 10
    area       how much of the frame has the hue
    roundness  length squared over area: small for discs, large for stars

Two things of one colour are seen as one. The magnitude of a harmonic does not change when a shape turns or
moves; these are Fourier descriptors (Zahn and Roskies 1972) of an outline that nobody has to trace.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmrlib.features.baseline import HUES, SIDE, gradients, hue_maps
from vmrlib.features.extractor import Extractor
from vmrlib.features.pixels import resize

HARMONICS = (1, 2, 3, 4, 5, 6, 8, 10)
# Weaker edges and fainter hues are the background's: of a hue in 0..1, per pixel.
LEAST_EDGE, LEAST_HUE = 0.03, 0.15
# Factors that bring length, area and roundness to the spread of the harmonics on Stage.
LENGTH_SCALE, AREA_SCALE, ROUNDNESS_SCALE = 1 / 50, 1 / 200, 1 / 100


class OutlineExtractor(Extractor):
    """66 hand-made features of the outline of each hue, from the middle frame of a clip."""

    name = "outline"
    dim = HUES * (len(HARMONICS) + 3)
    size = SIDE
    frames_per_clip = 1
    normalisation = "0..1"
    half_precision = False
    weights_sha256 = "none"

    def __init__(
        self,
        device: str | torch.device | None = None,
        seconds_per_clip: float = 1.0,
        stride: float | None = None,
    ):
        super().__init__(nn.Identity(), device, seconds_per_clip, stride)

    def features(self, frames: UInt8[Tensor, "N 1 H W 3"]) -> Float[Tensor, "N 66"]:
        """Features of clips, in the order given above."""
        hues = hue_maps(resize(frames, self.size))[:, 0]  # (N, 6, H, W)
        hues = F.avg_pool2d(F.pad(hues, (1, 1, 1, 1), mode="replicate"), 3, stride=1)  # edges without steps
        edge = torch.complex(*gradients(hues))
        strength = F.relu(edge.abs() - LEAST_EDGE)
        facing = edge / (edge.abs() + 1e-6)  # exp(i theta)
        length, area = strength.sum(dim=(-2, -1)), F.relu(hues - LEAST_HUE).sum(dim=(-2, -1))
        turned, harmonics = torch.ones_like(facing), []
        for k in range(1, max(HARMONICS) + 1):
            turned = turned * facing  # exp(i k theta)
            if k in HARMONICS:
                harmonics.append((strength * turned).sum(dim=(-2, -1)).abs() / (length + 1))
        parts = [length * LENGTH_SCALE, *harmonics, area * AREA_SCALE]
        parts.append(length.square() / (area + 5) * ROUNDNESS_SCALE)
        return torch.stack(parts, dim=-1).flatten(1)

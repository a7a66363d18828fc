"""CLIP as an extractor: one frame per clip, its feature in the joint space of images and sentences."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vmrlib.features.extractor import Extractor
from vmrlib.features.pixels import CLIP_NORMALISATION
from vmrlib.models.clip import Clip


class ClipExtractor(Extractor):
    """The frame in the middle of a clip, encoded by CLIP; projected, not L2-normalised.

    `clip` is the model itself, for the features of patches, words and sentences.
    """

    frames_per_clip = 1
    normalisation = str(CLIP_NORMALISATION)
    gpu_batch = 128

    def __init__(
        self,
        clip: Clip,
        name: str,
        device: str | torch.device | None = None,
        seconds_per_clip: float = 1.0,
        stride: float | None = None,
    ):
        self.name, self.dim, self.size, self.clip = name, clip.dim, clip.size, clip
        super().__init__(clip, device, seconds_per_clip, stride)

    @classmethod
    def stage(cls, **options) -> "ClipExtractor":
        """The tiny model that comes with the package; raises WeightsError where its weights are missing."""
        return cls(Clip.stage(), "stage-clip", **options)

    @classmethod
    def load(cls, source: str, **options) -> "ClipExtractor":
        """The model of a folder or hub id; raises WeightsError where there is none."""
        # A folder counts by its name, so that features stay valid when it is moved: the hash tells weights.
        name = Path(source).resolve().name if Path(source).is_dir() else source
        return cls(Clip.load(source), f"clip:{name}", **options)

    def features(self, frames: UInt8[Tensor, "N 1 H W 3"]) -> Float[Tensor, "N D"]:
        """Frame features."""
        return self.clip.encode_frames(frames[:, 0]).frame

"""From uint8 frames to the normalised pixels that a network was trained on."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, in 0..1, subtracted and divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self) -> str:
        return "mean {} std {}".format(*(" ".join(f"{v:g}" for v in part) for part in (self.mean, self.std)))


CLIP_NORMALISATION = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resize(frames: UInt8[Tensor, "*B H W 3"], size: int) -> Float[Tensor, "*B 3 S S"]:
    """Frames in 0..1, channels first: short side to `size` (bicubic, antialiased), centre crop.

    The values are rounded to 1/255, as they are where an image library resizes uint8 images.
    Frames that already have the size are only converted.
    """
    *batch, height, width, _ = frames.shape
    images = frames.reshape(-1, height, width, 3).permute(0, 3, 1, 2).float()
    if (height, width) != (size, size):
        scale = size / min(height, width)
        shape = [max(size, round(height * scale)), max(size, round(width * scale))]
        images = F.interpolate(images, shape, mode="bicubic", antialias=True, align_corners=False)
        top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
        images = images[:, :, top : top + size, left : left + size].round().clamp(0, 255)
    return (images / 255).reshape(*batch, 3, size, size)


def to_pixels(
    frames: UInt8[Tensor, "*B H W 3"], size: int, normalisation: Normalisation
) -> Float[Tensor, "*B 3 S S"]:
    """Frames resized to a square of `size` pixels and normalised, channels first."""
    mean = torch.tensor(normalisation.mean, device=frames.device)[:, None, None]
    std = torch.tensor(normalisation.std, device=frames.device)[:, None, None]
    return (resize(frames, size) - mean) / std

"""What every extractor is: frames of a clip in, one feature vector out, and a record of how it was made."""

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

import vmrlib


class ExtractorError(ValueError):
    """An extractor that cannot be built or was given frames it cannot take."""


def weights_sha256(network: nn.Module) -> str:
    """Hash of all weights and buffers: names in order, shapes, float32 bytes; the file format is no part."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy())
    return digest.hexdigest()


class Extractor(ABC):
    """Turns the frames of clips into features.

    A clip is a window of `seconds_per_clip`, and one starts every `stride` seconds; its
    `frames_per_clip` frames are squares of `size` pixels (others are resized and cropped).
    """

    name: str
    dim: int
    size: int
    frames_per_clip: int
    normalisation: str
    half_precision = True  # autocast to float16 on a GPU
    gpu_batch = 32  # clips that a GPU computes at a time

    def __init__(
        self,
        network: nn.Module,
        device: str | torch.device | None = None,
        seconds_per_clip: float = 1.0,
        stride: float | None = None,
    ):
        stride = seconds_per_clip if stride is None else stride
        for field, value in (("seconds_per_clip", seconds_per_clip), ("stride", stride)):
            if not 0 < value < float("inf"):
                raise ExtractorError(f"extractor {self.name}: {field} is {value}, it must be positive")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.seconds_per_clip = float(seconds_per_clip)
        self.stride = float(stride)

    @abstractmethod
    def features(self, frames: UInt8[Tensor, "N F H W 3"]) -> Float[Tensor, "N D"]:
        """Features of clips that are on the device already."""

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of the weights, or `none`."""
        return weights_sha256(self.network)

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Float[Tensor, "N D"]:
        """One feature vector per clip (N, D) from uint8 frames (N, F, H, W, 3), on the extractor's device.

        Raises ExtractorError for frames of another type or shape.
        """
        shape = tuple(frames.shape)
        if (
            frames.dtype != torch.uint8
            or len(shape) != 5
            or (shape[1], shape[4]) != (self.frames_per_clip, 3)
        ):
            raise ExtractorError(
                f"extractor {self.name}: frames are {frames.dtype} {shape}, "
                f"expected uint8 (clips, {self.frames_per_clip}, height, width, 3)"
            )
        if len(frames) == 0:
            return torch.zeros(0, self.dim, device=self.device)
        if self.device.type == "cuda":
            return torch.cat([self._on_gpu(part) for part in frames.split(self.gpu_batch)])
        return self.features(frames.to(self.device)).float()

    def _on_gpu(self, frames: Tensor) -> Tensor:
        # A GPU picks its kernels by the size of the batch, and float16 shows the difference. Filling up
        # every batch to one size makes the features of a clip independent of its neighbours.
        filling = frames.new_zeros(self.gpu_batch - len(frames), *frames.shape[1:])
        batch = torch.cat([frames, filling]).to(self.device, non_blocking=True)
        with torch.autocast("cuda", torch.float16, enabled=self.half_precision):
            return self.features(batch)[: len(frames)].float()

    def metadata(self) -> dict[str, str | float | int]:
        """How these features are made; window and stride in seconds, frame rate in frames per second."""
        return {
            "extractor": self.name,
            "weights_sha256": self.weights_sha256,
            "dim": self.dim,
            "size": self.size,
            "frames_per_clip": self.frames_per_clip,
            "frame_rate": self.frames_per_clip / self.seconds_per_clip,
            "window": self.seconds_per_clip,
            "stride": self.stride,
            "normalisation": self.normalisation,
            "vmrlib": vmrlib.__version__,
        }

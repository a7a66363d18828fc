"""The smallest extractor: mean colours through a fixed random matrix."""

import time

import torch


class Toy:
    """An extractor without anything; `pause` (seconds a batch) makes it slow enough to be interrupted."""

    name, dim, size, frames_per_clip, seconds_per_clip = "toy", 6, 32, 2, 0.5

    def __init__(self, seed: int = 0, pause: float = 0.0):
        self.seed, self.pause = seed, pause
        self.weights = torch.randn(3 * 2, 6, generator=torch.Generator().manual_seed(seed))

    def metadata(self) -> dict:
        return {"extractor": "toy", "weights_sha256": f"seed {self.seed}", "window": 0.5, "stride": 0.5}

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause)
        return torch.tanh(frames.float().mean(dim=(2, 3)).flatten(1) / 255 @ self.weights)

"""Noise in the place of features that are not there: to try a training at real size before the download.

Rows of a video are drawn from its id and the seed whenever they are asked for, so nothing is stored, and the
same video has the same rows everywhere. Nothing can be learnt from them but what the sentences alone tell.
"""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vmrlib.data.loaders import seed_of
from vmrlib.data.published import LAYOUTS, TACOS_FPS

SECONDS_PER_CLIP = (
    8 / 30
)  # of layouts that say none: ActivityNet's C3D, 16 frames every 8 of about 30 a second


def tacos_rows(duration: float) -> int:
    """Windows of 64 frames every 12, as 2D-TAN's script counts them: exact for all 127 videos."""
    return max(1, (round(duration * TACOS_FPS) - 64) // 12 + 1)


class SimulatedFeatures(Mapping):
    """Seeded noise (rows, dim) by video id, with as many rows as real features of that video would have.

    `durations`: seconds of every video. `layout` names one of `vmrlib.data.published`; else `dim` numbers for
    every `seconds_per_clip`. Raises ValueError for an unknown layout.
    """

    def __init__(
        self,
        durations: Mapping[str, float],
        layout: str = "noise",
        dim: int | None = None,
        seconds_per_clip: float | None = None,
        seed: int = 0,
    ):
        known = LAYOUTS.get(layout)
        if known is None and dim is None:
            raise ValueError(
                f"simulated features: no layout {layout!r}; give dim, or one of {', '.join(LAYOUTS)}"
            )
        self.durations, self.layout, self.seed = dict(durations), layout, seed
        self.dim = dim or known.dim
        self.seconds_per_clip = seconds_per_clip or (known and known.seconds_per_clip) or SECONDS_PER_CLIP
        self.name = f"simulated {layout}"

    def rows(self, video_id: str) -> int:
        """How many rows a video has."""
        duration = self.durations[video_id]
        if self.layout == "tacos-c3d":
            return tacos_rows(duration)
        return max(1, round(duration / self.seconds_per_clip))

    def __getitem__(self, video_id: str) -> Float[Tensor, "rows D"]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.name, video_id))
        return torch.randn(self.rows(video_id), self.dim, generator=generator)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self.durations

    def __iter__(self) -> Iterator[str]:
        return iter(self.durations)

    def __len__(self) -> int:
        return len(self.durations)

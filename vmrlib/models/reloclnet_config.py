"""Sizes and constants of ReLoCLNet: as published for TVR, as the slides have it, and small for Stage."""

import math
from dataclasses import dataclass

from torch import nn

from vmrlib.data.drawn import DrawnDataset
from vmrlib.models.reloclnet_losses import RANKINGS

FORMS = ("released", "slides")
LOSSES = ("spans", "videos", "sentences", "frames", "contrast")
MOST_ALPHA = 80.0  # its exponential is still a number in float32


@dataclass(frozen=True)
class ReLoCLNetConfig:
    """Sizes and constants of one model. Published: `tvr()`; `relonet()` is the paper's own baseline.

    dim_video, dim_subtitles, dim_words: of the inputs, end points included. dim_subtitles None: video only;
    then there is no co-attention, and a sentence has one vector (the released code needs both).
    clips: T, to which every video is padded. longest: words that there are positions for.
    seconds_per_clip: None where every video is resampled to T clips, so that they are duration / T long.
    kernel: width of the two filters.
    weights: of the losses of spans, of ranking videos, of ranking sentences, of frames, of videos; one that
    weighs 0 is not computed.
    ranking: hinge, or lse (a soft one without margin).
    negatives: one `sampled` of the batch (released), or the mean over `all` (slides).
    hard_after: so many epochs after which negatives are drawn among the `hard_pool` best; None: never.
    video_contrast, frame_contrast: the form of these losses, released or slides.
    span_clips: lengths (from, to) in clips that an answer may have; `to` is excluded.
    alpha: a video of score x weighs exp(alpha x) when moments of several videos are compared.
    """

    dim_video: int
    dim_subtitles: int | None
    dim_words: int
    clips: int = 128
    longest: int = 30
    seconds_per_clip: float | None = 1.5
    dim: int = 384
    heads: int = 8
    kernel: int = 5
    dropout: float = 0.1
    input_dropout: float = 0.1
    initial_std: float = 0.02
    margin: float = 0.1
    weights: tuple[float, float, float, float, float] = (0.01, 1.0, 1.0, 0.03, 0.03)
    ranking: str = "hinge"
    negatives: str = "sampled"
    hard_after: int | None = 20
    hard_pool: int = 20
    video_contrast: str = "released"
    frame_contrast: str = "released"
    span_clips: tuple[int, int] = (2, 16)
    alpha: float = 30.0

    dataset = DrawnDataset  # what it is trained on: an item is a query and its moment
    nms_iou = 0.5  # of the release's second evaluation, and of `find`; `localise` suppresses nothing

    def __post_init__(self):
        for name in ("dim_video", "dim_words", "clips", "longest", "dim", "heads", "hard_pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        if self.dim_subtitles is not None and self.dim_subtitles < 1:
            raise ValueError(f"dim_subtitles: expected a number above 0, found {self.dim_subtitles}")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number from 0 to below 1, found {getattr(self, name)}")
        weights, hard_after, seconds = self.weights, self.hard_after, self.seconds_per_clip
        weighed = len(weights) == len(LOSSES) and all(0 <= weight < math.inf for weight in weights)
        for name, fits, expected in (
            ("weights", weighed and any(weights), f"{len(LOSSES)} numbers from 0 on, not all of them 0"),
            ("margin", 0 <= self.margin < math.inf, "a number from 0 on"),
            ("hard_after", hard_after is None or 0 <= hard_after < math.inf, "a number from 0 on, or none"),
            ("seconds_per_clip", seconds is None or 0 < seconds < math.inf, "a number above 0, or none"),
            ("initial_std", 0 < self.initial_std < math.inf, "a number above 0"),
            ("alpha", 0 < self.alpha <= MOST_ALPHA, f"a number above 0, at most {MOST_ALPHA:g}"),
        ):
            if not fits:
                raise ValueError(f"{name}: expected {expected}, found {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number, found {self.kernel}")
        if not 0 < self.span_clips[0] < self.span_clips[1]:
            raise ValueError(f"span_clips: expected two rising numbers above 0, found {self.span_clips}")
        for name, allowed in (
            ("ranking", RANKINGS),
            ("negatives", ("sampled", "all")),
            ("video_contrast", FORMS),
            ("frame_contrast", FORMS),
        ):
            if getattr(self, name) not in allowed:
                found = getattr(self, name)
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, found {found!r}")

    @property
    def streams(self) -> int:
        """S: clips and subtitles, or clips alone."""
        return 1 if self.dim_subtitles is None else 2

    @property
    def cells(self) -> int:
        """Moments are counted in clips."""
        return self.clips

    @property
    def parts(self) -> dict[str, float]:
        """The losses that count, and their weights."""
        return {name: weight for name, weight in zip(LOSSES, self.weights, strict=True) if weight}

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return "ReLoCLNet" if any(self.weights[3:]) else "ReLoNet"

    def build(self) -> nn.Module:
        """The `ReLoCLNet` of this configuration, with fresh weights."""
        from vmrlib.models.reloclnet import ReLoCLNet  # which itself imports this file

        return ReLoCLNet(self)

    @classmethod
    def tvr(cls, **changes) -> "ReLoCLNetConfig":
        """As published for TVR, 7,765,650 parameters: ResNet-152 and I3D, RoBERTa, end points in both."""
        values = {"dim_video": 3074, "dim_subtitles": 770, "dim_words": 768}
        return cls(**(values | changes))

    @classmethod
    def relonet(cls, **changes) -> "ReLoCLNetConfig":
        """ReLoNet: the same network for TVR without the two contrastive losses."""
        return cls.tvr(**({"weights": (0.01, 1.0, 1.0, 0.0, 0.0)} | changes))

    @classmethod
    def slides(cls, **changes) -> "ReLoCLNetConfig":
        """For TVR with the losses that the slides write down; the weights of the losses are the code's.

        Half the sum of the two cross entropies, all negatives of the batch, pooled and projected vectors of
        videos, a learnt discriminator of frames.
        """
        values = {"negatives": "all", "video_contrast": "slides", "frame_contrast": "slides"}
        values |= {"weights": (0.005, 1.0, 1.0, 0.03, 0.03), "hard_after": None}
        return cls.tvr(**(values | changes))

    @classmethod
    def stage(cls, **changes) -> "ReLoCLNetConfig":
        """Video only, small enough to learn Stage in a minute on two cores: 24 clips of 1 s.

        The loss of spans weighs more than published, where it is one part in a hundred and pays off over a
        hundred epochs. Every video is on the same grid, so its positions say what end points would.
        """
        values = {
            "dim_video": 306,
            "dim_subtitles": None,
            "dim_words": 300,
            "clips": 24,
            "seconds_per_clip": None,
            "dim": 64,
            "heads": 4,
            "dropout": 0.0,
            "input_dropout": 0.0,
            "initial_std": 0.06,
            "weights": (1.0, 1.0, 1.0, 0.03, 0.03),
            "hard_after": 5,
            "span_clips": (1, 24),
        }
        return cls(**(values | changes))

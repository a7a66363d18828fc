"""Sizes and constants of MMN (Wang et al., AAAI 2022), as published and for Stage."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmrlib.data.by_video import VideoDataset
from vmrlib.models.mmn_proposals import longest_offset, proposal_cells

if TYPE_CHECKING:
    from vmrlib.models.mmn import MMN

DISTILBERT = "distilbert-base-uncased"


@dataclass(frozen=True)
class MMNConfig:
    """Sizes and constants of one model. Published: `charades()`, `activitynet()`, `tacos()`.

    clips: M, to which a video is resampled. cells: N, clips of the map, each the mean of M // N.
    pooling_counts: diagonals of the map at each level; on level l one takes steps of 2^l clips.
    dim, dim_maps, dim_joint: of clip features, of the convolutions, and of what is compared.
    kernel, layers: of the convolutions; (kernel - 1) layers is even.
    iou_range: IoUs between which the wanted score grows from 0 to 1.
    positives: moments of largest IoU that count as right. margin: by which their cosine must be larger.
    temperature_video, temperature_sentence: of the contrasts from video to sentence, and back.
    removal_iou: sentences about moments that overlap so much are not each other's negatives.
    negative_iou: moments of that IoU or more are no negatives.
    weight: of both contrasts. contrast_epochs: after so many, they count only 1 % of it.
    group: videos whose moments and sentences are each other's negatives; None: all that the model is given
    at once, which accumulation and several processes make fewer than the batch. The authors trained on
    several GPUs, each of which knew only its own videos. Parts of a batch that are no multiple of it are
    refused; only the last batch of an epoch may be smaller, and its groups then are.
    power: of the contrast in the score of a moment. nms_iou: moments that overlap a better one more are out.
    pretrained: hub id or folder of the DistilBERT that reads sentences; None: it reads word vectors.
    longest: words, or tokens, of a sentence. tokens: rows of DistilBERT's table.
    text_rate: of the learning rate, for DistilBERT. frozen_epochs: so many it does not learn at all.
    video_scale, words_scale: factors of features and word vectors; of norm 1 they are faint at first.
    Raises ValueError that names the field and its value.
    """

    clips: int
    cells: int
    dim_video: int
    pooling_counts: tuple[int, ...]
    kernel: int
    layers: int
    iou_range: tuple[float, float]
    positives: int
    margin: float
    weight: float
    contrast_epochs: int
    power: float
    nms_iou: float
    dim: int = 512
    dim_maps: int = 512
    dim_joint: int = 256
    temperature_video: float = 0.1
    temperature_sentence: float = 0.1
    removal_iou: float = 0.5
    negative_iou: float = 0.5
    group: int | None = None
    pretrained: str | None = None
    longest: int = 512
    tokens: int = 30522
    dim_words: int = 300
    dim_text: int = 768
    dim_text_ffn: int = 3072
    text_layers: int = 6
    text_heads: int = 12
    dropout: float = 0.1
    text_rate: float = 0.1
    frozen_epochs: int = 0
    video_scale: float = 1.0
    words_scale: float = 1.0

    dataset = VideoDataset  # what it is trained on: an item is a video with all its sentences

    def __post_init__(self):
        maps = ("clips", "cells", "kernel", "layers", "positives")
        texts = ("longest", "tokens", "text_layers", "text_heads")
        for name in (*maps, *texts, *(each for each in self.__dataclass_fields__ if each.startswith("dim"))):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        for name in ("temperature_video", "temperature_sentence", "video_scale", "words_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        for name in ("margin", "weight", "contrast_epochs", "power", "text_rate", "frozen_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        for name in ("removal_iou", "negative_iou", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected an IoU in 0..1, found {getattr(self, name)}")
        if self.clips % self.cells:
            raise ValueError(f"clips: {self.clips} are no multiple of cells {self.cells}")
        if (self.kernel - 1) * self.layers % 2:
            found = f"kernel: {self.kernel} with layers {self.layers}"
            raise ValueError(f"{found}: (kernel - 1) layers must be even")
        if any(count < 1 for count in self.pooling_counts):
            raise ValueError(f"pooling_counts: expected numbers above 0, found {self.pooling_counts}")
        if longest_offset(self.pooling_counts) >= self.cells:
            reach = longest_offset(self.pooling_counts)
            raise ValueError(f"pooling_counts: they reach {reach} clips ahead, there are {self.cells}")
        moments = len(proposal_cells(self.cells, self.pooling_counts))
        if self.positives > moments:
            raise ValueError(f"positives: the map has {moments} moments, found {self.positives}")
        if not self.iou_range[0] < self.iou_range[1]:
            raise ValueError(f"iou_range: expected two numbers, rising, found {self.iou_range}")
        if self.group is not None and self.group < 1:
            raise ValueError(f"group: expected a number above 0, found {self.group}")
        if self.dim_text % self.text_heads:
            raise ValueError(f"dim_text: {self.dim_text} is no multiple of text_heads {self.text_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a number from 0 to below 1, found {self.dropout}")

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return "MMN"

    def build(self) -> "MMN":
        """The model of this configuration, with fresh weights."""
        from vmrlib.models.mmn import MMN  # it reads this file

        return MMN(self)

    @classmethod
    def charades(cls, **changes) -> "MMNConfig":
        """As published for Charades-STA: VGG features, 16 clips, all 136 moments; groups of 12 videos."""
        values = {
            "clips": 32,
            "cells": 16,
            "dim_video": 4096,
            "pooling_counts": (15,),
            "kernel": 5,
            "layers": 8,
            "iou_range": (0.5, 1.0),
            "positives": 1,
            "margin": 0.4,
            "weight": 0.05,
            "contrast_epochs": 7,
            "power": 0.5,
            "nms_iou": 0.5,
            "group": 12,
            "pretrained": DISTILBERT,
            "frozen_epochs": 4,
        }
        return cls(**(values | changes))

    @classmethod
    def activitynet(cls, **changes) -> "MMNConfig":
        """As published for ActivityNet Captions: C3D reduced to 500, 64 clips, 1,104 moments; groups of 8."""
        values = {
            "clips": 256,
            "cells": 64,
            "dim_video": 500,
            "pooling_counts": (15, 8, 8),
            "kernel": 9,
            "layers": 4,
            "iou_range": (0.5, 1.0),
            "positives": 1,
            "margin": 0.3,
            "weight": 0.1,
            "contrast_epochs": 6,
            "power": 0.5,
            "nms_iou": 0.5,
            "group": 8,
            "pretrained": DISTILBERT,
            "frozen_epochs": 4,
        }
        return cls(**(values | changes))

    @classmethod
    def tacos(cls, **changes) -> "MMNConfig":
        """As published for TACoS: C3D features, 128 clips, 2,548 moments; groups of 2 videos."""
        values = {
            "clips": 256,
            "cells": 128,
            "dim_video": 4096,
            "pooling_counts": (15, 8, 8, 8),
            "kernel": 5,
            "layers": 8,
            "iou_range": (0.3, 0.7),
            "positives": 3,
            "margin": 0.1,
            "weight": 0.1,
            "contrast_epochs": 100,
            "power": 0.3,
            "nms_iou": 0.4,
            "group": 2,
            "pretrained": DISTILBERT,
            "frozen_epochs": 40,
        }
        return cls(**(values | changes))

    @classmethod
    def stage(cls, **changes) -> "MMNConfig":
        """Small enough to learn Stage in minutes on two cores: 12 clips of 2 s, all 78 moments.

        Its small DistilBERT reads word vectors, starts from nothing, and so learns as fast as the rest.
        """
        values = {
            "clips": 24,
            "cells": 12,
            "dim_video": 306,
            "pooling_counts": (11,),
            "kernel": 3,
            "layers": 4,
            "iou_range": (0.5, 1.0),
            "positives": 1,
            "margin": 0.4,
            "weight": 0.05,
            "contrast_epochs": 7,
            "power": 0.5,
            "nms_iou": 0.5,
            "dim": 64,
            "dim_maps": 64,
            "dim_joint": 64,
            "longest": 40,
            "dim_text": 64,
            "dim_text_ffn": 128,
            "text_layers": 2,
            "text_heads": 4,
            "dropout": 0.0,
            "text_rate": 1.0,
            "video_scale": 10.0,
            "words_scale": 10.0,
        }
        return cls(**(values | changes))

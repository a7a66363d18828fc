"""MSAT, the multi-stage aggregated transformer (Zhang et al., CVPR 2021), from features to moments.

Read beside the paper and the code its authors released (mxingzhang90/MSAT at d9a467c). The video is a row of
T = N + 1 *boundary points* between N cells; a moment (i, j) starts at point i and ends at point j. Every
point has three features, one as a start, one as an end and one as the middle of a moment; a moment is scored
by [start_i ; middle_(i + j) // 2 ; end_j], and its two boundaries are moved by the offsets that the same head
predicts.

    pool -> embed -> encode -> stage features -> stage scores
                                              -> moments (i, j): offsets and score

Features and scores are in `msat_heads.py`, targets and losses in `msat_losses.py`. `acb.py` has another
encoder for the same model. With `config.contrast` the loss of `vtc.py` is added, whose two linear layers then
stand between embed and encode.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vmrlib.data.clips import pool_boundary_points
from vmrlib.data.loaders import MomentDataset
from vmrlib.models import msat_losses
from vmrlib.models.attention import NORM_EPS, TwoStreamLayer, position_table, word_bias
from vmrlib.models.msat_heads import MomentHead, StageHead
from vmrlib.models.msat_proposals import HEADS
from vmrlib.models.vtc import VTC, VTCConfig, contrast_loss
from vmrlib.moments import suppress_batch


@dataclass(frozen=True)
class MSATConfig:
    """Sizes and constants of one model. Published: `tacos()`, `activitynet()`.

    clips: M, to which a video is resampled.
    stride: s, even, clips per cell; so N = M / s cells and T = N + 1 points.
    vocabulary: V words to guess hidden ones from; 0 is padding, V - 1 unknown.
    positions: length of the position table, T + the words of the longest query.
    candidates: (longest, step) by rising length. Moments longer than the entry before allows, up to `longest`
    cells, are candidates where both their length and their start are multiples of `step`.
    peak: stage targets from here on count as 1.
    weights: of the losses stage, regression, IoU, words.
    initial_std: of the weights of embedding and encoder at the start.
    video_scale, words_scale: factors of features and word vectors. Of norm 1 they are faint beside the
    sinusoid at first, and a short training does not learn to read.
    proposals: what describes a moment: `stages` as published, or another of `msat_proposals.HEADS`.
    contrast: constants of the video-text contrastive loss, or None for none (MSAT).
    """

    clips: int
    stride: int
    dim_video: int
    vocabulary: int
    positions: int
    candidates: tuple[tuple[int, int], ...]
    peak: float
    weights: tuple[float, float, float, float]
    nms_iou: float
    heads: int
    dim: int = 512
    dim_ffn: int = 512
    dim_head: int = 512
    dim_words: int = 300
    layers: int = 6
    dropout: float = 0.1
    initial_std: float = 0.02
    video_scale: float = 1.0
    words_scale: float = 1.0
    proposals: str = "stages"
    contrast: VTCConfig | None = None

    dataset = MomentDataset  # what it is trained on: an item is a query and its moment

    def __post_init__(self):
        for name in ("clips", "stride", "heads", "layers", "dim", "dim_ffn", "dim_head"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a number from 0 to below 1, found {self.dropout}")
        if self.stride % 2 or self.clips % self.stride:
            raise ValueError(
                f"clips {self.clips}, stride {self.stride}: the stride is even and divides the clips"
            )
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        if self.proposals not in ("stages", *HEADS):
            raise ValueError(f"proposals must be stages, {', '.join(HEADS)}, not {self.proposals!r}")
        if self.positions <= self.points:
            raise ValueError(f"positions {self.positions} must exceed the {self.points} points of the video")

    @property
    def cells(self) -> int:
        """N, between the boundary points."""
        return self.clips // self.stride

    @property
    def points(self) -> int:
        """T = N + 1."""
        return self.cells + 1

    @property
    def longest(self) -> int:
        """Words of a query, at most."""
        return self.positions - self.points

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return "MSAT + VTC" if self.contrast else "MSAT"

    def build(self) -> "MSAT":
        """The model of this configuration, with fresh weights."""
        return MSAT(self)

    @classmethod
    def tacos(cls, **changes) -> "MSATConfig":
        """As published for TACoS: C3D features, GloVe, 128 cells, 2,548 candidates.

        The model has 34,051,056 parameters; the released one has 36,148,720, of which the 2,097,664 of a
        second projection of the video, `visual_1x1_text`, are never used.
        """
        values = {
            "clips": 256,
            "stride": 2,
            "dim_video": 4096,
            "vocabulary": 1514,
            "positions": 194,
            "candidates": ((16, 1), (32, 2), (64, 4), (128, 8)),
            "peak": 0.7,
            "weights": (0.3, 1.0, 200.0, 0.25),
            "nms_iou": 0.37,
            "heads": 32,
        }
        return cls(**(values | changes))

    @classmethod
    def activitynet(cls, **changes) -> "MSATConfig":
        """As published for ActivityNet Captions: C3D features reduced to 500, 32 cells, 428 candidates.

        The model has 36,936,686 parameters; the released one has 37,193,198, 256,512 of them never used.
        """
        values = {
            "clips": 256,
            "stride": 8,
            "dim_video": 500,
            "vocabulary": 10728,
            "positions": 116,
            "candidates": ((16, 1), (32, 2)),
            "peak": 0.6,
            "weights": (0.4, 1.0, 10.0, 0.1),
            "nms_iou": 0.51,
            "heads": 16,
        }
        return cls(**(values | changes))

    @classmethod
    def stage(cls, **changes) -> "MSATConfig":
        """Small enough to learn Stage in a minute on two cores: 12 cells of 2 s for 24 s of video.

        The factors and the wider weights make up for the short training; dropout did more harm than good in
        it.
        """
        values = {
            "clips": 24,
            "stride": 2,
            "dim_video": 306,
            "vocabulary": 160,
            "positions": 53,
            "candidates": ((12, 1),),
            "peak": 0.6,
            "weights": (0.4, 1.0, 100.0, 0.1),
            "nms_iou": 0.5,
            "heads": 4,
            "dim": 64,
            "dim_ffn": 64,
            "dim_head": 64,
            "layers": 2,
            "dropout": 0.0,
            "initial_std": 0.06,
            "video_scale": 10.0,
            "words_scale": 17.0,
        }
        return cls(**(values | changes))


def candidate_cells(
    points: int, candidates: tuple[tuple[int, int], ...], device: torch.device | None = None
) -> Int[Tensor, "K 2"]:
    """The moments (i, j) that are scored, in the order of i, then j (section 3.4)."""
    start, end = torch.meshgrid(torch.arange(points), torch.arange(points), indexing="ij")
    length, chosen, longest_before = end - start, torch.zeros(points, points, dtype=torch.bool), 0
    for longest, step in candidates:
        fits = (length > longest_before) & (length <= longest)
        chosen |= fits & (length % step == 0) & (start % step == 0)
        longest_before = longest
    return chosen.nonzero().to(device)


def learnt_parameters(model: nn.Module) -> int:
    """How many numbers training changes by gradients: without slow copies of encoders."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class MSAT(nn.Module):
    """Scores the moments of a video for a sentence. See the module's text for the way through it."""

    def __init__(self, config: MSATConfig):
        super().__init__()
        self.config = config
        self.video_in = nn.Linear(config.dim_video, config.dim)
        self.words_in = nn.Linear(config.dim_words, config.dim)
        self.hidden_word = nn.Parameter(torch.empty(config.dim))
        self.video_norm = nn.LayerNorm(config.dim, NORM_EPS)
        self.words_norm = nn.LayerNorm(config.dim, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.contrast = VTC(config.dim, config.contrast) if config.contrast else None
        self.layers = self.build_encoder(config)
        self.word_head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.dim, config.dim_head),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dim_head, config.vocabulary),
        )
        head = MomentHead if config.proposals == "stages" else HEADS[config.proposals]
        self.stage_head = StageHead(config.dim, config.dim_head, config.dropout)
        self.moment_head = head(config.dim, config.dim_head, config.dropout)
        self.register_buffer("positions", position_table(config.positions, config.dim), persistent=False)
        self.register_buffer(
            "candidates", candidate_cells(config.points, config.candidates), persistent=False
        )
        self.initialise()

    def build_encoder(self, config: MSATConfig) -> nn.ModuleList:
        """The layers that `encode` goes through."""
        return nn.ModuleList(
            TwoStreamLayer(config.dim, config.heads, config.dim_ffn, config.dropout)
            for _ in range(config.layers)
        )

    def initialise(self) -> None:
        """Normal in embedding and encoder, Xavier in the heads, torch's default in the stage scores (3.5)."""
        nn.init.normal_(self.hidden_word, std=self.config.initial_std)
        for module in (self.video_in, self.words_in, *self.layers.modules()):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=self.config.initial_std)
                nn.init.zeros_(module.bias)
        if self.contrast:
            self.contrast.initialise(self.config.initial_std)
        for module in (*self.word_head, self.stage_head.features, *self.moment_head.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def embed(
        self, video: Float[Tensor, "B M D"], words: Float[Tensor, "B L W"], hidden_words: Tensor | None = None
    ) -> tuple[Float[Tensor, "B L d"], Float[Tensor, "B T d"]]:
        """Words and boundary points as vectors with a position (section 3.1).

        The video takes the first T positions, the words those after them. Words to be guessed are
        overwritten, in training only. Raises ValueError for too long a query.
        """
        points, length = self.config.points, words.shape[1]
        if points + length > self.config.positions:
            room = self.config.positions - points
            raise ValueError(f"a query of {length} words, but the model has positions for {room}")
        video = self.video_in(self.config.video_scale * pool_boundary_points(video, self.config.stride))
        words = self.words_in(self.config.words_scale * words)
        if self.training and hidden_words is not None:
            words = torch.where(hidden_words[..., None], self.hidden_word.to(words.dtype), words)
        video = self.video_norm(video + self.positions[:points])
        words = self.words_norm(words + self.positions[points : points + length])
        return self.dropout(words), self.dropout(video)

    def encode(self, words: Tensor, video: Tensor, word_mask: Tensor, attention: bool = False):
        """New states of words and points after all layers, and a list of both streams' weights per layer."""
        bias, weights = word_bias(word_mask, words.dtype), []
        for layer in self.layers:
            words, video, words_weights, video_weights = layer(words, video, bias, attention)
            weights.append((words_weights, video_weights))
        return words, video, weights

    def forward(self, batch: Mapping, attention: bool = False) -> dict:
        """What the model says about every moment it considers; `batch` is what `vmrlib.data.loaders` makes.

        stage_logits (B, 3, T): each point as start, end, middle.
        cells (K, 2): the candidates (i, j), boundary points.
        offsets (B, K, 2): by how many cells start and end of a candidate are to be moved.
        moment_logits (B, K): their sigmoid is the IoU that a moved candidate is thought to have.
        attention, on request: per layer the weights of the words (B, H, L, L + T) and of the points
        (B, H, T, T + L), own keys first.

        A batch that holds `moments_cell` is one to learn from; then also regression_cells (R, 2), their
        sample (R,) and offsets (R, 2); and word_logits (W, V) of the hidden words, row by row. In training
        mode and with `config.contrast` also what `contrast_loss` needs.
        """
        learning = "moments_cell" in batch
        words, video = embedded = self.embed(batch["video"], batch["words"], batch.get("hidden_words"))
        if self.contrast:
            words, video = self.contrast.encode(words, video)
        before = words, video
        words, video, weights = self.encode(words, video, batch["word_mask"], attention)
        outputs = {}
        if self.contrast and self.training and learning:
            pooled = before if self.config.contrast.place == "before" else (words, video)
            ids = batch[self.config.contrast.positives]
            outputs |= self.contrast(embedded, pooled, batch["word_mask"], batch["moments_cell"], ids)
        features, stage_logits = self.stage_head(video)
        table = self.moment_head.table(features)
        moments = self.moment_head(table, self.candidates)
        outputs |= {
            "stage_logits": stage_logits,
            "cells": self.candidates,
            "offsets": moments[..., :2],
            "moment_logits": moments[..., 2],
        }
        if attention:
            outputs["attention"] = weights
        if learning:
            targets = msat_losses.stage_targets(batch["moments_cell"], self.config.points, self.config.peak)
            sample, cells = msat_losses.regression_cells(targets)
            outputs |= {
                "stage_targets": targets,
                "regression_cells": cells,
                "regression_sample": sample,
                "regression_offsets": self.moment_head(table, cells, sample)[:, :2],
                "word_logits": self.word_head(words[batch["hidden_words"]]),
            }
        return outputs

    def loss(self, outputs: Mapping, batch: Mapping) -> dict[str, Tensor]:
        """The losses and their weighted sum `total` (section 4); `contrast` where `forward` prepared it."""
        losses = {
            "stage": msat_losses.stage_loss(outputs["stage_logits"], outputs["stage_targets"]),
            "regression": msat_losses.regression_loss(
                outputs["regression_offsets"],
                outputs["regression_cells"],
                outputs["regression_sample"],
                batch["moments_cell"],
            ),
            "iou": msat_losses.iou_loss(
                outputs["moment_logits"], outputs["offsets"], outputs["cells"], batch["moments_cell"]
            ),
            "words": msat_losses.words_loss(
                outputs["word_logits"], batch["word_labels"], batch["hidden_words"]
            ),
        }
        total = sum(weight * loss for weight, loss in zip(self.config.weights, losses.values(), strict=True))
        if "contrast_video_logits" in outputs:
            losses["contrast"] = contrast_loss(outputs)
            total = total + self.config.contrast.weight * losses["contrast"]
        return losses | {"total": total}

    def compared(self, batch: Mapping) -> tuple[Float[Tensor, "B e"], Float[Tensor, "B e"]]:
        """What the contrastive loss compares, of norm 1: sentences, and their true moments."""
        words, video = self.contrast.encode(*self.embed(batch["video"], batch["words"]))
        if self.config.contrast.place == "after":
            words, video, _ = self.encode(words, video, batch["word_mask"])
        return self.contrast.encoders.compared(
            words,
            video,
            self.contrast.word_weights(batch["word_mask"]),
            self.contrast.point_weights(batch["moments_cell"], self.config.points),
        )

    def after_step(self) -> None:
        """To be called when the optimiser has stepped: what the contrastive loss remembers is put away."""
        if self.contrast:
            self.contrast.enqueue()

    @torch.inference_mode()
    def localise(
        self, batch: Mapping, top: int = 5
    ) -> list[tuple[Float[Tensor, "K 2"], Float[Tensor, " K"]]]:
        """The `top` best moments of each sample in seconds, and their scores in 0..1, best first (section 5).

        A boundary may lie outside of the video: the method does not cut it. Fewer come back where fewer
        candidates survive suppression; the released code fills up with arbitrary ones of score zero.
        """
        outputs = self(batch)
        moments_cell = outputs["cells"] + outputs["offsets"].double()
        scores = outputs["moment_logits"].sigmoid().double()
        scores = scores.masked_fill(moments_cell[..., 0] >= moments_cell[..., 1], -1.0)
        moments = moments_cell * (batch["duration"].double() / self.config.cells)[:, None, None]
        kept = suppress_batch(moments, scores, self.config.nms_iou, top)  # (B, top)
        return [
            (moments[b, rows[rows >= 0]].cpu(), scores[b, rows[rows >= 0]].cpu())
            for b, rows in enumerate(kept)
        ]

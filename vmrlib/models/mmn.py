"""MMN, the mutual matching network (Wang et al., AAAI 2022), from features to moments.

Read beside the paper and the code its authors released (MCG-NJU/MMN at e694e69). A video becomes a 2D map of
moments, and a sentence two vectors. A moment's cosine with one of them says how large its IoU with the true
moment is; its cosine with the other is learnt by contrast, with moments of other videos and with other
sentences, so that a batch holds each video once, with all of its sentences.

    clips -> N clip features -> map of moments -> convolutions -> moments, twice -> scores
    words -> DistilBERT      -> mean           ->                 sentence, twice

Sizes and constants are in `mmn_config.py`, the map and its convolutions in `mmn_proposals.py`, sentences in
`mmn_text.py`, losses in `mmn_losses.py`. Nearly all of the cost is the convolutions'.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vmrlib.models import mmn_losses
from vmrlib.models.mmn_config import MMNConfig
from vmrlib.models.mmn_proposals import (
    MaskedConvolutions,
    MomentPooling,
    as_map,
    proposal_cells,
)
from vmrlib.models.mmn_text import SentenceEncoder
from vmrlib.moments import iou_of_pairs, suppress_batch

IOU_SCALE = 10.0  # of the cosine whose sigmoid is the IoU
LATER = 0.01  # of the contrasts' weight, once they have had their epochs


class MMN(nn.Module):
    """Scores the moments of videos for sentences about them. See the module's text for the way through it."""

    def __init__(self, config: MMNConfig):
        super().__init__()
        self.config = config
        cells = proposal_cells(config.cells, config.pooling_counts)
        mask = torch.zeros(config.cells, config.cells, dtype=torch.bool)
        mask[cells[:, 0], cells[:, 1]] = True
        self.register_buffer("cells", cells.to(mask.device), persistent=False)
        self.pooling = MomentPooling(cells, config.cells, mask.device)
        self.clips_in = nn.Linear(config.dim_video, config.dim)
        self.convolutions = MaskedConvolutions(
            mask, config.dim, config.dim_maps, config.kernel, config.layers
        )
        self.contrast_out = nn.Linear(config.dim_maps, config.dim_joint)
        self.iou_out = nn.Linear(config.dim_maps, config.dim_joint)
        self.text = SentenceEncoder(config)

    def load_pretrained(self) -> None:
        """Gives DistilBERT its published weights where the configuration names any: before a training."""
        self.text.load_pretrained()

    def parameter_groups(self) -> list[dict]:
        """What the optimiser is to know: its constants as released, and DistilBERT's share of the rate."""
        constants = {"betas": (0.9, 0.99), "weight_decay": 1e-5}
        text = set(self.text.bert.parameters())
        rest = [parameter for parameter in self.parameters() if parameter not in text]
        slow = list(self.text.bert.parameters())
        return [{"params": rest} | constants, {"params": slow, "share": self.config.text_rate} | constants]

    def clip_features(self, video: Float[Tensor, "V M D"]) -> Float[Tensor, "V C N"]:
        """N clip features: a linear layer, and the mean of every M / N clips."""
        width = self.config.clips // self.config.cells
        return F.avg_pool1d(self.clips_in(self.config.video_scale * video).relu().mT, width)

    def moment_map(self, clips: Float[Tensor, "V C N"]) -> Float[Tensor, "V C N N"]:
        """The largest value among the clips of each moment; zeros where the map has none."""
        return as_map(self.pooling(clips), self.cells, self.config.cells)

    def moments(self, video: Float[Tensor, "V M D"]) -> tuple[Float[Tensor, "V P J"], Float[Tensor, "V P J"]]:
        """Both vectors of every moment: one for the contrast, one for the IoU."""
        maps = self.convolutions(self.moment_map(self.clip_features(video)))
        states = maps[..., self.cells[:, 0], self.cells[:, 1]].mT  # (V, P, C): the others are not asked
        return self.contrast_out(states), self.iou_out(states)

    def forward(self, batch: Mapping) -> dict:
        """What the model says about every moment of the map; `batch` is what `data.by_video` makes.

        cells (P, 2): the moments (i, j), from the start of clip i to the end of clip j.
        similarities (S, V, P): cosine, for the contrast, of each sentence and each moment of each video.
        contrast_scores (S, P): those of the sentence's own video.
        iou_logits (S, P): their sigmoid is the IoU that a moment is thought to have.

        The batch holds V videos and S sentences, and in `sentence_video` (S,) the row of each one's video;
        without it there are as many videos as sentences. Raises ValueError for other numbers of them, videos
        of another size, and a sentence that is too long or has no word.
        """
        video, config = batch["video"], self.config
        if tuple(video.shape[1:]) != (config.clips, config.dim_video):
            expected = f"(V, {config.clips}, {config.dim_video})"
            raise ValueError(f"video: expected {expected}, found {tuple(video.shape)}")
        sentences_contrast, sentences_iou = self.text(batch)
        sentence_video = rows_of_videos(batch, len(sentences_contrast))
        # Last: the checks above wait for a GPU, and these are nearly all of its work.
        moments_contrast, moments_iou = self.moments(video)
        everyone = torch.arange(len(sentence_video), device=sentence_video.device)
        similarities = cosines(sentences_contrast, moments_contrast)
        return {
            "cells": self.cells,
            "similarities": similarities,
            "contrast_scores": similarities[everyone, sentence_video],
            "iou_logits": IOU_SCALE * cosines(sentences_iou, moments_iou)[everyone, sentence_video],
        }

    def spans(self, duration: Float[Tensor, " S"]) -> Float[Tensor, "S P 2"]:
        """Start and end in seconds of the map's moments, in the video of each sentence.

        In float32, as released, since a last bit decides: many IoUs lie at the threshold of suppression, and
        two moments of one length that hold the true one have the same IoU, of which one may be a positive.
        """
        bounds = torch.stack([self.cells[:, 0], self.cells[:, 1] + 1], dim=1).float()
        # A GPU divides by a tensor; with a number it would multiply by the inverse: another last bit.
        return bounds * duration.float()[:, None, None] / bounds.new_tensor(self.config.cells)

    def check_part(self, videos: int) -> None:
        """Raises ValueError where the videos that the model is given at once make no whole groups."""
        if videos % (self.config.group or 1):
            raise ValueError(
                f"{videos} videos at once are no multiple of the model's group, {self.config.group}"
            )

    def loss(self, outputs: Mapping, batch: Mapping) -> dict[str, Tensor]:
        """The losses iou, video, sentence and their weighted sum `total`.

        With `config.group` each is the mean over groups of so many videos, which know nothing of each other:
        of n groups the first has the videos 0, n, 2n ... That is how processes and accumulation divide a
        batch, too: however it is computed, the same videos meet.
        `batch["epoch"]`, from 0 on, decides how much the contrasts count; without it they count in full.

        Raises ValueError for moments that are not finite and for a video without a sentence.
        """
        sentences, videos = outputs["similarities"].shape[:2]
        sentence_video, config = rows_of_videos(batch, sentences), self.config
        if not batch["moments_cell"].isfinite().all():
            raise ValueError(f"moments_cell: expected numbers, found {batch['moments_cell'].tolist()}")
        if set(sentence_video.tolist()) != set(range(videos)):
            found = sentence_video.tolist()
            raise ValueError(
                f"sentence_video: expected sentences about all of {videos} videos, found {found}"
            )
        seconds_per_cell = batch["duration"].double() / config.cells
        moments = (batch["moments_cell"] * seconds_per_cell[:, None]).float()
        ious = iou_of_pairs(moments[:, None], self.spans(batch["duration"]))
        groups, found = math.ceil(videos / (config.group or videos)), []
        for first in range(groups):
            rows = (sentence_video % groups == first).nonzero()[:, 0]
            similarities = outputs["similarities"][rows, first::groups]
            given = (similarities, outputs["iou_logits"][rows], moments[rows], ious[rows])
            found.append(self.group_loss(*given, sentence_video[rows] // groups))
        losses = {name: torch.stack([each[name] for each in found]).mean() for name in found[0]}
        weight = config.weight * (1.0 if batch.get("epoch", 0) < config.contrast_epochs else LATER)
        return losses | {"total": losses["iou"] + weight * (losses["video"] + losses["sentence"])}

    def group_loss(
        self,
        similarities: Float[Tensor, "S V P"],
        iou_logits: Float[Tensor, "S P"],
        moments: Float[Tensor, "S 2"],
        ious: Float[Tensor, "S P"],
        sentence_video: Int[Tensor, " S"],
    ) -> dict[str, Tensor]:
        """The losses of videos whose moments and sentences are each other's negatives.

        moments: the true ones, in seconds. ious: of them and the moments of the map.
        """
        config = self.config
        positives = ious.topk(config.positives, dim=1).indices
        overlap = mmn_losses.sentence_ious(moments, sentence_video)
        both = (similarities, sentence_video, positives)
        return {
            "iou": mmn_losses.iou_loss(iou_logits, ious, config.iou_range),
            "video": mmn_losses.video_loss(
                *both, overlap, config.margin, config.temperature_video, config.removal_iou
            ),
            "sentence": mmn_losses.sentence_loss(
                *both, ious, config.margin, config.temperature_sentence, config.negative_iou
            ),
        }

    def after_step(self) -> None:
        """To be called when the optimiser has stepped, as of every model; nothing is remembered here."""

    def scores(self, outputs: Mapping) -> Float[Tensor, "S P"]:
        """How good each moment is, in 0..1: a power of its contrast, times the IoU it is thought to have."""
        contrast = (0.5 * outputs["contrast_scores"] + 0.5).clamp_min(0) ** self.config.power
        return contrast * outputs["iou_logits"].sigmoid()

    @torch.inference_mode()
    def localise(
        self, batch: Mapping, top: int = 5
    ) -> list[tuple[Float[Tensor, "K 2"], Float[Tensor, " K"]]]:
        """The `top` best moments of each sentence in seconds, and their scores in 0..1, best first.

        Candidates are moments with a score above 0. Fewer than `top` come back where fewer survive
        suppression; there the released evaluation stops with an error.
        """
        outputs = self(batch)
        scores, moments = self.scores(outputs), self.spans(batch["duration"])
        candidates = scores.masked_fill(scores <= 0, -1.0)  # a negative score takes no part
        kept = suppress_batch(moments, candidates, self.config.nms_iou, top)  # (S, top)
        return [
            (moments[s, rows[rows >= 0]].double().cpu(), scores[s, rows[rows >= 0]].double().cpu())
            for s, rows in enumerate(kept)
        ]


def rows_of_videos(batch: Mapping, sentences: int) -> Int[Tensor, " S"]:
    """The row in `video` of each sentence's video; its own where the batch does not say.

    Raises ValueError where that is no row for each of so many sentences.
    """
    if "sentence_video" in batch:
        rows = batch["sentence_video"]
    else:
        rows = torch.arange(len(batch["video"]), device=batch["video"].device)
    if len(rows) != sentences:
        found = "sentence_video:" if "sentence_video" in batch else "there is no sentence_video, and"
        raise ValueError(f"{found} {len(rows)} rows for {sentences} sentences")
    return rows


def cosines(sentences: Float[Tensor, "S J"], moments: Float[Tensor, "V P J"]) -> Float[Tensor, "S V P"]:
    """Cosine of each sentence and each moment, in full precision: small differences decide."""
    with torch.autocast(sentences.device.type, enabled=False):
        sentences, moments = (F.normalize(part.float(), dim=-1) for part in (sentences, moments))
        return (sentences @ moments.flatten(0, 1).mT).unflatten(1, moments.shape[:2])

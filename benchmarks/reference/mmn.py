"""A plain transcription of the MMN specification: the other side of `benchmarks/mmn.py`.

It computes what the specification says in the order in which it says it: a chain of poolings, the whole map
through both heads, one video after the other in the losses. Sentences come as vectors. Its parameters have
the names of the released checkpoint. Nothing of it is used by vmrlib.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """Dimensions and constants; the defaults are those of ActivityNet."""

    clips: int = 256
    cells: int = 64
    pooling_counts: tuple[int, ...] = (15, 8, 8)
    dim_video: int = 500
    dim: int = 512
    dim_maps: int = 512
    dim_joint: int = 256
    kernel: int = 9
    layers: int = 4
    iou_range: tuple[float, float] = (0.5, 1.0)
    positives: int = 1
    margin: float = 0.3
    temperature_video: float = 0.1
    temperature_sentence: float = 0.1
    removal_iou: float = 0.5
    negative_iou: float = 0.5
    weight: float = 0.1
    power: float = 0.5
    nms_iou: float = 0.5


def places(sizes: Sizes) -> list[tuple[Tensor, Tensor]]:
    """Rows and columns of the map that each diagonal fills, the main one first."""
    every = torch.arange(sizes.cells)
    found, offset = [(every, every)], 0
    for level, count in enumerate(sizes.pooling_counts):
        for _ in range(count):
            offset += 2**level
            start = torch.arange(0, sizes.cells - offset, 2**level)
            found.append((start, start + offset))
    return found


class FeaturePooling(nn.Module):
    """Section 1.2: from resampled clips to N clip features."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.conv = nn.Conv1d(sizes.dim_video, sizes.dim, 1)
        width = sizes.clips // sizes.cells
        self.pool = nn.AvgPool1d(width, width)

    def forward(self, video: Tensor) -> Tensor:
        return self.pool(self.conv(video.transpose(1, 2)).relu())


class SparseMap(nn.Module):
    """Section 1.3: the largest value of the clips of each moment, by a chain of poolings."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.size, self.places = sizes.cells, places(sizes)
        self.poolings = nn.ModuleList()
        for level, count in enumerate(sizes.pooling_counts):
            first = nn.MaxPool1d(3, 2) if level else nn.MaxPool1d(2, 1)
            self.poolings.extend([first, *(nn.MaxPool1d(2, 1) for _ in range(count - 1))])
        mask = torch.zeros(self.size, self.size, dtype=torch.bool)
        for rows, columns in self.places:
            mask[rows, columns] = True
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        maps = clips.new_zeros(*clips.shape[:2], self.size, self.size)
        for number, (rows, columns) in enumerate(self.places):
            if number:
                clips = self.poolings[number - 1](clips)
            maps[:, :, rows, columns] = clips
        return maps


class ProposalConvolutions(nn.Module):
    """Section 1.4: convolution, normalisation, ReLU, division by the number of valid inputs; two heads."""

    def __init__(self, sizes: Sizes, mask: Tensor):
        super().__init__()
        self.convs, self.bn = nn.ModuleList(), nn.ModuleList()
        valid, self.weights = mask.float()[None, None], []
        window = torch.ones(1, 1, sizes.kernel, sizes.kernel)
        for number in range(sizes.layers):
            padding = 0 if number else (sizes.kernel - 1) * sizes.layers // 2
            dim_in = sizes.dim_maps if number else sizes.dim
            self.convs.append(nn.Conv2d(dim_in, sizes.dim_maps, sizes.kernel, padding=padding))
            self.bn.append(nn.BatchNorm2d(sizes.dim_maps))
            count = F.conv2d(valid, window, padding=padding)
            valid = (count > 0).float()
            self.weights.append(torch.where(count > 0, 1 / count, 0.0))
        self.conv1x1_contrastive = nn.Conv2d(sizes.dim_maps, sizes.dim_joint, 1)
        self.conv1x1_iou = nn.Conv2d(sizes.dim_maps, sizes.dim_joint, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for conv, norm, weight in zip(self.convs, self.bn, self.weights, strict=True):
            maps = norm(conv(maps)).relu() * weight
        return maps, self.conv1x1_contrastive(maps), self.conv1x1_iou(maps)


class PlainMMN(nn.Module):
    """Everything but the text encoder."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.featpool = FeaturePooling(sizes)
        self.feat2d = SparseMap(sizes)
        self.proposal_conv = ProposalConvolutions(sizes, self.feat2d.mask)

    def forward(self, video: Tensor, contrast: Tensor, iou: Tensor, sentences: list[int]) -> dict:
        """All that the specification names; sentences (S, J) in the order of videos, `sentences` of each."""
        clips = self.featpool(video)
        maps = self.feat2d(clips)
        last, map_contrast, map_iou = self.proposal_conv(maps)
        contrast_maps, iou_maps = F.normalize(map_contrast, dim=1), F.normalize(map_iou, dim=1)
        contrast_scores, iou_scores = [], []
        parts = zip(
            contrast_maps,
            iou_maps,
            F.normalize(contrast, dim=1).split(sentences),
            F.normalize(iou, dim=1).split(sentences),
            strict=True,
        )
        for moments_contrast, moments_iou, of_contrast, of_iou in parts:
            contrast_scores.append(torch.einsum("sj,jab->sab", of_contrast, moments_contrast))
            iou_scores.append((10 * torch.einsum("sj,jab->sab", of_iou, moments_iou)).sigmoid())
        mask = self.feat2d.mask
        contrast_scores = torch.cat(contrast_scores) * mask
        iou_scores = torch.cat(iou_scores) * mask
        return {
            "featpool": clips,
            "feat2d": maps,
            "conv_last": last,
            "map_contrastive": map_contrast,
            "map_iou": map_iou,
            "contrastive_score": contrast_scores,
            "iou_score": iou_scores,
            "score2d": (0.5 * contrast_scores + 0.5) ** self.sizes.power * iou_scores,
        }


def moment_ious(moments: Tensor, durations: Tensor, cells: int) -> Tensor:
    """(S, N, N): IoU of [i, j + 1] * duration / N and the true moment of each sentence (seconds)."""
    seconds = torch.arange(cells + 1) * durations[:, None] / cells
    start, end = seconds[:, :-1, None], seconds[:, None, 1:]
    true_start, true_end = moments[:, 0, None, None], moments[:, 1, None, None]
    overlap = (torch.minimum(end, true_end) - torch.maximum(start, true_start)).clamp(min=0)
    return overlap / (torch.maximum(end, true_end) - torch.minimum(start, true_start))


def iou_loss(iou_scores: Tensor, ious: Tensor, mask: Tensor, sizes: Sizes) -> Tensor:
    """Section 1.7, BCE."""
    lowest, highest = sizes.iou_range
    wanted = ((ious - lowest) / (highest - lowest)).clamp(0, 1)
    return F.binary_cross_entropy(iou_scores[:, mask], wanted[:, mask])


def contrast_losses(
    maps: Tensor,
    contrast: Tensor,
    sentences: list[int],
    ious: Tensor,
    moments: Tensor,
    mask: Tensor,
    sizes: Sizes,
) -> tuple[Tensor, Tensor]:
    """Section 1.7, contrastive: from video to sentence, from sentence to video."""
    features = F.normalize(maps, dim=1)[:, :, mask]  # (B, J, P)
    contrast, ious = F.normalize(contrast, dim=1), ious[:, mask]
    video_of = torch.arange(len(sentences)).repeat_interleave(torch.tensor(sentences))
    of_video, of_sentence = [], []
    for a, video in enumerate(video_of.tolist()):
        allowed = torch.ones(len(contrast), dtype=torch.bool)
        for b in (video_of == video).nonzero()[:, 0].tolist():
            start, end = (
                torch.maximum(moments[a, 0], moments[b, 0]),
                torch.minimum(moments[a, 1], moments[b, 1]),
            )
            hull = torch.maximum(moments[a, 1], moments[b, 1]) - torch.minimum(moments[a, 0], moments[b, 0])
            allowed[b] = (end - start).clamp(min=0) / hull < sizes.removal_iou
        allowed[a] = False
        cosines = torch.einsum("j,bjp->bp", contrast[a], features)
        others = cosines.clone()
        others[video] = torch.where(ious[a] < sizes.negative_iou, cosines[video], 0.0)
        all_moments = (others / sizes.temperature_sentence).exp().sum()
        for cell in ious[a].topk(sizes.positives).indices.tolist():
            positive = cosines[video, cell] - sizes.margin
            negatives = (contrast[allowed] @ features[video, :, cell] / sizes.temperature_video).exp().sum()
            pulled = positive / sizes.temperature_video
            of_video.append((pulled.exp() + negatives).log() - pulled)
            pulled = positive / sizes.temperature_sentence
            of_sentence.append((pulled.exp() + all_moments + 1e-6).log() - pulled)
    return torch.stack(of_video).mean(), torch.stack(of_sentence).mean()


def losses(
    outputs: dict,
    contrast: Tensor,
    sentences: list[int],
    moments: Tensor,
    durations: Tensor,
    model: PlainMMN,
    share=1.0,
) -> dict:
    """iou, video, sentence and their sum; `share`: of the contrasts' weight, 0.01 in later epochs."""
    sizes, mask = model.sizes, model.feat2d.mask
    ious = moment_ious(moments, durations.repeat_interleave(torch.tensor(sentences)), sizes.cells)
    iou = iou_loss(outputs["iou_score"], ious, mask, sizes)
    video, sentence = contrast_losses(
        outputs["map_contrastive"], contrast, sentences, ious, moments, mask, sizes
    )
    total = iou + share * sizes.weight * (video + sentence)
    return {"iou": iou, "video": video, "sentence": sentence, "total": total}


def best_moments(scores: Tensor, duration: float, sizes: Sizes, top: int) -> Tensor:
    """Section 1.9: the first `top` moments (seconds) that survive greedy suppression, best first."""
    cells = scores.nonzero()
    moments = (cells + torch.tensor([0, 1])) * duration / sizes.cells
    moments = moments[scores[scores != 0].argsort(descending=True)]
    alive, kept = torch.ones(len(moments), dtype=torch.bool), []
    for number, (start, end) in enumerate(moments):
        if alive[number]:
            kept.append(number)
            overlap = (torch.minimum(moments[:, 1], end) - torch.maximum(moments[:, 0], start)).clamp(min=0)
            hull = torch.maximum(moments[:, 1], end) - torch.minimum(moments[:, 0], start)
            alive &= overlap / hull <= sizes.nms_iou
    return moments[kept[:top]]

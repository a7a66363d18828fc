"""ReLoCLNet and its released inference, written down plainly: sections 2, 3 and 6 of the specification.

What `vmrlib.models.reloclnet` and its search are timed against and must equal. Every video has all its
places, every batch of sentences normalises the whole corpus and scores start and end in all of it, a table of
all spans of the best videos is sorted. Parameters have the names of the released checkpoint. Nothing of
vmrlib is imported.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Sizes:
    """Numbers of one configuration; those of TVR by default."""

    dim_video: int = 3074
    dim_subtitles: int = 770
    dim_words: int = 768
    clips: int = 128
    longest: int = 30
    dim: int = 384
    heads: int = 8
    kernel: int = 5


class InputProjection(nn.Module):
    def __init__(self, dim_in, dim):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(dim_in)
        self.net = nn.Sequential(nn.Identity(), nn.Linear(dim_in, dim))

    def forward(self, x):
        return F.relu(self.net(self.LayerNorm(x)))


class Positions(nn.Module):
    def __init__(self, places, dim):
        super().__init__()
        self.position_embeddings = nn.Embedding(places, dim)
        self.LayerNorm = nn.LayerNorm(dim)

    def forward(self, x):
        place = torch.arange(x.shape[1])
        return self.LayerNorm(x + self.position_embeddings(place))


class Attention(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.heads = sizes.heads
        self.query = nn.Linear(sizes.dim, sizes.dim)
        self.key = nn.Linear(sizes.dim, sizes.dim)
        self.value = nn.Linear(sizes.dim, sizes.dim)

    def forward(self, asking, asked, mask):
        def heads(x):
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        query, key, value = heads(self.query(asking)), heads(self.key(asked)), heads(self.value(asked))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        scores = scores + (1 - mask[:, None]) * -10000.0
        mixed = scores.softmax(dim=-1) @ value
        return mixed.transpose(1, 2).reshape(asking.shape)


class Output(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(dim, dim), nn.LayerNorm(dim)

    def forward(self, mixed, x):
        return self.LayerNorm(self.dense(mixed) + x)


class Block(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.self, self.output = Attention(sizes), Output(sizes.dim)

    def forward(self, x, mask):
        return self.output(self.self(x, x, mask[:, None]), x)


class PlainReLoCLNet(nn.Module):
    """The network in evaluation mode; masks are 1.0 where there is data."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        dim = sizes.dim
        self.query_pos_embed = Positions(sizes.longest, dim)
        self.ctx_pos_embed = Positions(sizes.clips, dim)
        self.query_input_proj = InputProjection(sizes.dim_words, dim)
        self.query_encoder, self.query_encoder1 = Block(sizes), Block(sizes)
        self.video_input_proj = InputProjection(sizes.dim_video, dim)
        self.video_encoder1, self.video_encoder2, self.video_encoder3 = (Block(sizes) for _ in range(3))
        self.video_cross_att, self.video_cross_layernorm = Attention(sizes), nn.LayerNorm(dim)
        self.video_query_linear = nn.Linear(dim, dim)
        self.sub_input_proj = InputProjection(sizes.dim_subtitles, dim)
        self.sub_encoder1, self.sub_encoder2, self.sub_encoder3 = (Block(sizes) for _ in range(3))
        self.sub_cross_att, self.sub_cross_layernorm = Attention(sizes), nn.LayerNorm(dim)
        self.sub_query_linear = nn.Linear(dim, dim)
        self.modular_vector_mapping = nn.Linear(dim, 2, bias=False)
        pad = sizes.kernel // 2
        self.merged_st_predictor = nn.Conv1d(1, 1, sizes.kernel, padding=pad, bias=False)
        self.merged_ed_predictor = nn.Conv1d(1, 1, sizes.kernel, padding=pad, bias=False)

    def encode_query(self, words, mask):
        """The vectors of a sentence for video and subtitles, (B, d) each."""
        states = self.query_pos_embed(self.query_input_proj(words))
        states = self.query_encoder1(self.query_encoder(states, mask), mask)
        scores = self.modular_vector_mapping(states)
        scores = scores * mask[..., None] + (1 - mask[..., None]) * -1e10
        vectors = torch.einsum("blm,bld->bmd", scores.softmax(dim=1), states)
        return vectors[:, 0], vectors[:, 1]

    def encode_context(self, video, subtitles, mask):
        """The final states of clips and subtitles, (B, T, d) each."""
        video = self.video_encoder1(self.ctx_pos_embed(self.video_input_proj(video)), mask)
        subtitles = self.sub_encoder1(self.ctx_pos_embed(self.sub_input_proj(subtitles)), mask)
        both = torch.einsum("bm,bn->bmn", mask, mask)
        x_video = self.video_cross_layernorm(self.video_cross_att(video, subtitles, both) + video)
        x_sub = self.sub_cross_layernorm(self.sub_cross_att(subtitles, video, both) + subtitles)
        x_video = self.video_encoder3(self.video_encoder2(x_video, mask), mask)
        x_sub = self.sub_encoder3(self.sub_encoder2(x_sub, mask), mask)
        return x_video, x_sub

    def video_scores(self, video_query, sub_query, corpus):
        """phi of every sentence and video."""

        def best(query, context):
            query, context = F.normalize(query, dim=-1), F.normalize(context, dim=-1)
            scores = torch.einsum("md,nld->mln", query, context)
            mask = corpus["mask"].T[None]  # (1, T, V)
            return (scores * mask + (1 - mask) * -1e10).max(dim=1).values

        return (best(video_query, corpus["video"]) + best(sub_query, corpus["subtitles"])) / 2

    def span_probabilities(self, video_query, sub_query, corpus):
        """Start and end probabilities of every sentence in every video, (Q, V, T) each."""
        video_query, sub_query = self.video_query_linear(video_query), self.sub_query_linear(sub_query)
        similarity = torch.einsum("md,nld->mnl", video_query, corpus["video"])
        similarity = (similarity + torch.einsum("md,nld->mnl", sub_query, corpus["subtitles"])) / 2
        shape, mask = similarity.shape, corpus["mask"][None]
        flat = similarity.view(-1, 1, shape[-1])
        start = self.merged_st_predictor(flat).view(shape) * mask + (1 - mask) * -1e10
        end = self.merged_ed_predictor(flat).view(shape) * mask + (1 - mask) * -1e10
        return start.softmax(dim=-1), end.softmax(dim=-1)


@torch.no_grad()
def encode_corpus(model, batches):
    """All videos of the batches (video, subtitles, mask), padded as they come."""
    parts = {"video": [], "subtitles": [], "mask": []}
    for video, subtitles, mask in batches:
        for name, part in zip(parts, (*model.encode_context(video, subtitles, mask), mask), strict=True):
            parts[name].append(part)
    corpus = {}
    for name in list(parts):  # one after the other: two copies of everything would be the peak
        corpus[name] = torch.cat(parts.pop(name))
    return corpus


def full_sort(scores, top):
    """Where the `top` largest values of each row are; NumPy sorts four times as fast as torch here."""
    return torch.stack([torch.from_numpy(np.argsort(-row.numpy())[:top].copy()) for row in scores])


@torch.no_grad()
def answer(model, corpus, words, mask, own, *, alpha=30.0, videos=100, spans=200, lengths=(2, 16)):
    """VR, VCMR and SVMR of a batch of sentences; moments as (video, first clip, end clip) and a score."""
    video_query, sub_query = model.encode_query(words, mask)
    weights = (alpha * model.video_scores(video_query, sub_query, corpus)).exp()
    start, end = model.span_probabilities(video_query, sub_query, corpus)
    weight, best = weights.topk(videos, dim=1)

    rows, clips = torch.arange(len(words)), start.shape[-1]
    length = torch.arange(clips)[None] - torch.arange(clips)[:, None]
    allowed = ((length >= lengths[0]) & (length < lengths[1])).float()
    tables = torch.einsum(
        "qvm,qvn->qvmn", start[rows[:, None], best] * weight[..., None], end[rows[:, None], best]
    )
    tables = tables.mul_(allowed).flatten(1)
    order = full_sort(tables, spans)
    scores = tables.gather(1, order)
    moments = torch.stack(
        [best.gather(1, order // clips**2), order % clips**2 // clips, order % clips], dim=-1
    )

    own_table = (torch.einsum("qm,qn->qmn", start[rows, own], end[rows, own]) * allowed).flatten(1)
    own_order = full_sort(own_table, spans)
    own_moments = torch.stack(
        [own[:, None].expand_as(own_order), own_order // clips, own_order % clips], dim=-1
    )
    return {
        "VR": (best, weight),
        "VCMR": (moments, scores),
        "SVMR": (own_moments, own_table.gather(1, own_order)),
    }

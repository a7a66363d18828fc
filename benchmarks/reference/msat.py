"""MSAT written down plainly: sections 3 to 5 of the specification, every map on all T x T cells.

What `vmrlib.models.msat` is timed against and must equal. It computes what the specification says in the
order in which it says it, batched: six projections per stream, attention over concatenated keys, the moment
head on the concatenation [S; C; E] of every pair of points, the guess of every word, the losses as masked
maps. Nothing of vmrlib is imported.
"""

import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Sizes:
    """Numbers of one configuration (section 1); with `dense`, candidates are 1 <= j - i <= dense."""

    clips: int = 256
    stride: int = 2
    dim_video: int = 4096
    dim_words: int = 300
    vocabulary: int = 1514
    positions: int = 194
    dim: int = 512
    layers: int = 6
    heads: int = 32
    dim_ffn: int = 512
    dim_head: int = 512
    dropout: float = 0.1
    peak: float = 0.7
    weights: tuple[float, ...] = (0.3, 1.0, 200.0, 0.25)  # stage, regression, IoU, words
    dense: int = 0

    @property
    def points(self):
        return self.clips // self.stride + 1


# 3.1 and 3.2: embedding and encoder


class Stream(nn.Module):
    """What one modality has of a layer: its projections, its feed-forward network."""

    def __init__(self, sizes):
        super().__init__()
        d = sizes.dim
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.query_cross, self.key_cross, self.value_cross = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Linear(d, d)
        self.norm_out = nn.LayerNorm(d, eps=1e-12)
        self.ffn_in = nn.Linear(d, sizes.dim_ffn)
        self.ffn_out = nn.Linear(sizes.dim_ffn, d)
        self.norm_ffn = nn.LayerNorm(d, eps=1e-12)
        self.heads = sizes.heads
        self.dropout = nn.Dropout(sizes.dropout)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, own, other, own_bias, other_bias):
        """New states of `own` (B, n, d) and the probabilities over the own, then the other's states."""
        query, key, value = (self.split(f(own)) for f in (self.query, self.key, self.value))
        query_cross = self.split(self.query_cross(own))
        key_cross, value_cross = self.split(self.key_cross(other)), self.split(self.value_cross(other))
        scale = math.sqrt(query.shape[-1])
        logits_own = query @ key.transpose(-1, -2) / scale + own_bias
        logits_cross = query_cross @ key_cross.transpose(-1, -2) / scale + other_bias
        probabilities = torch.cat([logits_own, logits_cross], dim=-1).softmax(dim=-1)
        values = torch.cat([value, value_cross], dim=2)
        context = (self.dropout(probabilities) @ values).transpose(1, 2).flatten(2)
        hidden = self.norm_out(self.dropout(self.out(context)) + own)
        inner = F.gelu(self.ffn_in(hidden))
        return self.norm_ffn(self.dropout(self.ffn_out(inner)) + hidden), probabilities


def position_table(positions, dim):
    """The compressed sinusoid: positions are divided by their number and multiplied by 2 pi."""
    k = torch.arange(dim, dtype=torch.float64)
    angles = 2 * math.pi * torch.arange(positions, dtype=torch.float64)[:, None] / positions
    angles = angles / 10000 ** (2 * (k // 2) / dim)
    return torch.where(k % 2 == 0, angles.sin(), angles.cos()).float()


class PlainMSAT(nn.Module):
    """Outputs of one forward pass, as a dict: see `forward`."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        d, h = sizes.dim, sizes.dim_head
        self.video_in = nn.Linear(sizes.dim_video, d)
        self.words_in = nn.Linear(sizes.dim_words, d)
        self.hidden_word = nn.Parameter(torch.randn(1, d) * 0.02)
        self.norm_video, self.norm_words = nn.LayerNorm(d, eps=1e-12), nn.LayerNorm(d, eps=1e-12)
        self.build_encoder(sizes)
        dropout = nn.Dropout(sizes.dropout)
        self.dropout = dropout
        self.word_head = nn.Sequential(
            dropout, nn.Linear(d, h), nn.ReLU(), dropout, nn.Linear(h, sizes.vocabulary)
        )
        self.stage_features = nn.Sequential(dropout, nn.Linear(d, 3 * d), nn.ReLU(), dropout)
        self.start_score, self.end_score, self.middle_score = (
            nn.Sequential(nn.Linear(d, h), nn.ReLU(), dropout, nn.Linear(h, 1)) for _ in range(3)
        )
        self.moment_head = nn.Sequential(nn.Linear(3 * d, h), nn.ReLU(), dropout, nn.Linear(h, 3))
        self.register_buffer("position", position_table(sizes.positions, d), persistent=False)
        self.register_buffer("candidates", candidate_mask(sizes), persistent=False)

    def build_encoder(self, sizes):
        """What `encode` goes through."""
        self.text = nn.ModuleList(Stream(sizes) for _ in range(sizes.layers))
        self.visual = nn.ModuleList(Stream(sizes) for _ in range(sizes.layers))

    def forward(self, video, words, word_mask, hidden_words=None):
        """Outputs for clips (B, M, D) and word vectors (B, L, W); `hidden_words` only acts in training.

        Of B samples, T points and L words: pooled (B, T, D), embed_video, embed_text, layers (states of text
        and video after each), attention (per layer, text and video), stages (B, T, 3d), stage_logits
        (B, 3, T), word_logits (B, L, V), moment (B, 3, T, T), boundaries (B, 2, T, T), score_map (B, T, T).
        """
        out = self.embed(video, words, hidden_words)
        out |= self.encode(out["embed_video"], out["embed_text"], word_mask)
        return out | self.heads(*out["encoded"])

    def embed(self, video, words, hidden_words):
        s, T = self.sizes.stride, self.sizes.points
        pooled = F.avg_pool1d(video.transpose(1, 2), s, s, padding=s // 2).transpose(1, 2)
        x = self.video_in(pooled)
        w = self.words_in(words)
        if self.training and hidden_words is not None:
            w = torch.where(hidden_words.bool()[:, :, None], self.hidden_word, w)
        both = torch.cat([x, w], dim=1)
        both = both + self.position[: both.shape[1]]
        x, w = both[:, :T], both[:, T:]
        x, w = self.dropout(self.norm_video(x)), self.dropout(self.norm_words(w))
        return {"pooled": pooled, "embed_video": x, "embed_text": w}

    def encode(self, x, w, word_mask):
        out = {"layers": [], "attention": []}
        bias = (1 - word_mask.float())[:, None, None, :] * -1e6
        for text, visual in zip(self.text, self.visual, strict=True):
            (w, by_text), (x, by_video) = text(w, x, bias, 0.0), visual(x, w, 0.0, bias)
            out["layers"].append((w, x))
            out["attention"].append((by_text, by_video))
        return out | {"encoded": (x, w)}

    def heads(self, x, w):
        T, out = self.sizes.points, {"word_logits": self.word_head(w)}
        out["stages"] = self.stage_features(x)
        start, end, middle = out["stages"].chunk(3, dim=-1)
        out["stage_logits"] = torch.cat(
            [self.start_score(start), self.end_score(end), self.middle_score(middle)], dim=-1
        ).transpose(1, 2)

        i = torch.arange(T, device=x.device)
        half = (i[:, None] + i[None, :]) // 2
        shape = (-1, T, T, -1)
        pairs = torch.cat(
            [start[:, :, None].expand(*shape), middle[:, half], end[:, None].expand(*shape)], dim=-1
        )
        moment = self.moment_head(pairs).permute(0, 3, 1, 2)
        boundaries = torch.stack([moment[:, 0] + i[:, None], moment[:, 1] + i[None, :]], dim=1)
        valid = self.candidates & (boundaries[:, 0] < boundaries[:, 1])
        out |= {"moment": moment, "boundaries": boundaries, "score_map": moment[:, 2].sigmoid() * valid}
        return out


# 3.4: candidates


def candidate_mask(sizes):
    """A (T, T): the cells that are proposed, on a grid that is finer for short moments."""
    T = sizes.points
    i = torch.arange(T)[:, None]
    j = torch.arange(T)[None, :]
    length = j - i
    if sizes.dense:
        return (length >= 1) & (length <= sizes.dense)
    mask = (length >= 1) & (length <= 16)
    rows = [(18, 32, 2)] if T == 33 else [(18, 32, 2), (36, 64, 4), (72, 128, 8)]
    for least, most, grid in rows:
        mask |= (length >= least) & (length <= most) & (i % grid == 0) & (j % grid == 0)
    return mask


# 2.4 and 4: targets and losses


def targets(moments, points, peak):
    """Rows start, end, middle, gs - t, ge - t (B, 5, T) of moments (B, 2) in cells."""
    t = torch.arange(points, dtype=torch.float64)
    maps = []
    for start, end in moments.double().tolist():
        length, rows = end - start, []
        for centre, width, top, floor, least in (
            (start, 0.25, peak, 0.1353, 0.4),
            (end, 0.25, peak, 0.1353, 0.4),
            ((start + end) / 2, 0.21233, 0.78, 0.0625, 0.0),
        ):
            value = torch.exp(-0.5 * ((t - centre) / (width * length)) ** 2)
            row = value.clone()
            row[value >= top] = 1
            row[value < floor] = 0
            if not (row > least).any():
                row[value.argmax()] = 1
            rows.append(row)
        maps.append(torch.stack([*rows, start - t, end - t]))
    return torch.stack(maps).float()


def losses(out, maps, moments, word_labels, hidden_words, sizes, candidates):
    """The four losses and their weighted sum, from the maps (B, 5, T) and moments (B, 2) in cells."""
    stage_logits, moment, boundaries = out["stage_logits"], out["moment"], out["boundaries"]

    y = maps[:, :3]
    focus = (stage_logits.sigmoid() - y) ** 2
    stage = (F.binary_cross_entropy_with_logits(stage_logits, y, reduction="none") * focus).sum(-1).mean()

    near = ((maps[:, 0] >= 0.4)[:, :, None] & (maps[:, 1] >= 0.4)[:, None, :]).float()  # R
    count = near.sum((1, 2))
    start_error = (moment[:, 0] - maps[:, 3][:, :, None]).abs()
    end_error = (moment[:, 1] - maps[:, 4][:, None, :]).abs()
    per_side = [(error * near).sum((1, 2)) / count for error in (start_error, end_error)]
    regression = torch.stack(per_side).mean()

    start, end = boundaries.detach().unbind(1)
    true_start, true_end = moments.float()[:, :, None, None].unbind(1)
    overlap = (torch.minimum(end, true_end) - torch.maximum(start, true_start)).clamp(min=1e-10)
    hull = (torch.maximum(end, true_end) - torch.minimum(start, true_start)).clamp(min=1e-7)
    target = overlap / hull
    target = torch.where(target < 0.5, torch.zeros_like(target), target)
    used = (candidates & (start < end)).float()  # U
    logit = moment[:, 2]
    error = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    error = error * (logit.sigmoid() - target) ** 2
    iou = ((error * used).sum((1, 2)) / used.sum((1, 2)).clamp(min=1)).mean()

    hidden = hidden_words.float()
    guessed = out["word_logits"].log_softmax(-1).gather(-1, word_labels[:, :, None]).squeeze(-1)
    words = -(guessed * hidden).sum() / (hidden.sum(1) > 0).sum().clamp(min=1)

    parts = (stage, regression, iou, words)
    total = sum(weight * part for weight, part in zip(sizes.weights, parts, strict=True))
    return dict(zip(("stage", "regression", "iou", "words", "total"), (*parts, total), strict=True))


# 5: inference


def proposals(out, duration, sample, cells):
    """Moments (n, 2) in seconds with scores (n,), best first, of one sample: every cell with start < end."""
    start, end = out["boundaries"][sample].flatten(1).double()
    scores = out["score_map"][sample].flatten()
    order = scores.argsort(descending=True, stable=True)
    order = order[(start < end)[order]]
    return torch.stack([start, end], dim=1)[order] / cells * duration, scores[order]


def localise(out, durations, sizes, threshold, top=5):
    """For each sample, (moments, scores) of the `top` proposals that greedy suppression keeps."""
    found = []
    for sample, duration in enumerate(durations.tolist()):
        moments, scores = proposals(out, duration, sample, sizes.points - 1)
        kept = []
        for index, (start, end) in enumerate(moments.tolist()):
            if all(overlap_of(start, end, *moments[other].tolist()) <= threshold for other in kept):
                kept.append(index)
            if len(kept) == top:
                break
        found.append((moments[kept], scores[kept]))
    return found


def overlap_of(start, end, other_start, other_end):
    hull = max(end, other_end) - min(start, other_start)
    return max(min(end, other_end) - max(start, other_start), 0.0) / hull


# The authors' names

RENAMES = [
    (r"^vlbert\.visual_1x1_object\.", "video_in."),
    (r"^vlbert\.word_mapping\.", "words_in."),
    (r"^vlbert\.mask_embeddings\.weight$", "hidden_word"),
    (r"^vlbert\.visual_embedding_LayerNorm\.", "norm_video."),
    (r"^vlbert\.text_embedding_LayerNorm\.", "norm_words."),
    (r"^vlbert\.encoder\.layer\.(\d+)\.(\w+?)_(text|visual)\.", r"\3.\1.\2."),
    (r"\.attention\.self\.(\w+?)_other\.", r".\1_cross."),
    (r"\.attention\.self\.", "."),
    (r"\.attention\.output\.dense\.", ".out."),
    (r"\.attention\.output\.LayerNorm\.", ".norm_out."),
    (r"\.intermediate\.dense\.", ".ffn_in."),
    (r"\.output\.dense\.", ".ffn_out."),
    (r"\.output\.LayerNorm\.", ".norm_ffn."),
    (r"^final_mlp\.", "word_head."),
    (r"^final_mlp_2\.", "stage_features."),
    (r"^final_mlp_3\.", "moment_head."),
    (r"^final_mlp_s\.", "start_score."),
    (r"^final_mlp_e\.", "end_score."),
    (r"^final_mlp_c\.", "middle_score."),
]


def plain_name(official):
    """The name here of a parameter of the released code."""
    name = official.removeprefix("bert_layer.")
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def load_official(model, state):
    """The model with the authors' weights; their `visual_1x1_text` is used nowhere."""
    renamed = {plain_name(name): value for name, value in state.items() if "visual_1x1_text" not in name}
    model.load_state_dict(renamed)
    return model

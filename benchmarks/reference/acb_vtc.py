"""Asymmetric co-attention with the contrastive loss, written down plainly: sections 8 and 9.

What `vmrlib.models.acb` and `vmrlib.models.vtc` are timed against and must equal. Embedding, heads, losses
and inference (sections 3 to 5) are those of `msat.py` beside this file. Three projections for every
attention, queues with their keys as columns, one matrix of keys from batch and queue, a loop over the
moments. Nothing of vmrlib is imported.
"""

import copy
import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from reference import msat


@dataclass(frozen=True)
class Sizes(msat.Sizes):
    """Numbers of one configuration; the encoder is `groups` x (`stride_layer` ACBs, a connected block)."""

    heads: int = 16
    weights: tuple[float, ...] = (0.5, 0.5, 100.0, 0.5)
    stride_layer: int = 2
    groups: int = 3
    weight_contrast: float = 0.5
    dim_contrast: int = 512
    queue: int = 50_000
    momentum: float = 0.995
    alpha: float = 0.3
    temperature: float = 0.1


# 8: encoder


class Attention(nn.Module):
    """LN(dropout(Wo MHA(Wq x, Wk y, Wv y)) + x)."""

    def __init__(self, sizes):
        super().__init__()
        d = sizes.dim
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Linear(d, d)
        self.norm_out = nn.LayerNorm(d, eps=1e-12)
        self.heads = sizes.heads
        self.dropout = nn.Dropout(sizes.dropout)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, y, bias):
        query, key, value = self.split(self.query(x)), self.split(self.key(y)), self.split(self.value(y))
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias
        context = (self.dropout(logits.softmax(dim=-1)) @ value).transpose(1, 2).flatten(2)
        return self.norm_out(self.dropout(self.out(context)) + x)


class Block(nn.Module):
    """An asymmetric co-attention block (text alone, video passes), or a connected one (both)."""

    def __init__(self, sizes, connected):
        super().__init__()
        self.own = Attention(sizes)
        self.cross = None if connected else Attention(sizes)

    def forward(self, x, w, bias):
        """Video and text after the block, and what the released code calls the block's output."""
        if self.cross is not None:
            w = self.cross(self.own(w, w, bias), x, 0.0)
            return x, w, w
        T = x.shape[1]
        z = torch.cat([x, w], dim=1)
        z = self.own(z, z, F.pad(bias, (T, 0)))
        return z[:, :T], z[:, T:], z


# 9: contrastive loss


class Contrast(nn.Module):
    """The linear layers before the encoder, their momentum copies, the queues, and the loss."""

    NAMES = ("visual_encoder", "text_encoder", "vision_proj", "text_proj")

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        d, e = sizes.dim, sizes.dim_contrast
        self.visual_encoder, self.text_encoder = nn.Linear(d, d), nn.Linear(d, d)
        self.vision_proj, self.text_proj = nn.Linear(d, e), nn.Linear(d, e)
        for name in self.NAMES:
            setattr(self, f"{name}_m", copy.deepcopy(getattr(self, name)).requires_grad_(False))
        self.temp = nn.Parameter(torch.tensor(sizes.temperature))
        self.register_buffer("image_queue", F.normalize(torch.randn(e, sizes.queue), dim=0))
        self.register_buffer("text_queue", F.normalize(torch.randn(e, sizes.queue), dim=0))
        self.register_buffer("idx_queue", torch.full((1, sizes.queue), -100))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    def forward(self, video, text, moments=None, ids=None):
        """Encoded video and text, and the loss; it is 0 outside of training."""
        x, w = self.visual_encoder(video), self.text_encoder(text)
        if not self.training:
            return x, w, x.new_zeros(())
        f_v = F.normalize(self.vision_proj(segments(x, moments)), dim=-1)
        f_t = F.normalize(self.text_proj(w.sum(dim=1)), dim=-1)

        with torch.no_grad():
            self.follow()
            x_m, w_m = self.visual_encoder_m(video), self.text_encoder_m(text)
            f_v_m = F.normalize(self.vision_proj_m(segments(x_m, moments)), dim=-1)
            f_t_m = F.normalize(self.text_proj_m(w_m.sum(dim=1)), dim=-1)
            all_v = torch.cat([f_v_m.t(), self.image_queue], dim=1)
            all_t = torch.cat([f_t_m.t(), self.text_queue], dim=1)
            same = (ids[:, None] == torch.cat([ids[None], self.idx_queue], dim=1)).float()
            hard = same / same.sum(dim=1, keepdim=True)
            alpha = self.sizes.alpha
            target_v = alpha * F.softmax(f_v_m @ all_t / self.temp, dim=1) + (1 - alpha) * hard
            target_t = alpha * F.softmax(f_t_m @ all_v / self.temp, dim=1) + (1 - alpha) * hard

        loss_v = -(F.log_softmax(f_v @ all_t / self.temp, dim=1) * target_v).sum(dim=1).mean()
        loss_t = -(F.log_softmax(f_t @ all_v / self.temp, dim=1) * target_t).sum(dim=1).mean()
        self.enqueue(f_v_m, f_t_m, ids)
        return x, w, (loss_v + loss_t) / 2

    @torch.no_grad()
    def follow(self):
        m = self.sizes.momentum
        for name in self.NAMES:
            online, copied = getattr(self, name), getattr(self, f"{name}_m")
            for theta, theta_m in zip(online.parameters(), copied.parameters(), strict=True):
                theta_m.copy_(m * theta_m + (1 - m) * theta)

    @torch.no_grad()
    def enqueue(self, f_v_m, f_t_m, ids):
        size = self.idx_queue.shape[1]
        places = (self.queue_ptr + torch.arange(len(ids), device=ids.device)) % size
        self.image_queue[:, places], self.text_queue[:, places] = f_v_m.t(), f_t_m.t()
        self.idx_queue[:, places] = ids
        self.queue_ptr[0] = (self.queue_ptr[0] + len(ids)) % size


def segments(x, moments):
    """Sums of the points ceil(start) <= t < ceil(end) of each sample (B, d)."""
    sums = []
    for row, (start, end) in zip(x, moments.tolist(), strict=True):
        sums.append(row[math.ceil(start) : math.ceil(end)].sum(dim=0))
    return torch.stack(sums)


class PlainACB(msat.PlainMSAT):
    """Outputs of one forward pass, as a dict: those of PlainMSAT, and contrast (the loss), contrast_video,
    contrast_text (what the encoder reads); `layers` has one tensor for each block."""

    def build_encoder(self, sizes):
        self.contrast = Contrast(sizes)
        group = [False] * sizes.stride_layer + [True]
        self.blocks = nn.ModuleList(Block(sizes, connected) for connected in group * sizes.groups)

    def forward(self, video, words, word_mask, hidden_words=None, moments=None, ids=None):
        """`moments` (B, 2) in cells and `ids` (B,) of the annotations only act in training."""
        out = self.embed(video, words, hidden_words)
        x, w, loss = self.contrast(out["embed_video"], out["embed_text"], moments, ids)
        out |= {"contrast": loss, "contrast_video": x, "contrast_text": w}
        out |= self.encode(x, w, word_mask)
        return out | self.heads(*out["encoded"])

    def encode(self, x, w, word_mask):
        bias = (1 - word_mask.float())[:, None, None, :] * -1e6
        layers = []
        for block in self.blocks:
            x, w, output = block(x, w, bias)
            layers.append(output)
        return {"layers": layers, "encoded": (x, w)}


def losses(out, maps, moments, word_labels, hidden_words, sizes, candidates):
    """The five losses and their weighted sum."""
    found = msat.losses(out, maps, moments, word_labels, hidden_words, sizes, candidates)
    total = found["total"] + sizes.weight_contrast * out["contrast"]
    return found | {"contrast": out["contrast"], "total": total}


# The authors' names

RENAMES = [
    (r"^vlbert\.visual_1x1_visual\.", "video_in."),
    (r"^vlbert\.mplug\.", "contrast."),
    (r"^vlbert\.encoder\.layer\.(\d+)\.crossattention", r"blocks.\1.cross"),
    (r"^vlbert\.encoder\.layer\.(\d+)\.attention", r"blocks.\1.own"),
    (r"(own|cross)\.self\.", r"\1."),
    (r"(own|cross)\.output\.dense\.", r"\1.out."),
    (r"(own|cross)\.output\.LayerNorm\.", r"\1.norm_out."),
]


def plain_name(official):
    """The name here of a parameter or queue of the released code."""
    name = official.removeprefix("bert_layer.")
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return msat.plain_name(name)


def load_official(model, state):
    """The model with the authors' weights and queues; their `itm_head` is used nowhere."""
    renamed = {plain_name(name): value for name, value in state.items() if "itm_head" not in name}
    model.load_state_dict(renamed)
    return model

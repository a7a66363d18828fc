"""UCoFiA written down plainly: sections 3 to 7 of the specification, block of texts by block of videos.

What `vmrlib.models.ucofia` is timed against and must equal. It computes what the specification says in the
order in which it says it, batched: a block of texts and a block of videos come in as encoded features, are
normalised, the videos go through the temporal encoder, both sides through their matrices, and every softmax
is taken of a whole tensor (texts, videos, words, patches). The perturbed top-k counts one-hots of every draw.
Parameters have the names of the released code. Nothing of vmrlib is imported.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

# 3: temporal encoder


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * dim, dim) / math.sqrt(dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x, bias):
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias
        return self.out_proj((logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn = Attention(dim, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(dim, 4 * dim), "c_proj": nn.Linear(4 * dim, dim)})

    def forward(self, x, bias):
        x = x + self.attn(self.ln_1(x), bias)
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))


class Temporal(nn.Module):
    def __init__(self, dim, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))

    def forward(self, x, bias):
        for block in self.resblocks:
            x = block(x, bias)
        return x


# 4: patch selection


class CountedTopK(torch.autograd.Function):
    """Indicators of the k best (by place), averaged over draws; the released, diagonal gradient."""

    @staticmethod
    def forward(ctx, scores, noise, k, sigma):
        places = (scores[:, None] + sigma * noise).topk(k, dim=-1).indices.sort(dim=-1).values
        one_hot = F.one_hot(places, scores.shape[1]).float()  # (R, S, k, N)
        ctx.save_for_backward(one_hot, noise)
        ctx.sigma = sigma
        return one_hot.mean(dim=1)

    @staticmethod
    def backward(ctx, gradient):
        one_hot, noise = ctx.saved_tensors
        slope = torch.einsum("rskn,rsn->rkn", one_hot, noise) / (noise.shape[1] * ctx.sigma)
        return (gradient * slope).sum(dim=1), None, None, None


class Scorer(nn.Module):
    """`frame`: [h_j ; h_0] of each frame; `video`: LN of [x_j ; x_0], and the sum of h_0 over frames."""

    def __init__(self, dim, kind):
        super().__init__()
        self.kind = kind
        wide = 2 * dim if kind == "video" else dim
        self.in_conv = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, wide // 2, bias=False), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(wide, wide // 2, bias=False), nn.GELU(), nn.Linear(wide // 2, 1, bias=False), nn.Tanh()
        )

    def forward(self, tokens):
        x = tokens
        if self.kind == "video":
            x = torch.cat([x, x[:, :, :1].expand_as(x)], dim=-1)
        hidden = self.in_conv(x)
        context = hidden[:, :, :1]
        if self.kind == "video":
            context = context.sum(dim=1, keepdim=True)
        return self.out_conv(torch.cat([hidden, context.expand_as(hidden)], dim=-1))[..., 0]


class Selector(nn.Module):
    def __init__(self, dim, kind="frame"):
        super().__init__()
        self.score_predictor = Scorer(dim, kind)

    def forward(self, tokens, noise, k=3, sigma=0.05):
        scores = self.score_predictor(tokens)[:, :, 1:].flatten(0, 1)
        indicator = CountedTopK.apply(scores, noise, k, sigma)
        chosen = torch.einsum("rkn,rnd->rkd", indicator, tokens[:, :, 1:].flatten(0, 1))
        classes = tokens[:, :, :1].flatten(0, 1)
        return torch.cat([classes, chosen], dim=1).reshape(len(tokens), -1, tokens.shape[-1])


# 5: similarities


def interact(scores, matrix, temperature):
    """ISA along the last axis."""
    p = (scores / temperature).softmax(dim=-1)
    q = ((p @ matrix) / temperature).softmax(dim=-1)
    return (q * scores).sum(dim=-1)


class PlainUCoFiA(nn.Module):
    """Everything behind CLIP's features."""

    def __init__(self, dim, frames, words, vectors, heads, layers, positions, scorer="frame", tau=0.01):
        super().__init__()
        self.tau = tau
        self.logit_scale = nn.Parameter(torch.tensor(math.log(100)))
        self.frame_position_embeddings = nn.Embedding(positions, dim)
        self.transformerClip = Temporal(dim, heads, layers)
        self.visual_token_selector = Selector(dim, scorer)
        for name in ("global_mat_weight", "global_mat_weight_1", "local_mat_weight", "local_mat_weight1"):
            setattr(self, name, nn.Parameter(torch.eye(dim)))
        self.frame_logit_weight = nn.Parameter(torch.eye(frames))
        for name in ("word_mat_weight", "word_mat_weight2"):
            setattr(self, name, nn.Parameter(torch.eye(words)))
        for name in ("pixel_mat_weight", "pixel_mat_weight2"):
            setattr(self, name, nn.Parameter(torch.eye(vectors)))

    def encode_frames(self, frames, mask):
        """The temporal encoder without its outer residual."""
        bias = (1.0 - mask.float())[:, None, None] * -1e6
        return self.transformerClip(frames + self.frame_position_embeddings.weight[: frames.shape[1]], bias)

    def video_feature(self, frames, mask):
        states = self.encode_frames(frames, mask) + frames
        states = states / states.norm(dim=-1, keepdim=True) * mask[..., None].float()
        pooled = states.sum(dim=1) / mask.float().sum(dim=1, keepdim=True).clamp(min=1)
        return pooled / pooled.norm(dim=-1, keepdim=True)

    def similarities(self, sentence, words, frames, patches, mask, patch_map=False):
        """Three levels of a block (texts, videos); `patch_map`: the training tree's L1."""
        video = self.video_feature(frames, mask) @ self.global_mat_weight_1
        sentence = sentence / sentence.norm(dim=-1, keepdim=True)
        words = words / words.norm(dim=-1, keepdim=True) @ self.local_mat_weight
        frames = frames / frames.norm(dim=-1, keepdim=True)
        patches = patches @ self.local_mat_weight1 if patch_map else patches
        return self.pairs(sentence, sentence @ self.global_mat_weight, words, video, frames, patches)

    def pairs(self, sentence, mapped, words, video, frames, patches):
        """The same from what is normalised and mapped already."""
        scale, tau = self.logit_scale.exp(), self.tau
        whole = scale * mapped @ video.T
        cosines = torch.einsum("ad,bfd->abf", sentence, frames)
        by_frame = scale * interact(cosines, self.frame_logit_weight, tau)
        products = torch.einsum("awd,bpd->abwp", words, patches)
        per_patch = interact(products.transpose(-1, -2), self.word_mat_weight, tau)
        per_word = interact(products, self.pixel_mat_weight, tau)
        path_a = interact(per_patch, self.pixel_mat_weight2, tau)
        path_b = interact(per_word, self.word_mat_weight2, tau)
        return torch.stack([whole, by_frame, (path_a + path_b) / 2])

    def table(self, texts, videos, block=32):
        """All levels of many texts and videos, as the released evaluation goes through them."""
        rows = []
        for first in range(0, len(texts[0]), block):
            some = [part[first : first + block] for part in texts]
            row = [
                self.similarities(*some, *(part[other : other + block] for part in videos))
                for other in range(0, len(videos[0]), block)
            ]
            rows.append(torch.cat(row, dim=2))
        return torch.cat(rows, dim=1)


# 6: loss


def losses(logits):
    """Cross entropies over rows and over columns, and their mean."""
    rows = -logits.log_softmax(dim=1).diagonal().mean()
    columns = -logits.log_softmax(dim=0).diagonal().mean()
    return rows, columns, (rows + columns) / 2


# 7: Sinkhorn biases


def sinkhorn(scores, iterations=4):
    """Biases of rows and of columns."""
    kernel = (scores - scores.max()).exp()
    b = 1 / kernel.sum(dim=0)
    for _ in range(iterations):
        a = 1 / (kernel @ b)
        b = 1 / (kernel.T @ a)
    return a.log().log_softmax(dim=0), b.log().log_softmax(dim=0)

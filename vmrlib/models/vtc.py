"""The video-text contrastive loss (arXiv 2312.07435; section 9 of the specification).

A sentence and its moment should be alike before anything mixes the two. Words and boundary points go through
one linear layer each (what they become is also what the encoder reads, at inference, too); the points of the
true moment are summed to one vector, all words to another, and each vector must find its partner among those
of the batch and of a queue of earlier batches. As in ALBEF (Li et al. 2021), from which the released code
derives, the keys come from encoders that follow the learning ones slowly (MoCo, He et al. 2020), and what
those think of the other keys softens the targets.

    model(batch)            in training: what `contrast_loss` needs, and keys that wait to be put away
    model.after_step()      after the optimiser's step: the keys go into the queue

Several processes share their keys, so that they learn what one would from the whole batch.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmrlib.models.gathering import gathered
from vmrlib.models.msat_losses import samples

MOST_PARTS = 1024  # that a batch may come in; a loop that forgets `after_step` soon has more
STAGE = {"weight": 0.5, "queue_size": 4096, "sync_momentum": True}  # what is not as released there
EMPTY = -100  # the annotation of a place in the queue that nothing was put into yet


@dataclass(frozen=True)
class VTCConfig:
    """Constants of the loss; the defaults are those of the released code.

    weight: of this loss in the sum of all.
    dim: of the vectors that are compared; None: that of the model.
    queue_size: of the keys of earlier batches; 0: only those of the batch.
    momentum: share of its own that a slow encoder keeps at each step. None: there are no slow encoders, the
    keys are the batch's own vectors and learn, too (in-batch InfoNCE).
    alpha: share of the slow encoders' opinion in the targets; 0: no distillation.
    alpha_steps: over so many steps alpha rises from 0 (ALBEF); 0: it is constant.
    temperature: at the start; it is learnt. clamp: its limits (ALBEF: 0.001, 0.5), or None.
    mask_padding: leave padding out of the vector of a sentence. Where it counts, the loss depends on how a
    batch is divided into parts or among processes, since each part is padded by itself.
    pool: sum or mean, of points and of words.
    place: what is pooled comes from before the encoder, as released, or from `after` it, where a sentence has
    seen its video already. After it only without slow encoders, for these have no copy of the encoder.
    sync_momentum: the slow encoders start as copies of the others. The released code means to do so, but
    then initialises all weights anew, each by itself.
    positives: a key is right if it comes from the same query and moment (`annotation`), if it has the same
    moment of the same video (`segment`), or if its query has the same words (`sentence`).

    Of a batch in several parts (`accumulation`) each part only meets its own keys and the queue.
    """

    weight: float
    dim: int | None = None
    queue_size: int = 50_000
    momentum: float | None = 0.995
    alpha: float = 0.3
    alpha_steps: int = 0
    temperature: float = 0.1
    clamp: tuple[float, float] | None = None
    mask_padding: bool = False
    pool: str = "sum"
    place: str = "before"
    sync_momentum: bool = False
    positives: str = "annotation"

    def __post_init__(self):
        if self.pool not in ("sum", "mean"):
            raise ValueError(f"contrast.pool: expected sum or mean, found {self.pool!r}")
        if self.place not in ("before", "after"):
            raise ValueError(f"contrast.place: expected before or after, found {self.place!r}")
        if self.positives not in ("annotation", "segment", "sentence"):
            raise ValueError(
                f"contrast.positives: expected annotation, segment or sentence, found {self.positives!r}"
            )
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"contrast.weight: expected 0 or more, found {self.weight}")
        if self.dim is not None and self.dim < 1:
            raise ValueError(f"contrast.dim: expected a number above 0, found {self.dim}")
        if self.clamp and not 0 < self.clamp[0] <= self.clamp[1]:
            raise ValueError(f"contrast.clamp: expected two numbers above 0, rising, found {self.clamp}")
        if self.queue_size < 0 or self.alpha_steps < 0:
            raise ValueError("contrast.queue_size, contrast.alpha_steps: expected 0 or more")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"contrast.alpha: expected a number in 0..1, found {self.alpha}")
        if not self.temperature > 0:
            raise ValueError(f"contrast.temperature: expected a number above 0, found {self.temperature}")
        if self.momentum is None and (self.queue_size or self.alpha):
            raise ValueError("contrast.momentum: without slow encoders queue_size and alpha must be 0")
        if self.momentum is not None and self.place == "after":
            raise ValueError("contrast.place: after the encoder only with momentum None")
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise ValueError(f"contrast.momentum: expected a number in 0..1, found {self.momentum}")

    @classmethod
    def stage(cls, **changes) -> "VTCConfig":
        """For Stage: a queue as long as its training set, and slow encoders that start as copies."""
        return cls(**(STAGE | changes))


class Encoders(nn.Module):
    """The four linear layers: of points and words, and of the two vectors that are compared."""

    def __init__(self, dim: int, dim_out: int):
        super().__init__()
        self.video, self.words = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.video_out, self.words_out = nn.Linear(dim, dim_out), nn.Linear(dim, dim_out)

    def compared(
        self,
        words: Float[Tensor, "B L d"],
        video: Float[Tensor, "B T d"],
        word_weights: Float[Tensor, "B L"],
        point_weights: Float[Tensor, "B T"],
    ) -> tuple[Float[Tensor, "B e"], Float[Tensor, "B e"]]:
        """The vectors of sentence and moment, of norm 1, from encoded words and points."""
        sentence = self.words_out((word_weights[:, None] @ words)[:, 0])
        moment = self.video_out((point_weights[:, None] @ video)[:, 0])
        return F.normalize(sentence, dim=1), F.normalize(moment, dim=1)


class VTC(nn.Module):
    """Encoders, their slow copies, and the queues. `encode` is all that inference needs."""

    def __init__(self, dim: int, config: VTCConfig):
        super().__init__()
        self.config = config
        self.encoders = Encoders(dim, config.dim or dim)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))
        self.slow = None
        if config.momentum is not None:
            self.slow = copy.deepcopy(self.encoders).requires_grad_(False)
        # One row for each key, oldest first from `place` on; before anything was put in, random directions.
        keys = F.normalize(torch.randn(2, config.queue_size, config.dim or dim), dim=-1)
        self.register_buffer("queue_words", keys[0].clone())
        self.register_buffer("queue_video", keys[1].clone())
        self.register_buffer("queue_ids", torch.full((config.queue_size,), EMPTY))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def initialise(self, std: float) -> None:
        """Normal weights; those of the slow encoders are drawn by themselves, or copied (`sync_momentum`)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
        if self.slow is not None and self.config.sync_momentum:
            self.slow.load_state_dict(self.encoders.state_dict())

    def encode(
        self, words: Float[Tensor, "B L d"], video: Float[Tensor, "B T d"]
    ) -> tuple[Float[Tensor, "B L d"], Float[Tensor, "B T d"]]:
        """Words and points as the encoder reads them."""
        return self.encoders.words(words), self.encoders.video(video)

    def forward(
        self,
        embedded: tuple[Float[Tensor, "B L d"], Float[Tensor, "B T d"]],
        encoded: tuple[Float[Tensor, "B L d"], Float[Tensor, "B T d"]],
        word_mask: Bool[Tensor, "B L"],
        moments_cell: Float[Tensor, "B 2"],
        ids: Int[Tensor, " B"],
    ) -> dict[str, Tensor]:
        """Logits and targets of both directions, (S, K), over the keys of batch and queue.

        S samples have a moment, the others (NaN) take no part. `embedded` and `encoded` are words and points
        before `encode`, and those to be pooled; `ids` say which keys are right: those with the same id.
        """
        present = ~moments_cell.isnan().any(dim=1)
        moments_cell, ids = moments_cell[present], ids[present]
        word_weights = self.word_weights(word_mask[present])
        point_weights = self.point_weights(moments_cell, embedded[1].shape[1])
        weights = (word_weights.to(encoded[0].dtype), point_weights.to(encoded[1].dtype))
        sentences, moments = self.encoders.compared(*(part[present] for part in encoded), *weights)
        if self.slow is None:
            own_sentences, own_moments = sentences, moments
        else:
            with torch.no_grad():
                if self.training and not self.waiting:  # once a step, also when a step has several parts
                    self.follow()
                words, video = (part[present].detach() for part in embedded)
                slow = self.slow.words(words), self.slow.video(video)
                own_sentences, own_moments = self.slow.compared(*slow, *weights)
        if self.config.clamp:
            with torch.no_grad():  # the number itself: beyond a limit it would have no gradient to come back
                self.temperature.clamp_(*self.config.clamp)
        key_ids, *keys = gathered(ids, own_sentences, own_moments)
        if self.training:
            if len(self.waiting) == MOST_PARTS:
                raise RuntimeError(
                    "the keys of many batches wait: after_step() is to follow each optimiser step"
                )
            self.waiting.append((*(key.detach() for key in keys), key_ids))
        right = ids[:, None] == torch.cat([key_ids, self.queue_ids])
        right = right.to(sentences.dtype) / right.sum(dim=1, keepdim=True)

        outputs, alpha = {}, self.alpha
        sides = (
            ("video", moments, own_moments, keys[0], self.queue_words),
            ("words", sentences, own_sentences, keys[1], self.queue_video),
        )
        for side, vectors, own, batch_keys, queue in sides:
            queue = queue.to(vectors.dtype)
            # two products side by side: the queue is never copied
            logits = torch.cat([vectors @ batch_keys.mT, vectors @ queue.mT], dim=1) / self.temperature
            targets = right
            if alpha:
                with torch.no_grad():
                    opinion = torch.cat([own @ batch_keys.mT, own @ queue.mT], dim=1) / self.temperature
                    targets = alpha * opinion.softmax(dim=1) + (1 - alpha) * right
            outputs |= {f"contrast_{side}_logits": logits, f"contrast_{side}_targets": targets}
        return outputs

    @property
    def alpha(self) -> float:
        """Share of the slow encoders' opinion at this step."""
        config = self.config
        return config.alpha * (
            min(1.0, self.steps.item() / config.alpha_steps) if config.alpha_steps else 1.0
        )

    def word_weights(self, word_mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """What each place of a sentence counts; the released code sums over padding, too."""
        taken = word_mask if self.config.mask_padding else torch.ones_like(word_mask)
        return self._pooling(taken)

    def point_weights(self, moments_cell: Float[Tensor, "B 2"], points: int) -> Float[Tensor, "B T"]:
        """What each point counts: ceil(start) <= t < ceil(end), which may be none (0.9 % of TACoS)."""
        first, last = moments_cell.ceil().long().unbind(dim=1)
        t = torch.arange(points, device=moments_cell.device)
        return self._pooling((t >= first[:, None]) & (t < last[:, None]))

    def _pooling(self, taken: Bool[Tensor, "B X"]) -> Float[Tensor, "B X"]:
        weights = taken.float()
        return (
            weights / weights.sum(dim=1, keepdim=True).clamp_min(1) if self.config.pool == "mean" else weights
        )

    @torch.no_grad()
    def follow(self) -> None:
        """The slow encoders take a step: momentum times theirs, the rest from the learning ones."""
        slow, fast = list(self.slow.parameters()), list(self.encoders.parameters())
        torch._foreach_lerp_(slow, fast, 1 - self.config.momentum)

    @torch.no_grad()
    def enqueue(self) -> None:
        """Puts the keys of the last step away, in the places of the oldest."""
        waiting, self.waiting = self.waiting, []
        self.steps += 1
        size = self.config.queue_size
        if not waiting or not size:
            return
        words, video, ids = (torch.cat(parts)[-size:] for parts in zip(*waiting, strict=True))
        places = (self.place + torch.arange(len(ids), device=ids.device)) % size
        self.queue_words[places] = words.to(self.queue_words.dtype)
        self.queue_video[places] = video.to(self.queue_video.dtype)
        self.queue_ids[places] = ids
        self.place.copy_((self.place + len(ids)) % size)


def contrast_loss(outputs: dict[str, Tensor]) -> Float[Tensor, ""]:
    """L_vtc: the mean of both directions' cross entropies, each a mean over the samples."""
    total = 0.0
    for side in ("video", "words"):
        logits, targets = outputs[f"contrast_{side}_logits"], outputs[f"contrast_{side}_targets"]
        count = samples(len(logits), logits)
        total = total - (targets * logits.log_softmax(dim=1)).sum() / count.where(count > 0, 1)
    return total / 2

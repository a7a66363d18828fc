"""How a model is trained: the numbers that the loop in `training.py` goes by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import torch

from vmrlib.engine.bert_adam import SCHEDULES as BERT_SCHEDULES
from vmrlib.engine.bert_adam import warmup_schedule
from vmrlib.engine.predicting import metric_thresholds
from vmrlib.engine.retrieving import RETRIEVAL_METRICS
from vmrlib.metrics.recall import sign_of


class TrainingError(ValueError):
    """A training that cannot start or go on; the message says where and why."""


PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# name of an optimiser: the schedules that its learning rate may follow
OPTIMIZERS = {"adamw": ("constant", "cosine", "plateau"), "bert_adam": BERT_SCHEDULES}
CLIP_NORMS = {"adamw": 10.0, "bert_adam": 1.0}  # as published with each


def known_metric(name: str) -> None:
    """Raises ValueError for a metric that is neither one of moments nor one of retrieval."""
    if name not in RETRIEVAL_METRICS:
        metric_thresholds(name)


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. Either `epochs` or `steps` says how long.

    batch_size: samples of a step, however many processes and parts compute them.
    accumulation: so many parts of a batch one after the other, for less memory. A mean over some of
    the samples only (MSAT's loss of regression leaves negatives out, that of words all that hide none) is
    that of each part; where parts have unequally many of them, a step is not quite that of the whole batch.
    optimizer: adamw, or bert_adam, with which ReLoCLNet and UCoFiA were trained.
    schedule: constant, cosine (to 0), plateau (times 0.8 after 21 evaluations without a better metric), or
    numbers of epochs, after each of which the rate is divided by ten; after `warmup_steps` of linear growth.
    With bert_adam: constant, cosine, or linear (to 0), as `warmup_schedule` has them, so that the first step
    of a warm-up moves nothing.
    precision: float32, bf16 or fp16.
    clip_norm: of all gradients together; with bert_adam of the gradient of each tensor. None: 10, with
    bert_adam 1, as published.
    metric: on the validation set, by which the best checkpoint is chosen; `convention` as in vmrlib.metrics.
    Models that find videos have those of `engine.retrieving.RETRIEVAL_METRICS`.
    evaluate_epochs, evaluate_steps: how often; neither: after each epoch.
    patience: stop after so many evaluations without a better metric.
    save_steps: how often `last` is saved, besides after evaluations. log_steps: how often a step is logged.
    deterministic: fail where torch has no deterministic algorithm.
    device: auto, cpu, cuda, cuda:1; not mps, which has no float64.
    """

    batch_size: int = 32
    learning_rate: float | int = 1e-4
    epochs: float | int | None = None
    steps: int | None = None
    optimizer: str = "adamw"
    schedule: str | tuple[int, ...] = "constant"
    warmup_steps: int = 0
    accumulation: int = 1
    precision: str = "float32"
    clip_norm: float | int | None = None
    metric: str = "R@1, IoU=0.5"
    convention: str = ">="
    evaluate_epochs: float | int | None = None
    evaluate_steps: int | None = None
    patience: int | None = None
    save_steps: int | None = None
    log_steps: int = 1
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    workers: int = 0
    predict_batch_size: int = 64

    def __post_init__(self):
        if self.clip_norm is None:
            object.__setattr__(self, "clip_norm", CLIP_NORMS.get(self.optimizer, 10.0))
        for name in (
            "batch_size",
            "accumulation",
            "log_steps",
            "predict_batch_size",
            "learning_rate",
            "clip_norm",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise TrainingError(
                    f"training.{name}: expected a number above 0, found {getattr(self, name)}"
                )
        for name in ("epochs", "steps", "evaluate_epochs", "evaluate_steps", "patience", "save_steps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise TrainingError(f"training.{name}: expected a number above 0, found {value}")
        for name in ("warmup_steps", "workers"):
            if getattr(self, name) < 0:
                raise TrainingError(f"training.{name}: expected 0 or more, found {getattr(self, name)}")
        if self.device.partition(":")[0] == "mps":
            raise TrainingError(f"training.device: {self.device} has no float64, as moments need; use cpu")
        if (self.epochs is None) == (self.steps is None):
            raise TrainingError("training: say either epochs or steps")
        if self.evaluate_epochs is not None and self.evaluate_steps is not None:
            raise TrainingError("training: say either evaluate_epochs or evaluate_steps")
        allowed = {"optimizer": tuple(OPTIMIZERS), "precision": tuple(PRECISIONS)}
        if isinstance(self.schedule, str):
            allowed["schedule"] = OPTIMIZERS.get(self.optimizer, ())
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                epochs = ", or a list of epochs" if name == "schedule" and self.optimizer == "adamw" else ""
                expected = f"expected one of {', '.join(values)}{epochs}, found {getattr(self, name)!r}"
                raise TrainingError(f"training.{name}: {expected}")
        if not isinstance(self.schedule, str):
            self._check_epochs(self.schedule)
        for name, check in (("metric", known_metric), ("convention", sign_of)):
            try:
                check(getattr(self, name))
            except ValueError as error:
                raise TrainingError(f"training.{name}: {error}") from None

    def _check_epochs(self, epochs: Sequence[int]) -> None:
        """Raises TrainingError for epochs of a schedule that do not rise, or that bert_adam cannot go by."""
        if self.optimizer != "adamw":
            raise TrainingError(f"training.schedule: a list of epochs goes with adamw, not {self.optimizer}")
        if not epochs or any(one >= next_one for one, next_one in pairwise((0, *epochs))):
            raise TrainingError(f"training.schedule: expected epochs above 0 that rise, found {list(epochs)}")

    def steps_per_epoch(self, samples: int) -> int:
        """The last batch of an epoch may be smaller."""
        return math.ceil(samples / self.batch_size)

    def total_steps(self, samples: int) -> int:
        """All steps of the run. Raises TrainingError where bert_adam would be warming up to the end."""
        total = self.steps or max(1, round(self.epochs * self.steps_per_epoch(samples)))
        if self.optimizer == "bert_adam" and self.warmup_steps >= total:
            raise TrainingError(
                f"training.warmup_steps: expected fewer than the {total} steps of the run, "
                f"found {self.warmup_steps}"
            )
        return total

    def evaluates_after(self, step: int, samples: int) -> bool:
        """Is `step` (the number of steps done) one after which the model is evaluated?"""
        every = self.evaluate_steps or (self.evaluate_epochs or 1) * self.steps_per_epoch(samples)
        return step == self.total_steps(samples) or math.floor(step / every) > math.floor((step - 1) / every)

    def learning_rate_at(self, step: int, total: int, scale: float = 1.0, epoch: int = 0) -> float:
        """The rate of the step after `step` steps of `total`, in an epoch, of which the first is 0.

        `scale` is what the plateaus left of it.
        """
        if self.optimizer == "bert_adam":
            return self.learning_rate * warmup_schedule(self.schedule, total, self.warmup_steps / total)(step)
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "cosine":
            done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        if not isinstance(self.schedule, str):
            scale *= 0.1 ** sum(epoch >= passed for passed in self.schedule)
        return self.learning_rate * scale


def with_defaults(settings: Mapping) -> dict:
    """Settings from a file that an older version wrote: what there was not yet has its default."""
    return {each.name: each.default for each in fields(TrainingSettings)} | dict(settings)

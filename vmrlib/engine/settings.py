"""How a model is trained: the numbers that the loop in `training.py` goes by."""

import math
from dataclasses import dataclass

import torch

from vmrlib.engine.predicting import metric_thresholds
from vmrlib.engine.retrieving import RETRIEVAL_METRICS
from vmrlib.metrics.recall import sign_of


class TrainingError(ValueError):
    """A training that cannot start or go on; the message says where and why."""


PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SCHEDULES = ("constant", "cosine", "plateau")


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
    schedule: constant, cosine (to 0), or plateau (times 0.8 after 21 evaluations without a better metric);
    after `warmup_steps` of linear growth. precision: float32, bf16 or fp16.
    clip_norm: of all gradients together.
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
    schedule: str = "constant"
    warmup_steps: int = 0
    accumulation: int = 1
    precision: str = "float32"
    clip_norm: float | int = 10.0
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
        for name, allowed in (("schedule", SCHEDULES), ("precision", tuple(PRECISIONS))):
            if getattr(self, name) not in allowed:
                found = getattr(self, name)
                raise TrainingError(f"training.{name}: expected one of {', '.join(allowed)}, found {found!r}")
        for name, check in (("metric", known_metric), ("convention", sign_of)):
            try:
                check(getattr(self, name))
            except ValueError as error:
                raise TrainingError(f"training.{name}: {error}") from None

    def steps_per_epoch(self, samples: int) -> int:
        """The last batch of an epoch may be smaller."""
        return math.ceil(samples / self.batch_size)

    def total_steps(self, samples: int) -> int:
        return self.steps or max(1, round(self.epochs * self.steps_per_epoch(samples)))

    def evaluates_after(self, step: int, samples: int) -> bool:
        """Is `step` (the number of steps done) one after which the model is evaluated?"""
        every = self.evaluate_steps or (self.evaluate_epochs or 1) * self.steps_per_epoch(samples)
        return step == self.total_steps(samples) or math.floor(step / every) > math.floor((step - 1) / every)

    def learning_rate_at(self, step: int, total: int, scale: float = 1.0) -> float:
        """The rate of the step after `step` steps of `total`; `scale` is what the plateaus left of it."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "cosine":
            done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * scale

"""The files of a training run, and how a run that was killed goes on from them.

The checkpoint `last` holds what cannot be computed again: weights, optimiser, random numbers, and `Progress`.
Its field "training" says with which settings it was made; a run with others does not continue it.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from vmrlib import checkpoints
from vmrlib.data.corpus import CorpusQueries
from vmrlib.data.files import write_bytes
from vmrlib.data.loaders import MomentDataset, seed_of
from vmrlib.data.text_video import TextVideoDataset
from vmrlib.engine.log import TrainingLog, draw_log
from vmrlib.engine.processes import Processes
from vmrlib.engine.settings import TrainingError, with_defaults
from vmrlib.viz.style import to_png

# What may differ when a run goes on: where and how fast it computes, and who wrote the checkpoint.
FREE = {"device", "workers", "predict_batch_size", "save_steps", "vmrlib", "format"}
# What a checkpoint says of how far it got; further down, words like these are part of a configuration.
PROGRESS = {"metrics", "step", "epoch", "weights", "state"}


@dataclass
class Progress:
    """Where a training is. `scale` is what the plateaus have left of the learning rate."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)  # of the best step
    evaluations_since_best: int = 0
    scale: float = 1.0
    seconds: float = 0.0
    log_bytes: int = 0
    finished: bool = False


class Run:
    """A model in training with its optimiser, in a folder or, without one, in memory only."""

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        processes: Processes,
        settings: Mapping,
        about: Mapping,
        train_set: MomentDataset | CorpusQueries | TextVideoDataset,
        out: str | os.PathLike | None,
    ):
        self.model, self.optimiser, self.scaler, self.processes = model, optimiser, scaler, processes
        self.settings = dict(settings) | {"processes": processes.count, "samples": len(train_set)}
        self.about = checkpoints.describe(model, train_set.words, train_set.vocabulary, **about)
        self.words = train_set.words
        self.out = None if out is None else Path(out)
        self._best: dict[str, Tensor] = {}

    def start(self, resume: bool) -> tuple[Progress, TrainingLog]:
        """Where to begin, with model, optimiser and random numbers set to it.

        Raises TrainingError where the folder holds a run and `resume` is not said, one of other settings or
        data, or one that has lost its `last`.
        """
        torch.manual_seed(seed_of(self.settings["seed"], "dropout", self.processes.rank))
        if self.out is None:
            return Progress(), self._log(Progress())
        last = self.out / "last.json"
        found, remains = last.is_file(), remains_in(self.out)
        self.processes.wait()  # until all have looked: the first one writes below
        if not found and remains:
            raise TrainingError(
                f"{self.out}: there is {remains}, but no last.json to go on from: name another folder"
            )
        if not found:
            log = self._log(Progress())
            self.save_last(Progress(), 0, log)
            return Progress(), log
        about, weights, state = checkpoints.read(last)
        training = about.pop("training", {})
        progress = Progress(**training.get("progress", {}))
        if not resume:
            raise TrainingError(
                f"{self.out}: there is a run of {progress.step} steps already: go on with it (--resume), "
                "or name another folder"
            )
        before = {"training": with_defaults(training.get("settings", {}))} | about
        now = {"training": self.settings} | self.about
        differ(str(last), "", comparable(before), comparable(now))
        self._restore(weights, state, training)
        return progress, self._log(progress)

    def save_best(self, progress: Progress, epoch: int) -> None:
        """Keeps the weights as the best ones."""
        if self.out is None:
            weights = checkpoints.without_queues(self.model.state_dict())
            self._best = {name: value.detach().clone() for name, value in weights.items()}
        elif self.processes.main:
            about = self.about | {"metrics": progress.metrics, "step": progress.step, "epoch": epoch}
            weights = checkpoints.without_queues(checkpoints.weights_of(self.model, self.words))
            checkpoints.write(self.out, "best", about, weights)

    def save_last(self, progress: Progress, epoch: int, log: TrainingLog) -> None:
        """Keeps everything that is needed to go on from here."""
        if self.out is None:
            return
        random = self.processes.gather(random_state(self.processes.rank, self.processes.device))
        if self.processes.main:
            log.sync()
            progress.log_bytes = log.bytes
            about = self.about | {"metrics": progress.metrics, "step": progress.step, "epoch": epoch}
            about["training"] = {
                "settings": self.settings,
                "progress": asdict(progress),
                "scaler": self.scaler.state_dict(),
            }
            moments = self.optimiser.state_dict()["state"]
            state = {
                f"{index}.{key}": value for index, each in moments.items() for key, value in each.items()
            }
            weights = checkpoints.weights_of(self.model, self.words)
            checkpoints.write(self.out, "last", about, weights, state | random)

    def finish(self, log: TrainingLog) -> None:
        """Draws the log; the model gets its best weights and is in evaluation mode."""
        if self.out is not None and self.processes.main:
            write_bytes(self.out / "log.png", to_png(draw_log(log.records, self.settings["metric"])))
        self.load_best()
        self.model.eval()

    def load_best(self) -> None:
        """Gives the model the weights that were best on val; those it has where nothing was evaluated."""
        self.processes.wait()
        best = self._best
        if self.out is not None and (self.out / "best.json").is_file():
            _, best, _ = checkpoints.read(self.out / "best.json")
            del best[checkpoints.TABLE]
        if best:
            checkpoints.restore(self.model, best)

    def _log(self, progress: Progress) -> TrainingLog:
        path = None if self.out is None else self.out / "log.jsonl"
        return TrainingLog(path, progress.log_bytes, self.processes.main, self.about.get("label", ""))

    def _restore(self, weights: dict[str, Tensor], state: dict[str, Tensor], training: Mapping) -> None:
        del weights[checkpoints.TABLE]
        self.model.load_state_dict(weights)
        self.scaler.load_state_dict(training["scaler"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            index, _, key = name.partition(".")
            if index.isdecimal():
                moments.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(state[f"random.{self.processes.rank}"])
        if self.processes.device.type == "cuda" and f"random_cuda.{self.processes.rank}" in state:
            cuda = state[f"random_cuda.{self.processes.rank}"]
            torch.cuda.set_rng_state(cuda, self.processes.device)


def random_state(rank: int, device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that dropout uses in this process, which computes on `device`."""
    state = {f"random.{rank}": torch.get_rng_state()}
    if device.type == "cuda":
        state[f"random_cuda.{rank}"] = torch.cuda.get_rng_state(device)
    return state


def remains_in(folder: Path) -> str:
    """What is left in a folder of steps that were done; a log without a line is none."""
    log = folder / "log.jsonl"
    if (folder / "best.json").exists():
        return "best.json"
    return log.name if log.is_file() and log.stat().st_size else ""


def comparable(about: Mapping) -> dict:
    """What a checkpoint says, of the word vectors those of the vocabulary.

    More are kept for other splits and for sentences of users; training does not depend on them.
    """
    known = set(about.get("words", ()))
    return dict(about) | {"words": [word for word in about.get("vocabulary", ()) if word in known]}


def differ(where: str, path: str, before: object, now: object) -> None:
    """Raises TrainingError that names the first key in which two runs differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(now.keys() | before.keys()):
            if key not in (FREE if path else FREE | PROGRESS):
                differ(where, f"{path}.{key}".lstrip("."), before.get(key), now.get(key))
    elif _plain(before) != _plain(now):
        shown = [repr(value) if len(repr(value)) < 60 else "another list" for value in (before, now)]
        raise TrainingError(f"{where}: another run: {path} is {shown[0]} there, {shown[1]} here")


def _plain(value):
    """Tuples as the lists that JSON makes of them, deep down."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value

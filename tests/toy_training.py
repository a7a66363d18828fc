"""A model and data small enough to train in milliseconds, and trainings that are killed or share their work.

    python toy_training.py FOLDER [["killed", [["step", 5], ...]], ["shared", 17, 1], ...]

runs trainings, each in a folder of its own number: one that dies at each of these places and goes on, the
same one in a process and in two. They fork, so that torch is imported once.
"""

import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vmrlib.data import files
from vmrlib.data.annotations import Query
from vmrlib.data.loaders import MomentDataset, train_vocabulary
from vmrlib.models.acb import ACB, ACBConfig
from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.msat_losses import samples
from vmrlib.models.vtc import VTCConfig
from vmrlib.text import WordVectors
from vmrlib.training import TrainingSettings, predict, score, train

WORDS = ("a", "star", "square", "jumps", "falls", "red", "blue", "then", "left")
CLIPS, CELLS, DIM = 8, 4, 6


@dataclass(frozen=True)
class ToyConfig:
    dim_video: int = DIM
    dim_words: int = 5


class ToyModel(nn.Module):
    """One linear layer, and all that the training loop asks of a model."""

    def __init__(self, dropout: float = 0.2):
        super().__init__()
        self.config = ToyConfig()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(CLIPS * DIM + self.config.dim_words, 2)
        self.poison = ""  # the id of a query whose loss is not a number

    def forward(self, batch):
        words = (batch["words"] * batch["word_mask"][..., None]).sum(dim=1)
        return {"moment": self.out(self.dropout(torch.cat([batch["video"].flatten(1), words], dim=1)))}

    def loss(self, outputs, batch):
        distance = F.smooth_l1_loss(outputs["moment"], batch["moments_cell"].float(), reduction="none")
        distance = distance.sum(dim=1)
        if self.poison in batch["query_ids"]:
            distance = distance * float("nan")
        moment = distance.sum() / samples(len(distance), distance)
        return {"moment": moment, "total": 2 * moment}

    def after_step(self):
        """Has nothing to keep up to date."""

    def localise(self, batch, top=5):
        moments = self(batch)["moment"].double() * (batch["duration"] / CELLS)[:, None]
        return [(moment[None].repeat(top, 1), torch.ones(top)) for moment in moments]


def toy_queries(number: int, prefix: str = "q") -> list[Query]:
    """Queries about three videos of 8 s, of one to six words."""
    generator = torch.Generator().manual_seed(len(prefix) + number)
    queries = []
    for index in range(number):
        picks = torch.randint(len(WORDS), (1 + index % 6,), generator=generator).tolist()
        start = 5 * torch.rand(1, generator=generator).item()
        text, moment = " ".join(WORDS[pick] for pick in picks), (start, start + 2)
        queries.append(Query(f"{prefix}{index}", text, f"v{index % 3}", (moment,), 8.0))
    return queries


def toy_words(dim: int = 5) -> WordVectors:
    generator = torch.Generator().manual_seed(1)
    return WordVectors(WORDS, torch.randn(len(WORDS), dim, generator=generator).numpy())


def toy_features(rows: int = 10) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {f"v{index}": torch.randn(rows + index, DIM, generator=generator) for index in range(3)}


def toy_set(number: int = 20, prefix: str = "q", **options) -> MomentDataset:
    vocabulary = train_vocabulary(WORDS)
    arguments = {"words": toy_words(), "vocabulary": vocabulary, "seed": 3} | options
    return MomentDataset(toy_queries(number, prefix), toy_features(), CLIPS, CELLS, **arguments)


def toy_settings(**changes) -> TrainingSettings:
    values = {"batch_size": 8, "learning_rate": 0.01, "epochs": 8, "save_steps": 2, "device": "cpu"}
    return TrainingSettings(**(values | {"metric": "mIoU", "evaluate_steps": 5} | changes))


def toy_run(out, resume=False, on_step=None, model=None, **changes):
    """A training of the toy model: 24 steps."""
    if model is None:
        torch.manual_seed(0)
        model = ToyModel()
    settings = toy_settings(**changes)
    return train(model, toy_set(), toy_set(6, "val"), settings, out, resume=resume, on_step=on_step)


def tiny_msat(**changes) -> MSAT:
    torch.manual_seed(0)
    sizes = {"clips": CLIPS, "dim_video": DIM, "dim_words": 5, "vocabulary": len(WORDS) + 2, "positions": 16}
    sizes |= {"heads": 2, "dim": 8, "dim_ffn": 8, "dim_head": 8, "layers": 1, "dropout": 0.0}
    return MSAT(MSATConfig.stage(**(sizes | changes)))


def tiny_acb(**changes) -> ACB:
    """With the contrastive loss; its queue of 30 is shorter than two epochs of 20 queries."""
    contrast = VTCConfig(weight=0.5, queue_size=30)
    sizes = vars(tiny_msat().config) | {"group": "AC", "layers": 1, "dropout": 0.1, "contrast": contrast}
    torch.manual_seed(0)
    return ACB(ACBConfig(**(sizes | changes)))


def in_a_child(action) -> int:
    """Runs something in a forked process; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def in_two_children(action) -> list[int]:
    """Runs something in two forked processes, which Accelerate takes for two that train together."""

    def part(rank):
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"})
        action()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [in_a_child(lambda rank=rank: part(rank)) for rank in range(2)]


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(out: Path, kills: list[list]) -> list[int]:
    """Trains until it is killed at each place in turn, then to the end: the exit codes.

    A place is ["step", 5]: when that step has been logged; or ["write", "last.json", 3]: before the third
    time that a file of this name is renamed to its place.
    """

    def dying_run(kind, *where):
        if kind == "step":
            toy_run(out, True, on_step=lambda record: record["step"] == where[0] and die())
            return
        name, left = where
        replace = os.replace

        def dying_replace(source, target):
            nonlocal left
            left -= Path(target).name.startswith(name)
            if left == 0:
                die()
            replace(source, target)

        files.os.replace = dying_replace
        toy_run(out, True)

    codes = [exit_code(in_a_child(lambda kill=kill: dying_run(*kill))) for kill in kills]
    return [*codes, exit_code(in_a_child(lambda: toy_run(out, True)))]


def shared(out: Path, number: int, accumulation: int, queue_size: int | None = None) -> list[int]:
    """The same training of MSAT in one process (out/1) and in two (out/2): the exit codes.

    With a `queue_size` also of the contrastive loss. Its padding is masked: a process pads its own samples,
    and what the released loss makes of a sentence depends on the longest one beside it.
    """
    contrast = None
    if queue_size is not None:
        contrast = VTCConfig(weight=0.5, queue_size=queue_size, momentum=0.9, mask_padding=True)

    def run(folder):
        model, val_set = tiny_msat(contrast=contrast), toy_set(5, "val")
        if contrast and os.environ.get("RANK") == "1":  # what the first process begins with counts
            model.contrast.queue_words.neg_()
        settings = toy_settings(epochs=2, accumulation=accumulation, learning_rate=1e-3)
        train(model, toy_set(number), val_set, settings, out / folder)
        figures = score(predict(model, val_set), val_set.queries)
        (out / f"{folder}.{os.environ.get('RANK', 0)}.json").write_text(json.dumps(figures))

    children = in_two_children(lambda: run("2"))
    return [exit_code(in_a_child(lambda: run("1"))), *(exit_code(child) for child in children)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    actions = {"killed": killed, "shared": shared}
    codes = [actions[what](folder / str(n), *each) for n, (what, *each) in enumerate(cases)]
    print(json.dumps(codes))

"""ReLoCLNet learning in one process, and in two that share the work: toy_reloclnet.py FOLDER.

Writes the gradients of a step (NAME-one.pt, NAME-0.pt, NAME-1.pt) of each form of the losses, in float64, and
of a batch that is smaller than the number of processes; and the runs of a training through the engine (1, 2).
"""

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_reloclnet import SLIDES, SMALL, built, make_batch
from torch.nn.parallel import DistributedDataParallel
from toy_training import CLIPS, DIM, WORDS, exit_code, in_a_child, toy_features, toy_queries, toy_words

from vmrlib.data.drawn import DrawnDataset
from vmrlib.data.loaders import train_vocabulary
from vmrlib.training import TrainingSettings, train

NUMBER = 5
CASES = {
    "released": (SMALL, NUMBER),
    "slides": (SLIDES, NUMBER),
    "relonet": (replace(SMALL, weights=(0.0, 1.0, 1.0, 0.0, 0.0)), NUMBER),
    "one sample": (SMALL, 1),
}
ENGINE = replace(SMALL, dim_video=DIM, dim_words=5, clips=CLIPS, dim_subtitles=None, seconds_per_clip=None)


def gradients(name: str, rank: int = 0, count: int = 1, wrap=lambda model: model) -> dict:
    """Of a step of which this process has every `count`-th sample, or all where they are fewer."""
    config, number = CASES[name]
    model, batch = built(config).double().train(), make_batch(number)
    batch |= {"draws": torch.rand(number, 2, generator=torch.Generator().manual_seed(1))}
    batch |= {"annotation": torch.arange(number)}
    share = list(range(number))[rank::count] if number >= count else list(range(number))
    batch = {
        key: (value.double() if value.is_floating_point() else value)[share] for key, value in batch.items()
    }
    wrapped = wrap(model)  # must live on until the backward pass
    losses = model.loss(wrapped(batch), batch)
    losses["total"].backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {f"loss {part}": value.detach() for part, value in losses.items()}


def trained(folder: Path) -> None:
    """A training of which the last batch has one sample."""
    torch.manual_seed(0)
    model, vocabulary = ENGINE.build(), train_vocabulary(WORDS)
    items = DrawnDataset(toy_queries(17), toy_features(), CLIPS, CLIPS, toy_words(), vocabulary, seed=3)
    settings = TrainingSettings(batch_size=8, learning_rate=1e-3, epochs=2, device="cpu", metric="mIoU")
    train(model, items, items, settings, folder)


def part(rank: int, folder: Path, port: int) -> None:
    """What one of two processes does."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"})
    trained(folder / "2")
    wrap = lambda model: DistributedDataParallel(model, find_unused_parameters=True)  # noqa: E731
    for name in CASES:
        torch.save(gradients(name, rank, 2, wrap), folder / f"{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]).resolve()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [in_a_child(lambda rank=rank: part(rank, folder, port)) for rank in range(2)]
    for name in CASES:
        torch.save(gradients(name), folder / f"{name}-one.pt")
    trained(folder / "1")
    os._exit(max(abs(exit_code(child)) for child in children))

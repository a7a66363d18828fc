"""Training of UCoFiA in one process, and shared by two: toy_gathering.py FOLDER.

Writes the gradients of a step on five pairs in one process and in two, which share them (shared-one.pt,
shared-0.pt, shared-1.pt), and of a step on two pairs that both of two processes have (same-...). In float64,
with the same noise for the same frames. And what a short training ended with in both of two processes, whose
evaluations do not agree: trained-0.json, trained-1.json.
"""

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_ucofia import SMALL, build, features
from test_ucofia_training import SETTINGS, TOY, toy_set
from torch.nn.parallel import DistributedDataParallel
from toy_training import exit_code, in_a_child

from vmrlib import training

NUMBER, PATCHES = 5, 9
SHARES = {"shared": ([0, 2, 4], [1, 3]), "same": ([0, 1], [0, 1])}


def gradients(share: list[int], wrap=lambda model: model) -> dict:
    """Of a step of which this process has the pairs `share`."""
    model = build(replace(SMALL, samples=4)).double().train()
    generator = torch.Generator().manual_seed(2)
    shape = (NUMBER, SMALL.frames, model.config.samples, PATCHES)
    noise = torch.randn(shape, generator=generator)[share].flatten(0, 1)
    model.selection.draw = lambda scores: noise
    batch = {
        name: value.double() if value.is_floating_point() else value
        for name, value in features(NUMBER).items()
    }
    batch = {name: value[share] for name, value in batch.items()} | {"samples": torch.tensor(share)}
    wrapped = wrap(model)  # must live on until the backward pass
    model.loss(wrapped(batch), batch)["total"].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def part(rank: int, folder: Path) -> None:
    """The steps of one of two processes, whose shares are not equally large, or the same."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    wrap = lambda model: DistributedDataParallel(model, find_unused_parameters=True)  # noqa: E731
    for name, shares in SHARES.items():
        torch.save(gradients(shares[rank], wrap), folder / f"{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


def trained(rank: int, port: int, folder: Path) -> None:
    """One of two processes in a training whose last batch has one sample.

    As if evaluations had noise: one finds that the model gets worse, the other that it gets better.
    """
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"})
    torch.manual_seed(0)
    model = TOY.build()
    settings = replace(SETTINGS, batch_size=5, steps=6, evaluate_steps=1, patience=2)
    found, sign = iter(range(10)), 1 if rank else -1
    training.retrieval_metrics = lambda *_: {SETTINGS.metric: float(sign * next(found))}
    result = training.train(model, toy_set(11), toy_set(), settings, folder / "run")
    losses = [record["losses"]["total"] for record in result.log if "losses" in record]
    ended = {"steps": result.steps, "metrics": result.metrics, "losses": losses}
    (folder / f"trained-{rank}.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]).resolve()
    children = [in_a_child(lambda rank=rank: part(rank, folder)) for rank in range(2)]
    for name, shares in SHARES.items():
        torch.save(gradients(sorted({*shares[0], *shares[1]})), folder / f"{name}-one.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children += [in_a_child(lambda rank=rank: trained(rank, port, folder)) for rank in range(2)]
    os._exit(max(abs(exit_code(child)) for child in children))

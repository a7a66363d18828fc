"""One training step of UCoFiA on five pairs in one process, and shared by two: toy_gathering.py FOLDER.

Writes the gradients of each: one.pt, 0.pt, 1.pt. In float64, with the same noise for the same frames.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_ucofia import SMALL, build, features
from torch.nn.parallel import DistributedDataParallel
from toy_training import exit_code, in_a_child

NUMBER, PATCHES = 5, 9


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
    batch = {name: value[share] for name, value in batch.items()}
    wrapped = wrap(model)  # must live on until the backward pass
    model.loss(wrapped(batch), batch)["total"].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def part(rank: int, folder: Path) -> None:
    """The step of one of two processes, whose shares are not equally large."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    share = list(range(NUMBER))[rank::2]
    wrap = lambda model: DistributedDataParallel(model, find_unused_parameters=True)  # noqa: E731
    torch.save(gradients(share, wrap), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]).resolve()
    children = [in_a_child(lambda rank=rank: part(rank, folder)) for rank in range(2)]
    torch.save(gradients(list(range(NUMBER))), folder / "one.pt")
    os._exit(max(abs(exit_code(child)) for child in children))

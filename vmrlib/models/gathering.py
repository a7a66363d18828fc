"""Rows of all processes in each of them, where wanted with gradients that find their way back."""

import torch
import torch.distributed
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def several() -> bool:
    """Is this one of several processes?"""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gathered(*parts: Tensor) -> list[Tensor]:
    """The rows of all processes, one after the other; all parts have as many rows.

    Where each process has the whole batch (of fewer samples than processes) its rows come more than once.
    Raises RuntimeError for rows that have gradients.
    """
    if not several():
        return list(parts)
    if any(rows.requires_grad for rows in parts):
        raise RuntimeError("keys that learn cannot come from several processes: contrast.momentum is needed")
    counts = rows_of_all(parts[0])
    return [together(rows, counts) for rows in parts]


def gathered_with_gradients(*parts: Float[Tensor, "own ..."]) -> list[Float[Tensor, "all ..."]]:
    """As `gathered`, in one matrix under way, and with gradients.

    Backward every process gets what all of them have to say about its rows: the sum. Where each computes the
    same loss of all rows, the mean over processes that follows (DistributedDataParallel) is the gradient of
    one process that has the whole batch, in encoders and in what comes after the gathering. (The released
    code keeps its own slice, so that its encoders get a share of 1 / processes.)
    """
    if not several():
        return list(parts)
    flat = [part.flatten(1) for part in parts]
    rows = _Gathered.apply(torch.cat(flat, dim=1)).split([part.shape[1] for part in flat], dim=1)
    return [each.unflatten(1, part.shape[1:]) for each, part in zip(rows, parts, strict=True)]


def first_times(samples: Int[Tensor, " own"]) -> Int[Tensor, " distinct"]:
    """Places, among the rows of all processes, at which a sample comes for the first time.

    All of them, but where the processes share fewer samples than they are: there each has them all.
    """
    (samples,) = gathered(samples)
    repeated = (samples[:, None] == samples).tril(-1).any(dim=1)
    return (~repeated).nonzero()[:, 0]


def rows_of_all(rows: Tensor) -> list[int]:
    """How many rows each process has."""
    own = torch.tensor(len(rows), device=rows.device)
    counts = [torch.zeros_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(counts, own)
    return [int(count) for count in counts]


def together(rows: Tensor, counts: list[int]) -> Tensor:
    """The rows of all processes, of which each has so many."""
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    found = [torch.zeros_like(padded) for _ in counts]
    torch.distributed.all_gather(found, padded)
    return torch.cat([each[:n] for each, n in zip(found, counts, strict=True)])


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        counts = rows_of_all(rows)
        first = sum(counts[: torch.distributed.get_rank()])
        ctx.own = slice(first, first + len(rows))
        return together(rows, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[ctx.own]

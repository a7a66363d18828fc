"""Rows of all processes in each of them, with gradients that find their way back."""

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from vmrlib.models.vtc import gathered


def gathered_with_gradients(rows: Float[Tensor, "own ..."]) -> Float[Tensor, "all ..."]:
    """The rows of all processes, one after the other; in one process the rows themselves.

    Backward every process gets what all of them have to say about its rows: the sum. Where each computes the
    same loss of all rows, the mean over processes that follows (DistributedDataParallel) is the gradient of
    one process that has the whole batch, in encoders and in what comes after the gathering. (The released
    code keeps its own slice, so that its encoders get a share of 1 / processes.)
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    return _Gathered.apply(rows)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        (counts,) = gathered(torch.tensor([len(rows)], device=rows.device))
        first = int(counts[: torch.distributed.get_rank()].sum())
        ctx.own = slice(first, first + len(rows))
        (together,) = gathered(rows.detach())
        return together

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[ctx.own]

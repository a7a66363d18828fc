"""One process or several: which device, whose samples, and how gradients and results come together.

Several processes are started by `accelerate launch --num_processes 2 -m vmrlib train ...` or by `torchrun`.
Without them nothing of Accelerate is touched, and every method does what one process needs.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one. ValueError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


class Processes:
    """The processes that train one model together; `rank` is the number of this one, `main` the first."""

    def __init__(self, device: str = "auto"):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        if self.count == 1:
            self.rank, self.device, self.accelerator = 0, pick_device(device), None
            return
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Parts of a model may get no gradient: a head for hidden words in a batch without any. Most buffers
        # stay the same in all processes without being sent: tables, and queues of keys that all have
        # gathered. What normalisation remembers does not, but training does not use it (`share_buffers`).
        ddp = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[ddp])
        self.rank, self.device = self.accelerator.process_index, self.accelerator.device

    @property
    def main(self) -> bool:
        """Is this the process that writes files and shows progress?"""
        return self.rank == 0

    def share(self, samples: Sequence[int]) -> Sequence[int]:
        """This process's part of the samples of a batch.

        Where they are fewer than processes each takes them all: the mean of equal gradients is right, too. A
        model that gathers samples has to count them once.
        """
        return samples[self.rank :: self.count] if len(samples) >= self.count else samples

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model to be called in training: its gradients are the means over all processes."""
        if self.accelerator is None:
            return model
        self.share_buffers(model)  # weights are sent by the wrapper; queues begin with random rows, too
        return self.accelerator.prepare(model)

    def share_buffers(self, model: nn.Module) -> None:
        """Gives the buffers of the first process to all of them: to be called before they predict.

        Batch normalisation remembers the samples of its own process, and checkpoints hold the first one's.
        """
        if self.accelerator is not None:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def no_sync(self, wrapped: nn.Module):
        """A context in which gradients stay in this process, for all parts of a batch but the last."""
        return nullcontext() if self.accelerator is None else self.accelerator.no_sync(wrapped)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The values (scalars) averaged over the processes."""
        stacked = torch.stack([value.float() for value in values.values()])
        if self.accelerator is not None:
            stacked = self.accelerator.reduce(stacked, "mean")
        return dict(zip(values, stacked.tolist(), strict=True))

    def of_main(self, result):
        """What the main process has found, in each of them: where they decide by it, and chance had a say."""
        if self.accelerator is None:
            return result
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([result])[0]

    def gather(self, results: dict) -> dict:
        """The entries of all processes together, in each of them."""
        if self.accelerator is None:
            return results
        from accelerate.utils import gather_object

        return {key: value for part in gather_object([results]) for key, value in part.items()}

    def wait(self) -> None:
        """Until all processes are here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

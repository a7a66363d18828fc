"""What a training will cost, before anything is spent: parameters, memory, steps and hours.

A few steps are really done, on simulated features of the right shape; the model is thrown away.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vmrlib.engine.optimiser import make_optimiser
from vmrlib.engine.predicting import to_device
from vmrlib.engine.processes import pick_device
from vmrlib.engine.settings import PRECISIONS
from vmrlib.material import Material
from vmrlib.models.msat import learnt_parameters
from vmrlib.training import full_precision

WARM_UP, MEASURED = 2, 5  # steps
BYTES_PER_PARAMETER = 16  # float32 weight and gradient, and the two moments of an Adam


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes and times in seconds of a whole run on this machine.

    activations: what one step keeps for its backward pass (on a GPU: the peak above weights and optimiser).
    train_items: what a batch is counted in: pairs of a query and a moment, or videos with all their queries.
    videos: the resampled features of train and val in memory.
    """

    device: str
    parameters: int
    training_bytes: int
    activations_bytes: int
    videos_bytes: int
    train_items: int
    train_queries: int
    val_queries: int
    steps: int
    evaluations: int
    seconds_per_step: float
    seconds_per_evaluation: float

    @property
    def hours(self) -> float:
        """All steps and all evaluations."""
        seconds = self.steps * self.seconds_per_step + self.evaluations * self.seconds_per_evaluation
        return seconds / 3600

    def lines(self) -> list[str]:
        """The plan in words."""
        memory = self.training_bytes + self.activations_bytes
        videos = f" about {self.train_items:,} videos" if self.train_items < self.train_queries else ""
        return [
            f"parameters   {self.parameters:,}",
            f"memory       {mib(memory)}: weights, gradients and optimiser {mib(self.training_bytes)}, "
            f"a step {mib(self.activations_bytes)}; and {mib(self.videos_bytes)} of videos",
            f"steps        {self.steps:,} on {self.train_queries:,} queries{videos}, "
            f"{self.evaluations} evaluations of {self.val_queries:,} queries",
            f"time         {self.hours:.2f} hours on {self.device}: {self.seconds_per_step:.3f} s a step, "
            f"{self.seconds_per_evaluation:.1f} s an evaluation (measured)",
        ]


def make_plan(material: Material) -> Plan:
    """The plan of a run; `material` should be simulated, so that no feature need be there."""
    settings, data = material.config.training, material.config.data
    device = pick_device(settings.device)
    train_set, val_set = material.dataset(data.train), material.dataset(data.val, targets=False)
    model = material.model_config.build().to(device).train()
    optimiser = make_optimiser(model, settings, device)
    for group in optimiser.param_groups:  # steps are done for their time only
        group["lr"] = 0.0
    precision = PRECISIONS[settings.precision]
    autocast = torch.autocast(device.type, precision, enabled=precision is not None)
    indexes = [i % len(train_set) for i in range(settings.batch_size)]
    part = indexes[: max(1, settings.batch_size // settings.accumulation)]
    batch = to_device(train_set.collate([train_set[i] for i in part]), device)

    def loss(batch: dict) -> Tensor:
        with autocast:
            outputs = model(batch)
        return model.loss(full_precision(outputs), batch)["total"]

    activations = _activations(model, loss, batch, device)
    seconds = []
    for _ in range(WARM_UP + MEASURED):
        started = time.perf_counter()
        batch = to_device(train_set.collate([train_set[i] for i in part]), device)
        loss(batch).backward()
        optimiser.step()
        model.after_step()
        optimiser.zero_grad()
        _wait(device)
        seconds.append((time.perf_counter() - started) * settings.accumulation)
    model.eval()
    some = val_set.collate([val_set[i % len(val_set)] for i in range(min(settings.predict_batch_size, 16))])
    predicting = []
    for _ in range(3):
        started = time.perf_counter()
        model.localise(to_device(some, device))
        _wait(device)
        predicting.append((time.perf_counter() - started) / len(some["query_ids"]))
    steps = settings.total_steps(len(train_set))
    return Plan(
        str(device),
        learnt_parameters(model),
        BYTES_PER_PARAMETER * learnt_parameters(model) + frozen_bytes(model),
        activations,
        train_set.memory + val_set.memory,
        len(train_set),
        train_set.moment_count,
        len(val_set),
        steps,
        sum(settings.evaluates_after(step, len(train_set)) for step in range(1, steps + 1)),
        statistics.median(seconds[WARM_UP:]),
        statistics.median(predicting) * len(val_set),
    )


def frozen_bytes(model: nn.Module) -> int:
    """What a model holds besides the parameters that it learns: slow encoders, queues, tables."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    return sum(tensor.nbytes for tensor in (*frozen, *model.buffers()))


def _activations(model: nn.Module, loss: Callable[[dict], Tensor], batch: dict, device: torch.device) -> int:
    """Bytes that a step takes besides the weights."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        loss(batch).backward()
        model.zero_grad()
        return torch.cuda.max_memory_allocated(device) - before
    return kept_for_backward(model, lambda: loss(batch))


def kept_for_backward(model: nn.Module, total: Callable[[], Tensor]) -> int:
    """Bytes that computing the loss `total` keeps for the backward pass, each storage counted once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = total()
    found = sum(kept.values())  # while `loss` holds the graph, no storage is used twice
    del loss
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def for_planning(material: Material) -> Material:
    """The same material with simulated features."""
    return Material(replace(material.config), simulate=True)

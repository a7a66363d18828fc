"""BertAdam, the Adam of BERT's first release, with which ReLoCLNet and UCoFiA were trained.

    optimiser = BertAdam([{"params": decayed, "weight_decay": 0.01}, {"params": others}], lr=1e-4)
    schedule = LambdaLR(optimiser, warmup_schedule("linear", total=68_200, warmup=0.01))
    for batch in batches:
        loss(batch).backward()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

Three things differ from `torch.optim.AdamW`: the gradient of every tensor is clipped on its own, the two
means are not corrected for having begun at zero, and the warm-up begins with a step of rate zero. Without
the correction the first update is (1 - b1) / sqrt(1 - b2) = 3.2 times as long as Adam's, which the
warm-up tames.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

SCHEDULES = ("constant", "linear", "cosine")
NORM_EPS = 1e-6  # added to the norm of a gradient before it divides


class BertAdam(Optimizer):
    """Adam without bias correction, with a gradient clip for every tensor (ReLoCLNet section 5, UCoFiA 8.3).

    With g the gradient of one tensor, scaled down to norm `max_norm` where it is longer:

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        p = p - lr (m / (sqrt(v) + eps) + weight_decay p)

    Every option may differ between groups of parameters. A tensor without a gradient stays as it is.
    Gradients are not changed. Raises ValueError for an option out of its range, RuntimeError for a sparse
    gradient.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        max_norm: float = 1.0,
    ):
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "max_norm": max_norm},
        )

    def add_param_group(self, param_group: dict) -> None:
        """Takes more parameters, as torch's optimisers do, and checks their options."""
        options = self.defaults | param_group
        for name in ("lr", "eps", "weight_decay"):
            if not 0 <= options[name] < math.inf:
                raise ValueError(f"{name}: expected 0 or more, found {options[name]}")
        if not options["max_norm"] > 0:
            raise ValueError(f"max_norm: expected a number above 0, found {options['max_norm']}")
        if not all(0 <= beta < 1 for beta in options["betas"]):
            raise ValueError(f"betas: expected numbers from 0 to below 1, found {options['betas']}")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update; the loss of `closure` where one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        if gradient.is_sparse:
            raise RuntimeError("BertAdam takes no sparse gradients")
        if not state:
            state["mean"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["mean_of_squares"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        mean, squares, (b1, b2) = state["mean"], state["mean_of_squares"], group["betas"]
        gradient = gradient * (group["max_norm"] / (gradient.norm() + NORM_EPS)).clamp(max=1)
        mean.mul_(b1).add_(gradient, alpha=1 - b1)
        squares.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        update = mean / squares.sqrt().add_(group["eps"])
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])


def warmup_schedule(kind: str, total: int, warmup: float) -> Callable[[int], float]:
    """The factor of the learning rate after so many steps, for `torch.optim.lr_scheduler.LambdaLR`.

    With x = step / total it is x / warmup as long as x < warmup, so 0 at the first step, and afterwards

        constant    1
        linear      (1 - x) / (1 - warmup), which goes on from 1
        cosine      (1 + cos(pi x)) / 2, which begins below 1: 0.976 for a warm-up of 0.1

    and what it is at x = 1 from there on. Raises ValueError for another kind, no steps, or a warm-up outside
    0..1.
    """
    if kind not in SCHEDULES:
        raise ValueError(f"kind: expected one of {', '.join(SCHEDULES)}, found {kind!r}")
    if total < 1:
        raise ValueError(f"total: expected a number of steps above 0, found {total}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup: expected a share from 0 to below 1, found {warmup}")

    def factor(step: int) -> float:
        done = min(step / total, 1.0)
        if done < warmup:
            return done / warmup
        if kind == "linear":
            return (1 - done) / (1 - warmup)
        return 0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1.0

    return factor

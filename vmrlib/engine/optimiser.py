"""The optimiser of a training, as its settings choose it."""

import torch
from torch import nn
from torch.optim import Optimizer

from vmrlib.engine.bert_adam import BertAdam
from vmrlib.engine.settings import TrainingSettings


def make_optimiser(model: nn.Module, settings: TrainingSettings, device: torch.device) -> Optimizer:
    """AdamW or BertAdam over the parameters of a model that is on `device`.

    BertAdam clips the gradient of each tensor to `clip_norm` by itself; for AdamW the loop clips all at once.
    """
    groups, rate = parameter_groups(model), settings.learning_rate
    if settings.optimizer == "bert_adam":
        return BertAdam(groups, rate, max_norm=settings.clip_norm)
    fused = device.type in ("cpu", "cuda")  # one call instead of five for each parameter
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.999), weight_decay=0, fused=fused)


def parameter_groups(model: nn.Module) -> list[dict]:
    """All parameters, or the groups that a model makes of them.

    A group may have constants of the optimiser's, such as a decay of its own, and the `share` of the learning
    rate that its parameters get.
    """
    if hasattr(model, "parameter_groups"):
        return model.parameter_groups()
    return [{"params": list(model.parameters())}]

"""What may not be computed in half precision, and is not, whatever autocast says around it."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def upcast(value):
    """A tensor of half precision as float32; anything else, float64 too, as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


def in_full_precision(function: Callable) -> Callable:
    """The function without autocast, its tensors upcast: what comes from an encoder in half ends there."""

    @wraps(function)
    def precise(*arguments, **named):
        device = next(v.device for v in (*arguments, *named.values()) if isinstance(v, Tensor))
        with torch.autocast(device.type, enabled=False):
            return function(*map(upcast, arguments), **{key: upcast(v) for key, v in named.items()})

    return precise

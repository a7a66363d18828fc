"""Computations that stay in full precision where autocast halves the others."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def in_full_precision(function: Callable) -> Callable:
    """A function whose halves among the tensors it is given become float32, and which autocast leaves alone.

    For scores that are magnified afterwards: in bfloat16 exp(30 phi) would be some per cent off.
    """

    @wraps(function)
    def called(*values, **named):
        device = next(each.device.type for each in (*values, *named.values()) if isinstance(each, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_full, values), **{name: _full(value) for name, value in named.items()})

    return called


def _full(value):
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value

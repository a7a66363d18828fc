"""How a check's values travel as JSON from a student's kernel to the grading process.

JSON and not pickle, because reading a pickle runs code of who wrote it.
"""

from dataclasses import dataclass

import numpy as np
import torch


def record_checks():
    """A stand-in for `check` that notes its arguments, and a function that returns the notes as JSON.

    Its source is sent into the kernel, so it stands alone: all that it needs is inside.
    """
    import json

    import numpy as np
    import torch

    def encode(value):
        if isinstance(value, torch.Tensor) and value.numel() <= 1_000_000 and not value.is_complex():
            value = value.detach().cpu()
            return {"tensor": value.tolist(), "dtype": str(value.dtype)[6:], "shape": list(value.shape)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= 1_000_000:
            return {"array": value.tolist(), "dtype": value.dtype.str, "shape": list(value.shape)}
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            value = value.item()
        if value is None or type(value) in (bool, int, float, str):
            return {"plain": value}
        if isinstance(value, list | tuple):
            return {"items": [encode(item) for item in value], "tuple": isinstance(value, tuple)}
        if isinstance(value, dict):
            return {"pairs": [[encode(key), encode(item)] for key, item in value.items()]}
        if isinstance(value, set | frozenset):
            return {"other": type(value).__name__, "text": repr(sorted(map(repr, value)))}
        return {"other": type(value).__name__, "text": repr(value)[:10_000]}

    records = []

    def check(number, got, expected, hint="", atol=1e-5):
        records.append([number, encode(got), encode(expected), hint, atol])

    return check, lambda: json.dumps(records)


@dataclass(frozen=True)
class Other:
    """A value that only its type and text are known of; equal where both are."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return self.text


def decode(record: dict):
    """The value that `record_checks` noted."""
    match record:
        case {"tensor": values, "dtype": dtype, "shape": shape}:
            return torch.tensor(values, dtype=getattr(torch, dtype)).reshape(shape)
        case {"array": values, "dtype": dtype, "shape": shape}:
            return np.array(values, dtype=np.dtype(dtype)).reshape(shape)
        case {"plain": value}:
            return value
        case {"items": items, "tuple": is_tuple}:
            values = [decode(item) for item in items]
            return tuple(values) if is_tuple else values
        case {"pairs": pairs}:
            return {decode(key): decode(value) for key, value in pairs}
        case {"other": kind, "text": text}:
            return Other(kind, text)
    raise ValueError(f"not a recorded value: {str(record)[:80]}")

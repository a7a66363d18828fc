"""The log of a training: JSON lines, one for a step and one for an evaluation, and their picture."""

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vmrlib.data.files import sync
from vmrlib.viz.log import draw_records, smooth

__all__ = ["LogError", "TrainingLog", "draw_log", "read_log", "smooth"]


class LogError(ValueError):
    """A log that cannot be read, or that is shorter than its checkpoint says."""


class TrainingLog:
    """The records of a training, and their file where there is one.

    `kept` bytes of a file that is there already are read and continued; what follows belongs to steps after
    the checkpoint, which are done again. With `write=False` (other processes than the first) nothing is
    written. A `label`, such as "simulated features", is put into every record.
    """

    def __init__(self, path: str | os.PathLike | None, kept: int = 0, write: bool = True, label: str = ""):
        self.path = None if path is None else Path(path)
        self.records: list[dict] = []
        self.bytes, self.label = kept, label
        self._write = write and path is not None
        if kept:
            content = self.path.read_bytes() if self.path.is_file() else b""
            if len(content) < kept:
                raise LogError(f"{path}: {len(content)} bytes, but its checkpoint knows of {kept}")
            self.records = [json.loads(line) for line in content[:kept].splitlines()]
        if self._write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                file.truncate(kept)

    def sync(self) -> None:
        """Returns when all lines are on the disk: before a checkpoint that knows of them."""
        if self._write and self.bytes:
            sync(self.path)

    def add(self, record: dict, on_step: Callable[[dict], None] | None = None) -> None:
        """Writes a line and hands it to `on_step`; numbers that are not finite become null."""
        record = _finite(record | ({"label": self.label} if self.label else {}))
        self.records.append(record)
        line = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
        self.bytes += len(line)
        if self._write:
            with open(self.path, "ab") as file:
                file.write(line)
        if on_step is not None:
            on_step(record)


def read_log(path: str | os.PathLike) -> list[dict]:
    """The records of a log, or of the `log.jsonl` of a run folder. Raises LogError that names the line."""
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise LogError(f"{path}, line {number}: not JSON ({error})") from None
    return records


def draw_log(log: str | os.PathLike | Sequence[dict], metric: str = "R@1, IoU=0.5") -> Figure:
    """The curves of a log (`vmrlib.viz.log.draw_records`): a file, a run folder or a list of records."""
    records = read_log(log) if isinstance(log, str | os.PathLike) else list(log)
    return draw_records(records, metric)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

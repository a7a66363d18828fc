"""Two processes that share a batch learn from all of its negatives, as one process does."""

import os
from pathlib import Path

import pytest
import torch
from scripts import run_script

from vmrlib import checkpoints
from vmrlib.training import read_log

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where toy_reloclnet.py left its files."""
    folder = tmp_path_factory.mktemp("processes")
    run_script("toy_reloclnet.py", folder)
    return folder


@pytest.mark.parametrize("case", ["released", "slides", "relonet", "one sample"])
def test_two_processes_get_the_gradients_of_one(folder, case):
    one, *two = (torch.load(folder / f"{case}-{which}.pt") for which in ("one", 0, 1))
    for name, value in one.items():
        found = [each[name] for each in two]
        if name.startswith("loss "):  # what is logged is their mean
            found = [torch.stack(found).mean()]
        for each in found:
            torch.testing.assert_close(each, value, rtol=1e-6, atol=1e-9, msg=f"{case}, {name}")


def test_two_processes_train_as_one_does(folder):
    for name in ("best.json", "last.json"):
        _, one, _ = checkpoints.read(folder / "1" / name)
        _, two, _ = checkpoints.read(folder / "2" / name)
        for key, value in one.items():
            if key.endswith("key.bias"):  # its gradient is rounding errors, which AdamW makes steps of
                continue
            torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-5, msg=f"{name}, {key}")
    logs = [[each["losses"] for each in read_log(folder / n) if "losses" in each] for n in "12"]
    assert len(logs[0]) == 6
    for one, two in zip(*logs, strict=True):
        assert two == {name: pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in one.items()}

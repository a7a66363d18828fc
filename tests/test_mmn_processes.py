"""Two processes that train an MMN, each of which remembers other statistics, still have one model."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from scripts import run_script
from toy_mmn_processes import videos

from vmrlib import checkpoints
from vmrlib.training import predict, read_log, score

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the trainings of toy_mmn_processes.py left their files."""
    folder = tmp_path_factory.mktemp("mmn")
    done = run_script("toy_mmn_processes.py", folder)
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0], [-signal.SIGKILL] * 2, [0, 0]], done.stderr
    return folder


def test_the_metric_of_the_best_checkpoint_is_that_of_its_weights(folder):
    best = checkpoints.load(folder / "whole" / "best.json")
    val_set = videos(20)
    found = score(predict(best.model, val_set), val_set.queries)
    assert best.about["metrics"] == {name: found[name] for name in best.about["metrics"]}


def test_a_run_that_was_killed_ends_as_one_that_was_not(folder):
    logs = [
        [
            {name: value for name, value in record.items() if name != "seconds"}
            for record in read_log(folder / run)
        ]
        for run in ("whole", "killed")
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 9
    for name in ("best.json", "last.json"):
        _, *whole = checkpoints.read(folder / "whole" / name)
        _, *killed = checkpoints.read(folder / "killed" / name)
        for one, other in zip(whole, killed, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one)

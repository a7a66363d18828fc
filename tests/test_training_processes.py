"""A training that is killed and resumed, and one that two processes share, end as if nothing had happened."""

import json
import math
import os
import random
import signal
from pathlib import Path

import pytest
import torch
from scripts import run_script
from toy_training import toy_run

from vmrlib import checkpoints
from vmrlib.models.vtc import EMPTY
from vmrlib.training import read_log

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
STEPS = 24


# The fifth dies while it writes a checkpoint: the tensors are there, the JSON that names them is not.
KILLS = [["step", step] for step in sorted(random.Random(4).sample(range(2, STEPS), 4))]
KILLS.insert(2, ["write", "last.json", 2])
AT_FIRST = [["write", name, 1] for name in ("last-", "last.json", "best.json", "best-")]
# 17 queries in batches of 8: the last batch has one query, fewer than there are processes
SHARED = {"2": ["shared", 17, 1], "3": ["shared", 21, 3]}
# with the contrastive loss, whose queue has room for the keys of both epochs
CONTRAST = {"4": ["shared", 20, 1, 64]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the trainings 0 to 4 of toy_training.py left their files, and `whole`: one that nobody killed."""
    folder = tmp_path_factory.mktemp("trainings")
    trainings = [["killed", KILLS], ["killed", AT_FIRST], *SHARED.values(), *CONTRAST.values()]
    done = run_script("toy_training.py", folder, json.dumps(trainings), timeout=900)
    killed = -signal.SIGKILL
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [killed] * 5 + [0],
        [killed] * 4 + [0],
        [0] * 3,
        [0] * 3,
        [0] * 3,
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    toy_run(folder / "whole")
    torch.set_num_threads(threads)
    return folder


def lines(folder: Path) -> list[dict]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in read_log(folder)]


def assert_equal_checkpoints(one: Path, other: Path) -> None:
    _, weights, state = checkpoints.read(one)
    _, other_weights, other_state = checkpoints.read(other)
    assert weights.keys() == other_weights.keys() and state.keys() == other_state.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    assert all(torch.equal(state[name], other_state[name]) for name in state)


def test_a_run_killed_five_times_ends_bit_equal_with_a_log_without_doubles(folder):
    killed, whole = folder / "0", folder / "whole"
    for name in ("best.json", "last.json"):
        assert_equal_checkpoints(whole / name, killed / name)
    assert lines(killed) == lines(whole)
    assert [record["step"] for record in read_log(killed) if "losses" in record] == list(range(1, STEPS + 1))


def test_nothing_is_left_of_what_was_cut_off(folder):
    for number in "01":
        kinds = {path.name[:6] for path in (folder / number).iterdir()}
        assert kinds == {path.name[:6] for path in (folder / "whole").iterdir()}
        assert len(list((folder / number).iterdir())) == len(list((folder / "whole").iterdir())) == 7


def test_a_run_killed_while_it_writes_its_first_files_starts_again(folder):
    assert lines(folder / "1") == lines(folder / "whole")
    assert_equal_checkpoints(folder / "whole/last.json", folder / "1/last.json")


@pytest.mark.parametrize("number", SHARED | CONTRAST)
def test_two_processes_train_as_one_does(folder, number):
    folder, queries = folder / number, (SHARED | CONTRAST)[number][1]
    for name in ("best.json", "last.json"):
        about, weights, _ = checkpoints.read(folder / "1" / name)
        about_two, weights_two, _ = checkpoints.read(folder / "2" / name)
        assert about["step"] == about_two["step"]
        for key, value in checkpoints.without_queues(weights).items():
            torch.testing.assert_close(weights_two[key], value, rtol=1e-4, atol=2e-6)
    one, two = read_log(folder / "1"), read_log(folder / "2")
    assert sum("losses" in record for record in one) == 2 * math.ceil(queries / 8)
    assert len(one) == len(two)
    for record, other in zip(one, two, strict=True):
        for name, value in record.get("losses", {}).items():
            assert other["losses"][name] == pytest.approx(value, rel=1e-4, abs=1e-6), (name, record)
    figures = [path.read_text() for path in folder.glob("*.json")]
    assert len(figures) == 3 and len(set(figures)) == 1, "each process has all answers"


def test_two_processes_remember_the_keys_that_one_does(folder):
    _, one, _ = checkpoints.read(folder / "4/1/last.json")
    _, two, _ = checkpoints.read(folder / "4/2/last.json")
    ids, other_ids = one["contrast.queue_ids"], two["contrast.queue_ids"]
    assert one["contrast.place"] == two["contrast.place"] == 40
    assert sorted(ids.tolist()) == sorted(other_ids.tolist()) == sorted([*range(20)] * 2 + [EMPTY] * 24)
    for name in ("contrast.queue_words", "contrast.queue_video"):
        # Within a step the keys come in another order: each must have a partner of its own.
        distance = (one[name][:, None] - two[name]).abs().amax(dim=2)
        nearest, partner = distance.masked_fill(ids[:, None] != other_ids, torch.inf).min(dim=1)
        assert nearest.max() < 1e-5 and len(partner.unique()) == 64

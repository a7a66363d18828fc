"""The results files: complete, made on the Stage there is, by the experiments there are."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_stage_splits import MEASURED

from vmrlib import ablation
from vmrlib.ablate import NOISE, what_it_is
from vmrlib.baselines import recalls
from vmrlib.experiments import EXPERIMENTS
from vmrlib.selection import EVALUATIONS, EXPERIMENT, choices

RESULTS = Path(__file__).resolve().parent.parent / "results"
PINNED = {(name, split): whole for name, split, _, whole, _ in MEASURED}


@pytest.fixture(scope="module", params=EXPERIMENTS)
def measured(request) -> tuple[str, dict]:
    """Name and content of the results file of every experiment."""
    return request.param, ablation.read_results(RESULTS / f"{request.param}.json")


def queries(results: dict, split: str) -> int:
    return sum(results["splits"][split]["queries_per_video"])


def test_stage_baselines_stay_where_the_dataset_promises():
    results = json.loads((RESULTS / "stage_baselines.json").read_text(encoding="utf-8"))
    for name, profile in results["profiles"].items():
        assert profile["hash"] == PINNED[name.removeprefix("Stage "), "test-iid"], "measured on another Stage"
        assert profile["queries"] >= 800
        at_half = {name: recalls(hits)["0.5"] for name, hits in profile["hits"].items()}
        for runs in profile["hits"].values():
            assert all(len(run) == profile["queries"] for seeds in runs.values() for run in seeds)
        assert max(at_half["constant window"]) <= 25
        assert max(at_half["random true event"]) <= 35
        assert max(at_half["video-blind (verb and complexity)"]) <= 30


def test_every_file_says_how_it_was_made(measured):
    name, results = measured
    assert results["command"] == f"python -m vmrlib ablate {name} --out results/{name}.json"
    assert results["code"] and results["configuration"]["training"]["steps"] >= 800
    profile = results["configuration"]["data"]["profile"]
    for split, about in (results["splits"] | {"train": results["train"]}).items():
        assert about["hash"] == PINNED[profile, split], "measured on another Stage"
    assert all(queries(results, split) >= 800 for split in results["splits"])


def test_every_file_holds_the_arms_seeds_and_hits_of_its_experiment(measured):
    name, results = measured
    experiment = EXPERIMENTS[name]
    assert list(results["arms"]) == list(experiment.arms)
    assert results["learning_rates"] == list(experiment.learning_rates)
    assert results["seeds"] == list(experiment.seeds)
    for title, arm in results["arms"].items():
        assert {key: arm[key] for key in ("changes", "blind")} == what_it_is(experiment.arms[title]), title
        assert list(arm["search"]) == [str(rate) for rate in results["learning_rates"]], title
        best = max(results["learning_rates"], key=lambda rate, arm=arm: arm["search"][str(rate)])
        assert arm["learning_rate"] == best, title
        assert [int(seed) for seed in arm["runs"]] == results["seeds"], title
        for run in arm["runs"].values():
            assert run["hits"].keys() == results["splits"].keys()
            for split, hits in run["hits"].items():
                assert {len(row) for row in hits.values()} == {queries(results, split)}


def test_arms_of_another_file_are_still_those_of_that_file(measured):
    _, results = measured
    for title, arm in results["arms"].items():
        if "from" in arm:
            file, source = arm["from"]
            runs = ablation.read_results(RESULTS / file)["arms"][source]["runs"]
            assert all(runs[seed] == run for seed, run in arm["runs"].items()), title


def test_every_arm_that_sees_and_reads_beats_the_constant_window(measured):
    name, results = measured
    profile = results["configuration"]["data"]["profile"]
    baselines = json.loads((RESULTS / "stage_baselines.json").read_text(encoding="utf-8"))
    (constant,) = recalls(baselines["profiles"][f"Stage {profile}"]["hits"]["constant window"])["0.5"]
    for title, arm in results["arms"].items():
        if not arm["blind"]:
            assert ablation.recall(results, title, "test-iid").mean > constant + 5, (name, title)


def test_msat_learns_on_stage():
    results = ablation.read_results(RESULTS / "msat_stage.json")
    assert ablation.recall(results, "start, middle, end", "test-iid").mean >= 40


def test_the_noise_of_choosing_on_test_is_measured_often_enough():
    results = ablation.read_results(RESULTS / f"{NOISE}.json")
    assert results["command"] == f"python -m vmrlib ablate {NOISE} --out results/{NOISE}.json"
    assert results["code"] and results["splits"]["test-iid"]["hash"] == PINNED["open", "test-iid"]
    for title, arm in EXPERIMENT.arms.items():
        assert results["arms"][title]["changes"] == what_it_is(arm)["changes"]
        runs = results["arms"][title]["runs"]
        assert [int(seed) for seed in runs] == results["seeds"] and len(runs) >= 3
        for run in runs.values():
            assert len(run["step"]) == len(run["val"]) == len(run["hits"]) >= EVALUATIONS - 1
            assert {len(row) for row in run["hits"]} == {queries(results, "test-iid")}
        for choice in choices(results, title):
            assert choice.on_test >= max(choice.on_val, choice.last)


def test_the_cost_of_attention_is_measured_for_every_length():
    results = json.loads((RESULTS / "attention_cost.json").read_text(encoding="utf-8"))
    assert results["points"] == [33, 129, 513, 2049] and results["code"]
    for name, figures in results["encoders"].items():
        for key in ("flops", "seconds", "megabytes"):
            values = np.array(figures[key])
            assert len(values) == 4 and (values > 0).all(), (name, key)
            slope = np.polyfit(np.log(results["points"]), np.log(values), 1)[0]
            assert figures["exponent"][key] == pytest.approx(slope, abs=0.01), (name, key)

"""What the documents promise exists: functions, tests, files and numbers."""

import importlib
import json
import re
from pathlib import Path

from test_stage_splits import MEASURED

from vmrlib import ablation
from vmrlib.baselines import recalls, table

ROOT = Path(__file__).resolve().parent.parent


def test_every_function_and_test_of_the_paper_map_exists():
    text = (ROOT / "docs" / "paper-to-code.md").read_text(encoding="utf-8")
    names = re.findall(r"`(vmrlib\.[\w.]+)`", text)
    assert len(names) >= 6
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_tables_of_the_readme_are_drawn_from_results_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- (results/\S+) -->\n(.*?)<!-- end -->", text, re.S)
    assert blocks
    for path, block in blocks:
        results = json.loads((ROOT / path).read_text(encoding="utf-8"))
        drawn = ablation.table(results) if "arms" in results else table(results)
        assert block.strip() == drawn, f"README.md is out of step with {path}"


def test_stage_baselines_stay_where_the_dataset_promises():
    results = json.loads((ROOT / "results" / "stage_baselines.json").read_text(encoding="utf-8"))
    pinned = {(name, split): whole for name, split, _, whole, _ in MEASURED}
    for name, profile in results["profiles"].items():
        assert profile["hash"] == pinned[name.removeprefix("Stage "), "test-iid"], "measured on another Stage"
        assert profile["queries"] >= 800
        at_half = {name: recalls(hits)["0.5"] for name, hits in profile["hits"].items()}
        for runs in profile["hits"].values():
            assert all(len(run) == profile["queries"] for seeds in runs.values() for run in seeds)
        assert max(at_half["constant window"]) <= 25
        assert max(at_half["random true event"]) <= 35
        assert max(at_half["video-blind (verb and complexity)"]) <= 30


def test_what_msat_learns_on_stage_is_measured_as_promised():
    results = ablation.read_results(ROOT / "results" / "msat_stage.json")
    pinned = {split: whole for name, split, _, whole, _ in MEASURED if name == "open"}
    for split, measured in results["splits"].items():
        assert measured["hash"] == pinned[split], "measured on another Stage"
        assert sum(measured["queries_per_video"]) >= 800
    assert results["configuration"]["training"]["steps"] >= 800
    for name, arm in results["arms"].items():
        assert list(arm["search"]) == [str(rate) for rate in results["learning_rates"]], name
        assert arm["learning_rate"] == max(
            results["learning_rates"], key=lambda rate: arm["search"][str(rate)]
        )
        assert [int(seed) for seed in arm["runs"]] == results["seeds"], name
        for run in arm["runs"].values():
            for split, hits in run["hits"].items():
                assert {len(row) for row in hits.values()} == {
                    sum(results["splits"][split]["queries_per_video"])
                }
    baselines = json.loads((ROOT / "results" / "stage_baselines.json").read_text(encoding="utf-8"))
    (constant,) = recalls(baselines["profiles"]["Stage open"]["hits"]["constant window"])["0.5"]
    assert ablation.recall(results, "start, middle, end", "test-iid").mean >= constant + 20

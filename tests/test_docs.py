"""What the documents promise exists: functions, tests, files and numbers."""

import importlib
import json
import re
from pathlib import Path

from vmrlib import ablation
from vmrlib.baselines import table

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


def test_differences_in_the_readme_are_those_of_the_results_files():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    msat, main, plain, mmn, reloclnet = (
        ablation.read_results(ROOT / "results" / f"{name}.json")
        for name in ("msat_stage", "main_open", "main_infonce", "mmn_stage", "reloclnet_stage")
    )
    computed = [
        ablation.difference(msat, "start, middle, end", other, "test-iid")
        for other in ("mean of points", "maximum of points", "end points")
    ]
    computed += [
        ablation.difference(main, "+ ACB", "MSAT", "test-iid"),
        ablation.difference(plain, "+ InfoNCE", "MSAT", "test-iid"),
        ablation.interaction(plain, "+ ACB + InfoNCE", "+ ACB", "+ InfoNCE", "MSAT", "test-iid"),
    ]
    computed += [
        ablation.difference(results, model, blind, "test-iid")
        for results, model in ((mmn, "MMN"), (reloclnet, "ReLoCLNet"))
        for blind in ("video-blind", "text-blind")
    ]
    quoted = re.findall(r"[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]", text)
    assert quoted == [str(difference).removesuffix(", not shown") for difference in computed]

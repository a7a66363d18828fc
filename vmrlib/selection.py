"""How much is won by choosing the checkpoint on the test split: one training, looked at many times.

Both codes that the course reproduces keep the weights that score best on *test*. Here every evaluation of a
training on Stage is kept for val and for test-iid, so that the three ways to choose can be compared: best on
test, best on val (what this project does), and the last.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vmrlib.ablate import (
    configure,
    dataset,
    describe,
    judge,
    resumed,
    write_results,
)
from vmrlib.ablation import ResultsError
from vmrlib.experiments import BOTH, MAIN, Experiment
from vmrlib.material import Material
from vmrlib.training import train

EVALUATIONS = 50  # about as often as the logged run on TACoS (49)
SPLIT, IOU = "test-iid", "0.5"
EXPERIMENT = Experiment("stage.yaml", {name: MAIN[name] for name in ("MSAT", BOTH)}, (2.5e-3,))


@dataclass(frozen=True)
class Choice:
    """R@1 on test in percent of one training, by how its checkpoint is chosen.

    mean, deviation: of all evaluations from the half of the training on.
    """

    on_test: float
    on_val: float
    last: float
    mean: float
    deviation: float


def measure(out: Path, steps: int | None = None, command: str = "") -> dict:
    """Trains every arm with every seed and keeps what each evaluation finds; runs in the file stay."""
    rate = EXPERIMENT.learning_rates[0]
    first = configure(EXPERIMENT, MAIN["MSAT"], rate, EXPERIMENT.seeds[0], steps)
    material = Material(first)
    results = json.loads(json.dumps(describe(EXPERIMENT, first, material, command))) | {"arms": {}}
    results["splits"] = {SPLIT: results["splits"][SPLIT]}
    if out.exists():
        results = resumed(out, results)
    for title, arm in EXPERIMENT.arms.items():
        runs = results["arms"].setdefault(title, {"changes": dict(arm.changes), "runs": {}})["runs"]
        for seed in EXPERIMENT.seeds:
            if str(seed) not in runs:
                of_run = material.variant(configure(EXPERIMENT, arm, rate, seed, steps))
                runs[str(seed)] = follow(of_run, arm)
                write_results(out, results)
                print(f"{title}: seed {seed}: {choices(results, title)[-1]}", flush=True)
    return results


def follow(material: Material, arm) -> dict:
    """One training: R@1 on val, and the hits on test, at each evaluation."""
    data, settings = material.config.data, material.config.training
    settings = replace(settings, evaluate_steps=max(1, settings.steps // EVALUATIONS))
    torch.manual_seed(settings.seed)
    model = material.model_config.build()
    found = {"step": [], "val": [], "hits": []}

    def look(line: Mapping) -> None:
        if "val" in line:
            found["step"].append(line["step"])
            found["val"].append(line["val"][settings.metric])
            found["hits"].append(judge(model, material, arm, (SPLIT,))[SPLIT][IOU])

    train_set, val_set = (dataset(material, name, arm) for name in (data.train, data.val))
    train(model, train_set, val_set, settings, on_step=look)
    return found


def recall_on_test(run: Mapping) -> np.ndarray:
    """R@1 on test in percent at each evaluation of a run."""
    return np.array([100 * row.count("1") / len(row) for row in run["hits"]])


def choices(results: Mapping, arm: str) -> list[Choice]:
    """What each way to choose gives, one entry for each seed, in the order of the file."""
    if arm not in results["arms"]:
        raise ResultsError(f"no arm {arm!r}; there are {', '.join(results['arms'])}")
    found = []
    for run in results["arms"][arm]["runs"].values():
        test = recall_on_test(run)
        late = test[len(test) // 2 :]
        chosen = test[int(np.argmax(run["val"]))]
        deviation = late.std(ddof=1) if len(late) > 1 else 0.0
        numbers = (test.max(), chosen, test[-1], late.mean(), deviation)
        found.append(Choice(*(float(number) for number in numbers)))
    return found

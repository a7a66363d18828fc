"""python -m vmrlib ablate: train the arms of an experiment on Stage, over seeds, and keep every hit.

All arms have the same steps and the same choice of learning rates; which one, val decides, with the first
seed. The test splits are looked at once a run is over. Every run is written as soon as it is done, so that an
experiment that was killed goes on with the run it was in, and one whose learning rates have become more goes
on with those that are missing. `ablation` reads the file.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import vmrlib
from vmrlib.ablation import next_run, read_results, recall, table
from vmrlib.configuration import RunConfig, read_config
from vmrlib.data.annotations import Query
from vmrlib.data.files import write_text
from vmrlib.data.loaders import MomentDataset, collate
from vmrlib.data.model_free import truths
from vmrlib.data.stage import SPLITS, StageConfig
from vmrlib.engine.settings import with_defaults
from vmrlib.experiments import EXPERIMENTS, Arm, Experiment
from vmrlib.material import Material
from vmrlib.metrics import hits_at
from vmrlib.models.msat import MSAT, learnt_parameters
from vmrlib.plan import kept_for_backward
from vmrlib.training import predict, train

NOISE = "noise"  # the experiment of `selection`: what choosing a checkpoint on test is worth
IOUS = (0.3, 0.5, 0.7)
TESTS = tuple(split for split in SPLITS if split.startswith("test"))
COST_BATCH = 32
CURVE = 10  # every tenth step of the contrastive loss is kept
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class Blank(Mapping):
    """Features that show nothing: zeros in the shape of the true ones."""

    def __init__(self, features: Mapping):
        self.features = features

    def __getitem__(self, video_id: str):
        return torch.zeros_like(self.features[video_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)


def dataset(material: Material, split: str, arm: Arm, targets: bool = True) -> MomentDataset:
    """A split as this arm sees it. Without text every query is the same word."""
    seen = material.dataset(split, targets)
    if not arm.blind:
        return seen
    queries, features = material.queries(split), material.features(split)
    if arm.blind == "text":
        queries = [replace(query, text="something") for query in queries]
    else:
        features = [Blank(each) for each in features]
    return type(seen)(
        queries,
        features,
        seen.clips,
        seen.cells,
        seen.words,
        seen.vocabulary,
        seed=seen.seed,
        targets=targets,
    )


def configure(experiment: Experiment, arm: Arm, rate: float, seed: int, steps: int | None) -> RunConfig:
    """The configuration of one run."""
    changes = dict(experiment.changes) | dict(arm.changes)
    changes |= {"training.learning_rate": rate, "training.seed": seed}
    return read_config(CONFIGS / experiment.config, changes | ({"training.steps": steps} if steps else {}))


def train_arm(material: Material, arm: Arm) -> tuple[nn.Module, dict]:
    """One training: the model, and what is known of it without a test split."""
    config = material.config
    torch.manual_seed(config.training.seed)
    model = material.model_config.build()
    val_set = dataset(material, config.data.val, arm)
    started = time.process_time()
    result = train(model, dataset(material, config.data.train, arm), val_set, config.training)
    record = {
        "steps": result.steps,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 1),
        "cpu_seconds": round(time.process_time() - started, 1),
        "val": result.metrics[config.training.metric],
        "cost": cost(model, val_set),
    }
    if getattr(model, "contrast", None):
        curve = [line["losses"]["contrast"] for line in result.log if "contrast" in line.get("losses", {})]
        every = [round(value, 3) for value in curve[::CURVE]]
        temperature = round(model.contrast.temperature.item(), 4)
        record["contrast"] = {"loss": every, "temperature": temperature} | alignment(model, val_set)
    return model, record


def judge(model: nn.Module, material: Material, arm: Arm, splits: Sequence[str]) -> dict[str, dict]:
    """The hits of a trained model: split -> IoU -> one 0 or 1 for each query."""
    found = {}
    for split in splits:
        predictions = predict(model, dataset(material, split, arm, targets=False))
        answers = [prediction.moments[:1] for prediction in predictions]
        known = truths(material.queries(split))
        found[split] = {
            str(iou): "".join("01"[int(hit)] for hit in hits_at(answers, known, 1, iou)) for iou in IOUS
        }
    return found


def answers(model: nn.Module, material: Material, arm: Arm, split: str) -> str:
    """What a trained model answers, "start:end start:end ..." in seconds, in the order of the queries."""
    predictions = predict(model, dataset(material, split, arm, targets=False))
    return " ".join("{:.1f}:{:.1f}".format(*prediction.moments[0]) for prediction in predictions)


def cost(model: nn.Module, data: MomentDataset) -> dict[str, float]:
    """Parameters, GFLOP forward per query, and bytes that a batch of 32 items keeps for backward.

    An item is a query, or, of MMN, a video with all of its queries. Without the contrastive loss. Attention
    is written out: the counter does not know the fused one.
    """
    batch = data.collate([data[i % len(data)] for i in range(COST_BATCH)])
    written_out = {"attention": True} if isinstance(model, MSAT) else {}
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(batch, **written_out)
    return {
        "parameters": learnt_parameters(model),
        "gigaflop": round(counter.get_total_flops() / len(batch["query_ids"]) / 1e9, 6),
        "kept_bytes": kept_for_backward(model, lambda: model.loss(model(batch), batch)["total"]),
    }


@torch.no_grad()
def alignment(model: nn.Module, data: MomentDataset) -> dict[str, float]:
    """Do sentences and their moments find each other, and are the vectors still spread out?

    top1: percent of moments whose own sentence (or one of the same words) is nearest. cosine: the mean
    between vectors of different samples, 1 where all have become one. rank: how many directions the vectors
    fill, exp of the entropy of their spectrum.
    """
    batch = collate([data[i] for i in range(len(data))])
    sentences, moments = model.eval().compared(batch)
    nearest = (moments @ sentences.T).argmax(dim=1)
    right = batch["sentence"][nearest] == batch["sentence"]
    figures = {"top1": 100 * right.float().mean().item()}
    for name, vectors in (("sentences", sentences), ("moments", moments)):
        similar = vectors @ vectors.T
        others = (similar.sum() - similar.trace()) / (len(vectors) * (len(vectors) - 1))
        spectrum = torch.linalg.svdvals(vectors).square()
        spectrum = spectrum / spectrum.sum()
        rank = (-(spectrum * spectrum.clamp_min(1e-12).log()).sum()).exp()
        figures |= {f"{name}_cosine": others.item(), f"{name}_rank": rank.item()}
    return {name: round(value, 3) for name, value in figures.items()}


def per_video(queries: list[Query]) -> list[int]:
    """How many queries each video has, in their order."""
    counts: dict[str, int] = {}
    for query in queries:
        counts[query.video_id] = counts.get(query.video_id, 0) + 1
    return list(counts.values())


def describe(experiment: Experiment, config: RunConfig, material: Material, command: str) -> dict:
    """The head of a results file: everything but the arms."""
    return {
        "command": command,
        "vmrlib": vmrlib.__version__,
        "code": code_version(),
        "train": material.provenance(config.data.train),
        "splits": {
            split: material.provenance(split) | {"queries_per_video": per_video(material.queries(split))}
            for split in splits_to_test(material)
        },
        "configuration": asdict(config),
        "learning_rates": list(experiment.learning_rates),
        "seeds": list(experiment.seeds),
    }


def code_version() -> str:
    """The commit that the code is at, where it is a working copy."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=CONFIGS.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def ablate(name: str, out: Path, steps: int | None = None, command: str = "") -> dict:
    """The results of an experiment; runs that the file holds already are not repeated.

    Raises ValueError where the file was made with another configuration.
    """
    experiment = EXPERIMENTS[name]
    first = configure(experiment, Arm(), experiment.learning_rates[0], experiment.seeds[0], steps)
    material = Material(first)
    head = json.loads(json.dumps(describe(experiment, first, material, command)))
    results = head | {"arms": {}}
    if out.exists():
        results = resumed(out, head)
    for title, arm in experiment.arms.items():
        if arm.same_as and title not in results["arms"]:
            results["arms"][title] = taken_over(out, arm, results)
            write_results(out, results)
        record = results["arms"].setdefault(title, what_it_is(arm))
        if {key: record[key] for key in ("changes", "blind")} != what_it_is(arm):
            raise ValueError(f"{out}: the arm {title!r} was run with other changes; choose another file")
        search, runs = record.setdefault("search", {}), record.setdefault("runs", {})
        widened = search.keys() != {str(rate) for rate in experiment.learning_rates}

        def trained(rate: float, seed: int, arm=arm) -> tuple[Material, nn.Module, dict]:
            codes = results["code"].split(", ")  # of all runs in the file
            results["code"] = ", ".join(dict.fromkeys([*codes, head["code"]]))
            of_run = material.variant(configure(experiment, arm, rate, seed, steps))
            return of_run, *train_arm(of_run, arm)

        kept = None  # the best run of the search: it is also the first seed's
        for rate in experiment.learning_rates:
            if str(rate) not in search:
                run = trained(rate, experiment.seeds[0])
                search[str(rate)] = run[2]["val"]
                if search[str(rate)] == max(search.values()):
                    kept = (rate, run)
                write_results(out, results)
                print(f"{title}: learning rate {rate:g}: val {search[str(rate)]:.1f}", flush=True)
        best = max(experiment.learning_rates, key=lambda rate: search[str(rate)])
        if widened and record.get("learning_rate", best) != best:
            runs.clear()
        record["search"] = search = {str(rate): search[str(rate)] for rate in experiment.learning_rates}
        record["learning_rate"] = best
        write_results(out, results)
        for seed in experiment.seeds:
            if str(seed) not in runs:
                reuse = kept and kept[0] == best and seed == experiment.seeds[0]
                of_run, model, about = kept[1] if reuse else trained(best, seed)
                runs[str(seed)] = about | {"hits": judge(model, of_run, arm, splits_to_test(material))}
                if seed == experiment.seeds[0]:
                    runs[str(seed)]["answers"] = answers(model, of_run, arm, TESTS[0])
                record["runs"] = runs = {key: runs[key] for key in map(str, experiment.seeds) if key in runs}
                write_results(out, results)
                print(f"{title}: seed {seed}: val {about['val']:.1f}", flush=True)
    return results


def resumed(out: Path, head: Mapping) -> dict:
    """What the file holds already. Raises ValueError where it was made with another configuration.

    There may be more learning rates to search than before.
    """
    results = read_results(out)
    if set(results["learning_rates"]) < set(head["learning_rates"]):
        results["learning_rates"] = head["learning_rates"]
        results["configuration"]["training"]["learning_rate"] = head["configuration"]["training"][
            "learning_rate"
        ]
    for key in ("configuration", "splits", "train", "learning_rates", "seeds"):
        if part_of(results, key) != part_of(head, key):
            raise ValueError(f"{out}: made with another {key}; choose another file")
    return results


def part_of(results: Mapping, key: str):
    """What a results file says it was made with; settings of training that came later have their defaults."""
    part = results.get(key)
    if key == "configuration":
        part = part | {"training": with_defaults(part.get("training", {}))}
    return part


def what_it_is(arm: Arm) -> dict:
    """An arm as a results file says it."""
    return json.loads(json.dumps({"changes": dict(arm.changes), "blind": arm.blind}))


def taken_over(out: Path, arm: Arm, results: Mapping) -> dict:
    """The same arm of another experiment's file, with the seeds wanted here. Both must be made alike."""
    path, title = out.with_name(f"{arm.same_as[0]}.json"), arm.same_as[1]
    other = read_results(path)
    for key in ("configuration", "splits", "train", "learning_rates"):
        if part_of(other, key) != part_of(results, key):
            raise ValueError(f"{path}: made with another {key}: {title!r} cannot be taken over")
    record = other["arms"].get(title, {"runs": {}})
    seeds = [str(seed) for seed in results["seeds"]]
    if missing := [seed for seed in seeds if seed not in record["runs"]]:
        raise ValueError(f"{path}: {title!r} has no run of seed {', '.join(missing)} yet")
    if {key: record[key] for key in ("changes", "blind")} != what_it_is(arm):
        raise ValueError(f"{path}: {title!r} was run with other changes: it cannot be taken over")
    return record | {"runs": {seed: record["runs"][seed] for seed in seeds}, "from": [path.name, title]}


def splits_to_test(material: Material) -> tuple[str, ...]:
    """The test splits of Stage that this profile has."""
    kitchen = material.config.data.profile == "kitchen"
    sizes = (StageConfig.kitchen() if kitchen else StageConfig.open()).sizes
    return tuple(split for split in TESTS if split in sizes)


def write_results(out: Path, results: dict) -> None:
    write_text(out, json.dumps(results, indent=1) + "\n")


def check(name: str, path: Path, title: str, split: str = "test-iid") -> bool:
    """Trains one arm anew with the next seed; does R@1 lie where the file says one more run should?"""
    experiment, results = EXPERIMENTS[name], read_results(path)
    arm, record = experiment.arms[title], results["arms"][title]
    steps, seed = results["configuration"]["training"]["steps"], max(experiment.seeds) + 1
    config = configure(experiment, arm, record["learning_rate"], seed, steps)
    material = Material(config)
    hit = judge(train_arm(material, arm)[0], material, arm, (split,))[split]["0.5"]
    low, high = next_run(results, title, split)
    found = 100 * hit.count("1") / len(hit)
    print(
        f"{title}, seed {seed}, {split}: R@1, IoU=0.5 is {found:.1f}; one more run should lie in "
        f"[{low:.1f}, {high:.1f}] (mean of the file: {recall(results, title, split).mean:.1f})"
    )
    return low <= found <= high


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: python -m vmrlib ablate msat_stage --out results/msat_stage.json"
    parser.add_argument("experiment", choices=[*EXPERIMENTS, NOISE])
    parser.add_argument("--out", type=Path, required=True, help="the results file; runs in it are kept")
    parser.add_argument("--steps", type=int, help="fewer or more steps of training than the configuration's")
    parser.add_argument("--check", metavar="ARM", help="train this arm once more and compare with the file")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 where a check fails."""
    command = f"python -m vmrlib ablate {args.experiment} --out {args.out.as_posix()}"
    command += f" --steps {args.steps}" if args.steps else ""
    if args.experiment == NOISE and args.check:
        raise ValueError(f"--check: the experiment {NOISE} has no arm that could be checked")
    if args.experiment == NOISE:
        from vmrlib.selection import choices, measure  # it needs this file

        found = measure(args.out, args.steps, command)
        print(json.dumps({arm: [vars(choice) for choice in choices(found, arm)] for arm in found["arms"]}))
        return 0
    if args.check:
        if args.check not in EXPERIMENTS[args.experiment].arms:
            known = ", ".join(EXPERIMENTS[args.experiment].arms)
            raise ValueError(f"--check: {args.check!r} is no arm; there are {known}")
        return 0 if check(args.experiment, args.out, args.check) else 1
    results = ablate(args.experiment, args.out, args.steps, command)
    if args.json:
        figures = {
            arm: {split: vars(recall(results, arm, split)) for split in results["splits"]}
            for arm in results["arms"]
        }
        print(json.dumps(figures))
    else:
        print(table(results))
    return 0

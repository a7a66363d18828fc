"""python -m vmrlib train: train a model as a configuration says, go on with a run, and judge it.

The work is done elsewhere: `configuration` reads the file, `material` gets the data, `plan` measures what it
will cost, `training` is the loop. This file puts them together and prints.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from vmrlib.checkpoints import load, restore, without_queues
from vmrlib.configuration import RunConfig, parse_change, read_config
from vmrlib.corpus_figures import corpus_figures, corpus_lines
from vmrlib.data.annotations import Query
from vmrlib.data.model_free import constant_window, full_video, train_median, truths
from vmrlib.data.predictions import write_predictions
from vmrlib.engine.processes import Processes
from vmrlib.evaluate import columns
from vmrlib.material import Material, describe_set, notebook_material
from vmrlib.metrics import evaluate_span, mean_iou, recall_at
from vmrlib.models.msat import learnt_parameters
from vmrlib.models.reloclnet import ReLoCLNet
from vmrlib.plan import for_planning, make_plan
from vmrlib.retrieval_material import (
    RetrievalMaterial,
    describe_texts,
    evaluate_retrieval,
    retrieval_lines,
)
from vmrlib.training import predict, train

__all__ = ["add_arguments", "evaluate_split", "new_model", "notebook_material", "run"]

SHOWN = ("R@1, IoU=0.3", "R@1, IoU=0.5", "R@1, IoU=0.7", "R@5, IoU=0.5", "mIoU")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "example: python -m vmrlib train --config configs/stage.yaml --out runs/stage\n"
        "several processes: accelerate launch --num_processes 2 -m vmrlib train ..."
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="a YAML file, as those in configs/")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="checkpoints, log and predictions go here")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--start-from", metavar="CHECKPOINT", help="begin with the weights of another run")
    parser.add_argument(
        "--plan", action="store_true", help="print parameters, memory, steps, hours; then stop"
    )
    parser.add_argument(
        "--evaluate",
        nargs="*",
        metavar="SPLIT",
        help="judge the best checkpoint; without a split: on those of data.test",
    )
    parser.add_argument(
        "--biases",
        choices=("train", "test"),
        help="of models that find videos: add Sinkhorn biases, from the training queries, or, transductive, "
        "from those of the split",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; default: a GPU if there is one")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--fraction", type=float, help="train on this share of the training queries")
    parser.add_argument(
        "--features", metavar="simulated|STORE", help="other features than the configuration's"
    )
    parser.add_argument("--words", metavar="FILE", help="other word vectors: a file, stage, or letters")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as in --set training.epochs=3"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def configure(args: argparse.Namespace) -> tuple[RunConfig, bool]:
    """The configuration with what the command line changes, and whether features are to be simulated."""
    changes = dict(parse_change(text) for text in args.set)
    for key, value in (
        ("training.device", args.device),
        ("training.seed", args.seed),
        ("data.fraction", args.fraction),
        ("words", args.words),
    ):
        if value is not None:
            changes[key] = value
    if args.features not in (None, "simulated"):
        changes["features"] = [{"store": args.features}]
    return read_config(args.config, changes), args.features == "simulated"


def splits_to_evaluate(args: argparse.Namespace, config: RunConfig) -> list[str]:
    """The splits that --evaluate names; those of `data.test` where it names none."""
    if args.evaluate is None:
        return []
    splits = list(args.evaluate or config.data.test)
    if not splits:
        raise ValueError(f"{args.config}: data.test names no split for --evaluate")
    return splits


def run(args: argparse.Namespace) -> int:
    """Plans, trains, and evaluates; prints what is trained on what."""
    config, simulate = configure(args)
    splits = splits_to_evaluate(args, config)
    retrieves = config.model.retrieves
    kind = RetrievalMaterial if retrieves else Material
    material = kind(config, simulate, verbose=not args.json, others=splits)
    if args.plan and retrieves:
        raise ValueError("--plan: not for models that find videos; their frames are rendered first")
    if args.plan:
        plan = make_plan(for_planning(material))
        print(json.dumps(vars(plan) | {"hours": plan.hours}) if args.json else "\n".join(plan.lines()))
        return 0
    if args.biases and not retrieves:
        raise ValueError("--biases: only for models that find videos")
    if args.biases == "train" and config.data.train in splits:
        raise ValueError("--biases train: the training split itself has none from other queries")
    if args.out is None:
        raise ValueError("--out is needed: the folder for checkpoints, log and predictions")
    train_set, val_set = material.dataset(config.data.train), material.dataset(config.data.val)
    for split in splits:  # what is wrong there is better known before training than after it
        material.dataset(split, targets=False)
    model, about = new_model(material), material.about
    if args.start_from:
        about |= {"started_from": start_from(args.start_from, model, material)}
    main = Processes(config.training.device).main
    loud = main and not args.json
    if loud:
        print("\n".join(heading(material, train_set, val_set, model)))
        if args.resume and not (args.out / "last.json").is_file():
            print(f"no run in {args.out}: starting")
    result = train(
        model,
        train_set,
        val_set,
        config.training,
        args.out,
        about,
        args.resume,
        verbose=loud,
    )
    report = {
        "out": str(args.out),
        "label": material.label,
        "steps": result.steps,
        "best_step": result.best_step,
        "metric": config.training.metric,
        "best": result.best,
        "val": result.metrics,
        "seconds": round(result.seconds, 1),
        "already_finished": result.already_finished,
    }
    note = f" ({material.label})" if material.label else ""
    if loud:
        state = "was finished already" if result.already_finished else "finished"
        print(
            f"{args.out}: {state} after {result.steps} steps, {result.seconds:.0f} s; best on val{note}: "
            f"{config.training.metric} {result.best:.2f} at step {result.best_step}"
        )
    report["splits"] = {}
    for split in splits if main else []:
        if retrieves:
            figures = evaluate_retrieval(model, material, split, args.out, args.biases)
            lines = retrieval_lines
        else:
            figures = evaluate_split(model, material, split, args.out, verbose=loud)
            lines = evaluation_lines
        report["splits"][split] = figures
        if loud:
            print("\n".join(["", *lines(figures, model.config.title + note)]))
    if args.json and main:
        print(json.dumps(report))
    return 0


def new_model(material: Material) -> nn.Module:
    """The model of a run, untrained: its weights are drawn from the run's seed, or published ones."""
    torch.manual_seed(material.config.training.seed)
    model = material.model_config.build()
    if hasattr(model, "load_pretrained"):
        model.load_pretrained()
    return model


def start_from(path: str, model: nn.Module, material: Material) -> dict:
    """Which weights `model` now has: those of a checkpoint of the same configuration, features and words."""
    checkpoint = load(path)
    here, there = asdict(model.config), asdict(checkpoint.model.config)
    different = [f"{key} is {there[key]}, not {here[key]}" for key in here if here[key] != there[key]]
    if checkpoint.vocabulary.words != material.vocabulary.words:
        different.append("its vocabulary has other words")
    here, there = kinds_of_input(material.about), kinds_of_input(checkpoint.about)
    different += [f"{key} is {there[key]}, not {here[key]}" for key in here if here[key] != there[key]]
    if different:
        raise ValueError(f"--start-from {path}: another model: {'; '.join(different)}")
    # Keys of the contrastive loss belong to the queries of the other run.
    restore(model, without_queues(checkpoint.model.state_dict()))
    return {"step": checkpoint.about["step"], "sha256": checkpoint.about["weights"]["sha256"]}


def kinds_of_input(about: Mapping) -> dict[str, str | None]:
    """What a model was given to see and to read: its features, and where its word vectors are from."""
    features = [
        f"{each.get('spec')} ({each.get('dim')}, {each.get('seconds_per_clip')} s)"
        for each in about.get("features", ())
    ]
    return {"features": ", ".join(features), "words_from": about.get("words_from")}


def heading(material: Material, train_set, val_set, model: nn.Module) -> list[str]:
    """What is trained on what, with counts."""
    config = material.config
    if isinstance(material, RetrievalMaterial):
        return [
            describe_texts(f"train    {config.data.dataset} {config.data.train}", train_set),
            describe_texts(f"val      {config.data.dataset} {config.data.val}", val_set),
            *material.heading(),
            model_line(model),
        ]
    known = [word in material.words for word in material.vocabulary.words[1:-1]]
    records = material.feature_records
    features = ", ".join(f"{record['spec']} ({record['dim']})" for record in records)
    whole = "" if config.data.fraction == 1 else f", {100 * config.data.fraction:g} % of it"
    lines = [
        describe_set(f"train    {config.data.dataset} {config.data.train}{whole}", train_set, material),
        describe_set(f"val      {config.data.dataset} {config.data.val}", val_set, material),
        f"features {features}",
        f"words    {Path(config.words).name}: {material.words.dim} numbers for {sum(known)} of the "
        f"{len(known)} words in train",
        model_line(model),
    ]
    if material.label:
        lines.append(f"NOTE     {material.label}: noise in the place of the video. The scores say nothing.")
    return lines


def model_line(model: nn.Module) -> str:
    """Which model, and how many numbers it learns."""
    return f"model    {model.config.title}, {learnt_parameters(model):,} parameters"


def evaluate_split(
    model: nn.Module, material: Material, split: str, out: Path, verbose: bool = False
) -> dict:
    """The figures of a trained model on a split, beside those of answers that need no model.

    Predictions are written into the run folder, for `vmrlib evaluate span` and `vmrlib analyse`. Where a
    query has no moments, as in the files of a challenge, there are predictions, but no figures. ReLoCLNet
    also searches all videos of the split: `corpus`.
    """
    settings = material.config.training
    queries = material.queries(split)
    dataset = material.dataset(split, targets=False)
    predictions = predict(model, dataset, settings.predict_batch_size, verbose=verbose)
    name = f"predictions-{Path(split).stem}{'-simulated' if material.label else ''}.jsonl"
    write_predictions(out / name, predictions)
    report = {"split": split, "label": material.label, "predictions": name, "figures": None, "baselines": {}}
    if all(query.moments for query in queries):
        train_queries = material.queries(material.config.data.train)
        report["figures"] = evaluate_span(predictions, queries, convention=settings.convention)
        report["baselines"] = baseline_figures(train_queries, queries, settings.convention)
        if isinstance(model, ReLoCLNet):
            report["corpus"] = corpus_figures(model, dataset, train_queries, queries)
    return report


def baseline_figures(train: list[Query], test: list[Query], convention: str) -> dict[str, dict[str, float]]:
    """What answers without a model reach, in percent; everything is chosen on the training queries."""
    known = truths(test)
    answers = {
        "constant window": constant_window(train, test),
        "median of train": train_median(train, test),
        "whole video": full_video(test),
    }
    return {
        name: {
            f"R@1, IoU={iou}": round(recall_at(found, known, 1, iou, convention), 2)
            for iou in (0.3, 0.5, 0.7)
        }
        | {"mIoU": round(mean_iou(found, known), 2)}
        for name, found in answers.items()
    }


def evaluation_lines(figures: dict, title: str) -> list[str]:
    """A table: the model, and the baselines below it; or a line where there is nothing to compare with."""
    if figures["figures"] is None:
        return [
            f"{figures['split']}: queries without moments, no figures; answers in {figures['predictions']}"
        ]
    rows = [[title, *(figures["figures"][name] for name in SHOWN)]]
    rows += [[name, *(values.get(key) for key in SHOWN)] for name, values in figures["baselines"].items()]
    heading = f"{figures['split']}: {figures['figures']['queries']} queries, %, in {figures['predictions']}"
    lines = [heading, *columns(["", *SHOWN], rows)]
    return [*lines, "", *corpus_lines(figures["corpus"], title)] if "corpus" in figures else lines

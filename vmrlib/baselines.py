"""Answers that need no training, and what they score: the numbers every model has to beat.

python -m vmrlib.baselines --out results/stage_baselines.json
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

import vmrlib
from vmrlib.data.files import write_text
from vmrlib.data.model_free import Answers, best_windows, constant_window, random_moment, truths
from vmrlib.data.stage.splits import StageConfig, StageSplit, make_split
from vmrlib.data.stage.world import VERSION
from vmrlib.features import load_extractor
from vmrlib.features.stage import stage_features
from vmrlib.finding import moments_from_curve, similarity_curve
from vmrlib.metrics import hits_at

IOUS = (0.3, 0.5, 0.7)
SEEDS = (0, 1, 2)


def video_blind(train: StageSplit, test: StageSplit) -> Answers:
    """The best window of the query's verb and complexity: about all that the sentence alone can tell."""

    def key(query):
        return query.extra["verb"], query.extra["complexity"]

    by_key = best_windows(train.queries, key)
    (fallback,) = best_windows(train.queries, lambda query: None).values()
    return [by_key.get(key(query), fallback)[None] * query.duration for query in test.queries]


def random_true_event(test: StageSplit, seed: int) -> Answers:
    """Some event of the video, whatever was asked: it sees everything and reads nothing."""
    generator = torch.Generator().manual_seed(seed)
    answers = []
    for query in test.queries:
        events = test.script_of[query.video_id].events
        pick = int(torch.randint(len(events), (1,), generator=generator))
        answers.append(torch.tensor([events[pick].moment], dtype=torch.float64))
    return answers


def clip_zero_shot(test: StageSplit) -> Answers:
    """The stretch whose frames fit the sentence best, by the tiny CLIP."""
    extractor = load_extractor("stage-clip", device="cpu")
    features = stage_features(test, extractor)
    with torch.no_grad():
        sentences = extractor.clip.encode_sentences([query.text for query in test.queries]).sentence
    answers = []
    for query, sentence in zip(test.queries, sentences, strict=True):
        curve = similarity_curve(features[query.video_id], sentence)
        best = moments_from_curve(curve, extractor.stride, query.duration, top=1)
        answers.append(torch.tensor([best[0][:2]], dtype=torch.float64))
    return answers


def measure(config: StageConfig, split: str = "test-iid") -> dict:
    """Per-query hits of every baseline on one split; everything chosen is chosen on train."""
    train, test = make_split("train", config), make_split(split, config)
    runs = {
        "constant window": [constant_window(train.queries, test.queries)],
        "video-blind (verb and complexity)": [video_blind(train, test)],
        "random moment": [random_moment(test.queries, seed) for seed in SEEDS],
        "random true event": [random_true_event(test, seed) for seed in SEEDS],
        "CLIP, zero-shot": [clip_zero_shot(test)],
    }
    true = truths(test.queries)
    return {
        "stage": VERSION,
        "split": split,
        "hash": test.hash,
        "train_hash": train.hash,
        "config": asdict(config),
        "queries": len(test.queries),
        "hits": {  # baseline -> IoU -> one string of 0 and 1 a seed, in the order of the queries
            name: {
                str(iou): [
                    "".join("01"[int(hit)] for hit in hits_at(answers, true, 1, iou)) for answers in seeds
                ]
                for iou in IOUS
            }
            for name, seeds in runs.items()
        },
    }


def recalls(hits: dict[str, list[str]]) -> dict[str, list[float]]:
    """R@1 in percent per IoU and seed, from the strings of hits."""
    return {iou: [100 * run.count("1") / len(run) for run in runs] for iou, runs in hits.items()}


def table(results: dict) -> str:
    """The results file as a Markdown table: mean over seeds, and the deviation where there are several."""
    lines = [
        "| R@1, IoU = 0.3 / 0.5 / 0.7 | " + " | ".join(results["profiles"]) + " |",
        "|---|" + "---|" * len(results["profiles"]),
    ]
    names = next(iter(results["profiles"].values()))["hits"]
    for name in names:
        cells = []
        for profile in results["profiles"].values():
            values = [torch.tensor(seeds) for seeds in recalls(profile["hits"][name]).values()]
            means = " / ".join(f"{value.mean():.1f}" for value in values)
            spread = f" (± {values[1].std():.1f} at 0.5)" if len(values[1]) > 1 else ""
            cells.append(means + spread)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    results = {
        "command": f"python -m vmrlib.baselines --out {args.out.as_posix()}",
        "vmrlib": vmrlib.__version__,
        "seeds": list(SEEDS),
        "profiles": {
            "Stage open": measure(StageConfig.open()),
            "Stage kitchen": measure(StageConfig.kitchen()),
        },
    }
    write_text(args.out, json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()

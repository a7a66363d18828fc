"""Answers that need no training, and what they score: the numbers every model has to beat.

python -m vmrlib.baselines --out results/stage_baselines.json
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import vmrlib
from vmrlib.data.stage.export import write_text
from vmrlib.data.stage.splits import StageConfig, StageSplit, make_split
from vmrlib.data.stage.world import VERSION
from vmrlib.features import load_extractor
from vmrlib.features.stage import stage_features
from vmrlib.finding import moments_from_curve, similarity_curve
from vmrlib.metrics import hits_at
from vmrlib.moments import temporal_iou

IOUS = (0.3, 0.5, 0.7)
GRID = 24  # edges of the constant windows: 1/24 of the duration
SEEDS = (0, 1, 2)

Answers = list[Float[Tensor, "1 2"]]  # one moment a query, seconds


def windows() -> Float[Tensor, "M 2"]:
    """All windows on the grid, as fractions of the duration."""
    edges = torch.linspace(0, 1, GRID + 1, dtype=torch.float64)
    return torch.tensor(
        [(a, b) for a in edges.tolist() for b in edges.tolist() if a < b], dtype=torch.float64
    )


def truths(split: StageSplit) -> Answers:
    """The true moments of every query, in seconds."""
    return [torch.tensor(query.moments, dtype=torch.float64) for query in split.queries]


def best_windows(train: StageSplit, key, iou: float = 0.5) -> dict:
    """For each value of `key(query)` the window that reaches `iou` most often on the training queries."""
    candidates, hits = windows(), {}
    for query in train.queries:
        true = torch.tensor(query.moments, dtype=torch.float64) / query.duration
        hit = (temporal_iou(candidates, true).amax(dim=1) >= iou).double()
        hits[key(query)] = hits.get(key(query), 0) + hit
    return {value: candidates[count.argmax()] for value, count in hits.items()}


def constant_window(train: StageSplit, test: StageSplit) -> Answers:
    """The same window for every query: the one that hits most often in training."""
    (window,) = best_windows(train, lambda query: None).values()
    return [window[None] * query.duration for query in test.queries]


def video_blind(train: StageSplit, test: StageSplit) -> Answers:
    """The best window of the query's verb and complexity: about all that the sentence alone can tell."""

    def key(query):
        return query.extra["verb"], query.extra["complexity"]

    by_key, (fallback,) = best_windows(train, key), best_windows(train, lambda query: None).values()
    return [by_key.get(key(query), fallback)[None] * query.duration for query in test.queries]


def random_moment(test: StageSplit, seed: int) -> Answers:
    """Start and end drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand(1, 2, generator=generator, dtype=torch.float64).sort()[0] * query.duration
        for query in test.queries
    ]


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
        "constant window": [constant_window(train, test)],
        "video-blind (verb and complexity)": [video_blind(train, test)],
        "random moment": [random_moment(test, seed) for seed in SEEDS],
        "random true event": [random_true_event(test, seed) for seed in SEEDS],
        "CLIP, zero-shot": [clip_zero_shot(test)],
    }
    true = truths(test)
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

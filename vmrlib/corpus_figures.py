"""VR, SVMR and VCMR of a trained model over the videos of a split, and what is reached without a model.

All videos of the split are the corpus; it is encoded once, and every query is asked of all of it. Only the
video that a query was written about counts: where its sentence is true of others, too, as happens on Stage,
the figures of VR and VCMR are too low.
"""

from collections.abc import Sequence

import numpy as np
import torch

from vmrlib.data.annotations import Query
from vmrlib.data.loaders import MomentDataset, collate
from vmrlib.data.model_free import constant_window, truths
from vmrlib.data.predictions import MOST, TASKS, CorpusPredictions
from vmrlib.engine.predicting import to_device
from vmrlib.evaluate import columns, recall_name
from vmrlib.metrics import recall_at
from vmrlib.metrics.corpus import IOUS, RANKS, evaluate_corpus
from vmrlib.models.reloclnet import ReLoCLNet
from vmrlib.models.reloclnet_search import encode_corpus, search

BATCH = 50  # videos, and queries, at once


def corpus_figures(
    model: ReLoCLNet, dataset: MomentDataset, train: Sequence[Query], queries: Sequence[Query]
) -> dict:
    """Recalls in percent: `figures` and `baselines`, with the keys of `evaluate_corpus`; `videos`: how many.

    `dataset` has the same queries in the same order, and no targets.
    """
    found = answer_corpus(model, dataset)
    return {
        "videos": len(found.video_index),
        "figures": evaluate_corpus(found, queries),
        "baselines": without_model(train, queries),
    }


@torch.inference_mode()
def answer_corpus(model: ReLoCLNet, dataset: MomentDataset) -> CorpusPredictions:
    """What a model in evaluation mode finds for every query among all videos of the set.

    Of the dataset, which has no targets, item n belongs to query n.
    """
    device = next(model.parameters()).device

    def batch_of(indexes: Sequence[int]) -> dict:
        return to_device(collate([dataset[index] for index in indexes]), device)

    item_of: dict[str, int] = {}  # of each video one query: its item has the clips
    for index, query in enumerate(dataset.queries):
        item_of.setdefault(query.video_id, index)
    items, video_index = list(item_of.values()), {video: place for place, video in enumerate(item_of)}
    corpus = encode_corpus(model, (batch_of(items[i : i + BATCH]) for i in range(0, len(items), BATCH)))
    rows: dict[str, dict[str, np.ndarray]] = {task: {} for task in TASKS}
    for start in range(0, len(dataset), BATCH):
        indexes = range(start, min(start + BATCH, len(dataset)))
        asked, queries = batch_of(indexes), [dataset.queries[index] for index in indexes]
        own = torch.tensor([video_index[query.video_id] for query in queries], device=device)
        found = search(model, corpus, asked["words"], asked["word_mask"], videos=MOST, own=own)
        for place, query in enumerate(queries):
            answers = {"VCMR": found.spans.rows(place, MOST), "SVMR": found.own_spans.rows(place, MOST)}
            answers["VR"] = torch.nn.functional.pad(found.videos[place, :, None], (0, 2))  # no times
            for task, each in answers.items():
                rows[task][query.id] = each[:, :3].cpu().numpy().astype(np.float32)
    return CorpusPredictions(video_index, rows)


def without_model(train: Sequence[Query], queries: Sequence[Query]) -> dict[str, dict[str, float]]:
    """Recalls in percent of the videos in any order, on average, and of one window chosen on `train`.

    VR: k of V videos hold the right one with probability k / V. SVMR: the window that reaches 0.5 most often
    in training, at rank 1. VCMR: this window in the videos in any order.
    """
    videos, known = len({query.video_id for query in queries}), truths(queries)
    window = constant_window(list(train), list(queries))
    hit = {iou: recall_at(window, known, 1, iou, ">=") for iou in IOUS}
    chance = {rank: min(rank / videos, 1.0) for rank in RANKS}
    return {
        "VR": {f"r{rank}": round(100 * share, 2) for rank, share in chance.items()},
        "SVMR": {f"{iou}-r1": round(value, 2) for iou, value in hit.items()},
        "VCMR": {
            f"{iou}-r{rank}": round(value * share, 2)
            for iou, value in hit.items()
            for rank, share in chance.items()
        },
    }


def corpus_lines(report: dict, title: str) -> list[str]:
    """A table for each task: the model beside what is reached without one."""
    lines = [f"a corpus of {report['videos']} videos, %; without a model: any order, one window"]
    for task in ("VR", "SVMR", "VCMR"):
        rows = [
            [recall_name(key), value, report["baselines"][task].get(key)]
            for key, value in report["figures"][task].items()
        ]
        lines += columns([task, title, "without a model"], rows)
    return lines

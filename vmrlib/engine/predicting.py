"""What a model answers to the queries of a set, and how good that is."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vmrlib.data.annotations import Query
from vmrlib.data.loaders import MomentDataset
from vmrlib.data.predictions import Prediction
from vmrlib.engine.processes import Processes
from vmrlib.metrics.span import IOUS, RANKS, per_query_values


def predict(
    model: nn.Module,
    dataset: MomentDataset,
    batch_size: int = 64,
    top: int = 5,
    processes: Processes | None = None,
    verbose: bool = False,
) -> list[Prediction]:
    """The `top` moments (seconds) that the model finds for every query, in the order of `dataset.queries`.

    The model is given an object without moments. It is in the same mode afterwards as before. Several
    `processes` share the queries, and each of them gets all answers.
    """
    blind = dataset.without_targets() if dataset.targets else dataset
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    indexes = range(len(blind)) if processes is None else processes.share(range(len(blind)))
    found, training = {}, model.training
    model.eval()
    starts = range(0, len(indexes), batch_size)
    with torch.inference_mode():
        for start in tqdm(starts, disable=not verbose, desc="predicting", unit="batch"):
            batch = indexes[start : start + batch_size]
            answers = model.localise(to_device(blind.collate([blind[i] for i in batch]), device), top)
            for index, (moments, scores) in zip(batch, answers, strict=True):
                found[index] = (moments.double().cpu().numpy(), scores.double().cpu().numpy())
    model.train(training)
    if processes is not None:
        found = processes.gather(found)
    return [
        Prediction(query.id, *found[index], video_id=query.video_id, text=query.text)
        for index, query in enumerate(blind.queries)
    ]


def score(
    predictions: Sequence[Prediction], queries: Sequence[Query], metric: str = "mIoU", convention: str = ">="
) -> dict[str, float]:
    """R@1 and R@5 at IoU 0.3, 0.5 and 0.7, mIoU, their discounted kin, and `metric`, in percent.

    Predictions are in the order of the queries. `convention` as in `vmrlib.metrics.CONVENTIONS`.
    """
    tops, ious = metric_thresholds(metric)
    answers = [prediction.moments for prediction in predictions]
    truths = [np.array(query.moments) for query in queries]
    durations = [query.duration for query in queries]
    values = per_query_values(answers, truths, durations, tops, ious, convention)
    return {name: round(100 * float(np.mean(value)), 4) for name, value in values.items()}


def metric_thresholds(metric: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The ranks and IoUs to compute so that this metric is among them; ValueError for an unknown name."""
    if metric == "mIoU":
        return RANKS, IOUS
    try:
        rank, iou = metric.removeprefix("d").removeprefix("R@").split(", IoU=")
        top, threshold = int(rank), float(iou)
        known = metric.removeprefix("d") == f"R@{top}, IoU={threshold}"
    except ValueError:
        known = False
    if not known or not 0 < top <= max(RANKS) or not 0 < threshold <= 1:
        raise ValueError(
            f'expected "mIoU", "R@1, IoU=0.5" (rank 1 to 5) or "dR@1, IoU=0.5", found {metric!r}'
        )
    return tuple(sorted({*RANKS, top})), tuple(sorted({*IOUS, threshold}))


def to_device(batch: Mapping, device: torch.device) -> dict:
    """The batch with its tensors on a device."""
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}

"""The curves of a training: loss and learning rate over the steps, a metric over the evaluations."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vmrlib.viz.style import COURSE_STYLE, CURVE, GREY, PREDICTION

SMOOTHING = 0.02  # of all logged steps: the width of the mean that is drawn


@plt.rc_context(COURSE_STYLE)
def draw_records(records: Sequence[dict], metric: str = "R@1, IoU=0.5") -> Figure:
    """The total loss and the learning rate over the steps, and below it a metric of the evaluations.

    `records` are those of a training log: `losses` and `learning_rate` of steps, `val` of evaluations.
    """
    steps = [record for record in records if "losses" in record]
    evaluations = [record for record in records if "val" in record]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
    x = np.array([record["step"] for record in steps])
    y = np.array([record["losses"]["total"] for record in steps], dtype=float)
    upper.plot(x, y, color=CURVE, alpha=0.3, linewidth=1)
    upper.plot(x, smooth(y), color=CURVE, label="loss")
    if len(y) and (y > 0).all():
        upper.set_yscale("log")
    upper.set_ylabel("loss")
    upper.set_title(records[-1].get("label", "") if records else "")
    rate = upper.twinx()
    rate.plot(x, [record["learning_rate"] for record in steps], color=GREY, linewidth=1)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    if evaluations:
        lower.plot(
            [record["step"] for record in evaluations],
            [record["val"][metric] for record in evaluations],
            color=PREDICTION,
            marker="o",
        )
        lower.set_ylabel(f"{metric} (%) on val")
        lower.set_ylim(bottom=0)
    lower.set_xlabel("step")
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over 2 % of the values, over fewer at both ends; the same length."""
    half = max(1, math.ceil(len(values) * SMOOTHING / 2))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)

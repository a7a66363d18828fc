"""Draw functions for results: recall over the IoU axis, rankings, intervals, several models' windows.

Every function takes plain numbers, returns a new matplotlib figure and changes nothing else. Green is the
truth and vermilion a predicted moment, as everywhere; models differ in colour and marker.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vmrlib.moments import temporal_iou
from vmrlib.viz.draw import bar, seconds_axis
from vmrlib.viz.real_data import ROW, model_style, name_margin, name_rows
from vmrlib.viz.style import COURSE_STYLE, CURVE, GREY, PALE, PREDICTION, TRUTH, WIDTH, column


@plt.rc_context(COURSE_STYLE)
def draw_recall_axis(
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    mark: float | None = None,
    ylabel: str = "R@1 (%)",
    title: str = "",
    limits: tuple[float, float] = (0, 100),
) -> Figure:
    """A metric over the IoU that counts as right, one line a model, with bands; values where `mark` stands.

    The names stand at the right, ordered by the value at `mark` (or at the middle of the axis).
    """
    thresholds = np.asarray(thresholds, dtype=float)
    figure, (axes,) = column([3.1], title)
    right = 2.7 / WIDTH
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, 1 - right - box.x0, box.height))
    at = int(np.abs(thresholds - (thresholds.mean() if mark is None else mark)).argmin())
    for index, (name, values) in enumerate(curves.items()):
        style = model_style(index)
        if bands and name in bands:
            axes.fill_between(thresholds, *bands[name], color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(thresholds, values, color=style["color"], linewidth=2)
        axes.plot(thresholds[at], values[at], markersize=8, **style, zorder=4, clip_on=False)
    if mark is not None:
        axes.axvline(thresholds[at], color=GREY, linewidth=1.2, linestyle="--", zorder=1)
    order = sorted(curves, key=lambda name: -curves[name][at])
    for place, name in enumerate(order):
        y = 0.95 - 0.105 * place
        style = model_style(list(curves).index(name))
        axes.plot(1.05, y, transform=axes.transAxes, clip_on=False, markersize=8, **style)
        label = f"{curves[name][at]:5.2f}  {name}"
        axes.text(1.09, y, label, transform=axes.transAxes, va="center", fontsize=11)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(*limits)
    axes.set_xlabel("IoU that counts as right", labelpad=2)
    axes.set_ylabel(ylabel)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_ranking(table: Mapping[str, Mapping[str, float]], title: str = "", digits: int = 2) -> Figure:
    """Who is first under which metric: one column a metric, one line a model, the values at the ranks.

    `table[model][metric]`; higher is better. Lines that cross are models that change places; equal values
    are ranked in the order of the table.
    """
    metrics, ranks = list(next(iter(table.values()))), ranking(table)
    figure, (axes,) = column([ROW * (len(table) + 1.1)], title, name_margin(table))
    for index, (model, values) in enumerate(table.items()):
        own, colour = ranks[model], model_style(index)["color"]
        box = {"boxstyle": "round,pad=0.28", "facecolor": "white", "edgecolor": colour, "linewidth": 1.8}
        axes.plot(range(len(metrics)), own, color=colour, linewidth=2.4, zorder=2)
        for place, metric in enumerate(metrics):
            text = axes.text(place, own[place], f"{values[metric]:.{digits}f}", fontsize=10.5, zorder=4)
            text.set(ha="center", va="center", bbox=box)
    for place, metric in enumerate(metrics):
        axes.text(place, 0.45, metric, ha="center", va="bottom", fontsize=11)
    first = sorted(table, key=lambda model: ranks[model][0])
    axes.set_yticks(range(1, len(table) + 1), first)
    axes.set_xticks([])
    axes.set_xlim(-0.45, len(metrics) - 0.55)
    axes.set_ylim(len(table) + 0.5, -0.6)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def ranking(table: Mapping[str, Mapping[str, float]]) -> dict[str, list[int]]:
    """The rank of every model under every metric, 1 for the highest value; ties in the order of the table."""
    metrics = list(next(iter(table.values())))
    orders = {metric: sorted(table, key=lambda model: -table[model][metric]) for metric in metrics}
    return {model: [orders[metric].index(model) + 1 for metric in metrics] for model in table}


@plt.rc_context(COURSE_STYLE)
def draw_intervals(
    rows: Mapping[str, tuple[float, float, float]], xlabel: str, zero: float | None = None, title: str = ""
) -> Figure:
    """A value with its interval (value, low, high) a row; hollow where the interval holds `zero`."""
    figure, (axes,) = column([ROW * len(rows) + 0.1], title, name_margin(rows))
    if zero is not None:
        axes.axvline(zero, color=GREY, linewidth=1.4, linestyle="--")
    for place, (value, low, high) in enumerate(rows.values()):
        clear = zero is None or not low <= zero <= high
        axes.plot([low, high], [place, place], color=CURVE, linewidth=2.4, solid_capstyle="butt")
        axes.plot(
            [value], [place], "o", color=CURVE, markersize=8, markerfacecolor=CURVE if clear else "white"
        )
    name_rows(axes, rows)
    axes.set_axisbelow(True)
    axes.grid(True, axis="x", color=PALE, linewidth=1)
    axes.set_xlabel(xlabel, labelpad=2)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_predictions(
    duration: float,
    truth: Sequence[tuple[float, float]],
    windows: Mapping[str, Sequence[Sequence[float]]],
    text: str = "",
    top: int = 3,
    saliency: Sequence[float] | None = None,
) -> Figure:
    """The windows of several models below the true ones, in seconds; right the IoU of each first one.

    `windows[model]` are (start, end, score), best first. The first is in full colour; the others are the
    paler and the flatter the lower their score. `saliency` (T,), 0 to 4, stands above the truth.
    """
    strip = [0.3] if saliency is not None else []
    left = name_margin(["saliency", *windows])
    figure, panels = column([*strip, ROW * (len(windows) + 1)], f"“{text}”" if text else "", left)
    for title in figure.texts:
        title.set_x(0.1 / WIDTH)  # a long query needs the whole width
    for panel in panels:
        box = panel.get_position()
        panel.set_position((box.x0, box.y0, box.width - 0.55 / WIDTH, box.height))
        panel.set_xlim(0, duration)
    axes = panels[-1]
    if strip:
        panels[0].imshow(
            np.asarray(saliency, dtype=float)[None], extent=(0, duration, -0.5, 0.5), aspect="auto",
            cmap="viridis", vmin=0, vmax=4,
        )  # fmt: skip
        panels[0].set_yticks([0], ["saliency"])
        panels[0].tick_params(length=0, labelbottom=False)
    for start, end in truth:
        bar(axes, 0, start, end, TRUTH)
    for row, ranked in enumerate(windows.values(), start=1):
        shown = [
            window for window in ranked[:top] if window[0] < window[1]
        ]  # some published ones run backwards
        for window in reversed(shown):
            highest = max(score for _, _, score in shown)
            lane(axes, row, window, best=window is ranked[0], highest=highest)
        iou = f"{best_iou(ranked[0], truth):.2f}" if ranked else ""
        axes.text(1.012, row, iou, transform=axes.get_yaxis_transform(), va="center", fontsize=11)
    axes.text(1.012, 0, "IoU", transform=axes.get_yaxis_transform(), va="center", fontsize=11, color=GREY)
    name_rows(axes, ["truth", *windows])
    seconds_axis(axes)
    return figure


def lane(axes: Axes, row: float, window: Sequence[float], best: bool, highest: float) -> None:
    """One window in a model's lane: full height and colour for the first, less of both for lower scores."""
    start, end, score = window
    share = float(np.clip(score / highest if highest > 0 else 0, 0, 1))
    height, alpha = (0.62, 1.0) if best else (0.2 + 0.3 * share, 0.25 + 0.35 * share)
    bars = axes.barh(row, end - start, left=start, height=height, color=PREDICTION, alpha=alpha)
    bars[0].set(linewidth=0, zorder=2 + best)


def best_iou(window: Sequence[float], truth: Sequence[tuple[float, float]]) -> float:
    """The IoU of a window with the true moment that fits it best; 0 for one that runs backwards."""
    if window[0] > window[1] or not len(truth):
        return 0.0
    moments = [torch.tensor([[float(time) for time in m[:2]] for m in part]) for part in ([window], truth)]
    return temporal_iou(*(part.double() for part in moments)).max().item()

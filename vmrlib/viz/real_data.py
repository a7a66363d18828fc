"""Draw functions for datasets: histograms, where moments lie, answers side by side, agreement.

Every function takes plain numbers, returns a new matplotlib figure and changes nothing else. What stands
side by side is told apart by colour and by marker.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from vmrlib.moments import temporal_iou
from vmrlib.viz.style import COURSE_STYLE, CURVE, GREY, INK, PALE, PREDICTION, WIDTH, column

ROW = 0.42  # inches, of one row of a chart
LETTER = 0.092  # inches, of one letter of a row's name
FILL = "#9CC3DD"  # of histograms
COLOURS = (CURVE, "#E69F00", "#CC79A7", "#56B4E9", INK, GREY, "#8C6D1F", "#A9B1B8")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")  # one more than colours: 72 models differ


def model_style(index: int) -> dict:
    """Colour and marker of the model with this place in a mapping."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


@plt.rc_context(COURSE_STYLE)
def draw_histograms(
    rows: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    medians: Mapping[str, float] | None = None,
    title: str = "",
    log: bool = False,
) -> Figure:
    """One histogram a row over a shared axis, each scaled to its own highest bar; a tick at the median.

    `rows` maps a name to (edges (n + 1,), counts (n,)).
    """
    figure, panels = column([ROW * 1.25] * len(rows), title, name_margin(rows))
    low = min(edges[0] for edges, _ in rows.values())
    high = max(edges[-1] for edges, _ in rows.values())
    for axes, (name, (edges, counts)) in zip(panels, rows.items(), strict=True):
        edges, counts = np.asarray(edges, dtype=float), np.asarray(counts, dtype=float)
        line = {"edgecolor": "white", "linewidth": 0.5}
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=FILL, **line)
        if log:
            axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(0, counts.max() * 1.08)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.text(-0.012, 0.1, name, transform=axes.transAxes, ha="right", fontsize=11.5)
        if medians:
            axes.axvline(medians[name], color=INK, linewidth=1.6)
            axes.annotate(
                f"{medians[name]:.3g}", (medians[name], 1), (4, -1), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=10.5, va="top",
            )  # fmt: skip
        axes.tick_params(axis="x", which="both", labelbottom=False, length=3)
    panels[-1].tick_params(axis="x", which="major", labelbottom=True)
    if log:
        ticks = [t for t in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if low <= t <= high]
        for axes in panels:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
    panels[-1].set_xlabel(xlabel, labelpad=2)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_locations(
    grids: Mapping[str, Sequence[Sequence[float]]],
    window: tuple[float, float] | None = None,
    iou: float = 0.5,
    title: str = "",
) -> Figure:
    """Where moments start (across) and end (up), as shares of the video: one map a split, one colour scale.

    A grid (n, n) holds counts, `grid[i][j]` for starts in the i-th and ends in the j-th part of the video.
    The diagonal is where moments of no length would lie; the colours follow the square root of a share.
    Around `window`, a constant answer, a line encloses the moments that it hits with this IoU, and the
    titles give the percent of the cells' moments inside.
    """
    shares = {name: percent(grid) for name, grid in grids.items()}
    side = min(2.6, (WIDTH - 1.55) / len(shares) - 0.25)
    height = 0.42 + (0.3 if title else 0) + side + 0.62
    figure = plt.figure(figsize=(WIDTH, height))
    if title:
        figure.text(0.72 / WIDTH, 1 - 0.12 / height, title, fontsize=13, va="top")
    norm = PowerNorm(0.5, vmin=0, vmax=max(grid.max() for grid in shares.values()))
    for index, (name, grid) in enumerate(shares.items()):
        x = 0.72 + index * (side + 0.25)
        axes = figure.add_axes((x / WIDTH, 0.62 / height, side / WIDTH, side / height))
        image = axes.imshow(grid.T, origin="lower", extent=(0, 1, 0, 1), norm=norm, cmap="viridis")
        axes.plot([0, 1], [0, 1], color="white", linewidth=1.2, linestyle="--")
        if window is not None:
            corners = hit_region(window, iou)
            axes.add_patch(plt.Polygon(corners, fill=False, edgecolor=PREDICTION, linewidth=2.4))
            axes.plot(*window, marker="o", markersize=6, color=PREDICTION)
            name = f"{name}: {share_inside(grid, window, iou):.0f} %"
        axes.set_title(name, fontsize=12)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "½", "1"] if index == 0 else ["", "", ""])
        axes.set_xlabel("start / duration", labelpad=1)
    figure.axes[0].set_ylabel("end / duration", labelpad=1)
    x = 0.62 + len(shares) * (side + 0.25)
    scale = figure.add_axes((x / WIDTH, 0.62 / height, 0.14 / WIDTH, side / height))
    figure.colorbar(image, cax=scale, label="% of moments")
    return figure


def hit_region(window: tuple[float, float], iou: float) -> list[tuple[float, float]]:
    """Corners (start, end) of the region of all moments that have at least this IoU with a window.

    Four conditions, each linear in start and end, bound it, so it is a convex quadrilateral.
    """
    start, end = window
    shortest, longest = iou * (end - start), (end - start) / iou
    return [(start, start + shortest), (end - shortest, end), (start, start + longest), (end - longest, end)]


def share_inside(grid, window: tuple[float, float], iou: float) -> float:
    """The sum of the cells of a grid (n, n) whose centre has at least this IoU with the window."""
    centres = (np.arange(len(grid)) + 0.5) / len(grid)
    cells = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)  # (n, n, 2): start, end
    forwards = cells[..., 0] < cells[..., 1]
    overlap = temporal_iou(torch.from_numpy(cells[forwards]), torch.tensor([window], dtype=torch.float64))
    return float(np.asarray(grid)[forwards][overlap[:, 0].numpy() >= iou].sum())


@plt.rc_context(COURSE_STYLE)
def draw_dots(
    rows: Mapping[str, Mapping[str, float]],
    xlabel: str,
    errors: Mapping[str, Mapping[str, float]] | None = None,
    limit: float | None = None,
    title: str = "",
) -> Figure:
    """One row a dataset and one marker an answer: which answer gets how much where.

    The markers of a row stand a little above each other, so that equal values hide nothing.
    `errors[row][answer]` is drawn as a line of that length to both sides; `limit` fixes the end of the axis.
    """
    figure, (axes,) = column([ROW * len(rows) + 0.55], title, name_margin(rows))
    answers = list(dict.fromkeys(answer for values in rows.values() for answer in values))
    for place, (row, values) in enumerate(rows.items()):
        axes.axhline(place, color=PALE, linewidth=1.2, zorder=0)
        for answer, value in values.items():
            half = (errors or {}).get(row, {}).get(answer, 0)
            style, y = model_style(answers.index(answer)), place + dodge(answers.index(answer), len(answers))
            if half:
                axes.plot([value - half, value + half], [y, y], color=style["color"], linewidth=1.4)
            axes.plot([value], [y], linestyle="", markersize=7, **style, zorder=3, clip_on=False)
    for index, answer in enumerate(answers):
        axes.plot([], [], linestyle="", markersize=7, **model_style(index), label=answer)
    name_rows(axes, rows, above=1)
    axes.set_xlim(0, limit)
    beside = {"handletextpad": 0.1, "columnspacing": 1.2}
    axes.legend(loc="upper left", ncols=len(answers), bbox_to_anchor=(-0.01, 1.04), **beside)
    axes.set_xlabel(xlabel, labelpad=2)
    return figure


def dodge(index: int, count: int) -> float:
    """How far below the middle of its row the marker of this answer stands, in rows."""
    return 0.15 * (index - (count - 1) / 2)


@plt.rc_context(COURSE_STYLE)
def draw_agreement(
    pairs: Mapping[str, float],
    thresholds: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    title: str = "",
) -> Figure:
    """How much annotators agree: left the IoU of two of them, right curves.

    `pairs` maps an IoU to its percent of pairs; `curves` run over the IoU that counts as right.
    """
    figure, (left,) = column([2.7], title, 0.75)
    box = left.get_position()
    left.set_position((box.x0, box.y0, 0.30, box.height))
    right = figure.add_axes((box.x0 + 0.30 + 0.095, box.y0, 0.30, box.height))
    left.bar(range(len(pairs)), list(pairs.values()), color=FILL, width=0.8)
    for place, value in enumerate(pairs.values()):
        left.annotate(
            f"{value:.0f}", (place, value), (0, 2), textcoords="offset points", ha="center", fontsize=10.5
        )
    left.set_xticks(range(len(pairs)), list(pairs))
    left.set_xlabel("IoU of two annotators", labelpad=2)
    left.set_ylabel("% of pairs")
    left.set_ylim(0, 1.12 * max(pairs.values()))
    for index, (name, values) in enumerate(curves.items()):
        style = model_style(index)
        every = max(1, len(thresholds) // 6)
        right.plot(thresholds, values, markevery=every, markersize=6, label=name, linewidth=2, **style)
    right.set_xlim(0, 1)
    right.set_ylim(0, 100)
    right.set_xlabel("IoU that counts as right", labelpad=2)
    right.set_ylabel("%")
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03), fontsize=10.5, handlelength=1.4)
    return figure


def name_rows(axes: Axes, names, above: int = 0) -> None:
    """Names at the left of rows that run downwards, with `above` empty rows before the first."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5 - above)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def percent(grid) -> np.ndarray:
    """Counts as percent of their sum."""
    grid = np.asarray(grid, dtype=float)
    return 100 * grid / max(grid.sum(), 1)


def name_margin(names) -> float:
    """Inches that the longest of these names needs left of the axes."""
    return max(0.75, 0.25 + LETTER * max(len(name) for name in names))

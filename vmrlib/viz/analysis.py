"""The picture of an analysis: R@1 by moment length, position, query length and first verb."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vmrlib.metrics.analysis import Analysis, Group
from vmrlib.viz.style import BOTTOM, COURSE_STYLE, CURVE, GREY, INK, PALE, RIGHT, TOP, WIDTH

ROW = 0.3  # inches, of one bar
HEADING = 0.36  # inches, above each panel
HEAD = 0.62  # inches, the title and the line below it
NAMES = 1.2  # inches, left of the bars
COUNTS = 0.6  # inches, right of the bars
PANEL = (WIDTH - 2 * NAMES - 2 * COUNTS - RIGHT) / 2  # inches, of the bars themselves


@plt.rc_context(COURSE_STYLE)
def draw_analysis(analysis: Analysis, title: str = "") -> Figure:
    """Bars of R@1 (percent) with 95 % intervals, the number of queries beside each, in two columns.

    The dashed line is R@1 of all queries. The last entry of `analysis.groups` fills the right column.
    """
    *stacked, (last_title, last) = analysis.groups.items()
    height = max(sum(HEADING + ROW * len(groups) for _, groups in stacked), HEADING + ROW * max(len(last), 1))
    total = TOP + HEAD + height + BOTTOM
    figure = plt.figure(figsize=(WIDTH, total))
    overall = analysis.overall
    figure.text(0.12 / WIDTH, 1 - TOP / total, title or f"R@1, IoU={analysis.iou:g}", fontsize=13, va="top")
    line = "" if overall.recall is None else (
        f"all {overall.queries} queries: {overall.recall:.1f} % ({overall.low:.1f} to {overall.high:.1f}), "
        f"mIoU {overall.mean_iou:.1f} %; whiskers are 95 % intervals over videos, n counts queries"
    )  # fmt: skip
    figure.text(0.12 / WIDTH, 1 - (TOP + 0.29) / total, line, fontsize=10.5, va="top", color=GREY)
    for left, panels in ((NAMES, stacked), (2 * NAMES + PANEL + COUNTS, [(last_title, last)])):
        y = total - TOP - HEAD
        for number, (name, groups) in enumerate(panels):
            inches = ROW * len(groups)
            if len(panels) == 1:  # as high as the panels on the left, so that the axes stand side by side
                inches = min(height - HEADING, 1.5 * inches)
            y -= HEADING + inches
            box = (left / WIDTH, y / total, PANEL / WIDTH, inches / total)
            axes = figure.add_axes(box)
            fill_panel(axes, name, groups, overall)
            if number == len(panels) - 1:
                axes.set_xlabel(f"R@1, IoU={analysis.iou:g} (%)", labelpad=2)
                axes.tick_params(axis="x", length=4, labelbottom=True)
    return figure


def fill_panel(axes: Axes, name: str, groups: tuple[Group, ...], overall: Group) -> None:
    """One bar a group, with whiskers, its number of queries, and the line of all queries."""
    axes.set_xlim(0, 100)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_axisbelow(True)
    axes.grid(True, axis="x", color=PALE, linewidth=1)
    for row, group in enumerate(groups):
        label = f"n = {group.queries}"
        axes.annotate(
            label, (1, row), (5, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=10, color=GREY,
        )  # fmt: skip
        if group.recall is None:
            continue
        axes.barh(row, group.recall, height=0.62, color=CURVE, alpha=0.55, linewidth=0, zorder=2)
        axes.plot([group.low, group.high], [row, row], color=INK, linewidth=1.6, zorder=4, clip_on=False)
    if overall.recall is not None:
        axes.axvline(overall.recall, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
    axes.set_title(name, fontsize=12, pad=5, loc="left", x=-(NAMES - 0.12) / PANEL)
    axes.set_yticks(range(len(groups)), [group.name for group in groups])
    axes.set_xticks(range(0, 101, 20))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["left"].set_color(GREY)
    axes.spines["bottom"].set_visible(False)

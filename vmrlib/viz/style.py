"""Colours, fonts and page geometry of every picture in the course."""

import io
import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRUTH = "#009E73"  # the course's two fixed colours, from the palette of Okabe and Ito
PREDICTION = "#D55E00"
PREDICTION_PALE = "#EDB78F"  # predictions after the first
CURVE = "#0072B2"
INK, GREY, PALE = "#22303C", "#6B7680", "#EEF1F4"
ACTOR_COLOURS = {"red": "#E4605E", "blue": "#5B8DD6", "green": "#5FB36A", "yellow": "#EFC94C"}

COURSE_STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that pictures agree between machines
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.labelsize": 12,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": plt.cycler(color=[CURVE, PREDICTION, TRUTH, "#CC79A7", "#E69F00", "#56B4E9"]),
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}

WIDTH = 9.0  # inches, of every picture
LEFT, RIGHT, TOP, BOTTOM, GAP = 1.05, 0.3, 0.12, 0.58, 0.1  # inches
TITLE_LINE = 0.24  # inches, of one line of the title


def use_course_style() -> None:
    """Make the course's style the default of matplotlib in this process."""
    plt.rcParams.update(COURSE_STYLE)


def column(heights: list[float], title: str = "", left: float = LEFT) -> tuple[Figure, list[Axes]]:
    """A figure of axes of these heights (inches), one below the other, with one title above them.

    The margins are the same in every picture, so that pictures do not jump while a slider moves.
    """
    lines = textwrap.wrap(title, 84)
    head = TOP + TITLE_LINE * len(lines) + (0.06 if lines else 0)
    total = head + sum(heights) + GAP * (len(heights) - 1) + BOTTOM
    figure = plt.figure(figsize=(WIDTH, total))
    if lines:
        text = "\n".join(lines)
        figure.text(left / WIDTH, 1 - TOP / total, text, fontsize=13, va="top", linespacing=1.25)
    axes, y = [], total - head
    for height in heights:
        y -= height
        box = (left / WIDTH, y / total, (WIDTH - left - RIGHT) / WIDTH, height / total)
        axes.append(figure.add_axes(box))
        y -= GAP
    return figure, axes


@plt.rc_context(COURSE_STYLE)
def to_png(figure: Figure) -> bytes:
    """The PNG file of a figure, without date or program in it; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()

"""Draw functions of co-attention: encoders as blocks, where attention goes, what a longer video costs.

Every function takes plain numbers, returns a new matplotlib figure and changes nothing else. Video is blue,
words are orange; frames are uint8 (F, H, W, 3) at `times` seconds; boundary point t of T stands at
t / (T - 1) of the duration.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vmrlib.viz.draw import AXES_WIDTH, Filmstrip, seconds_axis
from vmrlib.viz.joint_attention import WORD
from vmrlib.viz.real_data import ROW, model_style, name_margin, name_rows
from vmrlib.viz.style import COURSE_STYLE, CURVE, GREY, INK, PALE, TRUTH, WIDTH, column

VIDEO, WORDS, BOTH = CURVE, "#E69F00", "#CC79A7"
TRACK = {"video": 1.0, "words": 0.0}  # the height of a stream in a row of blocks
# Boxes (centre, height, colour) of a block, and its arrows (from, to), in units of the tracks.
SHAPES = {
    "A": ([(0.0, 0.62, WORDS)], [(1.0, 0.31)]),
    "B": ([(0.0, 0.56, WORDS), (1.0, 0.56, VIDEO)], [(0.72, 0.28), (0.28, 0.72)]),
    "C": ([(0.5, 1.62, BOTH)], []),
    "M": ([(0.0, 0.56, WORDS), (1.0, 0.56, VIDEO)], [(0.72, 0.28), (0.28, 0.72)]),
}


@plt.rc_context(COURSE_STYLE)
def draw_blocks(encoders: Mapping[str, str]) -> Figure:
    """Encoders as rows of blocks on two streams, from left to right; an arrow points to who asks.

    `encoders` maps a name to letters: A, B and C as in `vmrlib.models.acb`, M for a layer of MSAT. One box is
    one set of weights, so a box over both streams is shared by them.
    """
    longest = max(map(len, encoders.values()))
    figure, panels = column([0.95] * len(encoders), left=name_margin(encoders))
    for axes, (name, letters) in zip(panels, encoders.items(), strict=True):
        for stream, height in TRACK.items():
            colour = VIDEO if stream == "video" else WORDS
            axes.plot([0.1, len(letters) + 0.9], [height] * 2, color=colour, linewidth=3, zorder=1)
            axes.text(len(letters) + 0.95, height, stream, va="center", fontsize=10.5, color=INK)
        for place, letter in enumerate(letters, 1):
            boxes, arrows = SHAPES[letter]
            for middle, height, colour in boxes:
                corner = (place - 0.33, middle - height / 2)
                axes.add_patch(
                    plt.Rectangle(corner, 0.66, height, facecolor=colour, edgecolor="white", zorder=2)
                )
            for number, (start, end) in enumerate(arrows):
                x = place + 0.14 * (2 * number - 1 if len(arrows) > 1 else 0)
                axes.annotate(
                    "",
                    (x, end),
                    (x, start),
                    arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.3},
                    zorder=3,
                )
            axes.text(
                place, boxes[0][0], letter, ha="center", va="center", color="white", weight="bold",
                fontsize=11, zorder=4,
            )  # fmt: skip
        axes.set_xlim(0, longest + 1.8)
        axes.set_ylim(-0.5, 1.5)
        axes.set_yticks([0.5], [name])
        axes.set_xticks([])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_shares(
    heads: Mapping[str, Sequence[float]], uniform: Mapping[str, float], title: str = ""
) -> Figure:
    """How much attention goes to the words, the rest to the video: one bar a row, percent.

    `heads[row]` are the shares of the heads: the bar ends at their mean, each is a white dot. A black line
    stands where attention lands that gives every token the same, `uniform[row]`.
    """
    figure, (axes,) = column([ROW * (len(heads) + 1)], title, name_margin(heads))
    for place, (row, shares) in enumerate(heads.items()):
        mean = float(np.mean(shares))
        axes.barh(place, mean, height=0.66, color=WORDS, linewidth=0)
        axes.barh(place, 100 - mean, left=mean, height=0.66, color=VIDEO, linewidth=0)
        axes.plot(shares, [place] * len(shares), "o", color="white", markersize=5, markeredgecolor=INK)
        axes.plot([uniform[row]] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2.4)
    name_rows(axes, heads, above=1)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the attention", labelpad=2)
    named = [Patch(color=WORDS, label="to words"), Patch(color=VIDEO, label="to the video")]
    line = plt.Line2D([], [], color="black", linewidth=2.4, label="the same for every token")
    dot = plt.Line2D([], [], color="white", marker="o", markeredgecolor=INK, linestyle="", label="a head")
    beside = {"ncols": 4, "fontsize": 11, "columnspacing": 1.2, "handlelength": 1.2}
    axes.legend(handles=[*named, line, dot], loc="upper left", bbox_to_anchor=(-0.01, 1.04), **beside)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_compared(
    panels: Mapping[str, Sequence[Sequence[float]] | None],
    words: Sequence[str],
    duration: float,
    truth: Sequence[tuple[float, float]] = (),
    frames=None,
    times=None,
    title: str = "",
) -> Figure:
    """Attention between words and points in several models, one panel (L, T) each, on one scale of seconds.

    All panels share their colours. A panel that is None says that nothing is looked at there. Green lines
    stand at the true moments' boundaries.
    """
    matrices = {name: None if m is None else np.asarray(m, dtype=float) for name, m in panels.items()}
    for name, matrix in matrices.items():
        if matrix is not None and len(matrix) != len(words):
            raise ValueError(f"{name}: {len(matrix)} rows for {len(words)} words")
    given = [matrix for matrix in matrices.values() if matrix is not None]
    norm = Normalize(0, max((float(matrix.max()) for matrix in given), default=1.0))
    widest = max((duration / (matrix.shape[1] - 1) / 2 for matrix in given), default=0.0)
    left = 0.25 + 0.095 * max(map(len, words))
    inches = WIDTH - left - 0.85
    strip = None if frames is None else Filmstrip(frames, times, duration)
    heights = [strip.height * inches / AXES_WIDTH] if strip else []
    heights += [height for _ in matrices for height in (0.2, WORD * len(words))]
    figure, axes = column(heights, title, left)
    for panel in axes:
        box = panel.get_position()
        panel.set_position((left / WIDTH, box.y0, inches / WIDTH, box.height))
        panel.set_xlim(-widest, duration + widest)
    if strip:
        strip.draw(axes[0])
        axes[0].set(xlim=(-widest, duration + widest), xticks=[])
    rest, image = axes[bool(strip) :], None
    for heading, panel, (name, matrix) in zip(rest[::2], rest[1::2], matrices.items(), strict=True):
        heading.set_axis_off()
        heading.text(-widest, 0, name, fontsize=11.5, va="bottom")
        if matrix is None:
            panel.text(
                0, 0.5, "nobody asks this here", va="center", color=GREY, zorder=4,
                bbox={"facecolor": PALE, "linewidth": 0},
            )  # fmt: skip
            panel.set(facecolor=PALE, ylim=(1, 0), yticks=[])
        else:
            half = duration / (matrix.shape[1] - 1) / 2
            extent = (-half, duration + half, len(words) - 0.5, -0.5)
            image = panel.imshow(matrix, norm=norm, aspect="auto", extent=extent)
            panel.set_yticks(range(len(words)), words)
        for time in (time for moment in truth for time in moment):
            panel.axvline(time, color="white", linewidth=4)
            panel.axvline(time, color=TRUTH, linewidth=2.2)
        panel.set_xlim(-widest, duration + widest)
        panel.tick_params(length=0, labelbottom=False)
        for spine in panel.spines.values():
            spine.set_visible(False)
    seconds_axis(axes[-1], grid=False)
    if image is not None:
        top, bottom = rest[1].get_position(), axes[-1].get_position()
        scale = figure.add_axes((1 - 0.7 / WIDTH, bottom.y0, 0.12 / WIDTH, top.y1 - bottom.y0))
        figure.colorbar(image, cax=scale)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_progress(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], ylabel: str) -> Figure:
    """Several trainings on one picture: `curves[name]` are (steps, percent)."""
    figure, (axes,) = column([2.4])
    for index, (name, (steps, values)) in enumerate(curves.items()):
        style = model_style(index)
        axes.plot(steps, values, markersize=7, label=name, clip_on=False, **style)
    axes.legend(loc="upper left")
    axes.set_xlim(0, max(max(steps) for steps, _ in curves.values()))
    axes.set_ylim(0, max(50.0, 1.1 * max(max(values) for _, values in curves.values())))
    axes.set_xlabel("step", labelpad=2)
    axes.set_ylabel(ylabel)
    axes.grid(True, axis="y", color=PALE, linewidth=1)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_tradeoff(points: Mapping[str, tuple[float, float, float]], xlabel: str, ylabel: str) -> Figure:
    """What is paid and what is got: one marker a model, `points[name]` is (price, percent, its error)."""
    figure, (axes,) = column([3.0])
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 2.7 / WIDTH, box.height))
    for index, (name, (price, value, error)) in enumerate(points.items()):
        style = model_style(index)
        axes.plot([price] * 2, [value - error, value + error], color=style["color"], linewidth=1.6)
        axes.plot([price], [value], markersize=9, linestyle="", label=name, **style)
    axes.set_xlim(0, 1.06 * max(price for price, *_ in points.values()))
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03), fontsize=11)
    axes.set_xlabel(xlabel, labelpad=2)
    axes.set_ylabel(ylabel)
    axes.grid(True, color=PALE, linewidth=1)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_growth(lengths: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Cost against length, both logarithmic: one panel a kind of cost, one line a model.

    `panels[label][model]` has a value for every length. The grey line grows with the length, the dashed one
    with its square; both begin where the cheapest model does.
    """
    gap = 0.72
    figure, (first,) = column([2.6], left=0.7)
    box, count = first.get_position(), len(panels)
    width = (WIDTH - 0.7 - 0.2 - gap * (count - 1)) / count
    models = list(dict.fromkeys(model for values in panels.values() for model in values))
    height = figure.get_size_inches()[1]
    rows = -(-len(models) // 4)
    grown = height + 0.27 * rows + 0.1
    figure.set_size_inches(WIDTH, grown)
    for number, (label, values) in enumerate(panels.items()):
        axes = first if not number else figure.add_axes((0, 0, 1, 1))
        left = 0.7 + number * (width + gap)
        axes.set_position((left / WIDTH, box.y0 * height / grown, width / WIDTH, box.height * height / grown))
        least = min(costs[0] for costs in values.values())
        ratio = np.asarray(lengths, float) / lengths[0]
        axes.plot(lengths, least * ratio, color="#C9CFD4", linewidth=1.4, zorder=1)
        axes.plot(lengths, least * ratio**2, color="#C9CFD4", linewidth=1.4, linestyle="--", zorder=1)
        for model, costs in values.items():
            style = model_style(models.index(model))
            axes.plot(lengths, costs, markersize=6, linewidth=1.8, zorder=2, **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xticks(lengths, [f"{length:g}" for length in lengths], fontsize=10)
        axes.tick_params(axis="y", labelsize=10)
        axes.set_title(label, fontsize=11.5)
        axes.set_xlabel("points T", labelpad=1)
    handles = [
        plt.Line2D([], [], markersize=7, label=model, **model_style(i)) for i, model in enumerate(models)
    ]
    place = {"loc": "upper left", "bbox_to_anchor": (0.1 / WIDTH, 1.0), "ncols": 4, "fontsize": 10.5}
    figure.legend(handles=handles, columnspacing=1.2, handlelength=1.4, **place)
    return figure

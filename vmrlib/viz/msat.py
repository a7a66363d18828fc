"""Draw functions of MSAT: stages over the seconds, the map of all moments, hidden words, confusions.

Every function takes plain numbers, returns a new matplotlib figure and changes nothing else. Boundary point t
of T stands at t / (T - 1) of the duration; frames are uint8 (F, H, W, 3) at `times` seconds.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from vmrlib.viz.draw import BAR, Filmstrip, bar, beside, quoted, seconds_axis
from vmrlib.viz.real_data import ROW, hit_region, name_margin, name_rows
from vmrlib.viz.style import (
    COURSE_STYLE,
    CURVE,
    GREY,
    INK,
    PALE,
    PREDICTION,
    PREDICTION_PALE,
    RIGHT,
    TRUTH,
    WIDTH,
    column,
)

STAGES = {"start": (CURVE, "o"), "end": ("#E69F00", "s"), "middle": ("#CC79A7", "D")}  # the model's order
OUTCOMES = {
    "right": TRUTH,
    "another actor": "#E69F00",
    "the other verb": PREDICTION,
    "another event": "#A9B1B8",
    "no event": PALE,
}
MAP = 3.5  # inches, the height of a moment map


@plt.rc_context(COURSE_STYLE)
def draw_stages(
    values,
    duration: float,
    truth: Sequence[tuple[float, float]] = (),
    predictions: Sequence[Sequence[float]] = (),
    text: str = "",
    frames=None,
    times=None,
    label: str = "target",
) -> Figure:
    """How much every boundary point is a start, an end, a middle: values (3, T) in 0..1 over the seconds.

    Below, the predicted moments (start, end[, score]), best first; the true ones are shaded.
    """
    values = np.asarray(values, dtype=float)
    points = np.linspace(0, duration, values.shape[1])
    strip = None if frames is None else Filmstrip(frames, times, duration)
    rows = [BAR * len(predictions) + 0.08] if len(predictions) else []
    figure, panels = column(([strip.height] if strip else []) + [1.7, *rows], quoted(text))
    curves = panels[-2] if rows else panels[-1]
    for start, end in truth:
        for panel in panels[1:] if strip else panels:
            panel.axvspan(start, end, color=TRUTH, alpha=0.2, linewidth=0)
    for row, (name, (colour, marker)) in zip(values, STAGES.items(), strict=True):
        curves.plot(points, row, color=colour, marker=marker, markersize=5, label=name, clip_on=False)
    curves.set_ylim(0, 1.05)
    curves.set_yticks([0, 0.5, 1])
    curves.set_ylabel(label)
    curves.legend(loc="upper left", bbox_to_anchor=(0, 1.24), ncols=3, fontsize=11, columnspacing=1.2)
    for rank, (start, end, *score) in enumerate(predictions):
        bar(panels[-1], rank, start, end, PREDICTION_PALE if rank else PREDICTION)
        if score:
            beside(panels[-1], rank, start, end, f"{score[0]:.2f}", duration)
    if rows:
        name_rows(panels[-1], [f"rank {rank + 1}" for rank in range(len(predictions))])
    for panel in panels:
        panel.set_xlim(*(strip.limits if strip else (0, duration)))
        panel.tick_params(axis="x", length=0, labelbottom=False)
    if strip:
        strip.draw(panels[0])
        panels[0].set_xticks([])
        make_room(figure, panels[0], 0.22)
    seconds_axis(panels[-1])
    return figure


def make_room(figure: Figure, first: Axes, inches: float) -> None:
    """Moves the panel of frames up, so that a legend fits below it, and lets the figure grow by as much."""
    height = figure.get_size_inches()[1]
    grown = height + inches
    for axes in figure.axes:
        box = axes.get_position()
        up = inches if axes is first else 0
        axes.set_position((box.x0, (box.y0 * height + up) / grown, box.width, box.height * height / grown))
    for text in figure.texts:
        text.set_y(1 - (1 - text.get_position()[1]) * height / grown)
    figure.set_size_inches(WIDTH, grown)


@plt.rc_context(COURSE_STYLE)
def draw_moment_map(
    cells,
    values,
    cell_seconds: float,
    duration: float,
    truth: Sequence[tuple[float, float]] = (),
    top: Sequence[Sequence[float]] = (),
    text: str = "",
    label: str = "score",
    limits: tuple[float, float] = (0.0, 1.0),
    cmap: str = "viridis",
    frames=None,
    times=None,
    iou: float = 0.5,
) -> Figure:
    """One square for each moment (i, j) that is scored: its start across, its end upwards, seconds.

    `cells` (K, 2) are boundary points, `values` (K,) their colours. A green point is the truth, and the white
    line around it encloses all moments with that IoU; numbers stand where the best predictions lie.
    """
    cells, values = np.asarray(cells, dtype=int), np.asarray(values, dtype=float)
    if cells.shape != (len(values), 2):
        raise ValueError(f"cells are {cells.shape} for {len(values)} values, expected ({len(values)}, 2)")
    points = round(duration / cell_seconds) + 1
    grid = np.full((points, points), np.nan)
    grid[cells[:, 1], cells[:, 0]] = values
    strip = None if frames is None else Filmstrip(frames, times, duration)
    figure, panels = column(([strip.height] if strip else []) + [MAP], quoted(text))
    axes, edge = panels[-1], cell_seconds / 2
    extent = (-edge, duration + edge, -edge, duration + edge)
    image = axes.imshow(
        grid, origin="lower", extent=extent, aspect="auto", cmap=cmap, norm=Normalize(*limits)
    )
    axes.set_facecolor(PALE)
    axes.plot([-edge, duration + edge], [-edge, duration + edge], color="white", linewidth=1.2)
    for moment in truth:
        axes.add_patch(plt.Polygon(hit_region(moment, iou), fill=False, edgecolor="white", linewidth=2))
        axes.plot(*moment, marker="o", markersize=9, color=TRUTH, markeredgecolor="white", zorder=4)
    for rank, (start, end, *_) in reversed(list(enumerate(top, 1))):
        number = axes.text(start, end, rank, color=PREDICTION, weight="bold", fontsize=12, zorder=5)
        number.set(ha="center", va="center", clip_on=True)
        number.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
    axes.set_ylabel("end (s)", labelpad=2)
    for panel in panels:
        panel.set_xlim(*(strip.limits if strip else extent[:2]))
    axes.set_ylim(*extent[2:])
    seconds_axis(axes, grid=False)
    axes.set_xlabel("start (s)", labelpad=2)
    ticks = axes.get_xticks()
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    if strip:
        strip.draw(panels[0])
        panels[0].set_xticks([])
    scale_beside(figure, axes, image, label)
    return figure


def scale_beside(figure: Figure, axes: Axes, image, label: str) -> None:
    """A colour scale within the lower right of a moment map, where an end would come before its start."""
    scale = axes.inset_axes((0.62, 0.2, 0.32, 0.05))
    figure.colorbar(image, cax=scale, orientation="horizontal")
    scale.set_title(label, fontsize=11, loc="left")
    scale.tick_params(labelsize=10)
    for spine in scale.spines.values():
        spine.set_visible(False)


@plt.rc_context(COURSE_STYLE)
def draw_candidates(configurations: Mapping[str, tuple], title: str = "") -> Figure:
    """Which moments (i, j) are scored: one map a configuration, i across and j upwards, in points.

    `configurations` maps a name to (cells (K, 2), number of points T).
    """
    side = min(2.6, (WIDTH - 0.7) / len(configurations) - 0.35)
    height = 0.5 + (0.3 if title else 0) + side + 0.62
    figure = plt.figure(figsize=(WIDTH, height))
    if title:
        figure.text(0.1 / WIDTH, 1 - 0.1 / height, title, fontsize=13, va="top")
    for index, (name, (cells, points)) in enumerate(configurations.items()):
        cells, x = np.asarray(cells, dtype=int), 0.7 + index * (side + 0.45)
        chosen = np.zeros((points, points))
        chosen[cells[:, 1], cells[:, 0]] = 1
        axes = figure.add_axes((x / WIDTH, 0.55 / height, side / WIDTH, side / height))
        axes.imshow(chosen, origin="lower", cmap="Blues", vmin=0, vmax=1.25, interpolation="none")
        axes.plot([0, points - 1], [0, points - 1], color=GREY, linewidth=0.8)
        axes.set_title(f"{name}: {len(cells)} of {points**2}", fontsize=12)
        axes.set_xlabel("start point i", labelpad=1)
        axes.set_xticks([0, points // 2, points - 1])
        axes.set_yticks([0, points // 2, points - 1])
    figure.axes[0].set_ylabel("end point j", labelpad=1)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_hidden_words(words: Sequence[str], hidden, names: Sequence[str], title: str = "") -> Figure:
    """The words of a query, row by row, with those that are to be guessed (rows, L) blacked out."""
    hidden = np.asarray(hidden, dtype=bool)
    figure, (axes,) = column([ROW * len(hidden)], title, name_margin(names))
    for row, covered in enumerate(hidden):
        x = 0.0
        for word, out in zip(words, covered, strict=True):
            width = 0.35 + 0.11 * len(word)
            face = INK if out else PALE
            axes.add_patch(plt.Rectangle((x, row - 0.36), width, 0.72, facecolor=face, edgecolor="white"))
            axes.text(
                x + width / 2, row, "?" if out else word, ha="center", va="center",
                color="white" if out else INK,
            )  # fmt: skip
            x += width + 0.06
    name_rows(axes, names)
    axes.set_xlim(0, WIDTH - name_margin(names) - RIGHT)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_confusions(rows: Mapping[str, Mapping[str, int]], title: str = "") -> Figure:
    """What was predicted instead: one bar a row, cut into shares (percent), the number of queries beside it.

    `rows[name][outcome]` counts queries; the outcomes and their colours are those of `OUTCOMES`.
    """
    figure, (axes,) = column([ROW * (len(rows) + 1)], title, name_margin(rows))
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 0.45 / WIDTH, box.height))
    for place, counts in enumerate(rows.values()):
        left, total = 0.0, max(sum(counts.values()), 1)
        for outcome, colour in OUTCOMES.items():
            share = 100 * counts.get(outcome, 0) / total
            axes.barh(place, share, left=left, height=0.66, color=colour, linewidth=0)
            if share >= 7:
                dark = outcome in ("right", "the other verb")  # the others are pale: dark letters
                axes.text(
                    left + share / 2, place, f"{share:.0f}", ha="center", va="center", fontsize=10.5,
                    color="white" if dark else INK,
                )  # fmt: skip
            left += share
        axes.text(
            1.01, place, f"n = {sum(counts.values())}", transform=axes.get_yaxis_transform(), va="center",
            fontsize=10, color=GREY,
        )  # fmt: skip
    name_rows(axes, rows, above=1)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of queries", labelpad=2)
    named = [Patch(color=colour, label=outcome) for outcome, colour in OUTCOMES.items()]
    axes.legend(
        handles=named,
        loc="upper right",
        bbox_to_anchor=(1.08, 1.03),
        ncols=5,
        handlelength=1,
        fontsize=11,
    )
    return figure

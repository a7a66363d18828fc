"""Draw functions of the contrastive loss: pairs, curves, embedded vectors, and the keys nearest to a query.

Every function takes plain numbers, returns a new matplotlib figure and changes nothing else. Green is what is
right for the loss, ochre what is true and counts as wrong, grey what is neither.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from vmrlib.viz.real_data import model_style
from vmrlib.viz.style import COURSE_STYLE, GREY, INK, PALE, TRUTH, WIDTH

KINDS = {"its own": TRUTH, "true, counted as wrong": "#E69F00", "not true": "#A9B1B8"}
KEY = 0.62  # inches, of the row of one key
THUMB = 0.56  # inches, of a frame beside it


@plt.rc_context(COURSE_STYLE)
def draw_pairs(
    values,
    texts: Sequence[str],
    frames=None,
    label: str = "similarity",
    limits: tuple[float, float] = (0.0, 1.0),
    digits: int = 2,
) -> Figure:
    """Every sentence (a row) with every moment (a column): values (S, M) as colours and numbers.

    The pairs that belong together lie on the diagonal, framed in green. `frames` (M, H, W, 3) stand above
    the columns, one picture of each moment.
    """
    values = np.asarray(values, dtype=float)
    if len(values) != len(texts):
        raise ValueError(f"{len(values)} rows of values for {len(texts)} sentences")
    rows, columns = values.shape
    left = min(5.0, 0.3 + 0.085 * max(map(len, texts)))
    side = min(1.1, (WIDTH - left - 1.0) / columns)
    top, low = (side if frames is not None else 0.0) + 0.15, 0.12
    cell = min(side, 0.62)
    height = top + rows * cell + low
    figure = plt.figure(figsize=(WIDTH, height))
    box = (left / WIDTH, low / height, columns * side / WIDTH, rows * cell / height)
    axes = figure.add_axes(box)
    image = axes.imshow(values, vmin=limits[0], vmax=limits[1], aspect="auto")
    bright = (limits[0] + limits[1]) / 2
    for row in range(rows):
        for place in range(columns):
            colour = INK if values[row, place] > bright else "white"
            number = f"{values[row, place]:.{digits}f}"
            axes.text(place, row, number, ha="center", va="center", color=colour, fontsize=12)
        if row < columns:
            frame = Rectangle((row - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=TRUTH, linewidth=3)
            axes.add_patch(frame)
    axes.set_yticks(range(rows), [f"“{text}”" for text in texts], fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    if frames is not None:
        for place, picture in enumerate(frames):
            x, y = left + place * side + 0.04, low + rows * cell + 0.05
            above = figure.add_axes((x / WIDTH, y / height, (side - 0.08) / WIDTH, (side - 0.08) / height))
            above.imshow(picture)
            above.axis("off")
    scale = figure.add_axes(
        ((left + columns * side + 0.2) / WIDTH, box[1], 0.13 / WIDTH, rows * cell / height)
    )
    figure.colorbar(image, cax=scale, label=label)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    xlabel: str = "step",
    marks: Mapping[str, Mapping[str, float]] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Curves in panels side by side: `panels[what][name]` is (x, y); a name has one colour and marker in all.

    `marks[what][name]` are dashed levels, `limits[what]` the y axis of a panel; by default it starts at 0.
    """
    figure = plt.figure(figsize=(WIDTH, 2.9))
    width = (WIDTH - 0.75 * len(panels) - 0.15) / len(panels)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for index, (what, curves) in enumerate(panels.items()):
        x = 0.7 + index * (width + 0.75)
        axes = figure.add_axes((x / WIDTH, 0.18, width / WIDTH, 0.6))
        for name, (at, values) in curves.items():
            style = model_style(names.index(name))
            every = max(1, len(at) // 6)
            axes.plot(at, values, markevery=every, markersize=6, linewidth=1.8, label=name, **style)
        for name, level in (marks or {}).get(what, {}).items():
            axes.axhline(level, color=GREY, linestyle="--", linewidth=1.3)
            axes.annotate(
                name, (1, level), (-2, 3), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", ha="right", fontsize=10, color=GREY,
            )  # fmt: skip
        if limits and what in limits:
            axes.set_ylim(*limits[what])
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(what, fontsize=12)
        axes.set_xlabel(xlabel, labelpad=2)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.06, 1.0), ncols=4, fontsize=11)
    return figure


def principal_plane(vectors) -> np.ndarray:
    """The vectors (N, e) along their two directions of largest spread, (N, 2); the side of each is fixed."""
    vectors = np.asarray(vectors, dtype=float)
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    strongest = np.abs(plane).argmax(axis=0)
    return plane * np.sign(plane[strongest, [0, 1]])


@plt.rc_context(COURSE_STYLE)
def draw_embeddings(
    panels: Mapping[str, tuple[Sequence, Sequence]], groups: Sequence[str], shown: Sequence[str]
) -> Figure:
    """Sentences (dots) and moments (crosses) of each panel in the plane of their largest spread.

    `panels[title]` are two arrays (N, e), row n of each belongs to `groups[n]`. The groups in `shown` have a
    colour each, all others are grey. Both kinds share one plane, that of all vectors of the panel.
    """
    figure = plt.figure(figsize=(WIDTH, 4.5))
    side = (WIDTH - 0.3) / len(panels) - 0.15
    groups = np.asarray(groups)
    for index, (title, kinds) in enumerate(panels.items()):
        x = 0.2 + index * (side + 0.25)
        axes = figure.add_axes((x / WIDTH, 0.02, (side - 0.05) / WIDTH, 0.75))
        plane = principal_plane(np.concatenate([np.asarray(kind, dtype=float) for kind in kinds]))
        for points, marker, size in ((plane[: len(groups)], "o", 22), (plane[len(groups) :], "x", 26)):
            rest = ~np.isin(groups, shown)
            axes.scatter(*points[rest].T, marker=marker, s=size * 0.5, color="#D5DADE", linewidths=1)
            for place, group in enumerate(shown):
                colour = model_style(place)["color"]
                axes.scatter(
                    *points[groups == group].T, marker=marker, s=size, color=colour,
                    linewidths=1.4, label=group if marker == "o" else None,
                )  # fmt: skip
        axes.set_title(title, fontsize=12)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.01, 1.0), ncols=4, fontsize=11)
    figure.text(0.99, 0.985, "● sentence\n× moment", ha="right", va="top", fontsize=11, color=GREY)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_neighbours(text: str, keys: Sequence[Mapping], title: str = "") -> Figure:
    """The keys of a query, one a row: a frame, its own sentence, the target as a bar, the model as a line.

    A key is {"text", "kind" (one of KINDS), "hard", "soft", "model", "frame" (or None), "seconds"}: shares
    in percent of the target that come from the labels and from the slow encoders, what the model gives it
    now, and its moment (start, end).
    """
    left, right = 4.5, 0.75
    top, low = 1.12, 0.5
    height = top + KEY * len(keys) + low
    figure = plt.figure(figsize=(WIDTH, height))
    figure.text(0.1 / WIDTH, 1 - 0.1 / height, f"“{text}”", fontsize=13, va="top", weight="bold")
    figure.text(0.1 / WIDTH, 1 - 0.42 / height, title, fontsize=11, va="top", color=GREY)
    box = (left / WIDTH, low / height, (WIDTH - left - right) / WIDTH, KEY * len(keys) / height)
    axes = figure.add_axes(box)
    for row, key in enumerate(keys):
        colour = KINDS[key["kind"]]
        axes.barh(row, key["hard"], height=0.6, color=colour, linewidth=0)
        axes.barh(
            row, key["soft"], left=key["hard"], height=0.6, facecolor="white", edgecolor=colour,
            hatch="////", linewidth=1,
        )  # fmt: skip
        axes.plot([key["model"]] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=2.4)
        axes.text(
            1.02, row, f"{key['hard'] + key['soft']:.1f}", transform=axes.get_yaxis_transform(),
            va="center", fontsize=11,
        )  # fmt: skip
        y = low + KEY * (len(keys) - 1 - row)
        if key["frame"] is not None:
            picture = figure.add_axes((0.1 / WIDTH, (y + 0.03) / height, THUMB / WIDTH, THUMB / height))
            picture.imshow(key["frame"])
            picture.axis("off")
        words = key["text"] if len(key["text"]) <= 44 else key["text"][:43] + "…"
        figure.text(0.78 / WIDTH, (y + 0.38) / height, words, fontsize=10.5, va="center")
        span = "{:.1f} to {:.1f} s".format(*key["seconds"])
        figure.text(0.78 / WIDTH, (y + 0.16) / height, span, fontsize=9, color=GREY, va="center")
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(0, 1.05 * max(5.0, *(max(key["hard"] + key["soft"], key["model"]) for key in keys)))
    axes.set_xlabel("share of the target (%)", labelpad=2)
    axes.grid(True, axis="x", color=PALE)
    axes.set_axisbelow(True)
    named = [Patch(color=colour, label=kind) for kind, colour in KINDS.items()]
    named += [Patch(facecolor="white", edgecolor=GREY, hatch="////", label="from the slow encoders")]
    named += [plt.Line2D([], [], color=INK, linewidth=2.4, label="the model now")]
    figure.legend(
        handles=named, loc="upper left", bbox_to_anchor=(0.004, 1 - 0.62 / height), ncols=5, fontsize=10,
        columnspacing=1.1, handlelength=1.3,
    )  # fmt: skip
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_evaluations(
    curves: Mapping[str, Sequence[float]], chosen: int, ylabel: str, steps: Sequence[float]
) -> Figure:
    """A metric at every evaluation of a training: a line for each split, its best marked by a ring.

    The dashed line stands at `chosen`, the evaluation that was kept.
    """
    figure = plt.figure(figsize=(WIDTH, 2.7))
    axes = figure.add_axes((0.085, 0.19, 0.66, 0.74))
    axes.axvline(steps[chosen], color=GREY, linestyle="--", linewidth=1.4)
    for index, (name, values) in enumerate(curves.items()):
        style, best = model_style(index), int(np.argmax(values))
        axes.plot(steps, values, markersize=5, label=name, **style)
        axes.plot(
            [steps[best]], [values[best]], "o", markersize=13, markerfacecolor="none",
            markeredgecolor=style["color"], markeredgewidth=2,
        )  # fmt: skip
    axes.set_ylabel(ylabel)
    axes.set_xlabel("step", labelpad=2)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=11)
    axes.text(steps[chosen], 1.01, "kept", transform=axes.get_xaxis_transform(), fontsize=10.5, ha="center")
    return figure

"""Draw functions for any video: frames, moments, scores, boxes and attention over seconds.

Every function returns a new matplotlib figure and changes nothing else. Times and moments are in
seconds; frames are uint8 (F, H, W, 3), as arrays or tensors.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from vmrlib.viz.style import (
    COURSE_STYLE,
    CURVE,
    GREY,
    INK,
    LEFT,
    PALE,
    PREDICTION,
    PREDICTION_PALE,
    RIGHT,
    TRUTH,
    WIDTH,
    column,
)

BAR = 0.3  # inches, the height of one row of bars
THUMBNAIL = 0.55  # inches, the least side at which a frame can be recognised
AXES_WIDTH = WIDTH - LEFT - RIGHT  # inches


@plt.rc_context(COURSE_STYLE)
def draw_filmstrip(frames, times, duration: float | None = None, title: str = "") -> Figure:
    """Frames above a time axis, each centred at its own second.

    Frames that would overlap are left out evenly, so any number may be passed.
    """
    strip = Filmstrip(frames, times, duration)
    figure, (axes,) = column([strip.height], title)
    strip.draw(axes)
    seconds_axis(axes, grid=False)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_timeline(
    duration: float,
    truth: Sequence[tuple[float, float]] = (),
    predictions: Sequence[Sequence[float]] = (),
    text: str = "",
    frames=None,
    times=None,
) -> Figure:
    """Bars of the true moments and, row by row, of the ranked predictions (start, end[, score])."""
    rows = (1 if len(truth) else 0) + len(predictions)
    strip = None if frames is None else Filmstrip(frames, times, duration)
    heights = ([strip.height] if strip else []) + [max(rows, 1) * BAR + 0.1]
    figure, panels = column(heights, quoted(text))
    axes = panels[-1]
    names = []
    for start, end in truth:
        bar(axes, 0, start, end, TRUTH)
    if len(truth):
        names.append("truth")
    for rank, (start, end, *score) in enumerate(predictions, 1):
        bar(axes, len(names), start, end, PREDICTION if rank == 1 else PREDICTION_PALE)
        if score:
            beside(axes, len(names), start, end, f"{score[0]:.2f}", duration)
        names.append(f"rank {rank}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(rows, 1) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*(strip.limits if strip else (0, duration)))
    if strip:
        strip.draw(panels[0])
        panels[0].set_xticks([])
    seconds_axis(axes)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_curve(
    times,
    similarity,
    truth: Sequence[tuple[float, float]] = (),
    predictions: Sequence[Sequence[float]] = (),
    text: str = "",
    frames=None,
    frame_times=None,
    duration: float | None = None,
    limits: tuple[float, float] | None = None,
    label: str = "similarity",
) -> Figure:
    """The score of every clip over the seconds, under the frames, with true and predicted moments.

    `times` are the clip centres. `limits` fixes the y axis, so that pictures can be compared.
    """
    times, similarity = np.asarray(times, dtype=float), np.asarray(similarity, dtype=float)
    duration = duration or extent(times)
    strip = None
    if frames is not None:
        strip = Filmstrip(frames, times if frame_times is None else frame_times, duration)
    predicted = [BAR * 0.9] if len(predictions) else []
    figure, panels = column(([strip.height] if strip else []) + [1.9, *predicted], quoted(text))
    curve = panels[-2] if predicted else panels[-1]
    low, high = limits or padded(similarity)
    for start, end in truth:
        curve.axvspan(start, end, color=TRUTH, alpha=0.22, linewidth=0)
    curve.plot(times, similarity, color=CURVE, marker="o", markersize=4.5, clip_on=False, zorder=3)
    curve.set_ylim(low, high)
    curve.set_ylabel(label)
    if len(truth):
        name_span(curve, truth[0], "truth", TRUTH, duration)
    for panel in panels:
        panel.set_xlim(*(strip.limits if strip else (0, duration)))
        panel.tick_params(axis="x", length=0, labelbottom=False)
    if strip:
        strip.draw(panels[0])
        panels[0].set_xticks([])
    if predicted:
        for start, end, *_ in reversed(predictions):  # the best on top
            best = (start, end) == tuple(predictions[0][:2])
            bar(panels[-1], 0, start, end, PREDICTION if best else PREDICTION_PALE)
        panels[-1].set_ylim(-0.6, 0.6)
        panels[-1].set_yticks([0], ["predicted"])
        panels[-1].tick_params(axis="y", length=0)
        panels[-1].spines["left"].set_visible(False)
        curve.spines["bottom"].set_visible(False)
    seconds_axis(panels[-1])
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_boxes(
    frame,
    boxes=(),
    labels: Sequence[str] = (),
    colours: Sequence[str] = (),
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """One frame with named boxes; boxes (N, 4) are [x0, y0, x1, y1] in 0..1, NaN where not visible."""
    frame = np.asarray(frame)
    aspect = frame.shape[0] / frame.shape[1]
    if axes is None:
        inches = 4 * aspect + (0.4 if title else 0)
        axes = plt.figure(figsize=(4, inches)).add_axes((0, 0, 1, 4 * aspect / inches))
    axes.imshow(frame, extent=(0, 1, 1, 0), aspect=aspect, interpolation="lanczos")
    axes.set_axis_off()
    axes.set_title(title, fontsize=12)
    for index, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, dtype=float).reshape(-1, 4)):
        if np.isnan(x0):
            continue
        colour = colours[index] if len(colours) else INK
        for edge, line in (("white", 4.0), (colour, 2.2)):
            axes.add_patch(
                plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=line)
            )
        if len(labels):
            y, align = (y0 - 0.015, "bottom") if y0 > 0.1 else (min(y1 + 0.015, 0.92), "top")
            text = axes.text(
                np.clip((x0 + x1) / 2, 0.16, 0.84), y, labels[index], ha="center", va=align, fontsize=10
            )
            text.set(weight="bold", path_effects=[withStroke(linewidth=3, foreground="white")])
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    return axes.figure


@plt.rc_context(COURSE_STYLE)
def draw_attention(
    matrix,
    words: Sequence[str],
    times,
    vmin: float = 0.0,
    vmax: float = 1.0,
    title: str = "",
    label: str = "attention",
) -> Figure:
    """A (words, clips) matrix over the seconds, in viridis between `vmin` and `vmax`."""
    matrix, times = np.asarray(matrix, dtype=float), np.asarray(times, dtype=float)
    if matrix.shape != (len(words), len(times)):
        raise ValueError(f"matrix is {matrix.shape}, expected ({len(words)} words, {len(times)} clips)")
    half = spacing(times) / 2
    left = max(LEFT, 0.3 + 0.095 * max(map(len, words)))
    figure, (axes,) = column([max(BAR * len(words), 0.9)], title, left)
    image = axes.imshow(
        matrix,
        extent=(times[0] - half, times[-1] + half, len(words) - 0.5, -0.5),
        aspect="auto",
        cmap="viridis",
        vmin=vmin,
        vmax=vmax,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(words)), words)
    axes.tick_params(axis="y", length=0)
    seconds_axis(axes, grid=False)
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 0.095, box.height))
    scale = figure.add_axes((box.x1 - 0.078, box.y0, 0.017, box.height))
    figure.colorbar(image, cax=scale, label=label, ticks=[vmin, (vmin + vmax) / 2, vmax])
    scale.yaxis.set_major_formatter("{x:.2g}")
    return figure


class Filmstrip:
    """The frames that fit side by side, each centred at its second, and the axes they need.

    `height` is in inches; `limits` are the seconds the time axis must show for whole frames.
    """

    def __init__(self, frames, times, duration: float | None = None):
        frames, times = np.asarray(frames), np.asarray(times, dtype=float)
        if frames.ndim != 4 or len(frames) != len(times):
            raise ValueError(f"{len(times)} times for frames of shape {frames.shape}, expected (F, H, W, 3)")
        order = np.argsort(times, kind="stable")
        frames, times = frames[order], times[order]
        duration = duration or extent(times)
        aspect = frames.shape[2] / frames.shape[1]
        least = max(1.0, aspect) * THUMBNAIL * duration / AXES_WIDTH  # seconds under the narrowest thumbnail
        step = max(1, int(np.ceil(least / spacing(times) - 1e-6)))
        keep = [min((step - 1) // 2, len(times) - 1)]
        for index in range(keep[0] + step, len(times), step):
            if times[index] - times[keep[-1]] >= least - 1e-6:
                keep.append(index)
        self.frames, self.times = frames[keep], times[keep]
        gaps = np.diff(self.times)
        self.width = min(gaps.min() if len(gaps) else duration, 2.2 * least)  # seconds
        self.limits = (
            min(0.0, self.times[0] - self.width / 2),
            max(duration, self.times[-1] + self.width / 2),
        )
        inches = self.width * AXES_WIDTH / (self.limits[1] - self.limits[0])
        self.height = inches / aspect

    def draw(self, axes: Axes) -> None:
        """Put the thumbnails on axes of the strip's height."""
        for frame, time in zip(self.frames, self.times, strict=True):
            sides = (time - 0.48 * self.width, time + 0.48 * self.width)
            axes.imshow(frame, extent=(*sides, 0, 1), aspect="auto", interpolation="lanczos")
        axes.set_xlim(*self.limits)
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)


def bar(axes: Axes, row: float, start: float, end: float, colour: str) -> None:
    """A horizontal bar from start to end (seconds) in this row."""
    axes.barh(row, end - start, left=start, height=0.62, color=colour, linewidth=0, zorder=2)


def beside(axes: Axes, row: float, start: float, end: float, text: str, duration: float) -> None:
    """Text right of a bar, or left of it where there is no room."""
    room = 0.011 * len(text) * duration
    if end + room < duration or start < room:
        at, align = min(end, duration - room), "left"
    else:
        at, align = start, "right"
    offset = (5 if align == "left" else -5, 0)
    axes.annotate(
        text,
        (at, row),
        offset,
        textcoords="offset points",
        ha=align,
        va="center",
        fontsize=10.5,
        color=INK,
        zorder=4,
    )


def name_span(axes: Axes, moment, text: str, colour: str, duration: float) -> None:
    """A short name at the top of a shaded span."""
    middle = np.clip(sum(moment) / 2, 0.04 * duration, 0.96 * duration)
    axes.annotate(
        text, (middle, 1), (0, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="center", va="top", fontsize=10.5, color=colour, weight="bold",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )  # fmt: skip


def seconds_axis(axes: Axes, grid: bool = True) -> None:
    """Ticks and the unit on the time axis."""
    low, high = axes.get_xlim()
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if (high - low) / s <= 14), 1200)
    ticks = np.arange(0, high + 1e-6, step)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(axis="x", length=4, labelbottom=True)
    axes.set_xlabel("time (s)", labelpad=2)
    axes.spines["bottom"].set_visible(True)
    axes.set_axisbelow(True)
    axes.grid(grid, axis="x", **({"color": PALE, "linewidth": 1} if grid else {}))
    axes.tick_params(colors=GREY, labelcolor=INK)


def spacing(times: np.ndarray) -> float:
    """The usual gap between neighbouring times, in seconds (1 where there is only one time)."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def extent(times: np.ndarray) -> float:
    """The duration of a video that is covered by clips centred at these times."""
    return float(np.max(times)) + spacing(np.sort(times)) / 2


def padded(values: np.ndarray) -> tuple[float, float]:
    """Limits with a tenth of air below and a quarter above, where the names of the spans stand."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = (high - low) or 1.0
    return low - 0.1 * span, high + 0.25 * span


def quoted(text: str) -> str:
    """The query in quotation marks, or nothing."""
    return f"“{text}”" if text else ""

"""Draw functions for Stage: who does what when, and the frame that goes with it."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vmrlib.data.stage.world import Script
from vmrlib.viz.draw import draw_boxes, seconds_axis
from vmrlib.viz.style import ACTOR_COLOURS, BOTTOM, COURSE_STYLE, GREY, INK, LEFT, RIGHT, TOP, WIDTH, column

ROW = 0.34  # inches, of one lane of events
NAMES = LEFT + 0.3  # inches, where the names of the actors stand
LETTER = 0.078  # inches, of one letter of a label at LABEL points
LABEL = 10.5  # points
FRAME = 3.1  # inches, the side of the frame in `draw_stage`
SUBTITLE = "#C9D1D8"


@plt.rc_context(COURSE_STYLE)
def draw_events(script: Script, now: float | None = None, title: str = "") -> Figure:
    """One bar per event over the seconds, in one lane or more per actor; `now` draws a cursor."""
    lanes = place_events(script, WIDTH - NAMES - RIGHT)
    figure, (axes,) = column([ROW * count_rows(script, lanes)], title, NAMES)
    fill_events(axes, script, lanes, now)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_stage(script: Script, frame, boxes, time: float) -> Figure:
    """The frame at `time` with its actors' boxes (A, 4), beside the script with a cursor at `time`."""
    x = 0.1 + FRAME + NAMES
    lanes = place_events(script, WIDTH - x - RIGHT)
    rows = count_rows(script, lanes)
    height = max(FRAME + 0.2, ROW * rows + 2 * TOP + 0.6 + BOTTOM)
    bars = min(height - BOTTOM - TOP - 0.6, 1.3 * ROW * rows)
    figure = plt.figure(figsize=(WIDTH, height))
    left = figure.add_axes((0.1 / WIDTH, (height - 0.1 - FRAME) / height, FRAME / WIDTH, FRAME / height))
    right = figure.add_axes(
        (x / WIDTH, 1 - (TOP + 0.6 + bars) / height, (WIDTH - x - RIGHT) / WIDTH, bars / height)
    )
    names = [str(actor) for actor in script.actors]
    draw_boxes(frame, boxes, names, [ACTOR_COLOURS[actor.colour] for actor in script.actors], axes=left)
    fill_events(right, script, lanes, time)
    top = 1 - TOP / height
    figure.text(
        x / WIDTH, top, f"{script.scene}, {time:.1f} s of {script.duration:g} s", fontsize=13, va="top"
    )
    said = [line.text for line in script.lines if line.start_ms <= 1000 * time < line.end_ms]
    subtitle = f"“{said[0]}”" if said else ""
    figure.text(x / WIDTH, top - 0.27 / height, subtitle, fontsize=11, va="top", color=GREY, style="italic")
    return figure


@dataclass(frozen=True)
class Placed:
    """A bar, the label that goes with it, and what both cover; seconds."""

    start: float
    end: float
    label: str
    centre: float  # of the label
    covers: tuple[float, float]


def place_events(script: Script, inches: float) -> list[list[list[Placed]]]:
    """For every actor its lanes: bars whose labels do not run into each other on axes this wide."""
    letter = LETTER * script.duration / inches  # seconds under one letter
    actors = []
    for index in range(len(script.actors)):
        lanes: list[list[Placed]] = [[]]
        for event in sorted(script.events, key=lambda event: event.start_ms):
            if event.actor != index:
                continue
            label = event.verb if event.other is None else f"{event.verb} {script.actors[event.other]}"
            placed = place(*event.moment, label, letter * (len(label) + 1), script.duration)
            free = next((lane for lane in lanes if not lane or lane[-1].covers[1] <= placed.covers[0]), None)
            if free is None:
                lanes.append(free := [])
            free.append(placed)
        actors.append(lanes)
    return actors


def place(start: float, end: float, label: str, width: float, duration: float) -> Placed:
    """The label inside its bar where it fits, else right of it, else left of it, else across it."""
    if width <= end - start:
        return Placed(start, end, label, (start + end) / 2, (start, end))
    if end + width <= duration:
        return Placed(start, end, label, end + width / 2, (start, end + width))
    if start - width >= 0:
        return Placed(start, end, label, start - width / 2, (start - width, end))
    centre = max(duration - width / 2, width / 2)
    return Placed(start, end, label, centre, (min(start, centre - width / 2), duration))


def count_rows(script: Script, lanes: list[list[list[Placed]]]) -> int:
    """Lanes of all actors, and one for the subtitles where there are any."""
    return sum(map(len, lanes)) + bool(script.lines)


def fill_events(axes: Axes, script: Script, lanes: list[list[list[Placed]]], now: float | None) -> None:
    """Draw lanes, subtitles and cursor on axes; bars lie at the events' exact seconds."""
    axes.set_xlim(0, script.duration)
    axes.set_ylim(count_rows(script, lanes) - 0.5, -0.5)
    row, names = 0, []
    for actor, own in zip(script.actors, lanes, strict=True):
        names.append((row + (len(own) - 1) / 2, str(actor)))
        for lane in own:
            for event in lane:
                length = event.end - event.start
                axes.barh(
                    row, length, left=event.start, height=0.72, color=ACTOR_COLOURS[actor.colour], zorder=2
                )
                text = axes.text(event.centre, row, event.label, fontsize=LABEL, color=INK, zorder=4)
                text.set(horizontalalignment="center", verticalalignment="center_baseline")
            row += 1
        axes.axhline(row - 0.5, color=SUBTITLE, linewidth=0.8, zorder=1)
    if script.lines:
        names.append((row, "subtitles"))
        for line in script.lines:
            length = (line.end_ms - line.start_ms) / 1000
            axes.barh(row, length, left=line.start_ms / 1000, height=0.5, color=SUBTITLE, zorder=2)
    if now is not None:
        axes.axvline(now, color=INK, linewidth=1.8, zorder=5, clip_on=False)
    axes.set_yticks(*zip(*names, strict=True))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    seconds_axis(axes)

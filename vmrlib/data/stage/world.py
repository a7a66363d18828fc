"""What exists on Stage: colours, shapes, scenes, verbs, and the script that says who does what when.

A `Script` is the one source of truth of a video. Pixels, queries, moments, boxes and subtitles are
all derived from it, so the ground truth is exact. It holds integers only (milliseconds and
thousandths of the frame), so that it is the same to the last bit on every machine.
"""

from dataclasses import dataclass

import numpy as np

VERSION = 1

COLOURS = ("red", "blue", "green", "yellow")
SHAPES = ("circle", "square", "triangle", "star")
SCENES = ("meadow", "beach", "night", "snow", "city", "desert", "underwater", "forest")
KITCHEN = "kitchen"  # the one scene of the `kitchen` profile
UNSEEN_SCENES = ("city", "underwater")  # only in test-scene; the image-text model never saw them

# verb -> does it need a second actor?
VERBS = {
    "moves right": False,
    "moves left": False,
    "rises": False,
    "falls": False,
    "jumps": False,
    "grows": False,
    "shrinks": False,
    "enters": False,
    "leaves": False,
    "chases": True,
    "approaches": True,
    "is next to": True,
    "spins": False,
    "shakes": False,
}
HARD_VERBS = ("spins", "shakes")  # aliased at one frame per clip: rare on purpose

# (shape, verb) pairs that only test-composition shows; each half is common in training.
UNSEEN_PAIRS = (
    ("circle", "jumps"),
    ("square", "shrinks"),
    ("triangle", "grows"),
    ("star", "leaves"),
    ("circle", "chases"),
    ("triangle", "approaches"),
)

STEP_MS = 100  # one state per actor every 100 ms
CHANNELS = ("x", "y", "scale", "angle", "visible", "depth")


@dataclass(frozen=True)
class Actor:
    """A coloured shape with a face. `radius` is in thousandths of the frame's side (at scale 1)."""

    colour: str
    shape: str
    radius: int

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Event:
    """`actor` does `verb` (to `other`) from `start_ms` to `end_ms`; actors are indices into the script."""

    verb: str
    actor: int
    other: int | None
    start_ms: int
    end_ms: int

    @property
    def moment(self) -> tuple[float, float]:
        """(start, end) in seconds."""
        return self.start_ms / 1000, self.end_ms / 1000


@dataclass(frozen=True)
class Line:
    """One subtitle line."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, eq=False)
class Script:
    """The timeline of one video.

    `states` is (steps, actors, 6) int32, one row per `STEP_MS`, channels as in `CHANNELS`:
    x, y: centre in thousandths of the frame (x to the right, y down; may lie outside 0..1000);
    scale: thousandths of the actor's radius; angle: milliradians, clockwise;
    visible: 1000 or 0; depth: 0 (back) .. 1000 (front), which also decides who is drawn on top.
    """

    video_id: str
    scene: str
    seed: int  # of this video: also places its clouds, stars and trees
    duration_ms: int
    actors: tuple[Actor, ...]
    events: tuple[Event, ...]
    lines: tuple[Line, ...]
    states: np.ndarray

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.duration_ms / 1000

    def states_at(self, times) -> np.ndarray:
        """States at `times` (F,) seconds, linear between steps: (F, actors, 6) float64 in frame units.

        x, y, scale, visible and depth come divided by 1000, the angle in radians.
        """
        steps = len(self.states)
        position = np.clip(np.asarray(times, dtype=np.float64) * 1000 / STEP_MS, 0, steps - 1)
        before = np.minimum(position.astype(np.int64), max(steps - 2, 0))
        after = np.minimum(before + 1, steps - 1)
        weight = (position - before)[:, None, None]
        states = (self.states[before] * (1 - weight) + self.states[after] * weight) / 1000  # (F, A, 6)
        states[:, :, 4] = self.states[np.round(position).astype(np.int64), :, 4] / 1000  # on or off
        return states

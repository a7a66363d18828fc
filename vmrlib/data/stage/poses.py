"""How the actors of Stage stand: bodies of radius 1, and the pose that follows from the states around a time.

All liveliness (stretch, lean, speeds that the face and the streaks show) follows from the states within
0.2 s, never from the events, so pixels show only what the states say.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.shapes import smooth
from vmrlib.data.stage.world import Script

GAP = 0.1  # seconds on either side, over which speeds are measured


def body(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edge of a shape of radius 1 around the origin; the shapes have similar areas."""
    if shape == "circle":
        return shapes.circle(x, y, 1.0)
    if shape == "square":
        return shapes.box(x, y, 0.9, 0.9, 0.26)
    if shape == "triangle":
        return shapes.triangle(x, y - 0.16, 0.9) - 0.19
    return shapes.star(x, y - 0.04, 1.02, 0.55) - 0.16


@lru_cache(maxsize=8)
def edge(shape: str, rays: int = 240) -> np.ndarray:
    """Points (rays, 2) on the edge of `body`, found by bisection along rays from the centre."""
    angles = np.arange(rays) * 2 * np.pi / rays
    x, y = np.cos(angles), np.sin(angles)
    near, far = np.zeros(rays), np.full(rays, 2.0)
    for _ in range(30):
        middle = (near + far) / 2
        inside = body(shape, middle * x, middle * y) < 0
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return np.stack([near * x, near * y], axis=1)


@lru_cache(maxsize=8)
def reach(shape: str) -> float:
    """How far the body of radius 1 goes from its centre, whichever way it is turned."""
    return float(np.hypot(*edge(shape).T).max())


@dataclass(frozen=True)
class Poses:
    """Where and how the actors are at F times: every field (F, A) float32, in frame sides and seconds."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray  # radians, clockwise, lean included
    stretch: np.ndarray  # height over width, 1 at rest
    visible: np.ndarray
    depth: np.ndarray
    speed_x: np.ndarray
    speed_y: np.ndarray
    spin: np.ndarray  # radians per second
    growth: np.ndarray  # relative change of size per second
    tremble: np.ndarray  # 0 still .. 1 shaking

    @property
    def width(self) -> np.ndarray:
        """Half the body's width, in radii."""
        return 1 / np.sqrt(self.stretch)

    @property
    def height(self) -> np.ndarray:
        """Half the body's height, in radii."""
        return np.sqrt(self.stretch)

    @property
    def speed(self) -> np.ndarray:
        """Frame sides per second, whatever the direction."""
        return np.hypot(self.speed_x, self.speed_y)

    def __getitem__(self, index) -> "Poses":
        """The same index of every field."""
        return Poses(*(getattr(self, field.name)[index] for field in fields(self)))


def poses(script: Script, times: np.ndarray) -> Poses:
    """The poses of all actors at `times` (F,) seconds."""
    offsets = np.array([-2, -1, 0, 1, 2]) * GAP
    moments = (times[:, None] + offsets).clip(0, script.duration)
    states = script.states_at(moments.ravel()).reshape(len(times), 5, len(script.actors), 6)
    here = states[:, 2]
    seen = states[:, :, :, 4:5] > 0.5
    states = np.where(seen, states, here[:, None])  # an actor out of sight has no speed
    interval = np.maximum(moments[:, 3] - moments[:, 1], 1e-3)[:, None]
    rate = (states[:, 3] - states[:, 1]) / interval[..., None]  # (F, A, 6)
    bend = states[:, 0:3] - 2 * states[:, 1:4] + states[:, 2:5]  # (F, 3, A, 6) second differences

    radius = here[..., 2] * np.array([actor.radius for actor in script.actors]) / 1000
    speed_x, speed_y, spin = rate[..., 0], rate[..., 1], rate[..., 3]
    growth = rate[..., 2] / np.maximum(here[..., 2], 0.05)
    # who shakes goes to and fro and tilts to and fro; a start or a stop bends only the path
    sway, tilt = np.abs(bend[..., 0]).mean(axis=1), np.abs(bend[..., 3]).mean(axis=1)
    tremble = smooth(0.005, 0.012, np.minimum(sway, 0.1 * tilt))
    bounce = np.clip(-bend[:, 1, :, 1] * 5, 0, 0.3)  # a floor or a take-off pushes up
    stretch = 1 + 0.24 * smooth(0.06, 0.5, np.abs(speed_y)) - bounce
    angle = here[..., 3] + 0.14 * np.clip(speed_x * (1 - tremble) / 0.25, -1, 1)
    # what squashes stays on its foot
    y = here[..., 1] + radius * np.maximum(1 - np.sqrt(stretch), 0)
    shape = (here[..., 0], y, radius, angle, stretch, here[..., 4], here[..., 5])
    motion = (speed_x, speed_y, spin, growth, tremble)
    return Poses(*(np.asarray(values, dtype=np.float32) for values in (*shape, *motion)))


def outline(shape: str, pose: Poses, actor: int) -> np.ndarray:
    """Points (F, rays, 2) of the body's edge in the frame."""
    points = edge(shape)
    x = points[:, 0] * pose.width[:, actor, None]
    y = points[:, 1] * pose.height[:, actor, None]
    sine, cosine = np.sin(pose.angle[:, actor, None]), np.cos(pose.angle[:, actor, None])
    place = np.stack([pose.x, pose.y], axis=-1)[:, actor, None]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    return place + turned * pose.radius[:, actor, None, None]

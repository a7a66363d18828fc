"""How each verb looks: from a pose and a length to the poses in between.

A motion function takes the random choices, the actor, its pose now, the other actor's pose (or
None) and a number of steps n, and returns a `Motion` with n + 1 poses, or None where the actor
cannot do that from here. Only + - * // on integers: the same on every machine.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vmrlib.data.stage.world import STEP_MS, Actor

X, Y, SCALE, ANGLE, VISIBLE, DEPTH = range(6)
TURN = 6283  # a full turn in milliradians
SIDE_BY_SIDE = 272  # distance of centres after an approach
ON_THE_SPOT = ("jumps", "grows", "shrinks", "spins", "shakes")


@dataclass(frozen=True)
class Motion:
    """Poses (n + 1, 6) of the actor and, in a chase, of the other.

    A motion whose start or end cannot be seen says how much of it: `starts_late_ms`, `ends_early_ms`.
    """

    path: np.ndarray
    other_path: np.ndarray | None = None
    starts_late_ms: int = 0
    ends_early_ms: int = 0


def _ease(n: int, by: int) -> np.ndarray:
    """0 .. by over n + 1 steps, gentle at both ends: by (3u^2 - 2u^3), u = k / n."""
    return by * _smooth_step(n) // (n * n * n)


@lru_cache(maxsize=256)
def _smooth_step(n: int) -> np.ndarray:
    k = np.arange(n + 1, dtype=np.int64)
    return 3 * n * k * k - 2 * k * k * k


def _hold(pose, n: int) -> np.ndarray:
    path = np.empty((n + 1, len(pose)), dtype=np.int64)
    path[:] = pose
    return path


def _hill(k: np.ndarray, period: int, height: int) -> np.ndarray:
    """Parabolas of the given height, one every `period` steps, 0 at their feet."""
    phase = k % period
    return 4 * height * phase * (period - phase) // (period * period)


def _move(direction: int):
    def motion(choice, actor: Actor, pose, other, n: int) -> Motion | None:
        if not pose[VISIBLE]:
            return None
        path = _hold(pose, n)
        path[:, X] += _ease(n, direction * choice.integer(260, 560))
        path[:, Y] += _ease(n, choice.integer(-80, 80))
        return Motion(path)

    return motion


def _rise(choice, actor, pose, other, n) -> Motion | None:
    if not pose[VISIBLE]:
        return None
    path = _hold(pose, n)
    path[:, Y] -= _ease(n, choice.integer(220, 380))
    return Motion(path)


def _fall(choice, actor, pose, other, n) -> Motion | None:
    """Down, faster and faster, and two bounces."""
    height = choice.integer(220, 380)
    if not pose[VISIBLE]:
        return None
    path = _hold(pose, n)
    k = np.arange(n + 1, dtype=np.int64)
    drop = n * 55 // 100  # steps until it lands for the first time
    down = np.where(k < drop, height * k * k // (drop * drop), height)
    first, second = n * 25 // 100, n - drop - n * 25 // 100
    bounce = np.where((k >= drop) & (k < drop + first), _hill(k - drop, first, height * 30 // 100), 0)
    bounce += np.where(
        k >= drop + first, _hill(np.minimum(k - drop - first, second), second, height // 10), 0
    )
    path[:, Y] += down - bounce
    return Motion(path)


def _jump(choice, actor, pose, other, n) -> Motion | None:
    """Hops on the spot, about 1.1 s each."""
    height = choice.integer(130, 190)
    if not pose[VISIBLE] or pose[Y] < 430:
        return None
    hops = max(n // 11, 2)
    path = _hold(pose, n)
    k = np.minimum(np.arange(n + 1, dtype=np.int64), n // hops * hops)
    path[:, Y] -= _hill(k, n // hops, height)
    return Motion(path, ends_early_ms=(n - n // hops * hops) * STEP_MS)


def _scale(smaller: bool):
    def motion(choice, actor, pose, other, n) -> Motion | None:
        ladder = (640, 1000, 1480)
        rung = ladder.index(pose[SCALE]) + (-1 if smaller else 1)
        if not pose[VISIBLE] or not 0 <= rung < 3:
            return None
        path = _hold(pose, n)
        path[:, SCALE] += _ease(n, ladder[rung] - pose[SCALE])
        return Motion(path)

    return motion


def _enter(choice, actor, pose, other, n) -> Motion | None:
    if pose[VISIBLE]:
        return None
    from_left = pose[X] < 500
    target = choice.integer(170, 560) if from_left else choice.integer(440, 830)
    path = _hold(pose, n)
    path[:, VISIBLE] = 1000
    path[:, Y] = choice.integer(480, 740)
    path[:, X] += _ease(n, target - pose[X])
    # Nothing can be seen until the body's edge crosses the frame's.
    reach = actor.radius * pose[SCALE] // 1000
    inside = (path[:, X] > -reach + 10) & (path[:, X] < 1000 + reach - 10)
    first = int(np.argmax(inside))
    path[:first, VISIBLE] = 0
    return Motion(path, starts_late_ms=first * STEP_MS)


def _leave(choice, actor, pose, other, n) -> Motion | None:
    if not pose[VISIBLE]:
        return None
    reach = actor.radius * pose[SCALE] // 1000
    to_left = pose[X] < 500
    target = -reach - 20 if to_left else 1020 + reach
    path = _hold(pose, n)
    path[:, X] += _ease(n, target - pose[X])
    inside = (path[:, X] > -reach + 10) & (path[:, X] < 1000 + reach - 10)
    last = int(np.flatnonzero(inside)[-1])
    path[last + 1 :, VISIBLE] = 0
    return Motion(path, ends_early_ms=(n - last) * STEP_MS)


def _approach(choice, actor, pose, other, n) -> Motion | None:
    """Walks up to the other and stops beside it, on the side it came from."""
    if not (pose[VISIBLE] and other[VISIBLE]) or max(pose[SCALE], other[SCALE]) > 1000:
        return None  # big ones would hide each other
    side = -1 if pose[X] < other[X] else 1
    target_x = other[X] + side * SIDE_BY_SIDE
    if side * (pose[X] - target_x) < 200:  # a step or two is no approach
        return None
    path = _hold(pose, n)
    path[:, X] += _ease(n, target_x - pose[X])
    path[:, Y] += _ease(n, other[Y] - pose[Y] + choice.integer(-25, 25))
    return Motion(path)


def _chase(choice, actor, pose, other, n) -> Motion | None:
    """The other runs away in curves, the actor follows close behind and gives up at the end."""
    if not (pose[VISIBLE] and other[VISIBLE]):
        return None
    direction = 1 if pose[X] < other[X] else -1
    gap = direction * (other[X] - pose[X])
    run = choice.integer(260, 480)
    end_gap = choice.integer(430, 450)
    if run + gap - end_gap < 180:  # the actor would hardly get on
        return None
    k = np.arange(n + 1, dtype=np.int64)
    other_path, path = _hold(other, n), _hold(pose, n)
    other_path[:, X] += direction * _ease(n, run)
    # Up and down by 60 thousandths: three waves, started from and ended at rest.
    waves = 3
    period = max(n // waves, 2)
    inside = np.minimum(k, period * waves)
    sign = np.where(inside // period % 2 == 0, -1, 1)
    other_path[:, Y] += sign * _hill(inside, period, 60)
    # The gap closes to 265 in the first third and opens again in the last.
    third = max(n // 3, 1)
    close, opening = _ease(third, 265 - gap), _ease(third, end_gap - 265)
    gaps = np.full(n + 1, 265, dtype=np.int64)
    gaps[: third + 1] = gap + close
    gaps[n - third :] = 265 + opening
    path[:, X] = other_path[:, X] - direction * gaps
    delay = min(6, n)
    late = np.maximum(k - delay, 0)
    path[:, Y] += _ease(n, other[Y] - pose[Y])
    path[:, Y] += (other_path[late, Y] - other[Y]) * np.minimum(n - k, 10) // 10
    return Motion(path, other_path)


def _spin(choice, actor, pose, other, n) -> Motion | None:
    """Full turns, about 1.6 s each."""
    if not pose[VISIBLE]:
        return None
    turns = max(n // 16, 2) * (1 if choice.chance(0.5) else -1)
    path = _hold(pose, n)
    path[:, ANGLE] += _ease(n, turns * TURN)
    return Motion(path)


def _shake(choice, actor, pose, other, n) -> Motion | None:
    """To and fro, five times in two seconds."""
    if not pose[VISIBLE]:
        return None
    path = _hold(pose, n)
    beat = np.array([0, 1, 0, -1], dtype=np.int64)[np.arange(n + 1) % 4]
    beat[-1] = 0
    path[:, X] += 22 * beat
    path[:, ANGLE] += 200 * beat
    return Motion(path)


MOTIONS = {
    "moves right": _move(1),
    "moves left": _move(-1),
    "rises": _rise,
    "falls": _fall,
    "jumps": _jump,
    "grows": _scale(smaller=False),
    "shrinks": _scale(smaller=True),
    "enters": _enter,
    "leaves": _leave,
    "chases": _chase,
    "approaches": _approach,
    "spins": _spin,
    "shakes": _shake,
}

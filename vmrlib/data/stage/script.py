"""Writes the script of a video: who is where, and which events happen when.

A script is drawn in three steps: the cast, a plan of time slots, and a simulation that fills each
slot with an event the actors can do from where they stand. An event that does not fit is drawn
again and never cut. Everything is an integer (milliseconds, thousandths of the frame) and every
random choice comes from `random.Random.random()`, whose stream Python promises not to change: the
same seed gives the same video on every machine, for ever.
"""

import random
from dataclasses import dataclass, field

import numpy as np

from vmrlib.data.stage import motions
from vmrlib.data.stage.world import (
    COLOURS,
    HARD_VERBS,
    SHAPES,
    STEP_MS,
    UNSEEN_PAIRS,
    VERBS,
    Actor,
    Event,
    Line,
    Script,
)

STAGE_LEFT, STAGE_RIGHT, STAGE_TOP, STAGE_FLOOR = 135, 865, 260, 770  # where centres may rest
NEAR = 300  # centres closer than this are side by side
APART = 340  # otherwise they rest at least this far from each other,
SAME_HEIGHT, APART_AT_SAME_HEIGHT = 130, 430  # and further where it would look like side by side
MIN_SIDE_BY_SIDE_MS = 2000
MAX_OVERLAP_MS = 2500


@dataclass(frozen=True)
class Plan:
    """What kind of video to write; see `splits.StageConfig`, which makes these."""

    scenes: tuple[str, ...]
    duration_ms: int
    events: tuple[int, int]  # fewest and most motions
    length_ms: tuple[int, int]  # of one motion
    actors: tuple[int, int]
    distractor_rate: float
    unseen_pairs: str = "never"  # or "often": only in test-composition
    same_colour: bool = False  # two actors share a colour: test-noun
    scene_colour: dict[str, str] = field(default_factory=dict)  # test-scene: a distractor's colour


class Choice:
    """Random choices built on `random()` alone."""

    def __init__(self, seed: str):
        self.random = random.Random(seed).random

    def integer(self, low: int, high: int, step: int = 1) -> int:
        """low, low + step, ..., at most high."""
        return low + step * int(self.random() * ((high - low) // step + 1))

    def pick(self, options):
        return options[int(self.random() * len(options))]

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def shuffled(self, items) -> list:
        rest, result = list(items), []
        while rest:
            result.append(rest.pop(int(self.random() * len(rest))))
        return result


def write_script(video_id: str, plan: Plan, lines: tuple[Line, ...], seed: str) -> Script:
    """The script that belongs to `seed`; the same seed and plan give the same script."""
    choice = Choice(seed)
    scene = choice.pick(plan.scenes)
    actors = _cast(choice, plan, scene)
    for _ in range(1000):
        rehearsal = _Rehearsal(choice, plan, actors)
        if rehearsal.succeeded():
            return Script(
                video_id=video_id,
                scene=scene,
                seed=choice.integer(0, 2**31 - 1),
                duration_ms=plan.duration_ms,
                actors=actors,
                events=rehearsal.all_events(),
                lines=lines,
                states=rehearsal.states,
            )
    raise ValueError(f"no video fits the plan {plan}")


def _cast(choice: Choice, plan: Plan, scene: str) -> tuple[Actor, ...]:
    """Different actors of which two share a colour or a shape, so that a name needs both."""
    number = choice.integer(*plan.actors)
    first = [choice.pick(COLOURS), choice.pick(SHAPES)]
    if plan.scene_colour:
        first[0] = plan.scene_colour[scene]
    second = list(first)
    if plan.same_colour or choice.chance(0.5):
        second[1] = choice.pick([shape for shape in SHAPES if shape != first[1]])
    else:
        second[0] = choice.pick([colour for colour in COLOURS if colour != first[0]])
    looks = [tuple(first), tuple(second)]
    while len(looks) < number:
        look = (choice.pick(COLOURS), choice.pick(SHAPES))
        if look not in looks:
            looks.append(look)
    return tuple(Actor(colour, shape, choice.integer(125, 150)) for colour, shape in choice.shuffled(looks))


class _Rehearsal:
    """One attempt: first the places, then slot after slot."""

    def __init__(self, choice: Choice, plan: Plan, actors: tuple[Actor, ...]):
        self.choice, self.plan, self.actors = choice, plan, actors
        steps = plan.duration_ms // STEP_MS + 1
        self.states = np.zeros((steps, len(self.actors), 6), dtype=np.int32)
        self.events: list[Event] = []
        self.free_from = [0] * len(self.actors)
        self.placed = self._set_the_stage()
        if self.placed:
            for start_ms, length_ms in self._slots():
                if len(self.events) < plan.events[1]:
                    self._fill(start_ms, length_ms)

    def succeeded(self) -> bool:
        if not self.placed or len(self.events) < self.plan.events[0]:
            return False
        if not (self.states[:, :, 4] > 0).any(axis=0).all():  # somebody is waiting outside in vain
            return False
        if self.plan.unseen_pairs == "often":
            return any(self._unseen(event.verb, event.actor) for event in self.events)
        return True

    def all_events(self) -> tuple[Event, ...]:
        """The motions and the times two actors stand side by side, by start."""
        events = [*self.events, *side_by_side(self.states, MIN_SIDE_BY_SIDE_MS)]
        return tuple(sorted(events, key=lambda event: (event.start_ms, event.end_ms, event.verb)))

    # ---- places ----------------------------------------------------------------------------------

    def _set_the_stage(self) -> bool:
        """Puts the actors on stage, or outside for those who will come in later."""
        choice = self.choice
        waiting = choice.integer(0, len(self.actors) - 1) if choice.chance(0.45) else 0
        places: list[tuple[int, int]] = []
        for index, actor in enumerate(self.actors):
            depth = choice.integer(0, 1000)
            if index < waiting:
                x = -actor.radius - 20 if choice.chance(0.5) else 1020 + actor.radius
                pose = (x, choice.integer(480, STAGE_FLOOR), 1000, 0, 0, depth)
            else:
                place = self._free_place(places)
                if place is None:
                    return False
                places.append(place)
                pose = (*place, 1000, 0, 1000, depth)
            self.states[:, index] = pose
        return True

    def _free_place(self, taken) -> tuple[int, int] | None:
        for _ in range(60):
            x = self.choice.integer(STAGE_LEFT, STAGE_RIGHT)
            y = self.choice.integer(430, STAGE_FLOOR - 20)
            if all(_apart((x, y), other) for other in taken):
                return x, y
        return None

    # ---- the plan of time -----------------------------------------------------------------------

    def _slots(self) -> list[tuple[int, int]]:
        """(start, length) of each slot in ms: lengths and overlaps first, then the free time cut up."""
        choice, plan = self.choice, self.plan
        number = choice.integer(*plan.events)
        number += max(2, number // 6)  # more than needed: not every slot can be filled
        # The shorter of two draws: short events are more common than long ones.
        lengths = [
            min(choice.integer(*plan.length_ms, step=STEP_MS) for _ in range(2)) for _ in range(number)
        ]
        overlaps = [
            choice.integer(300, min(MAX_OVERLAP_MS, length - 500), step=STEP_MS) if choice.chance(0.4) else 0
            for length in lengths
        ]
        # Leave a fifth of the time free, so that events start anywhere and not one after the other from 0.
        while sum(lengths) - sum(overlaps) > 0.8 * plan.duration_ms and len(lengths) > plan.events[0]:
            lengths.pop()
            overlaps.pop()
        free = max(plan.duration_ms - 300 - sum(lengths) + sum(overlaps), 0)
        cuts = sorted(choice.integer(0, free, step=STEP_MS) for _ in lengths)
        slots, used = [], 0
        for cut, length, overlap in zip(cuts, lengths, overlaps, strict=True):
            slots.append((cut + used, length))
            used += length - overlap
        return slots

    # ---- one slot -------------------------------------------------------------------------------

    def _fill(self, start_ms: int, length_ms: int) -> None:
        """Plays one event that starts about `start_ms`, if one of the drawn ones fits."""
        choice = self.choice
        # At most two at once, for at most 2.5 s.
        ends = [0, 0, *sorted(event.end_ms for event in self.events)]
        start_ms = max(start_ms, ends[-1] - MAX_OVERLAP_MS, ends[-2])
        # Two who have come together are shown side by side for a while.
        pause_ms = choice.integer(
            max(MIN_SIDE_BY_SIDE_MS, self.plan.length_ms[0]), self.plan.length_ms[1], STEP_MS
        )
        cast = range(len(self.actors))
        company = [self._has_company(index) for index in cast]
        free_from = [self.free_from[index] + pause_ms * company[index] for index in cast]
        waiting = [index for index in cast if not self.states[:, index, 4].any()]
        done = {(event.verb, event.actor) for event in self.events}
        for _ in range(8):
            verb, actors = self._draw(waiting)
            for _ in range(12):
                actor = choice.pick(actors)
                other = choice.pick([index for index in cast if index != actor]) if VERBS[verb] else None
                if not self._wanted(verb, actor, company[actor], (verb, actor) in done):
                    continue
                involved = [actor] if other is None else [actor, other]
                start = max([start_ms, *(free_from[index] for index in involved)])
                if start + length_ms > self.plan.duration_ms - 200:
                    continue
                event = self._play(verb, actor, other, start, length_ms)
                if event is not None:
                    self.events.append(event)
                    for index in involved:
                        self.free_from[index] = start + length_ms + 300
                    return

    def _has_company(self, index: int) -> bool:
        """Does the actor end up beside somebody, as things stand?"""
        places = self.states[-1].tolist()
        x, y, *_, visible, _ = places[index]
        return bool(visible) and any(
            place[4] and (x - place[0]) ** 2 + (y - place[1]) ** 2 <= NEAR**2
            for neighbour, place in enumerate(places)
            if neighbour != index
        )

    def _draw(self, waiting: list[int]) -> tuple[str, list[int]]:
        """A verb and who may do it; often a verb or an actor already in the video (a distractor)."""
        choice = self.choice
        actors = list(range(len(self.actors)))
        if waiting and choice.chance(0.3):  # everybody is seen some time
            return "enters", waiting
        if self.events and choice.chance(self.plan.distractor_rate):
            model = choice.pick(self.events)
            if choice.chance(0.5) and model.verb not in HARD_VERBS:
                return model.verb, [index for index in actors if index != model.actor]
            actors = [model.actor]
        return choice.pick(_URN), actors

    def _wanted(self, verb: str, actor: int, company: bool, again: bool) -> bool:
        """Shall the actor do this, if it has company, and if it has done it before?"""
        choice, plan = self.choice, self.plan
        unseen = self._unseen(verb, actor)
        if unseen and plan.unseen_pairs == "never":
            return False
        if not unseen and plan.unseen_pairs == "often" and choice.chance(0.6):
            return False
        # Who jumps or spins beside somebody is still beside it: that would blur where "is next to" ends.
        if company and verb in motions.ON_THE_SPOT:
            return False
        # The same thing twice makes a query ambiguous: keep it rare.
        return not again or choice.chance(0.1)

    def _unseen(self, verb: str, actor: int) -> bool:
        return (self.actors[actor].shape, verb) in UNSEEN_PAIRS

    def _play(self, verb: str, actor: int, other: int | None, start_ms: int, length_ms: int) -> Event | None:
        """Writes the motion into the states and returns the event; None when it does not fit."""
        first, last = start_ms // STEP_MS, (start_ms + length_ms) // STEP_MS
        pose = self.states[first, actor].tolist()
        partner = None if other is None else self.states[first, other].tolist()
        motion = motions.MOTIONS[verb](self.choice, self.actors[actor], pose, partner, last - first)
        if motion is None:
            return None
        for index, path in ((actor, motion.path), (other, motion.other_path)):
            if path is None:
                continue
            if path[-1, 4] and not self._may_rest(path[-1].tolist(), index, {actor, other}):
                return None
        for index, path in ((actor, motion.path), (other, motion.other_path)):
            if path is not None:
                self.states[first : last + 1, index] = path
                self.states[last + 1 :, index] = path[-1]
        return Event(
            verb, actor, other, start_ms + motion.starts_late_ms, start_ms + length_ms - motion.ends_early_ms
        )

    def _may_rest(self, pose: list[int], index: int, involved: set) -> bool:
        """Is the end of the motion inside the stage and clear of everybody else?"""
        x, y = pose[:2]
        if not (STAGE_LEFT <= x <= STAGE_RIGHT and STAGE_TOP <= y <= STAGE_FLOOR):
            return False
        places = self.states[-1].tolist()
        if places[index][:2] == [x, y]:
            return True
        return all(
            not place[4] or _apart((x, y), place)
            for neighbour, place in enumerate(places)
            if neighbour != index and {index, neighbour} != involved
        )


# Some verbs fit in few places, and "is next to" follows an approach: weighted so that all come out
# about equally frequent, the hard ones less.
_WEIGHTS = {
    "moves right": 10,
    "moves left": 10,
    "rises": 3,
    "falls": 10,
    "jumps": 2,
    "grows": 3,
    "shrinks": 3,
    "enters": 3,
    "leaves": 2,
    "chases": 32,
    "approaches": 44,
    "spins": 1,
    "shakes": 1,
}
_URN = [verb for verb, weight in _WEIGHTS.items() for _ in range(weight)]


def _apart(a, b) -> bool:
    """Would nobody say that actors who rest at `a` and `b` are side by side?"""
    across, up = abs(a[0] - b[0]), abs(a[1] - b[1])
    return across**2 + up**2 >= APART**2 and (up >= SAME_HEIGHT or across >= APART_AT_SAME_HEIGHT)


def side_by_side(states: np.ndarray, at_least_ms: int) -> list[Event]:
    """The times two visible actors rest beside each other, read off the states (steps, actors, 6)."""
    resting = np.ones(states.shape[:2], dtype=bool)  # (steps, actors)
    moved = (states[1:] != states[:-1]).any(axis=2)
    resting[1:] &= ~moved
    resting[:-1] &= ~moved
    resting &= states[:, :, 4] > 0
    events = []
    for a in range(states.shape[1]):
        for b in range(a + 1, states.shape[1]):
            distance = states[:, a, :2].astype(np.int64) - states[:, b, :2]
            near = (distance**2).sum(axis=1) <= NEAR**2
            together = np.concatenate([[False], near & resting[:, a] & resting[:, b], [False]])
            edges = np.flatnonzero(together[1:] != together[:-1]).reshape(-1, 2)
            for first, last in edges.tolist():
                if (last - 1 - first) * STEP_MS >= at_least_ms:
                    events.append(Event("is next to", a, b, first * STEP_MS, (last - 1) * STEP_MS))
    return events

"""Which moments of a video, and which (video, moment) pairs of a corpus, satisfy a query.

A video is read as a list of `Fact`s: its events and what they imply. Who enters from the left also
moves to the right; a chase is also two moves. A query is unique in its video when exactly one
moment satisfies it *by these predicates*, not when exactly one event was scripted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vmrlib.data.stage.script import NEAR
from vmrlib.data.stage.world import STEP_MS, Event, Script

Moment = tuple[float, float]  # seconds

SYMMETRIC_VERBS = ("is next to",)
MIN_SIDEWAYS = 150  # thousandths of the frame that count as a move to the right or left
MIN_UPWARDS = 200  # and as a rise or fall
THEN_WITHIN_MS = 5000  # "a then b": b starts after a does and at most this long after a ends
MIN_WHILE_MS = 500  # "a while b": they share at least this much


@dataclass(frozen=True)
class Fact:
    """`actor` (does) `verb` (to `other`) during [start_ms, end_ms]; actors are indices."""

    verb: str
    actor: int
    other: int | None
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Who:
    """Whom a noun phrase may mean; None means that anything goes."""

    colour: str | None = None
    shape: str | None = None

    def fits(self, script: Script, index: int) -> bool:
        actor = script.actors[index]
        return self.colour in (None, actor.colour) and self.shape in (None, actor.shape)


@dataclass(frozen=True)
class Clause:
    """One predicate: somebody does something (to somebody)."""

    verb: str
    actor: Who
    other: Who | None = None


@dataclass(frozen=True)
class Joined:
    """Two clauses.

    `then`: the moment runs from the start of the first to the end of the second.
    `before`, `while`: the moment is the first clause's; the second says which one is meant.
    """

    first: Clause
    word: str
    second: Clause


Predicate = Clause | Joined


def facts(script: Script) -> list[Fact]:
    """All that happens in a video: its events and what follows from them."""
    found = [
        Fact(event.verb, event.actor, event.other, event.start_ms, event.end_ms) for event in script.events
    ]
    for event in script.events:
        found += _implied(script, event)
    return found


def _implied(script: Script, event: Event) -> list[Fact]:
    """What else is true while the event happens, read off the states where it depends on them."""
    span = (event.start_ms, event.end_ms)
    result = []
    if event.verb == "jumps":
        result += [Fact("rises", event.actor, None, *span), Fact("falls", event.actor, None, *span)]
    if event.verb in ("enters", "leaves", "chases", "approaches"):
        for mover in [event.actor] + ([event.other] if event.verb == "chases" else []):
            start, end = (script.states[ms // STEP_MS, mover, :2].tolist() for ms in span)
            if abs(end[0] - start[0]) >= MIN_SIDEWAYS:
                result.append(Fact("moves right" if end[0] > start[0] else "moves left", mover, None, *span))
            if abs(end[1] - start[1]) >= MIN_UPWARDS:
                result.append(Fact("falls" if end[1] > start[1] else "rises", mover, None, *span))
    if event.verb in SYMMETRIC_VERBS:
        result.append(Fact(event.verb, event.other, event.actor, *span))
    if event.verb in ("moves right", "moves left", "rises", "falls", "enters"):
        # Whoever ends up beside somebody has approached them, whatever else it was doing.
        last = script.states[event.end_ms // STEP_MS].astype(int)
        first = script.states[event.start_ms // STEP_MS].astype(int)
        for other in range(len(script.actors)):
            if other != event.actor and last[other, 4] and last[event.actor, 4]:
                before, after = (
                    ((frame[event.actor, :2] - frame[other, :2]) ** 2).sum() for frame in (first, last)
                )
                if after <= NEAR**2 < before:
                    result.append(Fact("approaches", event.actor, other, *span))
    return result


def matches(predicate: Predicate, script: Script) -> list[Moment]:
    """The moments (seconds) of one video that satisfy the predicate, each once, by start."""
    known = facts(script)
    if isinstance(predicate, Clause):
        spans = {(fact.start_ms, fact.end_ms) for fact in _satisfying(predicate, script, known)}
    else:
        spans = set()
        for first in _satisfying(predicate.first, script, known):
            for second in _satisfying(predicate.second, script, known):
                span = _join(first, predicate.word, second)
                if span is not None:
                    spans.add(span)
    return [(start / 1000, end / 1000) for start, end in sorted(spans)]


def search(predicate: Predicate, scripts: Iterable[Script]) -> list[tuple[str, Moment]]:
    """All (video id, moment) pairs of a corpus that satisfy the predicate."""
    return [(script.video_id, moment) for script in scripts for moment in matches(predicate, script)]


def _satisfying(clause: Clause, script: Script, known: list[Fact]) -> list[Fact]:
    return [
        fact
        for fact in known
        if fact.verb == clause.verb
        and clause.actor.fits(script, fact.actor)
        and (clause.other is None or (fact.other is not None and clause.other.fits(script, fact.other)))
    ]


def _join(first: Fact, word: str, second: Fact) -> tuple[int, int] | None:
    """The span (ms) of two joined facts; None where the second does not follow or overlap as `word` says."""
    if first.actor == second.actor and (word == "while" or first.start_ms == second.start_ms):
        return None  # one and the same event seen twice: who enters also moves
    if word == "then":
        follows = first.start_ms < second.start_ms and second.end_ms > first.end_ms
        soon = second.start_ms - first.end_ms <= THEN_WITHIN_MS
        return (first.start_ms, second.end_ms) if follows and soon else None
    if word == "before":
        return (first.start_ms, first.end_ms) if first.end_ms <= second.start_ms else None
    if word == "while":
        shared = min(first.end_ms, second.end_ms) - max(first.start_ms, second.start_ms)
        return (first.start_ms, first.end_ms) if shared >= MIN_WHILE_MS else None
    raise ValueError(f'two clauses are joined by "then", "before" or "while", not by "{word}"')

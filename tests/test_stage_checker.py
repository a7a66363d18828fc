"""The exact checker against a slow, independent reading of the same definitions."""

import numpy as np
import pytest
from stage_splits import split

from vmrlib.data.stage import facts, matches, parse, search
from vmrlib.data.stage.checker import Clause, Joined, Who
from vmrlib.data.stage.world import Actor, Event, Script

PARTS = [split("open", "test-iid"), split("kitchen", "test-iid", 15)]


def script(events, paths, looks=(("red", "circle"), ("blue", "square"), ("red", "star"))):
    """A script of 20 s with given events; `paths` holds each actor's (x, y) at 0 s and, linearly, at 20 s."""
    steps = np.linspace(0, 1, 201)[:, None]
    states = np.zeros((201, len(paths), 6), dtype=np.int32)
    for index, (start, end) in enumerate(paths):
        states[:, index, :2] = np.round(np.array(start) * (1 - steps) + np.array(end) * steps)
    states[:, :, 2], states[:, :, 4] = 1000, 1000
    actors = tuple(Actor(colour, shape, 130) for colour, shape in looks[: len(paths)])
    return Script("v", "meadow", 0, 20_000, actors, tuple(events), (), states)


STILL = ((100, 500), (100, 500))
FAR = ((900, 700), (900, 700))


def said(one_script):
    return {(fact.verb, fact.actor, fact.other) for fact in facts(one_script)}


# ---- what follows from what -----------------------------------------------------------------------


def test_a_chase_is_also_two_moves():
    made = script([Event("chases", 0, 1, 0, 20_000)], [((100, 500), (500, 500)), ((400, 500), (800, 500))])
    assert said(made) == {("chases", 0, 1), ("moves right", 0, None), ("moves right", 1, None)}


@pytest.mark.parametrize(("verb", "other"), [("enters", None), ("leaves", None), ("approaches", 1)])
def test_coming_going_and_approaching_imply_a_direction(verb, other):
    made = script([Event(verb, 0, other, 0, 20_000)], [((800, 500), (500, 500)), FAR])
    assert said(made) == {(verb, 0, other), ("moves left", 0, None)}


def test_a_steep_approach_also_rises():
    made = script([Event("approaches", 0, 1, 0, 20_000)], [((100, 700), (110, 400)), FAR])
    assert said(made) == {("approaches", 0, 1), ("rises", 0, None)}


def test_a_small_shift_implies_nothing():
    made = script([Event("enters", 0, None, 0, 20_000)], [((100, 500), (249, 690)), FAR])
    assert said(made) == {("enters", 0, None)}


def test_a_jump_goes_up_and_down():
    made = script([Event("jumps", 0, None, 0, 20_000)], [STILL, FAR])
    assert said(made) == {("jumps", 0, None), ("rises", 0, None), ("falls", 0, None)}


def test_side_by_side_holds_both_ways():
    made = script([Event("is next to", 0, 1, 0, 20_000)], [STILL, FAR])
    assert said(made) == {("is next to", 0, 1), ("is next to", 1, 0)}


def test_who_ends_up_beside_somebody_has_approached_it():
    made = script(
        [Event("moves right", 0, None, 0, 20_000)], [((100, 500), (500, 500)), ((770, 500), (770, 500))]
    )
    assert said(made) == {("moves right", 0, None), ("approaches", 0, 1)}


# ---- joined clauses, by hand ----------------------------------------------------------------------

RED_CIRCLE, BLUE_SQUARE = Who("red", "circle"), Who("blue", "square")


def spans(word, first, second):
    """What "the red circle spins WORD the blue square grows" matches, for their times in ms."""
    made = script([Event("spins", 0, None, *first), Event("grows", 1, None, *second)], [STILL, FAR])
    return matches(Joined(Clause("spins", RED_CIRCLE), word, Clause("grows", BLUE_SQUARE)), made)


@pytest.mark.parametrize(
    ("word", "first", "second", "expected"),
    [
        ("then", (1000, 4000), (5000, 8000), [(1, 8)]),
        ("then", (1000, 4000), (9000, 12000), [(1, 12)]),
        ("then", (1000, 4000), (9100, 12000), []),  # more than 5 s later
        ("then", (5000, 8000), (1000, 4000), []),
        ("then", (1000, 9000), (2000, 5000), []),  # over before the first is
        ("before", (1000, 4000), (15000, 18000), [(1, 4)]),
        ("before", (1000, 4000), (3900, 8000), []),
        ("while", (1000, 4000), (3500, 8000), [(1, 4)]),
        ("while", (1000, 4000), (3600, 8000), []),  # less than half a second together
        ("while", (5000, 8000), (1000, 9000), [(5, 8)]),
    ],
)
def test_joined_clauses_by_hand(word, first, second, expected):
    assert spans(word, first, second) == expected


def test_one_event_seen_twice_is_not_two_events():
    made = script([Event("enters", 0, None, 0, 20_000)], [((-100, 500), (500, 500)), FAR])
    for word in ("then", "before", "while"):
        assert (
            matches(Joined(Clause("enters", RED_CIRCLE), word, Clause("moves right", RED_CIRCLE)), made) == []
        )


def test_an_unknown_word_between_clauses_is_named():
    made = script([Event("spins", 0, None, 0, 9000), Event("grows", 1, None, 0, 9000)], [STILL, FAR])
    with pytest.raises(ValueError, match='"then", "before" or "while", not by "until"'):
        matches(Joined(Clause("spins", RED_CIRCLE), "until", Clause("grows", BLUE_SQUARE)), made)


# ---- against an independent transcription ---------------------------------------------------------


def slow_facts(one):
    """(verb, actor look, other look, start, end) of all that can be said, from the definitions."""
    out = []

    def at(ms, index):
        return [int(value) for value in one.states[ms // 100, index]]

    def look(index):
        return None if index is None else (one.actors[index].colour, one.actors[index].shape, index)

    for e in one.events:
        s, t = e.start_ms, e.end_ms
        out.append((e.verb, look(e.actor), look(e.other), s, t))
        if e.verb == "is next to":
            out.append((e.verb, look(e.other), look(e.actor), s, t))
        elif e.verb == "jumps":
            out += [(verb, look(e.actor), None, s, t) for verb in ("rises", "falls")]
        movers = {
            "chases": [e.actor, e.other],
            "approaches": [e.actor],
            "enters": [e.actor],
            "leaves": [e.actor],
        }
        for mover in movers.get(e.verb, []):
            across, down = (at(t, mover)[k] - at(s, mover)[k] for k in (0, 1))
            out += [("moves right", look(mover), None, s, t)] * (across >= 150)
            out += [("moves left", look(mover), None, s, t)] * (across <= -150)
            out += [("falls", look(mover), None, s, t)] * (down >= 200)
            out += [("rises", look(mover), None, s, t)] * (down <= -200)
        if e.verb in ("moves right", "moves left", "rises", "falls", "enters"):
            for other in range(len(one.actors)):
                if other != e.actor and at(t, other)[4] and at(t, e.actor)[4]:
                    gap = [np.hypot(*np.subtract(at(ms, e.actor)[:2], at(ms, other)[:2])) for ms in (s, t)]
                    if gap[1] <= 300 < gap[0]:
                        out.append(("approaches", look(e.actor), look(other), s, t))
    return out


def slow_matches(predicate, one):
    known = slow_facts(one)

    def fits(who, look):
        return look is not None and who.colour in (None, look[0]) and who.shape in (None, look[1])

    def found(clause):
        return [
            fact
            for fact in known
            if fact[0] == clause.verb
            and fits(clause.actor, fact[1])
            and (clause.other is None or fits(clause.other, fact[2]))
        ]

    if isinstance(predicate, Clause):
        return sorted({(s / 1000, t / 1000) for *_, s, t in found(predicate)})
    out = set()
    for _, actor, _, a, b in found(predicate.first):
        for _, second_actor, _, c, d in found(predicate.second):
            if actor == second_actor and (a == c or predicate.word == "while"):
                continue
            if predicate.word == "then" and a < c and b < d and c - b <= 5000:
                out.add((a / 1000, d / 1000))
            if (predicate.word == "before" and b <= c) or (
                predicate.word == "while" and min(b, d) - max(a, c) >= 500
            ):
                out.add((a / 1000, b / 1000))
    return sorted(out)


@pytest.mark.parametrize("part", PARTS, ids=["open", "kitchen"])
def test_every_query_is_true_of_exactly_its_moment(part):
    for query in part.queries:
        assert slow_matches(parse(query.text), part.script_of[query.video_id]) == list(query.moments), query


def test_the_checker_agrees_with_the_transcription_on_other_videos():
    part = PARTS[0]
    for query in part.queries[::29]:
        predicate = parse(query.text)
        for one in part.scripts[::5]:
            assert matches(predicate, one) == slow_matches(predicate, one)


def test_search_finds_all_pairs_of_a_corpus():
    scripts = PARTS[0].scripts[:60]
    for query in PARTS[0].queries[:200:20]:
        predicate = parse(query.text)
        expected = [(one.video_id, span) for one in scripts for span in slow_matches(predicate, one)]
        assert search(predicate, scripts) == expected
    assert (query.video_id, query.moments[0]) in search(predicate, PARTS[0].scripts)

"""The scripts of Stage: the same everywhere, labels that tell the truth, and every knob."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from stage_splits import split

from vmrlib.data.stage import StageConfig, make_split
from vmrlib.data.stage.motions import MOTIONS
from vmrlib.data.stage.script import APART_AT_SAME_HEIGHT, MAX_OVERLAP_MS, NEAR, SAME_HEIGHT, Choice
from vmrlib.data.stage.world import CHANNELS, HARD_VERBS, STEP_MS, UNSEEN_PAIRS, VERBS

SCRIPTS = {"open": split("open", "train").scripts[:200], "kitchen": split("kitchen", "test-iid", 15).scripts}
profiles = pytest.mark.parametrize("profile", SCRIPTS)


def motions(script):
    return [event for event in script.events if event.verb != "is next to"]


# ---- the same on every machine --------------------------------------------------------------------


def test_a_fresh_process_with_other_threads_and_hash_seed_writes_the_same_bytes():
    code = (
        "from vmrlib.data.stage import make_split, StageConfig as C\n"
        "print(make_split('train', C.open(), 3).hash, make_split('train', C.kitchen(), 1).hash)"
    )
    here = [split("open", "train", 3).hash, split("kitchen", "train", 1).hash]
    root = Path(__file__).resolve().parent.parent
    for threads in ("1", "3"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == here


def test_the_states_are_whole_numbers():
    for script in SCRIPTS["open"][:5]:
        assert script.states.dtype == np.int32
        assert script.states.shape == (script.duration_ms // STEP_MS + 1, len(script.actors), len(CHANNELS))


def test_choices_cover_their_range_and_keep_every_item():
    choice = Choice("a")
    assert {choice.integer(3, 9, 3) for _ in range(200)} == {3, 6, 9}
    assert sorted(choice.shuffled(range(20))) == list(range(20))
    assert [Choice("b").random() for _ in range(3)] == [Choice("b").random() for _ in range(3)]


def test_states_between_steps_are_interpolated_and_visibility_is_not():
    script = SCRIPTS["open"][0]
    states = script.states_at([0.0, 0.05, 0.1, script.duration, script.duration + 9])
    assert np.allclose(states[1, :, :4], (states[0] + states[2])[:, :4] / 2)
    assert np.array_equal(states[3], states[4])
    assert set(np.unique(script.states_at(np.arange(0, 24, 0.013))[:, :, 4])) <= {0.0, 1.0}


# ---- labels ---------------------------------------------------------------------------------------


@profiles
def test_events_lie_inside_the_video_and_motions_have_their_length(profile):
    low, high = (3000, 9000) if profile == "open" else (1500, 5000)
    for script in SCRIPTS[profile]:
        for event in script.events:
            assert 0 <= event.start_ms < event.end_ms <= script.duration_ms
        for event in motions(script):
            # a coming or going is out of sight for a part; a jump ends with its last hop
            shortest = low // 2 if event.verb in ("enters", "leaves", "jumps") else low
            assert shortest <= event.end_ms - event.start_ms <= high


@profiles
def test_at_most_two_motions_overlap_for_at_most_two_and_a_half_seconds(profile):
    for script in SCRIPTS[profile]:
        events = motions(script)
        for k, event in enumerate(events):
            shared = [min(event.end_ms, o.end_ms) - max(event.start_ms, o.start_ms) for o in events[k + 1 :]]
            assert max(shared, default=0) <= MAX_OVERLAP_MS
            running = sum(o.start_ms <= event.start_ms < o.end_ms for o in events)
            assert running <= 2


@profiles
def test_an_actor_does_one_thing_at_a_time(profile):
    for script in SCRIPTS[profile]:
        for index in range(len(script.actors)):
            spans = sorted((e.start_ms, e.end_ms) for e in motions(script) if index in (e.actor, e.other))
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@profiles
def test_nobody_who_is_labelled_is_invisible_or_out_of_the_frame(profile):
    for script in SCRIPTS[profile]:
        for event in script.events:
            rows = slice(event.start_ms // STEP_MS, event.end_ms // STEP_MS + 1)
            for index in {event.actor, event.other} - {None}:
                states = script.states[rows, index].astype(int)
                assert (states[:, 4] == 1000).all(), (script.video_id, event)
                reach = script.actors[index].radius * states[:, 2] // 1000
                assert ((states[:, 0] > -reach) & (states[:, 0] < 1000 + reach)).all()
                assert ((states[:, 1] > 0) & (states[:, 1] < 1000)).all()


@profiles
def test_coming_and_going_are_labelled_from_and_to_the_edge_of_the_frame(profile):
    for script in SCRIPTS[profile]:
        for event in script.events:
            visible = script.states[:, event.actor, 4]
            if event.verb == "enters":
                assert visible[event.start_ms // STEP_MS - 1] == 0 or event.start_ms == 0
            if event.verb == "leaves":
                assert visible[event.end_ms // STEP_MS + 1] == 0


@profiles
def test_everybody_is_seen_some_time(profile):
    assert all((script.states[:, :, 4] > 0).any(axis=0).all() for script in SCRIPTS[profile])


@profiles
def test_nobody_moves_without_an_event(profile):
    for script in SCRIPTS[profile]:
        for index in range(len(script.actors)):
            changed = (script.states[1:, index] != script.states[:-1, index]).any(axis=1)
            covered = np.zeros(len(changed), dtype=bool)
            for event in motions(script):
                if index in (event.actor, event.other):
                    # the unseen part of a coming or going, and the rest of a jump's slot, are still
                    covered[max(event.start_ms // STEP_MS - 50, 0) : event.end_ms // STEP_MS + 50] = True
            assert not (changed & ~covered).any()


def resting_pairs(script):
    """(a, b, distance across, distance up, steps) where both are visible and still for at least a second."""
    states = script.states.astype(int)
    for a in range(states.shape[1]):
        for b in range(a + 1, states.shape[1]):
            both = states[:, [a, b]]
            still = np.concatenate([[False], (both[1:] == both[:-1]).all(axis=(1, 2))])
            still &= (both[:, :, 4] > 0).all(axis=1)
            starts = np.flatnonzero(np.diff(np.concatenate([[0], still, [0]]).astype(int)))
            for first, last in starts.reshape(-1, 2):
                if last - first >= 10:
                    across, up = np.abs(both[first, 0, :2] - both[first, 1, :2])
                    yield a, b, across, up, (first, last)


@profiles
def test_who_rests_is_either_side_by_side_or_clearly_not(profile):
    for script in SCRIPTS[profile]:
        for _, _, across, up, _ in resting_pairs(script):
            assert np.hypot(across, up) >= 200  # or they would hide each other
            beside = np.hypot(across, up) <= NEAR
            assert beside or up >= SAME_HEIGHT or across >= APART_AT_SAME_HEIGHT


@profiles
def test_is_next_to_is_labelled_exactly_while_both_rest_beside_each_other(profile):
    for script in SCRIPTS[profile]:
        labelled = {(e.actor, e.other, e.start_ms, e.end_ms) for e in script.events if e.verb == "is next to"}
        seen = {
            (a, b, (first - 1) * STEP_MS, (last - 1) * STEP_MS)
            for a, b, across, up, (first, last) in resting_pairs(script)
            if np.hypot(across, up) <= NEAR and last - first >= 20
        }
        # one step more or less at the edges: a step is at rest when nothing moves on either side of it
        for one, others, shortest in ((labelled, seen, 0), (seen, labelled, 2200)):
            for a, b, start, end in one:
                if end - start >= shortest:
                    assert any(
                        (a, b) == other[:2] and abs(start - other[2]) <= 100 and abs(end - other[3]) <= 100
                        for other in others
                    )


@profiles
def test_motions_start_gently(profile):
    for script in SCRIPTS[profile]:
        for event in script.events:
            if event.verb in ("moves right", "moves left", "rises", "grows", "shrinks", "approaches"):
                first, last = event.start_ms // STEP_MS, event.end_ms // STEP_MS
                path = script.states[first : last + 1, event.actor, :3].astype(int)
                total = np.abs(path[-1] - path[0]).max()
                assert np.abs(path[1] - path[0]).max() <= max(0.06 * total, 2)


def test_the_first_event_starts_anywhere():
    starts = np.array([script.events[0].start_ms for script in SCRIPTS["open"]])
    assert len(set(starts.tolist())) > 20
    assert np.bincount(starts // 100).max() < 0.2 * len(starts)
    assert starts.std() > 800


@profiles
def test_the_cast_is_drawn_to_the_rules(profile):
    for script in SCRIPTS[profile]:
        looks = [(actor.colour, actor.shape) for actor in script.actors]
        assert len(set(looks)) == len(looks)
        assert any(
            (a[0] == b[0]) != (a[1] == b[1]) for k, a in enumerate(looks) for b in looks[k + 1 :]
        )  # so that a name needs both words
        assert all(125 <= actor.radius <= 150 for actor in script.actors)
        assert script.states[:, :, 2].min() >= 640  # no body is smaller than 80 thousandths across


def test_every_verb_happens_and_no_unseen_pair_does():
    events = [
        (s.actors[e.actor].shape, e.verb) for scripts in SCRIPTS.values() for s in scripts for e in s.events
    ]
    assert {verb for _, verb in events} == set(VERBS)
    assert set(MOTIONS) | {"is next to"} == set(VERBS)
    assert not set(events) & set(UNSEEN_PAIRS)


# ---- queries of the labels ------------------------------------------------------------------------


@profiles
def test_hard_verbs_are_at_most_15_percent_of_the_queries(profile):
    part = split("open", "train") if profile == "open" else split("kitchen", "test-iid", 15)
    hard = sum(query.extra["verb"] in HARD_VERBS for query in part.queries)
    assert 0 < hard <= 0.15 * len(part.queries)


# ---- knobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [24, 48, 96, 300])
@profiles
def test_duration(profile, duration):
    config = getattr(StageConfig, profile)(duration=duration)
    part = make_split("val", config, 1)
    assert part.scripts[0].duration == duration
    assert all(0 <= start < end <= duration for query in part.queries for start, end in query.moments)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_complexity(level):
    queries = make_split("val", StageConfig(complexity=(level,)), 25).queries
    assert len(queries) >= 10
    assert {query.extra["complexity"] for query in queries} == {level}


def test_actors():
    for number in (2, 3):
        scripts = make_split("val", StageConfig(actors=(number, number)), 5).scripts
        assert {len(script.actors) for script in scripts} == {number}


def test_a_higher_distractor_rate_repeats_more():
    def repeats(rate):
        scripts = make_split("val", StageConfig(actors=(3, 3), distractor_rate=rate), 40).scripts
        return sum(len(motions(s)) - len({e.verb for e in motions(s)}) for s in scripts)

    assert repeats(0.9) > 1.5 * repeats(0.0)


def test_seed_and_size():
    assert make_split("val", StageConfig(seed=1), 2).hash != split("open", "val", 2).hash
    assert len(make_split("val", StageConfig(sizes={"val": 3})).scripts) == 3


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"profile": "garden"}, "profile must be one of open, kitchen, not garden"),
        ({"duration": 25}, "duration must be one of 24, 48, 96, 300, not 25"),
        ({"complexity": (0,)}, "complexity must be one of 1, 2, 3, 4, not 0"),
        ({"complexity": ()}, "complexity must name at least one level"),
        ({"distractor_rate": 1.2}, r"distractor_rate must lie in 0..1, not 1.2"),
        ({"actors": (1, 2)}, r"actors must be two numbers from 2 to 3, not \(1, 2\)"),
        ({"actors": (3, 2)}, r"actors must be two numbers from 2 to 3, not \(3, 2\)"),
        ({"feature_noise": -1}, "feature_noise must be 0 or more, not -1"),
        ({"sizes": {"trian": 5}}, "sizes must be one of train, .*, not trian"),
        ({"sizes": {"train": -1}}, r"sizes\[train\] must be 0 videos or more, not -1"),
        ({"profile": "kitchen", "sizes": {"test-scene": 5}}, "sizes must be one of .*, not test-scene"),
    ],
)
def test_a_bad_knob_is_named_with_its_value(knobs, message):
    with pytest.raises(ValueError, match=message):
        StageConfig(**knobs)


def test_a_split_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"split must be one of train, .*, not test-scene"):
        make_split("test-scene", StageConfig.kitchen())
    with pytest.raises(
        ValueError, match=r"test-complex asks about levels 3 and 4, complexity has only \(1, 2\)"
    ):
        make_split("test-complex", StageConfig(complexity=(1, 2)))

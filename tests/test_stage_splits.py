"""The splits of Stage: enough queries, nothing shared, and no answer without looking."""

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from stage_splits import CONFIGS, split

from vmrlib.data.stage import StageConfig, make_split, parse
from vmrlib.data.stage.captions import (
    NOUNS,
    PHRASES,
    SCENE_PHRASES,
    UNSEEN_NOUNS,
    UNSEEN_PHRASES,
)
from vmrlib.data.stage.checker import Clause, matches
from vmrlib.data.stage.corpus import corpus_queries, paragraph
from vmrlib.data.stage.script import Choice
from vmrlib.data.stage.splits import KITCHEN_SIZES, OPEN_SIZES, SPLITS, has_distractor
from vmrlib.data.stage.subtitles import OBJECTS, PLACES, SMALL_TALK, slots, subtitle_lines
from vmrlib.data.stage.world import SCENES, UNSEEN_PAIRS, UNSEEN_SCENES, VERSION, Line
from vmrlib.metrics import recall_at
from vmrlib.moments import temporal_iou

# profile, split, queries and hash of the whole split, hash of its first 4 videos;
# `python tests/stage_splits.py` prints these. A change voids every result: it needs a new `world.VERSION`.
MEASURED = [
    ("open", "train", 3575, "036d764fa4db00f9", "ed6a4cd1785b3eff"),
    ("open", "val", 369, "7fe97e1cf45c2b50", "da61b61818c97473"),
    ("open", "test-iid", 870, "45d79b7641fd496e", "63365229a4f57a55"),
    ("open", "test-verb", 870, "ebb3fc97a64a2332", "796aa66a5768b8e7"),
    ("open", "test-noun", 1141, "d7bdf64a0166df08", "0f6acd1925303fab"),
    ("open", "test-composition", 870, "e41870f368640c9e", "d69d3bb68ed23ae4"),
    ("open", "test-scene", 885, "7c8a64db7e9477b6", "3211704718bf10cc"),
    ("open", "test-location", 870, "63d0ae91312e517d", "501f1737a661a4ed"),
    ("open", "test-long", 958, "5b7688b311e68c3e", "b1ba0c4317c11dd6"),
    ("open", "test-complex", 975, "1c6a28641b0bb25a", "3946085b66bc564b"),
    ("kitchen", "train", 2807, "0b606fee3ef84b15", "99a597a9e6f40aeb"),
    ("kitchen", "val", 370, "214af01636423541", "524582df82e65e61"),
    ("kitchen", "test-iid", 959, "6e61910eab9994e0", "b957e54efbf86672"),
    ("kitchen", "test-verb", 959, "8631104bbddc25a6", "8e1f6af6d9257b58"),
    ("kitchen", "test-noun", 869, "f388dcabfad5eb8c", "f44275f1eff3e351"),
    ("kitchen", "test-composition", 876, "51c89e0851d82c43", "f340e98cfff2e5e1"),
    ("kitchen", "test-location", 959, "afa4127d51684666", "c10a16d866866a95"),
    ("kitchen", "test-long", 904, "e4d2f6ac5229967b", "5b655ad1228533cc"),
    ("kitchen", "test-complex", 1031, "d9f490f0cebd4ea0", "267b107ae5aa9066"),
]
SEEN = [
    (profile, name) for profile, name, *_ in MEASURED if name not in ("test-scene", "test-noun", "test-verb")
]
FEW = 25  # videos, where a property holds for each query


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def clauses(query) -> list[Clause]:
    predicate = parse(query.text)
    return [predicate] if isinstance(predicate, Clause) else [predicate.first, predicate.second]


# ---- sizes and fingerprints -----------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "name", "queries", "whole", "first"), MEASURED)
def test_the_first_videos_are_those_of_version_1(profile, name, queries, whole, first):
    assert VERSION == 1
    assert split(profile, name, 4).hash == first


@pytest.mark.parametrize(
    ("profile", "name"), [("open", "train"), ("open", "test-iid"), ("open", "test-scene"), ("kitchen", "val")]
)
def test_whole_splits_are_those_of_version_1(profile, name):
    queries, whole = next(row[2:4] for row in MEASURED if row[:2] == (profile, name))
    part = split(profile, name)
    assert (len(part.queries), part.hash) == (queries, whole)


def test_every_test_split_has_at_least_800_queries():
    assert {(profile, name) for profile, name, *_ in MEASURED} == {
        *(("open", name) for name in OPEN_SIZES),
        *(("kitchen", name) for name in KITCHEN_SIZES),
    }
    assert set(OPEN_SIZES) == set(SPLITS) == {*KITCHEN_SIZES, "test-scene"}
    assert all(queries >= 800 for _, name, queries, *_ in MEASURED if name.startswith("test"))


def test_the_first_videos_of_a_split_do_not_depend_on_how_many_follow():
    assert split("open", "test-iid").scripts[3].events == split("open", "test-iid", 4).scripts[3].events
    four = split("open", "test-iid", 4).queries
    assert split("open", "test-iid").queries[: len(four)] == four


def test_the_hash_sees_timelines_lines_and_queries():
    part = make_split("val", n=2)
    before = part.hash
    script = part.scripts[0]
    changed = [
        replace(part, queries=part.queries[:-1]),
        replace(part, queries=[replace(part.queries[0], text="x"), *part.queries[1:]]),
        replace(part, scripts=[replace(script, lines=(Line("x", 0, 1),)), part.scripts[1]]),
        replace(part, scripts=[replace(script, states=script.states + 1), part.scripts[1]]),
        replace(part, scripts=[replace(script, events=script.events[:-1]), part.scripts[1]]),
    ]
    assert len({before, *(other.hash for other in changed)}) == 6
    assert part.provenance["hash"] == before
    assert part.provenance["stage"] == VERSION


# ---- nothing shared -------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", CONFIGS)
def test_no_video_of_one_split_is_a_video_of_another(profile):
    names = [name for name in CONFIGS[profile].sizes if name not in ("test-verb", "test-location")]
    parts = [split(profile, name, None if (profile, name) == ("open", "train") else 4) for name in names]
    ids = Counter(script.video_id for part in parts for script in part.scripts)
    content = Counter(
        (script.events, script.actors, script.scene) for part in parts for script in part.scripts
    )
    assert max(ids.values()) == max(content.values()) == 1


def test_no_whole_test_video_is_a_training_video():
    trained = {script.states.tobytes() for script in split("open", "train").scripts}
    assert len(trained) == 1000
    for name in ("test-iid", "test-scene", "val"):
        assert not trained & {script.states.tobytes() for script in split("open", name).scripts}


def test_query_ids_are_unique():
    for profile, name, *_ in MEASURED:
        ids = [query.id for query in split(profile, name, 4).queries]
        assert len(set(ids)) == len(ids)
        assert all(query_id.startswith(name) for query_id in ids)


def test_unseen_scenes_are_only_in_test_scene():
    assert {script.scene for script in split("open", "test-scene").scripts} == set(UNSEEN_SCENES)
    assert {s.scene for s in split("open", "train").scripts} == set(SCENES) - set(UNSEEN_SCENES)
    for profile, name in SEEN:
        assert not {script.scene for script in split(profile, name, 4).scripts} & set(UNSEEN_SCENES)


def test_each_unseen_scene_has_its_colour():
    for script in split("open", "test-scene").scripts:
        assert {"city": "red", "underwater": "blue"}[script.scene] in {
            actor.colour for actor in script.actors
        }


def test_unseen_pairs_are_only_in_test_composition_and_all_it_asks_for():
    for profile in CONFIGS:
        for query in split(profile, "test-composition", 30).queries:
            (clause,) = clauses(query)
            assert (clause.actor.shape, clause.verb) in UNSEEN_PAIRS
    asked = Counter(
        (clause.actor.shape, clause.verb)
        for query in split("open", "test-composition", 30).queries
        for clause in clauses(query)
    )
    assert set(asked) == set(UNSEEN_PAIRS)
    for part in (split("open", "train"), split("open", "test-iid"), split("kitchen", "test-iid", 15)):
        seen = {(clause.actor.shape, clause.verb) for query in part.queries for clause in clauses(query)}
        assert not seen & set(UNSEEN_PAIRS)
        assert {verb for _, verb in seen} == set(PHRASES)  # each half is common in training


def test_unseen_nouns_are_only_in_test_noun_where_every_name_is_one():
    new, old = ({noun for nouns in table.values() for noun in nouns} for table in (UNSEEN_NOUNS, NOUNS))
    for profile, name in SEEN:
        assert not any(words(query.text) & new for query in split(profile, name, 4).queries)
    for profile in CONFIGS:
        for query in split(profile, "test-noun", 10).queries:
            assert words(query.text) & new
            assert not words(query.text) & old


def test_in_test_noun_somebody_in_sight_shares_the_colour_and_has_another_shape():
    for profile in CONFIGS:
        part = split(profile, "test-noun", 10)
        for query in part.queries:
            script, (clause,) = part.script_of[query.video_id], clauses(query)
            rivals = [
                index
                for index, actor in enumerate(script.actors)
                if actor.colour == clause.actor.colour and actor.shape != clause.actor.shape
            ]
            assert any(script.states[:, index, 4].any() for index in rivals)


def test_unseen_synonyms_are_only_in_test_verb_where_every_verb_is_one():
    known = words(" ".join(text for texts in PHRASES.values() for text in texts))
    new = words(" ".join(text for texts in UNSEEN_PHRASES.values() for text in texts)) - known
    for profile, name in SEEN:
        assert not any(words(query.text) & new for query in split(profile, name, 4).queries)
    for profile in CONFIGS:
        for query in split(profile, "test-verb", 8).queries:
            parts = re.split(r",? (?:then|before|while) ", query.text)
            assert all(words(part) & new for part in parts), query.text


def test_test_verb_asks_about_the_videos_of_test_iid():
    iid, verb = split("open", "test-iid", FEW), split("open", "test-verb", FEW)
    assert [s.states.tobytes() for s in iid.scripts] == [s.states.tobytes() for s in verb.scripts]
    assert [query.moments for query in iid.queries] == [query.moments for query in verb.queries]


@pytest.mark.parametrize(("profile", "shift"), [("open", 10.0), ("kitchen", 40.0)])
def test_test_location_is_test_iid_with_stillness_in_front(profile, shift):
    iid, moved = split(profile, "test-iid", 4), split(profile, "test-location", 4)
    for a, b in zip(iid.scripts, moved.scripts, strict=True):
        assert b.duration == a.duration + shift
        assert (b.states[: round(10 * shift) + 1] == a.states[0]).all()
        assert (b.states[round(10 * shift) :] == a.states).all()
    for a, b in zip(iid.queries, moved.queries, strict=True):
        assert b.text == a.text
        assert b.moments == tuple((start + shift, end + shift) for start, end in a.moments)
        assert matches(parse(b.text), moved.script_of[b.video_id]) == list(b.moments)


def test_test_long_is_longer_and_test_complex_more_complex():
    assert {query.duration for query in split("open", "test-long", 4).queries} == {96}
    assert {query.duration for query in split("kitchen", "test-long", 4).queries} == {300}
    for profile in CONFIGS:
        levels = {query.extra["complexity"] for query in split(profile, "test-complex", 10).queries}
        assert levels == {3, 4}


# ---- not without looking --------------------------------------------------------------------------


def truths(part):
    return [torch.tensor(query.moments, dtype=torch.float64) for query in part.queries]


def best_windows(part, key):
    """The window on a grid of 1/24 of the duration that hits most training queries, for each key."""
    edges = torch.linspace(0, 1, 25, dtype=torch.float64)
    first, last = torch.triu_indices(25, 25, offset=1)
    windows = torch.stack([edges[first], edges[last]], dim=1)
    hits = {}
    for query, true in zip(part.queries, truths(part), strict=True):
        hit = (temporal_iou(windows, true / query.duration)[:, 0] >= 0.5).double()
        hits[key(query)] = hits.get(key(query), 0) + hit
    return {value: windows[count.argmax()] for value, count in hits.items()}


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        (lambda query: None, 25),
        (lambda query: query.extra["verb"], 30),
        (lambda query: (query.extra["verb"], query.extra["complexity"]), 30),
    ],
    ids=["constant", "verb", "verb and complexity"],
)
@pytest.mark.parametrize("profile", CONFIGS)
def test_the_best_window_the_sentence_alone_can_give_is_poor(profile, key, limit):
    n_train, n_test = (None, None) if profile == "open" else (40, 15)
    train, test = split(profile, "train", n_train), split(profile, "test-iid", n_test)
    chosen = best_windows(train, key)
    answers = [chosen.get(key(query), torch.tensor([0.2, 0.5]))[None].double() for query in test.queries]
    answers = [answer * query.duration for answer, query in zip(answers, test.queries, strict=True)]
    score = recall_at(answers, truths(test), iou=0.5)
    print(f"{profile}: {score:.1f}")
    assert score <= limit


@pytest.mark.parametrize("profile", CONFIGS)
def test_a_random_true_event_is_right_in_at_most_35_percent(profile):
    test = split(profile, "test-iid", None if profile == "open" else 15)
    total = 0.0
    for query, true in zip(test.queries, truths(test), strict=True):
        events = [event.moment for event in test.script_of[query.video_id].events]
        hit = temporal_iou(torch.tensor(events, dtype=torch.float64), true)[:, 0] >= 0.5
        total += hit.double().mean().item()
    print(f"{profile}: {100 * total / len(test.queries):.1f}")
    assert 100 * total / len(test.queries) <= 35


@pytest.mark.parametrize("profile", CONFIGS)
def test_at_least_60_percent_of_the_queries_have_a_distractor(profile):
    test = split(profile, "test-iid", None if profile == "open" else 15)
    having, strict = 0, 0
    for query in test.queries:
        script = test.script_of[query.video_id]
        having += has_distractor(query, script)
        # Strictly: another event of the same verb, or another one of the very same actor.
        verbs = Counter(event.verb for event in script.events)
        busy = Counter(event.actor for event in script.events)
        (clause, *_) = clauses(query)
        actors = [index for index in range(len(script.actors)) if clause.actor.fits(script, index)]
        strict += verbs[clause.verb] > 1 or any(busy[index] > 1 for index in actors)
    assert having / len(test.queries) >= 0.6
    assert strict / len(test.queries) >= 0.6


def test_queries_per_video_are_as_the_profiles_say():
    part = split("open", "train")
    assert 3 <= len(part.queries) / len(part.scripts) <= 4
    assert len(split("kitchen", "test-iid", 15).queries) / 15 >= 8
    for query in part.queries:
        ((start, end),) = query.moments
        assert 1.5 <= end - start <= 0.6 * query.duration


def test_no_video_asks_the_same_twice():
    for part in (split("open", "train"), split("kitchen", "test-iid", 15)):
        assert max(Counter((query.video_id, query.text) for query in part.queries).values()) == 1


def test_each_joining_word_is_asked():
    texts = " ".join(query.text for query in split("open", "train").queries)
    assert all(texts.count(f" {word} ") >= 80 for word in ("then", "before", "while"))


# ---- subtitles and the corpus ---------------------------------------------------------------------


def test_no_line_that_can_be_asked_for_occurs_twice_in_a_split():
    texts = [
        line.text
        for number in range(3200)
        for line in subtitle_lines(number, 24_000, Choice(str(number)))
        if line.text not in SMALL_TALK
    ]
    assert len(texts) == 3200 + 3200 * 3 // 4
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("n", [100, 250, 1000])
def test_each_thing_is_named_in_3_to_5_percent_of_the_videos(n):
    named = Counter()
    for number in range(n):
        things = [slots(2 * number + k)[1] for k in range(2 if number % 4 else 1)]
        assert len(set(things)) == len(things)
        named.update(things)
    assert set(named) == set(OBJECTS)
    assert len(PLACES) == 20
    assert all(0.03 <= count / n <= 0.05 for count in named.values())


def test_lines_lie_inside_the_video_and_do_not_overlap():
    for script in [*split("open", "test-iid").scripts[:30], *split("kitchen", "test-iid", 4).scripts]:
        times = [time for line in script.lines for time in (line.start_ms, line.end_ms)]
        assert len(script.lines) == 4
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= script.duration_ms
        named = [line for line in script.lines if line.text not in SMALL_TALK]
        number = int(script.video_id[-4:])
        assert len(named) == (2 if number % 4 else 1)


@pytest.fixture(scope="module")
def corpus():
    return split("open", "test-iid"), corpus_queries(split("open", "test-iid"))


def test_corpus_queries_are_60_25_and_15_percent(corpus):
    _, queries = corpus
    share = {kind: sum(query.kind == kind for query in queries) / len(queries) for kind in ("v", "vt", "t")}
    assert len(queries) >= 240
    assert share["v"] == pytest.approx(0.60, abs=0.02)
    assert share["vt"] == pytest.approx(0.25, abs=0.02)
    assert share["t"] == pytest.approx(0.15, abs=0.02)


def test_corpus_queries_have_exactly_the_positives_their_words_describe(corpus):
    part, queries = corpus
    for query in queries[::3]:
        expected = []
        for script in part.scripts:
            where = SCENE_PHRASES[script.scene]
            told = re.search(r"talks about the (\w+)", query.text)
            lines = [line for line in script.lines if told and f" the {told[1]} at " in line.text]
            if query.kind == "t":
                expected += [(script.video_id, (line.start_ms / 1000, line.end_ms / 1000)) for line in lines]
            elif query.kind == "vt" and lines:
                sentence = query.text.partition(" in the video where")[0]
                expected += [(script.video_id, span) for span in matches(parse(sentence), script)]
            elif query.kind == "v" and query.text.lower().startswith(where + ", "):
                sentence = query.text.partition(", ")[2]
                expected += [(script.video_id, span) for span in matches(parse(sentence), script)]
        assert sorted(query.positives) == sorted(expected)
        assert query.positives


def test_in_a_query_of_video_and_subtitle_the_line_decides(corpus):
    part, queries = corpus
    for query in queries:
        if query.kind == "vt":
            predicate = parse(query.text.partition(" in the video where")[0])
            fitting = {script.video_id for script in part.scripts if matches(predicate, script)}
            assert len(fitting) > 1


def test_a_paragraph_tells_all_events_in_order():
    scripts = split("open", "test-iid").scripts
    for script in scripts[:40]:
        where, *sentences = paragraph(script).rstrip(".").split(". ")
        assert where.lower() == SCENE_PHRASES[script.scene]
        assert [parse(sentence).verb for sentence in sentences] == [event.verb for event in script.events]
    assert len({paragraph(script) for script in scripts}) == len(scripts)


def test_a_split_without_complex_levels_asks_no_joined_query():
    part = make_split("val", StageConfig(complexity=(1, 2)), 12)
    assert {query.extra["complexity"] for query in part.queries} == {1, 2}
    assert all(isinstance(parse(query.text), Clause) for query in part.queries)

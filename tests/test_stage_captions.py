"""Sentences and predicates are each other's inverse; captions of a frame never tell of motion."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_splits import split

from vmrlib.data.stage import parse
from vmrlib.data.stage.captions import (
    NOUNS,
    PHRASES,
    TRAINING,
    UNSEEN_NOUN_STYLE,
    UNSEEN_NOUNS,
    UNSEEN_PHRASES,
    UNSEEN_VERB_STYLE,
    realise,
    static_caption,
    vocabulary,
)
from vmrlib.data.stage.checker import Clause, Joined, Who
from vmrlib.data.stage.script import Choice
from vmrlib.data.stage.world import COLOURS, SHAPES, VERBS
from vmrlib.models.stage_clip import sample

who = st.builds(Who, st.sampled_from([None, *COLOURS]), st.sampled_from(SHAPES))
clause = st.sampled_from(sorted(VERBS)).flatmap(
    lambda verb: st.builds(Clause, st.just(verb), who, who if VERBS[verb] else st.none())
)
predicate = clause | st.builds(Joined, clause, st.sampled_from(["then", "before", "while"]), clause)
styles = st.sampled_from([TRAINING, UNSEEN_VERB_STYLE, UNSEEN_NOUN_STYLE])


def words(texts) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"{\w}", " ", " ".join(texts).lower())))


def all_of(table) -> list[str]:
    return [text for texts in table.values() for text in texts]


@given(predicate, styles, st.integers(0, 10**6))
def test_a_sentence_is_read_back_as_its_predicate(wanted, style, seed):
    text = realise(wanted, Choice(str(seed)), style)
    assert text[0].isupper() and text.endswith(".")
    assert parse(text) == wanted
    assert parse(text.upper().rstrip(".")) == wanted


def test_no_sentence_means_two_things():
    templates = {}
    for table in (PHRASES, UNSEEN_PHRASES):
        for verb, texts in table.items():
            for text in texts:
                assert templates.setdefault(text, verb) == verb


def test_the_passive_swaps_the_roles():
    chase = Clause("chases", Who("red", "star"), Who(None, "circle"))
    assert parse("The circle is chased by the red star.") == chase
    assert parse("The red star runs after the ball.") == chase


@pytest.mark.parametrize("text", ["", "The red star.", "The pink star jumps.", "The red star jumps twice."])
def test_what_is_no_sentence_of_stage_is_quoted(text):
    with pytest.raises(ValueError, match=re.escape(f'in "{text}"')):
        parse(text)


# ---- words ----------------------------------------------------------------------------------------


def test_the_vocabulary_has_every_training_word_and_no_unseen_one():
    known = set(vocabulary())
    assert list(vocabulary()) == sorted(known)
    for part in (split("open", "train"), split("kitchen", "test-iid", 15)):
        assert words(query.text for query in part.queries) <= known
    new = (words(all_of(UNSEEN_PHRASES)) - words(all_of(PHRASES))) | words(all_of(UNSEEN_NOUNS))
    assert not new & known


def test_every_unseen_phrase_and_noun_brings_a_new_word():
    known = set(vocabulary())
    for text in all_of(UNSEEN_PHRASES) + all_of(UNSEEN_NOUNS):
        assert words([text]) - known, text
    assert not words(all_of(NOUNS)) & words(all_of(UNSEEN_NOUNS))


# ---- captions of a frame --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captions():
    choice = Choice("captions")
    scripts = split("open", "train").scripts[:150] + split("kitchen", "test-iid", 15).scripts
    texts = [static_caption(script, time, choice) for script in scripts for time in (3.0, 11.5, 20.0)]
    return [text for text in texts if text is not None]


def test_a_static_caption_never_tells_of_motion(captions):
    # What verbs share with places ("to the right", "side by side", "up") is not what makes them verbs.
    places = {"the", "to", "right", "left", "in", "from", "of", "up", "down", "on", "and", "a", "is", "next"}
    telling = words(all_of(PHRASES) + all_of(UNSEEN_PHRASES)) - places
    assert {"jumps", "chases", "goes"} <= telling
    assert not words(captions) & telling
    assert words(captions) <= set(vocabulary())


def test_static_captions_fit_into_the_context_of_24_tokens(captions):
    assert len(set(captions)) > 100
    assert max(len(text.split()) for text in captions) + 2 <= 24


def test_static_captions_are_true_of_their_frame():
    for number in range(40):
        script, time, texts = sample(number)
        states = script.states_at(np.array([time]))[0]
        for text in texts:
            for colour, noun in re.findall(rf"({'|'.join(COLOURS)}) (\w+)", text):
                shape = next(shape for shape, nouns in NOUNS.items() if noun in nouns)
                index = [(actor.colour, actor.shape) for actor in script.actors].index((colour, shape))
                assert states[index, 4] == 1
                if f"{colour} {noun} on the left" in text:
                    assert states[index, 0] < 0.4
                if f"{colour} {noun} on the right" in text:
                    assert states[index, 0] > 0.6
            related = re.fullmatch(r"a .*?(\w+) (\w+) (left of|right of|above|below) a .*?(\w+) (\w+)", text)
            if related:
                looks = [(actor.colour, actor.shape) for actor in script.actors]
                shape_of = {noun: shape for shape, nouns in NOUNS.items() for noun in nouns}
                a, b = (states[looks.index((related[k], shape_of[related[k + 1]]))] for k in (1, 4))
                axis, sign = {
                    "left of": (0, -1),
                    "right of": (0, 1),
                    "above": (1, -1),
                    "below": (1, 1),
                }[related[3]]
                assert sign * (a[axis] - b[axis]) >= 0

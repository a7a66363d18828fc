"""The small word-vector table: one knob says how near an unseen word lies to what it means."""

import re

import pytest
import torch

from vmrlib.data.stage.captions import UNSEEN_NOUNS, UNSEEN_PHRASES, vocabulary
from vmrlib.data.stage.words import word_vectors

KIN = {
    "disc": "circle",
    "box": "square",
    "pyramid": "triangle",
    "starfish": "star",
    "heads": "moves",
    "rightwards": "right",
    "leftwards": "left",
    "ascends": "rises",
    "plunges": "falls",
    "leaps": "jumps",
    "swells": "grows",
    "dwindles": "shrinks",
    "arrives": "enters",
    "exits": "leaves",
    "pursues": "chases",
    "nears": "approaches",
    "alongside": "next",
    "twirls": "spins",
    "wobbles": "shakes",
}


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("dim", [16, 50])
def test_an_unseen_word_has_the_cosine_asked_for_with_what_it_means(cosine, dim):
    table = word_vectors(cosine, dim)
    for word, kin in KIN.items():
        assert (table[word] @ table[kin]).item() == pytest.approx(cosine, abs=1e-5), word


def test_every_vector_has_length_one_and_every_word_a_vector():
    table = word_vectors()
    assert all(vector.norm().item() == pytest.approx(1, abs=1e-5) for vector in table.values())
    texts = [text for unseen in (UNSEEN_PHRASES, UNSEEN_NOUNS) for words in unseen.values() for text in words]
    needed = set(vocabulary()) | set(re.findall(r"[a-z]+", re.sub(r"{\w}", " ", " ".join(texts))))
    assert needed <= set(table)


def test_known_words_do_not_depend_on_the_knob_and_are_far_apart():
    near, far = word_vectors(0.9), word_vectors(0.0)
    known = torch.stack([near[word] for word in vocabulary()])
    assert torch.equal(known, torch.stack([far[word] for word in vocabulary()]))
    cosines = known @ known.T - torch.eye(len(known))
    assert cosines.abs().max() < 0.65
    assert cosines.mean().abs() < 0.05


def test_two_calls_give_the_same_table():
    assert all(
        torch.equal(vector, word_vectors()[word]) for word, vector in list(word_vectors().items())[::9]
    )


@pytest.mark.parametrize("cosine", [-0.1, 1.1])
def test_a_cosine_out_of_range_is_named(cosine):
    with pytest.raises(ValueError, match=f"synonym_cosine must lie in 0..1, not {cosine}"):
        word_vectors(cosine)

"""Words, vectors and phrases: values worked by hand, and files that are not as they should be."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib import text as text_module
from vmrlib.text import (
    TextError,
    Vocabulary,
    WordVectors,
    cached_phrases,
    clean,
    phrases_of,
    read_glove,
    static_dynamic,
    tokenize,
)

GLOVE = "the 1 2\n. . 3 4\n<unk> 5 6\nknife 0.5 -0.25\nthe 9 9\n"


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.2d.txt"
    path.write_text(GLOVE, encoding="utf-8", newline="\n")
    return path


def test_punctuation_becomes_space_and_apostrophes_stay():
    assert clean("He's (very) quick; isn't he/she?") == "He's  very  quick  isn't he she "
    assert tokenize('"Cut" it: now - slowly & well!') == ["cut", "it:", "now", "slowly", "well"]
    assert tokenize(" .,;! ") == []


@given(st.text())
def test_tokens_are_lower_case_and_hold_no_space_or_punctuation(sentence):
    for token in tokenize(sentence):
        assert token == token.lower()
        assert not set(token) & set(' ,/"-;.&?!()')


def test_an_unknown_word_has_the_last_index_or_the_given_one():
    words = ["PAD", "the", "knife", "UNK"]
    assert Vocabulary(words)(["the", "fork", "knife"]) == [1, 3, 2]
    assert Vocabulary(words, unknown=1513)(["the", "fork"]) == [1, 1513]
    assert len(Vocabulary(words)) == 4 and "the" in Vocabulary(words) and "fork" not in Vocabulary(words)


def test_a_vocabulary_names_the_word_that_occurs_twice():
    with pytest.raises(TextError, match="'b' occurs twice"):
        Vocabulary(["a", "b", "b"])


def test_glove_tokens_may_hold_spaces_and_the_first_of_two_counts(glove):
    words, vectors = read_glove(glove)
    assert words == ["the", ". .", "<unk>", "knife"]
    assert vectors.tolist() == [[1, 2], [3, 4], [5, 6], [0.5, -0.25]]


def test_a_word_without_vector_gives_zeros(glove):
    vectors = WordVectors.from_text(glove)
    assert vectors(["knife", "fork"]).tolist() == [[0.5, -0.25], [0.0, 0.0]]
    assert vectors.rows(["the", "fork"]).tolist() == [0, 4]
    assert vectors([]).shape == (0, 2)
    assert vectors.dim == 2 and "knife" in vectors and "fork" not in vectors


def test_a_selection_is_read_again_from_its_own_file(glove, monkeypatch):
    first = WordVectors.from_text(glove, {"knife", "the", "fork"})
    assert first.vocabulary.words == ("the", "knife")
    monkeypatch.setattr(text_module, "read_glove", lambda *_: pytest.fail("the file was read again"))
    again = WordVectors.from_text(glove, ["fork", "the", "knife"])
    assert again.vocabulary.words == first.vocabulary.words and torch.equal(again.table, first.table)
    assert sorted(path.suffix for path in glove.parent.iterdir()) == [".npz", ".txt"]


def test_a_changed_file_is_not_taken_from_its_selection(glove):
    WordVectors.from_text(glove, ["knife"])
    glove.write_text(GLOVE.replace("0.5", "0.125"), encoding="utf-8", newline="\n")
    assert WordVectors.from_text(glove, ["knife"])(["knife"])[0, 0] == 0.125


def test_no_file_is_left_where_none_is_wanted(glove):
    WordVectors.from_text(glove, ["knife"], cache=False)
    assert [path.name for path in glove.parent.iterdir()] == [glove.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("word\n", "line 1: expected a word and 1 numbers"),
        ("a 1 2\nb 3\n", "line 2: expected a word and 2 numbers"),
        ("a 1 2\nb 3 x\n", "line 2: could not convert string to float"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, content, message):
    path = tmp_path / "wrong.txt"
    path.write_text(content)
    with pytest.raises(TextError, match=f"wrong.txt, {message}" if "line" in message else message):
        read_glove(path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "packed.txt"
    path.write_bytes(b"a 1 2\n\xff\xfe 1 2\n")
    with pytest.raises(TextError, match=r"packed.txt, line \d: .*decode"):
        read_glove(path)


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_damaged_npz_is_named(tmp_path, content):
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(TextError, match=r"v.npz: not an npz file"):
        WordVectors.from_npz(tmp_path / "v.npz")


def test_an_npz_that_does_not_fit_is_named(tmp_path):
    np.savez(tmp_path / "v.npz", words=np.array(["a", "b"]), vectors=np.zeros((3, 2)))
    with pytest.raises(TextError, match=r"2 words but vectors of shape \(3, 2\)"):
        WordVectors.from_npz(tmp_path / "v.npz")


def test_real_subsets_of_glove_load(mirror):
    paths = sorted((mirror / "word_vectors").glob("*.npz"))
    assert paths
    for path in paths:
        vectors = WordVectors.from_npz(path)
        assert vectors.dim == 300 and not vectors.table[-1].any()
        he, she, pan = vectors(["he", "she", "pan"])
        assert torch.cosine_similarity(he, she, dim=0) > torch.cosine_similarity(he, pan, dim=0), path.name


# Ten sentences of real data, their tags judged by hand: static words | dynamic words.
SENTENCES = {
    "The person cuts the ends off the onion and then peels it": "person ends onion | cuts off then peels",
    "The person adds salt and pepper": "person salt pepper | adds",
    "She cuts the good part from the pit": "good part pit | cuts from",
    "He put water in pot": "water pot | put in",
    "The person washes the chopping board and the knife": "person chopping board knife | washes",
    "person sits on a bed": "person bed | sits on",
    "person begins sitting on the sofa": "person sofa | begins sitting on",
    "person throw the bag": "person bag | throw",
    "person they put the box on a bed": "person box bed | put on",
    "the person opens the refrigerator removes food": "person refrigerator food | opens removes",
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_static_words_name_things_and_dynamic_words_what_happens(sentence):
    phrases = static_dynamic(sentence)
    assert f"{' '.join(phrases.static)} | {' '.join(phrases.dynamic)}" == SENTENCES[sentence]
    assert " ".join(word for word, _ in phrases.tags) == sentence.lower()


@pytest.mark.parametrize(
    ("sentence", "dynamic"),
    [
        ("the dog is chased by the cat", "chased by"),  # an auxiliary beside a full verb
        ("the dog is in the house", "is in"),  # the only verb of its clause
        ("she is happy and he runs", "is runs"),  # one clause has a full verb, the other has none
        ("he doesn't open it", "open"),
        ("a person laughing at the sink", "laughing at"),  # the tagger's errors, corrected
        ("person turn off the light", "turn off"),
        ("he walks to the open door", "walks to"),
        ("it is his turn", "is"),
        ("it's on the table and they're sitting", "on sitting"),
        ("", ""),
        ("!?", ""),
    ],
)
def test_verbs_count_unless_they_only_help(sentence, dynamic):
    assert " ".join(static_dynamic(sentence).dynamic) == dynamic


def test_prepositions_can_be_left_out():
    assert static_dynamic("person sits on a bed", prepositions=False).dynamic == ("sits",)


def test_numbers_are_static_and_articles_are_nothing():
    phrases = phrases_of([("two", "CRD"), ("the", "AT0"), ("it", "PNP"), ("second", "ORD"), ("and", "CJC")])
    assert (phrases.static, phrases.dynamic) == (("two", "second"), ())


def test_tags_are_kept_with_the_taggers_name_and_read_without_it(tmp_path, monkeypatch):
    path = tmp_path / "tags.json"
    first = cached_phrases(["person sits on a bed", "He put water in pot"], path)
    assert json.loads(path.read_text())["tagger"].startswith("HanTa ")
    monkeypatch.setattr(text_module, "tag", lambda _: pytest.fail("tagged again"))
    monkeypatch.setattr(text_module, "tagger_name", lambda: "another tagger")
    assert cached_phrases(["He put water in pot"], path) == {
        "He put water in pot": first["He put water in pot"]
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["tags.json"]
    with pytest.raises(TextError, match=r"tagged by HanTa .*, but another tagger is installed"):
        cached_phrases(["something new"], path)


def test_new_texts_are_added_to_the_file(tmp_path):
    path = tmp_path / "tags.json"
    cached_phrases(["he runs"], path)
    cached_phrases(["she runs"], path)
    assert list(json.loads(path.read_text())["tags"]) == ["he runs", "she runs"]


@pytest.mark.parametrize("content", ["", "[]", '{"tagger": "HanTa", "tags": {"a": [["a"]]}}', '{"tags": {}}'])
def test_a_damaged_file_of_tags_is_named(tmp_path, content):
    path = tmp_path / "tags.json"
    path.write_text(content)
    with pytest.raises(TextError, match=r"tags.json: not a file of tags"):
        cached_phrases(["he runs"], path)

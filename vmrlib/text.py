"""Text of queries: words, vocabularies, word vectors, and which words are static and which dynamic."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vmrlib.data.files import put, write_text

PUNCTUATION = str.maketrans(dict.fromkeys(',/"-;.&?!()', " "))


class TextError(ValueError):
    """A file of words, vectors or tags that cannot be used; the message names file and line."""


def clean(sentence: str) -> str:
    """The sentence with a space for each of `, / " - ; . & ? ! ( )`; apostrophes and colons stay.

    As the released code of MSAT does it (section 2.2 of its data pipeline).
    """
    return sentence.translate(PUNCTUATION)


def tokenize(sentence: str) -> list[str]:
    """Lower-case words of the cleaned sentence."""
    return clean(sentence).lower().split()


def plain_words(text: str) -> list[str]:
    """Lower-case words and numbers of a text; all punctuation is dropped but the apostrophe within a word."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower())


class Vocabulary:
    """Index of each word of a list; every other word has the index `unknown`, by default the last one.

    MSAT's lists begin with PAD and end with UNK, so that the label of an unknown word is V - 1.
    """

    def __init__(self, words: Sequence[str], unknown: int | None = None):
        self.words = tuple(words)
        self.index = {word: index for index, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            twice = next(word for index, word in enumerate(self.words) if self.index[word] != index)
            raise TextError(f"vocabulary: {twice!r} occurs twice")
        self.unknown = len(self.words) - 1 if unknown is None else unknown

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def __call__(self, tokens: Iterable[str]) -> list[int]:
        return [self.index.get(token, self.unknown) for token in tokens]


class WordVectors:
    """A fixed vector per word, and zeros for a word that has none.

    `table` (V + 1, D) ends with the row of zeros, so that row V stands for unknown words, as index 400000
    does for glove.6B.
    """

    def __init__(self, words: Sequence[str], vectors: Float[np.ndarray, "V D"]):
        self.vocabulary = Vocabulary(words, unknown=len(words))
        vectors = torch.from_numpy(np.asarray(vectors, dtype=np.float32))
        self.table: Float[Tensor, "rows D"] = torch.cat([vectors, vectors.new_zeros(1, vectors.shape[1])])

    @property
    def dim(self) -> int:
        return self.table.shape[1]

    def __contains__(self, word: str) -> bool:
        return word in self.vocabulary

    def rows(self, tokens: Iterable[str]) -> Int[Tensor, " L"]:
        """Rows of `table`."""
        return torch.tensor(self.vocabulary(tokens), dtype=torch.long)

    def __call__(self, tokens: Iterable[str]) -> Float[Tensor, "L D"]:
        """One vector per token."""
        return self.table[self.rows(tokens)]

    @classmethod
    def from_npz(cls, path: str | Path) -> "WordVectors":
        """Vectors of a file with the arrays `words` (V,) and `vectors` (V, D)."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                words, vectors = arrays["words"].tolist(), arrays["vectors"]
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged zip shows itself in many ways
            raise TextError(f"{path}: not an npz file with `words` and `vectors` ({error})") from error
        if vectors.ndim != 2 or len(words) != len(vectors):
            raise TextError(f"{path}: {len(words)} words but vectors of shape {vectors.shape}")
        return cls(words, vectors)

    @classmethod
    def from_text(
        cls, path: str | Path, words: Iterable[str] | None = None, cache: bool = True
    ) -> "WordVectors":
        """Vectors of a GloVe text file, only of `words` if given.

        A selection is kept in an npz file beside the text file and read from there the next time.
        """
        path = Path(path)
        if words is None:
            return cls(*read_glove(path))
        words, stat = set(words), path.stat()
        key = json.dumps([sorted(words), stat.st_size, stat.st_mtime_ns])
        kept = path.with_name(f"{path.stem}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz")
        if cache and kept.is_file():
            return cls.from_npz(kept)
        found, vectors = read_glove(path, words)
        if cache:
            temporary = kept.with_name(f"{kept.name}.{os.getpid()}.part")
            with temporary.open("wb") as file:
                np.savez(file, words=np.array(found, dtype=np.str_), vectors=vectors)
            put(temporary, kept)
        return cls(found, vectors)


def read_glove(path: str | Path, words: set[str] | None = None) -> tuple[list[str], Float[np.ndarray, "V D"]]:
    """Words and vectors of a GloVe text file, in its order; only those in `words` if given.

    The first line tells the dimension; a token may hold spaces (glove.840B has some); of a repeated token
    the first counts. Raises TextError that names file and line.
    """
    found: dict[str, np.ndarray] = {}
    number, dim = 0, 0
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip(" \r\n")
                dim = dim or line.count(" ")
                word, *values = line.rsplit(" ", dim)
                if dim == 0 or len(values) != dim:
                    raise TextError(f"{path}, line {number}: expected a word and {max(dim, 1)} numbers")
                if (words is None or word in words) and word not in found:
                    found[word] = np.array(values, dtype=np.float32)
    except TextError:
        raise
    except ValueError as error:
        raise TextError(f"{path}, line {max(number, 1)}: {error}") from error
    if number == 0:
        raise TextError(f"{path}: the file is empty")
    return list(found), np.stack(list(found.values())) if found else np.zeros((0, dim), np.float32)


# Static and dynamic phrases

CLAUSE_BREAKS = {"and", "or", "but", "then", "while", "as", "before", "after", "when"}
# Prefixes of the tags of the British National Corpus, C5: PRP is a preposition, VV a full verb.
STATIC_TAGS = ("NN", "NP", "AJ", "CRD", "ORD")
VERB_TAGS = ("VV", "VB", "VD", "VH", "VM")
PREPOSITION_TAGS = ("PRP", "PRF", "TO0")
DYNAMIC_TAGS = (*VERB_TAGS, "AV", "XX0", *PREPOSITION_TAGS)
# What the tagger gets wrong in sentences about everyday actions: full verbs, unless the word before says
# that a noun or an adjective stands here.
ALWAYS_NOUNS = {"sink"}
SHORTENED = {"he", "i", "it", "she", "that", "there", "they", "we", "who", "you"}  # it's, they're
MOSTLY_VERBS = {
    "close", "laugh", "laughing", "open", "opening", "sneezing", "tidy", "turn", "undressing",
}  # fmt: skip
BEFORE_NO_VERB = ("AT0", "DT0", "DPS", "AJ", "VB")


@dataclass(frozen=True)
class Phrases:
    """The words of a sentence that name things and those that name what happens, in original order.

    static: nouns, adjectives, numbers; dynamic: verbs, adverbs, particles, prepositions. Articles,
    pronouns and conjunctions are in neither. `tags` holds every word with its C5 tag.
    """

    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def _tagger():
    from HanTa.HanoverTagger import HanoverTagger  # only parsing needs it: 0.2 s and 14 MB

    return HanoverTagger("morphmodel_en.pgz")


def tagger_name() -> str:
    """Name, version and model of the part-of-speech tagger."""
    return f"HanTa {version('HanTa')} morphmodel_en"


def tag(text: str) -> tuple[tuple[str, str], ...]:
    """Lower-case words of a text, punctuation dropped, with their C5 tags."""
    words = plain_words(text)
    tagged = [(word, tag) for word, _, tag in _tagger().tag_sent(words)] if words else []
    corrected = []
    for index, (word, kind) in enumerate(tagged):
        before = corrected[-1][1] if corrected else ""
        after = tagged[index + 1][0] if index + 1 < len(tagged) else ""
        if word in ALWAYS_NOUNS:
            kind = "NN1"
        elif word.endswith("n't"):
            kind = "VM0"
        elif "'" in word and word.split("'")[0] in SHORTENED:
            kind = "PNP"
        elif word in MOSTLY_VERBS and not kind.startswith("VV") and not before.startswith(BEFORE_NO_VERB):
            kind = "AV0" if (word, after) == ("close", "to") else "VVB"
        corrected.append((word, kind))
    return tuple(corrected)


def lemma(word: str, kind: str) -> str:
    """The dictionary form of a word that `tag` gave this kind, in lower case: `cuts` as `cut`."""
    return _tagger().analyze(word, pos=kind)[0].lower()


def static_dynamic(text: str, prepositions: bool = True) -> Phrases:
    """Static and dynamic words of a text (VDI, query parsing).

    be, have, do and modals are left out where their clause has a full verb. `prepositions` says whether
    prepositions count as dynamic.
    """
    return phrases_of(tag(text), prepositions)


def phrases_of(tags: Sequence[tuple[str, str]], prepositions: bool = True) -> Phrases:
    """Static and dynamic words of a text that has been tagged."""
    clause = np.cumsum([word in CLAUSE_BREAKS for word, _ in tags], dtype=int)
    with_full_verb = {number for number, (_, kind) in zip(clause, tags, strict=True) if kind.startswith("VV")}
    static, dynamic = [], []
    for number, (word, kind) in zip(clause, tags, strict=True):
        auxiliary = kind.startswith(VERB_TAGS[1:]) and number in with_full_verb
        if kind.startswith(STATIC_TAGS):
            static.append(word)
        elif kind.startswith(PREPOSITION_TAGS):
            dynamic += [word] * prepositions
        elif kind.startswith(DYNAMIC_TAGS) and not auxiliary:
            dynamic.append(word)
    return Phrases(tuple(static), tuple(dynamic), tuple(tags))


def cached_phrases(texts: Iterable[str], path: str | Path, prepositions: bool = True) -> dict[str, Phrases]:
    """Phrases of every text; tags are read from the JSON file, and those of new texts added to it.

    The tagger is needed for new texts only. Raises TextError for a file of another tagger then, and for a
    file that is damaged.
    """
    path, texts = Path(path), list(dict.fromkeys(texts))
    cache = {"tagger": tagger_name(), "tags": {}} if not path.is_file() else _read_tags(path)
    new = [text for text in texts if text not in cache["tags"]]
    if new:
        if cache["tagger"] != tagger_name():
            raise TextError(
                f"{path}: tagged by {cache['tagger']}, but {tagger_name()} is installed: remove the file"
            )
        cache["tags"].update({text: tag(text) for text in new})
        write_text(path, json.dumps(cache, ensure_ascii=False, indent=0) + "\n")
    return {text: phrases_of(cache["tags"][text], prepositions) for text in texts}


def _read_tags(path: Path) -> dict:
    try:
        cache = json.loads(path.read_text(encoding="utf-8"))
        tags = {
            text: tuple((str(word), str(kind)) for word, kind in row) for text, row in cache["tags"].items()
        }
        return {"tagger": str(cache["tagger"]), "tags": tags}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TextError(f"{path}: not a file of tags ({error})") from error

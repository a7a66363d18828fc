"""A small table of word vectors for Stage's English, with a knob for how alike synonyms are.

Word vectors tell a model what an unseen word means only if its vector lies near that of a word it
knows. Here one number sets that cosine, so that its effect can be measured.
"""

import hashlib
import re

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vmrlib.data.stage.captions import NOUNS, PHRASES, UNSEEN_NOUNS, UNSEEN_PHRASES, vocabulary


def word_vectors(synonym_cosine: float = 0.5, dim: int = 50) -> dict[str, Float[Tensor, " D"]]:
    """Unit vectors of all words of Stage; an unseen synonym has this cosine with its verb or noun.

    Every word's own direction depends on its letters alone, so the table is the same everywhere.
    """
    if not 0 <= synonym_cosine <= 1:
        raise ValueError(f"synonym_cosine must lie in 0..1, not {synonym_cosine}")
    table = {word: _direction(word, dim) for word in vocabulary()}
    for known, unseen in (_groups(PHRASES, UNSEEN_PHRASES), _groups(NOUNS, UNSEEN_NOUNS)):
        for group, words in unseen.items():
            for word in words:
                if word not in table:
                    # "rightwards" is near "right", not near "moves": else it would not tell right from left
                    kin = next((other for other in known[group] if word.startswith(other)), known[group][0])
                    anchor = table[kin]
                    own = _direction(word, dim)
                    own = F.normalize(own - (own @ anchor) * anchor, dim=0)
                    table[word] = synonym_cosine * anchor + (1 - synonym_cosine**2) ** 0.5 * own
    return table


def _groups(*tables) -> tuple[dict, ...]:
    """For each table: verb or shape -> the content words of its phrases, the most telling first."""
    common = {"to", "the", "is", "from", "a", "in", "and"}
    result = []
    for table in tables:
        words = {}
        for group, phrases in table.items():
            found = [w for text in phrases for w in re.findall(r"[a-z]+", re.sub(r"{\w}", " ", text))]
            words[group] = [w for w in found if w not in common]
        result.append(words)
    return tuple(result)


def _direction(word: str, dim: int) -> Tensor:
    """A unit vector drawn from a generator seeded by the word's letters."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "little")
    return F.normalize(torch.randn(dim, generator=torch.Generator().manual_seed(seed)), dim=0)

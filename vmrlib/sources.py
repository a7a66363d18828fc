"""Where features and word vectors come from: what a configuration names, found, opened or made.

A source of features is an extractor, a store, published files or seeded noise (`FeatureSource`); word vectors
are Stage's, a file's, or drawn from the letters of the words.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vmrlib.configuration import FeatureSource
from vmrlib.data import data_folder
from vmrlib.data.annotations import Query
from vmrlib.data.loaders import Videos, seed_of
from vmrlib.data.published import LAYOUTS, PublishedFeatures
from vmrlib.data.simulated import SimulatedFeatures
from vmrlib.data.stage import StageSplit
from vmrlib.data.stage.words import word_vectors
from vmrlib.data.store import FeatureStore
from vmrlib.text import Vocabulary, WordVectors, tokenize

MOST_WORDS = 50_000  # of a file, its first and so most frequent ones: they go into a checkpoint as they are
WORDS_DIM = 300  # of Stage's word vectors, and of letters
ORACLE, ORACLE_DIM = "oracle", 128  # the true states of the actors of Stage, as if seen by a perfect eye

Split = StageSplit | Sequence[Query]


class MaterialError(ValueError):
    """Something that a configuration names and that cannot be had; the message says where to get it."""


def find_file(name: str) -> Path:
    """A file or folder: as it is named, or below the data folder or a local mirror (VMRLIB_MIRROR).

    Raises MaterialError that says where it was looked for.
    """
    mirror = os.environ.get("VMRLIB_MIRROR")
    places = [Path(name), data_folder() / name, *([Path(mirror) / name] if mirror else [])]
    for place in places:
        if place.exists():
            return place
    raise MaterialError(
        f"{name}: no such file, neither here nor below {data_folder()}; "
        "bash data_download.sh --list names what can be fetched (--features simulated tries without features)"
    )


def exists(name: str) -> bool:
    """Is there such a file or folder, as `find_file` looks for it?"""
    try:
        return bool(find_file(name))
    except MaterialError:
        return False


def open_source(
    number: int, source: FeatureSource, split: Split, durations: Mapping[str, float], verbose: bool = False
) -> Videos:
    """The features of one source for the videos of a split; `number` is its place in the configuration.

    Raises MaterialError for an extractor on videos that are not Stage's, and for a file that is not there.
    """
    if source.simulated:
        return _simulated(source, durations)
    if source.store:
        return FeatureStore(source.store)
    if source.published:
        return PublishedFeatures(LAYOUTS[source.published], find_file(source.path), durations)
    if not isinstance(split, StageSplit):
        raise MaterialError(
            f"features.{number}.extractor: only Stage is extracted on the way; for your own videos "
            f"python -m vmrlib extract VIDEOS --extractor {source.extractor} --out X, and then store: X"
        )
    from vmrlib.features.stage import oracle_features, stage_features  # it renders, and loads what extracts

    if source.extractor == ORACLE:
        return {script.video_id: oracle_features(script, source.seconds_per_clip) for script in split.scripts}
    return stage_features(split, _extractor(source.extractor, source.seconds_per_clip), verbose)


def source_record(source: FeatureSource) -> dict:
    """How the features of a source are made, with `spec`, `dim` and `seconds_per_clip`."""
    if source.extractor == ORACLE:
        return {"spec": ORACLE, "dim": ORACLE_DIM, "seconds_per_clip": source.seconds_per_clip}
    if source.extractor:
        extractor = _extractor(source.extractor, source.seconds_per_clip)
        more = {"spec": source.extractor, "seconds_per_clip": extractor.seconds_per_clip}
        return extractor.metadata() | more
    if source.store:
        metadata = dict(FeatureStore(source.store).metadata)
        if "dim" not in metadata:
            metadata["dim"] = next(iter(FeatureStore(source.store).values())).values.shape[1]
        more = {"spec": specification(metadata), "seconds_per_clip": metadata.get("window")}
        return metadata | more
    if source.simulated:
        noise = _simulated(source, {})
        return {"spec": noise.name, "dim": noise.dim, "seconds_per_clip": noise.seconds_per_clip}
    if source.published not in LAYOUTS:
        raise MaterialError(f"no layout {source.published!r} of features; there are {', '.join(LAYOUTS)}")
    layout = LAYOUTS[source.published]
    return {"spec": source.published, "dim": layout.dim, "seconds_per_clip": layout.seconds_per_clip}


def simulated(source: FeatureSource) -> FeatureSource:
    """A source of noise in the shape of another source, which need not be there."""
    if source.simulated:
        return source
    if source.published:
        return FeatureSource(simulated=source.published, seconds_per_clip=source.seconds_per_clip)
    if source.store:
        metadata = FeatureStore(source.store).metadata
        name, dim, seconds = metadata.get("extractor", "store"), metadata["dim"], metadata["stride"]
    elif source.extractor == ORACLE:
        name, dim, seconds = ORACLE, ORACLE_DIM, source.seconds_per_clip
    else:
        extractor = _extractor(source.extractor, source.seconds_per_clip)
        name, dim, seconds = source.extractor, extractor.dim, extractor.stride
    return FeatureSource(simulated=name, dim=dim, seconds_per_clip=seconds)


def specification(metadata: Mapping) -> str:
    """The specification of the extractor that made a store, as `vmrlib extract` takes it."""
    name = str(metadata.get("extractor", ""))
    plain = name in ("", "stage-clip") or name.startswith(("baseline", "outline", "c3d", "clip:", "video:"))
    return name if plain else f"clip:{name}"


@cache
def _extractor(spec: str, seconds_per_clip: float | None):
    from vmrlib.features import load_extractor

    return load_extractor(spec, seconds_per_clip=seconds_per_clip)


def _simulated(source: FeatureSource, durations: Mapping[str, float]) -> SimulatedFeatures:
    return SimulatedFeatures(durations, source.simulated, source.dim, source.seconds_per_clip)


def read_words(name: str, vocabulary: Vocabulary, texts: Iterable[str]) -> WordVectors:
    """Word vectors: `stage`, `letters` or a file; of a large file its first 50,000 and those wanted here.

    Wanted are the words of `vocabulary` and of `texts`, which are read only if there is a file.
    """
    if name == "stage":
        table = word_vectors(dim=WORDS_DIM)
        return WordVectors(list(table), torch.stack(list(table.values())).numpy())
    if name == "letters":
        return letter_vectors(vocabulary.words[1:-1])
    path = find_file(name)
    needed = {word for text in texts for word in tokenize(text)} | set(vocabulary.words)
    if path.suffix != ".npz":
        return WordVectors.from_text(path, needed | first_words(path, MOST_WORDS))
    vectors = WordVectors.from_npz(path)
    if len(vectors.vocabulary) <= MOST_WORDS:
        return vectors
    words = vectors.vocabulary.words
    kept = [word for number, word in enumerate(words) if number < MOST_WORDS or word in needed]
    return WordVectors(kept, vectors(kept).numpy())


def first_words(path: Path, number: int) -> set[str]:
    """The words of the first lines of a GloVe text file; a word may hold spaces, as in `read_glove`."""
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        lines = [line.rstrip(" \r\n") for line in islice(file, number)]
    dim = lines[0].count(" ") if lines else 0
    return {line.rsplit(" ", dim)[0] for line in lines}


def letter_vectors(words: Iterable[str], dim: int = WORDS_DIM) -> WordVectors:
    """A direction for each word, drawn from its letters: vectors that need no file and know no meaning."""
    words = list(words)
    rows = [
        torch.randn(dim, generator=torch.Generator().manual_seed(seed_of("letters", word))) for word in words
    ]
    table = torch.nn.functional.normalize(torch.stack(rows), dim=1) if rows else torch.zeros(0, dim)
    return WordVectors(words, table.numpy().astype(np.float32))

"""What a training run is made of: queries, features, word vectors and vocabulary, as its configuration says.

    material = Material(read_config("configs/stage.yaml"))
    train_set, val_set = material.dataset("train"), material.dataset("val")
    model = material.model_config.build()

`notebook_material` is the same for a notebook: Stage, or the dataset that VMRLIB_DATASET names.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch

from vmrlib.configuration import FeatureSource, ModelConfig, RunConfig, read_config
from vmrlib.data.annotations import Query, read_jsonl
from vmrlib.data.datasets import DATASETS, read_split
from vmrlib.data.loaders import MomentDataset, Videos, seed_of, train_vocabulary
from vmrlib.data.stage import StageConfig, StageSplit, make_split, matches, parse
from vmrlib.sources import (
    MaterialError,
    Split,
    exists,
    letter_vectors,
    open_source,
    read_words,
    simulated,
    source_record,
)
from vmrlib.text import Vocabulary, WordVectors

__all__ = ["Material", "MaterialError", "describe_set", "letter_vectors", "notebook_material"]


class Material:
    """The data of one run. With `simulate` features are seeded noise of the shape that they would have.

    `others`: splits besides train, val and test whose words are to be known.
    """

    def __init__(
        self, config: RunConfig, simulate: bool = False, verbose: bool = False, others: Sequence[str] = ()
    ):
        if simulate:
            config = replace(config, features=tuple(simulated(source) for source in config.features))
        self.config, self.verbose, self.others = config, verbose, tuple(others)
        self._splits: dict[str, Split] = {}
        self._features_of: dict[tuple[FeatureSource, ...], dict[str, list[Videos]]] = {}

    def variant(self, config: RunConfig) -> "Material":
        """The material of another configuration of the same data; what is loaded already is shared."""
        for part in ("data", "words"):
            if getattr(config, part) != getattr(self.config, part):
                raise MaterialError(f"{part} differs: not the same data")
        other = type(self)(config, verbose=self.verbose, others=self.others)
        other._splits, other._features_of = self._splits, self._features_of
        return other

    def provenance(self, name: str) -> dict:
        """Version, hash and knobs of a split of Stage; of other data the name alone."""
        split = self._split(name)
        return split.provenance if isinstance(split, StageSplit) else {"split": name}

    def queries(self, name: str) -> list[Query]:
        """The queries of a split: of all of it, but for `train` where a fraction is wanted.

        Raises MaterialError for a split without queries.
        """
        split = self._split(name)
        queries = list(split.queries if isinstance(split, StageSplit) else split)
        if not queries:
            raise MaterialError(f"{name}: there is no query in it")
        data = self.config.data
        if name != data.train or data.fraction == 1.0:
            return queries
        generator = torch.Generator().manual_seed(seed_of(self.config.training.seed, "fraction"))
        number = max(1, round(data.fraction * len(queries)))
        return [
            queries[i] for i in sorted(torch.randperm(len(queries), generator=generator)[:number].tolist())
        ]

    def features(self, name: str) -> list[Videos]:
        """The features of the videos of a split, one mapping for each source."""
        opened = self._features_of.setdefault(self.config.features, {})
        if name not in opened:
            split = self._split(name)
            queries = split.queries if isinstance(split, StageSplit) else split
            durations = {query.video_id: query.duration for query in queries}
            opened[name] = [
                open_source(number, source, split, durations, self.verbose)
                for number, source in enumerate(self.config.features)
            ]
        return opened[name]

    def dataset(self, name: str, targets: bool = True) -> MomentDataset:
        """A split for training (with targets) or for inference."""
        model, split = self.model_config, self._split(name)
        negatives = {}
        if targets and name == self.config.data.train and self.config.data.negatives:
            negatives["negatives"] = self.config.data.negatives
            if isinstance(split, StageSplit):
                negatives["absent"] = partial(is_absent, split)
        dataset = model.dataset(
            self.queries(name),
            self.features(name),
            model.clips,
            model.cells,
            self.words,
            self.vocabulary,
            seed=self.config.training.seed,
            targets=targets,
            longest=model.longest,
            **negatives,
        )
        if not len(dataset):
            raise MaterialError(f"{name}: no moment of it is inside of its video")
        return dataset

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of all training queries, whatever fraction of them is trained on."""
        split = self._split(self.config.data.train)
        queries = split.queries if isinstance(split, StageSplit) else split
        return train_vocabulary(query.text for query in queries)

    @cached_property
    def words(self) -> WordVectors:
        """The word vectors of `config.words`; of a large file its first 50,000 and those of this data."""
        data = self.config.data
        splits = dict.fromkeys((data.train, data.val, *data.test, *self.others))
        texts = (query.text for split in splits for query in self.queries(split))
        return read_words(self.config.words, self.vocabulary, texts)

    @cached_property
    def model_config(self) -> ModelConfig:
        """The model's configuration with the sizes of this data: of features, word vectors, vocabulary."""
        dim = sum(record["dim"] for record in self.feature_records)
        sizes = {"dim_video": dim, "dim_words": self.words.dim, "vocabulary": len(self.vocabulary)}
        config = self.config.model.config(**sizes)
        for name in ("dim_subtitles", "seconds_per_clip"):  # of ReLoCLNet
            if getattr(config, name, None) is not None:
                raise MaterialError(
                    f"model.{name} is {getattr(config, name)}: there are no subtitles here, and clips are "
                    "parts of a video; set it to null, or train with vmrlib.data.corpus.CorpusQueries"
                )
        for name, value in sizes.items():
            if getattr(config, name, value) != value:
                raise MaterialError(f"model.{name} is {getattr(config, name)}, but the data has {value}")
        return config

    @cached_property
    def feature_records(self) -> list[dict]:
        """How the features of each source are made: what a checkpoint says that it needs."""
        return [source_record(source) for source in self.config.features]

    @property
    def label(self) -> str:
        """`simulated features` where any are, else nothing: it goes into every output."""
        return "simulated features" if any(source.simulated for source in self.config.features) else ""

    @property
    def about(self) -> dict:
        """What checkpoints say about the data."""
        data = self.config.data
        about = {"preset": self.config.model.preset, "features": self.feature_records}
        about["dataset"] = {"name": data.dataset, "train": data.train, "val": data.val}
        about["dataset"] |= {"fraction": data.fraction, "train_queries": len(self.queries(data.train))}
        about["dataset"] |= {"negatives": data.negatives}
        about["dataset"] |= {
            f"{part}_sha256": digest(self.queries(getattr(data, part))) for part in ("train", "val")
        }
        split = self._split(data.train)
        if isinstance(split, StageSplit):
            about["dataset"] |= split.provenance
        if data.dataset == "own":  # the place of a file is nobody's business
            about["dataset"] |= {"train": Path(data.train).name, "val": Path(data.val).name}
        about["window"] = self.window
        about["words_from"] = Path(self.config.words).name
        return about | ({"label": self.label} if self.label else {})

    @property
    def window(self) -> float:
        """Seconds of video that the model gets to know: nine of ten training videos are no longer."""
        durations = {query.video_id: query.duration for query in self.queries(self.config.data.train)}
        return float(np.quantile(list(durations.values()), 0.9))

    def _split(self, name: str) -> Split:
        if name not in self._splits:
            data = self.config.data
            if data.dataset == "stage":
                videos = data.train_videos if name == data.train else None
                self._splits[name] = stage_split(name, data.profile, videos or data.videos)
            elif data.dataset == "own":
                self._splits[name] = read_jsonl(name)
            elif data.dataset in DATASETS:
                self._splits[name] = list(read_split(data.dataset, name).queries)
            else:
                known = ", ".join(["stage", "own", *DATASETS])
                raise MaterialError(f"data.dataset: expected one of {known}, found {data.dataset!r}")
        return self._splits[name]


def is_absent(split: StageSplit, query: Query, video_id: str) -> bool:
    """Is the query true of no moment of this video? On Stage that is known for every pair."""
    return not matches(parse(query.text), split.script_of[video_id])


@cache
def stage_split(name: str, profile: str, videos: int | None = None) -> StageSplit:
    """A split of Stage with the default knobs of a profile; made once."""
    if profile not in ("open", "kitchen"):
        raise MaterialError(f"data.profile: expected open or kitchen, found {profile!r}")
    return make_split(name, StageConfig.open() if profile == "open" else StageConfig.kitchen(), videos)


def digest(queries: Iterable[Query]) -> str:
    """The sha256 of queries: of id, text and moments of each, in their order."""
    lines = (json.dumps([query.id, query.text, query.moments]) for query in queries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def notebook_material(configs: str | os.PathLike | None = None, **changes) -> Material:
    """The material of a notebook: Stage, or the dataset that the variable VMRLIB_DATASET names.

    With VMRLIB_DATASET=tacos it is configs/tacos.yaml; where its feature file is missing, features are
    simulated (`material.label` says so), and where its word vectors are missing, the 840B subset of TACoS is
    used, or `letters`. `changes` are those of `read_config`, with `__` for the dot: `training__epochs=1`.
    `configs` is the folder of the configurations, by default the one beside the package.
    """
    folder = Path(configs) if configs else Path(__file__).resolve().parents[1] / "configs"
    name = os.environ.get("VMRLIB_DATASET") or "stage"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise MaterialError(f"VMRLIB_DATASET is {name!r}: there are configurations for {known}")
    config = read_config(path, {key.replace("__", "."): value for key, value in changes.items()})
    if config.words not in ("stage", "letters"):
        for words in (config.words, f"word_vectors/glove.840B.300d.{config.data.dataset}.npz", "letters"):
            if words == "letters" or exists(words):
                config = replace(config, words=words)
                break
    missing = any(source.path and not exists(source.path) for source in config.features)
    return Material(config, simulate=missing)


def describe_set(name: str, dataset: MomentDataset, material: Material) -> str:
    """A line that says how much there is in a set."""
    videos = len({query.video_id for query in dataset.queries})
    line = f"{len(dataset.queries)} queries about {videos} videos"
    if dataset.targets:
        line += f", {dataset.moment_count} moments"
    if dataset.dropped:
        line += f" ({len(dataset.dropped)} outside of their videos, left out)"
    return f"{name}: {line}"

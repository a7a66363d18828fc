"""What a run of text-video retrieval is made of: frames of the rendered videos of Stage, all their sentences.

`Material` for models that read pixels and tokens themselves; sentences are cut into the tokens of the CLIP
that the model begins with. Every sentence of a split is a text of its own.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from torch import nn

from vmrlib.configuration import RunConfig
from vmrlib.data.annotations import Query
from vmrlib.data.files import write_text
from vmrlib.data.text_video import TextVideoDataset
from vmrlib.engine.retrieving import WAYS, chance, mean_pooling, metrics_of, retrieved
from vmrlib.evaluate import columns
from vmrlib.material import Material
from vmrlib.models.ucofia_config import UCoFiAConfig
from vmrlib.sources import MaterialError
from vmrlib.text import WordVectors

SHOWN = ("R@1", "R@5", "R@10", "MdR", "MnR")
LISTED = 10  # videos a text in the file of answers


class RetrievalMaterial(Material):
    """The data of a run that finds videos.

    Raises MaterialError for what such a run has no use of: another dataset than Stage, features, negatives,
    simulation, and a CLIP without words of its own.
    """

    def __init__(
        self, config: RunConfig, simulate: bool = False, verbose: bool = False, others: Sequence[str] = ()
    ):
        if config.data.dataset != "stage":
            raise MaterialError(f"data.dataset: {config.data.dataset!r} has no frames here, only stage has")
        if simulate or config.features:
            raise MaterialError("features: this model reads frames, and has no use of any ([])")
        if config.data.negatives:
            raise MaterialError(f"data.negatives: expected 0 for retrieval, found {config.data.negatives}")
        super().__init__(config, False, verbose, others)
        if self.model_config.clip is None or not self.model_config.pretrained:
            raise MaterialError("model.pretrained: without a CLIP there are no tokens to read")

    def dataset(self, name: str, targets: bool = True) -> TextVideoDataset:
        """A split: of training, too, all that is known is which text belongs to which video."""
        from vmrlib.features.stage import stage_frames  # it renders

        queries, number = self.queries(name), self.model_config.frames
        if (name, number) not in self._frames:
            self._frames[name, number] = stage_frames(self._split(name), number)
        tokens = self.clip.tokenize([query.text for query in queries], self.model_config.words).cpu()
        return TextVideoDataset(queries, self._frames[name, number], tokens, number)

    def variant(self, config: RunConfig) -> "RetrievalMaterial":
        """As of any material; frames are shared, too."""
        other = super().variant(config)
        other._frames = self._frames
        return other

    @cached_property
    def _frames(self) -> dict[tuple[str, int], dict]:
        return {}

    @cached_property
    def clip(self) -> nn.Module:
        """The CLIP that the model begins with."""
        from vmrlib.models.ucofia import pretrained_clip  # it loads transformers

        return pretrained_clip(self.model_config.pretrained)

    @cached_property
    def model_config(self) -> UCoFiAConfig:
        """The model's configuration; the data has no say in it."""
        return self.config.model.config()

    @property
    def words(self) -> WordVectors:
        """None: the model reads tokens."""
        return TextVideoDataset.words

    @property
    def about(self) -> dict:
        """What checkpoints say about the data; its words are those of CLIP."""
        return super().about | {"words_from": f"CLIP: {self.model_config.pretrained}"}

    def heading(self) -> list[str]:
        """What the model sees and reads."""
        config = self.model_config
        return [
            f"frames   {config.frames} of each video, {config.clip.image_size} x {config.clip.image_size}",
            f"words    {config.words} tokens of CLIP ({config.pretrained})",
        ]


def describe_texts(name: str, dataset: TextVideoDataset) -> str:
    """A line that says how much there is in a set."""
    return f"{name}: {len(dataset)} texts about {len(dataset.video_ids)} videos"


def evaluate_retrieval(
    model: nn.Module, material: RetrievalMaterial, split: str, out: Path, biases: str | None = None
) -> dict:
    """The figures of a trained model on a split, beside chance and beside CLIP's mean pooling, zero-shot.

    `biases`: Sinkhorn biases are taken from the training texts and videos (`train`), or from those of the
    split itself (`test`: transductive, to be compared with nothing else); `protocol` of the figures says so,
    and what was reached without stands among the baselines. The best videos of every text, and the rank of
    the right one, are written into the run folder. Raises ReferenceSetError for the training split with its
    own biases.
    """
    dataset, size = material.dataset(split), material.config.training.predict_batch_size
    reference = dataset if biases == "test" else None
    if biases == "train":
        reference = material.dataset(material.config.data.train)
    found = retrieved(model, dataset, size, reference, transductive=biases == "test")
    scores, baselines = found.scores.cpu(), {}
    if biases:
        baselines["no bias"] = metrics_of(found.levels.mean(dim=0), dataset)
    device = next(model.parameters()).device
    baselines["mean pooling"] = metrics_of(mean_pooling(material.clip.to(device), dataset, size), dataset)
    name = f"retrieved-{Path(split).stem}.jsonl"
    write_text(out / name, "".join(json.dumps(line) + "\n" for line in answers(scores, dataset)))
    return {
        "split": split,
        "label": material.label,
        "predictions": name,
        "figures": metrics_of(scores, dataset) | {"queries": len(dataset), "protocol": found.protocol},
        "baselines": baselines | {"chance": chance(len(dataset.video_ids))},
    }


def answers(scores, dataset: TextVideoDataset) -> list[dict]:
    """For every text its best videos, and the rank of its own, ties against it."""
    own = scores.gather(1, dataset.truth[:, None])
    ranks = (scores >= own).sum(dim=1).tolist()
    best = scores.topk(min(LISTED, scores.shape[1]), dim=1).indices.tolist()

    def line(query: Query, rank: int, found: list[int]) -> dict:
        videos = [dataset.video_ids[index] for index in found]
        return {"qid": query.id, "query": query.text, "vid": query.video_id, "rank": rank, "videos": videos}

    return [line(*each) for each in zip(dataset.queries, ranks, best, strict=True)]


def retrieval_lines(figures: dict, title: str) -> list[str]:
    """Tables for both ways: the model, and the baselines below it."""
    rows = {title: figures["figures"]} | figures["baselines"]
    number, protocol = (figures["figures"][name] for name in ("queries", "protocol"))
    lines = [f"{figures['split']}: {number} texts, {protocol}, in {figures['predictions']}"]
    for way in WAYS:
        table = [[name, *(values[f"{way} {key}"] for key in SHOWN)] for name, values in rows.items()]
        lines += columns([way, *SHOWN], table)
    return lines

"""MMN in training: batches of whole videos, the engine, material of a configuration."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_mmn import SMALL
from toy_training import WORDS, toy_features, toy_queries, toy_words

from vmrlib import checkpoints
from vmrlib.configuration import read_config
from vmrlib.data.annotations import Query
from vmrlib.data.by_video import VideoDataset
from vmrlib.data.loaders import LoaderError, train_vocabulary
from vmrlib.material import Material, describe_set
from vmrlib.train import new_model
from vmrlib.training import TrainingSettings, predict, train

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def video_set(queries=None, **options):
    words = toy_words()
    return VideoDataset(
        toy_queries(12) if queries is None else queries,
        toy_features(),
        SMALL.clips,
        SMALL.cells,
        words,
        train_vocabulary(WORDS),
        **options,
    )


def test_a_batch_holds_each_video_once_with_all_of_its_sentences():
    queries = (
        Query("one", "A red star", "v0", ((2.0, 6.0),), 8.0),
        Query("two", "blue square", "v1", ((0.0, 4.0), (5.0, 6.0)), 8.0),
        Query("three", "star jumps", "v0", ((1.0, 3.0),), 8.0),
    )
    items = video_set(queries)
    assert len(items) == 2 and items.query_ids([1, 0]) == ["two", "two", "one", "three"]
    items.set_epoch(3)
    batch = items.collate([items[1], items[0]])
    assert batch["query_ids"] == ["two", "two", "one", "three"]
    assert batch["sentence_video"].tolist() == [0, 0, 1, 1] and batch["epoch"] == 3
    assert batch["texts"] == ["blue square", "blue square", "A red star", "star jumps"]
    assert torch.equal(batch["video"], torch.stack([items.video("v1"), items.video("v0")]))
    assert batch["moments_cell"].tolist() == [[0.0, 2.0], [2.5, 3.0], [1.0, 3.0], [0.5, 1.5]]


def test_what_is_asked_without_targets_holds_no_moment_and_shares_videos():
    blind = video_set().without_targets()
    assert isinstance(blind, VideoDataset) and len(blind) == len(blind.queries)
    batch = blind.collate([blind[n] for n in range(len(blind))])
    assert not {"moments_cell", "epoch", "annotation", "segment"} & batch.keys()
    assert batch["query_ids"] == [query.id for query in blind.queries]
    assert not any(query.moments for query in blind.queries)
    videos = list(dict.fromkeys(query.video_id for query in blind.queries))
    assert len(batch["video"]) == len(videos)
    assert [videos[row] for row in batch["sentence_video"]] == [query.video_id for query in blind.queries]


def test_negatives_are_refused():
    with pytest.raises(LoaderError, match=r"data\.negatives: this model compares whole videos, found 1"):
        video_set(negatives=1)


def test_it_trains_through_the_engine_and_comes_back_from_its_checkpoint(tmp_path):
    settings = TrainingSettings(
        batch_size=4, steps=4, learning_rate=1e-2, accumulation=2, device="cpu", evaluate_steps=2
    )
    items, rates = video_set(), []
    torch.manual_seed(0)
    model = replace(SMALL, contrast_epochs=1, text_rate=0.5).build()
    result = train(model, items, items, settings, tmp_path / "run", on_step=rates.append)
    assert result.steps == 4 and {"iou", "video", "sentence", "total"} == rates[0]["losses"].keys()
    found = checkpoints.load(tmp_path / "run").model
    assert found.config == model.config
    pairs = zip(predict(model, items), predict(found, items), strict=True)
    assert all((one.moments == other.moments).all() for one, other in pairs)


def test_material_puts_the_queries_of_a_video_together():
    config = read_config(CONFIGS / "mmn_stage.yaml", {"data.videos": 3, "data.train_videos": 4})
    material = Material(config, simulate=True)
    items, model = material.dataset("train"), new_model(material)
    assert isinstance(items, VideoDataset) and len(items) == 4
    queries = len(material.queries("train"))
    assert f"{queries} queries about 4 videos, {queries} moments" in describe_set("", items, material)
    batch = items.collate([items[number] for number in range(4)])
    assert len(batch["video"]) == 4 and len(batch["words"]) == queries
    assert model.loss(model(batch), batch)["total"].isfinite()

"""MMN in training: batches of whole videos, the engine, material of a configuration."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_mmn import SMALL, make_batch, part_of, small_model
from toy_training import WORDS, toy_features, toy_queries, toy_words

from vmrlib import checkpoints
from vmrlib.configuration import read_config
from vmrlib.data.annotations import Query
from vmrlib.data.by_video import VideoDataset
from vmrlib.data.loaders import LoaderError, train_vocabulary
from vmrlib.engine.processes import Processes
from vmrlib.material import Material, describe_set
from vmrlib.plan import make_plan
from vmrlib.train import new_model
from vmrlib.training import TrainingError, TrainingSettings, predict, split, train

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


@pytest.mark.parametrize(("accumulation", "count"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
def test_the_same_videos_meet_however_a_batch_is_computed(accumulation, count):
    # in evaluation mode: normalisation would see only the videos of a part
    model, batch = small_model(), make_batch(videos=(0, 1, 1, 2, 3, 4, 4, 5, 6, 7))
    model.config = replace(SMALL, group=2)
    whole, found, processes = model.loss(model(batch), batch), [], Processes("cpu")
    processes.count = count
    for part in split(range(8), accumulation):
        for processes.rank in range(count):
            mine = part_of(batch, processes.share(part))
            found.append(model.loss(model(mine), mine))
    assert len(found) == accumulation * count
    for name, value in whole.items():
        mean = sum(losses[name].item() for losses in found) / len(found)
        assert mean == pytest.approx(value.item(), rel=1e-4), name


@pytest.mark.parametrize(("batch_size", "accumulation", "videos"), [(6, 2, 3), (5, 1, 5), (2, 2, 1)])
def test_parts_that_are_no_whole_groups_are_refused(batch_size, accumulation, videos):
    settings = TrainingSettings(batch_size=batch_size, accumulation=accumulation, steps=1, device="cpu")
    model = replace(SMALL, group=2).build()
    with pytest.raises(
        TrainingError, match=f"{videos} videos at once are no multiple of the model's group, 2"
    ):
        train(model, video_set(), None, settings)


def test_the_last_batch_of_an_epoch_may_be_smaller_than_a_group():
    settings = TrainingSettings(batch_size=2, epochs=1, learning_rate=1e-3, device="cpu")
    assert train(replace(SMALL, group=2).build(), video_set(), None, settings).steps == 2  # of 3 videos


def test_a_plan_counts_queries_and_the_videos_they_are_about():
    config = read_config(CONFIGS / "mmn_stage.yaml", {"data.videos": 3, "data.train_videos": 4})
    material = Material(config, simulate=True)
    plan = make_plan(material)
    queries = len(material.queries("train"))
    assert plan.train_queries == queries and plan.val_queries == len(material.queries("val"))
    assert f"1,000 on {queries} queries about 4 videos, " in plan.lines()[2]

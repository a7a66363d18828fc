"""An MMN that learnt a toy needs video and sentence: with those of others it is as good as a blind one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_mmn import SMALL

from vmrlib.data.annotations import Query
from vmrlib.data.by_video import VideoDataset
from vmrlib.data.loaders import train_vocabulary
from vmrlib.text import WordVectors
from vmrlib.training import TrainingSettings, predict, score, train

EVENTS = ("falls", "jumps", "turns", "stops")
VIDEOS, TEST_VIDEOS, MARGIN = 48, 60, 12.0  # points: two standard errors on both sides of 240 queries at 25 %
CHANCE = 25.0  # of four moments, one of which is asked for


def material(number: int, seed: int, name: str) -> tuple[list[Query], dict[str, torch.Tensor]]:
    """Videos in which all events happen, 2 s each, in an order of their own, and a query about each event."""
    generator = torch.Generator().manual_seed(seed)
    queries, features = [], {}
    for video_id in (f"{name}{n}" for n in range(number)):
        order = torch.randperm(len(EVENTS), generator=generator).tolist()
        rows = (
            torch.nn.functional.one_hot(torch.tensor(order), SMALL.dim_video).float().repeat_interleave(2, 0)
        )
        features[video_id] = rows + 0.1 * torch.randn(rows.shape, generator=generator)
        for place, event in enumerate(order):
            moment = (2.0 * place, 2.0 * place + 2)
            queries.append(Query(f"{video_id}.{event}", EVENTS[event], video_id, (moment,), 8.0))
    return queries, features


def as_set(queries: list[Query], features: dict[str, torch.Tensor]) -> VideoDataset:
    words = WordVectors(EVENTS, np.eye(len(EVENTS), SMALL.dim_words, dtype=np.float32))
    return VideoDataset(queries, features, SMALL.clips, SMALL.cells, words, train_vocabulary(EVENTS))


def permuted(values: list) -> list:
    """In another order, none of them in its place."""
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    other = [values[k] for k in order.roll(1)]
    return [other[k] for k in order.argsort()]


def without_video(queries, features):
    return queries, {video_id: torch.ones_like(rows) for video_id, rows in features.items()}


def without_text(queries, features):
    return [replace(query, text=EVENTS[0]) for query in queries], features


def of_other_videos(queries, features):
    return queries, dict(zip(features, permuted(list(features.values())), strict=True))


def of_other_queries(queries, features):
    texts = permuted([query.text for query in queries])
    return [replace(query, text=text) for query, text in zip(queries, texts, strict=True)], features


def both(queries, features):
    return queries, features


def learnt(change) -> torch.nn.Module:
    """A small MMN that has learnt the toy, or what `change` leaves of it."""
    torch.manual_seed(0)
    model = replace(SMALL, margin=0.1).build()
    settings = TrainingSettings(batch_size=12, steps=120, learning_rate=1e-2, device="cpu")
    train(model, as_set(*change(*material(VIDEOS, 1, "train"))), None, settings)
    return model


def recall(model, change) -> float:
    """R@1, IoU=0.5 on other videos, in percent."""
    test = as_set(*change(*material(TEST_VIDEOS, 2, "test")))
    return score(predict(model, test), test.queries)["R@1, IoU=0.5"]


@pytest.fixture(scope="module")
def model():
    return learnt(both)


def test_it_has_learnt_the_toy(model):
    assert recall(model, both) > 80


@pytest.mark.parametrize(
    ("exchanged", "blind"), [(of_other_videos, without_video), (of_other_queries, without_text)]
)
def test_with_what_belongs_to_others_it_is_as_good_as_one_that_is_blind(model, exchanged, blind):
    found, of_blind = recall(model, exchanged), recall(learnt(blind), blind)
    print(f"{exchanged.__name__}: {found:.1f}, {blind.__name__}: {of_blind:.1f}, chance: {CHANCE:.1f}")
    assert abs(of_blind - CHANCE) < MARGIN and abs(found - of_blind) < MARGIN

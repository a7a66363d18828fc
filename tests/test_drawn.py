"""What is drawn for the items of a set: numbers that depend on seed, epoch and item, and the epoch."""

import torch
from toy_training import CELLS, CLIPS, WORDS, toy_features, toy_queries, toy_words

from vmrlib.data.drawn import DrawnDataset
from vmrlib.data.loaders import train_vocabulary


def drawn_set(seed=3, **options):
    vocabulary = train_vocabulary(WORDS)
    queries, words = toy_queries(9), toy_words()
    return DrawnDataset(queries, toy_features(), CLIPS, CELLS, words, vocabulary, seed=seed, **options)


def batch_of(items, *indexes):
    return items.collate([items[index] for index in indexes])


def test_a_batch_says_what_was_drawn_and_when():
    items = drawn_set()
    batch = batch_of(items, 4, 1, 7)
    assert batch["epoch"] == 0 and batch["draws"].shape == (3, 2)
    assert batch["draws"].min() >= 0 and batch["draws"].max() < 1
    assert torch.equal(batch_of(items, 7, 4)["draws"], batch["draws"][[2, 0]]), (
        "whatever else is in the batch"
    )
    assert torch.equal(batch_of(drawn_set(), 4, 1, 7)["draws"], batch["draws"])
    assert not torch.equal(batch_of(drawn_set(seed=4), 4, 1, 7)["draws"], batch["draws"])
    items.set_epoch(2)
    later = batch_of(items, 4, 1, 7)
    assert later["epoch"] == 2 and not torch.equal(later["draws"], batch["draws"])


def test_for_inference_nothing_is_drawn():
    blind = drawn_set().without_targets()
    assert isinstance(blind, DrawnDataset) and not {"draws", "epoch"} & batch_of(blind, 0, 1).keys()

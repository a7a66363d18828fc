"""Queries and moments for a model that samples its negatives: what is drawn for them, and in which epoch.

A batch is that of `loaders`, and in training also has

    draws   (B, 2)  numbers in 0..1 that say which negatives a sample is compared with, drawn in each epoch
    epoch           its number, from 0 on

They depend on the seed, the epoch and the place of the item alone: a batch that several processes share has
the negatives that it has in one.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vmrlib.data.loaders import MomentDataset, collate, seed_of


def draw(items: int, seed: int, epoch: int) -> Float[Tensor, "items 2"]:
    """Two numbers in 0..1 for each item."""
    generator = torch.Generator().manual_seed(seed_of(seed, "samples", epoch))
    return torch.rand(items, 2, generator=generator)


class DrawnDataset(MomentDataset):
    """`MomentDataset` whose items come with what is drawn for them."""

    def __getitem__(self, index: int) -> dict:
        """One item: the fields of a batch without their first axis, words not padded."""
        item = super().__getitem__(index)
        return item | ({"draws": self._draws[index], "epoch": self.epoch} if self.targets else {})

    def set_epoch(self, epoch: int) -> None:
        """Draws what is drawn in each epoch."""
        super().set_epoch(epoch)
        self.epoch, self._draws = epoch, draw(len(self), self.seed, epoch)

    @staticmethod
    def collate(items: Sequence[dict]) -> dict:
        """The batch of some items."""
        return collate(items) | drawn(items)


def drawn(items: Sequence[dict]) -> dict:
    """The part of a batch that was drawn; nothing for inference."""
    if "draws" not in items[0]:
        return {}
    return {"draws": torch.stack([item["draws"] for item in items]), "epoch": items[0]["epoch"]}

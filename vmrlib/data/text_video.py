"""Texts and the frames of videos in batches: what models that find a video by a text are trained on.

    items = TextVideoDataset(queries, frames, tokens)
    batch = items.collate([items[0], items[1]])

An item is a text with its video, so that a video with several texts comes several times. A batch is a dict:

    query_ids   list of B texts
    samples     (B,)             their numbers in the set
    frames      (B, F, H, W, 3)  uint8; a video of fewer frames is filled up with zeros
    frame_mask  (B, F)           True where there is a frame
    token_ids   (B, W)           of the text, filled up with zeros

What a model is given holds no moments. Text i of a batch belongs to video i; another text of the same video
counts as wrong there, as in the released loaders of UCoFiA (section 8.1 of its specification).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from vmrlib.data.annotations import Query
from vmrlib.data.loaders import LoaderError, train_vocabulary
from vmrlib.text import WordVectors

Frames = Mapping[str, UInt8[Tensor, "F H W 3"]]


class TextVideoDataset(Dataset):
    """Texts, their tokens, and the frames of their videos, by video id, of one size for all.

    `length`: F, to which shorter videos are filled up; None: that of the longest. Raises LoaderError that
    names the query whose video has no frames, more than F, or frames of another size.
    """

    words = WordVectors([], np.zeros((0, 1), dtype=np.float32))  # the model reads tokens

    def __init__(
        self,
        queries: Sequence[Query],
        frames: Frames,
        tokens: Int[Tensor, "Q L"],
        length: int | None = None,
    ):
        self.queries = [replace(query, moments=(), extra={}) for query in queries]
        self.frames, self.tokens = frames, tokens
        if len(tokens) != len(self.queries):
            raise LoaderError(f"tokens: {len(tokens)} rows for {len(self.queries)} texts")
        self.video_ids = tuple(dict.fromkeys(query.video_id for query in self.queries))
        shapes = {name: tuple(frames[name].shape) for name in self.video_ids if name in frames}
        self.length = length or max((shape[0] for shape in shapes.values()), default=0)
        for query in self.queries:
            if query.video_id not in shapes:
                raise LoaderError(f"query {query.id!r}: no frames of video {query.video_id!r}")
            shape, expected = shapes[query.video_id], next(iter(shapes.values()))
            if shape[1:] != expected[1:] or not 0 < shape[0] <= self.length:
                raise LoaderError(
                    f"query {query.id!r}: frames of video {query.video_id!r} are {shape}, "
                    f"not {(self.length, *expected[1:])}, or fewer of them"
                )
        self.vocabulary = train_vocabulary(query.text for query in self.queries)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: int) -> dict:
        """One text with its video: the fields of a batch without their first axis."""
        query = self.queries[index]
        return {
            "query_ids": query.id,
            "samples": torch.tensor(index),
            **self.video(query.video_id),
            "token_ids": self.tokens[index],
        }

    def video(self, name: str) -> dict[str, Tensor]:
        """`frames` and `frame_mask` of a video, filled up."""
        found, there = self.frames[name], torch.arange(self.length) < len(self.frames[name])
        padding = found.new_zeros(self.length - len(found), *found.shape[1:])
        return {"frames": torch.cat([found, padding]), "frame_mask": there}

    def set_epoch(self, epoch: int) -> None:
        """Nothing is drawn anew."""

    @staticmethod
    def collate(items: Sequence[dict]) -> dict:
        """The batch of some items."""
        stacked = {name: [item[name] for item in items] for name in items[0]}
        ids = stacked.pop("query_ids")
        return {"query_ids": ids} | {name: torch.stack(rows) for name, rows in stacked.items()}

    def query_ids(self, indexes: Iterable[int]) -> list[str]:
        """The ids of these texts."""
        return [self.queries[index].id for index in indexes]

    @property
    def text_ids(self) -> list[str]:
        """The ids of all texts."""
        return self.query_ids(range(len(self)))

    @property
    def truth(self) -> Int[Tensor, " Q"]:
        """For each text the number of its video in `video_ids`."""
        number = {video_id: index for index, video_id in enumerate(self.video_ids)}
        return torch.tensor([number[query.video_id] for query in self.queries])

    def text_batches(self, size: int) -> Iterator[dict]:
        """The texts in their order, so many at a time: `token_ids` alone."""
        for tokens in self.tokens.split(size):
            yield {"token_ids": tokens}

    def video_batches(self, size: int) -> Iterator[dict]:
        """The videos in the order of `video_ids`, each once: `frames` and `frame_mask`."""
        for first in range(0, len(self.video_ids), size):
            videos = [self.video(name) for name in self.video_ids[first : first + size]]
            yield {name: torch.stack([video[name] for video in videos]) for name in videos[0]}

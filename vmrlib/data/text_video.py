"""Texts and the frames of videos in batches: what models that find a video by a text are trained on.

    items = TextVideoDataset(queries, frames, tokens)
    batch = items.collate([items[0], items[1]])

An item is a text with its video, so that a video with several texts comes several times. A batch is a dict:

    query_ids   list of B texts
    frames      (B, F, H, W, 3)  uint8
    frame_mask  (B, F)           True where there is a frame
    token_ids   (B, W)           of the text, filled up with zeros

Text i of a batch belongs to video i; another text of the same video counts as wrong there, as in the released
loaders of UCoFiA (section 8.1 of its specification).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    """Texts, their tokens, and the frames of their videos (video id -> (F, H, W, 3), the same F for all).

    Raises LoaderError that names the query whose video has no frames or another number of them.
    """

    words = WordVectors([], np.zeros((0, 1), dtype=np.float32))  # the model reads tokens

    def __init__(self, queries: Sequence[Query], frames: Frames, tokens: Int[Tensor, "Q L"]):
        self.queries, self.frames, self.tokens = list(queries), frames, tokens
        if len(tokens) != len(self.queries):
            raise LoaderError(f"tokens: {len(tokens)} rows for {len(self.queries)} texts")
        self.video_ids = tuple(dict.fromkeys(query.video_id for query in self.queries))
        shape = frames[self.video_ids[0]].shape if self.video_ids and self.video_ids[0] in frames else None
        for query in self.queries:
            if query.video_id not in frames:
                raise LoaderError(f"query {query.id!r}: no frames of video {query.video_id!r}")
            if frames[query.video_id].shape != shape:
                found = tuple(frames[query.video_id].shape)
                raise LoaderError(
                    f"query {query.id!r}: frames of video {query.video_id!r} are {found}, not {tuple(shape)}"
                )
        self.vocabulary = train_vocabulary(query.text for query in self.queries)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: int) -> dict:
        """One text with its video: the fields of a batch without their first axis."""
        query = self.queries[index]
        return {
            "query_ids": query.id,
            "frames": self.frames[query.video_id],
            "token_ids": self.tokens[index],
        }

    def set_epoch(self, epoch: int) -> None:
        """Nothing is drawn anew."""

    @staticmethod
    def collate(items: Sequence[dict]) -> dict:
        """The batch of some items."""
        batch = {name: torch.stack([item[name] for item in items]) for name in ("frames", "token_ids")}
        batch["frame_mask"] = torch.ones(batch["frames"].shape[:2], dtype=torch.bool)
        return batch | {"query_ids": [item["query_ids"] for item in items]}

    def query_ids(self, indexes: Iterable[int]) -> list[str]:
        """The ids of these texts."""
        return [self.queries[index].id for index in indexes]

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
            frames = torch.stack([self.frames[name] for name in self.video_ids[first : first + size]])
            yield {"frames": frames, "frame_mask": torch.ones(frames.shape[:2], dtype=torch.bool)}

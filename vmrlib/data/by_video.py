"""Batches that hold each video once, with all of its sentences: for models that compare them with each other.

    items = VideoDataset(queries, features, clips=32, cells=16, words=vectors, vocabulary=vocabulary)
    batch = items.collate([items[0], items[1]])

An item is a video with all queries about it, without targets a single query. A query with several moments is
there once for each of them. The data of MMN have no such query, and its losses take them for different
sentences: moments of one query that hardly overlap count as wrong for each other. A batch of V videos and S
sentences is that of `loaders`, but for

    video           (V, M, D)  each video once
    sentence_video  (S,)       the row of each sentence's video
    texts           list of S  the sentences, for a model with a tokenizer of its own
    epoch                      number of the epoch, from 0 on; in training only
"""

from collections.abc import Iterable, Sequence

import torch

from vmrlib.data.loaders import LoaderError, MomentDataset, collate


class VideoDataset(MomentDataset):
    """Videos with all queries about them: `MomentDataset` with its items put together.

    Without targets an item is one query. Raises LoaderError, as that does, and for `negatives`: a model that
    takes whole batches has enough of them.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if self.negatives:
            raise LoaderError(f"data.negatives: this model compares whole videos, found {self.negatives}")
        groups: dict[object, list[int]] = {}
        for place, (number, _) in enumerate(self._items):
            key = self.queries[number].video_id if self.targets else place
            groups.setdefault(key, []).append(place)
        self._groups = list(groups.values())

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> list[dict]:
        """The items of `MomentDataset` that belong to a video, each with its text and the video's id."""
        items = []
        for place in self._groups[index]:
            query = self.queries[self._items[place][0]]
            item = super().__getitem__(place) | {"text": query.text, "video_id": query.video_id}
            items.append(item | ({"epoch": self.epoch} if self.targets else {}))
        return items

    def set_epoch(self, epoch: int) -> None:
        """Draws what is drawn in each epoch; batches say which one it is."""
        self.epoch = epoch
        super().set_epoch(epoch)

    def query_ids(self, indexes: Iterable[int]) -> list[str]:
        """The ids of all queries about these videos."""
        return super().query_ids(place for index in indexes for place in self._groups[index])

    @staticmethod
    def collate(items: Sequence[list[dict]]) -> dict:
        """The batch of some items, in which each video is there once."""
        sentences = [sentence for item in items for sentence in item]
        first: dict[str, int] = {}  # where each video comes first
        for number, sentence in enumerate(sentences):
            first.setdefault(sentence["video_id"], number)
        rows = {video_id: row for row, video_id in enumerate(first)}
        without_video = [sentence | {"video": sentence["video"][:0]} for sentence in sentences]
        batch = collate(without_video)
        batch["video"] = torch.stack([sentences[number]["video"] for number in first.values()])
        batch["sentence_video"] = torch.tensor([rows[sentence["video_id"]] for sentence in sentences])
        batch["texts"] = [sentence["text"] for sentence in sentences]
        if "epoch" in sentences[0]:
            batch["epoch"] = sentences[0]["epoch"]
        return batch

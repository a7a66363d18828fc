"""Batches of videos with subtitles and of sentences, for models that search a corpus: ReLoCLNet's loader.

    videos = CorpusVideos(video_features, subtitle_features, clips=128)
    corpus = encode_corpus(model, videos.batches(video_ids))
    items = CorpusQueries(queries, sentence_features, videos, longest=30)
    batch = items.collate([items[0], items[1]])
    train(model, items, val_items, TrainingSettings(...))     # vmrlib.training

`encode_corpus` and `search` move what they are given to the model's device.

A batch is a dict:

    query_ids     list of B texts
    video         (B, T, D)  clips, zeros behind the end of a video
    subtitles     (B, T, D') what is said in these clips; missing where there are no subtitles
    video_mask    (B, T)     True where there is a clip
    words         (B, L, W)  word features, zeros for padding
    word_mask     (B, L)     True where there is a word
    duration      (B,)       seconds, float64

and for training only:

    moments_cell  (B, 2)     start and end, float64, in clips of `seconds_per_clip`
    annotation    (B,)       number of the pair of query and moment in the set
    draws, epoch             as in `drawn`

Section 1 of ReLoCLNet's specification. Two habits of the released loader are kept: a video of more clips than
there are places is resampled, but its moments are not, so that they are too late; and T is always the number
of places, because the model's padding is not inert.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vmrlib.data.annotations import Query
from vmrlib.data.clips import append_end_points, l2_normalise, limit_clips, pad
from vmrlib.data.drawn import draw, drawn
from vmrlib.data.loaders import LoaderError, Videos, store_name, train_vocabulary
from vmrlib.data.store import Features
from vmrlib.text import WordVectors

NORM_ADDED = 1e-5  # to the norms that features are divided by


def feature_rows(features: Videos, name: str) -> Float[Tensor, "rows D"]:
    """The features of a video or sentence as floats; LoaderError where there are none or some not finite."""
    if name not in features:
        raise LoaderError(f"{store_name(features)}: no features of {name!r}")
    rows = features[name]
    rows = (rows.values if isinstance(rows, Features) else rows).float()
    if not len(rows) or not torch.isfinite(rows).all():
        what = "not all finite" if len(rows) else "empty"
        raise LoaderError(f"{store_name(features)}: features of {name!r} are {what}")
    return rows


class CorpusVideos:
    """The videos of a corpus on a grid of `clips` places.

    video, subtitles: video id -> (rows, D), as many rows in both; subtitles None: there are none.
    normalise_video, normalise_subtitles: rows to norm 1. TVR's video features come with two parts of norm 1
    each and stay as they are. end_points: append where each clip starts and ends, as fractions.
    """

    def __init__(
        self,
        video: Videos,
        subtitles: Videos | None = None,
        clips: int = 128,
        normalise_video: bool = False,
        normalise_subtitles: bool = True,
        end_points: bool = True,
    ):
        self.streams = {"video": (video, normalise_video)}
        if subtitles is not None:
            self.streams["subtitles"] = (subtitles, normalise_subtitles)
        self.clips, self.end_points = clips, end_points

    def __getitem__(self, video_id: str) -> dict[str, Float[Tensor, "T _"]]:
        """The rows of each stream, not padded. Raises LoaderError where streams are not of one length."""
        rows = {}
        for name, (features, normalise) in self.streams.items():
            found = limit_clips(feature_rows(features, video_id), self.clips)
            found = l2_normalise(found, NORM_ADDED) if normalise else found
            rows[name] = append_end_points(found) if self.end_points else found
        lengths = {name: len(each) for name, each in rows.items()}
        if len(set(lengths.values())) > 1:
            raise LoaderError(f"video {video_id!r}: streams of different lengths: {lengths}")
        return rows

    def padded(self, items: Sequence[Mapping]) -> dict[str, Tensor]:
        """The streams of some videos as parts of a batch."""
        batch = {}
        for name in self.streams:
            batch[name], batch["video_mask"] = pad([item[name] for item in items], self.clips)
        return batch

    def batches(self, video_ids: Sequence[str], size: int = 50) -> Iterator[dict[str, Tensor]]:
        """Batches of videos in their order, without sentences, to encode a corpus."""
        for start in range(0, len(video_ids), size):
            yield self.padded([self[video_id] for video_id in video_ids[start : start + size]])


class CorpusQueries(Dataset):
    """Sentences about videos of a corpus, one item for each moment; without targets one for each sentence.

    sentences: query id -> (L, W) features of its words, of which the first `longest` are taken and, with
    `normalise_words`, scaled to norm 1. seed: of what is drawn in each epoch.

    own_videos: whether an item has the video that its sentence is about; by default in training only. To
    search a corpus no sentence needs one, and in a blind file none has one; `without_targets`, for finding
    moments in known videos, loads them.

    Raises LoaderError, naming the query, where there is no moment to learn from, a moment that is none, or no
    video where one is wanted.
    """

    words = WordVectors([], np.zeros((0, 1), dtype=np.float32))  # a checkpoint keeps none: they are features

    def __init__(
        self,
        queries: Sequence[Query],
        sentences: Videos,
        videos: CorpusVideos,
        longest: int = 30,
        seconds_per_clip: float = 1.5,
        targets: bool = True,
        normalise_words: bool = True,
        seed: int = 0,
        own_videos: bool | None = None,
    ):
        # An object for inference must not hold the answers.
        self.queries = list(queries) if targets else [replace(q, moments=(), extra={}) for q in queries]
        self.sentences, self.videos, self.targets, self.seed = sentences, videos, targets, seed
        self.longest, self.seconds_per_clip, self.normalise_words = longest, seconds_per_clip, normalise_words
        self.own_videos = targets if own_videos is None else own_videos
        self._items = [(q, None) for q in self.queries]
        if targets:
            self._items = [(query, moment) for query in self.queries for moment in query.moments]
            for query in self.queries:
                if not query.moments:
                    raise LoaderError(f"query {query.id!r} has no moments: nothing can be learnt from it")
                for start, end in query.moments:
                    if not 0 <= start <= end:
                        expected = "expected a start from 0 on and an end not before it"
                        raise LoaderError(f"query {query.id!r}: {expected}, found {start}, {end}")
        if self.own_videos:
            for query in self.queries:
                if not query.video_id:
                    raise LoaderError(f"query {query.id!r} names no video: it can only be searched for")
        self.vocabulary = train_vocabulary(query.text for query in self.queries)
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict:
        """One item: the fields of a batch without their first axis, not padded."""
        query, moment = self._items[index]
        words = feature_rows(self.sentences, query.id)[: self.longest]
        words = l2_normalise(words, NORM_ADDED) if self.normalise_words else words
        item = {"query_ids": query.id, "words": words, "duration": query.duration}
        if self.own_videos:
            item |= self.videos[query.video_id]
        if self.targets:
            item["moments_cell"] = tuple(seconds / self.seconds_per_clip for seconds in moment)
            item |= {"annotation": index, "draws": self._draws[index], "epoch": self.epoch}
        return item

    def collate(self, items: Sequence[dict]) -> dict:
        """The batch of some items: videos padded to all places, sentences to the longest."""
        batch = {"query_ids": [item["query_ids"] for item in items]}
        batch |= self.videos.padded(items) if self.own_videos else {}
        batch["words"], batch["word_mask"] = pad([item["words"] for item in items])
        batch["duration"] = torch.tensor([item["duration"] for item in items], dtype=torch.float64)
        if self.targets:
            moments = [item["moments_cell"] for item in items]
            batch["moments_cell"] = torch.tensor(moments, dtype=torch.float64)
            batch["annotation"] = torch.tensor([item["annotation"] for item in items])
        return batch | drawn(items)

    def set_epoch(self, epoch: int) -> None:
        """Draws what is drawn in each epoch."""
        self.epoch, self._draws = epoch, draw(len(self), self.seed, epoch)

    def query_ids(self, indexes: Iterable[int]) -> list[str]:
        """The ids of the queries of these items."""
        return [self._items[index][0].id for index in indexes]

    def without_targets(self) -> "CorpusQueries":
        """The same queries, and their videos, for inference: one item each, no moment in any of them."""
        given = (self.longest, self.seconds_per_clip, False, self.normalise_words, self.seed, True)
        return CorpusQueries(self.queries, self.sentences, self.videos, *given)

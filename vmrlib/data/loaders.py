"""From queries and features to batches: what every model of this package is trained on and asked.

    items = MomentDataset(queries, features, clips=48, cells=24, words=vectors, vocabulary=vocabulary)
    batch = collate([items[0], items[1]])

A batch is a dict:

    query_ids     list of B texts
    video         (B, M, D)  clips: features scaled to norm 1, resampled to M clips
    words         (B, L, W)  word vectors, zeros for padding and for unknown words
    word_mask     (B, L)     True where there is a word
    duration      (B,)       seconds, float64

and for training only, never for inference:

    moments_cell  (B, 2)     start and end, float64, in cells of duration / N seconds; NaN: not in this video
    hidden_words  (B, L)     True for the words that are to be guessed
    word_labels   (B, L)     rows of the vocabulary, 0 for padding, -100 where nothing is to be learnt
    annotation    (B,)       number of the pair of query and moment in the set
    segment       (B,)       the same number for all queries that have this very moment of this video
    sentence      (B,)       the same number for all queries of the same words

MSAT's data pipeline, sections 2.1 to 2.3 of its specification.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from vmrlib.data.annotations import Query
from vmrlib.data.clips import l2_normalise, resample_mean
from vmrlib.data.store import Features
from vmrlib.text import Vocabulary, WordVectors, tokenize

PAD, UNKNOWN = "<pad>", "<unk>"
HIDDEN_SHARE = 0.15  # of the words of a query, to be guessed
CACHE_BYTES = 4 * 2**30
UNLEARNT = -100  # the label that torch's cross entropy leaves out
DRAWN = 32  # queries are drawn to find one whose video is easily taken for the right one

Videos = Mapping[str, Tensor | Features]


class LoaderError(ValueError):
    """Queries or features that cannot be loaded; the message names the query or video, and the store."""


def seed_of(*parts: object) -> int:
    """A seed of 63 bits that depends on all parts: the same in every process and on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def train_vocabulary(texts: Iterable[str]) -> Vocabulary:
    """The words of the training queries, most frequent first, between padding (0) and unknown (V - 1)."""
    counts = Counter(word for text in texts for word in tokenize(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary([PAD, *words, UNKNOWN])


def clipped(moment: tuple[float, float], duration: float) -> tuple[float, float] | None:
    """The part of a moment that lies within the video (seconds), or None where nothing is left of it."""
    start, end = max(moment[0], 0.0), min(moment[1], duration)
    return (start, end) if start < end else None


def clip_grid(videos: Sequence[Videos], video_id: str, clips: int) -> Float[Tensor, "clips D"]:
    """A video's clips: the rows of each mapping scaled to norm 1 and resampled, put side by side.

    Raises LoaderError, naming video and store, for features that are missing or not finite.
    """
    parts = []
    for features in videos:
        rows = features[video_id]
        rows = (rows.values if isinstance(rows, Features) else rows).float()
        if not torch.isfinite(rows).all():
            raise LoaderError(f"{store_name(features)}: features of video {video_id!r} are not all finite")
        parts.append(resample_mean(l2_normalise(rows), clips))
    return torch.cat(parts, dim=1)


def store_name(features: Videos) -> str:
    """How a message names a mapping of features: its `name`, its `path`, or what it is."""
    return str(getattr(features, "name", "") or getattr(features, "path", "") or type(features).__name__)


def hide_words(mask: Bool[Tensor, "B L"], seed: int) -> Bool[Tensor, "B L"]:
    """The words to be guessed: each with probability 0.15, at least one, and never all of a query.

    A query of one word therefore ends with none (MSAT, section 2.2). `mask` is True where there is a word.
    """
    generator = torch.Generator().manual_seed(seed)
    hidden = (torch.rand(mask.shape, generator=generator) < HIDDEN_SHARE) & mask
    picks = (torch.rand(2, len(mask), generator=generator) * mask.sum(dim=1)).long()  # one word each
    rows = torch.arange(len(mask))
    hidden[rows, picks[0]] |= ~hidden.any(dim=1)
    hidden[rows, picks[1]] &= ~(hidden == mask).all(dim=1)
    return hidden


def is_another(query: Query, video_id: str) -> bool:
    """Is this not the query's own video? What is taken for "not true of it" where nobody knows better."""
    return video_id != query.video_id


class MomentDataset(Dataset):
    """Queries about videos, one item for each moment of a query; without targets one for each query.

    `features`: video id -> (rows, D) tensor or `Features`; several such mappings are put side by side.
    Moments are clipped to the video; those of which nothing is left are in `dropped`, with the query's id.
    With `negatives` each item comes back so many times more with a video that it is not true of, so that a
    model learns to say no: the video of a query that shares words with it, for which `absent(query,
    video_id)` holds (by default any other video). Hidden words and those videos depend on `seed`, the epoch
    (`set_epoch`) and the place of the item, and on nothing else: not on the batch, the worker or the process.
    Videos are resampled once and kept in memory up to `cache_bytes`. Raises LoaderError that names the query,
    or the video and the store, for what cannot be loaded: no moment, no duration, no word, more than
    `longest` words, no features.
    """

    def __init__(
        self,
        queries: Sequence[Query],
        features: Videos | Sequence[Videos],
        clips: int,
        cells: int,
        words: WordVectors,
        vocabulary: Vocabulary,
        seed: int = 0,
        targets: bool = True,
        longest: int | None = None,
        cache_bytes: int = CACHE_BYTES,
        negatives: int = 0,
        absent: Callable[[Query, str], bool] = is_another,
    ):
        # An object for inference must not hold the answers.
        self.queries = list(queries) if targets else [replace(q, moments=(), extra={}) for q in queries]
        self.features = [features] if isinstance(features, Mapping) else list(features)
        self.clips, self.cells, self.seed, self.targets = clips, cells, seed, targets
        self.words, self.vocabulary, self.longest = words, vocabulary, longest
        self.negatives = negatives if targets else 0
        self.absent = absent
        self.cache_bytes, self._cache = cache_bytes, {}
        self.dropped: list[tuple[str, tuple[float, float]]] = []
        self._check_videos()
        self._items = [item for number in range(len(self.queries)) for item in self._items_of(number)]
        segments: dict[tuple, int] = {}
        keys = ((self.queries[number].video_id, moment) for number, moment in self._items)
        self._segments = [segments.setdefault(key, len(segments)) for key in keys]
        tokens = [self._tokens(query) for query in self.queries]
        self._tokens_of = [frozenset(each) for each in tokens]
        sentences: dict[tuple, int] = {}
        self._sentences = [sentences.setdefault(tuple(each), len(sentences)) for each in tokens]
        self._rows = [words.rows(each) for each in tokens]
        self._labels = [torch.tensor(vocabulary(each)) for each in tokens]
        self.set_epoch(0)

    def __len__(self) -> int:
        return self.moment_count

    @property
    def moment_count(self) -> int:
        """How many pairs of a query and a moment there are, negatives included."""
        return len(self._items) * (1 + self.negatives)

    def __getitem__(self, index: int) -> dict:
        """One item: the fields of a batch without their first axis, words not padded."""
        copy, place = divmod(index, len(self._items))
        number, moment = self._items[place]
        query = self.queries[number]
        video_id = self._others[index - len(self._items)] if copy else query.video_id
        item = {
            "query_ids": query.id,
            "video": self.video(video_id),
            "words": self.words.table[self._rows[number]],
            "duration": query.duration,
        }
        if self.targets:
            cell = query.duration / self.cells
            item["moments_cell"] = (math.nan, math.nan) if copy else (moment[0] / cell, moment[1] / cell)
            labels = self._labels[number]
            item["word_labels"] = torch.full_like(labels, UNLEARNT) if copy else labels
            # Hidden in negatives, too: else a sentence without a gap would tell that it is one.
            item["hidden_words"] = self._hidden[index, : len(self._rows[number])]
            item["annotation"], item["segment"] = place, self._segments[place]
            item["sentence"] = self._sentences[number]
        return item

    def set_epoch(self, epoch: int) -> None:
        """Draws the words that are hidden in this epoch, and the videos of the negatives."""
        if self.targets:
            lengths = torch.tensor([len(self._rows[number]) for number, _ in self._items])
            lengths = lengths.repeat(1 + self.negatives)
            mask = torch.arange(int(lengths.max()) if len(lengths) else 0) < lengths[:, None]
            self._hidden = hide_words(mask, seed_of(self.seed, "hidden words", epoch))
            generator = torch.Generator().manual_seed(seed_of(self.seed, "negatives", epoch))
            numbers = [number for number, _ in self._items] * self.negatives
            queries = max(1, len(self.queries))  # of none, none is drawn
            drawn = torch.randint(queries, (len(numbers), DRAWN), generator=generator).tolist()
            self._others = [self._other_video(*pair) for pair in zip(numbers, drawn, strict=True)]

    def _other_video(self, number: int, drawn: Sequence[int]) -> str:
        """The video of the drawn query that shares most words with this one and is not true of it."""
        query, words = self.queries[number], self._tokens_of[number]
        for other in sorted(drawn, key=lambda other: -len(words & self._tokens_of[other])):
            video_id = self.queries[other].video_id
            if is_another(query, video_id) and self.absent(query, video_id):
                return video_id
        for other in self.queries:  # a small set, or a sentence that is true of nearly every video
            if is_another(query, other.video_id) and self.absent(query, other.video_id):
                return other.video_id
        raise LoaderError(f"query {query.id!r} is true of every video: no negative can be made of it")

    def video(self, video_id: str) -> Float[Tensor, "M D"]:
        """The clips of a video, from memory where they are kept."""
        if video_id not in self._cache:
            clips = clip_grid(self.features, video_id, self.clips)
            if (len(self._cache) + 1) * clips.nbytes > self.cache_bytes:  # all are of one size
                return clips
            self._cache[video_id] = clips
        return self._cache[video_id]

    @staticmethod
    def collate(items: Sequence[dict]) -> dict:
        """The batch of some items."""
        return collate(items)

    def query_ids(self, indexes: Iterable[int]) -> list[str]:
        """The ids of the queries of these items."""
        return [self.queries[self._items[index % len(self._items)][0]].id for index in indexes]

    def without_targets(self) -> "MomentDataset":
        """The same queries for inference: one item each, in their order, and no moment in any of them."""
        blind = type(self)(
            self.queries,
            self.features,
            self.clips,
            self.cells,
            self.words,
            self.vocabulary,
            self.seed,
            targets=False,
            longest=self.longest,
            cache_bytes=self.cache_bytes,
        )
        blind._cache = self._cache
        return blind

    @property
    def memory(self) -> int:
        """Bytes of the resampled videos once all of them have been seen."""
        videos = list(dict.fromkeys(query.video_id for query in self.queries))
        return min(len(videos) * self.video(videos[0]).nbytes, self.cache_bytes) if videos else 0

    def _check_videos(self) -> None:
        for video_id, query in {query.video_id: query for query in self.queries}.items():
            for features in self.features:
                if video_id not in features:
                    raise LoaderError(
                        f"query {query.id!r}: no features of video {video_id!r} in {store_name(features)}"
                    )

    def _items_of(self, number: int) -> list[tuple[int, tuple[float, float] | None]]:
        query = self.queries[number]
        if query.duration <= 0:
            raise LoaderError(f"query {query.id!r}: the duration of its video is not known")
        if not self.targets:
            return [(number, None)]
        if not query.moments:
            raise LoaderError(f"query {query.id!r} has no moments: nothing can be learnt from it")
        kept = {moment: clipped(moment, query.duration) for moment in query.moments}
        self.dropped += [(query.id, moment) for moment, inside in kept.items() if inside is None]
        return [(number, inside) for inside in kept.values() if inside is not None]

    def _tokens(self, query: Query) -> list[str]:
        tokens = tokenize(query.text)
        if not tokens:
            raise LoaderError(f"query {query.id!r} has no words: {query.text!r}")
        if self.longest is not None and len(tokens) > self.longest:
            raise LoaderError(
                f"query {query.id!r} has {len(tokens)} words, the model takes {self.longest}: "
                "shorten it, or raise model.positions (of MMN and ReLoCLNet: model.longest)"
            )
        return tokens


def collate(items: Sequence[dict]) -> dict:
    """The batch of some items: words filled up with zeros to the longest query."""
    lengths = torch.tensor([len(item["words"]) for item in items])
    batch = {
        "query_ids": [item["query_ids"] for item in items],
        "video": torch.stack([item["video"] for item in items]),
        "words": _padded(items, "words"),
        "word_mask": torch.arange(int(lengths.max())) < lengths[:, None],
        "duration": torch.tensor([item["duration"] for item in items], dtype=torch.float64),
    }
    if "moments_cell" in items[0]:
        moments = [item["moments_cell"] for item in items]
        batch["moments_cell"] = torch.tensor(moments, dtype=torch.float64)
        batch["hidden_words"] = _padded(items, "hidden_words")
        batch["word_labels"] = _padded(items, "word_labels")
        for name in ("annotation", "segment", "sentence"):
            batch[name] = torch.tensor([item[name] for item in items])
    return batch


def _padded(items: Sequence[dict], name: str) -> Tensor:
    return pad_sequence([item[name] for item in items], batch_first=True)

"""ReLoCLNet's answers over a corpus of videos that is encoded once: VR, VCMR and SVMR (its specification, 6).

    corpus = encode_corpus(model, batches_of_videos)
    found = search(model, corpus, words, word_mask)             # 50 sentences or so at once
    found.videos, found.video_scores                            # VR: which videos
    found.spans                                                 # VCMR: which moments of which videos
    localise_in(model, corpus, words, word_mask, own).spans     # SVMR: which moments of the known video

The released code scores starts and ends in all videos, keeps every video at full length and sorts a table of
all spans. The same answers come from less: rows of clips only, and those behind the end that the filters see;
one matrix product for each stream to score the videos; starts and ends only of the best videos; and
`best_spans` for the rest. Of equal videos and moments the first comes first; the released order of them is
arbitrary. Everything is scored in full precision, whatever autocast says.

A moment of clips i to j is i seconds_per_clip to j seconds_per_clip; the last clip's end cannot be reached.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmrlib.models.precision import in_full_precision
from vmrlib.models.reloclnet import ReLoCLNet
from vmrlib.models.reloclnet_blocks import check_mask
from vmrlib.models.reloclnet_spans import Spans, best, best_spans
from vmrlib.moments import non_maximum_suppression


@dataclass
class Corpus:
    """Videos as the search needs them, in the order in which they were added.

    rows: for each added batch its clips, (R, S d), all videos one after the other, the streams side by side.
    Behind each video are kernel // 2 rows of its padding (fewer where it fills the grid): they reach into the
    similarity that the last clips see.
    inverse_norms: of each row and stream, (R, S).
    """

    clips: int
    behind: int
    rows: list[Tensor] = field(default_factory=list)
    inverse_norms: list[Tensor] = field(default_factory=list)
    segments: list[Tensor] = field(default_factory=list)  # lengths of clips and padding, in turn
    videos: list[Tensor] = field(default_factory=list)  # views of rows, one a video
    lengths: list[int] = field(default_factory=list)  # clips of each video
    seconds_per_clip: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def memory(self) -> int:
        """Bytes of the stored rows and norms."""
        return sum(part.nbytes for part in (*self.rows, *self.inverse_norms))

    @in_full_precision
    def add(
        self, final: Float[Tensor, "B S T d"], mask: Bool[Tensor, "B T"], seconds: Float[Tensor, " B"]
    ) -> None:
        """Puts encoded videos behind those that are there; `seconds` of one clip of each.

        The mask is True up to the end of a video. Raises ValueError for one with holes, and for a video
        without a clip.
        """
        check_mask("mask", mask, to_the_end=True)
        lengths = mask.sum(dim=1)
        if not bool(lengths.all()):
            raise ValueError(
                f"video {len(self) + int((lengths == 0).nonzero()[0])} of the corpus has no clip"
            )
        kept = (lengths + self.behind).clamp_max(mask.shape[1])
        place = torch.arange(mask.shape[1], device=mask.device)
        rows = final.transpose(1, 2)[place < kept[:, None]]  # (R, S, d)
        self.inverse_norms.append(1 / rows.norm(dim=-1).clamp_min(1e-12))
        self.rows.append(rows.flatten(1))
        self.segments.append(torch.stack([lengths, kept - lengths], dim=1).flatten())
        self.videos.extend(self.rows[-1].split(kept.tolist()))
        self.lengths.extend(lengths.tolist())
        self.seconds_per_clip.extend(seconds.tolist())

    @torch.no_grad()
    @in_full_precision
    def scores(self, vectors: Float[Tensor, "Q S d"]) -> Float[Tensor, "Q V"]:
        """phi of every sentence and video: the best cosine of a clip, the mean over the streams.

        Raises ValueError for a corpus without videos.
        """
        if not len(self):
            raise ValueError("corpus: there is no video in it")
        queries, dim, parts = F.normalize(vectors, dim=-1), vectors.shape[-1], []
        for rows, norms, segments in zip(self.rows, self.inverse_norms, self.segments, strict=True):
            total = 0.0
            for s in range(vectors.shape[1]):
                cosines = (rows[:, s * dim : (s + 1) * dim] @ queries[:, s].mT).mul_(norms[:, s, None])
                best = torch.segment_reduce(cosines, "max", lengths=segments, axis=0, unsafe=True)
                total = total + best[::2]  # each second segment is padding
            parts.append(total / vectors.shape[1])
        return torch.cat(parts).mT

    @torch.no_grad()
    @in_full_precision
    def similarity(
        self, queries: Float[Tensor, "Q D"], videos: Int[Tensor, "Q K"]
    ) -> tuple[Float[Tensor, "Q K T"], Bool[Tensor, "Q K T"]]:
        """Dot products of each sentence with the rows of each of its videos, and where there are clips.

        Behind a video's rows there are zeros. A video is read once, for all the sentences that want it.
        """
        flat, order = videos.flatten().sort()
        wanted, counts = flat.unique_consecutive(return_counts=True)
        asking = queries[order // videos.shape[1]]  # (Q K, D), by video
        found = queries.new_zeros(len(flat), self.clips)
        place = 0
        for video, count in zip(wanted.tolist(), counts.tolist(), strict=True):
            rows = self.videos[video]
            found[place : place + count, : len(rows)] = asking[place : place + count] @ rows.mT
            place += count
        similarity = torch.empty_like(found)
        similarity[order] = found
        lengths = torch.tensor(self.lengths, device=videos.device)[videos]
        mask = torch.arange(self.clips, device=videos.device) < lengths[..., None]
        return similarity.view(*videos.shape, -1), mask


class Moments(NamedTuple):
    """Moments of every query, best first: positions in the corpus, seconds, scores.

    A score of 0 is no moment: there were not enough.
    """

    videos: Int[Tensor, "Q N"]
    moments: Float[Tensor, "Q N 2"]  # float64: so are the seconds of a clip
    scores: Float[Tensor, "Q N"]

    def rows(self, query: int, most: int | None = None) -> Float[Tensor, "N 4"]:
        """Video, start, end, score of the moments that one query has, at most so many; float64."""
        kept = self.scores[query] > 0
        columns = (self.videos[query, kept, None], self.moments[query, kept], self.scores[query, kept, None])
        return torch.cat([column.double() for column in columns], dim=1)[:most]


class Found(NamedTuple):
    """What a search found: videos (positions in the corpus) with scores exp(alpha phi), and moments.

    own_spans: those in the sentences' own videos, where these were named.
    """

    videos: Int[Tensor, "Q K"]
    video_scores: Float[Tensor, "Q K"]
    spans: Moments
    own_spans: Moments | None = None


@torch.no_grad()
def encode_corpus(model: ReLoCLNet, batches: Iterable[Mapping]) -> Corpus:
    """The videos of all batches, encoded; a batch as for `ReLoCLNet.encode_video`.

    A batch also holds `duration` (seconds) where the configuration says no seconds_per_clip. The released
    figures need every batch padded to `config.clips`. Batches are moved to where the model is. Raises
    ValueError for a model in training mode, whose dropout would make the rows random.
    """
    device = _ready(model)
    corpus = Corpus(model.config.clips, model.config.kernel // 2)
    for given in batches:
        batch = {name: part.to(device) if isinstance(part, Tensor) else part for name, part in given.items()}
        encoded = model.encode_video(batch)
        corpus.add(encoded["final"], encoded["mask"], model.seconds_per_clip(batch, len(encoded["mask"])))
    return corpus


@torch.no_grad()
def search(
    model: ReLoCLNet,
    corpus: Corpus,
    words: Float[Tensor, "Q L W"],
    word_mask: Bool[Tensor, "Q L"],
    videos: int = 100,
    spans: int = 200,
    own: Int[Tensor, " Q"] | None = None,
) -> Found:
    """The best videos of each sentence (VR), the best moments in them (VCMR), and in its `own` (SVMR).

    A moment's score is start probability times exp(alpha phi) times end probability. Where the corpus has
    fewer than `videos`, all of them are searched; the released code fails. Raises ValueError for a model in
    training mode, an empty corpus, and an `own` that is no position in it.
    """
    vectors = _vectors(model, words, word_mask)
    scores, found_videos = best(corpus.scores(vectors), videos)
    weight = (model.config.alpha * scores).exp()
    found = Found(found_videos, weight, _localise(model, corpus, vectors, found_videos, weight, spans))
    return (
        found if own is None else found._replace(own_spans=_localise_own(model, corpus, vectors, own, spans))
    )


@torch.no_grad()
def localise_in(
    model: ReLoCLNet,
    corpus: Corpus,
    words: Float[Tensor, "Q L W"],
    word_mask: Bool[Tensor, "Q L"],
    video: Int[Tensor, " Q"],
    spans: int = 200,
) -> Moments:
    """The best moments of each sentence in one video, its own (SVMR); scores are probabilities.

    Raises ValueError as `search` does.
    """
    vectors = _vectors(model, words, word_mask)
    return _localise_own(model, corpus, vectors, video, spans)


def suppress(rows: Float[Tensor, "N 4"], threshold: float, most: int = 100) -> Float[Tensor, "K 4"]:
    """The rows (video, start, end, score) that survive non-maximum suppression in each video, best first.

    The released code hands the moments of SVMR to its suppression with the columns shifted by one, so that
    nothing is suppressed and the score is lost; this is what it means to do.
    """
    kept = [torch.empty(0, dtype=torch.long, device=rows.device)]
    for video in rows[:, 0].unique():
        own = (rows[:, 0] == video).nonzero()[:, 0]
        kept.append(own[non_maximum_suppression(rows[own, 1:3], rows[own, 3], threshold, most)])
    survivors = rows[torch.cat(kept).sort().values]
    return survivors[survivors[:, 3].argsort(descending=True, stable=True)][:most]


def _ready(model: ReLoCLNet) -> torch.device:
    """Where the model is; ValueError where it is in training mode."""
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() first")
    return model.start.weight.device


def _vectors(
    model: ReLoCLNet, words: Float[Tensor, "Q L W"], word_mask: Bool[Tensor, "Q L"]
) -> Float[Tensor, "Q S d"]:
    """What the model makes of the sentences."""
    device = _ready(model)
    return model.query(words.to(device), word_mask.to(device))[2]


def _localise_own(
    model: ReLoCLNet,
    corpus: Corpus,
    vectors: Float[Tensor, "Q S d"],
    video: Int[Tensor, " Q"],
    top: int,
) -> Moments:
    """The best moments in one video for each sentence, not weighted."""
    video = video.to(vectors.device)
    wrong = (video < 0) | (video >= len(corpus))
    if bool(wrong.any()):
        expected = f"expected positions from 0 to below {len(corpus)}"
        raise ValueError(f"own: {expected}, found {int(video[wrong][0])}")
    return _localise(model, corpus, vectors, video[:, None], vectors.new_ones(len(video), 1), top)


def _localise(
    model: ReLoCLNet,
    corpus: Corpus,
    vectors: Float[Tensor, "Q S d"],
    videos: Int[Tensor, "Q K"],
    weight: Float[Tensor, "Q K"],
    top: int,
) -> Moments:
    """The best moments in these videos, each weighted."""
    queries = model.span_queries(vectors).flatten(1) / model.config.streams
    logits = model.span_logits(*corpus.similarity(queries, videos))
    start, end = (part.softmax(dim=-1) for part in logits)
    found: Spans = best_spans(start, end, weight, model.config.span_clips, top)
    chosen = videos.gather(1, found.video)
    seconds = torch.tensor(corpus.seconds_per_clip, dtype=torch.float64, device=chosen.device)[chosen]
    moments = torch.stack([found.start, found.end], dim=-1) * seconds[..., None]
    return Moments(chosen, moments, found.score)

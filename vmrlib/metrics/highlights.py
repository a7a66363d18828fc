"""Highlight detection as QVHighlights measures it: does the saliency of the clips follow the raters' scores?

Three raters scored each clip of two seconds from 0 to 4 (outside the annotated clips 0). A clip is positive
for a rater from 2 (Fair), 3 (Good) or 4 (VeryGood) on. The average precision is not the usual one: it is
the plain mean of the interpolated precision over the points where recall grows, and clips of equal
saliency are one point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float, Int

from vmrlib.data.annotations import Query

LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}
SECONDS_PER_CLIP = 2
RATERS = 3
SCORES = {0, 1, 2, 3, 4}
MOST_SECONDS = 100_000  # of a video; more is a slip, and would fill the memory


class HighlightError(ValueError):
    """Saliency or raters' scores that cannot be judged; the message names the query."""


@dataclass(frozen=True, eq=False)
class HighlightScores:
    """What each query reaches at one level: average precision per rater, and whether the best clip hits."""

    precision: Float[np.ndarray, "Q 3"]
    hit: Bool[np.ndarray, " Q"]


def highlight_scores(saliency: Sequence, queries: Sequence[Query]) -> dict[str, HighlightScores]:
    """Average precision (0..1) and Hit@1 of every query, by level.

    `saliency[q]` has one number a clip of query q's video. It is cut to the video's clips, or filled up with
    zeros, which rank above negative saliency; Hit@1 takes the first of the highest before that, and it is a
    miss where it lies after the video. Without any saliency a query is a miss. Raises HighlightError for a
    query without `relevant_clip_ids` and `saliency_scores` in `extra`, or with clips outside its video.
    """
    ratings, mask = rated_clips(queries)  # (Q, 3, T), (Q, T)
    score = np.zeros(mask.shape)
    best = np.full(len(queries), -1)
    for row, values in enumerate(saliency):
        values = np.asarray(values, dtype=float)
        if len(values):
            best[row] = values.argmax()
            score[row, : len(values)] = values[: mask.shape[1]]
    inside = (best >= 0) & (best < mask.sum(axis=1))
    rated_best = ratings[np.arange(len(queries)), :, np.where(inside, best, 0)].max(axis=1)
    score = np.where(mask, score, -np.inf)
    order = np.argsort(-score, axis=1)  # equal scores are one point: their order does not matter
    score = np.take_along_axis(score, order, axis=1)
    ratings = np.take_along_axis(ratings, order[:, None], axis=2)
    last = np.ones(mask.shape, dtype=bool)  # of the clips of one point
    last[:, :-1] = score[:, 1:] != score[:, :-1]
    return {
        level: HighlightScores(
            _mean_interpolated_precision(ratings >= least, last), inside & (rated_best >= least)
        )
        for level, least in LEVELS.items()
    }


def rated_clips(queries: Sequence[Query]) -> tuple[Int[np.ndarray, "Q 3 T"], Bool[np.ndarray, "Q T"]]:
    """The raters' scores of the clips of each query's video, 0 where nobody rated, and a mask of the clips.

    Raises HighlightError as `highlight_scores`.
    """
    number = [int(query.duration / SECONDS_PER_CLIP) for query in queries]
    mask = np.arange(max([*number, 1])) < np.array(number)[:, None]
    ratings = np.zeros((len(queries), RATERS, mask.shape[1]), dtype=np.int8)
    for query, clips in zip(queries, number, strict=True):
        _check(query, clips)
    clips = [query.extra["relevant_clip_ids"] for query in queries]
    row = np.repeat(np.arange(len(queries)), [len(ids) for ids in clips])
    scores = chain.from_iterable(chain.from_iterable(query.extra["saliency_scores"] for query in queries))
    clip = np.fromiter(chain.from_iterable(clips), dtype=int)
    ratings[row, :, clip] = np.fromiter(scores, dtype=np.int8).reshape(-1, RATERS)
    return ratings, mask


def _check(query: Query, n_clips: int) -> None:
    """Raises HighlightError where there are not three scores for each rated clip, all within the video."""
    clips, scores = query.extra.get("relevant_clip_ids"), query.extra.get("saliency_scores")
    try:
        whole = set(map(type, clips)) <= {int} and set(chain.from_iterable(scores)) <= SCORES
        fits = len(clips) == len(scores) and set(map(len, scores)) <= {RATERS}
        inside = not clips or 0 <= min(clips) <= max(clips) < n_clips
    except TypeError:
        whole = fits = inside = False
    if not (whole and fits and inside):
        raise HighlightError(
            f"query {query.id}: relevant_clip_ids must be whole numbers below {n_clips} (the clips of its "
            f"video), and saliency_scores {RATERS} of 0, 1, 2, 3, 4 for each"
        )


def _mean_interpolated_precision(
    positive: Bool[np.ndarray, "Q 3 T"], last: Bool[np.ndarray, "Q T"]
) -> Float[np.ndarray, "Q 3"]:
    """The mean over the points where recall grows of the best precision at that recall or a higher one.

    `positive` holds the clips best first; `last` is True at the last clip of each point. 0 without
    positives. Clips after the video come last and are never positive.
    """
    last = last[:, None]
    count = positive.cumsum(axis=2, dtype=np.int32)
    at_points = count * last
    precision = at_points / np.arange(1.0, count.shape[2] + 1)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    grows = positive
    if not last.all():
        grows = at_points.copy()  # here: more positives than at the point before
        grows[..., 1:] -= np.maximum.accumulate(at_points, axis=2)[..., :-1]
        grows = grows > 0
    return (envelope * grows).sum(axis=2) / np.maximum(grows.sum(axis=2), 1)

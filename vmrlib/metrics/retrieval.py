"""How text-video retrieval is measured: ranks, R@K, and the median, mean and deviation of the rank.

Two questions decide what a figure means. Equal scores: `ties="pessimistic"` ranks every equal score before
the truth, so that constant scores come last; `ties="released"` is what the released code of UCoFiA and
CLIP4Clip does, for parity only (see `entries_released`). Several sentences per video: text to video asks
with every sentence and takes the lower median; video to text scores a video's group of sentences by its best.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Scores = Float[np.ndarray, "S V"] | Float[Tensor, "S V"]
Columns = Sequence[int] | Int[np.ndarray, " S"] | Int[Tensor, " S"]


def ranks(scores: Scores, truth: Columns | None = None, ties: str = "pessimistic") -> Int[np.ndarray, " S"]:
    """The rank of the true column in each row, 1 the best.

    `truth[s]` is the true column of row s, by default s itself (a square matrix with the truth on the
    diagonal). `ties`: "pessimistic" puts every score that is not lower before the truth, NaN too;
    "released" takes the place in torch's sort, which orders equal scores of long rows as it likes.
    Raises ValueError where the truth does not fit the scores.
    """
    scores, truth = _checked(scores, truth, ties)
    if ties == "pessimistic":
        own = scores[np.arange(len(scores)), truth]
        return len(scores[0]) - (scores < own[:, None]).sum(axis=1)
    order = torch.argsort(torch.from_numpy(np.ascontiguousarray(scores)), dim=-1, descending=True).numpy()
    return 1 + (order == truth[:, None]).argmax(axis=1)


def text_to_video(
    scores: Scores,
    video_of: Columns | None = None,
    top: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """R@K in percent, MdR, MnR and std of searching videos by sentence.

    `scores` (S, V) compares sentence s with video v; `video_of[s]` is the video that sentence s describes.
    Without it the matrix is square, and the median is the mean of the two middle ranks; with it every
    sentence is a query, and the median is the lower one.
    """
    if video_of is not None:
        scores, video_of = _checked(scores, video_of, ties)
        if ties == "released":  # a sentence whose own score is infinite or NaN does not count there
            counts = np.isfinite(scores[np.arange(len(scores)), video_of])
            scores, video_of = scores[counts], video_of[counts]
        return summary(ranks(scores, video_of, ties), top, lower_median=True)
    return summary(entries(scores, ties), top)


def video_to_text(
    scores: Scores,
    video_of: Columns | None = None,
    top: Sequence[int] = (1, 5, 10),
    ties: str = "pessimistic",
) -> dict[str, float]:
    """R@K in percent, MdR, MnR and std of searching sentences by video; `scores` as in `text_to_video`.

    With `video_of` a video's group of sentences has the best score among them, and groups are ranked.
    Raises ValueError for a video without a sentence.
    """
    if video_of is None:
        return summary(entries(_array(scores).T, ties), top)
    scores, video_of = _checked(scores, video_of, ties)
    n_videos = scores.shape[1]
    present = np.bincount(video_of, minlength=n_videos) > 0
    if not present.all():
        raise ValueError(f"video {int(np.argmin(present))} has no sentence")
    if ties == "released":
        scores = np.where(np.isnan(scores), -np.inf, scores)
    best = np.full((n_videos, n_videos), -np.inf, dtype=scores.dtype)  # (group, video)
    np.maximum.at(best, video_of, scores)
    return summary(entries(best.T, ties), top)


def summary(
    ranks: Int[np.ndarray, " S"], top: Sequence[int] = (1, 5, 10), lower_median: bool = False
) -> dict[str, float]:
    """R@K in percent for each K of `top`, MdR, MnR and std of ranks that start at 1."""
    if len(ranks) == 0:
        raise ValueError("no ranks to summarise")
    middle = np.sort(ranks)[(len(ranks) - 1) // 2] if lower_median else np.median(ranks)
    return {f"R@{k}": 100 * float((ranks <= k).mean()) for k in top} | {
        "MdR": float(middle),
        "MnR": float(ranks.mean()),
        "std": float(ranks.std()),
    }


def entries(scores: Scores, ties: str = "pessimistic") -> Int[np.ndarray, " E"]:
    """The ranks that a square matrix is summarised by: one a row, or more with `ties="released"`."""
    if ties == "released":
        return entries_released(scores)
    return ranks(scores, None, ties)


def entries_released(scores: Scores) -> Int[np.ndarray, " E"]:
    """Ranks as the released code finds them in a square matrix: one for every score equal to the truth's.

    It sorts a row and looks for all places that hold the score of the diagonal. A row in which k others
    equal it counts k + 1 times, at consecutive ranks, so the denominator is no longer the number of
    queries; a row whose truth is infinite or NaN does not count at all.
    """
    scores, truth = _checked(scores, None, "released")
    own = scores[np.arange(len(scores)), truth][:, None]
    with np.errstate(invalid="ignore"):
        equal = (scores - own == 0).sum(axis=1)
    higher = (scores > own).sum(axis=1)
    row = np.repeat(np.arange(len(scores)), equal)
    within = np.arange(len(row)) - np.repeat(np.cumsum(equal) - equal, equal)
    return 1 + higher[row] + within


def _array(scores) -> np.ndarray:
    """Scores in their own precision: rounding decides what is a tie."""
    if isinstance(scores, Tensor):
        scores = scores.detach().cpu()
        scores = (
            scores.float() if scores.dtype == torch.bfloat16 else scores
        ).numpy()  # NumPy has no bfloat16
    return np.asarray(scores)


def _checked(scores, truth, ties: str) -> tuple[np.ndarray, np.ndarray]:
    scores = _array(scores)
    if ties not in ("pessimistic", "released"):
        raise ValueError(f'ties must be "pessimistic" or "released", not {ties!r}')
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"scores must be a matrix of sentences and videos, not of shape {scores.shape}")
    if truth is None:
        if scores.shape[0] != scores.shape[1]:
            raise ValueError(
                f"scores of shape {scores.shape} are not square: say which video each sentence describes"
            )
        return scores, np.arange(len(scores))
    truth = _array(truth)
    if truth.shape != (len(scores),) or truth.dtype.kind not in "iu":
        raise ValueError(f"expected one column number for each of {len(scores)} rows")
    wrong = (truth < 0) | (truth >= scores.shape[1])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"row {row} has true column {truth[row]}, but there are {scores.shape[1]} columns")
    return scores, truth

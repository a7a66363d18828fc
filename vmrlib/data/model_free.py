"""Answers that need no model: what every model has to beat.

Each function returns one (1, 2) float64 tensor of seconds per query, the answer to it. Everything that is
chosen is chosen on the training queries.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vmrlib.data.annotations import Query
from vmrlib.moments import temporal_iou

GRID = 24  # edges of the windows to choose from: 1/24 of the duration
CHUNK = 4096  # moments compared with all windows at a time

Answers = list[Float[Tensor, "1 2"]]


def truths(queries: Sequence[Query]) -> list[Float[Tensor, "_ 2"]]:
    """The true moments (M, 2) of every query in seconds; ValueError for a query that has none."""
    for query in queries:
        if not query.moments:
            raise ValueError(f"query {query.id!r} has no moments: it cannot be scored or learnt from")
    moments = [moment for query in queries for moment in query.moments]
    together = torch.tensor(moments, dtype=torch.float64).reshape(-1, 2)
    return list(together.split([len(query.moments) for query in queries]))


def full_video(queries: Sequence[Query]) -> Answers:
    """The whole video, whatever was asked."""
    return _stretched(torch.tensor([0.0, 1.0], dtype=torch.float64), queries)


def train_median(train: Sequence[Query], test: Sequence[Query]) -> Answers:
    """From the median start to the median end of the training moments, as fractions of the duration."""
    return _stretched(median_window(train), test)


def median_window(train: Sequence[Query]) -> Float[Tensor, " 2"]:
    """The median of the starts and the median of the ends of all moments, as fractions of the durations.

    The median of an even number of values is the mean of the two in the middle.
    """
    fractions = _fractions(train)
    if not len(fractions):
        raise ValueError("no training moments to take the median of")
    return torch.quantile(fractions, 0.5, dim=0)


def constant_window(train: Sequence[Query], test: Sequence[Query], iou: float = 0.5) -> Answers:
    """The same window for every query: the one that reaches `iou` most often in training."""
    (window,) = best_windows(train, lambda query: None, iou).values()
    return _stretched(window, test)


def random_moment(queries: Sequence[Query], seed: int) -> Answers:
    """Start and end drawn at random, uniformly over the video."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(len(queries), 2, generator=generator, dtype=torch.float64).sort(dim=1)[0]
    return [share[None] * query.duration for share, query in zip(shares, queries, strict=True)]


def windows() -> Float[Tensor, "M 2"]:
    """All windows on the grid, as fractions of the duration."""
    edges = torch.linspace(0, 1, GRID + 1, dtype=torch.float64)
    return torch.tensor(
        [(a, b) for a in edges.tolist() for b in edges.tolist() if a < b], dtype=torch.float64
    )


def best_windows(
    train: Sequence[Query], key: Callable[[Query], Hashable], iou: float = 0.5
) -> dict[Hashable, Float[Tensor, " 2"]]:
    """For each value of `key(query)` the window that reaches `iou` most often on the training queries.

    A query counts once, however many of its moments a window hits. Windows are fractions of the duration.
    """
    if not train:
        raise ValueError("no training queries to choose a window on")
    candidates = windows()
    hits = _hits(candidates, train, iou)
    members: dict[Hashable, list[int]] = {}
    for number, query in enumerate(train):
        members.setdefault(key(query), []).append(number)
    return {value: candidates[hits[:, numbers].sum(dim=1).argmax()] for value, numbers in members.items()}


def _stretched(window: Float[Tensor, " 2"], queries: Sequence[Query]) -> Answers:
    """A window of fractions as seconds of each query's video."""
    durations = torch.tensor([query.duration for query in queries], dtype=torch.float64)
    return list((window * durations[:, None])[:, None])


def _hits(candidates: Float[Tensor, "M 2"], queries: Sequence[Query], iou: float) -> Bool[Tensor, "M Q"]:
    """Whether each window reaches `iou` with some moment of each query."""
    fractions = _fractions(queries)
    owner = torch.tensor([number for number, query in enumerate(queries) for _ in query.moments])
    hits = torch.zeros(len(queries), len(candidates), dtype=torch.bool)
    for first in range(0, len(fractions), CHUNK):
        part = temporal_iou(candidates, fractions[first : first + CHUNK]) >= iou
        moment, window = part.T.nonzero(as_tuple=True)
        hits[owner[first : first + CHUNK][moment], window] = True
    return hits.T


def _fractions(queries: Sequence[Query]) -> Float[Tensor, "N 2"]:
    """All moments of all queries, divided by the durations of their videos."""
    moments = torch.cat(truths(queries)) if queries else torch.zeros(0, 2, dtype=torch.float64)
    durations = [query.duration for query in queries for _ in query.moments]
    return moments / torch.tensor(durations, dtype=torch.float64)[:, None]

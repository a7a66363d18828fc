"""Intervals of means by resampling: how much a figure would move with other videos.

Queries of one video are not independent (same scene, often the same moment), so whole videos are drawn:
pass their ids as `groups`. An interval of queries that are drawn one by one is too narrow.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from vmrlib.metrics.overlap import as_array

CHUNK = 4_000_000  # numbers drawn at once

Values = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."] | Sequence  # one number a query, or hits


def bootstrap_interval(
    values: Values,
    groups: Sequence | np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval (low, high) of the mean of per-query values, in their unit.

    Percentile bootstrap: groups (by default single queries) are drawn with replacement, as many as there
    are, and the mean over their queries is taken, `resamples` times. The same seed draws the same groups.
    Raises ValueError for no values, values that are not finite, or groups of another length.
    """
    columns = as_array(values)
    if columns.ndim != 1:
        raise ValueError(f"values must be one number a query, not an array of shape {columns.shape}")
    ((low, high),) = bootstrap_intervals(columns[:, None], groups, level, resamples, seed)
    return float(low), float(high)


def bootstrap_difference(
    a: Values,
    b: Values,
    groups: Sequence | np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of mean(a) - mean(b), where a[q] and b[q] belong to the same query (paired).

    Two models differ beyond the choice of videos when it does not contain 0.
    """
    a, b = as_array(a), as_array(b)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, not {a.shape} and {b.shape}")
    return bootstrap_interval(a - b, groups, level, resamples, seed)


def bootstrap_intervals(
    values: Float[np.ndarray, "Q K"],
    groups: Sequence | np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Float[np.ndarray, "K 2"]:
    """The interval of the mean of each column, all from the same resamples; as `bootstrap_interval`."""
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError("a bootstrap needs at least one value, and finite ones")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must lie between 0 and 1, resamples be 1 or more: {level}, {resamples}")
    if groups is None:
        group = np.arange(len(values))
    elif len(groups) == len(values):
        _, group = np.unique(np.asarray(groups), return_inverse=True)
    else:
        raise ValueError(f"{len(groups)} groups for {len(values)} values")
    size = np.bincount(group).astype(float)
    total = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1)  # (G, K)
    means = np.concatenate(list(_resampled_means(total, size, resamples, seed)))
    edges = (0.5 - level / 2, 0.5 + level / 2)
    return np.quantile(means, edges, axis=0).T


def _resampled_means(total, size, resamples: int, seed: int):
    """Means (R, K) of all resamples, some at a time so that memory stays small."""
    generator = np.random.default_rng(seed)
    n = len(size)
    step = max(1, CHUNK // n)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)  # how often each is drawn
        yield (times @ total) / (times @ size)[:, None]

"""Results of an ablation: what its file holds, and the figures that tables and notebooks draw from it.

The file is made by `python -m vmrlib ablate`. Every run is kept with its hits, one string of 0 and 1 for each
split and IoU, in the order of the queries; whatever is printed is computed from these.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from vmrlib.metrics.bootstrap import bootstrap_intervals

NORMAL = 1.96  # standard errors on either side of a 95 % interval
# 97.5 % points of Student's t by degrees of freedom: the spread of three seeds is itself uncertain.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
STUDENT |= {10: 2.228, 12: 2.179, 14: 2.145, 16: 2.120, 20: 2.086}


class ResultsError(ValueError):
    """A results file that cannot be used; the message names it, and what is missing."""


@dataclass(frozen=True)
class Mean:
    """Recall in percent over the seeds: mean, deviation between seeds, standard error of the queries."""

    mean: float
    deviation: float
    error: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.deviation:.1f}"


@dataclass(frozen=True)
class Difference:
    """Mean of one arm less that of another, in points, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Does the interval leave out 0?"""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        verdict = "" if self.shown else ", not shown"
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]{verdict}"


def read_results(path: str | os.PathLike) -> dict:
    """The content of a results file; ResultsError for one that is none."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON ({error})") from None
    if not isinstance(results, dict) or "arms" not in results:
        raise ResultsError(f'{path}: field "arms" is missing: no results of an ablation')
    return results


def hits(results: Mapping, arm: str, split: str, iou: float = 0.5) -> Bool[np.ndarray, "S Q"]:
    """Is rank 1 right at this IoU? One row for each seed, one column for each query."""
    try:
        runs = results["arms"][arm]["runs"]
        rows = [runs[seed]["hits"][split][str(iou)] for seed in sorted(runs, key=int)]
    except KeyError as missing:
        raise ResultsError(f"no hits of {arm!r} on {split} at IoU={iou}: {missing} is not there") from None
    return np.array([[hit == "1" for hit in row] for row in rows])


def answers(results: Mapping, arm: str) -> Float[np.ndarray, "Q 2"]:
    """The moments that an arm's first seed puts first on test-iid, in seconds."""
    run = results["arms"].get(arm, {"runs": {}})["runs"].get(str(results["seeds"][0]), {})
    if "answers" not in run:
        raise ResultsError(f"no answers of {arm!r}")
    return np.array([moment.split(":") for moment in run["answers"].split()], dtype=float)


def videos(results: Mapping, split: str) -> np.ndarray:
    """The number of the video of each query."""
    return np.repeat(
        np.arange(len(results["splits"][split]["queries_per_video"])),
        results["splits"][split]["queries_per_video"],
    )


def recall(results: Mapping, arm: str, split: str, iou: float = 0.5) -> Mean:
    """R@1 of an arm on a split, in percent. Its error is that of drawing other videos."""
    rows = 100.0 * hits(results, arm, split, iou)
    seeds = rows.mean(axis=1)
    ((low, high),) = bootstrap_intervals(rows.mean(axis=0)[:, None], videos(results, split))
    return Mean(float(seeds.mean()), _deviation(seeds), float(high - low) / (2 * NORMAL), len(seeds))


def difference(results: Mapping, arm: str, other: str, split: str, iou: float = 0.5) -> Difference:
    """How much better an arm is than another on the same queries, in points of R@1.

    The interval holds both noises: that of drawing other videos (paired), and that of drawing other seeds.
    Raises ResultsError for an arm less itself.
    """
    if arm == other:
        raise ResultsError(f"the difference of {arm!r} and itself")
    return combination(results, {arm: 1, other: -1}, split, iou)


def interaction(
    results: Mapping, both: str, one: str, other: str, neither: str, split: str, iou: float = 0.5
) -> Difference:
    """What two changes do together beyond the sum of what each does alone: both - one - other + neither.

    Above 0 they complement each other, below 0 they are redundant.
    """
    return combination(results, {both: 1, one: -1, other: -1, neither: 1}, split, iou)


def combination(results: Mapping, weights: Mapping[str, int], split: str, iou: float = 0.5) -> Difference:
    """A weighted sum of arms, with the interval that `difference` has."""
    rows = {arm: 100.0 * hits(results, arm, split, iou) for arm in weights}
    paired = sum(weight * rows[arm].mean(axis=0) for arm, weight in weights.items())
    ((low, high),) = bootstrap_intervals(paired[:, None], videos(results, split))
    error = float(high - low) / (2 * NORMAL)
    spreads = (
        weight**2 * _deviation(rows[arm].mean(axis=1)) ** 2 / len(rows[arm])
        for arm, weight in weights.items()
    )
    freedom = sum(len(each) - 1 for each in rows.values())
    half = float(np.hypot(NORMAL * error, _student(freedom) * sum(spreads) ** 0.5))
    mean = float(paired.mean())
    return Difference(mean, mean - half, mean + half)


def next_run(results: Mapping, arm: str, split: str, iou: float = 0.5) -> tuple[float, float]:
    """Where R@1 of one more seed should lie, with 95 % confidence, in percent."""
    measured = recall(results, arm, split, iou)
    spread = _student(measured.seeds - 1) * measured.deviation
    half = float(np.hypot(spread * (1 + 1 / measured.seeds) ** 0.5, NORMAL * measured.error))
    return measured.mean - half, measured.mean + half


def table(results: Mapping, iou: float = 0.5) -> str:
    """R@1 of all arms (rows) on all splits (columns) as Markdown: mean over seeds ± their deviation."""
    splits = list(results["splits"])
    lines = ["| | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    for arm in results["arms"]:
        cells = [str(recall(results, arm, split, iou)) for split in splits]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _student(freedom: int) -> float:
    return STUDENT[max(known for known in STUDENT if known <= max(freedom, 1))]


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0

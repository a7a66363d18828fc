"""VR, SVMR and VCMR over a corpus of videos, as the evaluator of TVR computes them.

Video retrieval (VR) asks for the video, single video moment retrieval (SVMR) for the moment in the known
video, video corpus moment retrieval (VCMR) for both. Source: `standalone_eval/eval.py` of
jayleicn/TVRetrieval (Lei et al. 2020), commit 34777b4b. Everything is float32, the thresholds too: where
moments lie on a grid, float64 gives other hits. Recalls are rounded as NumPy rounds, which is not quite how
Python formats.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import MOST, TASKS, CorpusPredictions, check_ids
from vmrlib.metrics.overlap import hull_iou

RANKS = (1, 5, 10, 100)
IOUS = (0.5, 0.7)
TYPES = ("v", "t", "vt")  # what a query is about: video, subtitles, both


def evaluate_corpus(
    submission: CorpusPredictions,
    queries: Sequence[Query],
    top: Sequence[int] = RANKS,
    ious: Sequence[float] = IOUS,
    partial: bool = False,
) -> dict:
    """Recalls in percent of every task in the submission, with the keys and decimals of the official file.

    `{"VCMR": {"0.5-r1": ...}, "VR": {"r1": ...}, "VCMR_by_type": {"v-0.5-r1": ..., "desc_type_ratio": ...}}`;
    by type only where every query has its `type` in `extra`, and None for a type without queries. A query
    with four moments or more (DiDeMo: one an annotator) is hit by a moment that reaches the IoU with at
    least two of them. With `partial` queries without a prediction are left out, and `partial` in the result
    tells how many. Raises PredictionError where the ids do not match, and ValueError for a query whose
    video has no index or whose type is unknown, and for a rank above 100.
    """
    if max(top, default=0) > MOST:
        raise ValueError(f"only {MOST} rows of a prediction count, so R@{max(top)} cannot be had")
    metrics, by_type, notes = {}, {}, {}
    for task in TASKS:
        if task not in submission.tasks:
            continue
        rows = submission.tasks[task]
        check_ids(rows, [query.id for query in queries], partial, f"{task}: ")
        asked = [query for query in queries if query.id in rows]
        if len(asked) < max(len(queries), len(rows)):
            notes[task] = {
                "queries": len(asked),
                "without_prediction": len(queries) - len(asked),
                "without_query": len(rows) - len(asked),
            }
        hits = task_hits(task, rows, asked, submission.video_index, top, ious)
        metrics[task] = {name: percent_numpy(hit.mean()) for name, hit in hits.items()}
        types = [query.extra.get("type") for query in asked]
        if None not in types:
            by_type[f"{task}_by_type"] = _by_type(hits, types)
    return metrics | by_type | ({"partial": notes} if notes else {})


def task_hits(
    task: str,
    rows: dict[str, Float[np.ndarray, "N 3"]],
    queries: Sequence[Query],
    video_index: dict[str, int],
    top: Sequence[int] = RANKS,
    ious: Sequence[float] = IOUS,
) -> dict[str, Bool[np.ndarray, " Q"]]:
    """For each figure of a task (`0.5-r1`, or `r1` for VR) which queries it counts as hit.

    `rows[id]` are (video index, start, end), best first. In SVMR rows of other videos are left out before
    the first k are taken.
    """
    found, mask = _pad([rows[query.id] for query in queries], 3)
    video = np.array([_index(query, video_index) for query in queries], dtype=np.float32)
    right = (found[..., 0] == video[:, None]) & mask  # (Q, N)
    if task == "VR":
        return {f"r{k}": right[:, :k].any(axis=1) for k in top}
    known, known_mask = _pad([query.moments for query in queries], 2)
    needed = np.where(known_mask.sum(axis=1) >= 4, 2, 1)
    overlap = hull_iou(found[:, :, None, 1:], known[:, None])  # (Q, N, M)
    overlap *= right[..., None]
    rank = right.cumsum(axis=1) if task == "SVMR" else np.arange(1, right.shape[1] + 1)[None]
    hits = {}
    for iou in ious:
        agreeing = ((overlap >= np.float32(iou)) & known_mask[:, None]).sum(axis=2)
        hit = (agreeing >= needed[:, None]) & right
        hits |= {f"{iou}-r{k}": (hit & (rank <= k)).any(axis=1) for k in top}
    return hits


def percent_numpy(fraction: float) -> float:
    """A fraction in percent, rounded to two decimals as the official file."""
    return float(np.round(100 * np.float64(fraction), 2))


def _by_type(hits: dict, types: list) -> dict:
    """Every figure of a task for the queries of each type, and how the types are distributed."""
    unknown = sorted(set(map(str, types)) - set(TYPES))
    if unknown:
        raise ValueError(f"the type of a query must be one of {', '.join(TYPES)}, not {unknown[0]!r}")
    figures = {}
    for name in TYPES:
        rows = np.array([one == name for one in types])
        for key, hit in hits.items():
            figures[f"{name}-{key}"] = percent_numpy((hit & rows).sum() / rows.sum()) if rows.any() else None
    shares = (f"{name} {percent_numpy(types.count(name) / len(types))}" for name in TYPES)
    return figures | {"desc_type_ratio": " ".join(shares)}


def _index(query: Query, video_index: dict[str, int]) -> int:
    if not query.moments:
        raise ValueError(f"query {query.id} has no true moment: annotations of a blind split?")
    if query.video_id not in video_index:
        raise ValueError(f"query {query.id}: video {query.video_id!r} has no index in video2idx")
    return video_index[query.video_id]


def _pad(rows: Sequence, columns: int) -> tuple[Float[np.ndarray, "Q N C"], Bool[np.ndarray, "Q N"]]:
    """Rows of all queries in one float32 array, and a mask of the real ones."""
    counts = np.array([len(row) for row in rows])
    mask = np.arange(max(counts.max(), 1)) < counts[:, None]
    padded = np.zeros((*mask.shape, columns), dtype=np.float32)
    padded[mask] = np.concatenate([np.asarray(row, dtype=np.float32).reshape(-1, columns) for row in rows])
    return padded, mask

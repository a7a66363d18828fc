"""Where a model is right: recall by the length of the moment, its place, the length of the query, its verb.

The groups depend on annotations alone, so that they are the same for every model. A query with several true
moments is grouped by the longest one (the first of equals), though the best fitting one gives its IoU.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmrlib.data.annotations import Query
from vmrlib.data.predictions import check_queries
from vmrlib.metrics.bootstrap import bootstrap_intervals
from vmrlib.metrics.recall import best_iou, reaches
from vmrlib.text import VERB_TAGS, lemma, plain_words, tag

LENGTHS = ((5, "at most 5 s"), (10, "5 to 10 s"), (30, "10 to 30 s"), (np.inf, "over 30 s"))
PLACES = ((1 / 3, "first third"), (2 / 3, "middle third"), (np.inf, "last third"))
WORDS = ((5, "1 to 5"), (10, "6 to 10"), (15, "11 to 15"), (np.inf, "over 15"))
VERBS = 8  # that have a group of their own
OTHER, NO_VERB = "other", "no verb"


@dataclass(frozen=True)
class Group:
    """R@1 and mIoU in percent of some queries, R@1 with its 95 % interval; None where there is no query."""

    name: str
    queries: int
    recall: float | None
    low: float | None
    high: float | None
    mean_iou: float | None


@dataclass(frozen=True)
class Analysis:
    """The figures of all queries and of each group; `groups` maps what is compared to its groups.

    The keys are "moment length", "position in the video", "words in the query" and "first verb".
    """

    iou: float
    convention: str
    overall: Group
    groups: dict[str, tuple[Group, ...]]


def analyse(
    predictions: Sequence, queries: Sequence[Query], iou: float = 0.5, convention: str = ">="
) -> Analysis:
    """R@1 at this IoU, with intervals, and mIoU of all queries and by group.

    `predictions[q]` (N, 2) are the moments for `queries[q]`, best first, seconds. Position is that of the
    moment's centre. First verb: the first full verb that the tagger finds, in its dictionary form, else be,
    have, do or a modal. Intervals come from resampled videos. Raises ValueError as `recall_at`,
    and for a query without duration.
    """
    check_queries(queries)
    overlap = best_iou(predictions, [np.array(query.moments) for query in queries]).numpy()
    hit = reaches(overlap, iou, convention)
    moments = [longest(query) for query in queries]
    verbs = [first_verb(query.text) for query in queries]
    labels = {
        "moment length": (
            [_bin(end - start, LENGTHS) for start, end in moments],
            [name for _, name in LENGTHS],
        ),
        "position in the video": (
            [
                _bin((start + end) / 2 / query.duration, PLACES)
                for (start, end), query in zip(moments, queries, strict=True)
            ],
            [name for _, name in PLACES],
        ),
        "words in the query": (
            [_bin(len(plain_words(query.text)), WORDS) for query in queries],
            [name for _, name in WORDS],
        ),
        "first verb": _common_verbs(verbs),
    }
    videos = np.array([query.video_id for query in queries])

    def group(name: str, rows: np.ndarray) -> Group:
        if not rows.any():
            return Group(name, 0, None, None, None, None)
        ((low, high),) = bootstrap_intervals(100.0 * hit[rows, None], videos[rows])
        recall, mean = 100 * hit[rows].mean(), 100 * overlap[rows].mean()
        return Group(name, int(rows.sum()), float(recall), float(low), float(high), float(mean))

    return Analysis(
        iou=iou,
        convention=convention,
        overall=group("all queries", np.ones(len(queries), dtype=bool)),
        groups={
            title: tuple(group(name, np.array([label == name for label in own])) for name in names)
            for title, (own, names) in labels.items()
        },
    )


def longest(query: Query) -> tuple[float, float]:
    """The longest true moment of a query, the first of equals."""
    return max(query.moments, key=lambda moment: moment[1] - moment[0])


def first_verb(text: str) -> str:
    """The dictionary form of the first full verb of a text; else of be, have, do or a modal; or `no verb`."""
    verbs = [(word, kind) for word, kind in tag(text) if kind.startswith(VERB_TAGS)]
    full = [(word, kind) for word, kind in verbs if kind.startswith("VV")]
    if not verbs:
        return NO_VERB
    word, kind = (full or verbs)[0]
    return lemma(word, kind)


def _common_verbs(verbs: list[str]) -> tuple[list[str], list[str]]:
    """The group of each query, and the names of the groups: the frequent verbs, the rest, and none."""
    counts = Counter(verb for verb in verbs if verb != NO_VERB)
    common = sorted(counts, key=lambda verb: (-counts[verb], verb))[:VERBS]
    return (
        [verb if verb in (*common, NO_VERB) else OTHER for verb in verbs],
        [*common, OTHER, NO_VERB],
    )


def _bin(value: float | int, edges) -> str:
    """The name of the first range whose upper edge the value does not exceed."""
    return next(name for edge, name in edges if value <= edge)

"""Tests on other distributions than the training set, and which training set goes with which test.

Three families are called "OOD":

OOD-1 and OOD-2 (Yang et al. 2021, DCM) move every moment of a standard test set: some seconds of noise
features are put before the video, so that times grow. There is no annotation file; `shift_queries` and
`prepend_noise` make the test from the standard one, and training stays on the standard training set.

- The features of a video get `pad_rows = round(rho * rows / duration)` rows of noise. Times and duration grow
  by what these rows last, `pad_rows * duration / rows`, not by rho: IoUs would be off by up to half a row.
- The noise is one matrix of 200 rows drawn from N(0, 1), the same first rows for every video, put there
  before rows are normalised and resampled. Ours is drawn from a seed and is not the authors' matrix: results
  are to be labelled as ours (`LABEL`).
- On ActivityNet Captions, moments of half the video or more are left out: 13,419 of 17,031 remain.
  Ends are clipped to the video before: of the rows as they stand in the file 13,418 would, because
  v_yG4C_s7ItA4 ends at 114.48 s where the video ends at 114.47999999999999 s.

TFVTG (Zheng et al. 2024) uses the same names for something else: fresh noise for each video, padding by
exactly rho, and no ActivityNet moment left out. Its numbers are not comparable; it is not offered here.

Charades-CD and ActivityNet-CD (Yuan et al. 2021), Charades-CG and ActivityNet-CG (Li et al. 2022) split the
whole corpus anew. Their training files hold many test queries of the standard split, and theirs are in the
standard training file, so a model must be trained on the training file of the same dataset:
`check_training_split` refuses the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vmrlib.data.annotations import Query
from vmrlib.data.datasets import DATASETS, AnnotatedSplit
from vmrlib.text import plain_words

# seconds put before the video, for OOD-1 and OOD-2
RHO = {"charades_sta": (10.0, 15.0), "activitynet_captions": (30.0, 60.0), "didemo": (3.0, 6.0)}
DECIMALS = {"charades_sta": 2}  # the released code rounds the seconds of the padding there
LONGEST = {"activitynet_captions": 0.5}  # share of the video from which a moment is left out
NOISE_ROWS = 200
LABEL = "our noise, not the authors' matrix"

SAME_VIDEOS = (  # datasets made of them
    ("charades_sta", "charades_cd", "charades_cg"),
    ("activitynet_captions", "activitynet_cd", "activitynet_cg"),
)


def padding(
    rows: int, duration: float | int, rho: float | int, decimals: int | None = None
) -> tuple[int, float]:
    """How many rows of noise a video of so many feature rows gets, and how many seconds they last.

    Raises ValueError for a video without rows or duration.
    """
    if rows < 1 or duration <= 0:
        raise ValueError(f"cannot pad a video of {rows} feature rows and {duration} s")
    pad_rows = round(rho * rows / duration)
    seconds = pad_rows * duration / rows
    return pad_rows, seconds if decimals is None else round(seconds, decimals)


def shift_queries(dataset: str, level: int, queries: Iterable[Query], rows: Mapping[str, int]) -> list[Query]:
    """The queries of OOD-1 (`level` 1) or OOD-2 (`level` 2): moments and durations later by the padding.

    `queries` are those of the standard test set, `rows` the number of feature rows of each video before any
    resampling. Queries whose moments are too long (ActivityNet Captions) are left out. Raises ValueError for
    a video that `rows` does not have.
    """
    rho = rho_of(dataset, level)
    shifted = []
    for query in short_enough(dataset, queries):
        if query.video_id not in rows:
            raise ValueError(f"no number of feature rows for video {query.video_id!r} of query {query.id!r}")
        _, seconds = padding(rows[query.video_id], query.duration, rho, DECIMALS.get(dataset))
        shifted.append(
            replace(
                query,
                moments=tuple((start + seconds, end + seconds) for start, end in query.moments),
                duration=query.duration + seconds,
            )
        )
    return shifted


def rho_of(dataset: str, level: int) -> float:
    """Seconds put before the video; ValueError where there is no such test."""
    if dataset not in RHO or level not in (1, 2):
        raise ValueError(f"no OOD-{level} of {dataset}: there are OOD-1 and OOD-2 of {', '.join(RHO)}")
    return RHO[dataset][level - 1]


def short_enough(dataset: str, queries: Iterable[Query]) -> list[Query]:
    """The queries that the OOD tests keep: on ActivityNet Captions, less than half the video."""
    share = LONGEST.get(dataset)
    if share is None:
        return list(queries)
    return [
        query
        for query in queries
        if all((end - start) / query.duration < share for start, end in query.moments)
    ]


def noise(dim: int, rows: int = NOISE_ROWS, seed: int = 0) -> Float[Tensor, "rows dim"]:
    """The matrix of noise rows, N(0, 1), float32; a longer one begins with the same rows."""
    generator = torch.Generator().manual_seed(seed)
    # row by row: what one row holds does not depend on how many follow
    return torch.stack([torch.randn(dim, generator=generator, dtype=torch.float32) for _ in range(rows)])


def prepend_noise(
    features: Float[Tensor, "T D"], duration: float | int, rho: float | int, matrix: Float[Tensor, "_ D"]
) -> Float[Tensor, "_ D"]:
    """The features with their rows of noise in front; do it before normalising and resampling.

    `duration` is that of the video without the padding. Raises ValueError when the matrix has rows of another
    length, or too few (features of many rows a second and a large rho): take `noise(dim, rows=...)` with
    more.
    """
    if features.shape[1:] != matrix.shape[1:]:
        raise ValueError(
            f"features {tuple(features.shape)} and noise {tuple(matrix.shape)} have rows of other lengths"
        )
    pad_rows, _ = padding(len(features), duration, rho)
    if pad_rows > len(matrix):
        raise ValueError(f"{pad_rows} rows of noise are wanted, the matrix has {len(matrix)}")
    return torch.cat([matrix[:pad_rows].to(features), features])


def shared_queries(queries: Iterable[Query], others: Iterable[Query]) -> int:
    """How many of `queries` are also among `others`: same video, same words (case and punctuation aside)."""
    there = {_key(query) for query in others}
    return sum(_key(query) in there for query in queries)


def training_split(dataset: str, split: str) -> str:
    """The name of the split that a model must be trained on to be tested on this one.

    Raises ValueError for a split that does not exist.
    """
    if split not in DATASETS.get(dataset, ()):
        raise ValueError(f"no split {split!r} of {dataset!r}")
    return next(name for name in DATASETS[dataset] if name.startswith("train"))


def check_training_split(train: AnnotatedSplit, test: AnnotatedSplit) -> None:
    """Raises ValueError when a model trained on the one must not be tested on the other, and says why.

    Within a family of splits of the same videos only the training split of the test's own dataset is
    allowed. Between unrelated datasets anything is, as long as they share no video.
    """
    related = train.dataset == test.dataset or any(
        train.dataset in family and test.dataset in family for family in SAME_VIDEOS
    )
    videos = set(train.videos)
    seen = sum(query.video_id in videos for query in test.queries)
    right = train.dataset == test.dataset and train.split.startswith("train")
    if (right or not related) and not seen:
        return
    trained, tested = f"{train.dataset} {train.split}", f"{test.dataset} {test.split}"
    wanted = f"{test.dataset} {training_split(test.dataset, test.split)}"
    shared = shared_queries(test.queries, train.queries)
    raise ValueError(
        f"a model trained on {trained} must not be tested on {tested}: {seen} of the {len(test.queries)} "
        f"test queries are about training videos, {shared} are training queries; train on {wanted}"
    )


def _key(query: Query) -> tuple[str, str]:
    return query.video_id, " ".join(plain_words(query.text))

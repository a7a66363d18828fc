"""Which texts and which videos a retrieval test compares, and which belong together.

- MSR-VTT 1k-A (Yu et al. 2018): 1000 videos, one caption each.
- Paragraphs (Zhang et al. 2018): all sentences of a video joined in the order of the file are one text.
  ActivityNet Captions is tested on val_1 (4,917 videos), DiDeMo on its 1,004 test videos. Its files name some
  videos in two ways, with different endings: these are one video, and ids have no ending. Retrieval papers
  use lists of 8,392, 1,065 and 1,004 DiDeMo videos; `videos=` takes such a list.
- MSVD and VATEX have many sentences for each video. From text to video every sentence is a query of its own;
  from video to text the score of a video is the best one of its sentences (`groups`).

The released loaders of MSR-VTT, ActivityNet and VATEX take the test as validation set; choose on another one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from vmrlib.data.datasets import AnnotatedSplit, read_split
from vmrlib.data.datasets.didemo import without_ending


@dataclass(frozen=True)
class RetrievalSet:
    """Texts and videos, both numbered from 0.

    truth: for each text the number of its video
    groups: for each video the numbers of its texts
    """

    name: str
    texts: tuple[str, ...]
    video_ids: tuple[str, ...]
    truth: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]


def msrvtt_1k_a(folder: str | Path | None = None) -> RetrievalSet:
    """The 1k-A test of MSR-VTT: 1000 captions, 1000 videos."""
    return _of_sentences(read_split("msrvtt", "test_1k_a", folder), "MSR-VTT 1k-A")


def activitynet_paragraphs(split: str = "val_1", folder: str | Path | None = None) -> RetrievalSet:
    """One paragraph for each video of ActivityNet Captions."""
    read = read_split("activitynet_captions", split, folder)
    return _paragraphs(f"ActivityNet paragraphs, {split}", read.sentences, read.videos)


def didemo_paragraphs(
    split: str = "test", folder: str | Path | None = None, videos: Collection[str] | None = None
) -> RetrievalSet:
    """One paragraph for each video of DiDeMo, of those in `videos` where it is given.

    Names may have their endings there or not. Raises ValueError for one that the split does not have.
    """
    read = read_split("didemo", split, folder)
    sentences = [(without_ending(name), text) for name, text in read.sentences]
    ids = tuple(dict.fromkeys(map(without_ending, read.videos)))
    if videos is not None:
        known = set(ids)
        chosen = {name if name in known else without_ending(name): name for name in videos}
        if unknown := chosen.keys() - known:
            name = min(chosen[video] for video in unknown)
            raise ValueError(f"{len(unknown)} videos are not in DiDeMo {split}, among them {name!r}")
        ids = tuple(video for video in ids if video in chosen)
    return _paragraphs(f"DiDeMo paragraphs, {split}", sentences, ids)


def multi_sentence(dataset: str, split: str = "test", folder: str | Path | None = None) -> RetrievalSet:
    """Every sentence of MSVD or VATEX is a text; several belong to each video."""
    if dataset not in ("msvd", "vatex"):
        raise ValueError(f"multi-sentence retrieval is for msvd and vatex, not {dataset!r}")
    return _of_sentences(read_split(dataset, split, folder), f"{dataset} {split}, all sentences")


def _paragraphs(name: str, sentences: Iterable[tuple[str, str]], videos: tuple[str, ...]) -> RetrievalSet:
    parts_of: dict[str, list[str]] = {video: [] for video in videos}
    for video, text in sentences:  # also those whose moment was left out
        if video in parts_of:
            parts_of[video].append(text)
    texts = [(video, " ".join(parts)) for video, parts in parts_of.items() if parts]
    return _numbered(name, texts, tuple(video for video, _ in texts))


def _of_sentences(split: AnnotatedSplit, name: str) -> RetrievalSet:
    return _numbered(name, list(split.sentences), split.videos)


def _numbered(name: str, texts: list[tuple[str, str]], videos: tuple[str, ...]) -> RetrievalSet:
    number = {video: index for index, video in enumerate(videos)}
    truth = tuple(number[video] for video, _ in texts)
    groups: list[list[int]] = [[] for _ in videos]
    for text, video in enumerate(truth):
        groups[video].append(text)
    if empty := [video for video, group in zip(videos, groups, strict=True) if not group]:
        raise ValueError(f"{name}: {len(empty)} videos have no text, among them {empty[0]!r}")
    return RetrievalSet(name, tuple(text for _, text in texts), videos, truth, tuple(map(tuple, groups)))

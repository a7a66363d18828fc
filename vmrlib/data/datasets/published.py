"""How many videos and queries each split has: in the known public files, and in print.

Where the two differ, the difference is told by name. A copy with other numbers than both is told as well.
"""

from typing import NamedTuple

from vmrlib.data.datasets.split import AnnotatedSplit


class Count(NamedTuple):
    """Videos and queries; None where nobody says."""

    videos: int | None
    queries: int | None

    def fits(self, videos: int, *queries: int) -> bool:
        """Whether these are the numbers; of several counts of queries one suffices."""
        return self.videos in (None, videos) and (self.queries is None or self.queries in queries)

    def __str__(self) -> str:
        numbers = ((self.videos, "videos"), (self.queries, "queries"))
        return ", ".join(f"{count} {what}" for count, what in numbers if count is not None)


class Known(NamedTuple):
    """The numbers of the public file (None: not seen by us), those in print, and where they are printed."""

    file: Count | None
    published: Count
    source: str


class Difference(NamedTuple):
    """A split whose numbers are not the expected ones; `known` where the public file has them, too."""

    dataset: str
    split: str
    found: str
    expected: str
    source: str
    known: bool

    def __str__(self) -> str:
        text = f"{self.dataset} {self.split}: {self.found}; published: {self.expected} ({self.source})"
        return text if self.known else f"{text}: this copy is none that we know"


TALL = "TALL, Gao et al. 2017; the files of 2D-TAN, which others copy, have fewer"
ANET = "Krishna et al. 2017"
CD = "Yuan et al. 2021, table of the repository"
CG = "Li et al. 2022, table of the repository"
STA = "Gao et al. 2017"
HGR = "Chen et al. 2020 (HGR)"
QVH, TVR, DIDEMO = "Lei et al. 2021", "Lei et al. 2020", "Hendricks et al. 2017"


def _same(videos: int | None, queries: int | None, source: str) -> Known:
    return Known(Count(videos, queries), Count(videos, queries), source)


def _unseen(videos: int | None, queries: int | None, source: str) -> Known:
    return Known(None, Count(videos, queries), source)


KNOWN = {
    ("tacos", "train"): Known(Count(75, 9790), Count(75, 10146), TALL),
    ("tacos", "val"): Known(Count(27, 4436), Count(27, 4589), TALL),
    ("tacos", "test"): Known(Count(25, 4001), Count(25, 4083), TALL),
    # 37,417 of the 37,421 rows run forwards
    ("activitynet_captions", "train"): Known(Count(10009, 37421), Count(10009, 37417), ANET),
    ("activitynet_captions", "val_1"): _same(4917, 17505, ANET),
    ("activitynet_captions", "val_2"): _same(4885, 17031, ANET),
    ("charades_sta", "train"): _same(5338, 12408, STA),
    ("charades_sta", "test"): _same(1334, 3720, STA),
    ("charades_cd", "train"): _same(4564, 11071, CD),
    ("charades_cd", "val"): _same(333, 859, CD),
    ("charades_cd", "test_iid"): _same(333, 823, CD),
    ("charades_cd", "test_ood"): _same(1442, 3375, CD),
    ("activitynet_cd", "train"): _same(10984, 51415, CD),
    ("activitynet_cd", "val"): _same(746, 3521, CD),
    ("activitynet_cd", "test_iid"): _same(746, 3443, CD),
    ("activitynet_cd", "test_ood"): _same(2450, 13578, CD),
    ("charades_cg", "train"): _same(3555, 8281, CG),
    ("charades_cg", "test_trivial"): _same(1689, 3096, CG),
    ("charades_cg", "novel_composition"): _same(2480, 3442, CG),
    ("charades_cg", "novel_word"): Known(Count(580, 695), Count(588, 703), CG),
    ("activitynet_cg", "train"): _same(9659, 36724, CG),
    ("activitynet_cg", "test_trivial"): _same(4775, 15712, CG),
    ("activitynet_cg", "novel_composition"): _same(4202, 12028, CG),
    ("activitynet_cg", "novel_word"): Known(Count(1991, 3920), Count(2011, 3944), CG),
    ("qvhighlights", "train"): _same(7100, 7218, QVH),
    ("qvhighlights", "val"): _same(1519, 1550, QVH),
    ("qvhighlights", "test"): _same(1529, 1542, QVH),
    ("qvhighlights", "test_with_gt"): _same(1529, 1542, QVH),
    ("tvr", "train"): _unseen(17435, 87175, TVR),
    ("tvr", "val"): _same(2179, 10895, TVR),
    ("tvr", "test_public"): _same(None, 5445, TVR),
    # the paper splits its 10,464 videos so; the files of val and test name some more
    ("didemo", "train"): _unseen(8395, 33005, DIDEMO),
    ("didemo", "val"): Known(Count(1094, 4180), Count(1065, 4180), DIDEMO),
    ("didemo", "test"): Known(Count(1037, 4021), Count(1004, 4021), DIDEMO),
    ("msrvtt", "train_9k"): Known(
        Count(9000, None), Count(9000, 180000), "Yu et al. 2018, 20 captions a video"
    ),
    ("msrvtt", "train_7k"): Known(
        Count(7010, None), Count(7010, 140200), "Yu et al. 2018, 20 captions a video"
    ),
    ("msrvtt", "test_1k_a"): _same(1000, 1000, "Yu et al. 2018"),
    ("msvd", "train"): _unseen(1200, None, "Venugopalan et al. 2015"),
    ("msvd", "val"): _unseen(100, None, "Venugopalan et al. 2015"),
    ("msvd", "test"): _unseen(670, None, "Venugopalan et al. 2015"),
    # retrieval papers halve the official validation split
    ("vatex", "train"): _same(25991, 259910, HGR),
    ("vatex", "val"): Known(Count(3000, 30000), Count(1500, 15000), HGR),
    ("vatex", "test"): Known(Count(6000, 60000), Count(1500, 15000), HGR),
    ("youcook2", "train"): _unseen(1333, None, "Zhou et al. 2018"),
    ("youcook2", "val"): _unseen(457, None, "Zhou et al. 2018"),
}


def difference(split: AnnotatedSplit) -> Difference | None:
    """How the numbers of a split differ from the published ones, or None where they do not.

    Rows are compared, or the queries that are left of them; of a split that was read without its queries
    (a list of videos only) just the videos.
    """
    known = KNOWN.get((split.dataset, split.split))
    if known is None:
        return None
    videos = len(split.videos)
    queries = (split.rows, len(split.queries)) if split.rows else (known.published.queries,)
    if known.published.fits(videos, *queries):
        return None
    found = Count(videos, split.rows if split.rows else None)
    return Difference(
        split.dataset,
        split.split,
        str(found),
        str(known.published),
        known.source,
        known.file is not None and known.file.fits(videos, split.rows if split.rows else known.file.queries),
    )

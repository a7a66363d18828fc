"""How many videos and queries each split has: in the known public files, and in print.

Where the two differ, the difference is told by name. A copy with other numbers than both is told as well, and
fails the check where a file with the known numbers was read by us. The numbers of the others are only what
their authors say.
"""

from typing import NamedTuple

from vmrlib.data.datasets.didemo import TWO_NAMES
from vmrlib.data.datasets.split import AnnotatedSplit


class Count(NamedTuple):
    """Videos and queries; None where nobody says."""

    videos: int | None
    queries: int | None

    def fits(self, videos: int, *queries: int) -> bool:
        """Whether these are the numbers; of several counts of queries one suffices, none is not compared."""
        return self.videos in (None, videos) and (
            not queries or self.queries is None or self.queries in queries
        )

    def __str__(self) -> str:
        numbers = ((self.videos, "videos"), (self.queries, "queries"))
        return ", ".join(f"{count} {what}" for count, what in numbers if count is not None)


class Known(NamedTuple):
    """What is known of a split.

    file: the numbers of the public file, None where nobody says
    published: those in print, and `source` where they are printed
    usable: the queries of the public file that keep a moment, None where all do
    seen: whether we have read a public file; if not, other numbers are no failure
    """

    file: Count | None
    published: Count
    source: str
    usable: int | None = None
    seen: bool = True


class Difference(NamedTuple):
    """A split whose numbers are not the expected ones.

    `known` where the public file has them, too; `fails` where this copy must be a damaged or a foreign one.
    """

    dataset: str
    split: str
    found: str
    expected: str
    source: str
    known: bool
    fails: bool

    def __str__(self) -> str:
        text = f"{self.dataset} {self.split}: {self.found}; published: {self.expected} ({self.source})"
        if self.known:
            return text
        return f"{text}: this copy is none that we know{'' if self.fails else ' (we have read none)'}"


TALL = "TALL, Gao et al. 2017; the files of 2D-TAN, which others copy, have fewer"
ANET = "Krishna et al. 2017"
CD = "Yuan et al. 2021, table of the repository"
CG = "Li et al. 2022, table of the repository"
STA = "Gao et al. 2017"
HGR = "Chen et al. 2020 (HGR)"
QVH, TVR, DIDEMO = "Lei et al. 2021", "Lei et al. 2020", "Hendricks et al. 2017"


def _same(videos: int | None, queries: int | None, source: str, usable: int | None = None) -> Known:
    return Known(Count(videos, queries), Count(videos, queries), source, usable)


def _unseen(videos: int | None, queries: int | None, source: str) -> Known:
    return Known(None, Count(videos, queries), source, seen=False)


KNOWN = {
    ("tacos", "train"): Known(Count(75, 9790), Count(75, 10146), TALL),
    ("tacos", "val"): Known(Count(27, 4436), Count(27, 4589), TALL),
    ("tacos", "test"): Known(Count(25, 4001), Count(25, 4083), TALL),
    # 37,417 of the 37,421 rows run forwards
    ("activitynet_captions", "train"): Known(Count(10009, 37421), Count(10009, 37417), ANET, usable=37417),
    ("activitynet_captions", "val_1"): _same(4917, 17505, ANET),
    ("activitynet_captions", "val_2"): _same(4885, 17031, ANET),
    ("charades_sta", "train"): _same(5338, 12408, STA, usable=12404),
    ("charades_sta", "test"): _same(1334, 3720, STA),
    ("charades_cd", "train"): _same(4564, 11071, CD),
    ("charades_cd", "val"): _same(333, 859, CD),
    ("charades_cd", "test_iid"): _same(333, 823, CD),
    ("charades_cd", "test_ood"): _same(1442, 3375, CD, usable=3372),
    ("activitynet_cd", "train"): _same(10984, 51415, CD),
    ("activitynet_cd", "val"): _same(746, 3521, CD),
    ("activitynet_cd", "test_iid"): _same(746, 3443, CD),
    ("activitynet_cd", "test_ood"): _same(2450, 13578, CD, usable=13574),
    ("charades_cg", "train"): _same(3555, 8281, CG),
    ("charades_cg", "test_trivial"): _same(1689, 3096, CG),
    ("charades_cg", "novel_composition"): _same(2480, 3442, CG),
    ("charades_cg", "novel_word"): Known(Count(580, 695), Count(588, 703), CG),
    ("activitynet_cg", "train"): _unseen(9659, 36724, CG),
    ("activitynet_cg", "test_trivial"): _unseen(4775, 15712, CG),
    ("activitynet_cg", "novel_composition"): _unseen(4202, 12028, CG),
    ("activitynet_cg", "novel_word"): Known(Count(1991, 3920), Count(2011, 3944), CG, seen=False),
    ("qvhighlights", "train"): _same(7100, 7218, QVH),
    ("qvhighlights", "val"): _same(1519, 1550, QVH),
    ("qvhighlights", "test"): _same(1529, 1542, QVH),
    ("qvhighlights", "test_with_gt"): _same(1529, 1542, QVH),
    ("tvr", "train"): _unseen(17435, 87175, TVR),
    ("tvr", "val"): _same(2179, 10895, TVR),
    ("tvr", "test_public"): _same(None, 5445, TVR),
    # videos, as the paper counts them; the files name 29 of val and 33 of test in two ways
    ("didemo", "train"): _unseen(8395, 33005, DIDEMO),
    ("didemo", "val"): _same(1065, 4180, DIDEMO),
    ("didemo", "test"): _same(1004, 4021, DIDEMO),
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
    # the official files, as the authors count them; retrieval papers halve the official validation split
    ("vatex", "train"): _unseen(25991, 259910, HGR),
    ("vatex", "val"): Known(Count(3000, 30000), Count(1500, 15000), HGR, seen=False),
    ("vatex", "test"): Known(Count(6000, 60000), Count(1500, 15000), HGR, seen=False),
    ("youcook2", "train"): _unseen(1333, None, "Zhou et al. 2018"),
    ("youcook2", "val"): _unseen(457, None, "Zhou et al. 2018"),
}


def difference(split: AnnotatedSplit) -> Difference | None:
    """How the numbers of a split differ from the published ones, or None where they do not.

    Videos are counted once, under however many names they are. The rows must be as many as the public file
    or print has, and so must the queries that keep a moment. Of a split that was read without its queries (a
    list of videos only) just the videos are compared.
    """
    known = KNOWN.get((split.dataset, split.split))
    if known is None:
        return None
    videos = len(split.videos) - split.findings.get(TWO_NAMES, 0)
    rows, usable = split.rows, len(split.queries)
    videos_only = not rows and known.published.videos is not None
    counts = () if videos_only else (rows, usable)
    is_file = (
        known.file is not None
        and known.file.fits(videos, *counts[:1])
        and usable == (rows if known.usable is None else known.usable)
    )
    # a copy that is not the public file may be the one in print, whose rows are all queries
    if known.published.fits(videos, *counts) and (is_file or usable == rows):
        return None
    found = str(Count(videos, None if videos_only else rows))
    return Difference(
        split.dataset,
        split.split,
        found if usable == rows else f"{found}, {usable} of them usable",
        str(known.published),
        known.source,
        known=is_file,
        fails=known.seen and not is_file,
    )

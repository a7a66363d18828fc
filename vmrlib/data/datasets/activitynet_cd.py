"""ActivityNet-CD (Yuan et al. 2021), whose training file may have to be derived.

The authors pooled all of ActivityNet Captions and split it anew by video. Their `anet_train.json` is read
where it is there. Elsewhere the training split is what remains: each video of ActivityNet Captions in none of
val, test_iid and test_ood, with the sentences of its files one after the other (train, val_1, val_2). It has
the published 10,984 videos and 51,415 queries; the order of videos may differ from the authors' file.
"""

from pathlib import Path

from vmrlib.data.datasets.files import beside, find_file, load_json, look_for
from vmrlib.data.datasets.sentences import FORMS, read, read_rows
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

DERIVED = "derived: what val, test_iid and test_ood leave of ActivityNet Captions (no anet_train.json)"


def read_activitynet_cd(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its file has it; train derived where the authors' file is not there."""
    (name,) = FORMS[dataset].files[split]
    if split == "train" and look_for(dataset, folder, name) is None:
        return derive_train(dataset, folder)
    return read(dataset, split, folder)


def derive_train(dataset: str, folder: Path | None) -> AnnotatedSplit:
    """The training split as the complement of the others; the ids count through all files of a video."""
    taken, paths = set(), []
    for other, names in FORMS[dataset].files.items():
        if other != "train":
            paths.append(find_file(dataset, folder, *names))
            taken |= load_json(paths[-1]).keys()
    original, rows_of = FORMS["activitynet_captions"], {}
    for names in original.files.values():
        paths.append(find_file("activitynet_captions", beside("activitynet_captions", folder), *names))
        left = {video: record for video, record in load_json(paths[-1]).items() if video not in taken}
        for row in read_rows(paths[-1], left, original):
            rows_of.setdefault(row.video_id, []).append(row)
    return assemble(dataset, "train", _renumbered(rows_of), paths, notes=[DERIVED])


def _renumbered(rows_of: dict[str, list[Row]]):
    """The rows video by video, with one duration (of the first file that has the video) and one count."""
    for video, rows in rows_of.items():
        for index, row in enumerate(rows):
            yield Row(row.path, row.place, f"{video}#{index}", row.text, video, row.moments, rows[0].duration)

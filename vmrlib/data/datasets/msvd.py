"""MSVD (Chen and Dolan 2011) as CLIP4Clip ships it: about 40 captions a video, no moments.

`train_list.txt`, `val_list.txt` and `test_list.txt` name the videos (1,200, 100 and 670); `raw-captions.pkl`
is a pickle of {video: [[word, ...], ...]}. A pickle can run any program when it is read, so this one is read
with nothing but Python's own containers, numbers and texts allowed. `captions_msvd.json`, the same as JSON
with whole sentences, serves in its place. The id of a query is VIDEO#INDEX.
"""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

from vmrlib.data.annotations import AnnotationError
from vmrlib.data.datasets.files import find_file, load_ids, load_json, wrong
from vmrlib.data.datasets.split import AnnotatedSplit, Row, assemble

CAPTIONS = ("raw-captions.pkl", "captions_msvd.json")
HARMLESS = {"dict", "list", "tuple", "set", "frozenset", "str", "bytes", "int", "float", "bool"}


def read_msvd(dataset: str, split: str, folder: Path | None) -> AnnotatedSplit:
    """The split as its list of videos and the captions have it."""
    videos = find_file(dataset, folder, f"{split}_list.txt")
    captions = find_file(dataset, folder, *CAPTIONS)
    content = load_pickle(captions) if captions.suffix == ".pkl" else load_json(captions)
    if not isinstance(content, dict):
        raise AnnotationError(f"{captions}: expected a dict, found {type(content).__name__}")
    ids = load_ids(videos)
    return assemble(
        dataset, split, caption_rows(captions, content, videos, ids), [videos, captions], videos=ids
    )


def caption_rows(path: Path, content: dict, listing: Path, ids: list[str]) -> Iterator[Row]:
    """A row for each caption of the videos listed; a caption is a text or a list of words."""
    for video in ids:
        if video not in content:
            raise AnnotationError(f"{path}: video {video!r} of {listing.name} has no captions")
        place = f"video {video!r}"
        if not isinstance(content[video], list | tuple):
            raise wrong(path, place, video, content[video], "a list of captions")
        for index, caption in enumerate(content[video]):
            here = f"{place}, row {index}"
            if isinstance(caption, list | tuple) and all(isinstance(word, str) for word in caption):
                caption = " ".join(caption)
            if not isinstance(caption, str):
                raise wrong(path, here, "caption", caption, "text or a list of words")
            yield Row(path, here, f"{video}#{index}", caption, video)


def load_pickle(path: Path):
    """What a pickle of containers, numbers and texts holds; AnnotationError for one with anything else."""
    try:
        # Python 2 wrote texts as bytes
        return _Unpickler(io.BytesIO(path.read_bytes()), encoding="utf-8").load()
    except pickle.UnpicklingError as error:
        raise AnnotationError(f"{path}: not a pickle of captions: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise AnnotationError(f"{path}: not a pickle of captions: {type(error).__name__}: {error}") from None


class _Unpickler(pickle.Unpickler):
    """Refuses every class and function but a few types of Python itself."""

    def find_class(self, module: str, name: str):
        if module in ("builtins", "__builtin__") and name in HARMLESS:
            return super().find_class("builtins", name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")

"""Features as other groups publish them: HDF5 files, and folders of npz or npy files.

`PublishedFeatures(LAYOUTS["qvhighlights-clip"], folder)[video_id]` are `Features`, as from our own store.
Where a layout has a fixed number of seconds per clip, times come from it; where features were taken every so
many frames of videos with different frame rates, the rows are spread over the duration, which must be given.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from vmrlib.data.store import FeatureMismatch, Features, MissingVideo, StoreError


@dataclass(frozen=True)
class Layout:
    """Where a video's rows are in published features, and when they are.

    `names`: the HDF5 keys, or the names of the files, a video may have; `array`: the dataset within it.
    `seconds_per_clip` (step) and `window` in seconds, None where they depend on the video's frame rate.
    """

    kind: str  # hdf5, npz or npy
    names: tuple[str, ...]
    dim: int
    array: str | None = None
    seconds_per_clip: float | None = None
    window: float | None = None


TACOS_FPS = 29.4
NUMBERS = "fiu"  # numpy's kinds of types that features may have: floats and integers
NPZ = {"kind": "npz", "names": ("{}.npz",), "array": "features", "seconds_per_clip": 2.0}
TVR = {"kind": "hdf5", "names": ("{}",), "seconds_per_clip": 1.5}

UNIVTG_NAMES = ("{}.npz", "{}.avi.npz", "{}-cam-002.npz")  # TACoS has file names in its ids

LAYOUTS = {
    # tall_c3d_features.hdf5: windows of 64 frames every 12 frames
    "tacos-c3d": Layout(
        "hdf5", ("{}.avi", "{}"), 4096, seconds_per_clip=12 / TACOS_FPS, window=64 / TACOS_FPS
    ),
    # sub_activitynet_v1-3.c3d.hdf5: PCA, windows of 16 frames every 8 frames of the video
    "activitynet-c3d": Layout("hdf5", ("{}", "v_{}"), 500, array="c3d_features"),
    "charades-vgg": Layout("hdf5", ("{}",), 4096),
    "tvr-i3d": Layout(dim=1024, **TVR),
    "tvr-resnet": Layout(dim=2048, **TVR),
    "tvr-resnet-i3d": Layout(dim=3072, **TVR),
    "tvr-subtitles": Layout(dim=768, **TVR),
    # VSLNet: strides in frames that differ between data sets
    "vslnet-i3d": Layout("npy", ("{}.npy",), 1024),
    # BMT: 64 frames of 25 per second
    "bmt-i3d-rgb": Layout("npy", ("{}_rgb.npy",), 1024, seconds_per_clip=2.56),
    "bmt-i3d-flow": Layout("npy", ("{}_flow.npy",), 1024, seconds_per_clip=2.56),
    "bmt-vggish": Layout("npy", ("{}_vggish.npy", "{}.npy"), 128, seconds_per_clip=0.96),
    # QVHighlights and UniVTG, one row per 2 s
    "qvhighlights-slowfast": Layout(dim=2304, **NPZ),
    "qvhighlights-clip": Layout(dim=512, **NPZ),
    "univtg-slowfast": Layout(dim=2304, **NPZ | {"names": UNIVTG_NAMES}),
    "univtg-clip": Layout(dim=512, **NPZ | {"names": UNIVTG_NAMES}),
    # one row for each segment of 5 s
    "didemo-vgg": Layout("hdf5", ("{}",), 4096, seconds_per_clip=5.0),
    "didemo-flow": Layout("hdf5", ("{}",), 1024, seconds_per_clip=5.0),
    # by query: one row a token
    "qvhighlights-text": Layout("npz", ("qid{}.npz",), 512, array="last_hidden_state"),
    "tvr-queries": Layout("hdf5", ("{}",), 768),
}


class PublishedFeatures(Mapping):
    """The features of a published HDF5 file or folder by video id, read when asked for.

    `durations` are the videos' lengths in seconds by id. Errors name the file and the key in it.
    """

    def __init__(self, layout: Layout, path: str | Path, durations: Mapping[str, float | int] | None = None):
        self.layout, self.path, self.durations = layout, Path(path), durations or {}
        self._file: h5py.File | None = None
        if layout.kind == "hdf5":
            self._hdf5()
        elif not self.path.is_dir():
            raise StoreError(f"{self.path}: no folder of {layout.kind} files")

    def __getitem__(self, video_id: str) -> Features:
        rows, where = self._rows(video_id)
        layout = self.layout
        if rows.dtype.kind not in NUMBERS:
            raise StoreError(f"{where}: holds {rows.dtype}, wanted numbers")
        if rows.ndim != 2 or rows.shape[1] != layout.dim or not len(rows):
            raise FeatureMismatch(f"{where}: shape is {rows.shape}, wanted (clips > 0, {layout.dim})")
        if not np.isfinite(rows).all():
            raise StoreError(f"{where}: not all numbers are finite")
        count, duration = len(rows), self.durations.get(video_id)
        if layout.seconds_per_clip is None:
            if duration is None:
                raise StoreError(f"{where}: seconds per clip depend on the duration of {video_id!r}: give it")
            step = window = duration / count
        else:
            step, window = layout.seconds_per_clip, layout.window or layout.seconds_per_clip
            covered = (count - 1) * step + window
            duration = covered if duration is None else duration
            # the last rows may be missing or padded, but not more than a few
            if abs(covered - duration) > 2 * max(step, window):
                raise FeatureMismatch(
                    f"{where}: {count} clips of {step:g} s cover {covered:.2f} s, "
                    f"but the video lasts {duration:.2f} s"
                )
        times = torch.arange(count, dtype=torch.float64) * step + window / 2
        return Features(torch.from_numpy(rows.astype(np.float32)), times, step, float(duration))

    def header(self, video_id: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of a video's array, without reading its numbers."""
        return self._array(video_id, lambda item: (item.shape, item.dtype), _header)[0]

    def read(self, video_id: str) -> np.ndarray:
        """A video's array as it stands in the file, of whatever shape and with whatever numbers."""
        return self._rows(video_id)[0]

    def __contains__(self, video_id: object) -> bool:
        return self._name(str(video_id)) is not None

    def __iter__(self) -> Iterator[str]:
        present = self._hdf5().keys() if self.layout.kind == "hdf5" else (p.name for p in self.path.iterdir())
        pattern = self.layout.names[0]
        before, after = pattern.split("{}")
        for name in sorted(present):
            if name.startswith(before) and name.endswith(after):
                yield name[len(before) : len(name) - len(after)]
            elif "{}" in self.layout.names:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getstate__(self) -> dict:
        # an open HDF5 file cannot go to another process: every worker opens its own
        return self.__dict__ | {"_file": None}

    def _hdf5(self) -> h5py.File:
        if self._file is None:
            if not self.path.is_file():
                raise FileNotFoundError(f"{self.path}: no such file")
            try:
                self._file = h5py.File(self.path, "r")
            except OSError as error:
                raise StoreError(f"{self.path}: no readable HDF5 file ({error})") from error
        return self._file

    def _name(self, video_id: str) -> str | None:
        """The key or file name the video has here."""
        for pattern in self.layout.names:
            name = pattern.format(video_id)
            if name in self._hdf5() if self.layout.kind == "hdf5" else (self.path / name).is_file():
                return name
        return None

    def _rows(self, video_id: str) -> tuple[np.ndarray, str]:
        """The array of a video, and where it was found, for messages."""
        return self._array(video_id, lambda item: item[()], _load)

    def _array(self, video_id: str, from_hdf5: Callable, from_file: Callable) -> tuple:
        """What one of the functions finds in a video's array, and where that is."""
        name = self._name(video_id)
        if name is None:
            tried = " or ".join(repr(pattern.format(video_id)) for pattern in self.layout.names)
            raise MissingVideo(f"{self.path}: no key or file {tried}")
        array = self.layout.array
        where = f"{self.path}, {name!r}" if array is None else f"{self.path}, {name!r}, {array!r}"
        try:
            if self.layout.kind == "hdf5":
                item = self._hdf5()[name]
                return from_hdf5(item if array is None else item[array]), where
            return from_file(self.path / name, array), where
        except KeyError as error:
            raise StoreError(f"{where}: no such array") from error
        except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise StoreError(f"{where}: cannot be read ({error})") from error


def _load(path: Path, array: str | None) -> np.ndarray:
    with open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        return loaded if array is None else loaded[array]


def _header(path: Path, array: str | None) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the header of an npy file, or of an array in an npz file, says."""
    if array is None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped.shape, mapped.dtype
    with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        return shape, dtype


def concatenate(parts: Sequence[Features]) -> Features:
    """Return features side by side, as (T, sum of D); the shortest says how many clips there are.

    This is how SlowFast and CLIP, or RGB and flow, are used together; raises FeatureMismatch when seconds per
    clip differ.
    """
    steps = sorted({part.seconds_per_clip for part in parts})
    if len(steps) != 1:
        raise FeatureMismatch(f"seconds per clip differ: {' and '.join(map(str, steps))}")
    count = min(len(part.values) for part in parts)
    values = torch.cat([part.values[:count] for part in parts], dim=1)
    return Features(values, parts[0].times[:count], steps[0], max(part.duration for part in parts))

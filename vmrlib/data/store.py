"""Features of many videos on disk, with a record of how they were made.

A store is a folder. While it grows every video is a file of its own, so that many processes can write at
once; `pack` merges them into shards.

    index.json                    what is in each file, its size and sha256; rebuilt from the files if lost
    videos/VIDEO.safetensors      one video
    shard-0a1b2c3d.safetensors    many videos

All data files have one format: tensors `VIDEO/values` (T, D) and `VIDEO/times` (T,), and a header with the
dataset, the metadata of the extractor, and seconds per clip and duration of each video.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vmrlib.data.files import write_bytes, write_text

INDEX = "index.json"
FORMAT = 1
# These say who made the features, not what they are: they may differ.
UNCOMPARED = {"vmrlib"}


class StoreError(ValueError):
    """A store that cannot be read or written; one line that names the file."""


class FeatureMismatch(StoreError):  # noqa: N818
    """Features that were made in another way than wanted; names both."""


class MissingVideo(StoreError, KeyError):  # noqa: N818
    """A video that is not in the store."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


@dataclass(frozen=True)
class Features:
    """Features of one video: one row per clip.

    `times` are the clips' centres (seconds), `seconds_per_clip` is the step from one clip to the next,
    `duration` the end of the video (seconds).
    """

    values: Float[Tensor, "T D"]
    times: Float[Tensor, " T"]
    seconds_per_clip: float
    duration: float

    def __post_init__(self):
        if self.values.ndim != 2 or self.times.shape != self.values.shape[:1] or not len(self.times):
            raise ValueError(
                f"features must be (T, D) with T times, T > 0, not {tuple(self.values.shape)} "
                f"with {tuple(self.times.shape)}"
            )


@dataclass(frozen=True)
class _Entry:
    file: str
    clips: int
    seconds_per_clip: float
    duration: float


class FeatureStore(Mapping):
    """The features of a folder by video id; nothing is read before it is asked for.

    Opening checks the sizes of the files, `verify` also their sha256. A store can be passed to the workers of
    a DataLoader: each opens the files for itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise StoreError(f"{self.path}: no feature store (no such folder)")
        self.dataset, self.metadata = "", {}
        self._files: dict[str, dict] = {}
        self._entries: dict[str, _Entry] = {}
        self._handles: dict[str, safe_open] = {}
        found_index = self._read_index()
        # files that are not in the index come from an extraction that goes on, or was killed
        unlisted = [file for file in self._data_files() if file not in self._files]
        if not found_index and not unlisted:
            raise StoreError(f"{self.path}: no feature store (neither {INDEX} nor feature files)")
        for file in unlisted:
            self._read_header(file)

    @classmethod
    def create(cls, path: str | Path, metadata: Mapping, dataset: str = "") -> "FeatureStore":
        """Return the store at `path` for features made as `metadata` says, opened or newly made.

        Raises FeatureMismatch when the store holds features that were made in another way.
        """
        path = Path(path)
        # a process that was killed at its very beginning leaves an empty folder and a temporary file
        found = {file.name for file in path.iterdir() if file.suffix != ".tmp"} if path.is_dir() else set()
        if found - {"videos"}:
            store = cls(path)
            store.require(**{key: value for key, value in metadata.items() if key not in UNCOMPARED})
            if dataset and dataset != store.dataset:
                raise FeatureMismatch(f"{path}: holds dataset {store.dataset!r}, not {dataset!r}")
            return store
        (path / "videos").mkdir(parents=True, exist_ok=True)
        index = {"format": FORMAT, "dataset": dataset, "metadata": dict(metadata), "files": {}}
        write_text(path / INDEX, json.dumps(index, indent=1))
        return cls(path)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._entries

    def __getitem__(self, video_id: str) -> Features:
        entry = self._entries.get(video_id)
        if entry is None:
            raise MissingVideo(
                f"{self.path}: no features of video {video_id!r} (there are {len(self)} videos)"
            )
        try:
            file = self._handle(entry.file)
            values, times = (file.get_tensor(f"{video_id}/{name}") for name in ("values", "times"))
        except (SafetensorError, OSError) as error:
            raise StoreError(f"{self.path / entry.file}: damaged ({error})") from error
        return Features(values, times, entry.seconds_per_clip, entry.duration)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_handles": {}}

    def require(self, **expected) -> None:
        """Raise FeatureMismatch, naming both sides, unless the metadata holds these values."""
        wrong = [
            f"{key} is {self.metadata.get(key)!r}, wanted {value!r}"
            for key, value in expected.items()
            if self.metadata.get(key) != value
        ]
        if wrong:
            more = f"; and {len(wrong) - 3} more differ" if len(wrong) > 3 else ""
            raise FeatureMismatch(f"{self.path}: {'; '.join(wrong[:3])}{more}")

    def add(self, video_id: str, features: Features) -> None:
        """Write the features of one video as a file that appears whole or not at all."""
        if not torch.isfinite(features.values).all():
            raise StoreError(f"{self.path}: features of video {video_id!r} are not all finite")
        file = f"videos/{quote(video_id, safe=' ()[]+,=@')}.safetensors"
        self._write_data(file, {video_id: features})

    def reindex(self) -> None:
        """Write the index of all files, with sizes and sha256; hashes only files that are new to it."""
        for file in self._data_files():
            if file not in self._files:
                self._read_header(file)
            if "sha256" not in self._files[file]:
                self._files[file]["sha256"] = _sha256(self.path / file)
        self._write_index()

    def pack(self, shard_bytes: int = 256 * 2**20) -> None:
        """Merge the files of single videos into shards of about `shard_bytes`; not while others write."""
        self.reindex()
        single = [video for video in self if self._entries[video].file.startswith("videos/")]
        merged = [file for file in self._files if file.startswith("videos/")]
        batch, size = {}, 0
        for number, video in enumerate(single, start=1):
            batch[video] = self[video]
            size += batch[video].values.nbytes
            if size >= shard_bytes or number == len(single):
                self._write_data(f"shard-{uuid.uuid4().hex[:8]}.safetensors", batch)
                batch, size = {}, 0
        for file in merged:
            del self._files[file]
        self._handles.clear()
        self._write_index()
        # only now: a crash leaves videos twice, never none
        for file in [*(self.path / file for file in merged), *self.path.glob("**/.*.tmp")]:
            file.unlink()

    def verify(self) -> int:
        """Return the number of files after checking the sha256 of each; StoreError names a damaged one."""
        for file, record in sorted(self._files.items()):
            if "sha256" in record and _sha256(self.path / file) != record["sha256"]:
                raise StoreError(f"{self.path / file}: damaged (its sha256 is not that of the index)")
        for video in self:
            if "sha256" not in self._files[self._entries[video].file]:
                _ = self[video]
        return len(self._files)

    def _data_files(self) -> list[str]:
        files = [*self.path.glob("shard-*.safetensors"), *self.path.glob("videos/*.safetensors")]
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def _read_index(self) -> bool:
        try:
            index = json.loads((self.path / INDEX).read_text(encoding="utf-8"))
            self.dataset, self.metadata = index["dataset"], index["metadata"]
            for file, record in index["files"].items():
                for video, entry in record["videos"].items():
                    self._entries[video] = _Entry(file, **entry)
                self._files[file] = {"bytes": record["bytes"], "sha256": record["sha256"]}
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self.path / INDEX}: damaged ({error!r}); delete it and it is rebuilt from the files"
            ) from error
        for file, record in self._files.items():
            size = (self.path / file).stat().st_size if (self.path / file).is_file() else "no"
            if size != record["bytes"]:
                raise StoreError(
                    f"{self.path / file}: {size} bytes, the index says {record['bytes']}; "
                    f"restore it, or delete it and {INDEX} and extract again"
                )
        return True

    def _read_header(self, file: str) -> None:
        try:
            header = json.loads(self._handle(file).metadata()["vmrlib"])
            videos = {video: _Entry(file, **entry) for video, entry in header["videos"].items()}
            metadata, dataset = header["metadata"], header["dataset"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path / file}: no readable feature file ({error}); delete it") from error
        if not self._files and not self.metadata:
            self.metadata, self.dataset = metadata, dataset
        for key in sorted((self.metadata.keys() | metadata.keys()) - UNCOMPARED):
            if self.metadata.get(key) != metadata.get(key):
                raise FeatureMismatch(
                    f"{self.path / file}: {key} is {metadata.get(key)!r}, "
                    f"but {self.metadata.get(key)!r} in the rest of the store"
                )
        for video, entry in videos.items():
            self._entries.setdefault(video, entry)
        self._files[file] = {"bytes": (self.path / file).stat().st_size}

    def _write_index(self) -> None:
        files = {file: record | {"videos": {}} for file, record in sorted(self._files.items())}
        for video in self:
            entry = asdict(self._entries[video])
            files[entry.pop("file")]["videos"][video] = entry
        index = {"format": FORMAT, "dataset": self.dataset, "metadata": self.metadata, "files": files}
        write_text(self.path / INDEX, json.dumps(index, indent=1))

    def _write_data(self, file: str, videos: dict[str, Features]) -> None:
        entries = {
            video: _Entry(file, len(item.times), item.seconds_per_clip, item.duration)
            for video, item in videos.items()
        }
        header = {
            "dataset": self.dataset,
            "metadata": self.metadata,
            "videos": {
                video: {key: value for key, value in asdict(entry).items() if key != "file"}
                for video, entry in entries.items()
            },
        }
        tensors = {}
        for video, item in videos.items():
            tensors[f"{video}/values"] = item.values.detach().cpu().contiguous()
            tensors[f"{video}/times"] = item.times.detach().cpu().double().contiguous()
        data = save(tensors, metadata={"vmrlib": json.dumps(header)})
        write_bytes(self.path / file, data)
        self._files[file] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self._entries |= entries

    def _handle(self, file: str) -> safe_open:
        # files of single videos are too many to be kept open
        handle = self._handles.get(file) or safe_open(self.path / file, framework="pt")
        if file.startswith("shard-"):
            self._handles[file] = handle
        return handle


@dataclass(frozen=True)
class FeatureComparison:
    """How features of one video made in two ways differ.

    `cosine` (T,) of the clips of the first with the nearest in time of the second; `scale` and `offset` (D,)
    of the line that leads from the first to the second; `shift`: by how many seconds the second lag behind.
    """

    cosine: Float[Tensor, " T"]
    scale: Float[Tensor, " D"]
    offset: Float[Tensor, " D"]
    shift: float

    def __str__(self) -> str:
        return (
            f"cosine {self.cosine.mean():.4f} on average, {self.cosine.min():.4f} at worst; "
            f"scale {self.scale.median():.3f}, offset {self.offset.abs().max():.3g}; shift {self.shift:+g} s"
        )


def compare_features(first: Features, second: Features, most_clips: int = 5) -> FeatureComparison:
    """Return where two features of a video differ: direction, scale and offset, or time.

    The shift is a whole number of clips of the first, up to `most_clips`: the one with the best mean cosine.
    """
    if first.values.shape[1] != second.values.shape[1]:
        raise FeatureMismatch(f"dimensions differ: {first.values.shape[1]} and {second.values.shape[1]}")
    a = first.values.double()

    def at(times: Tensor) -> Tensor:
        nearest = (times[:, None] - second.times.double()).abs().argmin(dim=1)
        return second.values.double()[nearest]

    def cosine(shift: float) -> Tensor:
        return torch.cosine_similarity(a, at(first.times.double() + shift), dim=1)

    steps = sorted(range(-most_clips, most_clips + 1), key=abs)
    shifts = [step * first.seconds_per_clip for step in steps]
    best = shifts[int(np.argmax([float(cosine(shift).mean()) for shift in shifts]))]
    b = at(first.times.double())
    centred = a - a.mean(0)
    scale = (centred * (b - b.mean(0))).sum(0) / centred.square().sum(0).clamp(min=1e-12)
    return FeatureComparison(cosine(0.0), scale, b.mean(0) - scale * a.mean(0), best)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

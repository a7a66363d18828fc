"""Features of Stage videos: rendered, extracted and cached, or the actors' states themselves."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vmrlib.data.files import put
from vmrlib.data.stage.render import render
from vmrlib.data.stage.splits import StageSplit
from vmrlib.data.stage.world import COLOURS, SHAPES, VERSION, Script
from vmrlib.features.decode import clip_times
from vmrlib.features.extractor import Extractor

PIXELS = 64  # the side that training renders at
MOST_WORKERS = 4  # threads that render and extract


def cache_folder() -> Path:
    """Where computed features are kept: VMRLIB_CACHE, or .cache/vmrlib in the home folder."""
    return Path(os.environ.get("VMRLIB_CACHE", Path.home() / ".cache" / "vmrlib"))


def stage_features(
    split: StageSplit, extractor: Extractor, verbose: bool = False
) -> dict[str, Float[Tensor, "T D"]]:
    """Features of every video of a split, by video id; one row a clip.

    Computed once and cached under a key of the split's hash and the extractor's metadata. With
    `feature_noise` in the split's configuration, seeded noise of that many standard deviations is
    added to each feature.
    """
    key = json.dumps([VERSION, split.hash, PIXELS, extractor.metadata()], sort_keys=True)
    path = cache_folder() / f"stage-{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    try:
        features = {name: rows.float() for name, rows in load_file(path).items()}
    except (OSError, SafetensorError):  # not there yet, or damaged: compute it
        # Rendering leaves Python's lock for most of the time, so that threads share the work.
        with ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
            rows = pool.map(lambda script: video_features(script, extractor).half(), split.scripts)
            progress = tqdm(
                rows, total=len(split.scripts), disable=not verbose, desc="features", unit="video"
            )
            features = dict(zip((script.video_id for script in split.scripts), progress, strict=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file(features, temporary)
        put(temporary, path)
        features = {name: rows.float() for name, rows in features.items()}
    return _with_noise(features, split.config.feature_noise) if split.config.feature_noise else features


def video_features(script: Script, extractor: Extractor) -> Float[Tensor, "T D"]:
    """Features of one video, straight from the renderer."""
    _, times = clip_times(
        script.duration, extractor.seconds_per_clip, extractor.stride, extractor.frames_per_clip
    )
    frames = render(script, times.reshape(-1), size=PIXELS)
    clips = torch.from_numpy(frames).reshape(*times.shape, PIXELS, PIXELS, 3)  # (T, F, H, W, 3)
    return torch.cat([extractor(part).cpu() for part in clips.split(64)])


def stage_frames(split: StageSplit, number: int) -> dict[str, UInt8[Tensor, "F H W 3"]]:
    """`number` frames of every video of a split, by video id: of the middles of as many equal parts."""
    places = (np.arange(number) + 0.5) / number

    def frames_of(script: Script) -> Tensor:
        return torch.from_numpy(render(script, places * script.duration, size=PIXELS))

    with ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
        frames = pool.map(frames_of, split.scripts)
        return dict(zip((script.video_id for script in split.scripts), frames, strict=True))


# What a change of x, y, scale and angle is divided by, so that a motion is as large a number as a place.
USUAL_CHANGE = (0.05, 0.05, 0.05, 0.5)


def oracle_features(script: Script, seconds_per_clip: float = 1.0) -> Float[Tensor, "T 128"]:
    """What a perfect eye would see: eight numbers for each of the 16 possible actors.

    In the middle of the clip: visible, x, y, scale, and over the clip the change of x, y, scale, angle, each
    in units of USUAL_CHANGE.
    """
    centres, edges = clip_times(script.duration, seconds_per_clip)[0], seconds_per_clip / 2
    here, before, after = (script.states_at(centres + shift) for shift in (0, -edges, edges))  # (T, A, 6)
    rows = np.zeros((len(centres), len(COLOURS) * len(SHAPES), 8), dtype=np.float32)
    for index, actor in enumerate(script.actors):
        slot = COLOURS.index(actor.colour) * len(SHAPES) + SHAPES.index(actor.shape)
        change = (after - before)[:, index, :4] / USUAL_CHANGE
        now = here[:, index][:, [4, 0, 1, 2]]
        rows[:, slot] = np.concatenate([now, change], axis=1) * here[:, index, 4:5]
    return torch.from_numpy(rows.reshape(len(centres), -1))


def _with_noise(features: dict[str, Tensor], amount: float) -> dict[str, Tensor]:
    # Sorted: a file gives them back in another order, and sums depend on it.
    spread = torch.cat([features[name] for name in sorted(features)]).std(dim=0)
    noisy = {}
    for name, rows in features.items():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
        noisy[name] = rows + amount * spread * noise
    return noisy

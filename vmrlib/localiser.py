"""A trained model on a video file of any length: features, windows, moments.

A model knows videos as long as those it was trained on. A longer one is cut into windows of about that
length. Where it is cut into shots anyway, a long shot is a window, since the model never saw a cut; else
windows overlap by half, so that a moment of up to half a window lies whole in one of them. Every window is
localised by itself, and the moments of all windows compete by their scores; of moments that overlap the best
stays.

    windows = list(read_windows("film.mp4", checkpoint, extractors_of(checkpoint)))
    moments = localise(windows, "The red star jumps.", checkpoint)
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vmrlib.checkpoints import Checkpoint
from vmrlib.data.loaders import clip_grid
from vmrlib.data.store import UNCOMPARED, FeatureMismatch
from vmrlib.features import Extractor, load_extractor
from vmrlib.features.cuts import video_cuts
from vmrlib.features.decode import iter_clips, probe
from vmrlib.moments import suppress_batch
from vmrlib.text import tokenize

OVERLAP = 0.5  # of a window with the next one
ONE_WINDOW = 1.5  # what is shorter than so many windows is taken whole: cutting it would lose more
SHORT = 0.5  # of a window: shots that are shorter stay together
BATCH = 16  # windows that go through the model together
CANDIDATES = 50  # moments of a window: ReLoCLNet does not suppress those that overlap a better one
CLIPS = 32  # clips that are decoded and extracted together


@dataclass(frozen=True)
class Window:
    """A part of a video (seconds) as the model sees it: clips (M, D), scaled and resampled as in training."""

    start: float
    end: float
    clips: Float[Tensor, "M D"]


def check_finds_moments(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a model that finds videos instead."""
    if not hasattr(checkpoint.model, "localise"):
        raise ValueError(f"{checkpoint.about.get('model', 'the model')} finds videos, not moments in one")


def extractors_of(
    checkpoint: Checkpoint, device: str | torch.device | None = None, spec: str | None = None
) -> list[Extractor]:
    """The extractors that made the features which a checkpoint was trained on.

    `spec` replaces the specification that the checkpoint gives, for weights that lie elsewhere here. Raises
    FeatureMismatch, which says what is needed and what is there, ExtractorError as `load_extractor`, and
    ValueError for a model that finds no moments.
    """
    check_finds_moments(checkpoint)
    wanted = checkpoint.about.get("features") or []
    if not wanted:
        raise FeatureMismatch("the checkpoint does not say which features it needs")
    if spec is not None and len(wanted) > 1:
        names = ", ".join(str(each.get("extractor")) for each in wanted)
        raise FeatureMismatch(
            f"the checkpoint needs the features of several extractors ({names}), not {spec!r}"
        )
    return [_extractor_of(each, device, spec) for each in wanted]


def _extractor_of(wanted: dict, device: str | torch.device | None, spec: str | None) -> Extractor:
    name = str(wanted.get("extractor") or wanted.get("spec") or "unknown")
    spec = spec or wanted.get("spec") or name
    if "weights_sha256" not in wanted:  # published files, or simulated: nothing here can make them of a video
        raise FeatureMismatch(
            f"the checkpoint needs {name} features, which cannot be extracted from a video here"
        )
    extractor = load_extractor(spec, device, wanted.get("seconds_per_clip", wanted.get("window")))
    here = extractor.metadata()
    wrong = [
        f"{key} {wanted[key]!r} is needed, here it is {here[key]!r}"
        for key in here
        if key not in UNCOMPARED and key in wanted and wanted[key] != here[key]
    ]
    if wrong:
        raise FeatureMismatch(
            f"the checkpoint needs features of {name}, {spec!r} makes others: {'; '.join(wrong)}"
        )
    return extractor


def window_spans(
    duration: float, length: float | None, step: float, cuts: Sequence[float] = ()
) -> list[tuple[float, float]]:
    """Start and end (seconds) of the windows of a video, in order.

    `length` is the duration that the model knows; None where it does not say: then the video is one window.
    The video is taken apart at the `cuts` (seconds) that have half a window or more before and after them,
    and what is longer than a window and a half is covered by windows of `length`, evenly spread on whole
    multiples of `step`.
    """
    if not length:
        return [(0.0, duration)]
    edges = [0.0]
    for cut in cuts:
        if cut - edges[-1] >= SHORT * length and duration - cut >= SHORT * length:
            edges.append(cut)
    spans = []
    for start, end in zip(edges, [*edges[1:], duration], strict=True):
        if end - start < ONE_WINDOW * length:
            spans.append((start, end))
            continue
        count = 1 + math.ceil((end - start - length) / (length * (1 - OVERLAP)) - 1e-6)
        starts = np.round(np.linspace(start, end - length, count) / step) * step
        spans += [(float(start), float(start + length)) for start in starts]
    return spans


def read_windows(video: str | Path, checkpoint: Checkpoint, extractors: list[Extractor]) -> Iterator[Window]:
    """The windows of a video file, in order; only the features of one window are in memory.

    The file is decoded once per extractor, and once before where it is longer than one window, to find its
    shots. Raises DecodeError for a file that cannot be read.
    """
    duration, length = probe(video).duration, checkpoint.about.get("window")
    step = max(extractor.stride for extractor in extractors)
    cuts = video_cuts(video, step) if length and duration >= ONE_WINDOW * length else []
    streams = [_Rows(video, extractor) for extractor in extractors]
    for start, end in window_spans(duration, length, step, cuts):
        rows = [{"": stream.between(start, end)} for stream in streams]
        yield Window(start, end, clip_grid(rows, "", checkpoint.model.config.clips))


class _Rows:
    """The features of one extractor: read as far as they are asked for, forgotten where they are passed."""

    def __init__(self, video: str | Path, extractor: Extractor):
        self.extractor = extractor
        window, stride = extractor.seconds_per_clip, extractor.stride
        self.clips = iter_clips(video, window, stride, extractor.frames_per_clip, extractor.size, CLIPS)
        self.times, self.rows = np.zeros(0), torch.zeros(0, extractor.dim)

    def between(self, start: float, end: float) -> Float[Tensor, "rows D"]:
        """Rows of the clips whose centres lie in [start, end); `start` must not go back."""
        while not len(self.times) or self.times[-1] < end:
            centres, frames = next(self.clips, (None, None))
            if centres is None:
                break
            self.times = np.concatenate([self.times, centres])
            self.rows = torch.cat([self.rows, self.extractor(torch.from_numpy(frames)).cpu()])
        # the last row stays in any case: a video may be shorter than half a clip
        passed = min(int(np.searchsorted(self.times, start)), len(self.times) - 1)
        self.times, self.rows = self.times[passed:], self.rows[passed:]
        return self.rows[: max(1, int(np.searchsorted(self.times, end)))]


def localise(
    windows: Iterable[Window], query: str, checkpoint: Checkpoint, top: int = 5, duration: float | None = None
) -> list[tuple[float, float, float]]:
    """The `top` moments (start, end, score) of all windows, best first, in seconds of the video.

    Moments are cut to `duration`, by default the end of the last window. Raises ValueError for a model that
    finds no moments, and for a query without a word, or with more words than the model reads.
    """
    check_finds_moments(checkpoint)
    model = checkpoint.model
    tokens = tokenize(query)
    if not tokens:
        raise ValueError(f"the query {query!r} has no words")
    words = checkpoint.words(tokens)
    device = next(model.parameters()).device
    windows, found, last = iter(windows), [], 0.0
    while part := list(islice(windows, BATCH)):
        batch = {
            "query_ids": [query] * len(part),
            "texts": [query] * len(part),
            "video": torch.stack([window.clips for window in part]),
            "words": words.expand(len(part), -1, -1),
            "word_mask": torch.ones(len(part), len(words), dtype=torch.bool),
            "duration": torch.tensor([window.end - window.start for window in part], dtype=torch.float64),
        }
        batch = {
            key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()
        }
        answers = model.localise(batch, max(top, CANDIDATES))
        for window, (moments, scores) in zip(part, answers, strict=True):
            found.append(torch.cat([moments.double() + window.start, scores.double()[:, None]], dim=1).cpu())
            last = max(last, window.end)
    return merge(torch.cat(found), model.config.nms_iou, top, duration or last)


def merge(
    found: Float[Tensor, "N 3"], iou: float, top: int, duration: float
) -> list[tuple[float, float, float]]:
    """The `top` moments (start, end, score), best first, none overlapping a better one by more than `iou`."""
    found = found.clone()
    found[:, :2].clamp_(0, duration)
    found = found[found[:, 0] < found[:, 1]]
    if not len(found):
        return [(0.0, duration, 0.0)]
    kept = suppress_batch(found[None, :, :2], found[None, :, 2], iou, top)[0]
    return [tuple(found[k].tolist()) for k in kept.tolist() if k >= 0]


def unknown_words(query: str, checkpoint: Checkpoint) -> list[str]:
    """The words of a query that the model has no vector for, each once."""
    return [word for word in dict.fromkeys(tokenize(query)) if word not in checkpoint.words]

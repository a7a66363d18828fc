"""From a video file and a sentence to ranked moments: with a trained checkpoint, or with CLIP alone.

A checkpoint localises as it was trained to, see `localiser.py`. Without one, every clip is compared with
the sentence, and a moment is a stretch of clips that fit the sentence better than the rest of the video
does. CLIP sees one frame at a time, so it finds what is there and not what happens: notebook 01 shows where
that ends.
"""

import argparse
import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vmrlib.data.files import write_bytes
from vmrlib.moments import non_maximum_suppression
from vmrlib.text import tokenize

if TYPE_CHECKING:  # loading a model takes seconds
    from vmrlib.checkpoints import Checkpoint

LONGEST_CLIPS = 150  # no candidate has more clips, so that a film of hours stays cheap
CANDIDATES = 200  # the best so many windows compete for the ranks
STAGE_CHECKPOINT = Path(__file__).parent / "data" / "stage" / "weights" / "msat" / "best.json"
# A model of one of these names is no checkpoint.
EXTRACTORS = ("stage-clip", "clip", "baseline", "outline", "c3d", "video")
NOTHING = np.zeros(0)


class UnknownWords(UserWarning):
    """A query has words that the model has no vector for."""


@dataclass(frozen=True)
class Found:
    """Ranked moments (start, end, score) in seconds, and the curve they were read off if there is one.

    `model` says what found them; `unknown_words` are words of the query that mean nothing to it.
    """

    video: str
    query: str
    duration: float
    times: np.ndarray  # (T,) clip centres
    similarity: np.ndarray  # (T,) cosines
    moments: tuple[tuple[float, float, float], ...]
    model: str = ""
    unknown_words: tuple[str, ...] = ()
    blind: bool = False  # none of the words is known

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the answer, in sentences."""
        if not self.unknown_words:
            return ()
        note = f"The model does not know: {', '.join(self.unknown_words)}."
        return (note + " No word is left, so the moments say nothing about the query." * self.blind,)


def similarity_curve(
    clip_features: Float[Tensor, "T D"], sentence: Float[Tensor, " D"]
) -> Float[Tensor, " T"]:
    """Cosine of every clip with the sentence."""
    return F.normalize(clip_features, dim=-1) @ F.normalize(sentence, dim=-1)


def moments_from_curve(
    similarity: Float[Tensor, " T"], seconds_per_clip: float, duration: float, top: int = 5, iou: float = 0.5
) -> list[tuple[float, float, float]]:
    """The `top` stretches (start, end, score) of clips that stand out most, best first, in seconds.

    The score of n of T clips is how far their mean lies above the mean of the others, counted in
    standard errors: (mean inside - mean outside) * sqrt(n (T - n) / T) / standard deviation.
    Stretches that overlap a better one by more than `iou` are dropped.
    """
    if not torch.isfinite(similarity).all():
        raise ValueError("the similarity curve holds a value that is not finite")
    n_clips = len(similarity)
    values = similarity.double()
    spread = values.std(correction=0)
    if n_clips < 2 or spread < 1e-12:  # nothing stands out: the whole video is the only answer
        return [(0.0, duration, 0.0)]
    total = torch.cat([values.new_zeros(1), values.cumsum(0)])
    candidates, scores = [], []
    for n in range(1, min(n_clips - 1, LONGEST_CLIPS) + 1):
        inside = total[n:] - total[:-n]  # sums of all stretches of n clips
        outside = (total[-1] - inside) / (n_clips - n)
        score = (inside / n - outside) * (n * (n_clips - n) / n_clips) ** 0.5 / spread
        start = torch.arange(n_clips - n + 1, dtype=torch.float64)
        candidates.append(torch.stack([start, start + n], dim=1))
        scores.append(score)
    windows, score = torch.cat(candidates), torch.cat(scores)
    best = torch.argsort(score, descending=True, stable=True)[:CANDIDATES]
    windows, score = (windows[best] * seconds_per_clip).clamp(max=duration), score[best]
    kept = non_maximum_suppression(windows, score, iou, top)
    return [(*windows[k].tolist(), score[k].item()) for k in kept.tolist()]


def find(
    video: str | Path,
    query: str,
    model: "str | Path | Checkpoint" = "stage-clip",
    top: int = 5,
    seconds_per_clip: float | None = None,
    device: str | None = None,
    extractor: str | None = None,
) -> Found:
    """The moments of a video file that a sentence describes, best first. The video may be of any length.

    `model` is a trained model: a run folder, its JSON file, a loaded `Checkpoint`, or `stage`, the one that
    comes with the package; `extractor` replaces the extractor that it names. Or `model` is an extractor with
    a text side, which finds without training: `stage-clip`, which knows nothing but Stage, or
    `clip:ID_OR_FOLDER`.

    Warns (UnknownWords) of words that a trained model does not know. Raises DecodeError for a file that
    cannot be read, CheckpointError or FeatureMismatch for a checkpoint that cannot be used, and ValueError
    for an empty query or a model that cannot read sentences.
    """
    if not query.strip():
        raise ValueError("the query is empty")
    path = checkpoint_path(model)
    if path is None and isinstance(model, str):
        return find_untrained(video, query, model, top, seconds_per_clip, device)
    if seconds_per_clip is not None:
        raise ValueError("seconds per clip are part of a checkpoint and cannot be chosen")
    checkpoint = model
    if path is not None:
        from vmrlib.checkpoints import load

        checkpoint = load(path)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = find_trained(video, query, checkpoint, top, device, extractor)
    if found.unknown_words:
        warnings.warn(" ".join(found.notes), UnknownWords, stacklevel=2)
    return found


def checkpoint_path(model) -> Path | None:
    """The path that names a checkpoint; None for a loaded one and for the specification of an extractor."""
    if not isinstance(model, str | Path) or str(model).partition(":")[0] in EXTRACTORS:
        return None
    return STAGE_CHECKPOINT if str(model) == "stage" else Path(model)


def find_trained(
    video: str | Path,
    query: str,
    checkpoint: "Checkpoint",
    top: int = 5,
    device: str | None = None,
    extractor: str | None = None,
) -> Found:
    """What a trained model finds, on the device where it is if none is named; errors as those of `find`."""
    from vmrlib.features.decode import probe
    from vmrlib.localiser import extractors_of, localise, read_windows, unknown_words

    duration = probe(video).duration
    if device is not None:
        checkpoint.model.to(device)
    windows = read_windows(video, checkpoint, extractors_of(checkpoint, device, extractor))
    moments = localise(windows, query, checkpoint, top, duration)
    unknown = tuple(unknown_words(query, checkpoint))
    blind = len(unknown) == len(set(tokenize(query)))
    return Found(
        str(video), query, duration, NOTHING, NOTHING, tuple(moments), name_of(checkpoint), unknown, blind
    )


def name_of(checkpoint: "Checkpoint") -> str:
    """What a checkpoint is and what it was trained on, in a few words."""
    about = checkpoint.about
    dataset = about.get("dataset", {})
    dataset = dataset.get("name", "unknown data") if isinstance(dataset, dict) else dataset
    label = f" ({about['label']})" if about.get("label") else ""  # `simulated features` must not be forgotten
    return f"{about.get('model', 'a model')} trained on {dataset}{label}"


def find_untrained(
    video: str | Path,
    query: str,
    model: str = "stage-clip",
    top: int = 5,
    seconds_per_clip: float | None = None,
    device: str | None = None,
) -> Found:
    """What the similarity of clips and sentence finds; arguments and errors as those of `find`."""
    from vmrlib.features import load_extractor  # here, because transformers takes seconds to import
    from vmrlib.features.decode import iter_clips, probe

    extractor = load_extractor(model, device=device, seconds_per_clip=seconds_per_clip)
    if not hasattr(extractor, "clip"):
        raise ValueError(f'model "{model}" cannot read sentences: use stage-clip or clip:ID_OR_FOLDER')
    with torch.inference_mode():
        sentence = extractor.clip.encode_sentences([query]).sentence[0].float().cpu()
    info = probe(video)
    rows, times = [], []
    for centres, frames in iter_clips(
        video,
        extractor.seconds_per_clip,
        extractor.stride,
        extractor.frames_per_clip,
        size=extractor.size,
        batch=32,
    ):
        rows.append(extractor(torch.from_numpy(frames)).cpu())
        times.append(centres)
    curve = similarity_curve(torch.cat(rows), sentence)
    moments = moments_from_curve(curve, extractor.stride, info.duration, top)
    curve, times = curve.numpy(), np.concatenate(times)
    return Found(str(video), query, info.duration, times, curve, tuple(moments), f"{model}, untrained")


def picture(found: Found, frames: int = 10):
    """The frames of the video and the best moments, below the curve if there is one: a matplotlib figure."""
    from vmrlib.features.decode import read_frames
    from vmrlib.viz import draw_curve, draw_timeline

    times = (np.arange(frames) + 0.5) * found.duration / frames
    images = read_frames(found.video, times, size=160)
    if not len(found.similarity):
        return draw_timeline(
            found.duration, predictions=found.moments, text=found.query, frames=images, times=times
        )
    return draw_curve(
        found.times,
        found.similarity,
        predictions=found.moments[:3],
        text=found.query,
        frames=images,
        frame_times=times,
        duration=found.duration,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'example: python -m vmrlib find film.mp4 "The red star jumps." --checkpoint stage --html page.html\n'
        "Without --checkpoint CLIP's similarity decides. stage-clip knows nothing but Stage: for real\n"
        "videos use --model clip:openai/clip-vit-base-patch32"
    )
    parser.add_argument("video", help="mp4, mkv, avi, webm ...")
    parser.add_argument("query", help="a sentence")
    parser.add_argument(
        "--checkpoint",
        metavar="RUN",
        help="a run folder or its JSON file, or `stage`: the one of the package",
    )
    parser.add_argument(
        "--model",
        metavar="SPEC",
        help="stage-clip (default) or clip:ID_OR_FOLDER; with --checkpoint: where its extractor lies here",
    )
    parser.add_argument("--top", type=int, default=5, help="how many moments")
    parser.add_argument("--seconds-per-clip", type=float, help="not with --checkpoint")
    parser.add_argument("--device")
    parser.add_argument(
        "--out", type=Path, help="the timeline picture (default: VIDEO_moments.png in this folder)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="PAGE", help="also write a web page that plays the moments"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, not {args.top}")
    out = args.out or Path(f"{Path(args.video).stem}_moments.png")
    if out.suffix != ".png":
        raise ValueError(f"--out must end in .png, not {out}")
    if args.html and args.html.suffix not in (".html", ".htm"):
        raise ValueError(f"--html must end in .html, not {args.html}")
    model, extractor = args.model or "stage-clip", None
    if args.checkpoint:
        model, extractor = Path(args.checkpoint), args.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWords)  # told below, in one line
        found = find(args.video, args.query, model, args.top, args.seconds_per_clip, args.device, extractor)
    for note in found.notes:
        print(f"vmrlib find: warning: {note}", file=sys.stderr)
    from vmrlib.viz import to_png

    write_bytes(out, to_png(picture(found)))
    written = {"picture": str(out)}
    if args.html:
        from vmrlib.moments_page import write_page

        written["page"] = str(write_page(args.html, found))
    if args.json:
        windows = [[round(value, 3) for value in moment] for moment in found.moments]
        about = {"query": found.query, "vid": Path(found.video).stem, "duration": round(found.duration, 3)}
        about |= {"model": found.model, "unknown_words": list(found.unknown_words)}
        print(json.dumps(about | {"pred_relevant_windows": windows} | written))
    else:
        print(f'"{found.query}" in {found.video} ({found.duration:.1f} s), found by {found.model}')
        for rank, (start, end, score) in enumerate(found.moments, start=1):
            print(f"{rank:3}  {start:8.1f} s to {end:8.1f} s   score {score:.2f}")
        for kind, path in written.items():
            print(f"{kind}: {path}")
    return 0

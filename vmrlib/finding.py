"""From a video file and a sentence to ranked moments, without training: CLIP's similarity over time.

Every clip is compared with the sentence; a moment is a stretch of clips that fit the sentence better
than the rest of the video does. CLIP sees one frame at a time, so it finds what is there and not what
happens: notebook 01 shows where that ends.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vmrlib.moments import non_maximum_suppression

LONGEST_CLIPS = 150  # no candidate has more clips, so that a film of hours stays cheap
CANDIDATES = 200  # the best so many windows compete for the ranks


@dataclass(frozen=True)
class Found:
    """Ranked moments (start, end, score) in seconds, and the curve they were read off."""

    video: str
    query: str
    duration: float
    times: np.ndarray  # (T,) clip centres
    similarity: np.ndarray  # (T,) cosines
    moments: tuple[tuple[float, float, float], ...]


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
    model: str = "stage-clip",
    top: int = 5,
    seconds_per_clip: float | None = None,
    device: str | None = None,
) -> Found:
    """The moments of a video file that fit the sentence best.

    `model` is an extractor with a text side: `stage-clip`, which knows nothing but Stage, or
    `clip:ID_OR_FOLDER`. The video may be of any length. Raises DecodeError for a file that cannot be
    read and ValueError for an empty query or a model that cannot read sentences.
    """
    from vmrlib.features import load_extractor  # here, because transformers takes seconds to import
    from vmrlib.features.decode import iter_clips, probe

    if not query.strip():
        raise ValueError("the query is empty")
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
    return Found(str(video), query, info.duration, np.concatenate(times), curve.numpy(), tuple(moments))


def picture(found: Found, frames: int = 10):
    """The frames of the video, the curve below them, and the best moments: a matplotlib figure."""
    from vmrlib.features.decode import read_frames
    from vmrlib.viz import draw_curve

    times = (np.arange(frames) + 0.5) * found.duration / frames
    return draw_curve(
        found.times,
        found.similarity,
        predictions=found.moments[:3],
        text=found.query,
        frames=read_frames(found.video, times, size=160),
        frame_times=times,
        duration=found.duration,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        'example: python -m vmrlib find film.mp4 "The red star jumps."\n'
        "stage-clip knows nothing but Stage; for real videos use --model clip:openai/clip-vit-base-patch32"
    )
    parser.add_argument("video", help="mp4, mkv, avi, webm ...")
    parser.add_argument("query", help="a sentence")
    parser.add_argument("--model", default="stage-clip", help="stage-clip or clip:ID_OR_FOLDER")
    parser.add_argument("--top", type=int, default=5, help="how many moments")
    parser.add_argument("--seconds-per-clip", type=float)
    parser.add_argument("--device")
    parser.add_argument(
        "--out", type=Path, help="the timeline picture (default: VIDEO_moments.png in this folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, not {args.top}")
    found = find(args.video, args.query, args.model, args.top, args.seconds_per_clip, args.device)
    out = args.out or Path(f"{Path(args.video).stem}_moments.png")
    if out.suffix != ".png":
        raise ValueError(f"--out must end in .png, not {out}")
    from vmrlib.viz import to_png

    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_bytes(to_png(picture(found)))
    temporary.replace(out)
    if args.json:
        windows = [[round(value, 3) for value in moment] for moment in found.moments]
        about = {"query": found.query, "vid": Path(found.video).stem, "duration": round(found.duration, 3)}
        print(json.dumps(about | {"pred_relevant_windows": windows, "picture": str(out)}))
    else:
        print(f'"{found.query}" in {found.video} ({found.duration:.1f} s)')
        for rank, (start, end, score) in enumerate(found.moments, start=1):
            print(f"{rank:3}  {start:8.1f} s to {end:8.1f} s   score {score:.2f}")
        print(f"picture: {out}")
    return 0

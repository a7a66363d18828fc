"""Frames of a video file at exact times, decoded with PyAV; and frames written to an mp4.

**Time.** Every time is in seconds on the file's own clock: presentation time stamp x time base, not shifted.
Most files begin at 0; some begin a little later, and then the first frame is what is shown before it. Only
a clock that starts after more than an hour (a cut from a broadcast) is counted from the start of the file.
At time t the frame shown is the last one whose time is <= t. The video ends where its last frame ends; this
is read from the packets, because duration and frame count of a header are often missing or wrong.

**Damage.** Damaged packets are skipped and the frame before them stays on screen. A file that gives no frame
at all (empty, text, sound only, cut before its index) raises `DecodeError`, one line that names the file.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from vmrlib.data.video import SCALING
from vmrlib.features.streams import (
    DecodeError,
    frame_ticks,
    frames_in_time_order,
    frames_shown,
    opened,
    packets,
    seconds,
    video_streams,
)

__all__ = [
    "DecodeError",
    "VideoInfo",
    "clip_times",
    "frame_times",
    "iter_clips",
    "probe",
    "read_frames",
]

# Matrix coefficients (ITU-T H.273, table 4) that swscale knows. An untagged file is converted as BT.601,
# as FFmpeg and therefore every published feature extractor does.
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
Seconds = float | int


@dataclass(frozen=True)
class VideoInfo:
    """What a video stream really holds, counted from its packets; times in seconds.

    `stream` is the index in the container, `streams` are all video streams there; width and height are as
    displayed, that is after rotation; `fps` is the average; `start` is the time of the first frame and
    `duration` the end of the last one, on the same clock.
    """

    path: Path
    duration: float
    start: float
    fps: float
    n_frames: int
    width: int
    height: int
    stream: int
    streams: tuple[int, ...]
    codec: str
    pix_fmt: str


def probe(path: str | Path, stream: int | None = None) -> VideoInfo:
    """Return what a video file holds; reads all packets of the stream but decodes only its beginning."""
    with opened(path, stream) as video:
        starts, ends = [], []
        for packet in packets(video):
            if packet.size == 0 or packet.is_discard or packet.is_corrupt:
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            starts.append(stamp if stamp is not None else (ends[-1] if ends else 0))
            ends.append(starts[-1] + (packet.duration or frame_ticks(video)))
        if not starts:
            raise DecodeError(f"{path}: the video stream is empty")
        last, end = seconds(max(starts), video), seconds(max(ends), video)
        codec = video.codec_context.codec.canonical_name
        index, streams = video.index, tuple(each.index for each in video_streams(video.container))
    first, frame = next(frames_shown(path, np.array([-math.inf]), stream))
    height, width = _upright(np.empty((frame.height, frame.width, 0)), frame).shape[:2]
    return VideoInfo(
        path=Path(path),
        duration=end,
        start=first,
        fps=(len(starts) - 1) / (last - first) if last > first else 1 / (end - first),
        n_frames=len(starts),
        width=width,
        height=height,
        stream=index,
        streams=streams,
        codec=codec,
        pix_fmt=frame.format.name,
    )


def frame_times(path: str | Path, stream: int | None = None) -> np.ndarray:
    """Return the sorted presentation times (n,) in seconds of all frames; decodes the whole stream."""
    with opened(path, stream) as video:
        times = [time for time, _ in frames_in_time_order(video)]
    if not times:
        raise DecodeError(f"{path}: no frame could be decoded")
    return np.array(times)


def read_frames(
    path: str | Path,
    times: Iterable[Seconds],
    size: int | None = None,
    stream: int | None = None,
    fit: str = "crop",
) -> np.ndarray:
    """Return the frames shown at the given times, uint8 RGB (F, H, W, 3), in the order of `times`.

    Without `size` frames keep their size. With it they are `size` x `size`: `fit="crop"` scales the short
    side to `size` (bicubic) and cuts the centre, as CLIP does; `fit="squash"` scales both sides.
    Times may come in any order: the file is read once, and long gaps are jumped over.
    """
    times = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=np.float64)
    if not len(times):
        return read_frames(path, [0.0], size, stream, fit)[:0]
    order = np.argsort(times, kind="stable")
    frames = None
    for place, image in zip(order, _images(path, times[order], size, stream, fit), strict=True):
        if frames is None:
            frames = np.empty((len(times), *image.shape), dtype=np.uint8)
        frames[place] = image
    return frames


def clip_times(
    duration: Seconds, window: Seconds, stride: Seconds | None = None, frames_per_clip: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clips' centres (T,) and the times of their frames (T, F), in seconds.

    Clip k covers [k * stride, k * stride + window). It exists when its centre is inside the video; the first
    one always does. Its frames are those shown at the centres of F equal parts. `stride` is `window` if None.
    """
    stride = window if stride is None else stride
    if not (window > 0 and stride > 0 and frames_per_clip >= 1):
        raise ValueError(
            f"window {window}, stride {stride} and frames per clip {frames_per_clip} must be positive"
        )
    # 1e-6: a centre that falls on the very end is outside, however the duration was rounded
    count = max(1, math.ceil((duration - window / 2) / stride - 1e-6))
    starts = np.arange(count) * stride
    parts = (np.arange(frames_per_clip) + 0.5) * (window / frames_per_clip)
    return starts + window / 2, starts[:, None] + parts


def iter_clips(
    path: str | Path,
    window: Seconds,
    stride: Seconds | None = None,
    frames_per_clip: int = 1,
    size: int | None = None,
    batch: int = 8,
    stream: int | None = None,
    fit: str = "crop",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clips of a video in order, as centres (N,) and frames uint8 (N, F, H, W, 3), N <= batch.

    Only a batch of clips, and those that overlap it, are in memory, however long the video.
    """
    centres, samples = clip_times(probe(path, stream).duration, window, stride, frames_per_clip)
    order = np.argsort(samples, axis=None, kind="stable")
    images = _images(path, samples.reshape(-1)[order], size, stream, fit)
    growing: dict[int, list[np.ndarray]] = {}
    complete: list[np.ndarray] = []
    done = 0
    for clip, image in zip(order // frames_per_clip, images, strict=True):
        # clips that overlap grow side by side, but they are complete in turn
        growing.setdefault(clip, []).append(image)
        if len(growing[clip]) == frames_per_clip:
            complete.append(np.stack(growing.pop(clip)))
        if len(complete) == batch or (complete and done + len(complete) == len(centres)):
            yield centres[done : done + len(complete)], np.stack(complete)
            done += len(complete)
            complete = []


def _images(
    path: str | Path, times: np.ndarray, size: int | None, stream: int | None, fit: str
) -> Iterator[np.ndarray]:
    """The RGB image (H, W, 3) shown at each of the sorted times."""
    if fit not in ("crop", "squash"):
        raise ValueError(f"fit is {fit!r}, not 'crop' or 'squash'")
    if np.isnan(times).any():
        raise ValueError(f"{path}: a time is not a number")
    shape = before = image = None
    for _, frame in frames_shown(path, times, stream):
        if frame is not before:
            # a stream may change its size half-way: all images take the size of the first
            shape = shape or (frame.height, frame.width)
            before, image = frame, _image(frame, shape, size, fit)
        yield image


def _image(frame: av.VideoFrame, shape: tuple[int, int], size: int | None, fit: str) -> np.ndarray:
    """The frame as RGB, upright, scaled from `shape` as `size` and `fit` say."""
    height, width = shape
    if size is not None:
        height, width = (size if fit == "squash" else int(size * side / min(shape)) for side in shape)
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gray"))
    converted = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=MATRICES.get(frame.colorspace, Colorspace.ITU601),
        dst_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.JPEG if full or frame.format.is_rgb else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALING,
    )
    image = _upright(converted.to_ndarray(), frame)
    if size is not None:
        top, left = (round((side - size) / 2) for side in image.shape[:2])
        image = image[top : top + size, left : left + size]
    return np.ascontiguousarray(image)


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The image turned (and mirrored) in quarter turns as the display matrix of its file says."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    # x' = a x + c y and y' = b x + d y, y downwards; rows of three numbers, the first two 16.16 fixed point
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5]
    if abs(b) > abs(a):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]

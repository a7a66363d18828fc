"""Frames of a video file at exact times, decoded with PyAV; and frames written to an mp4.

**Time.** Every time is in seconds on the file's own clock: presentation time stamp x time base, not shifted.
Most files begin at 0; some begin a little later, and then the first frame is what is shown before it. Only a
clock that starts after more than an hour (a cut from a broadcast) is counted from the start of the file.
At time t the frame shown is the last one whose time is <= t. The video ends where its last frame ends: this is
read from the packets, because the duration and the frame count of a header are often missing or wrong.

**Damage.** Damaged packets are skipped and the frame before them stays on screen. A file that gives no frame at
all (empty, text, sound only, cut before its index) raises `DecodeError`, one line that names the file.
"""

from __future__ import annotations

import heapq
import math
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.stream import Discard, Disposition
from av.video.reformatter import ColorRange, Colorspace, Interpolation

# H.264 and HEVC may hold back at most 16 frames before they show one.
REORDER_FRAMES = 16
# Below this gap (seconds) decoding forward costs less than starting again at a key frame.
SEEK_GAP = 3.0
# Seconds; a clock that starts later than this says when something was sent, not where in the video we are.
LATEST_START = 3600.0
# Containers that store no presentation times: what the demuxer guesses after a seek differs from a full pass.
UNSEEKABLE = {"avi", "mpeg", "h264", "hevc", "m4v", "mpegvideo", "gif"}
# FFmpeg opens any text file as a "video" of a terminal.
TEXT_CODECS = {"ansi", "bintext", "idf", "xbin"}

# Matrix coefficients (ITU-T H.273, table 4) that swscale knows; an untagged file is converted as BT.601,
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
SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


class DecodeError(ValueError):
    """A file cannot be decoded; the message is one line, `FILE: what`."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video stream really holds, counted from its packets; times in seconds.

    `stream` is the index in the container and `streams` all video streams there are; width and height are as
    displayed, that is after rotation; `fps` is the average; `start` is the time of the first frame and
    `duration` the end of the last one on the same clock.
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
    """Return what a video file holds; reads all its packets but decodes a single frame."""
    with _opened(path, stream) as (container, video):
        packets = [
            packet
            for packet in _packets(container, video)
            if packet.size > 0 and not packet.is_discard and not packet.is_corrupt
        ]
        if not packets:
            raise DecodeError(f"{path}: the video stream is empty")
        step = _frame_ticks(video)
        starts, ends = [], []
        for packet in packets:
            stamp = packet.pts if packet.pts is not None else packet.dts
            starts.append(stamp if stamp is not None else (ends[-1] if ends else 0))
            ends.append(starts[-1] + (packet.duration or step))
        last, end = (_seconds(max(ticks), video) for ticks in (starts, ends))
        codec = video.codec_context.codec.canonical_name
        index, streams = video.index, tuple(each.index for each in _video_streams(container))
    frame, first = next(_shown(path, np.array([-np.inf]), stream))
    height, width = _turned(np.empty((frame.height, frame.width, 0)), frame).shape[:2]
    return VideoInfo(
        path=Path(path),
        duration=end,
        start=first,
        fps=(len(packets) - 1) / (last - first) if last > first else 1.0 / (end - first),
        n_frames=len(packets),
        width=width,
        height=height,
        stream=index,
        streams=streams,
        codec=codec,
        pix_fmt=frame.format.name,
    )


def frame_times(path: str | Path, stream: int | None = None) -> np.ndarray:
    """Return the sorted presentation times (n,) in seconds of all frames; decodes the whole stream."""
    with _opened(path, stream) as (container, video):
        times = [time for time, _ in _in_time_order(container, video)]
    if not times:
        raise DecodeError(f"{path}: no frame could be decoded")
    return np.array(times)


def read_frames(
    path: str | Path,
    times: Iterable[float],
    size: int | None = None,
    stream: int | None = None,
    fit: str = "crop",
) -> np.ndarray:
    """Return the frames shown at the given times, uint8 RGB (F, H, W, 3), in the order of `times`.

    Without `size` frames keep their size. With it they are `size` x `size`: `fit="crop"` scales the short side
    to `size` (bicubic) and cuts the centre, as CLIP does; `fit="squash"` scales both sides.
    Times may come in any order: the file is read once, and long gaps are jumped over.
    """
    times = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=np.float64)
    if not len(times):
        return read_frames(path, [0.0], size, stream, fit)[:0]
    order = np.argsort(times, kind="stable")
    images = None
    for place, image in zip(order, _images(path, times[order], size, stream, fit), strict=True):
        if images is None:
            images = np.empty((len(times), *image.shape), dtype=np.uint8)
        images[place] = image
    return images


def clip_times(
    duration: float, window: float, stride: float | None = None, frames_per_clip: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clips' centres (T,) and the times of their frames (T, F), in seconds.

    Clip k covers [k * stride, k * stride + window); it exists when its centre is inside the video, and the first
    one always does. Its frames are those shown at the centres of F equal parts. `stride` defaults to `window`.
    """
    stride = window if stride is None else stride
    if not (window > 0 and stride > 0 and frames_per_clip >= 1):
        raise ValueError(
            f"window {window}, stride {stride} and frames per clip {frames_per_clip} must be positive"
        )
    # 1e-6: a centre that falls on the very end is outside, whatever the rounding of the duration
    count = max(1, math.ceil((duration - window / 2) / stride - 1e-6))
    starts = np.arange(count) * stride
    parts = (np.arange(frames_per_clip) + 0.5) * (window / frames_per_clip)
    return starts + window / 2, starts[:, None] + parts


def iter_clips(
    path: str | Path,
    window: float,
    stride: float | None = None,
    frames_per_clip: int = 1,
    size: int | None = None,
    batch: int = 8,
    stream: int | None = None,
    fit: str = "crop",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clips of a video in order, as centres (N,) and frames uint8 (N, F, H, W, 3), N <= batch.

    No more than one batch of frames (and the clips that overlap it) is in memory, however long the video.
    """
    centres, samples = clip_times(probe(path, stream).duration, window, stride, frames_per_clip)
    order = np.argsort(samples, axis=None, kind="stable")
    images = _images(path, samples.reshape(-1)[order], size, stream, fit)
    unfinished: dict[int, list[np.ndarray]] = {}
    finished: list[np.ndarray] = []
    done = 0
    for clip, image in zip(order // frames_per_clip, images, strict=True):
        # overlapping clips fill side by side, but each from its first frame to its last, and in turn
        unfinished.setdefault(clip, []).append(image)
        if len(unfinished[clip]) == frames_per_clip:
            finished.append(np.stack(unfinished.pop(clip)))
        if len(finished) == batch or (finished and done + len(finished) == len(centres)):
            yield centres[done : done + len(finished)], np.stack(finished)
            done += len(finished)
            finished = []


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float | Fraction, crf: int = 18) -> Path:
    """Return `path` after writing uint8 RGB frames (H, W, 3), H and W even, as an H.264 mp4.

    The file appears only when it is complete. Raises ValueError for no frame or a frame of another shape.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1001)
    handle, temporary = tempfile.mkstemp(suffix=".mp4", prefix=f".{path.stem}.", dir=path.parent)
    os.close(handle)
    try:
        with av.open(temporary, "w", options={"movflags": "faststart"}) as container:
            video = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
            video.pix_fmt = "yuv420p"
            shape = None
            for number, image in enumerate(frames):
                image = np.ascontiguousarray(image)
                if shape is None:
                    shape = _even_shape(path, image)
                    video.height, video.width = shape[:2]
                    # BT.601, limited range: what the conversion below makes; said in the file for every player
                    video.codec_context.colorspace = 6
                    video.codec_context.color_range = ColorRange.MPEG
                if image.shape != shape or image.dtype != np.uint8:
                    raise ValueError(
                        f"{path}: frame {number} is {image.dtype} {image.shape}, not uint8 {shape}"
                    )
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU601,
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=ColorRange.MPEG,
                    interpolation=SCALING,
                )
                frame.pts, frame.time_base = number, 1 / rate
                container.mux(video.encode(frame))
            if shape is None:
                raise ValueError(f"{path}: no frame to write")
            container.mux(video.encode())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _even_shape(path: Path, image: np.ndarray) -> tuple[int, ...]:
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] % 2 or image.shape[1] % 2 or not image.size:
        raise ValueError(f"{path}: frames must be (H, W, 3) with even H and W, not {image.shape}")
    return image.shape


@contextmanager
def _opened(path: str | Path, index: int | None):
    """The open container and its video stream: the one of that index, or the one players show."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: not a readable video ({error.strerror})") from error
    with container:
        streams = _video_streams(container)
        if not streams:
            kinds = {stream.type if stream.type != "video" else "still picture" for stream in container.streams}
            raise DecodeError(f"{path}: holds no video (found: {', '.join(sorted(kinds)) or 'nothing'})")
        # as players do: the first stream that is marked as default, else the first
        chosen = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
        if index is not None:
            chosen = next((stream for stream in streams if stream.index == index), None)
        if chosen is None:
            known = ", ".join(str(stream.index) for stream in streams)
            raise DecodeError(f"{path}: stream {index} is not a video stream (these are: {known})")
        for stream in container.streams:
            if stream.index != chosen.index:
                stream.discard = Discard.all
        yield container, chosen


def _video_streams(container) -> list:
    """The streams of moving pictures: no cover art, no text file in disguise, nothing without a decoder."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and not stream.disposition & Disposition.attached_pic
        and stream.codec_context.name not in TEXT_CODECS
    ]


def _origin(container) -> float:
    """The time in seconds on the clock of a file that is called 0."""
    start = (container.start_time or 0) / av.time_base
    return start if start > LATEST_START else 0.0


def _seconds(ticks: int, video) -> float:
    return float(ticks * video.time_base) - _origin(video.container)


def _frame_ticks(video) -> int:
    """The length of a frame by the average rate, for those that do not say how long they are shown."""
    return max(1, round(1 / ((video.average_rate or video.guessed_rate or 25) * video.time_base)))


def _packets(container, video) -> Iterator[av.Packet]:
    """The packets of a stream up to its end, or up to where the file is cut."""
    progress = True
    while progress:
        progress = False
        try:
            for packet in container.demux(video):
                progress = packet.size > 0
                yield packet
            return
        except av.FFmpegError:
            # some demuxers find their way after damage: try again as long as packets keep coming
            continue


def _decoded(container, video) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time, frame) as the decoder gives them; without a time stamp a frame follows the one before."""
    step, following = _frame_ticks(video), 0
    # the None at the end asks for the frames that the decoder still holds when the file is cut
    for packet in chain(_packets(container, video), [None]):
        try:
            frames = video.decode(packet)
        except av.FFmpegError:
            continue
        for frame in frames:
            ticks = following if frame.pts is None else frame.pts
            following = ticks + (frame.duration or step)
            yield _seconds(ticks, video), frame


def _in_time_order(container, video) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time, frame) sorted by time.

    Decoders of codecs with B-frames give frames in the order of display, so where times go back (AVI stores none
    and they are guessed) the order is right and the k-th frame gets the k-th smallest time. Without B-frames
    the decoder only follows the file, and each frame keeps its own time.
    """
    times: list[float] = []
    frames: deque[tuple[float, av.VideoFrame]] = deque()

    def pop() -> tuple[float, av.VideoFrame]:
        time = heapq.heappop(times)
        if not video.codec_context.has_b_frames:
            earliest = min(range(len(frames)), key=lambda place: frames[place][0])
            frames.rotate(-earliest)
            frame = frames.popleft()[1]
            frames.rotate(earliest)
        else:
            frame = frames.popleft()[1]
        return time, frame

    for time, frame in _decoded(container, video):
        heapq.heappush(times, time)
        frames.append((time, frame))
        if len(frames) > REORDER_FRAMES:
            yield pop()
    while frames:
        yield pop()


def _from_key_frame(container, video, time: float) -> Iterator[tuple[float, av.VideoFrame]] | None:
    """(time, frame) from a key frame at or before `time`; None when seeking does not find one."""
    for margin in (0.5, 10.0, 60.0):
        try:
            container.seek(int((time - margin + _origin(container)) / video.time_base), stream=video)
        except av.FFmpegError:
            continue
        frames = _in_time_order(container, video)
        # frames before the first key frame refer to pictures that were not decoded
        for entry in frames:
            if entry[1].key_frame:
                if entry[0] <= time:
                    return chain([entry], frames)
                break
    return None


def _shown(
    path: str | Path, times: np.ndarray, stream: int | None, jump: bool = True
) -> Iterator[tuple[av.VideoFrame, float]]:
    """The frame shown at each of the sorted times, with its own time."""
    with _opened(path, stream) as (container, video):
        jump = jump and container.format.name not in UNSEEKABLE
        frames = _in_time_order(container, video)
        shown = next(frames, None)
        if shown is None:
            raise DecodeError(f"{path}: no frame could be decoded")
        upcoming = next(frames, None)
        gap = SEEK_GAP
        for place, time in enumerate(times):
            if jump and upcoming is not None and time - shown[0] > gap:
                before = shown[0]
                frames = _from_key_frame(container, video, time)
                if frames is None:
                    yield from _shown(path, times[place:], stream, jump=False)
                    return
                shown, upcoming = next(frames), next(frames, None)
                if shown[0] <= before:
                    # key frames are rarer than thought
                    gap *= 2
            while upcoming is not None and upcoming[0] <= time:
                shown, upcoming = upcoming, next(frames, None)
            yield shown[1], shown[0]


def _images(
    path: str | Path, times: np.ndarray, size: int | None, stream: int | None, fit: str
) -> Iterator[np.ndarray]:
    """The RGB image (H, W, 3) shown at each of the sorted times."""
    if fit not in ("crop", "squash"):
        raise ValueError(f"fit is {fit!r}, not 'crop' or 'squash'")
    if np.isnan(times).any():
        raise ValueError(f"{path}: a time is not a number")
    before, image, shape = None, None, None
    for frame, _ in _shown(path, times, stream):
        if frame is not before:
            # a stream may change its size half-way; all images take the size of the first
            shape = shape or (frame.height, frame.width)
            before, image = frame, _image(frame, shape, size, fit)
        yield image


def _image(frame: av.VideoFrame, shape: tuple[int, int], size: int | None, fit: str) -> np.ndarray:
    """The frame as RGB, upright, scaled from `shape` as `size` and `fit` say."""
    height, width = shape
    if size is not None:
        short = min(shape) if fit == "crop" else None
        height, width = (int(size * side / short) if short else size for side in shape)
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
    image = _turned(converted.to_ndarray(), frame)
    if size is not None:
        top, left = (round((side - size) / 2) for side in image.shape[:2])
        image = image[top : top + size, left : left + size]
    return np.ascontiguousarray(image)


def _turned(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The image as displayed: rotated (and mirrored) by the display matrix, in quarter turns."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    # x' = a x + c y, y' = b x + d y with y downwards; 16.16 fixed point, rows of three
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5]
    if abs(b) > abs(a):
        image = image.transpose(1, 0, 2)
        horizontal, vertical = c, b
    else:
        horizontal, vertical = a, d
    return image[:: -1 if vertical < 0 else 1, :: -1 if horizontal < 0 else 1]

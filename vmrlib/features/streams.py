"""The frames of a video stream in the order of their times, from the start or from a key frame.

What `decode.py` stands on. Containers, decoders and damage are dealt with here, pixels there.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.stream import Discard, Disposition

# H.264 and HEVC may hold back at most 16 frames before they show one.
REORDER_FRAMES = 16
# Below this gap (seconds) decoding forward costs less than starting again at a key frame.
SEEK_GAP = 3.0
# Seconds; a clock that starts later than this says when something was sent, not where in the video we are.
LATEST_START = 3600.0
# Containers that store no presentation times: what the demuxer guesses after a seek differs from a full pass.
UNSEEKABLE = {"avi", "mpeg", "h264", "hevc", "m4v", "mpegvideo", "gif"}
# FFmpeg opens text and stray bytes as the "video" of a terminal or of a karaoke disc.
NO_VIDEO_CODECS = {"ansi", "bintext", "cdgraphics", "idf", "xbin"}


class DecodeError(ValueError):
    """A file cannot be decoded; the message is one line, `FILE: what`."""


@contextmanager
def opened(path: str | Path, index: int | None) -> Iterator[av.VideoStream]:
    """The video stream of that index in the container, or the one players show."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, "rb") as file:
        # FFmpeg would open the files it lists, and wait for more
        if file.read(7) == b"#EXTM3U":
            raise DecodeError(f"{path}: not a video but a playlist")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: not a readable video ({error.strerror})") from error
    with container:
        chosen = _choose(path, container, index)
        for stream in container.streams:
            if stream.index != chosen.index:
                stream.discard = Discard.all
        if chosen.codec_context.name == "h264":
            # with more, FFmpeg leaves what the memory held before in the damaged parts of a frame
            chosen.thread_count = 1
        yield chosen


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The streams of moving pictures: no cover art, nothing without a decoder."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and stream.codec_context.name not in NO_VIDEO_CODECS
        and not stream.disposition & Disposition.attached_pic
    ]


def _choose(path: str | Path, container, index: int | None) -> av.VideoStream:
    streams = video_streams(container)
    if not streams:
        kinds = {each.type if each.type != "video" else "still picture" for each in container.streams}
        raise DecodeError(f"{path}: holds no video (found: {', '.join(sorted(kinds)) or 'nothing'})")
    if index is None:
        # as players do: the first that is marked as default, else the first
        return next((each for each in streams if each.disposition & Disposition.default), streams[0])
    for each in streams:
        if each.index == index:
            return each
    known = ", ".join(str(each.index) for each in streams)
    raise DecodeError(f"{path}: stream {index} is not a video stream (these are: {known})")


def origin(video: av.VideoStream) -> float:
    """The time in seconds on the clock of the file that is called 0."""
    start = (video.container.start_time or 0) / av.time_base
    return start if start > LATEST_START else 0.0


def seconds(ticks: int, video: av.VideoStream) -> float:
    """The time of a time stamp."""
    return float(ticks * video.time_base) - origin(video)


def frame_ticks(video: av.VideoStream) -> int:
    """The length of a frame by the average rate, for those that do not say how long they are shown."""
    return max(1, round(1 / ((video.average_rate or video.guessed_rate or 25) * video.time_base)))


def packets(video: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream up to its end, or up to where the file is cut."""
    progress = True
    while progress:
        progress = False
        try:
            for packet in video.container.demux(video):
                progress = packet.size > 0
                yield packet
            return
        except av.FFmpegError:
            # some demuxers find their way after damage: go on as long as packets keep coming
            continue


def frames_in_time_order(video: av.VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time, frame) sorted by time, from where the container stands.

    Decoders of codecs with B-frames give frames in the order of display, so where times go back (AVI stores
    none and they are guessed) the order is right, and the k-th frame gets the k-th smallest time. Without
    B-frames the decoder only follows the file, and each frame keeps its own time.
    """
    times: list[float] = []
    frames: deque[tuple[float, av.VideoFrame]] = deque()

    def earliest() -> tuple[float, av.VideoFrame]:
        place = 0
        if not video.codec_context.has_b_frames:
            place = min(range(len(frames)), key=lambda index: frames[index][0])
        frame = frames[place][1]
        del frames[place]
        return heapq.heappop(times), frame

    for time, frame in _decoded(video):
        heapq.heappush(times, time)
        frames.append((time, frame))
        if len(frames) > REORDER_FRAMES:
            yield earliest()
    while frames:
        yield earliest()


def _decoded(video: av.VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """(time, frame) as the decoder gives them; without a time stamp a frame follows the one before."""
    step, following = frame_ticks(video), 0
    # the None at the end asks for the frames that the decoder still holds when the file is cut
    for packet in chain(packets(video), [None]):
        try:
            decoded = video.decode(packet)
        except av.FFmpegError:
            continue
        for frame in decoded:
            ticks = following if frame.pts is None else frame.pts
            following = ticks + (frame.duration or step)
            yield seconds(ticks, video), frame


def _from_key_frame(video: av.VideoStream, time: float) -> Iterator[tuple[float, av.VideoFrame]] | None:
    """(time, frame) from a key frame at or before `time`; None when seeking does not find one."""
    for margin in (0.5, 10.0, 60.0):
        try:
            video.container.seek(int((time - margin + origin(video)) / video.time_base), stream=video)
        except av.FFmpegError:
            continue
        frames = frames_in_time_order(video)
        # what comes before the first key frame, or fills the holes of a damaged one, was not decoded
        first = next((entry for entry in frames if entry[1].key_frame and not entry[1].is_corrupt), None)
        if first is not None and first[0] <= time:
            return chain([first], frames)
    return None


def frames_shown(
    path: str | Path, times: np.ndarray, index: int | None, jump: bool = True
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(its own time, frame) of the frame shown at each of the sorted times, in one pass.

    Long gaps are jumped over where the container allows it; the frames are those that decoding all gives.
    """
    with opened(path, index) as video:
        jump = jump and video.container.format.name not in UNSEEKABLE
        frames = frames_in_time_order(video)
        shown = next(frames, None)
        if shown is None:
            raise DecodeError(f"{path}: no frame could be decoded")
        upcoming = next(frames, None)
        gap = SEEK_GAP
        for place, time in enumerate(times):
            if jump and upcoming is not None and time - shown[0] > gap:
                before = shown[0]
                frames = _from_key_frame(video, time)
                if frames is None:
                    yield from frames_shown(path, times[place:], index, jump=False)
                    return
                shown, upcoming = next(frames), next(frames, None)
                if shown[0] <= before:
                    # key frames are rarer than thought
                    gap *= 2
            while upcoming is not None and upcoming[0] <= time:
                shown, upcoming = upcoming, next(frames, None)
            yield shown

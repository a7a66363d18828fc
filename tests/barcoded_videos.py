"""Videos whose frames carry their own number, as bright and dark blocks that survive any codec."""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

BITS, BLOCK, HEIGHT = 10, 16, 48
WIDTH = BITS * BLOCK
MILLISECOND = Fraction(1, 1000)


def barcode(number: int) -> np.ndarray:
    """The frame (48, 160, 3) of that number."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    row = np.repeat(np.array(bits, dtype=np.uint8), BLOCK)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that frames (F, H, W, 3) carry, at any size."""
    blocks = np.array_split(frames.mean(axis=(1, 3)), BITS, axis=1)
    return [
        int(number) for number in sum((b.mean(axis=1) > 127).astype(int) << i for i, b in enumerate(blocks))
    ]


def write(
    path, times_ms: Sequence[int], codec="libx264", pix_fmt="yuv420p", rate=25, bframes=None, **options
):
    """Writes one barcoded frame at each time (milliseconds)."""
    with av.open(str(path), "w") as container:
        options.setdefault("g", "25")
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        if bframes is not None:
            stream.codec_context.max_b_frames = bframes
        # containers with one fixed rate count in frames, the others can have a frame at any millisecond
        if codec != "mpeg2video" and not str(path).endswith(".avi"):
            stream.codec_context.time_base = MILLISECOND
        for number, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(barcode(number), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = int(time), MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_packets(
    path, packets: Sequence[bytes], stamps_ms: Sequence[int], codec: str, tag: str | None = None
):
    """Writes encoded pictures in this order, with the time stamps as they are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if tag:
            stream.codec_context.codec_tag = tag
        for number, (data, stamp) in enumerate(zip(packets, stamps_ms, strict=True)):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, MILLISECOND
            packet.pts, packet.dts = stamp, stamp if tag else number
            packet.is_keyframe = codec == "mjpeg" or number == 0
            container.mux(packet)
    return path


def encode(codec: str, count: int, pix_fmt="yuv420p", bframes=0) -> list[bytes]:
    """The packets of `count` barcoded frames in the order of coding."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, pix_fmt
    context.time_base, context.framerate = Fraction(1, 10), Fraction(10)
    context.max_b_frames, context.options = bframes, {"g": "300", "b_strategy": "0"}
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(barcode(number), format="rgb24").reformat(format=pix_fmt)
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


def write_packed_bframes(path, count: int = 20):
    """Writes an AVI as DivX did: a P and a B picture in one chunk, then an empty chunk to keep the rate."""
    start_code, pictures = b"\0\0\1\xb6", encode("mpeg4", count, bframes=1)
    types = [picture[picture.index(start_code) + 4] >> 6 for picture in pictures]  # 0 I, 1 P, 2 B
    head = pictures[0].index(start_code)
    chunks = [pictures[0][:head] + b"\0\0\1\xb2DivX503b1393p" + pictures[0][head:]]
    for place in range(1, len(pictures)):
        if types[place] == 2:
            chunks[-1] += pictures[place]
            chunks.append(start_code + bytes([0b01010000, 0b10111111]))  # a P picture that is "not coded"
        else:
            chunks.append(pictures[place])
    assert types.count(2) > 3
    return write_packets(path, chunks, [100 * n for n in range(len(chunks))], "mpeg4", tag="DX50")

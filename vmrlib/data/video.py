"""Writing frames as a video file that every player reads."""

import uuid
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from vmrlib.data.files import put

SMPTE170M = 6  # matrix coefficients of BT.601 (ITU-T H.273, table 4)
SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], fps: float | int | Fraction, crf: int = 18
) -> Path:
    """Return `path` after writing uint8 RGB frames (H, W, 3), H and W even, as an H.264 mp4.

    The file appears only when it is complete. Raises ValueError for no frame or a frame of another shape.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1001)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.mp4")
    try:
        with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
            video = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
            video.pix_fmt = "yuv420p"
            shape = None
            for number, image in enumerate(frames):
                image = np.ascontiguousarray(image)
                if shape is None:
                    shape = image.shape
                    if len(shape) != 3 or shape[2] != 3 or shape[0] % 2 or shape[1] % 2 or not image.size:
                        raise ValueError(f"{path}: frames must be (H, W, 3), H and W even, not {shape}")
                    video.height, video.width = shape[:2]
                    # says to every player what the conversion below makes
                    video.codec_context.colorspace = SMPTE170M
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
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path

"""Stage's camera: a script and times in, frames and boxes out.

The background of a video is painted once per size; clouds, waves and steam are added per frame,
then the actors. A frame depends on the script and its own time only.
"""

import numpy as np
from jaxtyping import Float, UInt8

from vmrlib.data.stage.actors import perform
from vmrlib.data.stage.poses import outline, poses
from vmrlib.data.stage.scenes import backdrop, liven
from vmrlib.data.stage.shapes import Picture
from vmrlib.data.stage.world import Script

PIXELS_AT_ONCE = 200_000  # frames are painted in groups of about this many pixels, which fit the cache


def render(script: Script, times, size: int = 64) -> UInt8[np.ndarray, "F H W 3"]:
    """RGB frames, `size` by `size` pixels, of the script at `times` (F,) seconds, in any order.

    Raises ValueError for a size below 8.
    """
    if size < 8:
        raise ValueError(f"size: a frame needs at least 8 pixels a side, not {size}")
    times = np.asarray(times, dtype=np.float64).reshape(-1)
    frames = np.empty((len(times), size, size, 3), dtype=np.uint8)
    still = backdrop(script, size)
    group = max(PIXELS_AT_ONCE // size**2, 1)
    for start in range(0, len(times), group):
        shown = times[start : start + group]
        picture = Picture.blank(len(shown), size)
        picture.pixels[:] = still
        liven(picture, script, shown)
        perform(picture, script, shown)
        pixels = np.clip(picture.pixels, 0, 255, out=picture.pixels)
        pixels += np.float32(0.5)
        whole = pixels.astype(np.uint8)
        for channel in range(3):  # three times as fast as one transposed copy
            frames[start : start + group, :, :, channel] = whole[:, channel]
    return frames


def boxes(script: Script, times) -> Float[np.ndarray, "F A 4"]:
    """Boxes [x0, y0, x1, y1] of the bodies at `times` (F,) seconds, in 0..1 of the frame.

    NaN where an actor is not in sight. A box is tight around the part of the body that lies in the frame,
    outline included, shadow and streaks not; other actors may hide it.
    """
    times = np.asarray(times, dtype=np.float64).reshape(-1)
    pose = poses(script, times)
    found = np.full((len(times), len(script.actors), 4), np.nan)
    for index, actor in enumerate(script.actors):
        points = outline(actor.shape, pose, index)
        low, high = points.min(axis=1).clip(0, 1), points.max(axis=1).clip(0, 1)
        seen = (pose.visible[:, index] > 0.5) & (high > low).all(axis=1)
        found[seen, index] = np.concatenate([low, high], axis=1)[seen]
    return found


def contact_sheet(
    frames: UInt8[np.ndarray, "F H W 3"], columns: int, pad: int = 2
) -> UInt8[np.ndarray, "rows columns 3"]:
    """One picture of all frames, row by row, with `pad` white pixels between them."""
    count, height, width, _ = frames.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, 3), 255, dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = pad + index // columns * (height + pad), pad + index % columns * (width + pad)
        sheet[top : top + height, left : left + width] = frame
    return sheet

"""Pictures drawn with signed distance fields: the shapes, and the `Picture` they are painted on.

Lengths are in frame sides (0..1, x to the right, y down), so one description serves every resolution.
A distance is negative inside a shape; a pixel's share of the shape follows from its distance to the
edge in pixels, which is what makes edges smooth at any size.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


@lru_cache(maxsize=1024)
def paint(code: str) -> np.ndarray:
    """The colour "#rrggbb" as (3, 1, 1) float32, 0..255."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32).reshape(3, 1, 1)


def gradient(values: np.ndarray, stops: dict[float, str]) -> np.ndarray:
    """Colours (..., 3, h, w) of `values` (..., h, w), linear between the colours at `stops`."""
    places = list(stops)
    colours = np.stack([paint(code)[:, 0, 0] for code in stops.values()])
    channels = [np.interp(values, places, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-3).astype(np.float32)


def unit(values: np.ndarray) -> np.ndarray:
    """`values` cut to 0..1 in place (half the time of np.clip on small arrays)."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, 1, out=values)


def smooth(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth step between."""
    ramp = unit((values - low) / (high - low))
    return ramp * ramp * (3 - 2 * ramp)


class Picture:
    """Pixels (F, 3, h, w) float32 0..255; x (..., 1, w) and y (..., h, 1) are their centres."""

    def __init__(self, pixels: np.ndarray, x: np.ndarray, y: np.ndarray, size: int):
        self.pixels, self.x, self.y, self.size = pixels, x, y, size

    @classmethod
    def blank(cls, frames: int, size: int) -> "Picture":
        """`frames` square black frames."""
        centres = (np.arange(size, dtype=np.float32) + 0.5) / size
        pixels = np.zeros((frames, 3, size, size), dtype=np.float32)
        return cls(pixels, centres[None, :], centres[:, None], size)

    def mirrored(self) -> "Picture":
        """The same pixels seen in a mirror: what is drawn left appears right."""
        return Picture(self.pixels[..., ::-1], self.x, self.y, self.size)

    def part(self, x0, y0, x1, y1) -> "Picture":
        """A view of the rectangle, to draw small things without touching the rest."""
        columns = slice(max(int(x0 * self.size) - 1, 0), max(int(x1 * self.size) + 2, 0))
        rows = slice(max(int(y0 * self.size) - 1, 0), max(int(y1 * self.size) + 2, 0))
        return Picture(self.pixels[:, :, rows, columns], self.x[:, columns], self.y[rows], self.size)

    def window(
        self, frames: np.ndarray, x, y, half_width: float, half_height: float | None = None
    ) -> "Window":
        """A piece of each of `frames` (n,) around its own (x, y), x and y (n,), all pieces of one size."""
        return Window(self, frames, x, y, half_width, half_height or half_width)

    def blend(self, share: np.ndarray, colour) -> None:
        """Mix `colour` in by `share` (..., h, w), 0 none .. 1 all."""
        colour = paint(colour) if isinstance(colour, str) else colour
        change = colour - self.pixels
        change *= share[..., None, :, :]
        self.pixels += change

    def draw(self, distance: np.ndarray, colour, opacity=1.0, blur: float = 0.0) -> None:
        """Paint where `distance` (..., h, w) is negative; `blur` widens the edge to that length."""
        sharpness = min(self.size, 1 / blur) if blur else self.size
        self.blend(unit(0.5 - distance * sharpness) * opacity, colour)

    def glow(self, distance: np.ndarray, reach: float, colour, opacity=1.0) -> None:
        """Light that fades from `distance` 0 to nothing at `reach`."""
        fade = unit(1 - distance / reach)
        self.blend(fade * fade * opacity, colour)


class Window(Picture):
    """A copy of one piece per frame of a picture; `store` writes it back."""

    def __init__(self, picture: Picture, frames, x, y, half_width: float, half_height: float):
        size = picture.size
        width, height = (min(int(np.ceil(2 * half * size)) + 2, size) for half in (half_width, half_height))
        column = np.clip(np.round(np.asarray(x) * size - width / 2), 0, size - width).astype(np.int64)
        row = np.clip(np.round(np.asarray(y) * size - height / 2), 0, size - height).astype(np.int64)
        self.source = sliding_window_view(picture.pixels, (height, width), axis=(2, 3), writeable=True)
        self.place = (frames, slice(None), row, column)
        centres_x = picture.x.ravel()[column[:, None] + np.arange(width)]
        centres_y = picture.y.ravel()[row[:, None] + np.arange(height)]
        super().__init__(self.source[self.place], centres_x[:, None, :], centres_y[:, :, None], size)

    def store(self) -> None:
        """Put the piece back where it was taken from."""
        self.source[self.place] = self.pixels


def circle(x, y, radius) -> np.ndarray:
    """Distance to a circle around the origin."""
    return np.sqrt(x * x + y * y) - radius


def ellipse(x, y, radius_x, radius_y) -> np.ndarray:
    """Distance to an axis-parallel ellipse around the origin, to first order."""
    tiny = np.float32(1e-4)  # keeps the centre, 0 / 0, finite
    level = np.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2)
    slope = np.sqrt((x / radius_x**2) ** 2 + (y / radius_y**2) ** 2)
    return (level + tiny) * (level - 1) / (slope + tiny / radius_x)


def box(x, y, half_width, half_height, rounding=0.0) -> np.ndarray:
    """Distance to a rectangle around the origin; `rounding` is the radius of its corners."""
    u, v = np.abs(x) - (half_width - rounding), np.abs(y) - (half_height - rounding)
    outside = np.sqrt(np.maximum(u, 0) ** 2 + np.maximum(v, 0) ** 2)
    return outside + np.minimum(np.maximum(u, v), 0) - rounding


def segment(x, y, x0, y0, x1, y1, radius, end_radius=None) -> np.ndarray:
    """Distance to a line from (x0, y0) to (x1, y1) of half-width `radius`, tapering to `end_radius`."""
    along_x, along_y = x1 - x0, y1 - y0
    position = ((x - x0) * along_x + (y - y0) * along_y) / (along_x * along_x + along_y * along_y + 1e-9)
    position = unit(position)
    width = radius if end_radius is None else radius + (end_radius - radius) * position
    return circle(x - x0 - position * along_x, y - y0 - position * along_y, width)


def polygon(x, y, corners) -> np.ndarray:
    """Distance to a convex polygon given by its corners, clockwise on the screen."""
    distance = None
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        along_x, along_y = x1 - x0, y1 - y0
        length = math.hypot(along_x, along_y)
        edge = ((x - x0) * along_y - (y - y0) * along_x) / length
        distance = edge if distance is None else np.maximum(distance, edge)
    return distance


def triangle(x, y, half_side) -> np.ndarray:
    """Distance to an equilateral triangle that points up, its centroid at the origin."""
    root = np.float32(np.sqrt(3))
    x, y = np.abs(x) - half_side, half_side / root - y
    beyond = x + root * y > 0
    x, y = np.where(beyond, (x - root * y) / 2, x), np.where(beyond, (-root * x - y) / 2, y)
    x = x - np.clip(x, -2 * half_side, 0)
    return -np.sqrt(x * x + y * y) * np.sign(y)


def star(x, y, radius, inner) -> np.ndarray:
    """Distance to a five-point star that points up; `inner` is the notch's radius over the tip's."""
    cosine, sine = np.float32(np.cos(np.pi / 5)), np.float32(np.sin(np.pi / 5))
    x, y = np.abs(x), -y
    fold = 2 * np.maximum(cosine * x - sine * y, 0)
    x, y = x - fold * cosine, y + fold * sine
    fold = 2 * np.maximum(-cosine * x - sine * y, 0)
    x, y = np.abs(x + fold * cosine), y + fold * sine - radius
    edge_x, edge_y = np.float32(inner * sine), np.float32(inner * cosine - 1)
    along = np.clip((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2), 0, radius)
    return circle(x - edge_x * along, y - edge_y * along, 0) * np.sign(y * edge_x - x * edge_y)


def union(*distances) -> np.ndarray:
    """Distance to the union of shapes."""
    joined = distances[0]
    for distance in distances[1:]:
        joined = np.minimum(joined, distance)
    return joined

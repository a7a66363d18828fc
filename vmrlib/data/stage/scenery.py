"""Pieces that several scenes of Stage share: ridges, clouds, trees, grass, birds, flakes.

Functions that move something take `time` (F, 1, 1) in seconds.
"""

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.shapes import Picture, gradient, paint, unit


def ridge(x, base: float, height: float, waves: float | int, phase: float) -> np.ndarray:
    """The y of a rolling skyline at x."""
    return base - height * (0.65 * np.sin(waves * x + phase) + 0.35 * np.sin(2.3 * waves * x + 1.7 * phase))


def sky(picture: Picture, stops: dict[float, str]) -> None:
    """Fill the picture with colours from top to bottom."""
    picture.pixels[:] = gradient(picture.y, stops)


def land(picture: Picture, top, stops: dict[float, str], opacity=1.0) -> None:
    """Ground below the line `top` (y at each x), coloured from the top of the picture down by `stops`."""
    picture.draw(top - picture.y, gradient(picture.y, stops), opacity)


def dots(picture: Picture, places, radius, colour, opacity=1.0) -> None:
    """A dot at each of `places` (n, 2)."""
    for x, y in places:
        spot = picture.part(x - radius, y - radius, x + radius, y + radius)
        spot.draw(shapes.circle(spot.x - x, spot.y - y, radius), colour, opacity)


def flower(picture: Picture, x: float, y: float, radius: float, colour: str) -> None:
    """A blossom of five petals."""
    spot = picture.part(x - radius, y - radius, x + radius, y + radius)
    u, v = spot.x - x, (spot.y - y) * 1.2
    petals = radius * (0.72 + 0.28 * np.cos(5 * np.arctan2(v, u) + 90 * x))
    spot.draw(shapes.circle(u, v, petals), colour)
    spot.draw(shapes.circle(u, v, 0.36 * radius), "#ffc94a")


def scatter(dice: np.random.Generator, count: int, x0, y0, x1, y1) -> list[list[float]]:
    """`count` places [x, y] in a rectangle, spread evenly in x."""
    x = (np.arange(count) + dice.uniform(0.1, 0.9, count)) / count
    return np.stack([x0 + (x1 - x0) * x, dice.uniform(y0, y1, count)], axis=1).tolist()


def disc(picture: Picture, x: float, y: float, radius: float, colour, glow: str, reach: float) -> None:
    """A sun or a moon with its glow."""
    distance = shapes.circle(picture.x - x, picture.y - y, radius)
    picture.glow(distance, reach, glow, 0.8)
    spot = picture.part(x - radius, y - radius, x + radius, y + radius)
    spot.draw(shapes.circle(spot.x - x, spot.y - y, radius), colour)


def clouds(picture: Picture, time, places, speed: float, light: str, shade: str, opacity=0.95) -> None:
    """Clouds of width about 0.2 that drift across the sky and come back."""
    frames = np.arange(len(time))
    for index, (place, y) in enumerate(places):
        scale = 0.75 + 0.35 * ((index * 0.61) % 1)
        x = np.mod(place + (speed * (0.7 + 0.3 * index)) * time + 0.2, np.float32(1.4)) - np.float32(0.2)
        piece = picture.window(frames, x[:, 0, 0], np.full(len(time), y), 0.14 * scale, 0.065 * scale)
        u, v = (piece.x - x) / scale, (piece.y - y) / scale
        puffs = shapes.union(
            shapes.circle(u + 0.07, v - 0.012, 0.034),
            shapes.circle(u + 0.02, v + 0.01, 0.046),
            shapes.circle(u - 0.04, v - 0.003, 0.04),
            shapes.circle(u - 0.085, v - 0.018, 0.026),
        )
        distance = np.maximum(puffs, v - 0.036)
        tint = unit((v + 0.02) * 18)[:, None]
        piece.draw(distance * scale, paint(light) + (paint(shade) - paint(light)) * tint, opacity, blur=0.008)
        piece.store()


def pine(
    picture: Picture, x: float, foot: float, height: float, colour: str, light: str, snow: str = ""
) -> None:
    """A fir of three tiers, lit from the left."""
    tree = picture.part(x - 0.4 * height, foot - 1.1 * height, x + 0.4 * height, foot + 0.02)
    u, v = (tree.x - x) / height, (tree.y - foot) / height
    tree.draw(shapes.box(u, v + 0.04, 0.035, 0.08) * height, "#5b4636")
    for tip, base, width in ((-0.62, -0.08, 0.3), (-0.82, -0.36, 0.24), (-1.0, -0.6, 0.17)):
        tier = shapes.polygon(u, v, [(0, tip), (width, base), (-width, base)]) - 0.015
        tree.draw(tier * height, colour)
        tree.draw(np.maximum(tier, u + 0.25 * (v - tip) + 0.02) * height, light, 0.8)
        if snow:
            cap = np.maximum(tier, v - (tip + 0.13 + 0.03 * np.sin(40 * u)))
            tree.draw(cap * height, snow)


def grass(picture: Picture, time, height: float, count: int, colours, sway: float = 0.012) -> None:
    """Blades along the lower edge that bend in the wind."""
    strip = picture.part(0, 1 - 1.3 * height, 1, 1)
    for layer, colour in enumerate(colours):
        blades = strip.x * count + 0.37 * layer
        cell = np.floor(blades)
        chance = np.mod(np.sin(cell * 12.9898 + layer * 4.1) * 43.758, 1)
        tall = height * (0.45 + 0.75 * chance) * (1 - 0.25 * layer)
        up = np.clip((1 - strip.y) / tall, 0, 1.2)
        bend = sway * np.sin(1.7 * time + 5 * cell / count + 2 * chance) * count * up * up
        middle = blades - cell - 0.5 + 0.25 * (chance - 0.5)
        width = 0.38 * (1 - up)
        strip.draw((np.abs(middle - np.clip(bend, -0.3, 0.3)) - width) / count, colour)


def birds(picture: Picture, time, places, speed: float, colour: str, size: float = 0.022) -> None:
    """Birds far away that beat their wings."""
    frames = np.arange(len(time))
    for index, (place, y) in enumerate(places):
        x = np.mod(place + speed * time + 0.1, np.float32(1.2)) - np.float32(0.1)
        height = y + 0.012 * np.sin(0.9 * time + index)
        piece = picture.window(frames, x[:, 0, 0], height[:, 0, 0], 1.3 * size, size)
        u, v = np.abs(piece.x - x) / size, (piece.y - height) / size
        beat = 0.45 * np.sin(6 * time + 2 * index)
        wing = np.abs(v + beat * u + 0.55 * u * (1 - u)) - 0.13 * (1.1 - u)
        piece.draw(np.maximum(wing, u - 1) * size, colour, 0.9)
        piece.store()


def butterflies(picture: Picture, time, places, colours, size: float = 0.02) -> None:
    """Butterflies that flutter around their places."""
    frames = np.arange(len(time))
    for index, (place_x, place_y) in enumerate(places):
        x = place_x + 0.05 * np.sin(0.5 * time + 2 * index) + 0.012 * np.sin(2.3 * time)
        y = place_y + 0.03 * np.sin(0.8 * time + index) + 0.01 * np.sin(3.1 * time + index)
        piece = picture.window(frames, x[:, 0, 0], y[:, 0, 0], 1.4 * size)
        open_wing = 0.35 + 0.65 * np.abs(np.sin(7 * time + index))
        u, v = np.abs(piece.x - x) / size / open_wing, (piece.y - y) / size
        wings = shapes.union(shapes.circle(u - 0.55, v + 0.35, 0.52), shapes.circle(u - 0.42, v - 0.45, 0.38))
        piece.draw(wings * size, colours[index % len(colours)])
        piece.draw(shapes.box(u, v, 0.1, 0.7) * size, "#4a3340")
        piece.store()


def falling(picture: Picture, time, places, speed: float, drift: float, radius: float, colour, opacity=0.9):
    """Flakes, leaves or bubbles (`speed` < 0: upwards) that cross the frame again and again."""
    frames = np.arange(len(time))
    for index, (place_x, place_y) in enumerate(places):
        pace = speed * (0.75 + 0.5 * ((index * 0.618) % 1))
        x = place_x + drift * np.sin(0.9 * time + 1.7 * index)
        y = np.mod(place_y + pace * time + 0.1, np.float32(1.2)) - np.float32(0.1)
        size = radius * (0.7 + 0.6 * ((index * 0.37) % 1))
        piece = picture.window(frames, x[:, 0, 0], y[:, 0, 0], size)
        piece.draw(shapes.circle(piece.x - x, piece.y - y, size), colour, opacity)
        piece.store()

"""Two of Stage's places: a house at night and the city."""

import math

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.scenery import (
    birds,
    clouds,
    disc,
    dots,
    grass,
    land,
    pine,
    ridge,
    scatter,
    sky,
)
from vmrlib.data.stage.shapes import Picture, gradient, unit


def still_night(picture: Picture, dice: np.random.Generator) -> None:
    """Paint stars, the moon, hills and a lit house."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#151747", 0.3: "#2c2b6b", 0.5: "#574a8f", 0.64: "#9c78a8"})
    band = np.abs(y - 0.3 + 0.35 * (x - 0.5) + 0.03 * np.sin(9 * x)) / 0.16
    picture.blend(np.clip(1 - band, 0, 1) ** 2 * 0.22, "#b7a6e8")
    for radius, count, light in ((0.0022, 34, 0.6), (0.0036, 16, 0.8), (0.005, 6, 0.95)):
        dots(picture, scatter(dice, count, 0, 0.0, 1, 0.5), radius, "#fff6e0", light)
    disc(picture, 0.82, 0.14, 0.066, "#fdf3d0", "#c9b8f0", 0.26)
    moon = picture.part(0.75, 0.07, 0.89, 0.21)
    for crater_x, crater_y, radius in (
        (0.8, 0.12, 0.014),
        (0.84, 0.155, 0.018),
        (0.838, 0.112, 0.008),
        (0.797, 0.165, 0.009),
    ):
        moon.draw(shapes.circle(moon.x - crater_x, moon.y - crater_y, radius), "#e9d9ae")
    land(picture, ridge(x, 0.575, 0.04, 8, phase), {0.52: "#5d4f8f", 0.66: "#7d6aa3"})
    land(picture, ridge(x, 0.63, 0.025, 5.5, phase + 2), {0.58: "#45437f", 0.74: "#5b5f97"})
    for tree_x, height in ((0.03, 0.17), (0.1, 0.12), (0.94, 0.15), (0.99, 0.2)):
        pine(picture, tree_x, 0.68, height, "#2f3468", "#3f477f")
    land(picture, ridge(x, 0.7, 0.02, 3.5, phase + 4), {0.68: "#5878a0", 0.8: "#476695", 1.0: "#2f4676"})
    picture.glow(shapes.ellipse(x - 0.62, y - 0.86, 0.02, 0.01), 0.4, "#8fb0cf", 0.35)
    house = picture.part(0.15, 0.5, 0.37, 0.74)
    u, v = house.x - 0.25, house.y - 0.7
    house.draw(shapes.box(u - 0.028, v + 0.125, 0.009, 0.03), "#37305c")
    house.draw(shapes.box(u, v + 0.04, 0.05, 0.04), "#4b3f70")
    house.draw(shapes.polygon(u, v, [(0, -0.14), (0.07, -0.075), (-0.07, -0.075)]), "#37305c")
    pane_x, pane_y = u + 0.02, v + 0.042
    pane = shapes.box(pane_x, pane_y, 0.013, 0.014)
    house.glow(pane, 0.07, "#ffca6b", 0.75)
    house.draw(pane, "#ffdf8e")
    bars = np.minimum(np.abs(pane_x), np.abs(pane_y)) - 0.0015
    house.draw(np.maximum(bars, pane), "#7a5a4e")
    house.draw(shapes.box(u - 0.024, v + 0.026, 0.012, 0.026, 0.01), "#2f284f")


def moving_night(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint twinkling, shooting stars, smoke, fireflies, grass."""
    for index, (x, y) in enumerate(scatter(dice, 9, 0.03, 0.03, 0.97, 0.42)):
        spot = picture.part(x - 0.025, y - 0.025, x + 0.025, y + 0.025)
        u, v = np.abs(spot.x - x), np.abs(spot.y - y)
        sparkle = np.sqrt(u) + np.sqrt(v)
        spot.glow(np.square(sparkle), 0.026, "#fffbe8", 0.35 + 0.6 * np.sin(1.3 * time + 2.2 * index) ** 2)
    # a shooting star now and then
    cycle = np.mod(time + dice.uniform(0, 9), np.float32(9))
    flight = cycle / 0.9
    frames = np.flatnonzero(flight[:, 0, 0] < 1)
    if len(frames):
        way = flight[frames]
        head_x, head_y = 0.25 + 0.3 * way, 0.06 + 0.12 * way
        piece = picture.window(frames, head_x[:, 0, 0] - 0.06, head_y[:, 0, 0] - 0.025, 0.1)
        line = shapes.segment(piece.x, piece.y, head_x, head_y, head_x - 0.12, head_y - 0.048, 0.005, 0.0005)
        piece.draw(line, "#fffdf0", np.sin(np.pi * way))
        piece.store()
    for puff in range(3):
        rise = np.mod(0.13 * time + puff / 3, np.float32(1))
        spot = picture.part(0.22, 0.38, 0.4, 0.6)
        distance = shapes.circle(
            spot.x - 0.278 - 0.05 * rise**2 - 0.008 * np.sin(2 * time + puff),
            spot.y - 0.545 + 0.14 * rise,
            0.008 + 0.02 * rise,
        )
        spot.draw(distance, "#b9a9d6", 0.45 * (1 - rise), blur=0.012)
    for index, (x, y) in enumerate(scatter(dice, 6, 0.04, 0.76, 0.96, 0.95)):
        fly_x = x + 0.05 * np.sin(0.6 * time + 1.9 * index)
        fly_y = y + 0.03 * np.sin(0.9 * time + index)
        piece = picture.window(np.arange(len(time)), fly_x[:, 0, 0], fly_y[:, 0, 0], 0.026)
        distance = shapes.circle(piece.x - fly_x, piece.y - fly_y, 0.004)
        piece.glow(distance, 0.024, "#f6ff9a", 0.25 + 0.7 * np.sin(1.1 * time + 2.6 * index) ** 2)
        piece.store()
    grass(picture, time, 0.055, 30, ("#3a5583", "#263a66"))


def still_city(picture: Picture, dice: np.random.Generator) -> None:
    """Paint a skyline, the street, lamps."""
    x, y = picture.x, picture.y
    sky(picture, {0.0: "#8d86c9", 0.25: "#e3a9c3", 0.45: "#ffd0b0", 0.62: "#fff0cf"})
    disc(picture, 0.66, 0.4, 0.075, "#fff3d2", "#ffe6b8", 0.35)
    for count, base, tall, tone, foot, window in (
        (13, 0.66, 0.2, "#eab9b4", "#f6d6c0", ""),
        (10, 0.68, 0.25, "#c59db8", "#dfb8bd", "#f5d3bd"),
        (8, 0.7, 0.27, "#8e7fb0", "#a993b8", "#ffe2a6"),
    ):
        chance = dice.random(count + 2, dtype=np.float32)
        cell = np.clip(np.floor(x * count + chance[-1]), 0, count).astype(np.int64)
        inside = x * count + chance[-1] - cell.astype(np.float32)
        # low in the middle, where the actors are
        valley = 0.45 + 0.55 * unit(np.abs(2 * (x - (inside - 0.5) / count) - 1))
        top = base - tall * (0.35 + 0.75 * chance[cell]) * valley
        wall = np.maximum(top - y, (np.abs(inside - 0.5) - 0.46) / count)
        roof = np.maximum(top - 0.02 - y, (np.abs(inside - 0.35 - 0.3 * chance[cell - 1]) - 0.08) / count)
        wall = np.where(chance[cell] > 0.45, np.minimum(wall, roof), wall)
        picture.draw(wall, gradient(y, {0.4: tone, base: foot}))
        if window:
            columns, rows = np.mod(inside * 4 + 0.5, 1), np.mod((y - top) * 34, 1)
            pane = np.maximum(np.abs(columns - 0.5) - 0.2, np.abs(rows - 0.5) - 0.28) / 34
            number = 7.3 * np.floor(inside * 4 + 0.5) + 3.7 * np.floor((y - top) * 34)
            lamp = np.mod(91.7 * np.sin(number + chance[cell]), 1)  # a different chance for every window
            room = np.maximum(pane, np.maximum(top + 0.01 - y, (np.abs(inside - 0.5) - 0.36) / count))
            picture.draw(room, window, np.where(lamp > 0.5, np.float32(0.95), np.float32(0.35)))
    # trees along the far pavement, the street, the near pavement
    for tree_x in (0.06, 0.3, 0.72, 0.95):
        tree = picture.part(tree_x - 0.06, 0.57, tree_x + 0.06, 0.72)
        tree.draw(shapes.box(tree.x - tree_x, tree.y - 0.69, 0.005, 0.03), "#86708a")
        tree.draw(shapes.circle(tree.x - tree_x, tree.y - 0.645, 0.034), "#9fae9a")
        tree.draw(shapes.circle(tree.x - tree_x + 0.009, tree.y - 0.637 + 0.018, 0.022), "#b9c4a6")
    land(picture, 0.705, {0.7: "#e8d3cf", 0.72: "#d8c0c2"})
    land(picture, 0.725, {0.72: "#94889f", 0.86: "#a79bae"})
    dash = np.mod(x * 9 - (y - 0.79) * 4, 1)
    picture.draw(np.maximum(np.abs(y - 0.785) - 0.006, (np.abs(dash - 0.5) - 0.3) / 9), "#f4e6d6", 0.85)
    land(picture, 0.86, {0.86: "#f6e6dc", 0.885: "#e6d0c9", 1.0: "#d3b9b9"})
    picture.draw(np.abs(y - 0.882) - 0.0025, "#b79ca3", 0.8)
    joints = np.abs(np.mod((x - 0.5) / (0.6 + (y - 0.86) * 2) * 5, 1) - 0.5)
    picture.draw(np.maximum((0.49 - joints) * 0.2, 0.884 - y), "#b79ca3", 0.5)
    for lamp_x in (0.035, 0.965):
        lamp = picture.part(lamp_x - 0.12, 0.3, lamp_x + 0.12, 0.9)
        u, v = lamp.x - lamp_x, lamp.y
        lamp.draw(shapes.box(u, v - 0.66, 0.006, 0.23, 0.004), "#5a4d70")
        lamp.draw(shapes.box(u, v - 0.885, 0.013, 0.02, 0.006), "#5a4d70")
        lamp.glow(shapes.circle(u, v - 0.405, 0.02), 0.11, "#fff1bd", 0.7)
        lamp.draw(shapes.circle(u, v - 0.405, 0.025), "#fff6d0")
        lamp.draw(
            shapes.polygon(u, v, [(-0.014, 0.372), (0.014, 0.372), (0.026, 0.385), (-0.026, 0.385)]),
            "#5a4d70",
        )


def moving_city(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint clouds, birds and cars."""
    clouds(picture, time, scatter(dice, 3, 0, 0.06, 1.2, 0.24), 0.006, "#fff0ea", "#e9b9c6", 0.8)
    birds(picture, time, [(0.5, 0.2), (0.55, 0.23), (0.47, 0.24)], 0.025, "#7c6c97", 0.015)
    frames = np.arange(len(time))
    for speed, colour, y in ((0.16, "#d8b4c4", 0.735), (-0.13, "#b9bfd6", 0.765)):
        # the street is longer than the frame, so cars are rare
        x = np.mod(dice.uniform(0, 3.2) + speed * time, np.float32(3.2)) - np.float32(0.3)
        seen = frames[(x[:, 0, 0] < 1.15) & (x[:, 0, 0] > -0.15)]
        if len(seen):
            _car(picture, seen, x[seen], y, colour, math.copysign(1, speed))


def _car(picture: Picture, frames, x, y: float, colour: str, direction: float) -> None:
    piece = picture.window(frames, x[:, 0, 0], np.full(len(frames), y), 0.13, 0.05)
    u, v = (piece.x - x) * direction, piece.y - y
    piece.draw(shapes.ellipse(u, v - 0.022, 0.07, 0.008), "#6d6280", 0.5, blur=0.01)
    cabin = shapes.polygon(u, v, [(-0.03, -0.036), (0.014, -0.036), (0.034, -0.008), (-0.04, -0.008)]) - 0.004
    piece.draw(cabin, colour)
    piece.draw(np.maximum(cabin + 0.007, 0.003 - np.abs(u + 0.004)), "#eef3f6")
    piece.draw(shapes.box(u, v, 0.062, 0.017, 0.012), colour)
    piece.glow(shapes.ellipse(u - 0.075, v - 0.004, 0.012, 0.006), 0.05, "#fff3c4", 0.8)
    piece.draw(shapes.circle(u - 0.058, v - 0.001, 0.006), "#fffbe6")
    piece.draw(shapes.circle(np.abs(u) - 0.034, v - 0.017, 0.013), "#4f4661")
    piece.draw(shapes.circle(np.abs(u) - 0.034, v - 0.017, 0.005), "#d9d3de")
    piece.store()

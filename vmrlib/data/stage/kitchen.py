"""The kitchen of Stage: tiles, a window, a shelf, hanging tools, a stove with a steaming pot, a worktop."""

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.shapes import Picture, gradient

POT_X, POT_Y = 0.86, 0.6  # the lid of the steaming pot


def still_kitchen(picture: Picture, dice: np.random.Generator) -> None:
    """Paint what does not move."""
    x, y = picture.x, picture.y
    picture.pixels[:] = gradient(y, {0.0: "#f4e3c8", 0.28: "#fbf0da"})
    # tiles in running bond below the shelf, lit from the window
    row = np.floor((y - 0.3) / 0.055)
    u = np.mod(x / 0.11 + 0.5 * np.mod(row, 2), 1) - 0.5
    v = np.mod((y - 0.3) / 0.055, 1) - 0.5
    tint = np.mod(np.sin(np.floor(x / 0.11 + 0.5 * np.mod(row, 2)) * 12.9 + row * 78.2) * 43.7, 1)
    wall = 0.3 - y
    picture.draw(wall, "#e4e9df")
    tile = np.maximum(shapes.box(u * 0.11, v * 0.055, 0.0515, 0.024, 0.005), wall)
    picture.draw(tile, gradient(tint, {0.0: "#d3e6dd", 0.6: "#dcece3", 1.0: "#e6f1e6"}))
    picture.draw(np.abs(y - 0.3) - 0.007, "#c8a582")
    picture.glow(shapes.circle(x - 0.2, y - 0.25, 0.1), 0.6, "#fff9e0", 0.5)
    _window(picture.part(0.02, 0.02, 0.4, 0.34))
    _basil(picture.part(0.06, 0.2, 0.17, 0.3))
    _rail(picture.part(0.42, 0.1, 0.8, 0.34))
    # worktop and the drawers below it
    counter = picture.part(0, 0.68, 1, 1)
    x, y = counter.x, counter.y
    counter.draw(0.7 - y, gradient(y, {0.7: "#e9c592", 0.92: "#d8a76d"}))
    grain = np.sin(150 * (y + 0.01 * np.sin(5 * x + 1) + 0.004 * np.sin(17 * x)))
    counter.draw(np.maximum(0.7 - y, (0.9 - grain) * 0.02), "#c99560", 0.35)
    counter.draw(np.abs(y - 0.703) - 0.006, "#f6dcb0")
    counter.draw(0.945 - y, "#b98552")
    counter.draw(0.962 - y, "#8fb3a5")
    counter.draw(np.maximum(0.962 - y, np.abs(np.mod(x * 3, 1) - 0.5) * -1 / 3 + 0.163), "#76998d")
    counter.draw(shapes.box(np.mod(x * 3, 1) / 3 - 1 / 6, y - 0.99, 0.03, 0.005, 0.004), "#f2e2bd")
    _jars(picture.part(0.0, 0.5, 0.2, 0.78))
    _stove(picture.part(0.7, 0.54, 1, 0.78))


def _window(picture: Picture) -> None:
    u, v = picture.x - 0.2, picture.y - 0.16
    picture.draw(shapes.box(u, v, 0.145, 0.125, 0.01), "#c99f78")
    glass = shapes.box(u, v, 0.13, 0.11, 0.004)
    picture.draw(glass, gradient(v, {-0.1: "#9fd6f2", 0.06: "#e8f6f0"}))
    hill = 0.06 - 0.02 * np.sin(22 * u + 1)
    picture.draw(np.maximum(glass, hill - v), "#b5d9a0")
    crown = shapes.union(shapes.circle(u - 0.07, v - 0.03, 0.032), shapes.circle(u - 0.09, v - 0.045, 0.025))
    picture.draw(np.maximum(glass, crown), "#92c08a")
    picture.draw(np.maximum(glass, np.minimum(np.abs(u), np.abs(v)) - 0.004), "#e6c8a3")
    for side in (-1, 1):
        hang = 0.065 + 0.05 * np.clip((v + 0.11) / 0.2, 0, 1) ** 2
        edge = side * u - 0.155 + hang * (1 - 0.55 * np.clip((v + 0.11) / 0.22, 0, 1)) * 0.8
        cloth = np.maximum(np.maximum(-edge, side * u - 0.16), np.maximum(-0.125 - v, v - 0.115))
        picture.draw(cloth, "#f7b7a8")
        folds = np.abs(np.mod(u * 45, 1) - 0.5) - 0.16
        picture.draw(np.maximum(cloth, folds * 0.02), "#eda394", 0.7)
    picture.draw(shapes.box(u, v + 0.13, 0.175, 0.006, 0.006), "#a87c5a")
    picture.draw(shapes.box(u, v - 0.13, 0.16, 0.01, 0.004), "#dcb88f")


def _basil(picture: Picture) -> None:
    u, v = picture.x - 0.115, picture.y - 0.268
    for leaf_x, leaf_y, radius in (
        (-0.018, -0.03, 0.014),
        (0.0, -0.042, 0.016),
        (0.018, -0.03, 0.014),
        (0, -0.022, 0.014),
    ):
        picture.draw(shapes.circle(u - leaf_x, v - leaf_y, radius), "#79ab68" if leaf_x else "#8fc07a")
    picture.draw(
        shapes.polygon(u, v, [(-0.024, -0.018), (0.024, -0.018), (0.017, 0.018), (-0.017, 0.018)]), "#d98f6b"
    )
    picture.draw(shapes.box(u, v + 0.017, 0.026, 0.006, 0.003), "#e6a582")


def _rail(picture: Picture) -> None:
    x, y = picture.x, picture.y
    picture.draw(shapes.box(x - 0.61, y - 0.13, 0.16, 0.005, 0.005), "#a87c5a")
    for place in (0.49, 0.57, 0.65, 0.73):
        picture.draw(shapes.box(x - place, y - 0.143, 0.003, 0.012), "#8c8f98")
    metal, wood = "#aeb7bf", "#c58f63"
    picture.draw(shapes.box(x - 0.49, y - 0.2, 0.005, 0.05, 0.004), wood)
    picture.draw(np.maximum(shapes.circle(x - 0.49, y - 0.262, 0.026), 0.255 - y), metal)
    picture.draw(shapes.box(x - 0.57, y - 0.19, 0.005, 0.045, 0.004), wood)
    picture.draw(shapes.box(x - 0.57, y - 0.26, 0.022, 0.03, 0.008), metal)
    picture.draw(np.abs(shapes.box(x - 0.57, y - 0.26, 0.007, 0.02, 0.004)) - 0.002, "#8c98a3")
    picture.draw(shapes.box(x - 0.65, y - 0.185, 0.005, 0.04, 0.004), wood)
    whisk = np.abs(shapes.ellipse(x - 0.65, y - 0.255, 0.02, 0.034)) - 0.002
    picture.draw(
        np.minimum(whisk, np.abs(shapes.ellipse(x - 0.65, y - 0.255, 0.008, 0.034)) - 0.0018), "#949fa9"
    )
    picture.draw(shapes.box(x - 0.73, y - 0.18, 0.005, 0.035, 0.004), "#7a6a66")
    picture.draw(shapes.circle(x - 0.73, y - 0.25, 0.042), "#7f8894")
    picture.draw(shapes.circle(x - 0.73, y - 0.25, 0.034), "#98a2ad")


def _jars(picture: Picture) -> None:
    board = shapes.box(picture.x - 0.085, picture.y - 0.64, 0.075, 0.085, 0.02)
    hole = shapes.circle(picture.x - 0.085, picture.y - 0.58, 0.01)
    picture.draw(board, "#cf9f6b")
    picture.draw(np.maximum(board + 0.006, -hole), "#deb583")
    for x, half, height, content, lid in (
        (0.04, 0.03, 0.12, "#e8b98f", "#b5835a"),
        (0.1, 0.024, 0.09, "#c9d5a5", "#b5835a"),
        (0.15, 0.02, 0.07, "#f0d9b0", "#b5835a"),
    ):
        u, v = picture.x - x, picture.y - 0.735
        picture.draw(shapes.ellipse(u + 0.006, v, 1.3 * half, 0.008), "#a9784a", 0.5, blur=0.01)
        picture.draw(shapes.box(u, v + height / 2, half, height / 2, 0.01), "#f2f7f3")
        picture.draw(shapes.box(u, v + 0.38 * height, half - 0.004, 0.36 * height, 0.008), content)
        picture.draw(shapes.box(u, v + height + 0.008, half * 0.9, 0.011, 0.005), lid)
        picture.draw(shapes.box(u + 0.55 * half, v + height / 2, 0.003, 0.3 * height, 0.003), "#ffffff", 0.8)


def _stove(picture: Picture) -> None:
    x, y = picture.x, picture.y
    picture.draw(shapes.box(x - POT_X, y - 0.738, 0.125, 0.02, 0.01), "#6b6f7a")
    picture.draw(shapes.box(x - POT_X, y - 0.732, 0.118, 0.014, 0.008), "#858a95")
    u, v = x - POT_X, y - POT_Y
    picture.draw(shapes.box(np.abs(u) - 0.098, v - 0.045, 0.02, 0.009, 0.006), "#4f6f86")
    pot = shapes.box(u, v - 0.06, 0.085, 0.066, 0.018)
    picture.draw(pot, gradient(u, {-0.085: "#8fb3c6", -0.03: "#a9cbd9", 0.085: "#5d839c"}))
    picture.draw(np.maximum(pot, np.abs(v - 0.03) - 0.007), "#dcebf0", 0.7)
    picture.draw(shapes.box(u, v + 0.006, 0.09, 0.008, 0.006), "#6f95ab")


def moving_kitchen(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint steam, the dancing lid, the clock, a cloud outside the window."""
    lid = picture.part(POT_X - 0.12, POT_Y - 0.08, POT_X + 0.12, POT_Y + 0.02)
    hop = 0.004 * np.abs(np.sin(6 * time)) * (np.sin(0.9 * time) > 0)
    u, v = lid.x - POT_X, lid.y - POT_Y + 0.006 + hop
    lid.draw(np.maximum(shapes.ellipse(u, v, 0.082, 0.034), v), "#9dc0d0")
    lid.draw(shapes.circle(u, v + 0.04, 0.012), "#4f6f86")
    steam = picture.part(POT_X - 0.12, 0.18, POT_X + 0.12, POT_Y - 0.02)
    for puff in range(5):
        rise = np.mod(0.22 * time + puff / 5, np.float32(1))
        x = POT_X + 0.03 * np.sin(5 * rise + 2.4 * puff) + (puff % 2 - 0.5) * 0.05
        distance = shapes.circle(steam.x - x, steam.y - POT_Y + 0.07 + 0.28 * rise, 0.014 + 0.03 * rise)
        steam.draw(distance, "#ffffff", 0.75 * (1 - rise) * np.clip(6 * rise, 0, 1), blur=0.03)
    clock = picture.part(0.83, 0.06, 0.97, 0.24)
    u, v = clock.x - 0.9, clock.y - 0.15
    face = shapes.circle(u, v, 0.06)
    clock.draw(face, "#b98a63")
    clock.draw(face + 0.01, "#fffaf0")
    ticks = np.abs(np.mod(np.arctan2(v, u), np.float32(np.pi / 6)) - np.float32(np.pi / 12))
    clock.draw(np.maximum((0.2 - ticks) * 0.05, np.abs(face + 0.017) - 0.004), "#a08774")
    start = dice.uniform(0, 6)
    for turn, length, width, colour in (
        (start + time / 60, 0.022, 0.004, "#5b4a42"),
        (12 * start + time / 5, 0.034, 0.003, "#5b4a42"),
        (time, 0.038, 0.0015, "#d9695f"),
    ):
        hand = shapes.segment(u, v, 0.0, 0.0, length * np.sin(turn), -length * np.cos(turn), width)
        clock.draw(hand, colour)
    outside = picture.part(0.07, 0.05, 0.33, 0.16)
    drift = np.mod(0.02 * time + start, np.float32(0.5)) - np.float32(0.1)
    u, v = outside.x - 0.05 - drift, outside.y - 0.1
    cloud = shapes.union(
        shapes.circle(u, v, 0.018),
        shapes.circle(u - 0.022, v + 0.006, 0.022),
        shapes.circle(u - 0.045, v, 0.016),
    )
    pane = np.maximum(np.abs(np.abs(outside.x - 0.2) - 0.036) - 0.031, np.abs(outside.y - 0.105) - 0.05)
    outside.draw(np.maximum(cloud, pane), "#ffffff", 0.9)

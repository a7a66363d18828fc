"""Two of Stage's places: beach and underwater."""

import math

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.scenery import (
    birds,
    clouds,
    disc,
    dots,
    land,
    ridge,
    scatter,
    sky,
)
from vmrlib.data.stage.shapes import Picture, gradient, smooth, unit


def still_beach(picture: Picture, dice: np.random.Generator) -> None:
    """Paint sea, an island, sand, a parasol."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#58b4ea", 0.3: "#a6def3", 0.55: "#fff2dc"})
    disc(picture, 0.2, 0.14, 0.06, "#fffbe0", "#fff6cf", 0.3)
    island = 0.562 - 0.05 * unit(1 - ((x - 0.7) / 0.15) ** 2) - 0.03 * unit(1 - ((x - 0.79) / 0.09) ** 2)
    picture.draw(island - y, "#a9d3d6")
    sea = picture.part(0, 0.55, 1, 0.78)
    sea.draw(0.56 - sea.y, gradient(sea.y, {0.56: "#5fb9d8", 0.66: "#7fd3dc", 0.74: "#b9ece2"}))
    shore = ridge(x, 0.735, 0.012, 6, phase)
    land(picture, shore, {0.72: "#e9d3a0", 0.775: "#f8e8bf", 1.0: "#efd296"})
    for dune, colour in ((0.83, "#f3deae"), (0.93, "#ecd09a")):
        land(
            picture,
            ridge(x, dune, 0.015, 5, phase + 9 * dune),
            {dune - 0.02: "#fbedc9", dune + 0.05: colour},
            0.7,
        )
    dots(picture, scatter(dice, 26, 0, 0.8, 1, 0.99), 0.0035, "#d9b478", 0.8)
    # a parasol in the lower corner
    spot = picture.part(0.0, 0.74, 0.24, 1)
    spot.draw(shapes.ellipse(spot.x - 0.12, spot.y - 0.975, 0.09, 0.012), "#cfa66c", 0.5, blur=0.012)
    u, v = spot.x - 0.09, spot.y - 0.86
    u, v = 0.97 * u + 0.24 * v, 0.97 * v - 0.24 * u
    spot.draw(shapes.box(u, v - 0.05, 0.0045, 0.075), "#fffaf0")
    roof = np.maximum(shapes.circle(u, v, 0.095), v - 0.01 * np.abs(np.cos(u * 66)))
    meridian = u / np.sqrt(np.maximum(0.01 - v * v, 1e-4))
    spot.draw(roof, "#fff7ea")
    spot.draw(np.maximum(roof, (np.abs(np.mod(meridian * 2.5, 2) - 1) - 0.5) * 0.03), "#f58e83")
    shell = picture.part(0.84, 0.86, 0.98, 0.98)
    u, v = shell.x - 0.91, shell.y - 0.93
    fan = np.maximum(shapes.circle(u, v, 0.032), v - 0.012)
    shell.draw(fan, "#ffd9cf")
    ribs = np.abs(np.mod(np.arctan2(u, 0.02 - v) * 4.5, 1) - 0.5) - 0.1
    shell.draw(np.maximum(fan, ribs * 0.03), "#e7a596")


def moving_beach(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint clouds, waves, a boat, foam, gulls and a palm."""
    clouds(picture, time, scatter(dice, 3, 0.1, 0.06, 1.2, 0.22), 0.007, "#ffffff", "#dcecf4")
    sea = picture.part(0, 0.57, 1, 0.73)
    near = (sea.y - 0.56) / 0.17
    ripple = np.sin((sea.x * (46 - 26 * near) + 0.9 * time) + 3 * np.sin(sea.y * 210)) * np.sin(
        sea.y * (420 - 190 * near)
    )
    sea.blend(smooth(0.45, 0.8, ripple) * 0.55, "#f4ffff")
    frames = np.arange(len(time))
    boat_x = np.mod(0.3 + 0.012 * time + 0.1, np.float32(1.2)) - np.float32(0.1)
    boat = picture.window(frames, boat_x[:, 0, 0], np.full(len(time), 0.54), 0.05, 0.06)
    tilt = 0.06 * np.sin(1.1 * time)
    u, v = boat.x - boat_x, boat.y - 0.565
    u, v = u - tilt * v, v + tilt * u
    boat.draw(
        shapes.polygon(u, v, [(-0.036, -0.012), (0.036, -0.012), (0.022, 0.006), (-0.026, 0.006)]), "#c97b63"
    )
    boat.draw(shapes.polygon(u, v, [(0.002, -0.075), (0.032, -0.018), (0.002, -0.018)]), "#ffffff")
    boat.draw(shapes.polygon(u, v, [(-0.003, -0.068), (-0.003, -0.018), (-0.026, -0.018)]), "#ffe6d2")
    boat.store()
    foam = picture.part(0, 0.69, 1, 0.79)
    wash = (
        0.74
        + 0.014 * np.sin(0.8 * time)
        + 0.008 * np.sin(11 * foam.x + 0.3 * time)
        + 0.004 * np.sin(31 * foam.x)
    )
    foam.draw(np.maximum(foam.y - wash, 0.715 - foam.y), "#bdeee6", 0.75, blur=0.02)
    foam.draw(np.abs(foam.y - wash) - 0.006, "#ffffff", 0.9)
    birds(picture, time, [(0.2, 0.27), (0.6, 0.32)], 0.03, "#ffffff", 0.022)
    # a palm leans in from the side, in front of the foam
    trunk = picture.part(0.85, 0.35, 1, 0.83)
    rise = unit((0.82 - trunk.y) / 0.46)
    bark = np.abs(trunk.x - 0.985 + 0.095 * rise**1.6) - 0.02 + 0.008 * rise
    bark = bark - 0.004 * np.abs(np.sin(34 * rise))
    bark = np.maximum(bark, trunk.y - 0.82)
    trunk.draw(bark, "#b98f64")
    trunk.draw(np.maximum(bark, np.abs(np.sin(34 * rise)) * 0.02 - 0.006), "#966e4a")
    crown = picture.part(0.66, 0.24, 1, 0.52)
    for turn, reach, colour in (
        (3.0, 0.15, "#5d9c5a"),
        (2.45, 0.13, "#6cae5e"),
        (3.6, 0.15, "#558f58"),
        (0.2, 0.13, "#558f58"),
        (4.2, 0.12, "#7bbd66"),
        (5.3, 0.13, "#6cae5e"),
    ):
        swing = turn + 0.05 * np.sin(1.2 * time + turn)
        u, v = crown.x - 0.89, crown.y - 0.36
        along, across = np.cos(swing) * u + np.sin(swing) * v, np.cos(swing) * v - np.sin(swing) * u
        share = np.clip(along / reach, 0, 1)
        bow = across * math.copysign(1, math.cos(turn)) - 0.055 * share * share + 0.014 * share
        leaf = np.abs(bow) - 0.022 * np.sqrt(share) * (1 - share) * 1.9
        crown.draw(np.maximum(leaf, np.maximum(-along, along - reach)), colour)
    dots(crown, [(0.882, 0.372), (0.9, 0.375)], 0.012, "#8a6243")


def still_underwater(picture: Picture, dice: np.random.Generator) -> None:
    """Paint water, reefs, sand, coral."""
    x = picture.x
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#d3f7ee", 0.18: "#9ae6e2", 0.5: "#6bcbd8", 0.8: "#4fabc9"})
    for base, height, colour, foot in (
        (0.6, 0.06, "#66c3d4", "#62bbd0"),
        (0.68, 0.045, "#51abc6", "#5fb5c8"),
    ):
        land(picture, ridge(x, base, height, 7, phase + 20 * base), {base - 0.08: colour, base + 0.12: foot})
    land(picture, ridge(x, 0.755, 0.016, 4, phase), {0.74: "#cfe5cf", 0.85: "#e9ddb4", 1.0: "#d9bf8c"})
    land(picture, ridge(x, 0.92, 0.015, 5, phase + 3), {0.9: "#f0e3b9", 1.0: "#d2b27e"}, 0.8)
    dots(picture, scatter(dice, 18, 0, 0.83, 1, 0.98), 0.0045, "#bb9f74", 0.7)
    for stone_x, stone_y, radius in ((0.9, 0.83, 0.06), (0.97, 0.85, 0.075), (0.04, 0.86, 0.07)):
        stone = picture.part(stone_x - 0.1, stone_y - 0.1, stone_x + 0.1, stone_y + 0.06)
        rock = np.maximum(
            shapes.ellipse(stone.x - stone_x, stone.y - stone_y, radius, 0.75 * radius),
            stone.y - stone_y - 0.038,
        )
        stone.draw(rock, "#7f97ab")
        lit = shapes.ellipse(
            stone.x - stone_x + 0.015, stone.y - stone_y + 0.015, 0.7 * radius, 0.45 * radius
        )
        stone.draw(np.maximum(lit, rock), "#9fb4c0", 0.8, blur=0.01)
    coral = picture.part(0.76, 0.6, 1, 0.9)
    for ax, ay, bx, by, radius in (
        (0.93, 0.82, 0.93, 0.72, 0.016),
        (0.93, 0.77, 0.89, 0.71, 0.012),
        (0.93, 0.75, 0.965, 0.69, 0.012),
        (0.89, 0.71, 0.885, 0.675, 0.01),
        (0.93, 0.72, 0.92, 0.67, 0.011),
        (0.965, 0.69, 0.975, 0.655, 0.01),
    ):
        branch = shapes.segment(coral.x, coral.y, ax, ay, bx, by, radius)
        coral.draw(branch, "#f28fa6")
        coral.draw(branch + 0.006, "#ffb3bf", 0.7)
    floor = picture.part(0.1, 0.86, 0.3, 1)
    fish_star = shapes.star(floor.x - 0.19, floor.y - 0.945, 0.032, 0.5) - 0.007
    floor.draw(fish_star - 0.003, "#b4708a")
    floor.draw(fish_star, "#f4aebb")


def moving_underwater(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint light from above, a shoal, weed and bubbles."""
    water = picture.part(0, 0, 1, 0.72)
    slant = water.x + 0.35 * water.y
    beams = np.sin(9 * slant + 0.25 * time) + 0.7 * np.sin(17 * slant - 0.35 * time + 1)
    water.blend(smooth(0.4, 1.6, beams) * np.clip(0.75 - water.y, 0, 1) * 0.6, "#f2fff4")
    floor = picture.part(0, 0.78, 1, 1)
    net = np.sin(26 * floor.x + 1.3 * np.sin(17 * floor.y + 0.8 * time)) + np.sin(
        34 * floor.y + 1.5 * np.sin(13 * floor.x - 0.7 * time)
    )
    floor.blend(np.clip(1 - np.abs(net) * 2.2, 0, 1) * 0.4, "#fffbe2")
    frames = np.arange(len(time))
    head = np.mod(dice.uniform(0, 1.6) + 0.035 * time, np.float32(1.6)) - np.float32(0.25)
    for dx, dy in ((0, 0), (-0.06, -0.03), (-0.065, 0.03), (-0.12, 0.005), (-0.125, -0.055)):
        x, y = head + dx, 0.2 + dy + 0.015 * np.sin(0.8 * time + 9 * dx)
        fish = picture.window(frames, x[:, 0, 0], y[:, 0, 0], 0.032, 0.02)
        u, v = fish.x - x, fish.y - y
        tail = u + 0.02 + 0.004 * np.sin(8 * time + 30 * dx)
        shape = shapes.union(
            shapes.ellipse(u, v, 0.021, 0.011), np.maximum(np.abs(v) + 0.8 * tail, -tail - 0.012)
        )
        fish.draw(shape, "#fff0d8", 0.9)
        fish.draw(shapes.circle(u - 0.011, v + 0.002, 0.0026), "#4a6a80")
        fish.store()
    for foot_x, foot_y, height, colour in (
        (0.03, 0.9, 0.5, "#3f9a82"),
        (0.075, 0.88, 0.36, "#57b08c"),
        (0.115, 0.9, 0.24, "#3f9a82"),
        (0.985, 0.82, 0.4, "#4aa488"),
        (0.945, 0.8, 0.2, "#63ba92"),
    ):
        weed = picture.part(foot_x - 0.07, foot_y - height - 0.02, foot_x + 0.07, foot_y)
        up = (foot_y - weed.y) / height
        bend = 0.035 * up * np.sin(4.5 * up - 1.1 * time + 20 * foot_x)
        taper = np.sqrt(unit(1 - up)) * (1 + 0.22 * np.sin(36 * up))
        blade = np.abs(weed.x - foot_x - bend) - 0.017 * taper
        weed.draw(np.maximum(blade, -up), colour)
    for index, (x0, y0) in enumerate(scatter(dice, 10, 0.03, 0, 0.97, 1.2)):
        x = x0 + 0.012 * np.sin(1.6 * time + index)
        y = np.mod(y0 - (0.06 + 0.01 * (index % 4)) * time, np.float32(1.2)) - np.float32(0.1)
        radius = 0.007 + 0.004 * (index % 3)
        bubble = picture.window(frames, x[:, 0, 0], y[:, 0, 0], radius)
        u, v = bubble.x - x, bubble.y - y
        ring = np.abs(shapes.circle(u, v, radius * 0.8)) - 0.0022
        spark = shapes.circle(u + 0.35 * radius, v + 0.35 * radius, 0.2 * radius)
        bubble.draw(np.minimum(ring, spark), "#ffffff", 0.85)
        bubble.store()

"""Four of Stage's places: meadow, snow, desert, forest."""

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.scenery import (
    birds,
    butterflies,
    clouds,
    disc,
    dots,
    falling,
    flower,
    grass,
    land,
    pine,
    ridge,
    scatter,
    sky,
)
from vmrlib.data.stage.shapes import Picture, gradient, smooth


def still_meadow(picture: Picture, dice: np.random.Generator) -> None:
    """Paint hills, a path, flowers, a windmill's house."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#6cb8ec", 0.35: "#b0def5", 0.62: "#fbf5dc"})
    disc(picture, 0.8, 0.13, 0.062, "#fff4b8", "#fff7d2", 0.34)
    land(picture, ridge(x, 0.535, 0.035, 9, phase), {0.48: "#bcd9e4", 0.62: "#d5e9dc"})
    land(picture, ridge(x, 0.575, 0.028, 6, phase + 2), {0.53: "#a9d3b0", 0.66: "#c8e3b4"})
    middle = ridge(x, 0.625, 0.022, 4.5, phase + 4)
    for tree_x, radius in ((0.02, 0.05), (0.07, 0.036), (0.93, 0.045), (0.985, 0.06), (0.88, 0.026)):
        top = float(ridge(np.array([tree_x]), 0.625, 0.022, 4.5, phase + 4)[0])
        spot = picture.part(tree_x - 2 * radius, top - 3 * radius, tree_x + 2 * radius, top + radius)
        crown = shapes.circle(spot.x - tree_x, spot.y - top + 0.7 * radius, radius)
        spot.draw(crown, "#7fb98a")
        lit = shapes.circle(spot.x - tree_x - 0.2 * radius, spot.y - top + 0.95 * radius, 0.68 * radius)
        spot.draw(lit, "#97cb97", 0.9)
    land(picture, middle, {0.6: "#b9dd8f", 0.76: "#a3cf78"})
    front = ridge(x, 0.735, 0.018, 3.2, phase + 1)
    land(picture, front, {0.72: "#cbe68e", 0.84: "#a9d76c", 1.0: "#78b94e"})
    # a path that narrows into the distance
    depth = np.clip((y - 0.6) / 0.4, 0, 1)
    centre = 0.62 - 0.24 * depth + 0.05 * np.sin(9 * depth + 1)
    path = np.abs(x - centre) - (0.008 + 0.085 * depth**1.5)
    picture.draw(np.maximum(path * 0.9, middle - y), gradient(y, {0.6: "#f0e8c0", 1.0: "#e6d49c"}), 0.9)
    # the windmill's house; its wings turn in `moving`
    mill = picture.part(0.1, 0.4, 0.28, 0.66)
    u, v = mill.x - 0.19, mill.y - 0.63
    mill.draw(shapes.polygon(u, v, [(-0.022, -0.13), (0.022, -0.13), (0.034, 0), (-0.034, 0)]), "#fbf3e6")
    mill.draw(shapes.polygon(u, v, [(0.004, -0.13), (0.022, -0.13), (0.034, 0), (0.008, 0)]), "#e3d7cb")
    mill.draw(shapes.polygon(u, v, [(0, -0.17), (0.03, -0.128), (-0.03, -0.128)]), "#c4806a")
    mill.draw(shapes.box(u, v + 0.018, 0.008, 0.018, 0.006), "#9a7a68")
    for colour, count in (("#ffffff", 9), ("#ffc2dc", 7), ("#d9c2ff", 6)):
        for flower_x, flower_y in scatter(dice, count, 0.0, 0.83, 1.0, 0.97):
            flower(picture, flower_x, flower_y, 0.012 + 0.014 * (flower_y - 0.83) / 0.14, colour)


def moving_meadow(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint the sun's rays, clouds, turning sails, butterflies, grass."""
    sun = picture.part(0.58, 0, 1, 0.36)
    x, y = sun.x - 0.8, sun.y - 0.13
    distance = shapes.circle(x, y, 0)
    turn = np.abs(np.mod(np.arctan2(y, x) + 0.12 * time, np.float32(np.pi / 5)) - np.float32(np.pi / 10))
    rays = (turn - 0.1) * distance
    share = np.clip(0.5 - rays * 60, 0, 1) * smooth(0.07, 0.085, distance) * np.clip(1 - distance / 0.2, 0, 1)
    sun.blend(share * 0.55, "#fff8d8")
    clouds(picture, time, scatter(dice, 3, -0.1, 0.07, 1.2, 0.24), 0.006, "#ffffff", "#dbeaf5")
    birds(picture, time, [(0.3, 0.3), (0.35, 0.33)], 0.02, "#6d8aa5", 0.016)
    wings = picture.part(0.08, 0.37, 0.3, 0.61)
    u, v = wings.x - 0.19, wings.y - 0.495
    turn = 0.7 * time
    sine, cosine = np.sin(turn), np.cos(turn)
    p, q = cosine * u + sine * v, cosine * v - sine * u
    p, q = np.where(np.abs(p) > np.abs(q), p, q), np.where(np.abs(p) > np.abs(q), q, -p)
    sail = shapes.box(np.abs(p) - 0.054, q * np.sign(p) - 0.008, 0.034, 0.01)
    wings.draw(sail, "#fffaf0")
    wings.draw(shapes.box(p, q, 0.09, 0.0035), "#8d6d5d")
    butterflies(picture, time, [(0.1, 0.86), (0.88, 0.8)], ("#ff9ecb", "#ffffff"))
    grass(picture, time, 0.07, 34, ("#9bd05f", "#6cae48"))


def still_snow(picture: Picture, dice: np.random.Generator) -> None:
    """Paint mountains, firs, drifts and a snowman."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#93c1ea", 0.3: "#cfe2f5", 0.6: "#ffeee6"})
    disc(picture, 0.3, 0.2, 0.045, "#fffaf0", "#fff0dc", 0.25)
    for peak_x, peak_y, width, tone, shade in (
        (0.12, 0.36, 0.3, "#b5cbe4", "#a3bbdb"),
        (0.88, 0.38, 0.28, "#b5cbe4", "#a3bbdb"),
        (0.42, 0.31, 0.34, "#a5bfdf", "#8fabd2"),
        (0.68, 0.4, 0.26, "#a5bfdf", "#8fabd2"),
    ):
        side = np.abs(x - peak_x)
        jag = 0.012 * np.sin(47 * x + peak_x * 9) + 0.008 * np.sin(83 * x)
        slope = peak_y + side * 0.75 * 0.3 / width + jag * np.clip(side * 12, 0, 1)
        mountain = (slope - y) * 0.8
        picture.draw(mountain, tone)
        picture.draw(np.maximum(mountain, peak_x - 0.25 * (y - peak_y) + jag - x), shade)
        cap = np.maximum(mountain, y - peak_y - 0.075 - 0.022 * np.sin(70 * x + peak_x * 20))
        picture.draw(cap, "#ffffff")
        picture.draw(np.maximum(cap, peak_x - 0.25 * (y - peak_y) + jag - x), "#dfeaf8")
    picture.blend(smooth(0.38, 0.62, y) * 0.55 * (y < 0.7), "#f3f1f6")
    for tree_x, height in ((0.2, 0.08), (0.25, 0.1), (0.31, 0.07), (0.7, 0.08), (0.76, 0.1)):
        pine(picture, tree_x, 0.645, height, "#9ab8c4", "#aac6cf")
    land(picture, ridge(x, 0.635, 0.02, 5, phase), {0.6: "#f7fbff", 0.75: "#dde9f6"})
    for tree_x, height in ((0.03, 0.34), (0.13, 0.24), (0.97, 0.36), (0.88, 0.22)):
        pine(picture, tree_x, 0.735, height, "#4f8a86", "#66a299", "#f8fcff")
    land(picture, ridge(x, 0.725, 0.016, 4, phase + 2), {0.7: "#ffffff", 0.82: "#e9f1fa", 1.0: "#cfdff1"})
    for bank in (0.86, 0.95):
        top = ridge(x, bank, 0.016, 5.5, phase + 13 * bank)
        land(picture, top, {bank - 0.02: "#ffffff", bank + 0.05: "#d5e3f3"}, 0.75)
    # a snowman looks on
    man = picture.part(0.68, 0.5, 0.88, 0.78)
    u, v = man.x - 0.77, man.y - 0.74
    man.draw(shapes.ellipse(u + 0.01, v - 0.004, 0.07, 0.012), "#b9cce4", 0.7, blur=0.01)
    for centre, radius in ((-0.035, 0.046), (-0.105, 0.034), (-0.16, 0.026)):
        ball = shapes.circle(u, v - centre, radius)
        man.draw(ball - 0.003, "#a9bcd6")
        man.draw(ball, "#d9e6f4")
        man.draw(np.maximum(ball, shapes.circle(u + 0.008, v - centre + 0.008, radius)), "#ffffff")
    man.draw(shapes.box(u, v + 0.128, 0.03, 0.007, 0.006), "#7d6bb0")
    man.draw(shapes.box(u - 0.018, v + 0.11, 0.007, 0.022, 0.005), "#7d6bb0")
    man.draw(
        shapes.union(shapes.box(u, v + 0.183, 0.033, 0.005), shapes.box(u, v + 0.2, 0.021, 0.02)), "#4a4a63"
    )
    man.draw(shapes.polygon(u, v + 0.158, [(0, -0.006), (-0.03, 0.004), (0, 0.006)]), "#f0954f")
    dots(man, [(0.76, 0.572), (0.778, 0.572), (0.77, 0.625), (0.77, 0.645)], 0.0042, "#3b3b55")


def moving_snow(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint clouds and falling snow."""
    clouds(picture, time, scatter(dice, 2, 0.1, 0.07, 1.2, 0.18), 0.005, "#ffffff", "#dfe8f4", 0.85)
    falling(picture, time, scatter(dice, 10, 0, 0, 1, 1.2), 0.05, 0.03, 0.0045, "#ffffff", 0.85)
    falling(picture, time, scatter(dice, 8, 0, 0, 1, 1.2), 0.09, 0.05, 0.008, "#ffffff", 0.95)


def still_desert(picture: Picture, dice: np.random.Generator) -> None:
    """Paint mesas, dunes and cacti."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#f2a97e", 0.25: "#f9c89a", 0.45: "#fde3bd", 0.6: "#fff2da"})
    disc(picture, 0.34, 0.24, 0.1, "#fff3cf", "#ffe7b5", 0.3)
    for mesa_x, half, top, colour, shade in (
        (0.06, 0.1, 0.45, "#e0b09a", "#cf9c8b"),
        (0.9, 0.13, 0.42, "#e0b09a", "#cf9c8b"),
        (0.73, 0.05, 0.5, "#eac3aa", "#dcb09a"),
    ):
        rough = 0.004 * np.sin(90 * y) + 0.003 * np.sin(31 * y + 3)
        mesa = np.maximum(np.abs(x - mesa_x) - half - 0.35 * np.maximum(y - top - 0.06, 0) - rough, top - y)
        picture.draw(mesa, colour)
        picture.draw(np.maximum(mesa, mesa_x + 0.25 * half - x + rough), shade)
        picture.draw(np.maximum(mesa, np.abs(y - top - 0.05) - 0.006), shade, 0.6)
    picture.blend(smooth(0.45, 0.64, y) * 0.5, "#fff0d6")
    for base, height, waves, shift, light, deep in (
        (0.62, 0.03, 5.0, 0.0, "#f7dcb2", "#eec592"),
        (0.69, 0.028, 4.0, 2.5, "#f5d3a2", "#e6b47d"),
        (0.8, 0.03, 3.2, 4.6, "#f3ca92", "#d99c66"),
    ):
        crest = ridge(x, base, height, waves, phase + shift)
        land(picture, crest, {base - 0.03: light, base + 0.2: deep})
        slope = np.cos(waves * x + phase + shift)
        shadow = (
            smooth(0.1, 0.7, slope) * smooth(0.0, 0.004, y - crest) * np.clip(1 - (y - crest) / 0.1, 0, 1)
        )
        picture.blend(shadow * 0.45, "#d08f6c")
    ripples = np.sin(190 * (y + 0.02 * np.sin(7 * x + phase)) * (1.9 - y)) * smooth(0.82, 1.0, y)
    picture.blend(np.clip(ripples, 0, 1) * 0.2, "#c8854f")
    for cactus_x, foot, size in ((0.085, 0.8, 0.28), (0.93, 0.75, 0.19), (0.83, 0.66, 0.085)):
        plant = picture.part(cactus_x - 0.5 * size, foot - 1.1 * size, cactus_x + 0.5 * size, foot + 0.04)
        u, v = (plant.x - cactus_x) / size, (plant.y - foot) / size
        plant.draw(shapes.ellipse(u + 0.12, v, 0.3, 0.045) * size, "#b77a52", 0.5, blur=0.012)
        cactus = shapes.union(
            shapes.segment(u, v, 0, 0, 0, -0.82, 0.11),
            shapes.segment(u, v, -0.3, -0.36, -0.3, -0.58, 0.075),
            shapes.segment(u, v, -0.3, -0.36, 0, -0.3, 0.07),
            shapes.segment(u, v, 0.28, -0.5, 0.28, -0.72, 0.07),
            shapes.segment(u, v, 0.28, -0.5, 0, -0.44, 0.065),
        )
        plant.draw(cactus * size, "#6f9a78")
        plant.draw(np.maximum(cactus + 0.02, u + 0.02) * size, "#86b08a", 0.8)
        plant.draw(
            np.maximum(cactus + 0.025, np.abs(np.mod(u * 14, 1) - 0.5) * 0.07 - 0.008) * size, "#5b8468", 0.7
        )
        plant.draw(shapes.circle(u, v + 0.93, 0.05) * size, "#f28fa8")
    dots(picture, scatter(dice, 9, 0.1, 0.86, 0.95, 0.97), 0.006, "#b98058", 0.7)


def moving_desert(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint clouds, vultures, a tumbleweed, drifting dust."""
    clouds(picture, time, scatter(dice, 2, 0.2, 0.06, 1.3, 0.16), 0.005, "#fff6e8", "#f7cfae", 0.8)
    birds(picture, time, [(0.55, 0.15), (0.62, 0.19)], 0.016, "#a8705c", 0.024)
    # a tumbleweed rolls by along the lower edge
    frames = np.arange(len(time))
    x = np.mod(dice.uniform(0, 3) + 0.14 * time, np.float32(3)) - np.float32(0.2)
    seen = frames[x[:, 0, 0] < 1.2]
    if len(seen):
        x, moment = x[seen], time[seen]
        y = 0.945 - 0.035 * np.abs(np.sin(2.1 * moment))
        weed = picture.window(seen, x[:, 0, 0], y[:, 0, 0], 0.05)
        u, v = weed.x - x, weed.y - y
        twigs = np.abs(shapes.circle(u, v, 0.032)) - 0.003
        for turn in (0.3, 1.3, 2.4):
            sine, cosine = np.sin(turn + 4 * moment), np.cos(turn + 4 * moment)
            loop = shapes.ellipse(cosine * u + sine * v, cosine * v - sine * u, 0.031, 0.013)
            twigs = np.minimum(twigs, np.abs(loop) - 0.0025)
        weed.draw(twigs, "#a9764c")
        weed.store()
    dust = picture.part(0, 0.6, 1, 0.72)
    drift = np.sin(9 * dust.x - 0.5 * time) * np.sin(23 * dust.x - 0.8 * time + 40 * dust.y)
    dust.blend(np.clip(drift, 0, 1) * 0.25 * np.clip(1 - np.abs(dust.y - 0.66) / 0.06, 0, 1), "#fff6e2")


def still_forest(picture: Picture, dice: np.random.Generator) -> None:
    """Paint trunks in the haze, a path, mushrooms, an owl's hole."""
    x, y = picture.x, picture.y
    phase = dice.uniform(0, 6)
    sky(picture, {0.0: "#bfe0c4", 0.3: "#e4f2d2", 0.6: "#fbf8dc"})
    picture.glow(shapes.circle(x - 0.55, y - 0.36, 0.05), 0.5, "#fffdea", 0.7)
    for count, width, colour, crown in ((11, 0.012, "#cfe0c0", "#cbe3c3"), (8, 0.018, "#b4cfae", "#b3d5b2")):
        for trunk_x, _ in scatter(dice, count, -0.03, 0, 1.03, 1):
            spot = picture.part(trunk_x - 0.12, 0, trunk_x + 0.12, 0.72)
            spot.draw(
                np.abs(spot.x - trunk_x + 0.01 * np.sin(5 * spot.y + 9 * trunk_x))
                - width * (0.8 + 0.3 * spot.y),
                colour,
            )
        leaves = 0.13 + 0.05 * np.sin(13 * x + phase + 90 * width) + 0.025 * np.sin(37 * x + phase)
        picture.draw((y - leaves) * 0.8, crown)
    land(picture, ridge(x, 0.64, 0.018, 6, phase), {0.6: "#c3dda4", 0.74: "#aecd8e"})
    for bush_x, bush_y, radius in (
        (0.1, 0.67, 0.07),
        (0.22, 0.68, 0.05),
        (0.86, 0.68, 0.06),
        (0.95, 0.67, 0.08),
    ):
        bush = picture.part(bush_x - radius, bush_y - radius, bush_x + radius, bush_y + radius)
        bush.draw(shapes.circle(bush.x - bush_x, bush.y - bush_y, radius), "#93bd8a")
    land(picture, ridge(x, 0.715, 0.014, 4, phase + 2), {0.7: "#c8d795", 0.82: "#b2c47d", 1.0: "#8aa45c"})
    depth = np.clip((y - 0.7) / 0.3, 0, 1)
    path = np.abs(x - 0.52 - 0.06 * np.sin(4 * depth + phase)) - (0.07 + 0.15 * depth)
    picture.draw(np.maximum(path, 0.735 - y), gradient(y, {0.72: "#ead9ae", 1.0: "#d6bb8a"}), 0.75, blur=0.03)
    for trunk_x, width, foot, colour, light in (
        (0.035, 0.062, 0.84, "#7d6350", "#a0836a"),
        (0.965, 0.052, 0.8, "#866b57", "#a98c72"),
    ):
        spot = picture.part(trunk_x - 0.2, 0, trunk_x + 0.2, foot + 0.06)
        flare = width * (0.82 + 0.9 * np.clip((spot.y - foot + 0.1) / 0.13, 0, 1) ** 2)
        trunk = np.maximum(
            np.abs(spot.x - trunk_x) - flare, spot.y - foot - 0.018 * np.cos(60 * (spot.x - trunk_x))
        )
        spot.draw(trunk, colour)
        towards = 1 if trunk_x < 0.5 else -1
        spot.draw(np.maximum(trunk, (trunk_x - spot.x) * towards + 0.35 * width), light, 0.75, blur=0.012)
        bark = np.abs(np.sin(70 * (spot.x - trunk_x) + 2 * np.sin(9 * spot.y))) * 0.02 - 0.0022
        spot.draw(
            np.maximum(np.maximum(trunk + 0.006, bark), np.sin(17 * spot.y + 31 * trunk_x) * 0.02),
            "#5f4a3e",
            0.5,
        )
    hole = picture.part(0.0, 0.3, 0.1, 0.5)
    hole.draw(shapes.ellipse(hole.x - 0.04, hole.y - 0.4, 0.034, 0.046), "#4b382f")
    for mushroom_x, mushroom_y, size in ((0.12, 0.9, 0.05), (0.165, 0.925, 0.034), (0.9, 0.875, 0.042)):
        spot = picture.part(mushroom_x - size, mushroom_y - 1.2 * size, mushroom_x + size, mushroom_y + size)
        u, v = (spot.x - mushroom_x) / size, (spot.y - mushroom_y) / size
        spot.draw(shapes.box(u, v - 0.25, 0.2, 0.4, 0.15) * size, "#f6ead2")
        cap = np.maximum(shapes.ellipse(u, v, 0.8, 0.75), v - 0.08)
        spot.draw(cap * size, "#d98a6a")
        spots = shapes.union(
            shapes.circle(u + 0.3, v + 0.25, 0.13),
            shapes.circle(u - 0.18, v + 0.42, 0.14),
            shapes.circle(u - 0.45, v + 0.12, 0.1),
        )
        spot.draw(np.maximum(spots, cap) * size, "#fff4e2")


def moving_forest(picture: Picture, time: np.ndarray, dice: np.random.Generator) -> None:
    """Paint shafts of light, the crown, a blinking owl, leaves and pollen."""
    air = picture.part(0, 0, 1, 0.75)
    slant = air.x - 0.45 * air.y
    beams = np.sin(13 * slant + 0.12 * time) + 0.6 * np.sin(29 * slant - 0.17 * time)
    air.blend(smooth(0.5, 1.5, beams) * np.clip(0.8 - air.y, 0, 1) * 0.45, "#fffee6")
    crown = picture.part(0, 0, 1, 0.17)
    for depth, colour in ((0.085, "#86b582"), (0.045, "#6b9f70")):
        sway = 0.012 * np.sin(0.7 * time + 9 * depth)
        side = np.abs(crown.x - 0.5)
        leaves = (
            depth * (0.4 + 1.7 * side)
            + 0.016 * np.sin(24 * (crown.x + sway) + 50 * depth)
            + 0.011 * np.sin(61 * (crown.x + sway))
        )
        crown.draw((crown.y - leaves) * 0.75, colour)
    owl = picture.part(0.0, 0.34, 0.09, 0.46)
    u, v = owl.x - 0.04, owl.y - 0.405
    owl.draw(np.maximum(shapes.ellipse(u, v - 0.006, 0.026, 0.036), v - 0.03), "#b18a68")
    blink = np.where(np.mod(time + dice.uniform(0, 3), 3.1) < 0.16, np.float32(0.15), np.float32(1))
    eyes = shapes.ellipse(np.abs(u) - 0.0115, v + 0.008, 0.0105, 0.0105 * blink)
    owl.draw(eyes, "#fff3d0")
    owl.draw(np.maximum(shapes.circle(np.abs(u) - 0.0115, v + 0.008, 0.0052), eyes), "#3a2a24")
    owl.draw(shapes.polygon(u, v, [(-0.004, 0.0), (0.004, 0.0), (0.0, 0.01)]), "#f0b45a")
    falling(picture, time, scatter(dice, 5, 0.05, 0, 0.95, 1.2), 0.045, 0.06, 0.008, "#dfb35f", 0.9)
    falling(picture, time, scatter(dice, 6, 0.05, 0, 0.95, 1.2), -0.015, 0.04, 0.0045, "#fffbd6", 0.85)
    grass(picture, time, 0.065, 28, ("#8fb066", "#63894d"))

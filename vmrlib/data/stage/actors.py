"""The actors of Stage: how a pose becomes a body with a face, a shadow, and streaks when it moves."""

from dataclasses import dataclass

import numpy as np

from vmrlib.data.stage import shapes
from vmrlib.data.stage.poses import Poses, body, poses, reach
from vmrlib.data.stage.shapes import Picture, Window, paint, smooth, unit
from vmrlib.data.stage.world import Actor, Script

# colour -> body, light from above, shade below, outline; the four also differ in lightness
PALETTE = {
    "red": ("#ee3d42", "#ff8069", "#cc1730", "#5e0a1f"),
    "blue": ("#2450cc", "#5f98fb", "#122d9c", "#0a1650"),
    "green": ("#2fb45f", "#8be88a", "#128a4b", "#04402a"),
    "yellow": ("#ffd42e", "#fff59a", "#fdb81e", "#7a4306"),
}
# shape -> where its face lies: height of the centre, half the distance of the eyes, size
FACES = {
    "circle": (-0.06, 0.32, 1.0),
    "square": (-0.06, 0.33, 1.0),
    "triangle": (0.2, 0.27, 0.88),
    "star": (0.0, 0.26, 0.84),
}
OUTLINE = 0.13  # of the radius, inside the body's edge
HALO = 0.07  # of the radius, outside: a light rim that keeps dark bodies apart from dark scenes
GROUND = (0.74, 0.93)  # where shadows lie for depth 0 and depth 1
REACH = 2.75  # radii around an actor within which everything of it lies, its shadow apart


@dataclass(frozen=True)
class Performer:
    """One actor in some of the frames: its pose as (n, 1, 1) arrays, and how to paint it."""

    actor: Actor
    pose: Poses
    frames: np.ndarray  # (n,) indices into the picture
    time: np.ndarray  # (n, 1, 1) seconds
    phase: float  # seconds by which its blinking is shifted

    def only(self, rows: np.ndarray) -> "Performer":
        """The same actor in some of these frames."""
        return Performer(self.actor, self.pose[rows], self.frames[rows], self.time[rows], self.phase)

    def window(self, picture: Picture, reach: float) -> Window:
        """The pieces of the picture within `reach` radii of the actor."""
        pose = self.pose
        half = reach * float(pose.radius.max())
        return picture.window(self.frames, pose.x[:, 0, 0], pose.y[:, 0, 0], half)

    @property
    def swelling(self) -> float:
        """How much farther than at rest the body reaches when it is stretched or squashed the most."""
        return float(np.maximum(self.pose.width, self.pose.height).max())

    def around(self, piece: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates from the actor's centre, in radii."""
        pose = self.pose
        return (piece.x - pose.x) / pose.radius, (piece.y - pose.y) / pose.radius

    def local(self, piece: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates in the actor's own frame, in radii: turned, squashed and scaled with it."""
        x, y = self.turn(*self.around(piece))
        return x / self.pose.width, y / self.pose.height

    def turn(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A direction in the frame, seen from the turned actor."""
        sine, cosine = np.sin(self.pose.angle), np.cos(self.pose.angle)
        return cosine * x + sine * y, cosine * y - sine * x

    def shadow(self, picture: Picture) -> None:
        """A soft shadow on the ground, smaller and fainter the higher the actor is."""
        pose = self.pose
        foot = pose.y + 0.95 * pose.radius * pose.height
        ground = np.maximum(GROUND[0] + (GROUND[1] - GROUND[0]) * pose.depth, foot)
        height = ground - foot
        fade = 1 / (1 + 3.5 * height)
        radius_x, radius_y = pose.radius * fade, 0.24 * pose.radius * fade
        half = float(radius_x.max() * 1.5)
        piece = picture.window(self.frames, pose.x[:, 0, 0], ground[:, 0, 0], half, half / 3)
        x, y = (piece.x - pose.x) / radius_x, (piece.y - ground) / radius_y
        share = unit(1.35 - np.sqrt(x * x + y * y))
        piece.blend(share * share * 0.5 * fade, "#1b1f3a")
        piece.store()

    def streaks(self, picture: Picture) -> None:
        """Lines of speed behind a mover; arcs, ticks or waves around who spins, changes size or shakes."""
        pose = self.pose
        base, light, _, _ = PALETTE[self.actor.colour]
        colour = 0.5 * paint("#ffffff") + 0.35 * paint(light) + 0.15 * paint(base)
        calm = 1 - pose.tremble
        for strength, mark in (
            (smooth(0.02, 0.1, pose.speed) * calm, Performer._trail),
            (smooth(0.6, 1.6, np.abs(pose.spin)) * calm, Performer._whirl),
            (smooth(0.03, 0.1, np.abs(pose.growth)), Performer._ticks),
            (pose.tremble, Performer._waves),
        ):
            busy = np.flatnonzero(strength[:, 0, 0] > 0)
            if len(busy):
                mark(self.only(busy), picture, strength[busy], colour)

    def _trail(self, picture: Picture, strength: np.ndarray, colour: np.ndarray) -> None:
        pose = self.pose
        way_x, way_y = pose.speed_x / pose.speed, pose.speed_y / pose.speed
        back = 1.7 * pose.radius
        middle_x, middle_y = (pose.x - back * way_x)[:, 0, 0], (pose.y - back * way_y)[:, 0, 0]
        piece = picture.window(self.frames, middle_x, middle_y, 1.1 * float(pose.radius.max()))
        x, y = self.around(piece)
        along, across = -(x * way_x + y * way_y), np.abs(x * way_y - y * way_x)
        # three lines, the middle one longer, that shimmer and fade towards their ends
        outer = across > 0.31
        start = np.where(outer, np.float32(1.05), np.float32(1.25))
        length = (0.5 + 0.7 * smooth(0.03, 0.3, pose.speed)) * np.where(outer, np.float32(0.7), np.float32(1))
        length = length + 0.08 * np.sin(9 * self.time + 9 * start)
        beside = np.abs(np.abs(across - 0.31) - 0.31)
        beyond = np.abs(along - start - 0.5 * length) - 0.5 * length
        line = shapes.circle(beside, np.maximum(beyond, 0), 0.07)
        fade = 1 - 0.75 * unit((along - start) / length)
        piece.draw(line * pose.radius, colour, strength * fade)
        piece.store()

    def _whirl(self, picture: Picture, strength: np.ndarray, colour: np.ndarray) -> None:
        pose = self.pose
        piece = self.window(picture, 1.6)
        x, y = self.around(piece)
        half_turn = np.float32(np.pi)
        behind = np.mod((pose.angle - np.arctan2(y, x)) * np.sign(pose.spin), half_turn) / half_turn
        arc = np.abs(shapes.circle(x, y, 1.42)) - 0.085 * (1 - behind)
        piece.draw(np.maximum(arc, behind - 0.62) * pose.radius, colour, 0.9 * strength)
        piece.store()

    def _ticks(self, picture: Picture, strength: np.ndarray, colour: np.ndarray) -> None:
        pose = self.pose
        piece = self.window(picture, 1.85)
        x, y = self.around(piece)
        eighth = np.float32(np.pi / 4)
        turn = np.mod(np.arctan2(y, x), eighth) - eighth / 2
        beat = 0.22 * np.mod(self.time * 1.4 * np.sign(pose.growth), 1)
        tick = np.maximum(np.abs(shapes.circle(x, y, 1.44 + beat)) - 0.09, 0)
        piece.draw(shapes.circle(tick, turn * 1.5, 0.065) * pose.radius, colour, 0.9 * strength)
        piece.store()

    def _waves(self, picture: Picture, strength: np.ndarray, colour: np.ndarray) -> None:
        pose = self.pose
        piece = self.window(picture, 1.8)
        x, y = self.around(piece)
        distance = shapes.circle(x, y, 0)
        wave = np.abs(np.abs(distance - 1.52) - 0.15) - 0.055
        piece.draw(np.maximum(wave, np.abs(y) - 0.3 * distance) * pose.radius, colour, 0.9 * strength)
        piece.store()

    def paint(self, picture: Picture) -> None:
        """The body: rim, outline, shading, gloss; then the face."""
        pose = self.pose
        _, light, shade, dark = PALETTE[self.actor.colour]
        piece = self.window(picture, (reach(self.actor.shape) + 1.2 * HALO) * self.swelling)
        x, y = self.local(piece)
        distance = body(self.actor.shape, x, y) * pose.radius
        piece.draw(distance - HALO * pose.radius, "#fff8ea", 0.75)
        piece.draw(distance, dark)
        across, down = self.around(piece)
        lit = 0.5 - 0.42 * down - 0.16 * across
        gloss = unit(2.2 - 10 * ((across + 0.33) ** 2 + 1.8 * (down + 0.55) ** 2))
        lit = (unit(lit) + 0.45 * gloss)[:, None]
        piece.draw(distance + OUTLINE * pose.radius, paint(shade) + (paint(light) - paint(shade)) * lit)
        piece.store()
        self.face(picture)

    def face(self, picture: Picture) -> None:
        """Eyes that look where the actor goes and blink, a mouth that says how it feels, cheeks."""
        pose = self.pose
        _, _, _, dark = PALETTE[self.actor.colour]
        centre, spread, size = FACES[self.actor.shape]
        piece = self.window(picture, 0.76 * self.swelling)
        x, y = self.local(piece)
        x, y, spread, length = x / size, (y - centre) / size, spread / size, pose.radius * size
        side, beside = np.sign(x), np.abs(x) - spread

        # the direction of travel, in the actor's own turned frame
        look = smooth(0.015, 0.08, pose.speed) / (pose.speed + 1e-6)
        look_x, look_y = self.turn(pose.speed_x * look, pose.speed_y * look)
        fear = np.minimum(smooth(0.08, 0.2, pose.speed_y) + pose.tremble, 1)
        joy = np.minimum(smooth(0.03, 0.1, pose.speed) + smooth(0.02, 0.08, pose.growth), 1) * (1 - fear)
        worry = smooth(0.02, 0.08, -pose.growth) * (1 - fear)

        cheek = shapes.ellipse(beside - 0.2, y - 0.2, 0.13, 0.085)
        piece.draw(cheek * length, "#ff5f8f", 0.5, blur=0.008)

        asleep = np.mod(self.time + self.phase, 3.7) < 0.17
        eye = shapes.ellipse(beside, y + 0.12, 0.235, 0.28 + 0.04 * fear)
        lid = np.maximum(np.abs(shapes.circle(beside, y + 0.2, 0.19)) - 0.045, -y - 0.2)
        # the mouth lies between two parabolas; their depths make a smile, a grin, an "oh" or a worried line
        upper = 0.07 - 0.09 * joy - 0.21 * fear - 0.19 * worry
        lower = 0.16 + 0.13 * joy + 0.02 * fear - 0.2 * worry
        half = 0.26 + 0.04 * joy - 0.1 * fear - 0.06 * worry
        rise = y - 0.21 - 0.08 * fear - 0.06 * worry
        curve = 1 - (x / half) ** 2
        mouth = np.maximum(upper * curve - rise, rise - lower * curve)
        mouth = np.maximum(mouth / np.sqrt(1 + (2 * lower / half**2 * x) ** 2), np.abs(x) - half)
        piece.draw(np.minimum(mouth - 0.045, np.where(asleep, lid, eye - 0.055)) * length, dark)
        tongue = np.maximum(mouth + 0.02, shapes.circle(x, rise - lower - 0.05, 0.17))
        piece.draw(tongue * length, "#ff6f7d", 0.9 * joy)

        pupil_x, pupil_y = beside - side * look_x * 0.1 + 0.02, y + 0.11 - look_y * 0.13
        pupil = shapes.circle(pupil_x, pupil_y, 0.155 - 0.03 * fear)
        spark = shapes.circle(side * pupil_x + 0.05, pupil_y + 0.06, 0.055)
        white = unit(0.5 + np.maximum(pupil, -spark) * length * piece.size)[:, None]
        ink = paint("#14122b")
        piece.draw(eye * length, ink + (255 - ink) * white, np.where(asleep, np.float32(0), np.float32(1)))
        piece.store()


def perform(picture: Picture, script: Script, times: np.ndarray) -> None:
    """Paint the actors at `times` (F,) seconds onto the picture: shadows, streaks, then bodies by depth."""
    pose = poses(script, times)
    near = REACH * pose.radius
    shown = (pose.x > -near) & (pose.x < 1 + near) & (pose.y > -near) & (pose.y < 1 + near)
    shown &= (pose.visible > 0.5) & (pose.radius > 1e-3)
    order = np.argsort(pose.depth, axis=1, kind="stable")
    cast = []
    for index, actor in enumerate(script.actors):
        frames = np.flatnonzero(shown[:, index])
        phase = (script.seed % 97) * 0.37 + index * 1.3
        time = np.asarray(times[frames], dtype=np.float32)[:, None, None]
        performer = Performer(actor, pose[frames, index][:, None, None], frames, time, phase)
        cast.append(performer)
        if len(frames):
            performer.shadow(picture)
            performer.streaks(picture)
    for rank in range(len(cast)):
        for index, performer in enumerate(cast):
            rows = np.flatnonzero(order[performer.frames, rank] == index)
            if len(rows):
                performer.only(rows).paint(picture)

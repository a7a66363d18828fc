"""The nine places where Stage plays: the backdrop of a video and what moves in front of it.

Each place has a `still_` function, painted once per video, and a `moving_` one, painted in every frame.
They are composed for the actors: calm and pale where these act (x .15 to .85, y .25 to .8), a horizon
near y = .6, air between the layers (far is pale), details at the sides, the top and the lower edge.
`dice` varies a place from video to video; `still_` and `moving_` have a stream of their own.
"""

import numpy as np

from vmrlib.data.stage.kitchen import moving_kitchen, still_kitchen
from vmrlib.data.stage.scenes_nature import (
    moving_desert,
    moving_forest,
    moving_meadow,
    moving_snow,
    still_desert,
    still_forest,
    still_meadow,
    still_snow,
)
from vmrlib.data.stage.scenes_town import moving_city, moving_night, still_city, still_night
from vmrlib.data.stage.scenes_water import moving_beach, moving_underwater, still_beach, still_underwater
from vmrlib.data.stage.shapes import Picture
from vmrlib.data.stage.world import Script

PLACES = {
    "meadow": (still_meadow, moving_meadow),
    "beach": (still_beach, moving_beach),
    "night": (still_night, moving_night),
    "snow": (still_snow, moving_snow),
    "city": (still_city, moving_city),
    "desert": (still_desert, moving_desert),
    "underwater": (still_underwater, moving_underwater),
    "forest": (still_forest, moving_forest),
    "kitchen": (still_kitchen, moving_kitchen),
}


def backdrop(script: Script, size: int) -> np.ndarray:
    """What does not move: (3, size, size) float32 0..255."""
    picture = Picture.blank(1, size)
    still, _ = PLACES[script.scene]
    still(_facing(picture, script), np.random.default_rng([script.seed, 1]))
    return picture.pixels[0]


def liven(picture: Picture, script: Script, times: np.ndarray) -> None:
    """Paint what moves at `times` (F,) seconds onto F copies of the backdrop."""
    _, moving = PLACES[script.scene]
    time = np.asarray(times, dtype=np.float32)[:, None, None]
    moving(_facing(picture, script), time, np.random.default_rng([script.seed, 2]))


def _facing(picture: Picture, script: Script) -> Picture:
    """Half of the videos see their place in a mirror: twice as many views."""
    return picture.mirrored() if np.random.default_rng([script.seed, 0]).random() < 0.5 else picture

"""Draws the README's picture of Stage: python docs/make_pictures.py"""

from pathlib import Path

import matplotlib.image
import numpy as np

from vmrlib.data.stage import StageConfig, contact_sheet, make_split, render
from vmrlib.data.stage.world import KITCHEN, SCENES

SIZE = 200


def main() -> None:
    """One video of each scene, three moments of it, two videos a row."""
    pool = [
        make_split("train", n=120),
        make_split("test-scene", n=40),
        make_split("train", StageConfig.kitchen(), n=2),
    ]
    scripts = [script for split in pool for script in split.scripts]
    chosen = []
    for scene in (*SCENES, KITCHEN):
        # Three actors, and all of them on stage in the middle: the liveliest of the scene.
        candidates = [script for script in scripts if script.scene == scene]
        chosen.append(max(candidates, key=lambda script: script.states[::10, :, 4].sum()))
    chosen.append(next(script for script in scripts if script.scene == "meadow" and script not in chosen))
    frames = [render(script, np.array([0.3, 0.55, 0.8]) * script.duration, size=SIZE) for script in chosen]
    sheet = contact_sheet(np.concatenate(frames), columns=6, pad=3)
    matplotlib.image.imsave(Path(__file__).with_name("stage.png"), sheet)


if __name__ == "__main__":
    main()

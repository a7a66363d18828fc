"""Cuts: a new picture is one; a thing that moves, a camera that pans, and noise are none."""

import numpy as np
import torch

from vmrlib.data.stage import make_split, render
from vmrlib.data.video import write_video
from vmrlib.features.cuts import cell_colours, find_cuts, video_cuts


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)


def cuts(frames):
    return find_cuts(cell_colours(torch.from_numpy(np.stack(frames))))


def test_a_new_picture_is_a_cut():
    assert cuts([picture(0)] * 5 + [picture(1)] * 4 + [picture(2)] * 3) == [5, 9]


def test_what_moves_before_a_still_picture_is_no_cut():
    frames = []
    for k in range(12):
        frame = picture(0)
        frame[10:40, 4 * k : 4 * k + 24] = 255
        frames.append(frame)
    assert cuts(frames) == []


def test_a_camera_that_moves_all_the_time_makes_no_cut_but_what_it_jumps_to_is_one():
    wide = np.concatenate([np.linspace(0, 255, 400)[None, :, None]] * 64).repeat(3, 2).astype(np.uint8)
    pan = [wide[:, 8 * k : 8 * k + 64] for k in range(30)]
    assert cuts(pan) == []
    assert cuts(pan[:15] + [picture(3)] * 10) == [15]


def test_one_frame_has_no_cut():
    assert cuts([picture(0)]) == [] and find_cuts(torch.zeros(0, 8, 8, 3)) == []


def test_the_videos_of_a_film_are_its_shots(tmp_path):
    scripts = make_split("val", n=5).scripts
    times = np.arange(0.1, 24, 0.2)
    frames = np.concatenate([render(script, times, size=64) for script in scripts])
    path = tmp_path / "film.mp4"
    write_video(path, frames, fps=5)
    assert video_cuts(path) == [24.0, 48.0, 72.0, 96.0]

"""The outline of a colour: how many ways it faces, wherever it is and however it is turned."""

import numpy as np
import pytest
import torch

from vmrlib.features import load_extractor
from vmrlib.features.outline import HARMONICS

RED, BLUE, GREY = (230, 30, 30), (30, 60, 220), (128, 128, 128)
RED_ROW, BLUE_ROW = 0, 4  # among the six hues
y, x = np.mgrid[:64, :64] - 32.0


def polygon(sides, turned=0.0, radius=9.0, shift=(0, 0)):
    """Where a regular polygon is in a frame of 64 pixels."""
    inside = np.ones((64, 64), dtype=bool)
    for side in range(sides):
        angle = turned + 2 * np.pi * side / sides
        inside &= (x - shift[0]) * np.cos(angle) + (y - shift[1]) * np.sin(angle) <= radius
    return inside


def seen(*things):
    """Features (6 hues, 11 numbers) of a grey frame with things: (where, colour)."""
    frame = np.full((1, 1, 64, 64, 3), GREY, dtype=np.uint8)
    for where, colour in things:
        frame[0, 0][where] = colour
    return load_extractor("outline", "cpu")(torch.from_numpy(frame))[0].view(6, -1)


def harmonic(row, k):
    return row[1 + HARMONICS.index(k)].item()


@pytest.mark.parametrize("turned", [0.0, 0.3, 0.7, 1.1])
def test_a_triangle_faces_three_ways_and_a_square_four(turned):
    triangle, square = (seen((polygon(n, turned), RED))[RED_ROW] for n in (3, 4))
    assert harmonic(triangle, 3) > 0.7 > 0.2 > harmonic(triangle, 4)
    assert harmonic(square, 4) > 0.7 > 0.2 > harmonic(square, 3)


def test_a_disc_faces_everywhere():
    disc = seen((x**2 + y**2 < 144, RED))[RED_ROW]
    assert all(harmonic(disc, k) < 0.1 for k in (1, 2, 3, 4, 5))


def test_the_outline_does_not_depend_on_the_place():
    here, there = (seen((polygon(4, 0.3, shift=shift), RED)) for shift in ((0, 0), (13, -9)))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-3)


def test_each_colour_has_an_outline_of_its_own():
    both = seen((polygon(3, shift=(-16, 0)), RED), (polygon(4, shift=(16, 0)), BLUE))
    assert harmonic(both[RED_ROW], 3) > 0.7 and harmonic(both[BLUE_ROW], 4) > 0.7
    assert harmonic(both[RED_ROW], 4) < 0.2 and harmonic(both[BLUE_ROW], 3) < 0.2


def test_a_larger_thing_has_a_longer_outline_and_more_area():
    small, large = (seen((polygon(4, radius=radius), RED))[RED_ROW] for radius in (6.0, 12.0))
    assert large[0] > 1.7 * small[0] and large[-2] > 3 * small[-2]


def test_a_grey_frame_has_no_outline():
    assert not seen().any()

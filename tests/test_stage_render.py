"""Stage's pictures: deterministic, one frame per time, the same at every size, and true to the script."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrlib.data.stage.actors import PALETTE
from vmrlib.data.stage.poses import poses
from vmrlib.data.stage.render import boxes, contact_sheet, render
from vmrlib.data.stage.shapes import paint
from vmrlib.data.stage.world import COLOURS, KITCHEN, SCENES, SHAPES, STEP_MS, Actor, Event, Script

ALL_SCENES = (*SCENES, KITCHEN)


def script_of(*poses, scene="meadow", seed=3, actors=None, duration_ms=4000) -> Script:
    """A script whose actor i follows `poses[i]`: channel -> number or function of the time in seconds."""
    time = np.arange(duration_ms // STEP_MS + 1) * STEP_MS / 1000
    actors = actors or [Actor(COLOURS[i % 4], SHAPES[i % 4], 140) for i in range(len(poses))]
    states = np.zeros((len(time), len(actors), 6))
    for index, pose in enumerate(poses):
        rest = {"x": 0.5, "y": 0.5, "scale": 1.0, "angle": 0.0, "visible": 1.0, "depth": 0.5}
        for channel, value in enumerate({**rest, **pose}.values()):
            states[:, index, channel] = value(time) if callable(value) else value
    states = np.round(states * 1000).astype(np.int32)
    return Script("test", scene, seed, duration_ms, tuple(actors), (), (), states)


def lively(scene="meadow", seed=3) -> Script:
    """Three actors that move, spin, grow, shake, jump and leave."""
    return script_of(
        {"x": lambda t: 0.2 + 0.3 * t, "y": 0.65, "depth": 0.2},
        {"y": lambda t: 0.7 - 0.3 * np.abs(np.sin(3 * t)), "angle": lambda t: 2 * t, "depth": 0.9},
        {"x": lambda t: 0.75 + 0.02 * np.sin(15 * t), "scale": lambda t: 0.7 + 0.15 * t, "y": 0.4},
        scene=scene,
        seed=seed,
    )


def empty(script: Script) -> Script:
    states = script.states.copy()
    states[:, :, 4] = 0
    return replace(script, states=states)


def difference(a, b) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def distance_to(colour: str, pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels.astype(float) - paint(PALETTE[colour][0])[:, 0, 0]).sum(axis=-1)


def test_frames_are_rgb_bytes_of_the_asked_size():
    frames = render(lively(), [0.0, 1.0, 2.5], size=40)
    assert frames.shape == (3, 40, 40, 3)
    assert frames.dtype == np.uint8
    assert render(lively(), []).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("scene", ALL_SCENES)
def test_the_smallest_size_works_and_a_smaller_one_is_refused(scene):
    assert render(lively(scene), [1.0], size=8).shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match=r"size: .* not 7"):
        render(lively(scene), [1.0], size=7)


@pytest.mark.parametrize("scene", ALL_SCENES)
def test_the_same_script_gives_the_same_pixels(scene):
    times = np.linspace(0, 4, 5)
    assert np.array_equal(render(lively(scene), times), render(lively(scene), times))


@pytest.mark.parametrize("scene", ALL_SCENES)
def test_a_frame_does_not_depend_on_the_other_times(scene):
    script = lively(scene)
    times = np.array([3.9, 0.05, 1.25, 2.0, 1.25])
    together = render(script, times)
    alone = np.concatenate([render(script, [time]) for time in times])
    assert difference(together, alone) <= 1
    assert np.array_equal(together[2], together[4])


def test_a_long_list_of_times_is_painted_in_groups_without_a_seam():
    script = lively("underwater")
    times = np.linspace(0, 4, 61)
    assert difference(render(script, times)[::7], render(script, times[::7])) <= 1


@pytest.mark.parametrize("scene", ALL_SCENES)
def test_sizes_show_the_same_picture(scene):
    small = render(lively(scene), [0.4, 1.7], size=64).astype(float)
    large = render(lively(scene), [0.4, 1.7], size=256).astype(float)
    shrunk = large.reshape(2, 64, 4, 64, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - shrunk).mean() < 4
    assert np.mean(np.abs(small - shrunk).max(axis=-1) > 48) < 0.03


def test_every_scene_looks_different():
    frames = [render(empty(lively(scene)), [1.0])[0].astype(float) for scene in ALL_SCENES]
    for one, other in itertools.combinations(frames, 2):
        assert min(np.abs(one - other).mean(), np.abs(one[:, ::-1] - other).mean()) > 12


@pytest.mark.parametrize("scene", ALL_SCENES)
def test_the_scene_itself_moves_a_little_and_varies_with_the_seed(scene):
    still = render(empty(lively(scene)), [0.0, 2.0]).astype(float)
    assert 0.02 < np.abs(still[0] - still[1]).mean() < 8
    seeds = [render(empty(lively(scene, seed)), [0.0])[0] for seed in range(4)]
    assert any(difference(seeds[0], other) > 30 for other in seeds[1:])


def test_an_invisible_actor_leaves_the_background_untouched():
    gone = script_of({"visible": 0.0}, {"x": -0.9})
    assert np.array_equal(render(gone, [1.0]), render(empty(gone), [1.0]))


@pytest.mark.parametrize("scene", ALL_SCENES)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_colour_of_an_actor_can_be_read_at_its_place(scene, colour):
    for shape in SHAPES:
        script = script_of({"x": 0.45, "y": 0.6}, scene=scene, actors=[Actor(colour, shape, 135)])
        x0, y0, x1, y1 = (boxes(script, [1.0])[0, 0] * 64).astype(int)
        body = render(script, [1.0])[0, y0 : y1 + 1, x0 : x1 + 1]
        counts = {name: int((distance_to(name, body) < 90).sum()) for name in COLOURS}
        assert max(counts, key=counts.get) == colour
        assert counts[colour] > 20


def test_the_four_colours_differ_in_lightness():
    lightness = {name: float(paint(PALETTE[name][0])[:, 0, 0] @ [0.2126, 0.7152, 0.0722]) for name in COLOURS}
    levels = sorted(lightness.values())
    assert min(np.diff(levels)) > 15
    assert lightness["blue"] < 110 < lightness["green"] < lightness["yellow"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "pose", [{}, {"angle": 0.6}, {"scale": 1.4}, {"scale": 0.64}, {"x": 0.05}, {"x": 0.93, "y": 0.3}]
)
def test_a_box_fits_the_pixels_of_the_body(shape, pose):
    script = script_of({"y": 0.4, "depth": 1.0, **pose}, scene="snow", actors=[Actor("blue", shape, 140)])
    size = 320
    body = render(script, [1.0], size)[0].astype(int)
    changed = np.abs(body - render(empty(script), [1.0], size)[0].astype(int)).sum(axis=-1) > 200
    changed[int(0.75 * size) :] = False  # the shadow lies on the ground
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / size
    assert np.abs(boxes(script, [1.0])[0, 0] - seen).max() < 0.015


def test_boxes_are_nan_when_nothing_can_be_seen():
    script = script_of({"visible": 0.0}, {"x": -0.2}, {"x": 1.16}, {})
    found = boxes(script, [0.0, 1.0])
    assert found.shape == (2, 4, 4)
    assert np.isnan(found[:, :3]).all()
    assert not np.isnan(found[:, 3]).any()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    x=st.floats(-0.3, 1.3),
    y=st.floats(-0.3, 1.3),
    scale=st.floats(0.3, 1.6),
    angle=st.floats(-7, 7),
    shape=st.sampled_from(SHAPES),
)
def test_boxes_stay_in_the_frame_and_around_the_centre(x, y, scale, angle, shape):
    script = script_of({"x": x, "y": y, "scale": scale, "angle": angle}, actors=[Actor("red", shape, 130)])
    x0, y0, x1, y1 = boxes(script, [1.0])[0, 0]
    if np.isnan(x0):
        assert not (0.05 < x < 0.95 and 0.05 < y < 0.95)
        return
    assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
    assert max(x1 - x0, y1 - y0) < 2.7 * 0.13 * scale
    if 0.3 < x < 0.7:
        assert x0 < x < x1 and x1 - x0 > 1.5 * 0.13 * scale


def test_the_deeper_actor_is_hidden_by_the_one_in_front():
    for front, back in ((0, 1), (1, 0)):
        pose = [{"x": 0.5}, {"x": 0.5}]
        pose[front]["depth"], pose[back]["depth"] = 0.8, 0.2
        actors = [Actor("red", "circle", 140), Actor("blue", "circle", 140)]
        script = script_of(*pose, actors=actors)
        patch = render(script, [1.0])[0, 27:37, 27:37]
        counts = [int((distance_to(name, patch) < 90).sum()) for name in ("red", "blue")]
        assert counts[front] > counts[back]


def test_drawing_order_follows_the_depth_of_each_frame():
    rising = script_of({"depth": lambda t: t / 4}, {"depth": 0.5})
    low, high = render(rising, [0.5, 3.5])
    reds = [(distance_to("red", frame[24:40, 24:40]) < 90).sum() for frame in (low, high)]
    assert reds[0] == 0 < reds[1]


def test_liveliness_follows_from_the_states_alone():
    moving = lively()
    told = replace(moving, events=(Event("falls", 0, None, 1000, 2000),))
    assert np.array_equal(render(moving, [1.3]), render(told, [1.3]))


def test_eyes_look_where_the_actor_goes():
    def pupils(direction):
        script = script_of(
            {"x": lambda t: 0.5 + direction * 0.15 * (t - 2)}, actors=[Actor("yellow", "circle", 150)]
        )
        frame = render(script, [2.0], 256)[0].astype(int)
        dark = (frame.max(axis=-1) < 60) & (np.abs(np.arange(256) - 128) < 25)[None, :]
        return np.nonzero(dark[100:128])[1].mean()

    assert pupils(-1) < pupils(1) - 2


def test_shaking_shows_and_entering_does_not_look_like_it():
    shaking = script_of(
        {"x": lambda t: 0.5 + 0.022 * np.sin(5 * np.pi * t), "angle": lambda t: 0.2 * np.sin(5 * np.pi * t)}
    )
    assert poses(shaking, np.arange(0.5, 3.5, 0.05)).tremble.min() > 0.9
    entering = script_of({"x": lambda t: -0.13 + 0.35 * t, "visible": lambda t: t > 0.45})
    assert poses(entering, np.arange(0.0, 4.0, 0.05)).tremble.max() == 0


def test_bodies_squash_when_they_land_and_stretch_when_they_fly():
    jumping = script_of({"y": lambda t: 0.7 - 0.18 * np.abs(np.sin(np.pi * t / 1.1))})
    landing, flying, resting = poses(jumping, np.array([1.1, 0.2, 0.55])).stretch[:, 0]
    assert landing < 0.95 < 1.05 < flying
    assert resting == pytest.approx(1, abs=0.02)


def test_a_contact_sheet_lays_frames_out_row_by_row():
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), dtype=np.uint8)
    sheet = contact_sheet(frames, columns=3, pad=1)
    assert sheet.shape == (2 * 5 + 1, 3 * 7 + 1, 3)
    assert sheet[1, 1, 0] == 0 and sheet[1, 15, 0] == 2 and sheet[6, 8, 0] == 4
    assert (sheet[0] == 255).all() and (sheet[6:, 15:] == 255).all()

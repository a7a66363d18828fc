"""The draw functions put data at its true seconds; the Explorer redraws, and closes what it opens."""

import base64
from itertools import pairwise

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from vmrlib.data.stage.world import Actor, Event, Line, Script
from vmrlib.viz import (
    ACTOR_COLOURS,
    PREDICTION,
    TRUTH,
    Explorer,
    draw_attention,
    draw_boxes,
    draw_curve,
    draw_events,
    draw_filmstrip,
    draw_stage,
    draw_timeline,
    to_png,
    use_course_style,
)

CENTRES = 1.0 + 2.0 * np.arange(12)
FRAMES = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_open_figures():
    """Every test starts and ends without figures."""
    yield
    plt.close("all")


def bars(axes, colour=None) -> list[tuple[float, float]]:
    """(start, end) of the bars in axes, of one colour where it is given, by start."""
    found = [p for p in axes.patches if isinstance(p, Rectangle)]
    found = [p for p in found if colour is None or to_hex(p.get_facecolor()).upper() == colour.upper()]
    return sorted((round(p.get_x(), 6), round(p.get_x() + p.get_width(), 6)) for p in found)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_filmstrip_centres_every_frame_at_its_second():
    (axes,) = draw_filmstrip(FRAMES, CENTRES, 24).axes
    middles = [sum(image.get_extent()[:2]) / 2 for image in axes.images]
    assert np.allclose(middles, CENTRES)
    assert [int(image.get_array()[0, 0, 0]) for image in axes.images] == list(range(12))
    assert axes.get_xlim() == (0, 24)
    assert axes.get_xlabel() == "time (s)"


@pytest.mark.parametrize(("count", "duration"), [(1, 3.0), (2, 24.0), (300, 150.0), (24, 24.0)])
def test_filmstrip_frames_keep_their_seconds_and_never_overlap(count, duration):
    times = (np.arange(count) + 0.5) * duration / count
    frames = (np.arange(count) % 256).astype(np.uint8)[:, None, None, None] * np.ones((1, 9, 16, 3), np.uint8)
    (axes,) = draw_filmstrip(torch.from_numpy(frames), torch.from_numpy(times), duration).axes
    extents = [image.get_extent() for image in axes.images]
    for image, extent in zip(axes.images, extents, strict=True):
        time = times[np.abs(times - sum(extent[:2]) / 2).argmin()]
        assert abs(time - sum(extent[:2]) / 2) < 1e-6
        assert image.get_array()[0, 0, 0] == frames[times == time][0, 0, 0, 0]
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(extents))
    assert axes.get_xlim()[0] <= extents[0][0] and extents[-1][1] <= axes.get_xlim()[1]


def test_filmstrip_sorts_irregular_times_and_shows_the_first_frame_whole():
    (axes,) = draw_filmstrip(FRAMES[:3], [20.0, 0.0, 7.5], 24).axes
    assert [int(image.get_array()[0, 0, 0]) for image in axes.images] == [1, 2, 0]
    assert axes.get_xlim()[0] < 0
    assert min(axes.get_xticks()) == 0


def test_filmstrip_refuses_times_that_are_not_the_frames():
    with pytest.raises(ValueError, match="3 times for frames of shape"):
        draw_filmstrip(FRAMES, [1, 2, 3])


def test_timeline_bars_are_the_moments():
    figure = draw_timeline(24, [(5, 11.2)], [(4, 10, 0.91), (16, 23.5, 0.4)], "A cat")
    (axes,) = figure.axes
    assert bars(axes, TRUTH) == [(5, 11.2)]
    assert bars(axes, PREDICTION) == [(4, 10)]
    assert bars(axes) == [(4, 10), (5, 11.2), (16, 23.5)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["truth", "rank 1", "rank 2"]
    assert texts(axes) == ["0.91", "0.40"]
    assert axes.get_xlim() == (0, 24)
    assert [text.get_text() for text in figure.texts] == ["“A cat”"]


def test_timeline_works_without_truth_scores_or_anything():
    (axes,) = draw_timeline(10, predictions=[(1, 2)]).axes
    assert bars(axes, PREDICTION) == [(1, 2)]
    (axes,) = draw_timeline(10).axes
    assert bars(axes) == []


def test_timeline_shares_its_axis_with_the_frames():
    strip, axes = draw_timeline(24, [(5, 8)], frames=FRAMES, times=CENTRES).axes
    assert strip.get_xlim() == axes.get_xlim()
    assert len(strip.images) == 12


def test_curve_draws_the_scores_and_shades_the_truth():
    similarity = np.linspace(0.1, 0.3, 12)
    strip, curve, predicted = draw_curve(
        torch.from_numpy(CENTRES),
        similarity,
        [(5, 11.2), (20, 22)],
        [(4, 10, 0.9), (1, 3, 0.2)],
        "A cat",
        FRAMES,
    ).axes
    (line,) = curve.lines
    assert np.allclose(line.get_xdata(), CENTRES) and np.allclose(line.get_ydata(), similarity)
    assert bars(curve, TRUTH) == [(5, 11.2), (20, 22)]
    assert bars(predicted, PREDICTION) == [(4, 10)]
    assert len(bars(predicted)) == 2
    assert strip.get_xlim() == curve.get_xlim() == predicted.get_xlim() == (0, 24)
    assert curve.get_ylim()[0] < 0.1 and curve.get_ylim()[1] > 0.3
    assert "similarity" in curve.get_ylabel()
    assert predicted.get_xlabel() == "time (s)"


def test_curve_keeps_the_limits_given_and_survives_a_flat_curve():
    (curve,) = draw_curve(CENTRES, np.zeros(12), limits=(-1, 1)).axes
    assert curve.get_ylim() == (-1, 1)
    (curve,) = draw_curve(CENTRES, np.zeros(12)).axes
    assert curve.get_ylim()[0] < 0 < curve.get_ylim()[1]


def test_boxes_stand_where_they_are_and_hidden_actors_have_none():
    boxes = [[0.2, 0.3, 0.5, 0.7], [np.nan] * 4]
    (axes,) = draw_boxes(FRAMES[3], boxes, ["red circle", "blue star"], ["#E4605E", "#5B8DD6"]).axes
    corners = {tuple(np.round((*p.get_xy(), p.get_width(), p.get_height()), 6)) for p in axes.patches}
    assert corners == {(0.2, 0.3, 0.3, 0.4)}
    assert texts(axes) == ["red circle"]
    assert axes.get_ylim() == (1, 0)  # y down, as in the boxes


def test_attention_has_one_row_per_word_and_fixed_limits():
    matrix = np.random.default_rng(0).random((3, 12))
    axes, _ = draw_attention(matrix, ["a", "red", "circle"], CENTRES, vmin=0, vmax=0.5).axes
    (image,) = axes.images
    assert image.get_extent() == [0, 24, 2.5, -0.5]
    assert image.get_clim() == (0, 0.5)
    assert image.get_cmap().name == "viridis"
    assert np.allclose(image.get_array(), matrix)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "red", "circle"]
    with pytest.raises(ValueError, match="2 words"):
        draw_attention(matrix, ["a", "b"], CENTRES)


@pytest.fixture
def script() -> Script:
    """Two actors; the second has two events that overlap."""
    events = (
        Event("moves right", 0, None, 2000, 8000),
        Event("chases", 1, 0, 6500, 13000),
        Event("is next to", 1, 0, 11500, 16000),
        Event("grows", 0, None, 12000, 15000),
        Event("approaches", 1, 0, 22000, 23900),
    )
    actors = (Actor("red", "circle", 130), Actor("blue", "star", 130))
    lines = (Line("anna left the key at the school", 3000, 6000),)
    return Script("v", "meadow", 0, 24000, actors, events, lines, np.zeros((241, 2, 6), np.int32))


def test_events_are_bars_at_their_exact_seconds_in_the_actors_colours(script):
    (axes,) = draw_events(script, now=7.2).axes
    assert bars(axes, ACTOR_COLOURS["red"]) == [(2, 8), (12, 15)]
    assert bars(axes, ACTOR_COLOURS["blue"]) == [(6.5, 13), (11.5, 16), (22, 23.9)]
    assert (3, 6) in bars(axes)
    assert {"moves right", "chases red circle", "is next to red circle"} <= set(texts(axes))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["red circle", "blue star", "subtitles"]
    assert any(list(line.get_xdata()) == [7.2, 7.2] for line in axes.lines)
    assert axes.get_xlim() == (0, 24)


def test_labels_of_events_neither_overlap_nor_leave_the_axes(script):
    figure = draw_events(script)
    (axes,) = figure.axes
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    frame = axes.get_window_extent()
    assert all(box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 for box in boxes)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
    assert not any(a.overlaps(b) for a, b in pairs)


def test_stage_shows_the_frame_the_boxes_and_a_cursor(script):
    figure = draw_stage(script, FRAMES[3], [[0.2, 0.3, 0.5, 0.7], [np.nan] * 4], 4.0)
    picture, events = figure.axes
    assert len(picture.images) == 1 and texts(picture) == ["red circle"]
    assert any(list(line.get_xdata()) == [4.0, 4.0] for line in events.lines)
    said = " ".join(text.get_text() for text in figure.texts)
    assert "meadow, 4.0 s of 24 s" in said and "anna left the key" in said


def curve(layer=0, query="a", tau=0.5, flag=True, text="x"):
    """A figure that depends on every control."""
    scores = np.full(12, layer + len(query) + tau + flag + len(text), dtype=float)
    return draw_curve(CENTRES, scores, limits=(0, 20))


@pytest.fixture
def explorer() -> Explorer:
    return Explorer(
        curve,
        layer=(0, 3),
        query=["a", "bb"],
        tau=(0.01, 1.0),
        flag=True,
        text="x",
        caption="Look.",
        alt="A line",
    )


def test_the_kind_of_a_value_decides_the_control(explorer):
    kinds = {name: type(widget) for name, widget in explorer.controls.items()}
    assert kinds == {
        "layer": ipywidgets.IntSlider,
        "query": ipywidgets.Dropdown,
        "tau": ipywidgets.FloatSlider,
        "flag": ipywidgets.Checkbox,
        "text": ipywidgets.Text,
    }
    assert explorer.values == {"layer": 0, "query": "a", "tau": 0.01, "flag": True, "text": "x"}


def test_a_third_number_is_where_the_slider_starts():
    assert Explorer(curve, layer=(0, 3, 2)).values == {"layer": 2}
    assert Explorer(curve, tau=(0.0, 1.0, 0.5)).values == {"tau": 0.5}


def test_what_is_no_control_is_refused():
    with pytest.raises(TypeError, match="layer=3 is no control"):
        Explorer(curve, layer=3)


MOVES = [("layer", 3), ("query", "bb"), ("tau", 0.5), ("flag", False), ("text", "xyz")]


@pytest.mark.parametrize(("name", "value"), MOVES)
def test_moving_a_control_shows_what_the_draw_function_draws(explorer, name, value):
    before = explorer.image.value
    explorer.controls[name].value = value
    assert explorer.image.value != before
    assert explorer.image.value == to_png(curve(**explorer.values))


def test_no_figure_stays_open(explorer):
    explorer.controls["layer"].value = 2
    assert plt.get_fignums() == []


def test_a_draw_function_that_fails_halfway_leaves_no_figure_and_says_why():
    def draw(layer=0):
        plt.figure()
        if layer:
            raise ValueError("no layer 1")
        return curve(layer)

    explorer = Explorer(draw, layer=(0, 1))
    plt.close("all")
    good = explorer.image.value
    explorer.controls["layer"].value = 1
    assert explorer.image.value != good
    assert plt.get_fignums() == []
    explorer.controls["layer"].value = 0
    assert explorer.image.value == good


def test_an_error_in_the_first_picture_is_raised():
    def draw(layer):
        raise ValueError("nothing to draw")

    with pytest.raises(ValueError, match="nothing to draw"):
        Explorer(draw, layer=(0, 1))


def test_the_bundle_holds_picture_text_and_widget(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == explorer.image.value
    assert data["text/plain"] == "Explorer(layer, query, tau, flag, text): Look."
    assert "application/vnd.jupyter.widget-view+json" in data
    assert metadata["image/png"]["alt"] == "A line"


def test_pictures_are_the_same_bytes_every_time():
    assert to_png(curve()) == to_png(curve())


def test_pictures_do_not_depend_on_the_style_around_them():
    plain = to_png(curve())
    with plt.rc_context():
        use_course_style()
        assert to_png(curve()) == plain

"""The pictures of MSAT show the numbers they are given at their true seconds; the live curve grows."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon, Rectangle

from vmrlib.models.msat import candidate_cells
from vmrlib.viz import PREDICTION, TRUTH
from vmrlib.viz.joint_attention import draw_points_attention, draw_words_attention
from vmrlib.viz.live import LiveCurve, draw_training
from vmrlib.viz.msat import (
    OUTCOMES,
    STAGES,
    draw_candidates,
    draw_confusions,
    draw_hidden_words,
    draw_moment_map,
    draw_stages,
)
from vmrlib.viz.real_data import hit_region

FRAMES = np.zeros((12, 8, 8, 3), dtype=np.uint8)
TIMES = 1.0 + 2.0 * np.arange(12)
WORDS = ["the", "star", "jumps"]
LOG = [{"step": s, "losses": {"stage": 2.0, "iou": 0.1, "total": 3.0 / s}} for s in (1, 2, 3, 4)]
LOG.append({"step": 4, "val": {"R@1, IoU=0.5": 37.5}})


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


def test_stages_stand_at_the_seconds_of_the_boundary_points():
    values = np.arange(15).reshape(3, 5) / 15
    strip, curves, ranks = draw_stages(
        values, 24, [(5, 11)], [(4, 10, 0.9), (16, 20, 0.4)], "A star", FRAMES, TIMES
    ).axes
    assert [line.get_label() for line in curves.lines] == list(STAGES) == ["start", "end", "middle"]
    for line, row in zip(curves.lines, values, strict=True):
        assert list(line.get_xdata()) == [0, 6, 12, 18, 24] and np.allclose(line.get_ydata(), row)
    assert bars(curves, TRUTH) == [(5, 11)] and bars(ranks, PREDICTION) == [(4, 10)]
    assert (16, 20) in bars(ranks) and texts(ranks) == ["0.90", "0.40"]
    assert strip.get_xlim() == curves.get_xlim() == ranks.get_xlim() == (0, 24)
    assert ranks.get_xlabel() == "time (s)" and len(strip.images) == 12


def test_stages_need_neither_frames_nor_predictions():
    (curves,) = draw_stages(np.zeros((3, 4)), 12).axes
    assert curves.get_xlim() == (0, 12) and curves.get_xlabel() == "time (s)"


def test_moment_map_puts_starts_across_and_ends_upwards():
    cells = [[0, 1], [0, 3], [2, 4]]
    figure = draw_moment_map(cells, [0.2, 0.4, 0.9], 6.0, 24, [(1, 13)], [(3, 12, 0.9)], "A star")
    (axes,) = figure.axes
    (image,) = axes.images
    shown = np.ma.filled(np.ma.masked_invalid(image.get_array()), np.nan)
    assert shown.shape == (5, 5) and image.origin == "lower"
    assert list(image.get_extent()) == [-3, 27, -3, 27]  # squares stand around the points
    assert [shown[1, 0], shown[3, 0], shown[4, 2]] == [0.2, 0.4, 0.9]
    assert np.isnan(shown).sum() == 25 - 3
    assert image.get_clim() == (0, 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("start (s)", "end (s)")


def test_moment_map_marks_truth_and_ranks():
    figure = draw_moment_map([[0, 1]], [0.5], 1.0, 24, [(2, 8)], [(2.5, 9, 0.9), (11, 20, 0.1)], iou=0.7)
    (axes,) = figure.axes
    (region,) = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert np.allclose(region.get_xy()[:4], hit_region((2, 8), 0.7))
    points = [(line.get_xdata(), line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 1]
    assert points == [([2], [8])]
    assert {text.get_text(): text.get_position() for text in axes.texts} == {"1": (2.5, 9), "2": (11, 20)}


def test_moment_map_shares_its_axis_with_the_frames_and_refuses_other_shapes():
    strip, axes = draw_moment_map([[0, 1]], [0.5], 1.0, 24, frames=FRAMES, times=TIMES).axes
    assert strip.get_xlim() == axes.get_xlim() == (0, 24)
    with pytest.raises(ValueError, match="for 2 values"):
        draw_moment_map([[0, 1]], [0.5, 0.6], 1.0, 24)


def test_candidates_are_drawn_where_they_are_and_counted():
    cells = candidate_cells(9, ((2, 1), (8, 4)))
    first, second = draw_candidates({"a": (cells, 9), "b": (torch.tensor([[0, 1]]), 2)}).axes
    shown = np.asarray(first.images[0].get_array())
    assert {(int(i), int(j)) for j, i in zip(*shown.nonzero(), strict=True)} == set(
        map(tuple, cells.tolist())
    )
    assert first.get_title(loc="left") == f"a: {len(cells)} of 81"
    assert np.asarray(second.images[0].get_array()).tolist() == [[0, 0], [1, 0]]


def test_words_attention_is_one_softmax_over_two_panels():
    weights = torch.rand(3, 3 + 5).softmax(dim=1)
    figure = draw_words_attention(weights[:, :3], weights[:, 3:], WORDS, 24, FRAMES, TIMES)
    strip, video, home, _ = figure.axes
    assert np.allclose(video.images[0].get_array(), weights[:, 3:])
    assert np.allclose(home.images[0].get_array(), weights[:, :3])
    assert video.images[0].get_clim() == home.images[0].get_clim() == (0, pytest.approx(weights.max()))
    assert video.images[0].get_extent()[:2] == [-3, 27]  # five points, 6 s apart, each in its square's middle
    assert strip.get_xlim() == video.get_xlim() == (-3, 27)
    assert [label.get_text() for label in home.get_yticklabels()] == WORDS
    assert texts(home) == [f"{100 * share:.0f} %" for share in weights[:, :3].sum(dim=1).tolist()]


def test_points_attention_has_the_looking_points_across():
    weights = torch.rand(5, 5 + 3).softmax(dim=1)
    upper, lower, _ = draw_points_attention(weights[:, :5], weights[:, 5:], WORDS, 24).axes
    assert np.allclose(upper.images[0].get_array(), weights[:, 5:].T)
    assert np.allclose(lower.images[0].get_array(), weights[:, :5].T)
    assert upper.images[0].get_clim() == lower.images[0].get_clim()
    assert lower.images[0].origin == "lower" and list(lower.images[0].get_extent()) == [-3, 27, -3, 27]
    assert upper.get_xlim() == lower.get_xlim() == (-3, 27)


def test_attention_refuses_weights_of_other_shapes():
    with pytest.raises(ValueError, match="3 words"):
        draw_words_attention(np.ones((3, 2)), np.ones((3, 5)), WORDS, 24)
    with pytest.raises(ValueError, match="3 words"):
        draw_points_attention(np.ones((5, 5)), np.ones((5, 2)), WORDS, 24)


def test_hidden_words_are_covered():
    (axes,) = draw_hidden_words(WORDS, [[False, True, False], [True, False, True]], ["one", "two"]).axes
    assert texts(axes) == ["the", "?", "jumps", "?", "star", "?"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


def test_confusions_are_shares_in_the_order_of_the_outcomes():
    rows = {"a": {"right": 3, "the other verb": 1}, "b": {"no event": 5}, "c": {}}
    (axes,) = draw_confusions(rows).axes
    assert bars(axes, OUTCOMES["right"])[-1] == (0, 75)
    assert (75, 100) in bars(axes, OUTCOMES["the other verb"])
    assert (0, 100) in bars(axes, OUTCOMES["no event"])
    assert [text for text in texts(axes) if text.startswith("n")] == ["n = 4", "n = 5", "n = 0"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(OUTCOMES)


def test_training_curves_are_weighted_losses_and_the_metric():
    left, right = draw_training(LOG, 10, baseline=("constant", 20.0), weights={"iou": 10.0}).axes
    drawn = {line.get_label(): line for line in left.lines}
    assert set(drawn) == {"stage", "iou", "total"}  # the log has no other losses
    assert list(drawn["iou"].get_ydata()) == pytest.approx([1.0] * 4)
    assert list(drawn["stage"].get_xdata()) == [1, 2, 3, 4]
    assert right.lines[0].get_xdata() == (4,) and right.lines[0].get_ydata() == (37.5,)
    assert right.lines[1].get_ydata() == [20, 20] and texts(right) == ["constant"]
    assert left.get_xlim() == right.get_xlim() == (0, 10)


def test_live_curve_grows_and_leaves_no_figure_open():
    live = LiveCurve(10, seconds=0.0)
    empty = bytes(live.image.value)
    assert empty.startswith(b"\x89PNG")
    for record in LOG:
        live(record)
    assert bytes(live.image.value) != empty and live.records == LOG
    bundle, _ = live._repr_mimebundle_()
    assert bundle["text/plain"] == "LiveCurve(10 steps)"  # nothing of it depends on the machine
    live.close()
    assert plt.get_fignums() == []


def test_live_curve_is_not_drawn_at_every_step():
    live = LiveCurve(10, seconds=1000.0)
    before = live.image.value
    for record in LOG:
        live(record)
    assert live.image.value == before

"""Pictures of datasets and results show the numbers they are given, at the places where they belong."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon, Rectangle

from vmrlib.moments import temporal_iou
from vmrlib.viz import (
    PREDICTION,
    TRUTH,
    draw_agreement,
    draw_dots,
    draw_histograms,
    draw_intervals,
    draw_locations,
    draw_predictions,
    draw_ranking,
    draw_recall_axis,
)
from vmrlib.viz.real_data import hit_region, model_style, share_inside
from vmrlib.viz.results import ranking

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]


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


def names(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def points(axes) -> list[tuple[float, float]]:
    """Markers that stand alone, as (x, y)."""
    alone = [line for line in axes.lines if len(line.get_xdata()) == 1]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in alone]


def test_histograms_share_their_axis_and_mark_the_medians():
    rows = {"a": ([1, 2, 4], [3, 1]), "b": ([1, 2, 4, 8], [0, 5, 2])}
    first, second = draw_histograms(rows, "length (s)", {"a": 1.5, "b": 3}).axes
    assert first.get_xlim() == second.get_xlim() == (1, 8)
    assert bars(first) == [(1, 2), (2, 4)]
    assert [patch.get_height() for patch in second.patches] == [0, 5, 2]
    assert [list(axes.lines[0].get_xdata()) for axes in (first, second)] == [[1.5, 1.5], [3, 3]]
    assert texts(first) == ["a", "1.5"] and second.get_xlabel() == "length (s)"


def test_histograms_over_a_logarithmic_axis_have_plain_ticks():
    (axes,) = draw_histograms({"a": (np.geomspace(0.1, 1000, 9), np.ones(8))}, "s", log=True).axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()][:3] == ["0.1", "0.3", "1"]


def test_locations_are_percent_with_starts_across_and_ends_up():
    grid = np.zeros((4, 4))
    grid[0, 3] = 3  # starts at once, ends at the end
    grid[2, 2] = 1
    train, test, scale = draw_locations({"train": grid, "test": grid * 2}).axes
    shown = np.asarray(train.images[0].get_array())
    assert shown[3, 0] == 75 and shown[2, 2] == 25 and shown.sum() == 100  # rows are ends, from below
    assert train.images[0].origin == "lower" and train.images[0].get_extent() == [0, 1, 0, 1]
    assert train.images[0].get_clim() == test.images[0].get_clim() == (0, 75)
    assert list(train.lines[0].get_xdata()) == list(train.lines[0].get_ydata()) == [0, 1]
    assert [axes.get_title(loc="left") for axes in (train, test)] == ["train", "test"]
    assert scale.get_ylabel() == "% of moments"


def test_locations_enclose_what_a_window_hits():
    grid = np.zeros((10, 10))
    grid[2, 5], grid[7, 9] = 3, 1  # moments around (0.25, 0.55), IoU 0.75, and around (0.75, 0.95), IoU 0
    axes = draw_locations({"train": grid}, window=(0.2, 0.6), iou=0.5).axes[0]
    (region,) = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert np.allclose(region.get_xy()[:4], hit_region((0.2, 0.6), 0.5))
    assert (0.2, 0.6) in points(axes)
    assert axes.get_title(loc="left") == "train: 75 %"


@pytest.mark.parametrize("window", [(0.2, 0.6), (0.0, 0.3), (0.5, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_the_region_of_a_window_is_where_the_iou_says_so(window, iou):
    one = torch.tensor([window], dtype=torch.float64)
    corners = torch.tensor(hit_region(window, iou), dtype=torch.float64)
    assert torch.allclose(temporal_iou(corners, one), torch.tensor(iou, dtype=torch.float64))
    centres = (torch.arange(10, dtype=torch.float64) + 0.5) / 10
    cells = torch.cartesian_prod(centres, centres)
    forwards = cells[cells[:, 0] < cells[:, 1]]
    expected = (temporal_iou(forwards, one)[:, 0] >= iou).sum().item()
    assert share_inside(np.ones((10, 10)), window, iou) == expected


def test_dots_stand_at_their_values_with_their_errors():
    rows = {"Charades": {"full": 35.0, "random": 20.0}, "TACoS": {"full": 6.0}}
    (axes,) = draw_dots(rows, "R@1 (%)", {"Charades": {"random": 1.5}}, limit=60).axes
    assert sorted((x, round(y, 3)) for x, y in points(axes)) == [(6, 0.925), (20, 0.075), (35, -0.075)]
    assert [18.5, 21.5] in [list(line.get_xdata()) for line in axes.lines]
    assert names(axes) == ["Charades", "TACoS"] and axes.get_xlim() == (0, 60)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["full", "random"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top


def test_agreement_shows_the_pairs_and_the_curves():
    left, right = draw_agreement({"0": 10, "1/2": 25, "1": 65}, LEVELS, {"human": [90, 85, 84, 60, 60]}).axes
    assert [patch.get_height() for patch in left.patches] == [10, 25, 65]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "1/2", "1"]
    assert list(right.lines[0].get_ydata()) == [90, 85, 84, 60, 60]
    assert right.get_ylim() == (0, 100)


def test_recall_axis_marks_the_threshold_and_orders_the_names_by_it():
    curves = {"a": [90, 70, 50, 30, 10], "b": [60, 58, 55, 50, 40]}
    bands = {"a": ([88, 68, 48, 28, 8], [92, 72, 52, 32, 12])}
    (axes,) = draw_recall_axis(LEVELS, curves, bands, mark=0.5).axes
    drawn = [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 5]
    assert drawn == list(curves.values())
    assert {(0.5, 50), (0.5, 55)} <= set(points(axes))
    assert [" ".join(text.split()) for text in texts(axes)] == ["55.00 b", "50.00 a"]
    assert len(axes.collections) == 1  # the band
    assert axes.get_xlim() == (0.1, 0.9) and axes.get_ylim() == (0, 100)
    (axes,) = draw_recall_axis(LEVELS, curves, mark=0.1).axes
    assert [" ".join(text.split()) for text in texts(axes)] == ["90.00 a", "60.00 b"]


TABLE = {
    "a": {"R@1": 60.0, "mAP": 40.0},
    "b": {"R@1": 58.0, "mAP": 45.0},
    "c": {"R@1": 58.0, "mAP": 10.0},
}


def test_ranks_are_by_value_and_ties_in_the_order_of_the_table():
    assert ranking(TABLE) == {"a": [1, 2], "b": [2, 1], "c": [3, 3]}


def test_ranking_draws_a_line_through_the_ranks_with_the_values_on_it():
    (axes,) = draw_ranking(TABLE).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 2], [2, 1], [3, 3]]
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["45.00"] == (1, 1) and places["40.00"] == (1, 2) and places["60.00"] == (0, 1)
    assert names(axes) == ["a", "b", "c"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first rank is on top


def test_an_interval_that_holds_zero_is_hollow():
    (axes,) = draw_intervals({"a - b": (1.0, -1.0, 3.0), "a - c": (3.0, 0.5, 5.0)}, "points", zero=0).axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert [list(line.get_xdata()) for line in lines] == [[-1, 3], [0.5, 5]]
    first, second = (line for line in axes.lines if line.get_marker() == "o")
    assert first.get_markerfacecolor() == "white" and second.get_markerfacecolor() != "white"
    assert list(axes.lines[0].get_xdata()) == [0, 0]
    assert names(axes) == ["a - b", "a - c"]


WINDOWS = {
    "first model": [(20.0, 44.0, 0.9), (80.0, 100.0, 0.45), (0.0, 10.0, 0.1)],
    "second model": [(70.0, 60.0, 0.9), (90.0, 100.0, 0.8)],
    "third model": [],
}


def test_predictions_are_bars_at_their_seconds_in_the_lane_of_their_model():
    (axes,) = draw_predictions(150, [(20, 40), (90, 100)], WINDOWS, "A cat", top=2).axes
    assert bars(axes, TRUTH) == [(20, 40), (90, 100)]
    assert bars(axes, PREDICTION) == [(20, 44), (80, 100), (90, 100)]
    assert names(axes) == ["truth", *WINDOWS]
    rows = {round(p.get_x(), 3): p.get_y() + p.get_height() / 2 for p in axes.patches}
    assert round(rows[80.0]) == 1 and axes.get_xlim() == (0, 150)
    assert axes.get_xlabel() == "time (s)"
    assert [text.get_text() for text in axes.figure.texts] == ["“A cat”"]


def test_a_long_query_stays_inside_the_picture():
    text = "Someone " + "walks slowly around the big red house and " * 4 + "leaves."
    figure = draw_predictions(150, [(20, 40)], {"a model with a name that is long": [(1, 2, 0.5)]}, text)
    figure.canvas.draw()
    (title,) = figure.texts
    box = title.get_window_extent()
    assert box.x0 > 0 and box.x1 < figure.bbox.x1
    assert box.y0 > figure.axes[0].get_window_extent().y1 - 1


def test_the_iou_beside_a_lane_is_that_of_its_first_window_also_where_it_runs_backwards():
    (axes,) = draw_predictions(150, [(20, 40), (90, 100)], WINDOWS, top=3).axes
    assert texts(axes) == ["0.83", "0.00", "", "IoU"]  # 20 / 24; (70, 60) runs backwards; no window


def test_lower_scores_are_paler_and_flatter():
    (axes,) = draw_predictions(150, [(20, 40)], {"m": WINDOWS["first model"]}, top=3).axes
    drawn = {p.get_x(): (p.get_height(), p.get_alpha()) for p in axes.patches if p.get_y() > 0.5}
    assert drawn[20.0] > drawn[80.0] > drawn[0.0]
    assert drawn[20.0][1] == 1


def test_saliency_stands_above_the_truth_in_seconds():
    strip, axes = draw_predictions(10, [(2, 4)], {"m": [(1, 3, 0.5)]}, saliency=[0, 1, 2, 3, 4]).axes
    assert strip.images[0].get_extent() == [0, 10, -0.5, 0.5]
    assert strip.images[0].get_clim() == (0, 4)
    assert list(np.asarray(strip.images[0].get_array())[0]) == [0, 1, 2, 3, 4]
    assert strip.get_xlim() == axes.get_xlim() == (0, 10)


def test_eight_models_have_eight_markers():
    assert len({(model_style(i)["color"], model_style(i)["marker"]) for i in range(72)}) == 72
    assert TRUTH not in {model_style(i)["color"] for i in range(8)}

"""The pictures of the contrastive loss show the numbers they are given, and colour what they are told."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from vmrlib.viz.contrast import (
    KINDS,
    draw_embeddings,
    draw_evaluations,
    draw_lines,
    draw_neighbours,
    draw_pairs,
    principal_plane,
)
from vmrlib.viz.real_data import model_style
from vmrlib.viz.style import TRUTH

KEYS = [
    {"text": "a", "kind": "its own", "hard": 70.0, "soft": 3.0, "model": 10.0, "frame": np.zeros((8, 8, 3))},
    {"text": "b", "kind": "true, counted as wrong", "hard": 0.0, "soft": 12.0, "model": 40.0, "frame": None},
    {"text": "c" * 60, "kind": "not true", "hard": 0.0, "soft": 1.0, "model": 2.0, "frame": None},
]
KEYS = [key | {"seconds": (2.0, 5.5)} for key in KEYS]


@pytest.fixture(autouse=True)
def no_open_figures():
    """Every test starts and ends without figures."""
    yield
    plt.close("all")


def bars(axes) -> list[tuple[float, float, float]]:
    """(left, width, row) of the bars, in the order they were drawn."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in found]


def test_pairs_show_every_value_and_frame_the_diagonal():
    values = np.array([[0.9, 0.2], [0.1, 0.7]])
    figure = draw_pairs(values, ["one", "two"], np.zeros((2, 8, 8, 3)), limits=(-1, 1))
    axes = figure.axes[0]
    assert np.allclose(axes.images[0].get_array(), values) and axes.images[0].get_clim() == (-1, 1)
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "0.90"), ((1, 0), "0.20"), ((0, 1), "0.10"), ((1, 1), "0.70"),
    }  # fmt: skip
    frames = [patch for patch in axes.patches if to_hex(patch.get_edgecolor()).upper() == TRUTH]
    assert [(patch.get_x() + 0.47, patch.get_y() + 0.45) for patch in frames] == [(0, 0), (1, 1)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["“one”", "“two”"]
    assert len(figure.axes) == 4  # the table, two frames, the scale


def test_pairs_refuse_another_number_of_sentences():
    with pytest.raises(ValueError, match="2 rows of values for 1 sentences"):
        draw_pairs(np.eye(2), ["one"])


def test_a_name_has_the_same_colour_in_all_panels():
    panels = {"loss": {"a": ([1, 2], [5.0, 4.0]), "b": ([1, 2], [3.0, 2.0])}, "recall": {"b": ([2], [40.0])}}
    figure = draw_lines(panels, marks={"loss": {"chance": 6.0}}, limits={"recall": (10, 70)})
    loss, recall = figure.axes
    first, second, level = loss.lines
    assert list(first.get_ydata()) == [5, 4] and list(second.get_xdata()) == [1, 2]
    assert list(level.get_ydata()) == [6, 6] and [text.get_text() for text in loss.texts] == ["chance"]
    assert recall.lines[0].get_color() == second.get_color() == model_style(1)["color"]
    assert recall.get_ylim() == (10, 70) and loss.get_ylim()[0] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_the_plane_is_that_of_the_largest_spread_and_its_sides_are_fixed():
    along = np.outer([-3.0, 0.0, 4.0], [0.0, 1.0, 0.0]) + np.outer([0.1, -0.2, 0.1], [1.0, 0.0, 0.0])
    plane = principal_plane(along)
    assert np.allclose(plane, principal_plane(along + 7))  # wherever they lie
    assert np.allclose(plane[:, 0], [-3 - 1 / 3, -1 / 3, 4 - 1 / 3], atol=0.02)  # the strongest is positive
    assert plane[:, 0].var() > plane[:, 1].var()


def test_embeddings_colour_the_groups_that_are_shown():
    sentences, moments = np.random.default_rng(0).normal(size=(2, 6, 4))
    groups = ["jumps", "falls", "jumps", "grows", "falls", "jumps"]
    figure = draw_embeddings({"before": (sentences, moments)}, groups, ["jumps", "falls"])
    (axes,) = figure.axes
    sizes = [len(points.get_offsets()) for points in axes.collections]
    assert sizes == [1, 3, 2, 1, 3, 2]  # rest, jumps, falls: of the sentences, then of the moments
    plane = principal_plane(np.concatenate([sentences, moments]))
    assert np.allclose(axes.collections[1].get_offsets(), plane[[0, 2, 5]])
    assert np.allclose(axes.collections[4].get_offsets(), plane[[6, 8, 11]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["jumps", "falls"]


def test_neighbours_stack_what_comes_from_labels_and_from_the_slow_encoders():
    figure = draw_neighbours("The star jumps.", KEYS, "3 keys")
    axes = figure.axes[0]
    assert [tuple(round(x, 6) for x in bar) for bar in bars(axes)] == [
        (0, 70, 0), (70, 3, 0), (0, 0, 1), (0, 12, 1), (0, 0, 2), (0, 1, 2),
    ]  # fmt: skip
    colours = [to_hex(patch.get_edgecolor()).upper() for patch in axes.patches[1::2]]
    assert colours == [KINDS[key["kind"]].upper() for key in KEYS]
    full = [to_hex(patch.get_facecolor()).upper() for patch in axes.patches[::2]]
    assert full == colours
    assert [line.get_xdata()[0] for line in axes.lines] == [10, 40, 2]
    assert [text.get_text() for text in axes.texts] == ["73.0", "12.0", "1.0"]
    assert axes.get_xlim()[1] > 73 and len(figure.axes) == 2  # one frame
    assert any(text.get_text() == "c" * 43 + "…" for text in figure.texts)
    assert sum(text.get_text() == "2.0 to 5.5 s" for text in figure.texts) == len(KEYS)


def test_evaluations_ring_the_best_and_mark_the_one_that_was_kept():
    figure = draw_evaluations({"val": [1.0, 3.0, 2.0], "test": [5.0, 4.0, 6.0]}, 1, "R@1", [10, 20, 30])
    (axes,) = figure.axes
    kept, val, best_val, test, best_test = axes.lines
    assert list(kept.get_xdata()) == [20, 20]
    assert list(val.get_ydata()) == [1, 3, 2] and list(test.get_xdata()) == [10, 20, 30]
    assert (best_val.get_xdata()[0], best_val.get_ydata()[0]) == (20, 3)
    assert (best_test.get_xdata()[0], best_test.get_ydata()[0]) == (30, 6)

"""The pictures of co-attention show the numbers they are given, at their true seconds and places."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from vmrlib.viz import TRUTH
from vmrlib.viz.coattention import (
    BOTH,
    VIDEO,
    WORDS,
    draw_blocks,
    draw_compared,
    draw_growth,
    draw_progress,
    draw_shares,
    draw_tradeoff,
)

FRAMES = np.zeros((12, 8, 8, 3), dtype=np.uint8)
TIMES = 1.0 + 2.0 * np.arange(12)
QUERY = ["the", "star", "jumps"]
LENGTHS = [33, 129, 513, 2049]


@pytest.fixture(autouse=True)
def no_open_figures():
    """Every test ends without figures."""
    yield
    plt.close("all")


def boxes(axes) -> list[tuple[float, str]]:
    """(middle across, colour) of the boxes, from left to right."""
    found = [(p.get_x() + p.get_width() / 2, to_hex(p.get_facecolor()).upper()) for p in axes.patches]
    return sorted((round(x, 6), colour) for x, colour in found)


def test_a_block_has_one_box_for_each_set_of_weights():
    released, msat, both_ways = draw_blocks({"released": "AAC", "MSAT": "M", "both": "B"}).axes
    assert boxes(released) == [(1, WORDS), (2, WORDS), (3, BOTH)]
    assert boxes(msat) == boxes(both_ways) == sorted([(1, WORDS), (1, VIDEO)])
    letters = [text.get_text() for text in released.texts if text.get_text() in ("A", "C")]
    assert letters == ["A", "A", "C"]
    assert [label.get_text() for label in msat.get_yticklabels()] == ["MSAT"]
    assert released.get_xlim() == msat.get_xlim()  # blocks stand below each other


def test_only_a_connected_block_reaches_the_video_of_the_asymmetric_encoder():
    (axes,) = draw_blocks({"released": "AAC"}).axes
    highest = {p.get_x() + p.get_width() / 2: p.get_y() + p.get_height() for p in axes.patches}
    assert [bool(top >= 1) for _, top in sorted(highest.items())] == [False, False, True]


def test_arrows_point_from_who_is_asked_to_who_asks():
    (axes,) = draw_blocks({"all": "AMBC"}).axes
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    found = sorted((round(arrow.xyann[0]), arrow.xyann[1], arrow.xy[1]) for arrow in arrows)
    both_ways = [(0.28, 0.72), (0.72, 0.28)]
    assert found == [(1, 1.0, 0.31), *((place, *ends) for place in (2, 3) for ends in both_ways)]


def test_shares_end_at_the_mean_of_the_heads_and_fill_the_rest():
    uniform = {"words, layer 1": 35, "points, layer 1": 36}
    (axes,) = draw_shares({"words, layer 1": [20, 40], "points, layer 1": [10, 10]}, uniform).axes
    bars = [(p.get_x(), p.get_width(), to_hex(p.get_facecolor()).upper()) for p in axes.patches]
    assert bars == [(0, 30, WORDS), (30, 70, VIDEO), (0, 10, WORDS), (10, 90, VIDEO)]
    dots = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    lines = [list(line.get_xdata()) for line in axes.lines if line.get_marker() != "o"]
    assert dots == [[20, 40], [10, 10]] and lines == [[35, 35], [36, 36]]
    assert axes.get_xlim() == (0, 100)


def test_compared_panels_share_seconds_and_colours():
    first, second = np.arange(15).reshape(3, 5) / 15, np.full((3, 9), 0.1)
    figure = draw_compared({"MSAT": first, "+ ACB": second}, QUERY, 24, [(5, 11)], FRAMES, TIMES, "A star")
    strip, _, upper, _, lower, _ = figure.axes
    for panel, matrix, half in ((upper, first, 3), (lower, second, 3)):
        (image,) = panel.images
        assert np.allclose(image.get_array(), matrix) and image.get_clim() == (0, pytest.approx(14 / 15))
        assert panel.get_xlim() == strip.get_xlim() == (-half, 24 + half)
        green = [line.get_xdata()[0] for line in panel.lines if to_hex(line.get_color()).upper() == TRUTH]
        assert green == [5, 11]
        assert [label.get_text() for label in panel.get_yticklabels()] == QUERY
    # every column stands around its own point: 6 s apart above, 3 s below
    assert upper.images[0].get_extent()[:2] == [-3, 27]
    assert lower.images[0].get_extent()[:2] == [-1.5, 25.5]
    assert lower.get_xlabel() == "time (s)"


def test_a_panel_without_attention_says_so():
    figure = draw_compared({"MSAT": np.ones((3, 5)), "A": None}, QUERY, 24)
    panel = figure.axes[3]
    assert not panel.images and [text.get_text() for text in panel.texts] == ["nobody asks this here"]
    headings = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert headings == ["MSAT", "A", "nobody asks this here"]


def test_only_panels_without_attention_can_be_drawn_and_other_words_are_refused():
    draw_compared({"A": None}, QUERY, 24)
    with pytest.raises(ValueError, match="MSAT: 2 rows for 3 words"):
        draw_compared({"MSAT": np.ones((2, 5))}, QUERY, 24)


def test_progress_shows_every_training_at_its_steps():
    (axes,) = draw_progress({"MSAT": ([100, 200], [20, 60]), "+ ACB": ([100, 200], [10, 30])}, "R@1").axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert lines == {"MSAT": ([100, 200], [20, 60]), "+ ACB": ([100, 200], [10, 30])}
    assert axes.get_xlim() == (0, 200) and axes.get_ylim() == (0, pytest.approx(66))


def test_tradeoff_puts_prices_across_and_errors_on_both_sides():
    (axes,) = draw_tradeoff({"MSAT": (4.0, 50.0, 2.0), "C": (2.0, 40.0, 1.0)}, "MFLOP", "R@1").axes
    markers = {
        line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"
    }
    assert markers == {"MSAT": [[4, 50]], "C": [[2, 40]]}
    errors = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "None"]
    assert errors == [[[4, 48], [4, 52]], [[2, 39], [2, 41]]]
    assert axes.get_xlim()[0] == 0


def test_growth_has_a_logarithmic_panel_for_each_cost_and_two_slopes_to_compare_with():
    costs = {"MSAT": [float(length**2) for length in LENGTHS], "ACB": [2.0 * length for length in LENGTHS]}
    figure = draw_growth(LENGTHS, {"GFLOP": costs, "seconds": {"ACB": costs["ACB"]}})
    first, second = figure.axes
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    linear, square, *models = first.lines
    assert [list(line.get_ydata()) for line in models] == list(costs.values())
    # both begin where the cheapest model does
    assert list(linear.get_ydata()) == pytest.approx([66 * length / 33 for length in LENGTHS])
    assert list(square.get_ydata()) == pytest.approx([66 * (length / 33) ** 2 for length in LENGTHS])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["GFLOP", "seconds"]
    assert len(second.lines) == 3 and second.lines[2].get_color() == models[1].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["MSAT", "ACB"]

"""A sentence finds its moment: the curve, the stretches, the command."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.cli import main
from vmrlib.data.video import write_video
from vmrlib.finding import find, moments_from_curve, similarity_curve


def test_the_stretch_that_stands_out_is_found_to_the_clip():
    curve = torch.tensor([0.1, 0.1, 0.9, 0.8, 0.9, 0.1, 0.1, 0.1])
    start, end, score = moments_from_curve(curve, seconds_per_clip=2.0, duration=16.0)[0]
    assert (start, end) == (4.0, 10.0)
    assert score > 2


def test_score_is_the_mean_difference_in_standard_errors():
    curve = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    start, end, score = moments_from_curve(curve, 1.0, 4.0, top=1)[0]
    # inside 1, outside 0, deviation sqrt(3)/4, n = 1 of 4: (1 - 0) * sqrt(3/4) / (sqrt(3)/4) = 2
    assert (start, end) == (2.0, 3.0)
    assert score == pytest.approx(2.0)


def test_best_stretch_equals_a_plain_search_over_all_stretches():
    curve = torch.rand(17, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    spread = float(curve.std(correction=0))
    best = max(
        (
            (curve[i:j].mean() - torch.cat([curve[:i], curve[j:]]).mean())
            * ((j - i) * (17 - j + i) / 17) ** 0.5
            / spread,
            i,
            j,
        )
        for i in range(17)
        for j in range(i + 1, 18)
        if j - i < 17
    )
    start, end, score = moments_from_curve(curve, 1.0, 17.0, top=1)[0]
    assert (start, end) == (best[1], best[2])
    assert score == pytest.approx(float(best[0]))


@pytest.mark.parametrize("curve", [[0.3], [0.5, 0.5, 0.5]])
def test_a_curve_without_a_peak_gives_the_whole_video(curve):
    assert moments_from_curve(torch.tensor(curve), 1.0, 2.7) == [(0.0, 2.7, 0.0)]


def test_a_curve_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        moments_from_curve(torch.tensor([0.1, float("nan")]), 1.0, 2.0)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=400), st.floats(0.1, 8))
def test_moments_lie_in_the_video_and_do_not_repeat(values, seconds_per_clip):
    duration = (len(values) - 0.4) * seconds_per_clip  # the last clip runs over the end
    moments = moments_from_curve(torch.tensor(values), seconds_per_clip, duration)
    assert 1 <= len(moments) <= 5
    for start, end, _ in moments:
        assert 0 <= start < end <= duration + 1e-9
    scores = [score for *_, score in moments]
    assert scores == sorted(scores, reverse=True)
    assert len({moment[:2] for moment in moments}) == len(moments)


def test_similarity_of_a_vector_with_itself_is_one():
    rows = torch.tensor([[1.0, 2.0], [-2.0, 1.0]])
    assert similarity_curve(rows, 3 * rows[0]).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """20 s without anybody but for 7 s to 13 s, when a yellow star stands on the meadow."""
    from vmrlib.data.stage.render import render
    from vmrlib.data.stage.world import Actor, Script

    def script(visible):
        states = np.zeros((2, 1, 6), dtype=np.int32)
        states[:] = (500, 600, 1000, 0, visible, 500)
        return Script("film", "meadow", 3, 100, (Actor("yellow", "star", 150),), (), (), states)

    empty, with_star = (render(script(visible), [0.0], size=128)[0] for visible in (0, 1000))
    frames = [with_star if 28 <= k < 52 else empty for k in range(80)]
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=4)


def test_find_returns_the_time_when_the_actor_is_there(film):
    found = find(film, "a yellow star in the middle")
    assert found.duration == pytest.approx(20, abs=0.05)
    assert len(found.times) == len(found.similarity) == 20
    start, end, _ = found.moments[0]
    assert (start, end) == (7, 13)


def test_command_prints_ranked_moments_and_draws_a_picture(film, tmp_path, capsys):
    picture = tmp_path / "deep" / "picture.png"
    assert main(["find", str(film), "a yellow star", "--json", "--out", str(picture), "--top", "2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 1 <= len(answer["pred_relevant_windows"]) <= 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in picture.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{film}", " "], "query is empty"),
        (["{film}", "a star", "--model", "baseline"], "cannot read sentences"),
        (["{film}", "a star", "--top", "0"], "--top"),
        (["{film}", "a star", "--out", "x.jpg"], ".png"),
        (["absent.mp4", "a star"], "absent.mp4"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(film, arguments, message, capsys):
    assert main(["find", *(word.format(film=film) for word in arguments)]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error and error.startswith("vmrlib find: ")

"""Bootstrap intervals: what they are where it can be said exactly, and what they must respect."""

import numpy as np
import pytest
import torch

from vmrlib.metrics import bootstrap_difference, bootstrap_interval, bootstrap_intervals


def test_values_that_are_all_equal_have_no_spread():
    assert bootstrap_interval([0.25] * 7) == (0.25, 0.25)


def test_the_interval_of_many_coin_flips_is_that_of_the_normal_distribution():
    hits = np.arange(1000) % 2
    low, high = bootstrap_interval(hits)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 1000**0.5, abs=0.004)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 1000**0.5, abs=0.004)


def test_two_queries_give_the_interval_of_their_four_resamples():
    # The means are 0, 1/2, 1/2 and 1, so 95 % of them reach from 0 to 1, and the middle 40 % are 1/2.
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_queries_of_one_video_are_drawn_together():
    values = np.repeat(np.arange(50) % 2, 20)
    videos = [f"v{number}" for number in np.repeat(np.arange(50), 20)]
    low, high = bootstrap_interval(values, videos)
    assert high - low > 4 * np.subtract(*bootstrap_interval(values)[::-1])
    assert (low, high) == pytest.approx(bootstrap_interval(np.arange(50) % 2), abs=0.02)


def test_large_videos_weigh_as_many_queries_as_they_have():
    # One video with three hits, one with one miss: the mean is 3/4 of it when each is drawn once.
    assert bootstrap_interval([1, 1, 1, 0], ["a", "a", "a", "b"], level=0.4) == (0.75, 0.75)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(40)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(torch.tensor(values), seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_columns_are_resampled_together_and_as_single_ones():
    values = np.random.default_rng(0).random((30, 3))
    together = bootstrap_intervals(values)
    assert together.shape == (3, 2)
    for column, interval in zip(values.T, together, strict=True):
        assert bootstrap_interval(column) == pytest.approx(tuple(interval))


def test_many_resamples_of_many_queries_are_drawn_in_parts():
    values = np.arange(30_000) % 2  # 2,000 resamples of them at once would take half a gigabyte
    low, high = bootstrap_interval(values, resamples=300)
    assert low < 0.5 < high
    assert high - low < 0.02


def test_a_paired_difference_is_sharper_than_two_intervals():
    hard = np.random.default_rng(0).random(400)
    a, b = (hard > 0.5) * 1.0, (hard > 0.55) * 1.0  # the same queries, 20 of which only a hits
    low, high = bootstrap_difference(a, b)
    assert 0 < low < (a - b).mean() < high
    assert bootstrap_difference(a, a) == (0, 0)
    assert bootstrap_interval(b)[1] > bootstrap_interval(a)[0]  # overlap: unpaired, nothing is shown


@pytest.mark.parametrize(
    ("values", "groups", "options", "message"),
    [
        ([], None, {}, "at least one value"),
        ([1.0, float("nan")], None, {}, "finite"),
        ([1.0, 2.0], ["a"], {}, "1 groups for 2 values"),
        ([1.0], None, {"level": 1.0}, "level must lie between 0 and 1"),
        ([[1.0]], None, {}, "one number a query"),
    ],
)
def test_what_has_no_interval_is_said(values, groups, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, groups, **options)


def test_pairs_must_fit():
    with pytest.raises(ValueError, match="paired values must have one shape"):
        bootstrap_difference([1.0], [1.0, 2.0])

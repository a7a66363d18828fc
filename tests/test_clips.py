"""Resampling, pooling, padding and labels on a clip grid: values worked by hand, and invariances."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.clips import (
    append_end_points,
    l2_normalise,
    limit_clips,
    pad,
    pool_boundary_points,
    resample_edges,
    resample_mean,
)


def column(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_edges_round_half_to_even_and_stop_before_the_last_row():
    # 5 rows, 2 clips: 0, 2.5 -> 2, 5 -> 4
    assert resample_edges(5, 2).tolist() == [0, 2, 4]


def test_last_row_is_left_out_of_the_mean():
    assert resample_mean(column(1, 3, 5, 7, 100), 2).flatten().tolist() == [2.0, 6.0]


def test_fewer_rows_than_clips_repeat():
    # edges of 2 rows in 4 clips: 0, .5 -> 0, 1, 1.5 -> 2 -> 1, 2 -> 1
    assert resample_mean(column(10, 20), 4).flatten().tolist() == [10.0, 10.0, 20.0, 20.0]


def test_one_row_fills_every_clip():
    assert resample_mean(column(7), 3).flatten().tolist() == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(("rows", "clips"), [(0, 4), (4, 0)])
def test_nothing_to_resample_is_an_error(rows, clips):
    with pytest.raises(ValueError, match=f"{rows} feature rows to {clips} clips"):
        resample_mean(torch.zeros(rows, 3), clips)


@given(st.integers(1, 400), st.integers(1, 300))
def test_resampling_equals_the_loop_it_replaces(rows, clips):
    features = torch.rand(rows, 3, generator=torch.Generator().manual_seed(rows))
    edges = resample_edges(rows, clips).tolist()
    loop = [features[a:b].mean(0) if a < b else features[a] for a, b in pairwise(edges)]
    torch.testing.assert_close(resample_mean(features, clips), torch.stack(loop))


def test_a_broken_row_stays_in_its_clip():
    features = column(1, float("nan"), 3, 4, 5, 6, 7, 8)
    assert resample_mean(features, 4).isnan().flatten().tolist() == [True, False, False, False]


def test_half_precision_is_averaged_in_single():
    features = torch.full((4096, 1), 60000.0, dtype=torch.float16)
    assert resample_mean(features, 1).item() == pytest.approx(60000, rel=1e-3)


def test_outer_boundary_points_average_zeros_too():
    pooled = pool_boundary_points(column(1, 2, 3, 4)[None], 2)
    assert pooled.flatten().tolist() == [0.5, 2.5, 2.0]  # (0 + 1) / 2, (2 + 3) / 2, (4 + 0) / 2


def test_an_odd_stride_is_refused():
    with pytest.raises(ValueError, match="stride 3 is odd"):
        pool_boundary_points(torch.zeros(1, 9, 2), 3)


def test_normalised_rows_have_norm_one_and_zero_rows_stay():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert l2_normalise(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert l2_normalise(rows, added=5.0)[0].tolist() == [pytest.approx(0.3), pytest.approx(0.4)]


def test_only_long_videos_are_resampled():
    short, long = torch.rand(128, 2), torch.rand(129, 2)
    assert limit_clips(short, 128) is short
    assert limit_clips(long, 128).shape == (128, 2)


def test_end_points_run_from_zero_to_one():
    marked = append_end_points(torch.zeros(4, 1))
    assert marked[:, 1].tolist() == [0.0, 0.25, 0.5, 0.75]
    assert marked[:, 2].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_padding_is_zero_and_outside_the_mask():
    padded, mask = pad([torch.ones(2, 3), torch.ones(4, 3)], 5)
    assert padded.shape == (2, 5, 3)
    assert mask.tolist() == [[True, True, False, False, False], [True, True, True, True, False]]
    assert padded.sum(-1).tolist() == [[3.0, 3.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0, 0.0]]


def test_padding_defaults_to_the_longest_and_refuses_what_does_not_fit():
    assert pad([torch.ones(2, 3), torch.ones(4, 3)])[0].shape == (2, 4, 3)
    with pytest.raises(ValueError, match="4 rows does not fit into 3"):
        pad([torch.ones(4, 3)], 3)

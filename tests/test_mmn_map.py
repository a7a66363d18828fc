"""The map of MMN: which moments it holds, what describes them, convolutions that know its holes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy_mmn import small_model

from vmrlib.models.mmn_config import MMNConfig
from vmrlib.models.mmn_proposals import MaskedConvolutions, MomentPooling, proposal_cells, window_shares


@pytest.mark.parametrize(
    ("preset", "moments"), [("charades", 136), ("activitynet", 1104), ("tacos", 2548), ("stage", 78)]
)
def test_the_published_maps_have_the_published_number_of_moments(preset, moments):
    # section 1.3 of the specification
    config = getattr(MMNConfig, preset)()
    assert len(proposal_cells(config.cells, config.pooling_counts)) == moments
    if preset != "stage":
        assert f"{moments:,} moments" in getattr(MMNConfig, preset).__doc__


def test_a_sparse_map_by_hand():
    # level 0: one diagonal; level 1: one diagonal 2 further, from every second clip
    cells = proposal_cells(6, (1, 1)).tolist()
    assert cells[:6] == [[0, 0], [0, 1], [0, 3], [1, 1], [1, 2], [2, 2]]
    assert cells[6:] == [[2, 3], [2, 5], [3, 3], [3, 4], [4, 4], [4, 5], [5, 5]]


def test_a_moment_is_described_by_the_largest_value_of_its_clips():
    clips = torch.tensor([[[3.0, -1.0, 2.0, 5.0, 4.0, -7.0]]])
    cells = torch.tensor([[0, 0], [0, 2], [1, 1], [1, 2], [1, 5], [4, 5], [5, 5]])
    found = MomentPooling(cells, 6, "cpu")(clips)
    assert found.tolist() == [[[3.0, 3.0, -1.0, 2.0, 5.0, 4.0, -7.0]]]


def test_all_of_a_model_is_on_the_default_device():
    with torch.device("meta"):  # a device that every machine has
        model = small_model()
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}


def test_each_layer_divides_by_the_filled_cells_under_its_window():
    mask = torch.tensor([[True, True], [False, True]])
    first, second = window_shares(mask, kernel=3, layers=2)
    # padded by 2: the map grows to 4 x 4, and its corner below the diagonal sees nothing
    assert first.tolist()[0] == [1, 0.5, 0.5, 1] and first[3, 0] == 0 and first[1, 1] == pytest.approx(1 / 3)
    # the mask has grown: 15 of these 16 are filled, and the lower left window misses the empty one
    torch.testing.assert_close(second, torch.tensor([[1 / 9, 1 / 9], [1 / 8, 1 / 9]]))


def test_convolutions_keep_the_size_of_the_map():
    for kernel, layers in ((3, 1), (5, 3), (9, 2)):
        mask = torch.ones(6, 6).triu().bool()
        maps = MaskedConvolutions(mask, 2, 3, kernel, layers).eval()(torch.randn(1, 2, 6, 6))
        assert maps.shape == (1, 3, 6, 6)


@pytest.mark.parametrize(("preset", "expected"), [("charades", 103), ("activitynet", 997)])
def test_the_convolutions_cost_what_the_released_ones_cost(preset, expected):
    config = getattr(MMNConfig, preset)()
    with torch.device("meta"):  # sizes without numbers
        mask = torch.ones(config.cells, config.cells, dtype=torch.bool)
        convolutions = MaskedConvolutions(
            mask, config.dim, config.dim_maps, config.kernel, config.layers
        ).eval()
        with FlopCounterMode(display=False) as counter:
            convolutions(torch.zeros(1, config.dim, config.cells, config.cells))
    assert counter.get_total_flops() / 1e9 == pytest.approx(expected, rel=0.005)

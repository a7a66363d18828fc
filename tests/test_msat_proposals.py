"""The other descriptions of a moment: each is what its name says, and learns like MSAT's own."""

import pytest
import torch

from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.msat_proposals import HEADS, EndPointHead, MaxHead, MeanHead

CELLS = torch.tensor([[0, 3], [2, 6], [4, 1], [5, 5]])
FEATURES = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))  # start | end | middle of 4 each


def answers(head, described):
    return head.out(torch.relu(head.hidden(described)))


def points_between(cell):
    return FEATURES[:, min(cell) : max(cell) + 1, 8:]


@pytest.mark.parametrize(
    ("make", "describe"),
    [
        (MeanHead, lambda cell: points_between(cell).mean(dim=1)),
        (MaxHead, lambda cell: points_between(cell).amax(dim=1)),
        (EndPointHead, lambda cell: torch.cat([FEATURES[:, cell[0], :4], FEATURES[:, cell[1], 4:8]], dim=1)),
    ],
)
def test_a_moment_is_described_as_the_head_says_reversed_ones_included(make, describe):
    head = make(4, 5, 0.0)
    found = head(head.table(FEATURES), CELLS)
    assert found.shape == (2, 4, 3)
    for number, cell in enumerate(CELLS.tolist()):
        torch.testing.assert_close(found[:, number], answers(head, describe(cell)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_moments_of_single_samples_are_those_of_the_whole_batch(name):
    head = HEADS[name](4, 5, 0.0)
    table, sample = head.table(FEATURES), torch.tensor([1, 0, 1, 0])
    both = head(table, CELLS)
    torch.testing.assert_close(head(table, CELLS, sample), both[sample, torch.arange(4)])


@pytest.mark.parametrize("name", ["stages", *HEADS])
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    config = MSATConfig.stage(dim_video=6, dim_words=5, vocabulary=9, dim=8, heads=2, proposals=name)
    model = MSAT(config).train()
    mask = torch.ones(3, 4, dtype=torch.bool)
    batch = {
        "video": torch.randn(3, config.clips, 6),
        "words": torch.randn(3, 4, 5),
        "word_mask": mask,
        "duration": torch.full((3,), 24.0, dtype=torch.float64),
        "moments_cell": torch.tensor([[1.0, 4.0], [3.0, 9.5], [6.2, 6.9]], dtype=torch.float64),
        "hidden_words": mask & torch.tensor([True, False, False, True]),
        "word_labels": torch.randint(1, 9, (3, 4)),
    }
    model.loss(model(batch), batch)["total"].backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert untouched == []


def test_an_unknown_description_is_named():
    with pytest.raises(ValueError, match=r"proposals must be stages, .*not 'median'"):
        MSATConfig.stage(proposals="median")

"""What choosing a checkpoint on the test split is worth, read from kept evaluations."""

import pytest

from vmrlib.ablation import ResultsError
from vmrlib.selection import choices


def results_of(val, hits):
    runs = {"0": {"step": list(range(len(val))), "val": val, "hits": hits}}
    return {"arms": {"MSAT": {"runs": runs}}}


def test_three_ways_to_choose_a_checkpoint():
    # R@1 on test at four evaluations: 25, 100, 50, 75; val is best at the third
    (found,) = choices(results_of([10.0, 20.0, 40.0, 30.0], ["1000", "1111", "1100", "1110"]), "MSAT")
    assert (found.on_test, found.on_val, found.last) == (100.0, 50.0, 75.0)
    assert found.mean == pytest.approx(62.5)  # of the later half
    assert found.deviation == pytest.approx(17.678, abs=1e-3)


def test_of_equal_evaluations_on_val_the_first_counts():
    (found,) = choices(results_of([40.0, 40.0], ["10", "11"]), "MSAT")
    assert found.on_val == 50.0


def test_an_arm_that_is_not_there_is_named():
    with pytest.raises(ResultsError, match="no arm 'ACB'; there are MSAT"):
        choices(results_of([1.0], ["1"]), "ACB")

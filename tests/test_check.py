"""`check` accepts what is right, says what is wrong, and refuses borrowed answers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from vmrlib.check import called_names, check, difference, mentions_vmrlib

T = torch.tensor


@pytest.fixture
def shell():
    """An IPython shell, in which cells are run as in a notebook."""
    shell = InteractiveShell.instance()
    shell.run_cell("from vmrlib.check import check\nimport torch")
    yield shell
    shell.run_cell("None")  # the counts of this test end with its last cell
    InteractiveShell.clear_instance()


def run(shell, source: str):
    """The error of a cell, or None."""
    result = shell.run_cell(source)
    return result.error_in_exec or result.error_before_exec


RIGHT = [
    (T([1.0, 2.0]), T([1.0, 2.0 + 1e-6])),
    (T([1.0, float("nan")]), T([1.0, float("nan")])),
    (T([[1, 2]]), T([[1, 2]], dtype=torch.int32)),
    (T([1.0], dtype=torch.float64), T([1.0])),
    (T([True, False]), T([True, False])),
    (torch.zeros(0, 2), torch.zeros(0, 2)),
    (T(1.0, requires_grad=True), T(1.0)),
    (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
    (0.1 + 0.2, 0.3),
    (2, 2.0),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (True, True),
    ("a cat", "a cat"),
    (None, None),
    ([1, 2.0, "x"], (1, 2.0, "x")),
    ((T([1.0]), T([2.0])), (T([1.0]), T([2.0]))),
    ({"spans": T([1.0]), "n": 2}, {"spans": T([1.0]), "n": 2}),
    ({1, 2}, {2, 1}),
    ([], []),
    (float("inf"), float("inf")),
]


@pytest.mark.parametrize(("got", "expected"), RIGHT)
def test_what_agrees_passes(got, expected, capsys):
    check("1.1", got, expected)
    assert capsys.readouterr().out == "1.1, case 1: correct\n"


WRONG = [
    (None, T([1.0]), "is a `return` missing"),
    (None, 1.0, "is a `return` missing"),
    ([1.0], T([1.0]), "got a list, expected a tensor of shape (1,)"),
    (np.array([1.0]), T([1.0]), "got an array of shape (1,), expected a tensor"),
    (T([1.0]), np.array([1.0]), "got a tensor of shape (1,), expected an array"),
    (T(1.0), 1.0, "add `.item()`"),
    (1.0, 1, "got a float, expected an int"),
    (True, 1, "got a bool, expected an int"),
    (1, True, "got an int, expected a bool"),
    (3, 4, "got 3, expected 4"),
    (0.5, 0.75, "got 0.5, expected 0.75"),
    ("a dog", "a cat", "got 'a dog', expected 'a cat'"),
    (1, "1", "got an int, expected a string"),
    ("ab", ["a", "b"], "got a string, expected a list"),
    ([1, 2], [1, 2, 3], "2 items, expected 3"),
    ([1, 5], [1, 2], "item 1: got 5, expected 2"),
    ({"a": 1}, {"b": 1}, "missing ['b'], not asked for ['a']"),
    ({"a": 1}, {"a": 2}, "key 'a': got 1, expected 2"),
    (torch.zeros(3, 2), torch.zeros(2, 3), "are two axes swapped"),
    (torch.zeros(3), torch.zeros(1, 3), "an axis of length 1 is missing"),
    (torch.zeros(1, 3), torch.zeros(3), "an axis of length 1 is too many"),
    (T(0.0), torch.zeros(4), "was an axis reduced"),
    (torch.zeros(4, 2), torch.zeros(4), "must be reduced"),
    (torch.zeros(4), torch.zeros(5), "the shape is (4,), expected (5,)"),
    (T([1, 2]), T([1.0, 2.0]), "integers (torch.int64), expected floats"),
    (T([1.0, 0.0]), T([True, False]), "floats (torch.float32), expected booleans"),
    (T([False, True]), T([True, False]), "opposite"),
    (T([0.0, float("nan")]), T([0.0, 0.0]), "NaN at (1,)"),
    (T([0.0, float("inf")]), T([0.0, 0.0]), "infinite"),
    (T([0.5, 0.5]), T([0.1, 0.9]), "every value is 0.5"),
    (T([[1.0, 2.0], [3.0, 4.0]]), T([[1.0, 3.0], [2.0, 4.0]]), "transposed"),
    (T([3.0, 1.0, 2.0]), T([1.0, 2.0, 3.0]), "another order"),
    (T([-1.0, -2.0]), T([1.0, 2.0]), "the sign is wrong"),
    (T([0.9, 0.2]), T([0.1, 0.8]), "one minus"),
    (T([0.5, -0.3]), T([0.5, 0.0]), "clamp"),
    (T([2.0, 4.0, 0.0]), T([1.0, 2.0, 0.0]), "2 times"),
    (T([2.0, 3.5]), T([1.0, 2.5]), "off by +1"),
    (T([1.0, 2.0, 3.0]), T([1.0, 2.0, 3.5]), "the values differ"),
]


@pytest.mark.parametrize(("got", "expected", "diagnosis"), WRONG)
def test_what_differs_is_diagnosed(got, expected, diagnosis):
    with pytest.raises(AssertionError) as error:
        check("1.1", got, expected, hint="think of seconds")
    message = str(error.value)
    assert diagnosis in message
    assert message.startswith("1.1, case 1: ")
    assert message.endswith("\nHint: think of seconds")


def test_numbers_of_torch_and_both_tensors_are_in_the_message():
    message = difference(T([1.0, 2.0, 3.0]), T([1.0, 2.0, 3.5]))
    assert "Mismatched elements: 1 / 3" in message
    assert "got      [1.0, 2.0, 3.0]\nexpected [1.0, 2.0, 3.5]" in message


def test_large_tensors_are_not_printed():
    assert "got  " not in difference(torch.zeros(100), torch.arange(100.0))


def test_tolerance_is_the_callers():
    assert difference(T([1.0]), T([1.05]), atol=0.1) is None
    assert difference(T([1.0]), T([1.05])) is not None


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8), st.data())
def test_a_changed_number_is_always_found(values, data):
    expected = T(values)
    index = data.draw(st.integers(0, len(values) - 1))
    got = expected.clone()
    got[index] += 1.0
    assert difference(expected.clone(), expected) is None
    assert difference(got, expected) is not None


def test_cases_are_counted_in_each_cell_and_again_when_it_is_run_again(shell, capsys):
    cell = "for n in (1, 2):\n    check('1.1', n, n)\ncheck('1.2', 3, 3)"
    for _ in range(2):
        assert run(shell, cell) is None
        said = capsys.readouterr().out
        assert said == "1.1, case 1: correct\n1.1, case 2: correct\n1.2, case 1: correct\n"


def test_a_failure_names_its_case(shell):
    error = run(shell, "check('1.1', 1, 1)\ncheck('1.1', 1, 2)")
    assert str(error).startswith("1.1, case 2: got 1, expected 2")


OWN = "def tiou(a, b):\n    return a + b"
BORROWED = [
    "def tiou(a, b):\n    from vmrlib.moments import temporal_iou\n    return temporal_iou(a, b)",
    "from vmrlib.moments import temporal_iou\ndef tiou(a, b):\n    return temporal_iou(a, b)",
    "import vmrlib.moments as m\ndef tiou(a, b):\n    return m.temporal_iou(a, b)",
    "def tiou(a, b):\n    return __import__('vmrlib.moments').moments.temporal_iou(a, b)",
    "from vmrlib.moments import temporal_iou as tiou",
]


@pytest.mark.parametrize("cell", BORROWED)
def test_an_answer_that_calls_vmrlib_is_refused(shell, cell):
    boxes = "a = torch.tensor([[0.0, 1.0]])\n"
    assert run(shell, cell) is None
    error = run(shell, boxes + "check('1.1', tiou(a, a), torch.tensor([[1.0]]))")
    assert isinstance(error, AssertionError)
    assert "vmrlib" in str(error)


def test_a_helper_of_the_check_cell_does_not_hide_a_borrowed_answer(shell):
    assert (
        run(
            shell,
            "from vmrlib.moments import temporal_iou\ndef pair(x):\n    return torch.tensor([[0.0, x]])",
        )
        is None
    )
    assert "vmrlib" in str(run(shell, "check('1.1', temporal_iou(pair(1.0), pair(1.0)), torch.ones(1, 1))"))


def test_ones_own_answer_is_accepted_beside_other_cells_with_vmrlib(shell):
    assert run(shell, "from vmrlib.moments import temporal_iou\nimport vmrlib") is None
    assert run(shell, OWN) is None
    assert run(shell, "check('1.1', tiou(1, 1), 2)") is None


def test_a_class_that_calls_vmrlib_is_refused(shell):
    cell = "class Best:\n    def __call__(self, a):\n        import vmrlib.moments\n        return 1"
    assert run(shell, cell) is None
    assert "vmrlib" in str(run(shell, "check('1.1', Best()(0), 1)"))
    assert "vmrlib" in str(run(shell, "best = Best()\ncheck('1.1', best(0), 1)"))


def test_called_names_are_those_of_the_checked_expression():
    source = "check('1', f(g(1)), h(2))\ncheck(\n    '2', model.forward(x),\n    3)"
    assert called_names(source, 1) == ["f", "g"]
    assert called_names(source, 2) == ["model"]
    assert called_names("%magic", 1) == []


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("import vmrlib", True),
        ("from vmrlib.moments import f", True),
        ("x = __import__('vmrlib')", True),
        ("torch.x.vmrlib", True),
        ("# vmrlib has it\nx = 1", False),
        ('def f():\n    """As in vmrlib."""', False),
        ("from torch import vmr", False),
    ],
)
def test_mentions_of_vmrlib_are_found_in_code_only(source, answer):
    assert mentions_vmrlib(source) is answer

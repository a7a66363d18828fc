"""`check(number, got, expected)` for the check cells: silent numbers in, a diagnosis out.

It looks at the type, then the shape, then the kind of numbers, then the values, and says what is
likely wrong. It also refuses an answer that only calls vmrlib, which holds the solutions.
"""

import ast
import linecache
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import FrameType, FunctionType, ModuleType, NoneType

import numpy as np
import torch
from torch import Tensor

SHOWN = 12  # arrays of up to this many numbers are printed whole
_passed: Counter[str] = Counter()  # per exercise; emptied when a cell starts


def check(number: str, got, expected, hint: str = "", atol: float = 1e-5) -> None:
    """Print that this case of exercise `number` is correct, or raise AssertionError with a diagnosis.

    `expected` is a tensor, array, number, bool, string, None, or a sequence or dict of these. Write the
    call of the exercise into the check itself, `check("2.1", temporal_iou(a, b), ...)`: so it is seen
    whose function was called.
    """
    problem = borrowed(sys._getframe(1)) or difference(got, expected, atol)
    passed = _passed_in_this_cell()
    case = passed[number] + 1
    if problem:
        raise AssertionError(f"{number}, case {case}: {problem}" + (f"\nHint: {hint}" if hint else ""))
    passed[number] = case
    print(f"{number}, case {case}: correct")


def difference(got, expected, atol: float = 1e-5) -> str | None:
    """What is wrong with `got`, in words, or None where it agrees with `expected`."""
    if isinstance(expected, Tensor | np.ndarray):
        return _array_difference(got, expected, atol)
    if got is None and expected is not None:
        return f"the function returned None, expected {_kind(expected)}: is a `return` missing?"
    if expected is None:
        return None if got is None else f"got {_kind(got)}, expected None"
    if isinstance(expected, bool | str | bytes):
        same_kind = (
            isinstance(got, bool | np.bool_) if isinstance(expected, bool) else type(got) is type(expected)
        )
        if not same_kind:
            return _wrong_kind(got, expected)
        return None if got == expected else f"got {_short(got)}, expected {_short(expected)}"
    if isinstance(expected, Real):
        return _number_difference(got, expected, atol)
    if isinstance(expected, Mapping):
        return _mapping_difference(got, expected, atol)
    if isinstance(expected, Sequence):
        return _sequence_difference(got, expected, atol)
    return None if got == expected else f"got {_short(got)}, expected {_short(expected)}"


def _array_difference(got, expected: Tensor | np.ndarray, atol: float) -> str | None:
    if got is None or not isinstance(got, type(expected)):
        if got is None:
            return f"the function returned None, expected {_kind(expected)}: is a `return` missing?"
        return _wrong_kind(got, expected)
    if tuple(got.shape) != tuple(expected.shape):
        return _shape_problem(tuple(got.shape), tuple(expected.shape))
    got, expected = torch.as_tensor(got).detach(), torch.as_tensor(expected).detach()
    if _number_kind(got) != _number_kind(expected):
        return f"the numbers are {_number_kind(got)} ({got.dtype}), expected {_number_kind(expected)}"
    got, expected = (x.cpu() if x.dtype == torch.bool else x.cpu().double() for x in (got, expected))
    try:
        torch.testing.assert_close(
            got,
            expected,
            atol=atol,
            rtol=1e-5,
            equal_nan=True,
            msg=lambda numbers: (
                f"{_value_problem(got, expected, atol)}\n{numbers.strip()}\n{_both(got, expected)}"
            ),
        )
    except AssertionError as error:
        return str(error)
    return None


def _number_difference(got, expected: Real, atol: float) -> str | None:
    wanted = Integral if isinstance(expected, Integral) else Real
    if isinstance(got, bool | np.bool_) or not isinstance(got, wanted):
        if isinstance(got, Tensor | np.ndarray) and got.ndim == 0:
            return f"got {_kind(got)} with one number, expected {_kind(expected)}: add `.item()`"
        return _wrong_kind(got, expected)
    if wanted is Integral:
        return None if got == expected else f"got {got}, expected {expected}"
    problem = _array_difference(
        torch.tensor(float(got)).double(), torch.tensor(float(expected)).double(), atol
    )
    return problem and f"{problem.splitlines()[0]}\ngot {float(got):.6g}, expected {float(expected):.6g}"


def _mapping_difference(got, expected: Mapping, atol: float) -> str | None:
    if not isinstance(got, Mapping):
        return _wrong_kind(got, expected)
    missing, extra = [k for k in expected if k not in got], [k for k in got if k not in expected]
    if missing or extra:
        parts = [f"{word} {keys}" for word, keys in (("missing", missing), ("not asked for", extra)) if keys]
        return f"the keys differ: {', '.join(parts)}"
    problems = ((key, difference(got[key], expected[key], atol)) for key in expected)
    return next((f"key {key!r}: {problem}" for key, problem in problems if problem), None)


def _sequence_difference(got, expected: Sequence, atol: float) -> str | None:
    if not isinstance(got, Sequence) or isinstance(got, str | bytes):
        return _wrong_kind(got, expected)
    if len(got) != len(expected):
        return f"{len(got)} items, expected {len(expected)}\ngot {_short(got)}\nexpected {_short(expected)}"
    problems = ((i, difference(*pair, atol)) for i, pair in enumerate(zip(got, expected, strict=True)))
    return next((f"item {index}: {problem}" for index, problem in problems if problem), None)


def _shape_problem(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    said = f"the shape is {got}, expected {expected}"
    if sorted(got) == sorted(expected):
        return f"{said}: are two axes swapped?"
    if [n for n in got if n != 1] == [n for n in expected if n != 1]:
        word = (
            "missing" if len(got) < len(expected) else "too many" if len(got) > len(expected) else "misplaced"
        )
        return f"{said}: an axis of length 1 is {word}"
    if len(got) < len(expected):
        return f"{said}: was an axis reduced that must stay, or indexed away?"
    if len(got) > len(expected):
        return f"{said}: was an axis left that must be reduced?"
    return said


def _value_problem(got: Tensor, expected: Tensor, atol: float) -> str:
    """The likeliest reason why two tensors of one shape differ."""
    if got.dtype == torch.bool:
        return (
            "it is the opposite: True and False are swapped"
            if bool((got != expected).all())
            else "values differ"
        )

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, atol=max(atol, 1e-6), rtol=1e-4, equal_nan=True)

    bad = got.isnan() & ~expected.isnan()
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        return f"NaN at {where}: a division 0 / 0, or a softmax or mean over nothing?"
    if (got.isinf() & ~expected.isinf()).any():
        return "infinite values: a division by 0, or a mask of -inf that was never taken off?"
    if got.numel() > 1 and same(got, got.flatten()[0].expand_as(got)) and not same(expected, got.mean()):
        return f"every value is {got.flatten()[0]:.4g}: the answer does not depend on the input here"
    if got.ndim == 2 and got.shape[0] == got.shape[1] and got.shape[0] > 1 and same(got.T, expected):
        return "the matrix is transposed"
    if got.numel() > 1 and same(got.flatten().sort().values, expected.flatten().sort().values):
        return "the values are right but in another order"
    if same(-got, expected):
        return "the sign is wrong"
    if same(1 - got, expected):
        return "got one minus the answer"
    if ((expected == 0) & (got < -atol)).any() and same(got.clamp(min=0), expected):
        return "negative values where 0 is expected: is a clamp missing?"
    if (ratio := _constant((got / expected)[expected.abs() > atol])) and same(got, expected * ratio):
        return f"every value is {ratio:.4g} times the expected one"
    if got.numel() > 1 and (offset := _constant(got - expected)):
        return f"every value is off by {offset:+.4g}"
    return "the values differ"


def _constant(values: Tensor) -> float | None:
    """The one number that all values equal, if more than one value is there to say so."""
    if len(values.flatten()) < 1 or not torch.isfinite(values).all():
        return None
    first = values.flatten()[0]
    return first.item() if torch.allclose(values, first.expand_as(values), atol=1e-6, rtol=1e-4) else None


def _number_kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "booleans"
    return "floats" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "integers"


def _kind(value) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{'a tensor' if isinstance(value, Tensor) else 'an array'} of shape {tuple(value.shape)}"
    name = {"str": "string", "NoneType": "None"}.get(type(value).__name__, type(value).__name__)
    return name if name == "None" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _wrong_kind(got, expected) -> str:
    return f"got {_kind(got)}, expected {_kind(expected)}"


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _both(got: Tensor, expected: Tensor) -> str:
    if got.numel() > SHOWN:
        return ""

    def written(tensor: Tensor) -> str:
        rounded = tensor if tensor.dtype == torch.bool else (tensor * 1e4).round() / 1e4
        return str(rounded.tolist())

    return f"got      {written(got)}\nexpected {written(expected)}"


def borrowed(caller: FrameType) -> str | None:
    """Why the answer checked by this frame is not the reader's own, or None.

    Follows the source of notebook cells: the outermost function called in `got` must be defined in
    the notebook, and the cells of all that are called there must not mention vmrlib.
    """
    namespace = caller.f_globals
    names = called_names("".join(linecache.getlines(caller.f_code.co_filename)), caller.f_lineno)
    called = [
        (name, namespace[name])
        for name in names
        if not isinstance(namespace.get(name), ModuleType | NoneType)
    ]
    for position, (name, value) in enumerate(called):
        home = str(getattr(value, "__module__", ""))
        if position == 0 and home.startswith("vmrlib"):
            return f"`{name}` is vmrlib's, not yours: run your own cell, then this one again"
        if home == namespace["__name__"] and any(map(mentions_vmrlib, sources_of(value))):
            return f"`{name}` uses vmrlib: the exercise is to write it"
    return None


def sources_of(value) -> set[str]:
    """The cells or files that hold the code of a function, a class, or an object of that class."""
    kind = value if isinstance(value, type | FunctionType) else type(value)
    code = [getattr(part, "__code__", None) for part in (kind, *vars(kind).values())]
    return {"".join(linecache.getlines(part.co_filename)) for part in code if part is not None}


def called_names(source: str, line: int) -> list[str]:
    """Names of the functions called in the second argument of the `check` on this line."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with %magic
        return []
    checks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
        if node.lineno <= line <= node.end_lineno and len(node.args) > 1
    ]
    calls = (node.func for check in checks for node in ast.walk(check.args[1]) if isinstance(node, ast.Call))
    return list(
        dict.fromkeys(name.id for call in calls for name in ast.walk(call) if isinstance(name, ast.Name))
    )


def mentions_vmrlib(source: str) -> bool:
    """Does the code use vmrlib by import, name or string? Comments and docstrings do not count."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        words = {
            ast.Name: lambda n: [n.id],
            ast.Attribute: lambda n: [n.attr],
            ast.Import: lambda n: [alias.name for alias in n.names],
            ast.ImportFrom: lambda n: [n.module or ""],
            ast.Constant: lambda n: [n.value] if isinstance(n.value, str) and id(n) not in prose else [],
        }.get(type(node), lambda n: [])(node)
        if any("vmrlib" in word for word in words):
            return True
    return False


def _passed_in_this_cell() -> Counter[str]:
    """Cases passed so far in the running cell; outside IPython every call counts by itself."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return Counter()
    shell.events.register("pre_run_cell", _new_cell)  # a second registration changes nothing
    return _passed


def _new_cell(info) -> None:
    _passed.clear()

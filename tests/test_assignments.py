"""The checks of every notebook pass with our solution, fail on the stub and refuse typical mistakes."""

import importlib.util
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
from wrong_answers import WRONG_ANSWERS

from vmrlib.check import mentions_vmrlib
from vmrlib.grade import is_imports
from vmrlib.sandbox import CellError, Sandbox

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks" / "src").glob("[0-9A][0-9]_*.py"))
SECONDS = 180
BLOCK = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)[ \t]*# END SOLUTION[^\n]*", re.DOTALL | re.MULTILINE)


def load_build():
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


def answered(source: str, body: str) -> str:
    """An exercise cell with other lines between its markers."""
    return BLOCK.sub(lambda block: textwrap.indent(body.strip("\n"), block[1]), source)


def outcome(sandbox: Sandbox, *cells: str) -> str:
    """The error that these cells end in, or nothing."""
    try:
        for cell in cells:
            sandbox.run(cell, SECONDS)
    except CellError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source.stem)
def trial(request) -> tuple[str, dict[str, dict[str, str]], dict[str, int]]:
    """(notebook, exercise -> answer -> error, exercise -> cases): all answers, tried in one kernel."""
    notebook = build.read_source(request.param)
    results, cases, solution = {}, {}, None
    with Sandbox() as sandbox:
        for index, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
            tags = cell.metadata.get("tags", [])
            if "exercise" in tags:
                solution = cell.source
            elif "check" in tags:
                name = cell.id.removeprefix("check-")
                wrong = WRONG_ANSWERS.get(request.param.stem, {}).get(name, {})
                bodies = {"stub": "raise NotImplementedError"} | wrong
                tried = {
                    k: outcome(sandbox, answered(solution, body), cell.source) for k, body in bodies.items()
                }
                results[name] = tried | {"ours": outcome(sandbox, solution, cell.source)}
                counted = re.sub(r"\bcheck\(", "__count(", cell.source)
                counter = "__n = []\ndef __count(*a, **k):\n    __n.append(a)\n"
                cases[name] = sandbox.run(counter + counted, SECONDS, "len(__n)")
            elif index == 0 or is_imports(cell.source):
                sandbox.run(cell.source, SECONDS)
    return request.param.stem, results, cases


def test_every_check_passes_with_our_solution(trial):
    _, results, _ = trial
    assert {name: tried["ours"] for name, tried in results.items() if tried["ours"]} == {}


def test_every_check_fails_on_the_stub(trial):
    _, results, _ = trial
    assert all(tried["stub"] == "not done" for tried in results.values())


def test_every_check_refuses_the_typical_mistakes(trial):
    _, results, _ = trial
    wrong = {(name, answer): error for name, tried in results.items() for answer, error in tried.items()}
    passed = [key for key, error in wrong.items() if not error and key[1] != "ours"]
    assert passed == []
    diagnosed = {key: error for key, error in wrong.items() if key[1] not in ("ours", "stub")}
    assert {key: error for key, error in diagnosed.items() if not error.startswith("AssertionError")} == {}


def test_every_exercise_lists_mistakes_among_them_a_constant_and_a_call_of_vmrlib(trial):
    notebook, results, _ = trial
    listed = WRONG_ANSWERS.get(notebook, {})
    assert set(listed) == set(results)
    for name, wrong in listed.items():
        assert len(wrong) >= 3 and {"constant", "vmrlib"} <= set(wrong), name
        assert "vmrlib" in results[name]["vmrlib"], f"{name}: the check does not see the call of vmrlib"


def test_every_check_has_at_least_three_cases(trial):
    _, _, cases = trial
    assert {name: count for name, count in cases.items() if count < 3} == {}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_assignments_are_those_of_the_sources(source):
    student = nbformat.read(ROOT / "assignments" / f"{source.stem}.ipynb", as_version=4)
    assert student == nbformat.from_dict(build.student_version(build.read_source(source)))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_exercises_are_four_to_fifteen_lines_with_a_docstring_and_a_hint(source):
    notebook = build.read_source(source)
    exercises = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.id.startswith("exercise-")]
    assert 3 <= len(exercises) <= 5
    for index, cell in exercises:
        lines = [
            line for block in BLOCK.finditer(cell.source) for line in block[2].splitlines() if line.strip()
        ]
        assert 4 <= len(lines) <= 15, f"{cell.id}: {len(lines)} lines"
        assert '"""' in cell.source and not mentions_vmrlib(cell.source), cell.id
        task = notebook.cells[index - 1]
        assert task.cell_type == "markdown", cell.id
        assert re.search(r"### Exercise A?\d+\.\d+ · .+ \*\(\d+ min, [★☆]{3}\)\*", task.source), cell.id
        assert re.search(r"</summary>\n\n.*\n\n</details>", task.source, re.DOTALL), cell.id

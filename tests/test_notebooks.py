"""Every notebook is in step with its source, and within the limits of the course's style."""

import importlib.util
import re
import statistics
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
KILOBYTES = 600


def load_build():
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()
SOURCES = sorted((ROOT / "notebooks" / "src").glob(build.SOURCES))


@pytest.fixture(params=SOURCES, ids=lambda source: source.stem)
def source(request) -> Path:
    return request.param


@pytest.fixture
def notebook(source):
    return nbformat.read(ROOT / "notebooks" / f"{source.stem}.ipynb", as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def ignored(cell) -> bool:
    return bool({"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", [])))


def compares_text(cell) -> bool:
    """Does a strict comparison of this cell compare words, and not only that there is a picture?"""
    pictures = [o for o in cell.outputs if "image/png" in o.get("data", {})]
    return not ignored(cell) and len(cell.outputs) > len(pictures)


def test_there_is_a_notebook():
    assert SOURCES


def test_every_notebook_has_a_source():
    built = {p.stem for folder in ("notebooks", "assignments") for p in (ROOT / folder).glob("*.ipynb")}
    assert built == {source.stem for source in SOURCES}


def test_it_is_in_step_with_its_source(source):
    assert build.out_of_step(source) is None


def test_it_was_run_in_order_without_errors(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell.id for cell in cells for o in cell.outputs if o.output_type == "error"]


def test_outputs_are_the_same_everywhere(notebook):
    reasons = {cell.id: build.unstable(cell.outputs) for cell in code_cells(notebook)}
    assert {name: reason for name, reason in reasons.items() if reason} == {}


def test_it_holds_no_widgets_times_or_versions(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info", "vmrlib"}
    assert dict(notebook.metadata.language_info) == {"name": "python"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert not [c.id for c in code_cells(notebook) for o in c.outputs if build.WIDGET in o.get("data", {})]


def test_its_file_is_small(source):
    size = (ROOT / "notebooks" / f"{source.stem}.ipynb").stat().st_size
    assert size < 1000 * KILOBYTES, f"{size / 1000:.0f} kB"


def test_it_is_of_the_right_length(notebook):
    lines = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    words = len(re.findall(r"\w[\w'’-]*", prose(notebook)))
    assert 2000 <= words <= 4000, f"{words} words"
    assert 40 <= len(notebook.cells) <= 80, f"{len(notebook.cells)} cells"
    assert statistics.median(lines) <= 8 and max(lines) <= 40, (statistics.median(lines), max(lines))


def test_ignored_outputs_are_few_and_each_is_followed_by_an_assertion(notebook):
    cells = code_cells(notebook)
    marked = [index for index, cell in enumerate(cells) if ignored(cell)]
    assert len(marked) <= len(cells) / 5, f"{len(marked)} of {len(cells)}"
    assert [cells[i].id for i in marked if "assert" not in cells[min(i + 1, len(cells) - 1)].source] == []


def test_at_least_fifteen_cells_compare_text(notebook):
    count = sum(compares_text(cell) for cell in code_cells(notebook))
    assert count >= 15, count


def test_it_begins_and_ends_as_every_notebook(notebook, source):
    first, second = notebook.cells[0].source, code_cells(notebook)[0]
    assert re.match(rf"# {source.stem[:2].lstrip('0')} · ", first)
    assert all(f"**{word}**" in first for word in ("You will", "Needs", "Time", "Paper"))
    assert len(second.source.splitlines()) <= 10 and second.outputs == []
    assert "vmrlib.setup(seed=0)" in second.source
    headings = re.findall(r"^## (.+)$", prose(notebook), re.MULTILINE)
    assert headings[-3:] == ["Summary", "Questions", "Further reading"]
    questions = prose(notebook).split("## Questions")[1].split("## Further reading")[0]
    assert 6 <= len(re.findall(r"^\d+\. ", questions, re.MULTILINE)) <= 10


def test_every_explorer_has_a_caption_and_an_alt_text(notebook):
    shown = [
        o
        for cell in code_cells(notebook)
        for o in cell.outputs
        if "Explorer(" in o.get("data", {}).get("text/plain", "")
    ]
    assert shown
    for output in shown:
        assert re.match(r"Explorer\(.+\): .+", output.data["text/plain"])
        assert output.metadata["image/png"]["alt"]


def test_at_most_five_code_cells_follow_each_other_without_prose(notebook):
    runs = re.findall(r"c+", "".join(cell.cell_type[0] for cell in notebook.cells))
    assert max(map(len, runs)) <= 5

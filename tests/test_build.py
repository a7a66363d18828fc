"""build.py turns a source into an executed notebook and a student version, or says what is wrong."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest
from miniature import SOURCE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build():
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def course(build, tmp_path_factory):
    """A folder with the miniature, built once."""
    root = tmp_path_factory.mktemp("course")
    (root / "notebooks" / "src").mkdir(parents=True)
    (root / "notebooks" / "src" / "01_miniature.py").write_text(SOURCE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROOT", root)
        assert build.main([]) == 0
        yield root


def source_file(tmp_path, text: str) -> Path:
    path = tmp_path / "01_test.py"
    path.write_text(text, encoding="utf-8")
    return path


def cells(path: Path) -> dict:
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def test_cells_of_exercises_are_called_after_them(course):
    built = cells(course / "notebooks" / "01_miniature.ipynb")
    wanted = {"exercise-temporal_iou", "check-temporal_iou", "exercise-BestClip", "check-BestClip"}
    assert wanted <= set(built)
    assert built["check-temporal_iou"].outputs[0].text == "1.1, case 1: correct\n1.1, case 2: correct\n"


def test_notebook_holds_picture_and_text_but_neither_widgets_nor_times_nor_versions(course):
    text = (course / "notebooks" / "01_miniature.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    for word in ("widget-view", "widget-state", "iopub", '"version"'):
        assert word not in text
    assert set(notebook["metadata"]) == {"kernelspec", "language_info", "vmrlib"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    (output,) = notebook["cells"][-1]["outputs"]
    assert set(output["data"]) == {"image/png", "text/plain"}
    assert output["metadata"]["image/png"]["alt"] == "A rising curve"


def test_student_version_has_stubs_and_neither_solutions_nor_outputs(course):
    built = cells(course / "notebooks" / "01_miniature.ipynb")
    student = cells(course / "assignments" / "01_miniature.ipynb")
    assert student["exercise-temporal_iou"].source.endswith('(N, M)."""\n    raise NotImplementedError')
    assert student["exercise-BestClip"].source.endswith("scores):\n        raise NotImplementedError")
    assert set(built) - set(student) == {"c006"}  # the cell for teachers
    for name, cell in student.items():
        assert "SOLUTION" not in cell.source
        assert not cell.get("outputs")
        if not name.startswith("exercise-"):
            assert cell.source == built[name].source


def test_second_build_gives_the_same_bytes(build, course):
    paths = [course / folder / "01_miniature.ipynb" for folder in ("notebooks", "assignments")]
    before = [path.read_bytes() for path in paths]
    assert build.main(["01"]) == 0
    assert [path.read_bytes() for path in paths] == before


def test_unchanged_notebooks_are_left_alone_and_changes_are_noticed(build, course, capsys):
    source = course / "notebooks" / "src" / "01_miniature.py"
    assert build.main([]) == 0 and "unchanged" in capsys.readouterr().out
    assert build.main(["--check"]) == 0
    source.write_text(SOURCE.replace("Miniature", "Small"), encoding="utf-8")
    try:
        assert build.main(["--check"]) == 1
        assert "was not built from this source" in capsys.readouterr().out
    finally:
        source.write_text(SOURCE, encoding="utf-8")


@pytest.mark.parametrize("folder", ["notebooks", "assignments"])
def test_an_edited_or_missing_notebook_is_out_of_step(build, course, folder, capsys):
    path = course / folder / "01_miniature.ipynb"
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b"# 1 ", b"# 9 "))
        assert build.main(["--check"]) == 1
        path.unlink()
        assert build.main(["--check"]) == 1
        assert "is missing" in capsys.readouterr().out
    finally:
        path.write_bytes(before)


def test_run_prints_seconds_and_writes_nothing(build, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks" / "src"
    folder.mkdir(parents=True)
    source_file(folder, "# %%\nimport pathlib\npathlib.Path('ran').touch()\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.main(["--run", "01"]) == 0
    assert re.fullmatch(r"01_test: \d+\.\d s\n", capsys.readouterr().out)
    assert (tmp_path / "notebooks" / "ran").is_file(), "it is executed in the folder of the notebooks"
    assert not list(tmp_path.rglob("*.ipynb"))


def test_appendices_come_after_the_numbered_notebooks(build, tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "src"
    folder.mkdir(parents=True)
    for name in ("A1_data", "02_model", "01_features", "notes"):
        (folder / f"{name}.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert [source.stem for source in build.chosen([])] == ["01_features", "02_model", "A1_data"]
    assert [source.stem for source in build.chosen(["A1"])] == ["A1_data"]


def test_an_unknown_notebook_is_named(build, course, capsys):
    with pytest.raises(SystemExit):
        build.main(["09"])
    assert "no notebook 09: there are 01_miniature" in capsys.readouterr().err


EXERCISE = '# %% tags=["exercise"]\ndef f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n'
CHECK = '# %% tags=["check"]\ncheck("1", f(), 1)\n'
BROKEN = [
    (EXERCISE, "the exercise `f` has no check"),
    (EXERCISE + EXERCISE + CHECK, ":6: the exercise `f` before this one has no check"),
    (CHECK, ":1: a check without an exercise"),
    (EXERCISE + CHECK + EXERCISE + CHECK, "two cells are called check-f"),
    (EXERCISE.replace("    # END SOLUTION\n", "") + CHECK, ":1: an exercise needs"),
    (EXERCISE.replace("BEGIN", "END") + CHECK, ":1: an exercise needs"),
    ('# %% tags=["exercise"]\nx = 1\n' + CHECK, ":1: an exercise defines one function or class, this one 0"),
    ("# %%\n# BEGIN SOLUTION\n", ":1: solution markers outside an exercise"),
    ("# %% [markdown]\n# Text\n\n# %%\nplt.plot();\n", ":4: the cell ends with `;`"),
    ("# %%\ninteract(draw)\n", "Explorer"),
    ("# %%\nx = input('?')\n", "asks for input"),
    ("# %%\nclear_output()\n", "changes its output later"),
    ("x = 1\n# %%\ny = 2\n", "1 lines `# %%` for 2 cells"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_source_is_refused_with_its_line(build, tmp_path, text, message):
    with pytest.raises(build.BuildError) as error:
        build.student_version(build.read_source(source_file(tmp_path, text)))
    assert message in str(error.value)


FAILING = [
    ("1 / 0", "01_test.py:4 (cell c001): ZeroDivisionError"),
    ("import sys\nprint('careful', file=sys.stderr)", "stderr: careful"),
    ("import warnings\nwarnings.warn('old')", "stderr: "),
    ("object()", "the address of an object"),
    ("print('/home/someone/data')", "a path of this machine"),
    ("import os\nos._exit(1)", "01_test.py:4 (cell c001)"),
    ("__import__('builtins').input()", "01_test.py:4 (cell c001): StdinNotImplementedError"),
]


@pytest.mark.parametrize(("code", "message"), FAILING)
def test_a_cell_that_fails_or_prints_what_differs_elsewhere_stops_the_build(build, tmp_path, code, message):
    path = source_file(tmp_path, f"# %%\nx = 1\n\n# %%\n{code}\n\n# %%\nprint(x)\n")
    (tmp_path / "notebooks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROOT", tmp_path)
        with pytest.raises(build.BuildError) as error:
            build.execute(build.read_source(path), path, {})
    assert message in str(error.value)


def test_a_notebook_is_built_without_the_real_data(build, tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "src"
    folder.mkdir(parents=True)
    code = "import os\nprint(os.environ.get('VMRLIB_MIRROR'), os.listdir(os.environ['VMRLIB_DATA']))"
    source_file(folder, f"# %%\n{code}\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setenv("VMRLIB_MIRROR", "somewhere")
    assert build.main([]) == 0
    assert cells(tmp_path / "notebooks" / "01_test.ipynb")["c000"].outputs[0].text == "None []\n"

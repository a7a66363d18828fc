"""Grading gives points to right answers only, whatever a submission does to its kernel or its file."""

import argparse
import copy
import csv
import importlib.util
import json
import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from miniature import SOURCE

from vmrlib import grade
from vmrlib.check import difference
from vmrlib.grade_records import Other, decode, record_checks
from vmrlib.sandbox import CellError, Sandbox

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A folder with our miniature notebook and, beside it, the student version."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    folder = tmp_path_factory.mktemp("course")
    source = folder / "01_miniature.py"
    # Fewer imports: every submission pays for them in its own kernel.
    light = SOURCE.replace("import matplotlib.pyplot as plt\n", "").replace(
        "from vmrlib.viz", "# from vmrlib.viz"
    )
    source.write_text(light, encoding="utf-8")
    notebook = build.read_source(source)
    build.write(notebook, folder / "01_miniature.ipynb")
    build.write(build.student_version(notebook), folder / "student" / "01_miniature.ipynb")
    return folder


@pytest.fixture(scope="module")
def exercises(course) -> list[grade.Exercise]:
    return grade.read_exercises(course / "01_miniature.ipynb")


IOU = next(c for c in SOURCE.split("# %%") if "def temporal_iou" in c).split("\n", 1)[1]
BEST = next(c for c in SOURCE.split("# %%") if "class BestClip" in c).split("\n", 1)[1]
SOLVED = {"temporal_iou": IOU, "BestClip": BEST}


def points(exercises, **cells) -> tuple[list[bool], dict[str, str]]:
    """Which exercises are right when some cells of the solved notebook are replaced (None: deleted)."""
    found = {name: source for name, source in (SOLVED | cells).items() if source is not None}
    verdicts = grade.grade_cells(exercises, found, seconds=3, total=100)
    return [not verdicts[exercise.name] for exercise in exercises], verdicts


def test_our_solutions_are_right(exercises):
    assert [exercise.title for exercise in exercises] == ["1.1 temporal_iou", "1.2 BestClip"]
    assert points(exercises) == ([True, True], {"temporal_iou": "", "BestClip": ""})


def test_stubs_and_deleted_cells_have_no_points(exercises):
    stub = "def temporal_iou(a, b):\n    raise NotImplementedError"
    right, verdicts = points(exercises, temporal_iou=stub, BestClip=None)
    assert right == [False, False]
    assert "not done" in verdicts["temporal_iou"]
    assert verdicts["BestClip"] == "the cell is missing"


STUBBORN = (
    "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except BaseException:\n        continue"
)
DEADLY = {
    "a loop that swallows interrupts": (STUBBORN, "took longer than 3 s"),
    "an endless loop in the function": ("def temporal_iou(a, b):\n    while True:\n        a = a", "longer"),
    "a killed kernel": ("import os\nos._exit(0)", "the kernel died"),
}


@pytest.mark.parametrize("name", DEADLY)
def test_the_next_exercise_is_graded_after(exercises, name):
    cell, reason = DEADLY[name]
    right, verdicts = points(exercises, temporal_iou=cell)
    assert right == [False, True]
    assert reason in verdicts["temporal_iou"]


WRONG = "\ndef temporal_iou(a, b):\n    return torch.zeros(len(a), len(b))\n"
MISTAKES = {
    "constant": WRONG,
    "calls vmrlib": "from vmrlib.moments import temporal_iou",
    "another name": "def iou(a, b):\n    return 1",
    "broken code": "def temporal_iou(a, b:\n",
    "leaves quietly": "import sys\ndef temporal_iou(a, b):\n    sys.exit(0)\n",
    "an error without a text": "class E(Exception):\n    def __str__(self):\n        1 / 0\nraise E",
    "a huge answer": "def temporal_iou(a, b):\n    return torch.zeros(3000, 3000)\n",
    "check overwritten": "def check(*args, **kwargs):\n    print('correct')\n" + WRONG,
    "tensors that say they are equal": "class Same(torch.Tensor):\n"
    "    def __eq__(self, other):\n        return True\n"
    "def temporal_iou(a, b):\n    return torch.zeros(len(a), len(b)).as_subclass(Same)\n",
}
# Each of these spoils its kernel, and needs one of its own.
PATCHES = {
    "comparisons": "import sys\nfor name, module in list(sys.modules.items()):\n"
    "    if name.startswith('vmr' + 'lib.check'):\n"
    "        module.check = module.difference = lambda *a, **k: None\n"
    "torch.testing.assert_close = lambda *a, **k: None\ntorch.allclose = lambda *a, **k: True\n",
    "what the check expects": "torch.tensor = lambda *a, **k: torch.zeros(1, 3)\n",
    "the messages of the kernel": "import json\njson.dumps = lambda *a, **k: '[]'\n",
}


def test_a_wrong_answer_gets_no_point(exercises):
    with Sandbox() as sandbox:
        for code in exercises[0].before:
            sandbox.run(code, grade.SETUP_SECONDS)
        verdicts = {name: grade.grade_one(sandbox, exercises[0], cell, 3) for name, cell in MISTAKES.items()}
        assert grade.grade_one(sandbox, exercises[0], IOU, 3) == ""
    assert [name for name, verdict in verdicts.items() if not verdict] == ["calls vmrlib"]
    assert points(exercises[:1], temporal_iou=MISTAKES["calls vmrlib"]) == (
        [False],
        {"temporal_iou": "uses vmrlib"},
    )


@pytest.mark.parametrize("name", PATCHES)
def test_patching_what_stands_around_the_answer_gives_no_point(exercises, name):
    right, _ = points(exercises[:1], temporal_iou=PATCHES[name] + WRONG)
    assert right == [False]


def test_an_error_does_not_swallow_the_cells_after_it():
    with Sandbox() as sandbox:
        for _ in range(20):
            with pytest.raises(CellError, match="ZeroDivisionError"):
                sandbox.run("1 / 0", 9)
            assert sandbox.run("x = 1", 9, "x + 1") == 2


def test_prints_and_slow_right_answers_are_fine(exercises):
    noise = "print('[]' * 10000)\nimport sys\nprint('x', file=sys.stderr)\n"
    assert points(exercises, temporal_iou=noise + IOU)[0] == [True, True]


def test_the_total_limit_ends_a_slow_student(exercises):
    verdicts = grade.grade_cells(exercises, SOLVED, seconds=4, total=-1)
    assert all("longer than" in verdict for verdict in verdicts.values())


@pytest.fixture
def submissions(course, tmp_path) -> Path:
    """A folder of a class: anna solved all, ben nothing, carl lost his ids, dora's file is damaged, ..."""
    stub = nbformat.read(course / "student" / "01_miniature.ipynb", as_version=4)
    solved = copy.deepcopy(stub)
    for cell in solved.cells:
        if cell.id.startswith("exercise-"):
            cell.source = SOLVED[cell.id.removeprefix("exercise-")]
    no_ids, tampered, twice = copy.deepcopy(solved), copy.deepcopy(stub), copy.deepcopy(solved)
    for number, cell in enumerate(no_ids.cells):
        cell.id = f"x{number}"
    for cell in tampered.cells:
        if cell.id.startswith("check-"):
            cell.source = "print('1.1, case 1: correct')"
    twice.cells.append(copy.deepcopy(next(c for c in stub.cells if c.id == "exercise-BestClip")))
    handed_in = {"anna": solved, "ben": stub, "carl": no_ids, "eve": tampered, "finn": twice}
    for student, notebook in handed_in.items():
        (tmp_path / "class" / student).mkdir(parents=True)
        text = json.dumps(notebook)
        (tmp_path / "class" / student / "01_miniature.ipynb").write_text(text, encoding="utf-8")
    (tmp_path / "class" / "dora.ipynb").write_text(json.dumps(solved)[:500], encoding="utf-8")
    (tmp_path / "class" / "gus.ipynb").write_text("[1, 2]", encoding="utf-8")
    (tmp_path / "class" / "hal.ipynb").write_bytes(b"\xff\xfe\x00binary")
    (tmp_path / "class" / "ida.ipynb").write_text('{"cells": []}', encoding="utf-8")
    return tmp_path / "class"


def test_a_class_becomes_a_table(course, submissions, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    grade.add_arguments(parser)
    out = tmp_path / "grades.csv"
    options = [
        "--out",
        str(out),
        "--course",
        str(course),
        "--notebook",
        "01",
        "--cell-timeout",
        "9",
        "--json",
    ]
    assert grade.run(parser.parse_args([str(submissions), *options])) == 0
    rows = {row["student"]: row for row in csv.DictReader(out.open(encoding="utf-8"))}
    totals = {student: int(row["total"]) for student, row in rows.items()}
    nothing = {name: 0 for name in ("ben", "dora", "eve", "gus", "hal", "ida")}
    assert totals == {"anna": 2, "carl": 2, "finn": 1, **nothing}
    assert rows["anna"]["1.1 temporal_iou"] == rows["anna"]["1.2 BestClip"] == "1"
    assert rows["anna"]["notebook"] == "01_miniature" and rows["anna"]["remark"] == ""
    assert all("damaged file" in rows[name]["remark"] for name in ("dora", "gus", "hal"))
    assert rows["ida"]["remark"] == "holds no exercise of the course"
    assert "BestClip: 2 cells, the last counts" in rows["finn"]["remark"]
    printed = json.loads(capsys.readouterr().out)
    assert {row["student"]: row["total"] for row in printed["grades"]} == totals
    assert not list(tmp_path.glob("*.tmp"))


def test_a_course_whose_solution_fails_is_refused(course, tmp_path):
    text = (course / "01_miniature.ipynb").read_text(encoding="utf-8")
    path = tmp_path / "01_miniature.ipynb"
    path.write_text(text.replace("argmax", "argmin"), encoding="utf-8")
    with pytest.raises(grade.GradeError, match="our own BestClip fails its check"):
        grade.read_exercises(path)


def test_missing_folders_and_notebooks_are_named(course, tmp_path):
    def options(submissions, notebook):
        return argparse.Namespace(
            submissions=[submissions], out=tmp_path / "g.csv", course=course, notebook=notebook, json=False
        )

    with pytest.raises(grade.GradeError, match="no notebook 07"):
        grade.run(options(course, "07"))
    with pytest.raises(FileNotFoundError, match="no submissions at"):
        grade.run(options(tmp_path / "nowhere", "01"))
    with pytest.raises(grade.GradeError, match="no notebooks in"):
        grade.run(options(tmp_path, "01"))


def through_json(value):
    """A value as it arrives in the grading process."""
    check, recorded = record_checks()
    check("1", value, None)
    return decode(json.loads(recorded())[0][1])


VALUES = [
    torch.tensor([[0.1, float("nan")], [float("-inf"), 1 / 3]]),
    torch.tensor([True, False]),
    torch.tensor(3),
    torch.zeros(0, 4),
    np.arange(6).reshape(2, 3),
    np.zeros((2, 0), dtype=np.float32),
    {"spans": (torch.ones(1, 2), [1, 2.5, "x", None, True]), 3: {}},
    math.inf,
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_arrive_as_they_were(value):
    arrived = through_json(value)
    assert type(arrived) is type(value)
    assert difference(arrived, value, atol=0.0) is None
    assert getattr(arrived, "dtype", None) == getattr(value, "dtype", None)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists)
)
def test_plain_values_arrive_equal(value):
    assert through_json(value) == value


def test_other_objects_are_compared_by_type_and_text():
    assert through_json({1, 2}) == through_json({2, 1})
    assert through_json(range(3)) == Other("range", "range(0, 3)")
    with pytest.raises(ValueError, match="not a recorded value"):
        decode({"pickle": "..."})

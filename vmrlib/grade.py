"""`python -m vmrlib grade`: points for students' notebooks, one CSV line each.

The students' exercise cells are put into our notebook, by cell id, and run in a fresh kernel in an
empty folder, with no output of anybody's in it. What runs is the first code cell, the cells that hold
imports only ("continue with ours"), the exercises and our checks; nothing else, so that a class is
graded in minutes. In the kernel `check` only writes down what the student's function returned; the
comparison with what is expected, known from a run of our own solutions, is made in this process. So
a student's code decides what its functions return, and nothing else.

It is no prison: the code runs with the rights of the user who grades. Use a container for strangers.
"""

import argparse
import ast
import csv
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import getsource
from pathlib import Path

from vmrlib.check import difference, mentions_vmrlib
from vmrlib.data.files import write_text
from vmrlib.grade_records import decode, record_checks
from vmrlib.sandbox import CellError, Sandbox, Stopped, one_line

COURSE = Path(__file__).resolve().parent.parent / "notebooks"
SETUP_SECONDS = 180  # for our own cells: imports take long on a loaded machine


class GradeError(ValueError):
    """The course itself, not a submission, cannot be used for grading."""


@dataclass(frozen=True)
class Exercise:
    """One exercise of our notebook: the cells before it, our solution, our check, what it expects."""

    name: str
    before: tuple[str, ...]
    solution: str
    check: str
    cases: list = field(default_factory=list)  # of (number, expected, hint, atol)

    @property
    def title(self) -> str:
        """Number and name, the head of its column."""
        return f"{self.cases[0][0]} {self.name}"


@dataclass(frozen=True)
class Grade:
    """One line of the result: points by exercise title."""

    student: str
    notebook: str
    points: dict[str, int]
    remark: str = ""

    @property
    def total(self) -> int:
        return sum(self.points.values())


RECORDER = getsource(record_checks) + "\ncheck, __recorded = record_checks()\n"


def read_exercises(path: Path) -> list[Exercise]:
    """The exercises of our notebook, with what their checks expect of our own solutions."""
    before, exercises, solution = [], [], None
    for index, cell in enumerate(c for c in load_cells(path) if c["cell_type"] == "code"):
        tags, source = cell.get("metadata", {}).get("tags", []), source_of(cell)
        if "exercise" in tags:
            name, solution = str(cell["id"]).removeprefix("exercise-"), source
        elif "check" in tags:
            exercises.append(Exercise(name, tuple(before), solution, source))
            before = []
        elif index == 0 or is_imports(source):
            before.append(source)
    with Sandbox() as sandbox:
        for exercise in exercises:
            try:
                for code in exercise.before:
                    sandbox.run(code, SETUP_SECONDS)
                sandbox.run(exercise.solution, SETUP_SECONDS)
                recorded = answers(sandbox, exercise, SETUP_SECONDS)
            except (CellError, Stopped) as error:
                raise GradeError(f"{path.name}: our own {exercise.name} does not run: {error}") from None
            for number, got, expected, hint, atol in recorded:
                exercise.cases.append((number, expected, hint, atol))
                if problem := difference(got, expected, atol):
                    raise GradeError(f"{path.name}: our own {exercise.name} fails its check: {problem}")
            if not exercise.cases:
                raise GradeError(f"{path.name}: the check of {exercise.name} checks nothing")
    return exercises


def answers(sandbox: Sandbox, exercise: Exercise, seconds: float) -> list[tuple]:
    """(number, got, expected, hint, atol) of every case of a check, run on what the kernel holds."""
    sandbox.run(RECORDER, SETUP_SECONDS)
    recorded = json.loads(sandbox.run(exercise.check, seconds, "__recorded()"))
    return [
        (number, decode(got), decode(expected), hint, atol) for number, got, expected, hint, atol in recorded
    ]


def grade_cells(
    exercises: list[Exercise], found: dict[str, str], seconds: float, total: float
) -> dict[str, str]:
    """For every exercise what is wrong with the student's cell, "" where it is right.

    A kernel that died or did not answer is replaced, and the next exercise goes on.
    """
    deadline = time.monotonic() + total
    verdicts: dict[str, str] = {}
    sandbox, ready = None, 0
    try:
        for index, exercise in enumerate(exercises):
            if exercise.name not in found:
                verdicts[exercise.name] = "the cell is missing"
                continue
            if mentions_vmrlib(found[exercise.name]):
                verdicts[exercise.name] = "uses vmrlib"
                continue
            if time.monotonic() > deadline:
                verdicts[exercise.name] = f"not run: all exercises took longer than {total:.0f} s"
                continue
            if sandbox is None:
                sandbox, ready = Sandbox(), 0
            try:
                for earlier in exercises[ready : index + 1]:
                    for code in earlier.before:
                        sandbox.run(code, SETUP_SECONDS)
                ready = index + 1
                verdicts[exercise.name] = grade_one(sandbox, exercise, found[exercise.name], seconds)
            except (Stopped, CellError) as reason:
                verdicts[exercise.name] = str(reason)
                sandbox.close()
                sandbox = None
    finally:
        if sandbox is not None:
            sandbox.close()
    return verdicts


def grade_one(sandbox: Sandbox, exercise: Exercise, source: str, seconds: float) -> str:
    """What is wrong with this answer to an exercise, "" where it is right."""
    try:
        sandbox.run(f"globals().pop({exercise.name!r}, None)", SETUP_SECONDS)  # nobody else's answer counts
        sandbox.run(source, seconds)
        given = answers(sandbox, exercise, seconds)
    except CellError as error:
        return str(error)
    except (ValueError, SyntaxError, KeyError, TypeError, AttributeError):
        return "its answers cannot be read"
    if len(given) != len(exercise.cases):
        return f"{len(given)} cases were checked, expected {len(exercise.cases)}"
    for number, (answer, case) in enumerate(zip(given, exercise.cases, strict=True), 1):
        _, expected, _, atol = case
        if problem := difference(answer[1], expected, atol):
            return one_line(f"case {number}: {problem}")
    return ""


def grade_file(
    path: Path, student: str, course: dict[str, list[Exercise]], seconds: float, total: float
) -> Grade:
    """The grade of one submitted notebook, whatever state the file is in."""
    try:
        cells = load_cells(path)
    except (OSError, ValueError) as error:
        name = next(iter(course)) if len(course) == 1 else ""
        return Grade(
            student, name, {e.title: 0 for e in course.get(name, [])}, one_line(f"damaged file: {error}")
        )
    notebook, found, remarks = match_notebook(cells, course)
    if notebook is None:
        return Grade(student, "", {}, "holds no exercise of the course")
    exercises = course[notebook]
    verdicts = grade_cells(exercises, found, seconds, total)
    remarks += [f"{name}: {problem}" for name, problem in verdicts.items() if problem]
    points = {exercise.title: int(not verdicts[exercise.name]) for exercise in exercises}
    return Grade(student, notebook, points, "; ".join(remarks))


def match_notebook(
    cells: list[dict], course: dict[str, list[Exercise]]
) -> tuple[str | None, dict[str, str], list]:
    """The notebook of the course that these cells answer, its exercise cells by name, and remarks."""
    best: tuple[str | None, dict[str, str], list] = (None, {}, [])
    for notebook, exercises in course.items():
        found, remarks = {}, []
        for exercise in exercises:
            own = [source_of(c) for c in cells if c.get("id") == f"exercise-{exercise.name}"]
            # Some editors give every cell a new id: then the cell that defines the name is the answer.
            own = own or [
                s for s in map(source_of, cells) if re.search(rf"^(def|class) {exercise.name}\b", s, re.M)
            ]
            if own:
                found[exercise.name] = own[-1]
            if len(own) > 1:
                remarks.append(f"{exercise.name}: {len(own)} cells, the last counts")
        if len(found) > len(best[1]):
            best = (notebook, found, remarks)
    return best


def load_cells(path: Path) -> list[dict]:
    """The cells of a notebook file; ValueError where it is not one."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(c, dict) and "cell_type" in c for c in cells):
        raise ValueError("not a notebook")
    return [cell for cell in cells if isinstance(cell.get("source"), str | list)]


def source_of(cell: dict) -> str:
    """The code of a cell, which files keep as one string or as lines; nothing for other cells."""
    source = cell["source"]
    return (
        ""
        if cell["cell_type"] != "code"
        else source
        if isinstance(source, str)
        else "".join(map(str, source))
    )


def is_imports(source: str) -> bool:
    """Does a cell hold imports and nothing else?"""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return bool(body) and all(isinstance(node, ast.Import | ast.ImportFrom) for node in body)


def find_submissions(paths: list[Path]) -> Iterator[tuple[str, Path]]:
    """(student, file) of every notebook: the student is the folder inside the one given, or the file."""
    for path in paths:
        if path.is_file():
            yield path.stem, path
        elif not path.is_dir():
            raise FileNotFoundError(f"no submissions at {path}")
        else:
            for file in sorted(path.rglob("*.ipynb")):
                inside = file.relative_to(path)
                if ".ipynb_checkpoints" not in inside.parts:
                    yield (inside.parts[0] if len(inside.parts) > 1 else file.stem), file


def write_csv(grades: list[Grade], titles: list[str], path: Path) -> None:
    """One line per submission, whole or not at all."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["student", "notebook", *titles, "total", "remark"])
    for grade in grades:
        points = [grade.points.get(title, "") for title in titles]
        writer.writerow([grade.student, grade.notebook, *points, grade.total, grade.remark])
    write_text(path, table.getvalue())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m vmrlib grade`."""
    parser.description = "Run students' exercise cells against the checks of the course."
    parser.epilog = "example: python -m vmrlib grade submissions/ --notebook 01 --out grades.csv"
    parser.add_argument(
        "submissions", nargs="+", type=Path, help="notebooks, or folders of them (one per student)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    parser.add_argument(
        "--notebook", default="", help="only this notebook of the course, as 01 (default: all)"
    )
    parser.add_argument(
        "--course", type=Path, default=COURSE, help="folder of our notebooks (default: %(default)s)"
    )
    parser.add_argument("--cell-timeout", type=float, default=60, metavar="S", help="seconds per cell (60)")
    parser.add_argument(
        "--total-timeout", type=float, default=300, metavar="S", help="seconds per student (300)"
    )
    parser.add_argument("--json", action="store_true", help="print the grades as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Grade every submission and write the CSV file; 0 also where students got no points."""
    files = sorted(args.course.glob(f"{args.notebook or '[0-9A][0-9]_'}*.ipynb"))
    if not files:
        raise GradeError(f"no notebook {args.notebook or 'at all'} in {args.course}")
    submissions = list(find_submissions(args.submissions))
    if not submissions:
        raise GradeError(f"no notebooks in {', '.join(map(str, args.submissions))}")
    course = {file.stem: exercises for file in files if (exercises := read_exercises(file))}
    grades = []
    for student, path in submissions:
        grade = grade_file(path, student, course, args.cell_timeout, args.total_timeout)
        grades.append(grade)
        if not args.json:
            print(f"{student}: {grade.total} of {len(grade.points)}", grade.remark, sep="  ", flush=True)
    titles = [exercise.title for exercises in course.values() for exercise in exercises]
    write_csv(grades, titles, args.out)
    if args.json:
        rows = [{**vars(grade), "total": grade.total} for grade in grades]
        print(json.dumps({"out": str(args.out), "grades": rows}))
    return 0

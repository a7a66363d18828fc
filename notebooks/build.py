"""Builds notebooks/NN_name.ipynb (executed) and assignments/NN_name.ipynb (for students) from notebooks/src.

    python notebooks/build.py            # those whose source changed
    python notebooks/build.py 01 A1      # these, whether changed or not
    python notebooks/build.py --all
    python notebooks/build.py --check    # write nothing; exit code 1 if something is out of step
    python notebooks/build.py --run 01   # execute, print the seconds, write nothing

The source is the only place where notebooks are edited (jupytext, percent format). Tags: `exercise`,
`check`, `solution`; what students write stands between `# BEGIN SOLUTION` and `# END SOLUTION`.
"""

import argparse
import ast
import base64
import copy
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
CELL_SECONDS = 300
SOURCES = "[0-9A][0-9]_*.py"  # 01, 02, ... and after them the appendices A1, A2, ...
WIDGET = "application/vnd.jupyter.widget-view+json"

# What must not stand in a code cell, and why (style: outputs that survive a strict comparison).
FORBIDDEN = {
    r";\s*$": "ends with `;`: write `_ = ...`",
    r"\binter(act|active|active_output)\(": "uses interact: use vmrlib.viz.Explorer",
    r"\b(clear_output|update_display)\(": "changes its output later",
    r"\bOutput\(": "uses an Output widget",
    r"%%?timeit": "prints times",
    r"(?<![\w.])input\(": "asks for input",
}
# What must not stand in a stored text output, and why.
UNSTABLE = {
    r"0x[0-9a-f]{6,}": "the address of an object",
    r"/home/\w|/root/|/tmp/|/Users/\w|[A-Z]:\\": "a path of this machine",
    r"\b\d{4}-\d\d-\d\d\b": "a date",
}


class BuildError(ValueError):
    """What is wrong with a source or its execution, with the file and the line."""


def read_source(path: Path) -> NotebookNode:
    """The notebook written in a source file: cells with stable ids and tags, no outputs."""
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    headers = header_lines(path)
    if len(headers) != len(notebook.cells):
        raise BuildError(f"{path.name}: {len(headers)} lines `# %%` for {len(notebook.cells)} cells")
    exercise = None
    for index, (cell, line) in enumerate(zip(notebook.cells, headers, strict=True)):
        where, tags = f"{path.name}:{line}", cell.metadata.get("tags", [])
        cell.id = f"c{index:03d}"
        if "exercise" in tags:
            if exercise:
                raise BuildError(f"{where}: the exercise `{exercise}` before this one has no check")
            exercise = defined_name(cell.source, where)
            cell.id = f"exercise-{exercise}"
        elif "check" in tags:
            if not exercise:
                raise BuildError(f"{where}: a check without an exercise before it")
            cell.id, exercise = f"check-{exercise}", None
        check_markers(cell, where)
        check_code(cell, where)
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
    if exercise:
        raise BuildError(f"{path.name}: the exercise `{exercise}` has no check")
    ids = [cell.id for cell in notebook.cells]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise BuildError(f"{path.name}: two cells are called {twice[0]}")
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        vmrlib={"source": hashlib.sha256(text.encode()).hexdigest()},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def defined_name(source: str, where: str) -> str:
    """The name of the one function or class that an exercise cell defines."""
    names = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    if len(names) != 1:
        raise BuildError(f"{where}: an exercise defines one function or class, this one {len(names)}")
    return names[0]


def check_markers(cell: NotebookNode, where: str) -> None:
    """Solution blocks stand in exercises only, opened and closed in turn."""
    markers = re.findall(f"{BEGIN}|{END}", cell.source)
    if "exercise" not in cell.metadata.get("tags", []):
        if markers:
            raise BuildError(f"{where}: solution markers outside an exercise")
    elif not markers or markers != [BEGIN, END] * (len(markers) // 2):
        raise BuildError(f"{where}: an exercise needs `{BEGIN}` ... `{END}`")


def check_code(cell: NotebookNode, where: str) -> None:
    """Code follows the rules that keep outputs the same everywhere."""
    if cell.cell_type == "code":
        for pattern, reason in FORBIDDEN.items():
            if re.search(pattern, cell.source.rstrip()):
                raise BuildError(f"{where}: the cell {reason}")


def student_version(notebook: NotebookNode) -> NotebookNode:
    """The same notebook without solutions, without cells for teachers and without outputs."""
    student = copy.deepcopy(notebook)
    student.cells = [cell for cell in student.cells if "solution" not in cell.metadata.get("tags", [])]
    block = re.compile(rf"^([ \t]*){BEGIN}\n.*?{END}[^\n]*", re.DOTALL | re.MULTILINE)
    for cell in student.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = block.sub(r"\1raise NotImplementedError", cell.source)
    if left := [cell.id for cell in student.cells if BEGIN in cell.source or END in cell.source]:
        raise BuildError(f"{left[0]}: a solution marker is left in the student version")
    return student


def execute(notebook: NotebookNode, path: Path, env: dict[str, str], strict: bool = True) -> NotebookNode:
    """The notebook with the outputs of a fresh kernel; BuildError where a cell fails.

    `strict` also refuses what would not survive a comparison: stderr, addresses, paths, dates.
    """
    begun: list[int] = []
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # ipykernel warns about TCP at every start
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
        on_cell_start=lambda cell, cell_index: begun.append(cell_index),
    )
    try:
        client.execute(env=env)
    except CellExecutionError as error:
        plain = re.sub(r"\x1b\[[\d;]*m", "", error.traceback)  # without colours
        where = locate(notebook, path, begun[-1])
        raise BuildError(f"{where}: {error.ename}: {error.evalue}\n{plain}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"{locate(notebook, path, begun[-1])}: {str(error).splitlines()[0]}") from None
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs = tidy(cell.outputs)
            cell.metadata.pop("execution", None)
            reason = unstable(cell.outputs) if strict else None
            if reason:
                raise BuildError(f"{locate(notebook, path, index)}: the output holds {reason}")
    notebook.metadata.language_info = NotebookNode(name="python")
    notebook.metadata.pop("widgets", None)
    return notebook


def tidy(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs as they are stored: pieces of one stream joined, live widgets left out."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
            continue
        if "data" in output:
            output.data.pop(WIDGET, None)
            if "image/png" in output.data:
                output.data["image/png"] = smaller(output.data["image/png"])
        kept.append(output)
    return kept


def smaller(png: str) -> str:
    """A base64 PNG with 256 colours, about a third of the bytes: what is stored must stay small in git."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def unstable(outputs: list[NotebookNode]) -> str | None:
    """What in these outputs would differ elsewhere, or None."""
    for output in outputs:
        if output.get("name") == "stderr":
            return f"stderr: {output.text.strip()[:300]}"
        data = output.get("data", {})
        if "image/svg+xml" in data:
            return "SVG: use PNG"
        text = output.get("text", "") + "".join(v for k, v in data.items() if k.startswith("text/"))
        for pattern, reason in UNSTABLE.items():
            if found := re.search(pattern, text):
                return f"{reason}: {text[max(0, found.start() - 30) : found.end() + 30]!r}"
    return None


def locate(notebook: NotebookNode, path: Path, index: int) -> str:
    """File, line and id of a cell."""
    return f"{path.name}:{header_lines(path)[index]} (cell {notebook.cells[index].id})"


def header_lines(path: Path) -> list[int]:
    """The lines of a source on which its cells begin."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if re.match(r"# %%( |$)", line)]


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes((nbformat.writes(notebook).rstrip("\n") + "\n").encode())
    os.replace(temporary, path)


def out_of_step(source: Path) -> str | None:
    """Why the two notebooks of a source must be built again, or None."""
    built, student = (
        ROOT / "notebooks" / f"{source.stem}.ipynb",
        ROOT / "assignments" / f"{source.stem}.ipynb",
    )
    for path in (built, student):
        if not path.is_file():
            return f"{path.relative_to(ROOT)} is missing"
    fresh, stored = read_source(source), nbformat.read(built, as_version=4)
    if stored.metadata.get("vmrlib") != fresh.metadata.vmrlib or outline(stored) != outline(fresh):
        return f"{built.relative_to(ROOT)} was not built from this source"
    if nbformat.read(student, as_version=4) != nbformat.from_dict(student_version(fresh)):
        return f"{student.relative_to(ROOT)} was not built from this source"
    return None


def outline(notebook: NotebookNode) -> list[tuple]:
    """All that the source decides about the cells."""
    return [(c.id, c.cell_type, c.source, tuple(c.metadata.get("tags", []))) for c in notebook.cells]


def build(source: Path) -> float:
    """Write both notebooks of a source; the seconds the execution took."""
    notebook = read_source(source)
    student = student_version(notebook)
    with tempfile.TemporaryDirectory() as empty:
        # Outputs are always those of a machine without the real data: the same for everyone, free to publish.
        env = {k: v for k, v in os.environ.items() if k not in ("VMRLIB_MIRROR", "VMRLIB_DATASET")}
        start = time.perf_counter()
        execute(notebook, source, env | {"VMRLIB_DATA": empty, "HF_HUB_OFFLINE": "1"})
        seconds = time.perf_counter() - start
    write(notebook, ROOT / "notebooks" / f"{source.stem}.ipynb")
    write(student, ROOT / "assignments" / f"{source.stem}.ipynb")
    return seconds


def run(source: Path) -> float:
    """Execute a source as it is on this machine, with its data; the seconds it took."""
    start = time.perf_counter()
    execute(read_source(source), source, dict(os.environ), strict=False)
    return time.perf_counter() - start


def chosen(names: list[str]) -> list[Path]:
    """The sources called NN or NN_name, all of them where no name is given."""
    sources = sorted((ROOT / "notebooks" / "src").glob(SOURCES))
    for name in names:
        if not any(source.stem.startswith(name) for source in sources):
            raise BuildError(f"no notebook {name}: there are {', '.join(s.stem for s in sources)}")
    return [s for s in sources if not names or any(s.stem.startswith(name) for name in names)]


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when everything asked for is in step, built or run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NN", help="notebooks, by number or name")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--all", action="store_true", help="build also those that did not change")
    mode.add_argument("--check", action="store_true", help="write nothing, report what is out of step")
    mode.add_argument("--run", action="store_true", help="execute, print the seconds, write nothing")
    args = parser.parse_args(arguments)
    failed = 0
    try:
        sources = chosen(args.names)
    except BuildError as error:
        parser.error(str(error))
    for source in sources:
        try:
            if args.check:
                reason = out_of_step(source)
                failed += bool(reason)
                print(f"{source.stem}: {reason or 'in step'}")
            elif args.run:
                print(f"{source.stem}: {run(source):.1f} s", flush=True)
            elif args.all or args.names or out_of_step(source):
                print(f"{source.stem}: built in {build(source):.1f} s", flush=True)
            else:
                print(f"{source.stem}: unchanged")
        except BuildError as error:
            failed += 1
            print(error, file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""What a fresh machine meets: dependencies, pins, the Makefile, and what must never be imported or named."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted((ROOT / "vmrlib").rglob("*.py"))

# Their builds on PyPI do not load beside a CPU torch, or they are gone.
UNWANTED = {"torchvision", "torchtext", "open_clip", "timm", "pytorchvideo", "decord", "cv2"}
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "readline"}
POSIX_NAMES = {
    "os": {
        "fork",
        "forkpty",
        "getuid",
        "geteuid",
        "killpg",
        "setsid",
        "getpgid",
        "sched_getaffinity",
        "uname",
    },
    "signal": {"SIGKILL", "SIGALRM", "alarm", "setitimer", "SIGUSR1", "SIGHUP"},
}


def parse(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines[1:] if line.strip() and not line.startswith("#")]


def imported_modules(path: Path) -> set[str]:
    """Top-level names of everything a file imports from outside its package, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


# --- dependencies


def test_requirements_begin_with_the_package_itself():
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()[0] == "-e ."


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_dependency_has_one_exact_pin_inside_its_range(python):
    environment = default_environment() | {"python_version": python, "python_full_version": f"{python}.0"}
    declared = parse(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"])
    pinned = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate(environment)]
    assert sorted(canonicalize_name(pin.name) for pin in pinned) == sorted(declared)
    for pin in pinned:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, pin
        assert declared[canonicalize_name(pin.name)].specifier.contains(specifier.version), pin


def test_torch_is_the_version_that_wrote_the_outputs():
    assert "torch==2.13.0" in map(str, pins())


def test_package_and_makefile_accept_the_same_pythons():
    accepted = SpecifierSet(PROJECT["requires-python"])
    versions = [f"3.{minor}" for minor in range(9, 17)]
    assert [version for version in versions if version in accepted] == ["3.11", "3.12", "3.13"]
    condition = "(3, 11) <= sys.version_info < (3, 14)"
    assert condition in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_everything_the_package_imports_is_declared():
    declared = parse(PROJECT["dependencies"])
    providers = packages_distributions()
    for path in SOURCES:
        for module in imported_modules(path) - set(sys.stdlib_module_names) - {"vmrlib"}:
            names = {canonicalize_name(name) for name in providers.get(module, [module])}
            assert names & set(declared), f"{path.relative_to(ROOT)} imports {module}: not in pyproject.toml"


# --- what runs everywhere


def test_nothing_unwanted_is_imported():
    for path in SOURCES + sorted((ROOT / "notebooks").rglob("*.py")):
        assert not imported_modules(path) & UNWANTED, path.relative_to(ROOT)


def test_the_package_is_not_bound_to_posix():
    for path in SOURCES:
        assert not imported_modules(path) & POSIX_MODULES, path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                forbidden = POSIX_NAMES.get(node.value.id, set())
                assert node.attr not in forbidden, f"{path.relative_to(ROOT)}, line {node.lineno}"


def test_no_file_names_a_folder_of_one_machine():
    pattern = re.compile(r"(?<![\w.~}])/(?:work|home|root|Users|mnt)/\w|[A-Z]:\\Users")
    elsewhere = {"tests", "data", "build", "dist", "runs"}  # tests may speak of such a folder
    tops = [path for path in ROOT.iterdir() if path.name not in elsewhere]
    tops = [path for path in tops if path.name == ".ci" or not path.name.startswith(".")]
    suffixes = {".py", ".md", ".toml", ".txt", ".sh", ".json", ".jsonl", ".yaml", ".ipynb", ""}
    for path in [file for top in tops for file in (top, *top.rglob("*"))]:
        if path.is_file() and path.suffix in suffixes:
            match = pattern.search(path.read_text(encoding="utf-8"))
            assert match is None, f"{path.relative_to(ROOT)}: {match and match.group()}"


# --- make


def run_make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_make_alone_lists_the_targets(tmp_path):
    outcome = run_make(tmp_path)
    assert outcome.returncode == 0
    for target in ("lab", "test", "course", "notebooks", "bench", "lint", "clean"):
        assert f"make {target} " in outcome.stdout


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 1", "missing: Python 3.11, 3.12 or 3.13"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "missing: Python's venv module"),
    ],
)
def test_make_says_in_one_line_what_is_missing(tmp_path, body, message):
    python = write_program(tmp_path / "python", body)
    outcome = run_make(tmp_path, "lab", f"PYTHON={python}")
    assert outcome.returncode != 0
    lines = [line for line in (outcome.stdout + outcome.stderr).splitlines() if not line.startswith("make")]
    assert len(lines) == 1 and lines[0].startswith(message)
    assert not (tmp_path / ".venv").exists()


@pytest.fixture
def fake_python(tmp_path) -> Path:
    """A Python that makes a .venv of programs that only write down how they are called."""
    record = f'echo "$(basename "$0") $*" >> {tmp_path}/calls'
    program = write_program(tmp_path / "fake/program", f'case "$1" in -c) ;; *) {record};; esac')
    install = f"mkdir -p .venv/bin; cp {program} .venv/bin/python; cp {program} .venv/bin/jupyter"
    return write_program(tmp_path / "fake/python", f'case "$2" in venv) {install};; esac')


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text(encoding="utf-8").splitlines()


def test_make_installs_once_and_again_when_the_pins_change(tmp_path, fake_python):
    arguments = ("course", f"PYTHON={fake_python}")
    for _ in range(2):
        outcome = run_make(tmp_path, *arguments)
        assert outcome.returncode == 0, outcome.stderr
        os.utime(tmp_path / "requirements.txt", (1, 1))
        os.utime(tmp_path / "pyproject.toml", (1, 1))
    install = "python -m pip install --disable-pip-version-check -r requirements.txt"
    course = "python notebooks/build.py --run"
    assert calls(tmp_path) == [install, course, install, course]  # run_make copies the files anew
    subprocess.run(["make", *arguments], cwd=tmp_path, check=True, capture_output=True)
    assert calls(tmp_path)[4:] == [course]


def test_make_lab_opens_the_notebooks_also_as_root_without_a_display(tmp_path, fake_python):
    write_program(tmp_path / "fake/id", "echo 0")
    write_program(tmp_path / "fake/uname", "echo Linux")
    path = f"{tmp_path / 'fake'}{os.pathsep}{os.environ['PATH']}"
    arguments = ("lab", f"PYTHON={fake_python}", "LAB_FLAGS=--port=9999")
    outcome = run_make(tmp_path, *arguments, PATH=path, DISPLAY="", WAYLAND_DISPLAY="")
    assert outcome.returncode == 0, outcome.stderr
    command = calls(tmp_path)[-1]
    assert command.startswith("jupyter lab notebooks --allow-root")
    assert "--no-browser" in command and command.endswith("--port=9999")
    assert "next free one" in outcome.stdout


def test_make_test_runs_all_three_suites_even_if_the_first_fails(tmp_path, fake_python):
    arguments = ("test", f"PYTHON={fake_python}", "VMRLIB_CHROMIUM=chromium")
    assert run_make(tmp_path, *arguments).returncode == 0
    suites = ["python -m pytest", "python -m pytest --nbval notebooks", "python -m pytest tests/browser"]
    assert calls(tmp_path)[-3:] == suites
    write_program(tmp_path / ".venv/bin/python", f'echo "python $*" >> {tmp_path}/calls; [ "$3" ]')
    (tmp_path / ".venv/.installed").touch()
    outcome = subprocess.run(["make", "-o", ".venv/.installed", *arguments], cwd=tmp_path, check=False)
    assert outcome.returncode != 0
    assert calls(tmp_path)[-3:] == suites


# --- skips in CI


@pytest.mark.parametrize(
    ("reason", "ci", "code"),
    [
        ("needs a GPU", "true", 0),
        ("needs a cluster: set MILVUS_URI", "true", 0),
        ("needs the real files", "true", 1),
        ("needs the real files", "", 0),
    ],
)
def test_only_gpu_and_cluster_skips_pass_in_ci(tmp_path, reason, ci, code):
    (tmp_path / "conftest.py").write_text("from no_skips import *\n", encoding="utf-8")
    shutil.copy(ROOT / "tests/no_skips.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        f"import pytest\ndef test_that(): pytest.skip({reason!r})\ndef test_this(): assert True\n",
        encoding="utf-8",
    )
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == code, outcome.stdout
    assert ("test_it.py::test_that: needs the real files" in outcome.stdout) == (code == 1)


RINGS = (  # the first that fits counts; a module imports its own ring and those before it
    ("vmrlib.moments", "vmrlib.metrics", "vmrlib.text", "vmrlib.data"),
    ("vmrlib.features", "vmrlib.models", "vmrlib.viz", "vmrlib.check"),
    ("vmrlib",),
)


def ring(module: str) -> int:
    return next(
        number
        for number, names in enumerate(RINGS)
        if any(f"{module}.".startswith(f"{name}.") for name in names)
    )


def test_inner_rings_do_not_import_outer_ones():
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name and name.startswith("vmrlib."):
                    assert ring(name) <= ring(module), f"{module} imports {name}"

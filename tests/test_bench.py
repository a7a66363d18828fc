"""`make bench`: runs scripts, takes the JSON of their last line, and says which gave none."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def runner():
    """benchmarks/run.py as a module; the folder is no package."""
    spec = importlib.util.spec_from_file_location("benchmark_runner", ROOT / "benchmarks/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    return folder


def test_ratios_are_written_beside_machine_date_and_command(runner, folder):
    (folder / "overlap.py").write_text(
        "import sys\nprint('7 s against 1 s')\nprint('{\"speedup\": 7.0, \"quick\": %s}' % "
        "str('--quick' in sys.argv).lower())\n",
        encoding="utf-8",
    )
    assert runner.main(["--quick"], folder) == 0
    page = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert re.search(r"- machine: .+ cores, .+ torch \d", page)
    assert re.search(r"- date: \d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
    assert "- command: `python benchmarks/run.py --quick`" in page
    assert "`python benchmarks/overlap.py --quick`" in page
    assert '"speedup": 7.0' in page and '"quick": true' in page
    assert not (folder / "RESULTS.md.tmp").exists()


def test_a_benchmark_without_a_result_is_named_and_the_others_are_kept(runner, folder, capfd):
    (folder / "broken.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (folder / "silent.py").write_text("print('done')\n", encoding="utf-8")
    (folder / "sound.py").write_text("print('{\"speedup\": 2.0}')\n", encoding="utf-8")
    assert runner.main([], folder) == 1
    errors = capfd.readouterr().err
    assert "broken: exit code 3" in errors
    assert "silent: the last line is no JSON object: 'done'" in errors
    page = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert '"speedup": 2.0' in page and page.count("**No result**") == 2


def test_no_benchmarks_are_no_error(runner, folder):
    assert runner.main([], folder) == 0
    assert "no benchmark yet" in (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_an_unknown_name_is_refused(runner, folder, capsys):
    with pytest.raises(SystemExit):
        runner.main(["overlap"], folder)
    assert "no benchmark 'overlap'" in capsys.readouterr().err
    assert not (folder / "RESULTS.md").exists()

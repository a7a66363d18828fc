"""The command line: one line for what a user can mend, exit codes, and help with an example."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmrlib import cli

ROOT = Path(__file__).resolve().parent.parent


class Command:
    """A command that raises what it is told to."""

    def __init__(self, error=None):
        self.error = error

    def add_arguments(self, parser):
        parser.add_argument("--number", type=int)

    def run(self, args):
        if self.error:
            raise self.error
        return 0


@pytest.fixture
def command(monkeypatch):
    def use(error=None):
        monkeypatch.setitem(cli.COMMANDS, "try", ("a module", "tries"))
        monkeypatch.setattr(cli.importlib, "import_module", lambda name: Command(error))

    return use


@pytest.mark.parametrize("error", [ValueError("bad\nvalue  here"), OSError("bad value here")])
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(command, capsys, error):
    command(error)
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", "vmrlib try: bad value here\n")


def test_debug_shows_where_an_error_came_from(command):
    command(ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        cli.main(["try", "--debug"])


def test_a_mistake_of_ours_keeps_its_traceback(command):
    command(KeyError("bug"))
    with pytest.raises(KeyError):
        cli.main(["try"])


def test_an_interrupt_is_told_and_has_its_own_exit_code(command, capsys):
    command(KeyboardInterrupt())
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "vmrlib try: interrupted\n"


def test_a_terminal_without_the_characters_gets_their_codes(tmp_path):
    path = tmp_path / "\u65e5.jsonl"
    path.write_text('{"qid": 1, "query": " \u65e5 ", "vid": "v", "duration": 3}\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "vmrlib", "data", "validate", str(path)],
        cwd=ROOT,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        check=True,
    )
    assert done.stdout.count(b"\\u65e5") == 3
    assert done.stderr == b""


def test_success_is_exit_code_0(command, capsys):
    command()
    assert cli.main(["try", "--number", "3"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("call", [[], ["nonsense"], ["try", "--number", "x"], ["try", "--unknown"]])
def test_a_wrong_call_is_one_line_and_exit_code_2(command, capsys, call):
    command()
    with pytest.raises(SystemExit) as stop:
        cli.main(call)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m vmrlib")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"python -m vmrlib {name}" in text.partition("example")[2]
    assert "--debug" in text


def test_help_lists_the_commands_without_loading_torch():
    code = (
        "import sys, vmrlib.cli as c\ntry: c.main(['-h'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in cli.COMMANDS)
    assert done.stdout.split()[-1] == "False"


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "vmrlib", "stage"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vmrlib stage: --out FOLDER is missing (or --statistics)\n"

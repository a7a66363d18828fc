"""Runs every benchmark beside this file and writes what they measured to RESULTS.md.

    python benchmarks/run.py [--quick] [NAME ...]

A benchmark is a script `benchmarks/NAME.py`, complete in itself, whose last printed line is one JSON
object of ratios. One that fails, or whose last line is something else, is named, and the exit code is 1.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RESULTS = "RESULTS.md"


@dataclass(frozen=True)
class Outcome:
    """What one benchmark measured, or why it measured nothing."""

    name: str
    command: str
    seconds: float
    ratios: dict
    problem: str = ""


def benchmark_names(folder: Path) -> list[str]:
    """The names of the benchmarks in a folder, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.py") if path.name != Path(__file__).name)


def run_benchmark(folder: Path, name: str, quick: bool) -> Outcome:
    """The ratios of one benchmark, run in its own process from the folder above; shows what it prints."""
    arguments = [f"{folder.name}/{name}.py", *(["--quick"] if quick else [])]
    command = " ".join(["python", *arguments])
    started = time.perf_counter()
    last_line = ""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder.parent, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            last_line = line.strip() or last_line
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        return Outcome(name, command, seconds, {}, f"exit code {process.returncode}")
    try:
        ratios = json.loads(last_line)
    except json.JSONDecodeError:
        ratios = None
    if not isinstance(ratios, dict):
        return Outcome(name, command, seconds, {}, f"the last line is no JSON object: {last_line!r}")
    return Outcome(name, command, seconds, ratios)


def describe_machine() -> str:
    """The processor, its cores and the versions that a time depends on, in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = named[0].partition(":")[2].strip() if named else processor
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def as_markdown(outcomes: list[Outcome], machine: str, date: str, command: str) -> str:
    """The page of results: machine, date, command, then one section for each benchmark."""
    parts = [
        "# Benchmarks",
        "Ratios compare two ways to compute the same thing, side by side in one run; their outputs are"
        " asserted equal.",
        f"- machine: {machine}\n- date: {date}\n- command: `{command}`",
    ]
    for outcome in outcomes:
        parts.append(f"## {outcome.name}\n\n`{outcome.command}`, {outcome.seconds:.0f} s")
        if outcome.problem:
            parts.append(f"**No result**: {outcome.problem}")
        else:
            parts.append(f"```json\n{json.dumps(outcome.ratios, indent=2)}\n```")
    if not outcomes:
        parts.append("There is no benchmark yet.")
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """0 when every benchmark gave its ratios, else 1."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and write benchmarks/RESULTS.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, at most a minute each")
    options = parser.parse_args(arguments)
    known = benchmark_names(folder)
    for name in options.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(known) or 'none'}")

    outcomes = []
    for name in options.names or known:
        print(f"== {name}", flush=True)
        outcomes.append(run_benchmark(folder, name, options.quick))
    flags = ["--quick"] if options.quick else []
    command = " ".join(["python", "benchmarks/run.py", *flags, *options.names])
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    temporary = folder / f"{RESULTS}.tmp"
    temporary.write_text(as_markdown(outcomes, describe_machine(), date, command), encoding="utf-8")
    os.replace(temporary, folder / RESULTS)
    for outcome in outcomes:
        if outcome.problem:
            print(f"{outcome.name}: {outcome.problem}", file=sys.stderr)
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

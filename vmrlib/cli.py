"""The command line: `python -m vmrlib COMMAND`.

Each command is a module with `add_arguments(parser)` and `run(args)`, which returns the exit code.
What a user can mend (a ValueError or OSError) is told in one line; `--debug` shows where it came from.
"""

import argparse
import importlib
import sys

COMMANDS = {
    "stage": ("vmrlib.data.stage.export", "write Stage videos, annotations and subtitles, or its statistics"),
    "data": ("vmrlib.data.command", "check the public datasets and annotations of your own"),
    "extract": ("vmrlib.features.extract", "turn videos into a feature store"),
    "train": ("vmrlib.train", "train a model as a configuration says, or go on with a run"),
    "ablate": ("vmrlib.ablate", "train the arms of an experiment over seeds, and keep every hit"),
    "find": ("vmrlib.finding", "find the moment of a video that a sentence describes"),
    "evaluate": ("vmrlib.evaluate", "score predictions as the official evaluators do"),
    "analyse": (
        "vmrlib.analyse",
        "where a model is right: by moment length, position, query length and verb",
    ),
    "grade": ("vmrlib.grade", "grade students' notebooks"),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a call in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (--help shows how)\n")


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 success, 1 an error the user can mend, 2 a wrong call."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe may not have all characters; in notebooks and tests streams are other objects.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = _Parser(prog="python -m vmrlib", description="Video moment retrieval.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Only the command that is asked for is imported: most of them need torch.
    named = next((word for word in arguments if not word.startswith("-")), None)
    modules = {}
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == named:
            modules[name] = importlib.import_module(module)
            modules[name].add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(arguments)
    try:
        return modules[args.command].run(args)
    except (ValueError, OSError) as error:
        if args.debug:
            raise
        message = " ".join(str(error).split())
        print(f"vmrlib {args.command}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"vmrlib {args.command}: interrupted", file=sys.stderr)
        return 130

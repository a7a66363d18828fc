"""python -m vmrlib data: what there is of the public datasets, and whether it is right."""

import argparse
import importlib

COMMANDS = {
    "check": ("vmrlib.data.check", "read every dataset that is there; count queries and anomalies"),
    "validate": ("vmrlib.data.validate", "check annotations of your own, line by line"),
    "features": ("vmrlib.data.feature_files", "check published feature files against the annotations"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands."""
    parser.epilog = "example: python -m vmrlib data check --json"
    commands = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        importlib.import_module(module).add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen subcommand."""
    return importlib.import_module(COMMANDS[args.data_command][0]).run(args)

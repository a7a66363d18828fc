"""python -m vmrlib evaluate: score a file of predictions as the official evaluators do."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from vmrlib.data.annotations import Query, read_jsonl
from vmrlib.data.predictions import read_corpus_predictions, read_corpus_queries, read_predictions
from vmrlib.metrics import corpus, qvhighlights, span
from vmrlib.metrics.highlights import LEVELS
from vmrlib.metrics.recall import CONVENTIONS, sign_of

EXAMPLES = {
    "qvhighlights": "--predictions hl_val_submission.jsonl --annotations highlight_val_release.jsonl --json",
    "tvr": "--predictions submission.json --annotations tvr_val_release.jsonl --ranks 1 10 100",
    "span": "--predictions answers.jsonl --annotations tacos/test --convention MSAT --nms 0.37",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one subcommand for each way to judge."""
    parser.epilog = f"example: python -m vmrlib evaluate qvhighlights {EXAMPLES['qvhighlights']}"
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)

    def kind(name: str, summary: str) -> argparse.ArgumentParser:
        command = kinds.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: python -m vmrlib evaluate {name} {EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--predictions", metavar="FILE", required=True, help="what the model answered")
        command.add_argument(
            "--annotations",
            metavar="FILE|DATASET/SPLIT",
            required=True,
            help="the truth: a JSONL file, or an installed split such as tacos/test",
        )
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.add_argument("--partial", action="store_true", help="judge the queries that both files have")
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        return command

    kind("qvhighlights", "mAP, R1, mIoU and highlights, as the evaluator of QVHighlights")
    command = kind("tvr", "VCMR, SVMR and VR in TVR's submission format, as its evaluator")
    command.add_argument(
        "--ranks", type=positive, nargs="+", default=list(corpus.RANKS), metavar="K", help="K of R@K"
    )
    command = kind("span", "R@n, IoU=m, mIoU and dR@n, IoU=m with 95 %% intervals")
    command.add_argument(
        "--convention",
        type=convention,
        default=">=",
        metavar="NAME|SIGN",
        help=f"is an IoU of exactly m a hit? >= (default), >, or who counts so: {', '.join(CONVENTIONS)}",
    )
    command.add_argument("--ious", type=fraction, nargs="+", default=list(span.IOUS), metavar="M")
    command.add_argument("--ranks", type=positive, nargs="+", default=list(span.RANKS), metavar="N")
    command.add_argument("--nms", type=fraction, metavar="IOU", help="non-maximum suppression first")


def run(args: argparse.Namespace) -> int:
    """Prints the figures as a table, or as one JSON object."""
    try:
        figures, table = {"qvhighlights": _qvhighlights, "tvr": _tvr, "span": _span}[args.kind](args)
    except ValueError as error:
        if args.predictions in str(error) or args.annotations in str(error):  # a reader has named its file
            raise
        raise ValueError(f"{args.predictions} against {args.annotations}: {error}") from error
    if args.json:
        print(json.dumps(figures, indent=4))
    else:
        print("\n".join(_notes(figures) + table(figures)))
    return 0


def read_queries(text: str, read_file: Callable = read_jsonl) -> list[Query]:
    """The queries of a file, or of DATASET/SPLIT among the installed annotations.

    Raises ValueError where it is neither, and whatever the readers raise.
    """
    if Path(text).is_file():
        return read_file(text)
    from vmrlib.data.datasets import DATASETS, read_split  # reads public files: only where one is named

    dataset, _, split = text.partition("/")
    if dataset in DATASETS and split:
        return list(read_split(dataset, split).queries)
    raise ValueError(f"{text}: no such file, and no DATASET/SPLIT of {', '.join(DATASETS)}")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, not {text!r}")
    return int(text)


def fraction(text: str) -> float:
    """A number above 0 and at most 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, not {text!r}")
    return number


def convention(text: str) -> str:
    """The sign that a convention's name stands for."""
    try:
        return sign_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _qvhighlights(args: argparse.Namespace):
    figures = qvhighlights.evaluate_qvhighlights(
        read_predictions(args.predictions), read_queries(args.annotations), args.partial
    )
    return figures, qvhighlights_table


def _tvr(args: argparse.Namespace):
    figures = corpus.evaluate_corpus(
        read_corpus_predictions(args.predictions),
        read_queries(args.annotations, read_corpus_queries),
        args.ranks,
        partial=args.partial,
    )
    return figures, tvr_table


def _span(args: argparse.Namespace):
    figures = span.evaluate_span(
        read_predictions(args.predictions),
        read_queries(args.annotations),
        args.ranks,
        args.ious,
        args.convention,
        args.nms,
        args.partial,
    )
    return figures, span_table


def qvhighlights_table(figures: dict) -> list[str]:
    """Lines of text: moment retrieval by length of the moment, highlights by level."""
    ranges = ("full", "short", "middle", "long")
    rows = [["mAP", *(figures[name]["MR-mAP"]["average"] for name in ranges)]]
    rows += [[f"mAP@{iou}", *(figures[name]["MR-mAP"][iou] for name in ranges)] for iou in ("0.5", "0.75")]
    rows += [
        [f"R@1, IoU={iou}", *(figures[name]["MR-R1"][iou] for name in ranges)]
        for iou in ("0.3", "0.5", "0.7")
    ]
    rows += [["mIoU", *(figures[name]["MR-mIoU"] for name in ranges)]]
    lines = columns(["moments", *ranges], rows)
    if "HL-min-Fair" in figures:
        levels = [figures[f"HL-min-{level}"] for level in LEVELS]
        names = {"mAP": "HL-mAP", "Hit@1": "HL-Hit1"}
        rows = [[name, *(level[key] for level in levels)] for name, key in names.items()]
        lines += ["", *columns(["highlights", *LEVELS], rows)]
    return lines


def tvr_table(figures: dict) -> list[str]:
    """Lines of text: every task with its recalls, of all queries and by type."""
    lines: list[str] = []
    for task in (name for name in corpus.TASKS if name in figures):
        by_type = figures.get(f"{task}_by_type")
        types = corpus.TYPES if by_type else ()
        rows = [
            [recall_name(key), value, *(by_type[f"{name}-{key}"] for name in types)]
            for key, value in figures[task].items()
        ]
        lines += ([""] if lines else []) + columns([task, "all", *types], rows)
    return lines


def span_table(figures: dict) -> list[str]:
    """Lines of text: every figure with its interval."""
    rows = [
        [name, figures[name], f"{low:.2f} to {high:.2f}"]
        for name, (low, high) in figures["intervals"].items()
    ]
    title = f"{figures['queries']} queries, hit: IoU {figures['convention']} m"
    return [title, "", *columns(["", "%", "95 % interval"], rows)]


def columns(head: Sequence, rows: Sequence[Sequence]) -> list[str]:
    """Lines of a table: names to the left, numbers with two decimals to the right, `-` for None."""
    cells = [[_cell(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in cells
    ]


def _cell(value) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.2f}"


def recall_name(key: str) -> str:
    """`0.5-r1` as `R@1, IoU=0.5`, `r1` as `R@1`."""
    iou, _, rank = key.rpartition("-")
    return f"R@{rank[1:]}, IoU={iou}" if iou else f"R@{rank[1:]}"


def _notes(figures: dict) -> list[str]:
    """What was left out with --partial, in words."""
    notes = figures.get("partial", {})
    by_task = {"": notes} if "queries" in notes else notes
    lines = [
        f"{task}{': ' if task else ''}{note['queries']} queries judged; left out: {note['without_query']} "
        f"predictions without a query, {note['without_prediction']} queries without a prediction"
        for task, note in by_task.items()
    ]
    return [*lines, ""] if lines else []

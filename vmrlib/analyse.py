"""python -m vmrlib analyse: where a model is right, by moment length, position, query length and verb."""

import argparse
import json
import os
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from vmrlib.data.annotations import Query, read_jsonl
from vmrlib.data.files import write_bytes
from vmrlib.data.predictions import Prediction, json_lines, match, read_predictions
from vmrlib.evaluate import columns, fraction, read_queries
from vmrlib.metrics.analysis import Analysis, Group, analyse

__all__ = ["Analysis", "Group", "analyse", "find_queries", "table"]

QVHIGHLIGHTS = ("val", "test_with_gt", "train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what is analysed and how."""
    parser.epilog = "example: python -m vmrlib analyse hl_val_submission.jsonl --out analysis.png"
    parser.add_argument("predictions", metavar="PREDICTIONS", help="JSON lines with pred_relevant_windows")
    parser.add_argument(
        "--annotations",
        metavar="FILE|DATASET/SPLIT",
        help="the truth; by default what the lines hold themselves (relevant_windows, duration), else the "
        "split of QVHighlights or Stage with the same ids",
    )
    parser.add_argument("--iou", type=fraction, default=0.5, help="IoU of a hit (default 0.5)")
    parser.add_argument("--out", type=Path, metavar="PICTURE.png", help="write the picture here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the table, or one JSON object, and writes the picture."""
    if args.out is not None and args.out.suffix.lower() != ".png":
        raise ValueError(f"--out {args.out}: the picture is a PNG, its name ends in .png")
    predictions = read_predictions(args.predictions)
    queries = (
        read_queries(args.annotations) if args.annotations else find_queries(args.predictions, predictions)
    )
    matched = match(predictions, queries)
    result = analyse([one.moments for one in matched.predictions], matched.queries, args.iou)
    if args.out is not None:
        from vmrlib.viz.analysis import draw_analysis  # matplotlib: only where a picture is asked for
        from vmrlib.viz.style import to_png

        write_bytes(args.out, to_png(draw_analysis(result, Path(args.predictions).name)))
    print(json.dumps(_rounded(asdict(result)), indent=4) if args.json else "\n".join(table(result)))
    return 0


def find_queries(path: str | os.PathLike, predictions: list[Prediction]) -> list[Query]:
    """The queries that a file of predictions answers, without being told.

    The lines themselves, where all have `relevant_windows` and `duration`; else the split of QVHighlights, if
    installed, or of Stage that has exactly these ids, and these texts where the file has texts. Raises
    ValueError where there is none.
    """
    if all("relevant_windows" in row and "duration" in row for _, row in json_lines(path)):
        return read_jsonl(path)
    for queries in chain(_qvhighlights(predictions), _stage(predictions)):
        if _same(predictions, queries):
            return queries
    raise ValueError(
        f"{path}: no installed annotations have the ids of these {len(predictions)} predictions "
        f"({predictions[0].query_id}, ...): name them with --annotations"
    )


def table(analysis: Analysis) -> list[str]:
    """Lines of text: each group with its queries, R@1, interval and mIoU, in percent."""
    head = ["", "queries", f"R@1, IoU={analysis.iou:g}", "95 % interval", "mIoU"]
    rows = [_row(analysis.overall)]
    for name, groups in analysis.groups.items():
        rows += [[""] * len(head), [name] + [""] * (len(head) - 1)]
        rows += [_row(group, "  ") for group in groups]
    return [line.rstrip() for line in columns(head, rows)]


def _row(group: Group, indent: str = "") -> list:
    interval = "-" if group.recall is None else f"{group.low:.2f} to {group.high:.2f}"
    return [indent + group.name, group.queries, group.recall, interval, group.mean_iou]


def _qvhighlights(predictions: list[Prediction]):
    """The installed splits of QVHighlights, one after the other, if the ids can be theirs."""
    if not all(prediction.query_id.isdecimal() for prediction in predictions):
        return
    from vmrlib.data.datasets import read_split

    for split in QVHIGHLIGHTS:
        try:
            yield list(read_split("qvhighlights", split).queries)
        except OSError:  # not installed
            continue


def _stage(predictions: list[Prediction]):
    """The splits of Stage with default knobs that the ids name, one after the other."""
    from vmrlib.data.stage.splits import SPLITS, StageConfig, make_split

    named = [split for split in SPLITS if predictions[0].query_id.rsplit("-", 2)[0] == split]
    for split in named:
        for config in (StageConfig.open(), StageConfig.kitchen()):
            if split in config.sizes:
                yield make_split(split, config).queries


def _same(predictions: list[Prediction], queries: list[Query]) -> bool:
    """Do predictions answer exactly these queries? Words are compared where a prediction has a text."""
    words_of = {query.id: query.text.split() for query in queries}
    return words_of.keys() == {prediction.query_id for prediction in predictions} and all(
        not prediction.text or prediction.text.split() == words_of[prediction.query_id]
        for prediction in predictions
    )


def _rounded(value):
    """The same structure with two decimals."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.2f}") if isinstance(value, float) else value

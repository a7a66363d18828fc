"""The evaluation of QVHighlights written down plainly: query by query, threshold by threshold.

`evaluate(submission, annotations)` takes the rows of the JSONL files as dicts. The choices that the released
script leaves to chance or stops at are those of `vmrlib.metrics.qvhighlights`.
"""

import numpy as np

R1_IOUS = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
AP_IOUS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
RANGES = {"full": None, "long": (30, 150), "middle": (10, 30), "short": (0, 10)}
LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}


def evaluate(submission, annotations):
    """All figures in percent with two decimals, in the structure of the official file."""
    annotation_of = {row["qid"]: row for row in annotations}
    ranges = {name: evaluate_range(submission, annotation_of, bounds) for name, bounds in RANGES.items()}
    highlights = {}
    if "pred_saliency_scores" in submission[0]:
        for name, least in LEVELS.items():
            highlights[f"HL-min-{name}"] = evaluate_highlights(submission, annotation_of, least)
    brief = {f"MR-full-R1@{iou}": ranges["full"]["MR-R1"][str(iou)] for iou in (0.3, 0.5, 0.7)}
    brief["MR-full-mAP"] = ranges["full"]["MR-mAP"]["average"]
    brief["MR-full-mAP@0.5"] = ranges["full"]["MR-mAP"]["0.5"]
    brief["MR-full-mAP@0.75"] = ranges["full"]["MR-mAP"]["0.75"]
    brief["MR-full-mIoU"] = ranges["full"]["MR-mIoU"]
    for name in ("long", "middle", "short"):
        brief[f"MR-{name}-mAP"] = ranges[name]["MR-mAP"]["average"]
    for name, values in highlights.items():
        brief[f"{name}-mAP"] = values["HL-mAP"]
        brief[f"{name}-Hit1"] = values["HL-Hit1"]
    return {"brief": brief, **highlights, **ranges}


def evaluate_range(submission, annotation_of, bounds):
    """mIoU, mAP and R1 of the queries with a moment whose length lies in (low, high]."""
    precisions, overlaps = [], []
    for row in submission:
        truths = annotation_of[row["qid"]]["relevant_windows"]
        if bounds is not None:
            truths = [window for window in truths if bounds[0] < window[1] - window[0] <= bounds[1]]
        if truths:
            precisions.append(average_precisions(row["pred_relevant_windows"][:10], truths))
            overlaps.append(first_overlap(row["pred_relevant_windows"], truths))
    if not precisions:
        return {
            "MR-mIoU": None,
            "MR-mAP": dict.fromkeys([*map(str, AP_IOUS), "average"]),
            "MR-R1": dict.fromkeys(map(str, R1_IOUS)),
        }
    mean = np.array(precisions).mean(axis=0)
    overlaps = np.array(overlaps)
    return {
        "MR-mIoU": two_decimals(np.mean(overlaps)),
        "MR-mAP": {str(iou): two_decimals(value) for iou, value in zip(AP_IOUS, mean, strict=True)}
        | {"average": two_decimals(np.mean(mean))},
        "MR-R1": {str(iou): two_decimals(np.mean(overlaps >= iou)) for iou in R1_IOUS},
    }


def average_precisions(windows, truths):
    """The average precision of one query's windows [start, end, score] at each threshold."""
    windows = sorted(windows, key=lambda window: -window[2])
    overlaps = [[iou(window, truth) for truth in truths] for window in windows]
    # For each window the true moments from the best overlap down; of equals the later one first.
    orders = [sorted(range(len(truths)), key=lambda index: (-row[index], -index)) for row in overlaps]
    values = []
    for threshold in AP_IOUS:
        taken = set()
        hits = []
        for row, order in zip(overlaps, orders, strict=True):
            hit = False
            for index in order:
                if row[index] < threshold:
                    break
                if index not in taken:
                    taken.add(index)
                    hit = True
                    break
            hits.append(hit)
        values.append(interpolated_precision(hits, len(truths)))
    return values


def interpolated_precision(hits, number):
    """The area under the best precision at a recall or a higher one, over recall."""
    precision, recall, found = [], [], 0
    for rank, hit in enumerate(hits, 1):
        found += hit
        precision.append(found / rank)
        recall.append(found / number)
    for index in reversed(range(len(precision) - 1)):
        precision[index] = max(precision[index], precision[index + 1])
    area, before = 0.0, 0.0
    for value, height in zip(recall, precision, strict=True):
        if value != before:
            area += (value - before) * height
            before = value
    return area


def iou(a, b):
    """Overlap / (length + length - overlap) of two windows; 0 where that has no length."""
    overlap = max(min(a[1], b[1]) - max(a[0], b[0]), 0)
    union = (a[1] - a[0]) + (b[1] - b[0]) - overlap
    return overlap / union if union > 0 else 0.0


def first_overlap(windows, truths):
    """The IoU of the first window with the true moment it overlaps best."""
    if not windows:
        return 0.0
    first = windows[0]
    best = max(truths, key=lambda truth: iou(first, truth))
    overlap = max(min(first[1], best[1]) - max(first[0], best[0]), 0)
    hull = max(first[1], best[1]) - min(first[0], best[0])
    return overlap / hull if hull > 0 else 0.0


def evaluate_highlights(submission, annotation_of, least):
    """mAP and Hit@1 where a clip is positive from this score on."""
    precisions, hits = [], []
    for row in submission:
        positive = rated_clips(annotation_of[row["qid"]]) >= least
        saliency = np.array(row["pred_saliency_scores"], dtype=float)
        best = int(np.argmax(saliency)) if len(saliency) else len(positive)
        hits.append(bool(best < len(positive) and positive[best].any()))
        scores = np.zeros(len(positive))
        scores[: len(saliency)] = saliency[: len(positive)]
        precisions.append([highlight_precision(positive[:, rater], scores) for rater in range(3)])
    return {"HL-mAP": two_decimals(np.mean(precisions)), "HL-Hit1": two_decimals(np.mean(hits))}


def rated_clips(annotation):
    """The raters' scores of every clip of two seconds, (T, 3)."""
    ratings = np.zeros((int(annotation["duration"] / 2), 3))
    if annotation["relevant_clip_ids"]:
        ratings[annotation["relevant_clip_ids"]] = annotation["saliency_scores"]
    return ratings


def highlight_precision(positive, scores):
    """The mean interpolated precision over the points where recall grows; equal scores are one point."""
    if not positive.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(positive[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.mean(best[np.diff(found, prepend=0) > 0]))


def two_decimals(fraction):
    return float(f"{100 * fraction:.2f}")

"""What is odd in the rows of a split, counted before anything is mended."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLANKS = " \t\r\n"
LINE_BREAK = re.compile(r"[\n\r\t]")
LETTER = re.compile(r"[^\W\d_]")
TOLERANCE = 0.01  # seconds: durations are rounded to hundredths in most files
WHOLE = 0.99  # share of the video from which a moment counts as the whole video


class Description(NamedTuple):
    """Counts of anomalies, and min, median, mean and max of durations, moment lengths and words."""

    findings: dict[str, int]
    figures: dict[str, dict[str, float]]


def describe(rows: Sequence) -> Description:
    """The findings that every dataset is searched for, in rows as they stand in the file."""
    durations: dict[str, float] = {}
    for row in rows:
        durations.setdefault(row.video_id, row.duration)
    moments = [(start, end, row.duration) for row in rows for start, end in row.moments]
    texts = [row.text for row in rows]
    keys = [(row.video_id, row.moments, same_text(row.text)) for row in rows]
    findings = count_texts(texts) | count_moments(moments)
    findings |= {
        "moments": len(moments),
        "queries with several moments": sum(len(row.moments) > 1 for row in rows),
        "most moments of a query": max((len(row.moments) for row in rows), default=0),
        "exact repetitions": len(keys) - len(set(keys)),
        "texts repeated in a video": len(keys) - len({(video, text) for video, _, text in keys}),
        "videos with several durations": len({(row.video_id, row.duration) for row in rows}) - len(durations),
        "videos under 5 s": sum(0 < duration < 5 for duration in durations.values()),
    }
    known = [duration for duration in durations.values() if duration > 0]
    figures = {
        "video duration": summary(known),
        "moment length": summary([end - start for start, end, _ in moments]),
        "words": summary([len(text.split()) for text in texts]),
        "seconds past the end of the video": summary(_overshoot(moments)),
    }
    return Description(findings, {name: numbers for name, numbers in figures.items() if numbers})


def count_texts(texts: Sequence[str]) -> dict[str, int]:
    """How many texts are empty, padded with blanks, without a final period, ... in the file."""
    inner = [text.strip(BLANKS) for text in texts]
    return {
        "empty texts": inner.count(""),
        "texts without letters": sum(not LETTER.search(text) for text in inner),
        "texts of one word": sum(len(text.split(maxsplit=1)) == 1 for text in inner),
        "texts with outer blanks": sum(len(a) < len(b) for a, b in zip(inner, texts, strict=True)),
        "texts with a line break at the end": sum(text.endswith(("\n", "\r")) for text in texts),
        "texts with inner line breaks or tabs": sum(bool(LINE_BREAK.search(text)) for text in inner),
        "texts with double blanks": sum("  " in text for text in inner),
        "texts with non-ASCII characters": sum(not text.isascii() for text in texts),
        "texts without a final period": sum(not text.endswith(".") for text in inner),
        "texts with a #": sum("#" in text for text in inner),
    }


def count_moments(moments: Sequence[tuple[float, float, float]]) -> dict[str, int]:
    """How many (start, end, duration of the video) run backwards, leave the video, cover it, ..."""
    start, end, duration = np.array(moments, dtype=np.float64).reshape(-1, 3).T
    found = {
        "ends past the video": end > duration + TOLERANCE,
        "ends more than 1 s past the video": end - duration > 1,
        "starts past the video": start >= duration,
        "starts at or after the end": start >= end,
        "starts after the end": start > end,
        "no time left inside the video": start >= np.minimum(end, duration),
        "starts before 0": start < 0,
        "moments of 99 % of the video": np.minimum(end, duration) - start >= WHOLE * duration,
        "moments under 1 s": (end - start > 0) & (end - start < 1),
    }
    return {name: int(rows.sum()) for name, rows in found.items()}


def same_text(text: str) -> str:
    """What two texts have in common that count as one: letters in lower case, no outer blanks."""
    return text.strip(BLANKS).lower()


def summary(values: Sequence[float | int]) -> dict[str, float]:
    """Min, median, mean and max; {} for no values. The upper of two values in the middle is the median."""
    if not values:
        return {}
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    numbers = {"min": ordered[0], "median": middle, "mean": sum(ordered) / len(ordered), "max": ordered[-1]}
    return {name: float(number) for name, number in numbers.items()}


def _overshoot(moments: Sequence[tuple[float, float, float]]) -> list[float]:
    return [end - duration for _, end, duration in moments if end > duration + TOLERANCE]

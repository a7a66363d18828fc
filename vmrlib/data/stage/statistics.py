"""How Stage compares with the datasets it stands for: durations, moments, words.

The figures of TACoS and ActivityNet Captions come from `real_statistics.json`, which is computed by
`python -m vmrlib.data.stage.statistics --mirror FOLDER` from the real annotation files.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

from vmrlib.data.stage.splits import StageConfig, make_split

REAL = Path(__file__).with_name("real_statistics.json")
ROWS = {
    "videos": "videos",
    "queries": "queries",
    "queries_per_video": "queries per video",
    "duration_median": "video, median (s)",
    "moment_median": "moment, median (s)",
    "moment_share": "moment / video, mean (%)",
    "words_mean": "words per query, mean",
    "vocabulary": "different words",
}


def describe(rows: list[tuple[str, float, float, float, str]]) -> dict[str, float]:
    """The figures of `ROWS` for queries given as (video id, duration, start, end, text); seconds."""
    durations = {video: duration for video, duration, *_ in rows}
    words = [re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower()) for *_, text in rows]
    return {
        "videos": len(durations),
        "queries": len(rows),
        "queries_per_video": round(len(rows) / len(durations), 1),
        "duration_median": round(statistics.median(durations.values()), 1),
        "moment_median": round(statistics.median(end - start for _, _, start, end, _ in rows), 1),
        "moment_share": round(
            100 * statistics.fmean((end - start) / duration for _, duration, start, end, _ in rows), 1
        ),
        "words_mean": round(statistics.fmean(map(len, words)), 1),
        "vocabulary": len({word for sentence in words for word in sentence}),
    }


def stage_statistics(config: StageConfig) -> dict[str, float]:
    """The figures of the training split of a Stage profile."""
    split = make_split("train", config)
    return describe([(q.video_id, q.duration, *q.moments[0], q.text) for q in split.queries])


def real_statistics(mirror: Path) -> dict[str, dict[str, float]]:
    """The figures of the training splits of TACoS and ActivityNet Captions, from their files.

    TACoS counts in frames; ends after the video are cut, moments that run backwards left out.
    """
    sources = {
        "TACoS": ("tacos/train.json", "fps"),
        "ActivityNet Captions": ("activitynet_captions/train.json", None),
    }
    result = {}
    for name, (path, rate) in sources.items():
        content = json.loads((mirror / "mirror" / path).read_text(encoding="utf-8"))
        rows = []
        for video, entry in content.items():
            fps = entry[rate] if rate else 1.0
            duration = entry["num_frames"] / fps if rate else entry["duration"]
            for (start, end), text in zip(entry["timestamps"], entry["sentences"], strict=True):
                start, end = max(start / fps, 0.0), min(end / fps, duration)
                if start < end:
                    rows.append((video, duration, start, end, text))
        result[name] = describe(rows)
    return result


def table(as_json: bool = False) -> str:
    """Both profiles beside the dataset each one imitates."""
    real = json.loads(REAL.read_text(encoding="utf-8"))
    columns = {
        "Stage open": stage_statistics(StageConfig.open()),
        "ActivityNet Captions": real["ActivityNet Captions"],
        "Stage kitchen": stage_statistics(StageConfig.kitchen()),
        "TACoS": real["TACoS"],
    }
    if as_json:
        return json.dumps(columns)
    lines = [f"{'training split':26}" + "".join(f"{name:>22}" for name in columns)]
    lines += [
        f"{label:26}" + "".join(f"{column[key]:>22,}" for column in columns.values())
        for key, label in ROWS.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Recompute real_statistics.json from the real annotation files."
    )
    parser.add_argument("--mirror", type=Path, required=True)
    REAL.write_text(
        json.dumps(real_statistics(parser.parse_args().mirror), indent=2) + "\n", encoding="utf-8"
    )

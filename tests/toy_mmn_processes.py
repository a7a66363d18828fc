"""A small MMN that two processes train: straight through, and killed and resumed.

    python toy_mmn_processes.py FOLDER

What normalisation remembers differs between the two, of which each sees its own videos.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from toy_mmn import SMALL
from toy_training import DIM, WORDS, die, exit_code, in_two_children, toy_queries, toy_words

from vmrlib.data.by_video import VideoDataset
from vmrlib.data.loaders import train_vocabulary
from vmrlib.training import TrainingSettings, train

VIDEOS = 4


def videos(number: int) -> VideoDataset:
    """So many queries about four videos; the features of each are of another size."""
    queries = [replace(query, video_id=f"v{n % VIDEOS}") for n, query in enumerate(toy_queries(number))]
    generator = torch.Generator().manual_seed(2)
    features = {f"v{n}": torch.randn(10, DIM, generator=generator) * DIM**n for n in range(VIDEOS)}
    vocabulary = train_vocabulary(WORDS)
    return VideoDataset(queries, features, SMALL.clips, SMALL.cells, toy_words(), vocabulary)


def run(out: Path, last: int | None = None) -> None:
    """Six steps, of which it dies in step `last`; every second one is evaluated, all are saved."""
    settings = TrainingSettings(
        batch_size=2, steps=6, learning_rate=1e-2, metric="mIoU", evaluate_steps=2, save_steps=1, device="cpu"
    )
    torch.manual_seed(0)
    model = SMALL.build()
    train(
        model,
        videos(12),
        videos(20),
        settings,
        out,
        resume=True,
        on_step=lambda r: r["step"] == last and die(),
    )


if __name__ == "__main__":
    import accelerate  # noqa: F401 (once, before the forks)
    from transformers import DistilBertModel  # noqa: F401

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    runs = [("whole", None), ("killed", 4), ("killed", None)]
    codes = []
    for name, last in runs:
        children = in_two_children(lambda out=folder / name, last=last: run(out, last))
        codes.append([exit_code(child) for child in children])
    print(json.dumps(codes))

"""A small MMN, and batches of noise for it."""

import torch

from vmrlib.models.mmn import MMN
from vmrlib.models.mmn_config import MMNConfig

SMALL = MMNConfig.stage(
    clips=8,
    cells=4,
    pooling_counts=(3,),
    dim_video=6,
    dim_words=5,
    dim=8,
    dim_maps=8,
    dim_joint=8,
    dim_text=8,
    dim_text_ffn=8,
    text_layers=1,
    text_heads=2,
    layers=2,
)
LEARNT = ("moments_cell", "epoch")


def make_batch(videos=(0, 0, 1, 2, 2), words=5, seed=0):
    """Noise for sentences about these videos; the third of them is shorter than the others."""
    generator = torch.Generator().manual_seed(seed)
    number, count = len(videos), max(videos) + 1
    start = 2 * torch.rand(number, 1, generator=generator, dtype=torch.float64)
    mask = torch.ones(number, words, dtype=torch.bool)
    mask[2, 3:] = False
    return {
        "video": torch.randn(count, SMALL.clips, SMALL.dim_video, generator=generator),
        "words": torch.randn(number, words, SMALL.dim_words, generator=generator) * mask[..., None],
        "word_mask": mask,
        "sentence_video": torch.tensor(videos),
        "duration": torch.full((number,), 20.0, dtype=torch.float64),
        "moments_cell": torch.cat([start, start + 1.5], dim=1),
        "texts": [f"sentence {n}" for n in range(number)],
        "query_ids": [f"q{n}" for n in range(number)],
        "epoch": 0,
    }


def part_of(batch, videos):
    """The sentences about some of the videos, which come in this order."""
    rows = [row for row, video in enumerate(batch["sentence_video"].tolist()) if video in videos]
    names = ("words", "word_mask", "duration", "moments_cell")
    places = torch.tensor([videos.index(int(batch["sentence_video"][row])) for row in rows])
    part = {name: batch[name][rows] for name in names}
    return batch | part | {"video": batch["video"][list(videos)], "sentence_video": places}


def for_inference(batch):
    return {name: value for name, value in batch.items() if name not in LEARNT}


def small_model() -> MMN:
    """With the same weights each time, in evaluation mode."""
    torch.manual_seed(0)
    return MMN(SMALL).eval()

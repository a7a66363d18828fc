"""Trains the tiny CLIP that plays CLIP's part on Stage: single frames and what they show, never motion.

    python -m vmrlib.models.stage_clip --out FOLDER

Each frame comes from a video of its own, with captions that name colours, shapes, sizes, places and
the scene. The model never sees two frames of one video, a verb, an unseen scene or an unseen
composition; `manifest.json`, written beside the weights, says what it saw, and a test reads it.
"""

import argparse
import json
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from vmrlib.data.files import write_text
from vmrlib.data.stage.captions import static_caption, vocabulary
from vmrlib.data.stage.render import render
from vmrlib.data.stage.script import Choice, Plan, write_script
from vmrlib.data.stage.world import KITCHEN, SCENES, UNSEEN_SCENES, VERSION, Script
from vmrlib.models.clip import STAGE_WEIGHTS, Clip

FRAMES, EPOCHS, BATCH, LEARNING_RATE = 20_000, 6, 64, 1e-3
CAPTIONS_PER_FRAME = 4
HELD_OUT = 256  # frames after the training ones, for measuring quality
PLAN = Plan(
    scenes=(*(scene for scene in SCENES if scene not in UNSEEN_SCENES), KITCHEN),
    duration_ms=24_000,
    events=(3, 5),
    length_ms=(3000, 9000),
    actors=(2, 3),
    distractor_rate=0.45,
)


def sample(number: int, seed: int = 0) -> tuple[Script, float, list[str]]:
    """Video `number` of the pre-training set, the time (s) of its one frame, and the frame's captions."""
    name = f"pretrain-{number:05d}"
    choice = Choice(f"stage-{VERSION}/pretrain/{seed}/{number}")
    script = write_script(name, PLAN, (), f"stage-{VERSION}/pretrain/{seed}/{number}/script")
    for _ in range(100):
        time = choice.integer(0, PLAN.duration_ms, step=100) / 1000
        if static_caption(script, time, choice) is not None:
            return script, time, [static_caption(script, time, choice) for _ in range(CAPTIONS_PER_FRAME)]
    raise ValueError(f"{name}: nobody is ever in the picture")


def samples(first: int, last: int, verbose: bool = False) -> tuple[Tensor, list[list[str]], list[dict]]:
    """Frames (N, 64, 64, 3) uint8 of samples first..last-1, their captions, and a manifest row each."""
    frames, captions, rows = [], [], []
    for number in tqdm(range(first, last), disable=not verbose, desc="frames"):
        script, time, texts = sample(number)
        frames.append(render(script, np.array([time]), size=64)[0])
        captions.append(texts)
        rows.append(
            {
                "video": script.video_id,
                "ms": round(1000 * time),
                "scene": script.scene,
                "pairs": sorted(
                    {f"{script.actors[event.actor].shape} {event.verb}" for event in script.events}
                ),
                "captions": texts,
            }
        )
    return torch.from_numpy(np.stack(frames)), captions, rows


def train(
    clip: Clip, frames: Tensor, captions: list[list[str]], epochs: int, seed: int = 0, verbose: bool = False
) -> list[float]:
    """Symmetric contrastive training (CLIP, Radford et al. 2021, figure 3); returns the loss of each step.

    Half of a batch is the mirror images of the other half, with left and right swapped in their
    captions, and a second term asks each frame to prefer its caption to that of its mirror image: this
    is what teaches places. Equal captions in a batch count as one positive. The learning rate warms up,
    because 2e-3 at once and without clipping collapses to ln(batch).
    """
    generator = torch.Generator().manual_seed(seed)
    half = BATCH // 2
    steps = epochs * (len(frames) // half)
    decayed = [p for p in clip.parameters() if p.ndim > 1]
    others = [p for p in clip.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=LEARNING_RATE
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / 200, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    tokenizer = clip.tokenizer
    clip.train()
    losses = []
    progress = tqdm(total=steps, disable=not verbose, desc="steps")
    for epoch in range(epochs):
        texts = [rows[epoch % CAPTIONS_PER_FRAME] for rows in captions]
        order = torch.randperm(len(frames), generator=generator)
        for batch in order[: len(frames) // half * half].split(half):
            pictures = torch.cat([frames[batch], frames[batch].flip(2)])
            words = [texts[k] for k in batch.tolist()]
            ids = clip.tokenize(words + [_mirror(text) for text in words])
            same = (ids[:, None] == ids[None]).all(dim=2).float()  # (B, B)
            targets = same / same.sum(dim=1, keepdim=True)
            # Now and then a word is hidden, so that `<unknown>` comes to mean nothing in particular.
            hidden = (
                (torch.rand(ids.shape, generator=generator) < 0.05)
                & (ids > tokenizer.start)
                & (ids < tokenizer.end)
            )
            ids = ids.masked_fill(hidden, tokenizer.unknown)
            images = F.normalize(clip.encode_frames(pictures).frame, dim=-1)
            sentences = F.normalize(clip.encode_text(ids).sentence, dim=-1)
            logits = clip.logit_scale * images @ sentences.T  # (B, B)
            loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
            mirrored = torch.arange(2 * half).roll(half)  # of each frame, the other one of its pair
            sided = same[torch.arange(2 * half), mirrored] == 0  # pairs whose captions say left or right
            preference = logits.diagonal() - logits[torch.arange(2 * half), mirrored]
            loss = loss + (F.softplus(-preference) * sided).sum() / sided.sum().clamp(min=1)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                clip.model.logit_scale.clamp_(max=math.log(100))
            losses.append(loss.item())
            progress.update()
    clip.eval()
    return losses


@torch.no_grad()
def quality(clip: Clip, frames: Tensor, captions: list[list[str]]) -> dict[str, float]:
    """Text-to-frame recall among these frames, and how often left is told from right (both 0..1).

    The last caption of each frame is the query; left against right compares it with its mirror image.
    """
    texts = [rows[-1] for rows in captions]
    images = F.normalize(clip.encode_frames(frames).frame, dim=-1)
    sentences = F.normalize(clip.encode_sentences(texts).sentence, dim=-1)
    similarity = sentences @ images.T  # (texts, frames)
    own = similarity.diagonal()[:, None]
    rank = (similarity >= own).sum(dim=1)  # 1 is best; ties count against it
    sided = [k for k, text in enumerate(texts) if "left" in text.split() or "right" in text.split()]
    mirrored = [_mirror(texts[k]) for k in sided]
    mirror = F.normalize(clip.encode_sentences(mirrored).sentence, dim=-1)
    against = (mirror * images[sided]).sum(dim=1)
    told = [
        bool(own[k, 0] > value)
        for k, value in zip(sided, against, strict=True)
        if texts[k] != _mirror(texts[k])
    ]
    return {
        "R@1": (rank <= 1).double().mean().item(),
        "R@5": (rank <= 5).double().mean().item(),
        "left_or_right": sum(told) / len(told),
    }


def _mirror(text: str) -> str:
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in text.split())


def manifest(rows: list[dict], measured: dict[str, float], training: dict) -> dict:
    """What the model saw, so that a test can prove what it did not see."""
    words = Counter(word for row in rows for text in row["captions"] for word in text.split())
    return {
        "stage": VERSION,
        "training": training,
        "measured_on_held_out_frames": {name: round(value, 3) for name, value in measured.items()},
        "frames": len(rows),
        "scenes": dict(sorted(Counter(row["scene"] for row in rows).items())),
        "pairs": dict(sorted(Counter(pair for row in rows for pair in row["pairs"]).items())),
        "words": dict(sorted(words.items())),
        "seen": {row["video"]: row["ms"] for row in rows},  # video -> the millisecond of its one frame
    }


def save(out: Path, clip: Clip, rows: list[dict], measured: dict, losses: list[float], epochs: int) -> None:
    """Writes weights, configuration, vocabulary and manifest into a folder."""
    clip.save(out, STAGE_WEIGHTS)
    training = {
        "epochs": epochs,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "captions_per_frame": CAPTIONS_PER_FRAME,
        "loss_every_10_steps": [
            round(sum(losses[k : k + 10]) / 10, 3) for k in range(0, len(losses) - 9, 10)
        ],
    }
    text = json.dumps(manifest(rows, measured, training), separators=(",", ":"))
    write_text(out / "manifest.json", text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for weights, configuration and manifest"
    )
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    frames, captions, rows = samples(0, args.frames, verbose=True)
    clip = Clip.untrained_stage(vocabulary())
    losses = train(clip, frames, captions, args.epochs, verbose=True)
    measured = quality(clip, *samples(args.frames, args.frames + HELD_OUT)[:2])
    save(args.out, clip, rows, measured, losses, args.epochs)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()

"""How fast UCoFiA compares texts with videos: vmrlib against a plain transcription of the specification.

    python benchmarks/ucofia.py [--quick]

MSR-VTT sizes, encoded features of noise, the same weights, evaluation as released (without L1), one thread;
similarities must be equal. The transcription goes through blocks of 32 texts x 32 videos and does in each
what the specification says, temporal encoder included. Its cost per pair is the same in every block, and so
is that of our blocks: both are timed on the same texts, a few of them, and all videos, in turn. Ours is given
besides what it does once for each of all texts and videos. `speedup_pair` is the ratio of CPU microseconds
per pair, medians; `speedup_pair_compiled` the same with our block through torch.compile (full
run only, and where there is a C++ compiler). `memory_ratio` compares the peaks, over what was there before,
of one training step's comparison of a batch of 64 with itself, from normalised and mapped features to their
gradients, each in a fresh process. `megabytes_step`: the whole model, ViT-B/32 included, forward and
backward, 4 videos of 12 frames, beyond the imports (full run only).
"""

import argparse
import json
import shutil
import statistics

import torch
import torch.nn.functional as F
from msat import peak_memory, resident, timed
from reference import ucofia as plain
from torch.utils.flop_counter import FlopCounterMode

from vmrlib.models.official import from_official
from vmrlib.models.ucofia import UCoFiAConfig
from vmrlib.models.ucofia_similarity import TextSide, VideoSide, joined

RUNS = 5
PLAIN_BLOCK = 32
FULL = {"texts": 1000, "videos": 1000, "timed": 64, "batch": 64}
QUICK = {"texts": 128, "videos": 128, "timed": 32, "batch": 64}
STEP_VIDEOS = 4
PAIRS_OF_SEVERAL_BLOCKS = 40  # two whole blocks of ours and a part of one
# Per pair, of the released evaluation in 32 x 32 blocks: the product of words and patches, interactions,
# frames, temporal encoder. Without its maps G0, G1 and L0, which the count there leaves out.
RELEASED_MFLOP = 1.57 + 0.25 + 0.012 + 9.5
MOST_APART = 0.03  # of the transcription's own count of the same

CONFIG = UCoFiAConfig.msrvtt(clip=None, patch_map_in_evaluation=False)


def generate(texts: int, videos: int) -> tuple[tuple, tuple]:
    """Features of noise with the norms of the real ones: sentences and words; frames, patches and masks."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator) * 10 / CONFIG.dim**0.5

    mask = torch.ones(videos, CONFIG.frames, dtype=torch.bool)
    mask[::3, CONFIG.frames // 2 :] = False
    words = noise(texts, CONFIG.words, CONFIG.dim)
    patches = noise(videos, CONFIG.vectors, CONFIG.dim)
    return (noise(texts, CONFIG.dim), words), (noise(videos, CONFIG.frames, CONFIG.dim), patches, mask)


def in_batches(parts: tuple) -> zip:
    """Features as an encoder gives them: some texts, or videos, at a time."""
    return zip(*(part.split(PLAIN_BLOCK) for part in parts), strict=True)


class Plain:
    """The transcription in benchmarks/reference/."""

    def __init__(self):
        torch.manual_seed(0)
        sizes = (CONFIG.frames, CONFIG.words, CONFIG.vectors, CONFIG.heads, CONFIG.layers, CONFIG.positions)
        self.model = plain.PlainUCoFiA(CONFIG.dim, *sizes)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "mat_weight" in name or "logit_weight" in name:
                    parameter += 0.02 * torch.randn_like(parameter)

    def cost(self, texts: tuple, videos: tuple, some: int) -> tuple[float, torch.Tensor]:
        """Microseconds for a pair, and all similarities of the first texts."""
        first = [part[:some] for part in texts]
        with torch.inference_mode():
            taken, levels = timed(self.model.table, first, videos, PLAIN_BLOCK)
        return 1e6 * taken / levels[0].numel(), levels

    def mflop(self, texts: tuple, videos: tuple) -> float:
        """For a pair, of one block: what `RELEASED_MFLOP` counts."""
        sentence, words = (part[:PLAIN_BLOCK] for part in texts)
        frames, patches, mask = (part[:PLAIN_BLOCK] for part in videos)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            video = self.model.video_feature(frames, mask)
            self.model.pairs(sentence, sentence, words, video, frames, patches)
        return counter.get_total_flops() / (len(sentence) * len(video)) / 1e6

    def learn(self, sides: tuple) -> dict:
        """Gradients of the sides, and of a matrix, of a training step's comparison."""
        texts, videos = sides
        plain.losses(self.model.pairs(*texts, *videos).mean(dim=0))[2].backward()
        return gradients_of(sides) | {"matrix": self.model.pixel_mat_weight.grad}

    def official(self) -> dict:
        """The weights under the authors' names."""
        state = self.model.state_dict()
        return {("clip." if name == "logit_scale" else "") + name: value for name, value in state.items()}


class Ours:
    """vmrlib's model; it takes the transcription's weights."""

    def __init__(self, other: Plain):
        self.model = from_official("ucofia", other.official(), CONFIG)

    def cost(self, texts: tuple, videos: tuple, some: int) -> tuple[float, torch.Tensor]:
        """As `Plain.cost`: a pair's share of what is done once for all texts and videos, and its own cost."""
        with torch.inference_mode():
            once, (texts, videos) = timed(self.sides, texts, videos)
            first = type(texts)(*(part[:some] for part in texts))
            taken, levels = timed(self.model.compare, first, videos)
        pairs = len(texts.sentence) * len(videos.mapped)
        return 1e6 * (once / pairs + taken / levels[0].numel()), levels

    def sides(self, texts: tuple, videos: tuple) -> tuple[TextSide, VideoSide]:
        """What texts and videos bring to every comparison."""
        return (
            joined([self.model.text_side(*some) for some in in_batches(texts)]),
            joined([self.model.video_side(*some) for some in in_batches(videos)]),
        )

    def learn(self, sides: tuple) -> dict:
        """As `Plain.learn`."""
        levels = self.model.compare(*sides)
        self.model.loss({"logits": levels.mean(dim=0)}, {})["total"].backward()
        return gradients_of(sides) | {"matrix": self.model.similarity.patches_first.grad}


def gradients_of(sides: tuple) -> dict:
    """The gradients of words and patches, which are of the size of the sides."""
    texts, videos = sides
    return {"words": texts.words.grad, "patches": videos.patches.grad}


def encoded(number: int) -> tuple[TextSide, VideoSide]:
    """A batch of texts and of videos, normalised and mapped, as leaves whose gradients are wanted."""
    (sentence, words), (frames, patches, _) = generate(number, number)
    sentence, words, frames = (F.normalize(part, dim=-1) for part in (sentence, words, frames))
    texts = TextSide(sentence, sentence.clone(), words)
    videos = VideoSide(F.normalize(frames.mean(dim=1), dim=-1), frames, patches)
    for part in (*texts, *videos):
        part.requires_grad_()
    return texts, videos


def print_memory(side: str, number: int) -> None:
    """What the fresh process does: prints the MB of one comparison beyond those of a small one."""
    other = Plain()
    ran = other if side == "plain" else Ours(other)
    ran.learn(encoded(2))  # kernels are loaded, gradients of the matrices are there
    sides = encoded(number)
    before = resident()
    ran.learn(sides)
    print(resident() - before)


def print_step(number: int) -> None:
    """What another fresh process does: prints the MB of a training step of the whole model."""
    before = resident()
    config = UCoFiAConfig.msrvtt()
    model = config.build().train()
    size = config.clip.image_size
    batch = {
        "pixels": torch.randn(number, config.frames, 3, size, size),
        "frame_mask": torch.ones(number, config.frames, dtype=torch.bool),
        "token_ids": torch.randint(1, config.clip.vocabulary, (number, config.words)),
    }
    loss = model.loss(model(batch), batch)["total"]
    loss.backward()
    assert loss.isfinite()
    print(resident() - before)


def assert_equal_gradients(sides: dict, number: int) -> None:
    """One comparison of a training step gives both the same gradients.

    In float64: at these sizes the gradients of the matrices are small sums of large terms.
    """
    gradients = {}
    for name, side in sides.items():
        side.model.double()
        given = tuple(
            type(each)(*(part.detach().double().requires_grad_() for part in each))
            for each in encoded(number)
        )
        gradients[name] = side.learn(given)
        side.model.float().zero_grad()
    for name, expected in gradients["plain"].items():
        error = (gradients["ours"][name] - expected).abs().max() / expected.abs().max()
        assert error <= 1e-6, f"gradient of {name}: {error:.1e}"


def per_pair(sides: dict, sizes: dict) -> tuple[dict, dict]:
    """Microseconds and MFLOP of every side per pair; asserts that similarities are equal."""
    given = (*generate(sizes["texts"], sizes["videos"]), sizes["timed"])
    costs = {name: [] for name in sides}
    for _ in range(RUNS + 1):  # the first one warms up
        found = {}
        for name, side in sides.items():
            cost, found[name] = side.cost(*given)
            costs[name].append(cost)
        for name, levels in found.items():
            error = (levels - found["plain"]).abs().amax(dim=(1, 2))
            limit = 1e-5 * found["plain"].abs().amax(dim=(1, 2)).clamp_min(1)
            assert (error <= limit).all(), f"{name}: {error.tolist()}"
    some = slice(sizes["timed"])
    mflop = {}
    with FlopCounterMode(display=False) as counter:
        sides["plain"].cost(*given)
    mflop["plain"] = counter.get_total_flops() / found["plain"][0].numel() / 1e6
    mflop["plain without maps"] = sides["plain"].mflop(*given[:2])
    apart = mflop["plain without maps"] / RELEASED_MFLOP - 1
    assert abs(apart) <= MOST_APART, f"the transcription's work is {100 * apart:+.1f} % off the released"
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        texts, videos = sides["ours"].sides(*given[:2])
    mflop["ours"] = counter.get_total_flops() / (sizes["texts"] * sizes["videos"]) / 1e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        sides["ours"].model.compare(type(texts)(*(part[some] for part in texts)), videos)
    mflop["ours"] += counter.get_total_flops() / found["plain"][0].numel() / 1e6
    return {name: statistics.median(values[1:]) for name, values in costs.items()}, mflop


def compiled(other: Plain) -> Ours:
    """Ours with its block through torch.compile."""
    side = Ours(other)
    side.model.similarity.compile_blocks()
    return side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer texts and videos, nothing compiled")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        side, number = options.memory[0], int(options.memory[1])
        print_step(number) if side == "step" else print_memory(side, number)
        return
    sizes = QUICK if options.quick else FULL
    memory = {side: peak_memory(__file__, side, sizes["batch"]) for side in ("plain", "ours")}
    step = None if options.quick else peak_memory(__file__, "step", STEP_VIDEOS)

    other = Plain()
    sides = {"plain": other, "ours": Ours(other)}
    assert_equal_gradients(sides, PAIRS_OF_SEVERAL_BLOCKS)
    if not options.quick and (shutil.which("c++") or shutil.which("cl")):
        sides["compiled"] = compiled(other)
    microseconds, mflop = per_pair(sides, sizes)

    print(
        f"{sizes['texts']} texts x {sizes['videos']} videos, median of {RUNS} alternating runs, one thread:"
    )
    for name, value in microseconds.items():
        work = f", {mflop[name]:.2f} MFLOP" if name in mflop else ""
        print(f"  {name:8} {value:.1f} CPU microseconds a pair{work}")
    for name, value in memory.items():
        print(f"  {name:8} {value:.0f} MB to compare a batch of {sizes['batch']} and go back")
    if step:
        print(f"  a training step of the whole model, {STEP_VIDEOS} videos: {step:.0f} MB")
    print(
        f"without maps: released {RELEASED_MFLOP:.2f} MFLOP a pair, the transcription "
        f"{mflop['plain without maps']:.2f}; equal: similarities, gradients"
    )
    result = {
        "speedup_pair": microseconds["plain"] / microseconds["ours"],
        "memory_ratio": memory["ours"] / memory["plain"],
        "microseconds_pair_ours": microseconds["ours"],
        "microseconds_pair_plain": microseconds["plain"],
        "megabytes_ours": memory["ours"],
        "megabytes_plain": memory["plain"],
        "mflop_pair_ours": mflop["ours"],
        "mflop_pair_plain": mflop["plain"],
        "mflop_pair_plain_without_maps": mflop["plain without maps"],
        "mflop_pair_released_without_maps": RELEASED_MFLOP,
    }
    if "compiled" in microseconds:
        result["speedup_pair_compiled"] = microseconds["plain"] / microseconds["compiled"]
    if step:
        result["megabytes_step"] = step
    result = {name: round(value, 3) for name, value in result.items()}
    print(json.dumps(result | sizes | {"quick": options.quick}))


if __name__ == "__main__":
    main()

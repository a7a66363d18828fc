"""How fast MSAT runs: vmrlib's model against a plain transcription of the specification.

    python benchmarks/msat.py [--quick]

Both have the published TACoS configuration, the same weights and the same batch of noise (queries of 14
words), dropout off, one thread, and must give the same maps, losses and gradients. In turn, in one process:
`speedup_forward` is the ratio of inference up to the score map, `speedup_train` of a training step (forward,
losses, backward), in CPU seconds, medians. `memory_ratio` compares the peak of a training step, weights and
gradients included, with what there was after the imports, in a fresh process each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage

import torch
from reference import msat as plain
from torch.utils.flop_counter import FlopCounterMode

from vmrlib.models.msat import MSATConfig
from vmrlib.models.official import from_official, msat_names

BATCH, QUICK_BATCH = 8, 1
RUNS = 5
WORDS, HIDDEN = 14, (2, 9)  # of a query; which of its words are to be guessed
RELEASED_GFLOP = 31.5  # of the released code, forward, per sample

CONFIG = MSATConfig.tacos(dropout=0.0)
SIZES = plain.Sizes(dropout=0.0)


def generate(number: int) -> dict:
    """A batch of noise with the shapes of TACoS; the moments have all lengths."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(number, CONFIG.clips, CONFIG.dim_video, generator=generator)
    start = torch.rand(number, 1, generator=generator, dtype=torch.float64) * CONFIG.cells / 2
    length = 2 + torch.rand(number, 1, generator=generator, dtype=torch.float64) * (CONFIG.cells / 2 - 2)
    hidden = torch.zeros(number, WORDS, dtype=torch.bool)
    hidden[:, HIDDEN] = True
    return {
        "video": torch.nn.functional.normalize(video, dim=-1),
        "words": torch.randn(number, WORDS, CONFIG.dim_words, generator=generator) * 0.4,
        "word_mask": torch.ones(number, WORDS, dtype=torch.bool),
        "duration": torch.full((number,), 120.0, dtype=torch.float64),
        "moments_cell": torch.cat([start, start + length], dim=1),
        "hidden_words": hidden,
        "word_labels": torch.randint(1, CONFIG.vocabulary, (number, WORDS), generator=generator),
        "annotation": torch.arange(number),
    }


class Plain:
    """The transcription in benchmarks/reference/."""

    reference = plain

    def __init__(self):
        torch.manual_seed(0)
        self.model = self.build()
        self.names = [part for parts in msat_names(CONFIG).values() for part in parts]

    def build(self) -> torch.nn.Module:
        return plain.PlainMSAT(SIZES)

    def inputs(self, batch: dict) -> list:
        """What a training step is given."""
        return [batch[name] for name in ("video", "words", "word_mask", "hidden_words")]

    def infer(self, batch: dict) -> dict:
        """The score map."""
        with torch.inference_mode():
            return self.model.eval()(batch["video"], batch["words"], batch["word_mask"])

    def learn(self, batch: dict) -> dict:
        """The losses of a training step, after its backward pass."""
        self.model.train().zero_grad()
        sizes = self.model.sizes
        losses = self.reference.losses(
            self.model(*self.inputs(batch)),
            plain.targets(batch["moments_cell"], sizes.points, sizes.peak),
            batch["moments_cell"],
            batch["word_labels"],
            batch["hidden_words"],
            sizes,
            self.model.candidates,
        )
        losses["total"].backward()
        return losses

    def official(self) -> dict:
        """The weights under the authors' names."""
        state = self.model.state_dict()
        return {official: state[self.reference.plain_name(official)] for official in self.names}

    def gradients(self) -> dict:
        """Gradients by the authors' names, of what has one."""
        parameters = dict(self.model.named_parameters())
        found = {official: parameters[self.reference.plain_name(official)] for official in self.names}
        return {official: value.grad for official, value in found.items() if value.grad is not None}


class Ours:
    """vmrlib's model."""

    name, config, names = "msat", CONFIG, msat_names(CONFIG)

    def __init__(self):
        self.model = self.config.build()

    def take_weights(self, other: Plain) -> None:
        """The transcription's weights, through the names of the released checkpoint."""
        self.model = from_official(self.name, other.official(), self.config)

    def infer(self, batch: dict) -> dict:
        """The outputs and the scores of the candidates, as `localise` ranks them."""
        inputs = {name: batch[name] for name in ("video", "words", "word_mask", "duration")}
        with torch.inference_mode():
            outputs = self.model.eval()(inputs)
            start, end = (outputs["cells"] + outputs["offsets"]).unbind(-1)
            return outputs | {"scores": outputs["moment_logits"].sigmoid() * (start < end)}

    def learn(self, batch: dict) -> dict:
        """The losses of a training step, after its backward pass."""
        self.model.train().zero_grad()
        losses = self.model.loss(self.model(batch), batch)
        losses["total"].backward()
        self.model.after_step()
        return losses

    def gradients(self) -> dict:
        """Gradients by the authors' names, of what has one."""
        parameters, found = dict(self.model.named_parameters()), {}
        for ours, parts in self.names.items():
            gradient = parameters[ours].grad
            if gradient is not None:
                rows = gradient.chunk(len(parts)) if gradient.ndim else [gradient]
                found |= dict(zip(parts, rows, strict=True))
        return found


def assert_equal_maps(plain_out: dict, ours: dict) -> None:
    """Scores, offsets and stage scores agree to rounding."""
    i, j = ours["cells"].unbind(1)
    moment = plain_out["moment"][:, :, i, j]
    close = {"atol": 3e-5, "rtol": 1e-5}
    torch.testing.assert_close(ours["stage_logits"], plain_out["stage_logits"], **close)
    torch.testing.assert_close(ours["offsets"], moment[:, :2].transpose(1, 2), **close)
    torch.testing.assert_close(ours["moment_logits"], moment[:, 2], **close)
    torch.testing.assert_close(ours["scores"], plain_out["score_map"][:, i, j], **close)
    assert int((plain_out["score_map"] > 0).sum()) == int((ours["scores"] > 0).sum())


def assert_equal_steps(sides: dict, losses: dict) -> None:
    """Losses agree to rounding, gradients to 2e-3 of the largest value in each parameter."""
    for name, value in losses["plain"].items():
        torch.testing.assert_close(losses["ours"][name], value, rtol=2e-5, atol=1e-6)
    expected, found = sides["plain"].gradients(), sides["ours"].gradients()
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        largest = gradient.abs().max().item()
        error = (found[name].reshape(gradient.shape) - gradient).abs().max().item()
        assert error <= 2e-3 * largest + 1e-6, f"gradient of {name}: {error:.1e} of {largest:.1e}"


def timed(function, *arguments):
    """CPU seconds of one call, and what it returned."""
    started = time.process_time()
    result = function(*arguments)
    return time.process_time() - started, result


def gigaflop(side, batch: dict) -> float:
    """Floating point operations of inference per sample, in billions."""
    with FlopCounterMode(display=False) as counter:
        side.infer(batch)
    return counter.get_total_flops() / len(batch["video"]) / 1e9


def resident() -> float:
    """MB that this process has had at most."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return getrusage(RUSAGE_SELF).ru_maxrss * unit / 1e6


def peak_memory(script: str, side: str, number: int) -> float:
    """MB that a training step needs beyond the imports, measured in a fresh process."""
    command = [sys.executable, script, "--memory", side, str(number)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_memory(build: Callable, number: int) -> None:
    """What the fresh process does: prints the MB."""
    before = resident()
    build().learn(generate(number))
    print(resident() - before)


def compare(script: str, about: str, builders: dict, released: float, check: Callable | None = None) -> None:
    """Times both sides and prints what was measured.

    `builders` make the sides `plain` and `ours`; `released`: GFLOP of the released code, forward, per sample;
    `check(sides)` asserts what else must be equal after a training step.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller batch")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        print_memory(builders[options.memory[0]], int(options.memory[1]))
        return
    number = QUICK_BATCH if options.quick else BATCH
    memory = {side: peak_memory(script, side, number) for side in builders}

    batch, sides = generate(number), {name: build() for name, build in builders.items()}
    sides["ours"].take_weights(sides["plain"])
    flop = {name: gigaflop(side, batch) for name, side in sides.items()}
    assert abs(flop["plain"] / released - 1) <= 0.03, "the transcription does other work"

    seconds = {(name, step): [] for name in sides for step in ("forward", "train")}
    for _ in range(RUNS + 1):  # the first one warms up
        maps, losses = {}, {}
        for name, side in sides.items():
            forward, maps[name] = timed(side.infer, batch)
            seconds[name, "forward"].append(forward)
        assert_equal_maps(maps["plain"], maps["ours"])
        del maps
        for name, side in sides.items():
            train, losses[name] = timed(side.learn, batch)
            seconds[name, "train"].append(train)
        assert_equal_steps(sides, losses)
        if check:
            check(sides)

    median = {key: statistics.median(values[1:]) for key, values in seconds.items()}
    print(f"TACoS sizes, batch {number}, median of {RUNS} alternating runs on one thread, CPU seconds:")
    for name in sides:
        print(
            f"  {name:6} forward {median[name, 'forward']:.3f} ({flop[name]:.1f} GFLOP a sample), "
            f"training step {median[name, 'train']:.3f}, peak {memory[name]:.0f} MB"
        )
    print(f"the released code: {released} GFLOP a sample; equal: maps, losses, gradients")
    result = {
        "speedup_forward": median["plain", "forward"] / median["ours", "forward"],
        "speedup_train": median["plain", "train"] / median["ours", "train"],
        "memory_ratio": memory["ours"] / memory["plain"],
        "seconds_forward_ours": median["ours", "forward"],
        "seconds_forward_plain": median["plain", "forward"],
        "seconds_train_ours": median["ours", "train"],
        "seconds_train_plain": median["plain", "train"],
        "megabytes_ours": memory["ours"],
        "megabytes_plain": memory["plain"],
        "gigaflop_ours": flop["ours"],
        "gigaflop_plain": flop["plain"],
    }
    result = {name: round(value, 3) for name, value in result.items()}
    print(json.dumps(result | {"batch": number, "quick": options.quick}))


if __name__ == "__main__":
    compare(__file__, __doc__, {"plain": Plain, "ours": Ours}, RELEASED_GFLOP)

"""What an encoder costs as the video grows: MSAT, asymmetric co-attention, and what lies between them.

    python benchmarks/attention_cost.py [--quick]

Encoders alone, without embedding and heads, as wide as published (d = 512, here 16 heads for all): one video
of T points and one query of 14 words, forward and backward, one thread. Each run is a fresh process that has
the weights and room for the gradients already; the encoders take turns. Without --quick the figures are also
written to results/attention_cost.json.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from msat import resident
from torch.utils.flop_counter import FlopCounterMode

from vmrlib.ablate import code_version
from vmrlib.data.files import write_text
from vmrlib.models.acb import ACBConfig
from vmrlib.models.msat import MSAT, MSATConfig

RESULTS = Path(__file__).resolve().parent.parent / "results" / "attention_cost.json"
POINTS, QUICK_POINTS = (33, 129, 513, 2049), (33, 129)
WORDS, ROUNDS = 14, 5
WARM_UP = 513  # so many points or fewer are run once before

# All that is outside of the encoder is as small as can be.
SMALL = {"clips": 4, "dim_video": 1, "dim_words": 1, "vocabulary": 2, "dim_head": 1, "positions": 8}
SMALL |= {"candidates": ((1, 1),), "heads": 16, "dropout": 0.0}

ENCODERS = {
    "MSAT": MSATConfig.tacos(**SMALL),
    "AAC": ACBConfig.tacos(**SMALL, contrast=None),
    "AAC with FFN": ACBConfig.tacos(**SMALL, contrast=None, ffn=True),
    "C alone": ACBConfig.tacos(**SMALL, contrast=None, group="CCC"),
    "C with FFN": ACBConfig.tacos(**SMALL, contrast=None, group="CCC", ffn=True),  # single-stream transformer
    "BBC": ACBConfig.tacos(**SMALL, contrast=None, group="BBC"),
    "AC": ACBConfig.tacos(**SMALL, contrast=None, group="AC"),
    "AAAC": ACBConfig.tacos(**SMALL, contrast=None, group="AAAC"),
}
HOW = {
    "flops": "forward and backward, counted by FlopCounterMode on the path that shows its attention",
    "seconds": "CPU seconds of a process, median of the rounds",
    "megabytes": "peak of a fresh process above its weights, gradients and imports, median of the rounds",
    "exponent": "slope of the least squares line through (log T, log value) of all T",
    "exponent_last": "slope between the two largest T",
}


def step(model: MSAT, points: int, device: str = "cpu", attention: bool = False) -> None:
    """Forward and backward of the encoder alone."""
    generator = torch.Generator().manual_seed(points)
    words = torch.randn(1, WORDS, model.config.dim, generator=generator).to(device)
    video = torch.randn(1, points, model.config.dim, generator=generator).to(device)
    mask = torch.ones(1, WORDS, dtype=torch.bool, device=device)
    new_words, new_video, _ = model.encode(words, video, mask, attention)
    (new_words.sum() + new_video.sum()).backward()


def flops(model: MSAT, points: int) -> int:
    """Floating point operations of a step; nothing is computed, and the model has only shapes afterwards.

    The counter does not know the fused kernels of the CPU. The path that shows its attention does the same
    products, but for the zeros that MSAT's fused one multiplies.
    """
    model.to("meta")
    with FlopCounterMode(display=False) as counter:
        step(model, points, "meta", attention=True)
    return counter.get_total_flops()


def measure(model: MSAT, points: int) -> tuple[float, float]:
    """CPU seconds of a step, and MB that it needs beyond weights and gradients."""
    for parameter in model.layers.parameters():
        parameter.grad = torch.empty_like(parameter).zero_()  # written, so that it is there
    before = resident()
    if points <= WARM_UP:
        step(model, points)
    started = time.process_time()
    step(model, points)
    return time.process_time() - started, resident() - before


def in_a_fresh_process(function: Callable, *arguments):
    """What the function returns in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(*arguments)))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent e of values ~ sizes ** e, by least squares of the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


def summary(parameters: int, sizes: Sequence[int], measured: dict[str, list[float]]) -> dict:
    """The figures of one encoder."""
    result = {"parameters": parameters} | measured
    exponents = {name: round(slope(sizes, values), 3) for name, values in measured.items()}
    last = {name: round(slope(sizes[-2:], values[-2:]), 3) for name, values in measured.items()}
    return result | {"exponent": exponents, "exponent_last": last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short videos only; nothing is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = QUICK_POINTS if options.quick else POINTS

    torch.manual_seed(0)
    models = {name: config.build() for name, config in ENCODERS.items()}
    parameters = {name: sum(p.numel() for p in model.layers.parameters()) for name, model in models.items()}
    runs = {(name, points): [] for name in models for points in sizes}
    for _ in range(ROUNDS):
        for name, points in runs:
            runs[name, points].append(in_a_fresh_process(measure, models[name], points))
    encoders = {}
    for name, model in models.items():
        seconds, megabytes = [], []
        for points in sizes:
            times, peaks = zip(*runs[name, points], strict=True)
            seconds.append(round(statistics.median(times), 4))
            megabytes.append(round(statistics.median(peaks), 2))
        measured = {"flops": [flops(model, points) for points in sizes]}
        measured |= {"seconds": seconds, "megabytes": megabytes}
        encoders[name] = summary(parameters[name], sizes, measured)
        exponents = ", ".join(f"{kind} {value:.2f}" for kind, value in encoders[name]["exponent"].items())
        print(f"{name}: {parameters[name]:,} parameters; exponents in T: {exponents}")
        for place, points in enumerate(sizes):
            print(
                f"  T = {points:4}: {measured['flops'][place] / 1e9:8.2f} GFLOP, {seconds[place]:7.3f} s, "
                f"{megabytes[place]:7.1f} MB"
            )
    result = {
        "command": "python benchmarks/attention_cost.py" + (" --quick" if options.quick else ""),
        "code": code_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dim": 512,
        "heads": SMALL["heads"],
        "words": WORDS,
        "batch": 1,
        "rounds": ROUNDS,
        "points": list(sizes),
        "how": HOW,
        "encoders": encoders,
    }
    if not options.quick:
        write_text(RESULTS, json.dumps(result, indent=1) + "\n")
    exponents = {name: each["exponent"] for name, each in encoders.items()}
    print(json.dumps({"exponents": exponents, "points": list(sizes), "quick": options.quick}))


if __name__ == "__main__":
    main()

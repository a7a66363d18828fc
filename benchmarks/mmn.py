"""How fast MMN trains: what channels-last, bf16 and compilation give over float32, on the CPU.

    python benchmarks/mmn.py [--quick]

Nearly all of the cost is the convolutions'. Compared in turn, in one process, one thread, with the same
weights, the same noise and sentences as vectors: the plain transcription of the specification, vmrlib's model
in float32, the same with its kernels channels-last, that compiled, and channels-last in bf16. Float32 must
give the transcription's scores, losses and gradients; how near the others come is asserted loosely and
printed. The sizes are those of Charades-STA; ActivityNet's map costs ten times as much: of that one only the
work is counted. A processor that has no instructions for bf16 needs minutes for one such step, so that bf16
is compared with float32 at fewer channels: at some its time, at others its memory.

`speedup_train_*` are ratios of a training step (forward, losses, backward) in float32 and in another form, in
CPU seconds, medians; `memory_ratio` compares the peak of such a step in bf16 and in float32, weights and
gradients included, with what there was after the imports, in a fresh process each, where nothing is compiled:
a compiler needs more memory than the step. `--quick` has fewer channels in everything, and leaves compilation
out.
"""

import argparse
import json
import statistics
import subprocess
import sys

import torch
from msat import resident, timed
from reference import mmn as plain
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import DistilBertModel  # noqa: F401 (else building ours would import it, and memory count it)

from vmrlib.models.mmn import MMN
from vmrlib.models.mmn_config import MMNConfig
from vmrlib.models.official import from_official

RUNS = 5
VIDEOS, SENTENCES = 2, (3, 2)  # and how many sentences each has
RELEASED_GFLOP = {"activitynet": 997, "charades": 103}  # forward, a video
# Channels: of the whole benchmark and of --quick
DIM = {"time": (512, 48), "time of bf16": (48, 48), "memory": (256, 48)}
TEXT = {"pretrained": None, "text_layers": 1, "text_heads": 1, "dim_text": 8, "dim_text_ffn": 8}
FORMS = {  # what is done to the model
    "float32": (),
    "channels_last": ("channels_last",),
    "compiled": ("channels_last", "compile"),
    "bf16": ("channels_last", "half"),
}
# By how much losses may be off, and the least cosine of all gradients. Where rounding differs, values near 0
# fall on the other side of a ReLU: few of them in float32, many in bf16.
NEAR = dict.fromkeys(FORMS, (1e-4, 0.99)) | {"float32": (1e-4, 0.999), "bf16": (0.05, 0.7)}


class Sentences(nn.Module):
    """Given vectors in the place of the text encoder."""

    def __init__(self, vectors: list[torch.Tensor]):
        super().__init__()
        self.vectors = vectors

    def forward(self, batch: dict) -> list[torch.Tensor]:
        return self.vectors


def sizes(dim: int) -> dict:
    """Numbers by the names that both sides share: those of Charades-STA, with so many channels."""
    return shared(MMNConfig.charades(dim=dim, dim_maps=dim))


def shared(config: MMNConfig) -> dict:
    return {name: getattr(config, name) for name in plain.Sizes.__dataclass_fields__}


def generate(dim: int) -> dict:
    """A batch of noise; the moments have all lengths."""
    shape, generator = sizes(dim), torch.Generator().manual_seed(0)
    video = torch.randn(VIDEOS, shape["clips"], shape["dim_video"], generator=generator)
    number, cells = sum(SENTENCES), shape["cells"]
    start = torch.rand(number, 1, generator=generator, dtype=torch.float64) * cells / 2
    length = 1 + torch.rand(number, 1, generator=generator, dtype=torch.float64) * (cells / 2 - 1)
    return {
        "video": nn.functional.normalize(video, dim=-1),
        "sentence_video": torch.arange(VIDEOS).repeat_interleave(torch.tensor(SENTENCES)),
        "duration": torch.full((number,), 120.0, dtype=torch.float64),
        "moments_cell": torch.cat([start, start + length], dim=1),
        "vectors": list(torch.randn(2, number, shape["dim_joint"], generator=generator)),
    }


class Plain:
    """The transcription in benchmarks/reference/."""

    def __init__(self, dim: int):
        torch.manual_seed(0)
        self.model = plain.PlainMMN(plain.Sizes(**sizes(dim)))

    def infer(self, batch: dict) -> torch.Tensor:
        """Scores of all cells of the map."""
        with torch.inference_mode():
            out = self.model.eval()(batch["video"], *batch["vectors"], list(SENTENCES))
        return out["score2d"]

    def learn(self, batch: dict) -> dict:
        """The losses of a training step, after its backward pass."""
        self.model.train().zero_grad()
        outputs = self.model(batch["video"], *batch["vectors"], list(SENTENCES))
        durations = batch["duration"].float()[:VIDEOS]
        moments = batch["moments_cell"].float() * durations[0] / self.model.sizes.cells
        contrast = batch["vectors"][0]
        losses = plain.losses(outputs, contrast, list(SENTENCES), moments, durations, self.model)
        losses["total"].backward()
        return losses

    def gradients(self) -> list[torch.Tensor]:
        """Of the kernels, in their order."""
        return [layer.weight.grad for layer in self.model.proposal_conv.convs]


class Ours:
    """vmrlib's model in one of the `FORMS`."""

    def __init__(self, dim: int, form: str, weights: dict | None = None):
        torch.manual_seed(0)
        constants = {"contrast_epochs": 1}
        config = MMNConfig(**sizes(dim), **TEXT, **constants)
        self.model = from_official("mmn", weights, config, partial=True) if weights else MMN(config)
        if "channels_last" in FORMS[form]:
            self.model.convolutions.to(memory_format=torch.channels_last)
        if "compile" in FORMS[form]:
            self.model.convolutions.compile()
        self.half = "half" in FORMS[form]

    def outputs(self, batch: dict) -> dict:
        self.model.text = Sentences(batch["vectors"])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return self.model(batch)

    def infer(self, batch: dict) -> torch.Tensor:
        """Scores of all cells of the map."""
        with torch.inference_mode():
            self.model.eval()
            scores = self.model.scores(self.outputs(batch))
            grid = scores.new_zeros(len(scores), self.model.config.cells, self.model.config.cells)
            grid[:, self.model.cells[:, 0], self.model.cells[:, 1]] = scores
        return grid

    def learn(self, batch: dict) -> dict:
        """The losses of a training step, after its backward pass."""
        self.model.train().zero_grad()
        losses = self.model.loss(self.outputs(batch), batch)
        losses["total"].backward()
        return losses

    def gradients(self) -> list[torch.Tensor]:
        """Of the kernels, in their order."""
        return [layer.weight.grad for layer in self.model.convolutions.layers]


def build(name: str, dim: int, weights: dict | None = None) -> Plain | Ours:
    return Plain(dim) if name == "plain" else Ours(dim, name, weights)


def assert_equal_steps(sides: dict, losses: dict) -> dict[str, float]:
    """How far the losses of each form are off, and the cosine of its gradients with the transcription's.

    Raises AssertionError where that is beyond `NEAR`; float32 must agree to rounding in every kernel.
    """
    expected, found = sides["plain"].gradients(), {}
    for name in [name for name in sides if name != "plain"]:
        gradients = sides[name].gradients()
        off = max(abs(losses[name][key].item() / value.item() - 1) for key, value in losses["plain"].items())
        # In float64: float32 cannot add up the squares of so many numbers.
        mine, theirs = (
            torch.cat([each.flatten() for each in some]).double() for some in (gradients, expected)
        )
        cosine = nn.functional.cosine_similarity(mine, theirs, dim=0).item()
        most, least = NEAR[name]
        assert off <= most and cosine >= least, f"{name}: losses {off:.1e}, gradients {cosine:.4f}"
        if name == "float32":
            for ours, plain_one in zip(gradients, expected, strict=True):
                assert (ours - plain_one).abs().max() <= 2e-3 * plain_one.abs().max(), "gradients of float32"
        found |= {f"losses_off_{name}": off, f"gradient_cosine_{name}": cosine}
    return found


def work_of_convolutions(preset: str) -> float:
    """GFLOP of the transcription's convolutions for one video, forward; counted, not computed."""
    shape = plain.Sizes(**shared(getattr(MMNConfig, preset)()))
    with torch.device("meta"):
        mask = torch.ones(shape.cells, shape.cells, dtype=torch.bool)
        convolutions = plain.ProposalConvolutions(shape, mask).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            convolutions(torch.zeros(1, shape.dim, shape.cells, shape.cells))
    return counter.get_total_flops() / 1e9


def peak_memory(name: str, dim: int) -> float:
    """MB that a training step needs beyond the imports, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory", name, str(dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def compare(forms: tuple[str, ...], dim: int) -> dict[str, float]:
    """Seconds of each form and of the transcription, and how far off the former are; prints the seconds."""
    batch, first = generate(dim), build("plain", dim)
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}
    sides = {"plain": first} | {name: build(name, dim, weights) for name in forms}
    found = {}
    for name in ("plain", "float32"):
        with FlopCounterMode(display=False) as counter:
            sides[name].infer(batch)
        found[f"gigaflop_{name}"] = counter.get_total_flops() / VIDEOS / 1e9

    seconds = {(step, name): [] for name in sides for step in ("forward", "train")}
    for _ in range(RUNS + 1):  # the first one warms up, and compiles
        scores, losses = {}, {}
        for name, side in sides.items():
            spent, scores[name] = timed(side.infer, batch)
            seconds["forward", name].append(spent)
            spent, losses[name] = timed(side.learn, batch)
            seconds["train", name].append(spent)
        for name in [name for name in forms if name != "bf16"]:
            torch.testing.assert_close(scores[name], scores["plain"], atol=3e-5, rtol=1e-4)
        precision = assert_equal_steps(sides, losses)
    found |= {f"seconds_{step}_{name}": statistics.median(each[1:]) for (step, name), each in seconds.items()}

    print(f"{VIDEOS} videos, {dim} channels, median of {RUNS} alternating runs on one thread, CPU seconds:")
    for name in sides:
        work = f" ({found[f'gigaflop_{name}']:.1f} GFLOP a video)" if f"gigaflop_{name}" in found else ""
        forward, step = (found[f"seconds_{step}_{name}"] for step in ("forward", "train"))
        print(f"  {name:13} forward {forward:.3f}{work}, training step {step:.3f}")
    return found | precision


def speedup(found: dict[str, float], slow: str, fast: str) -> float:
    return found[f"seconds_train_{slow}"] / found[f"seconds_train_{fast}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer channels, nothing compiled")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    quick = options.quick
    dims = {what: each[quick] for what, each in DIM.items()}
    if options.memory:
        before, (name, dim) = resident(), options.memory
        build(name, int(dim)).learn(generate(int(dim)))
        print(resident() - before)
        return
    for name, released in RELEASED_GFLOP.items():
        assert abs(work_of_convolutions(name) / released - 1) <= 0.03, "the transcription does other work"
    print(f"the released code: {RELEASED_GFLOP} GFLOP a video, forward, in its convolutions")
    memory = {name: peak_memory(name, dims["memory"]) for name in ("plain", "float32", "bf16")}
    print("peak of a training step:", ", ".join(f"{name} {value:.0f} MB" for name, value in memory.items()))
    in_full = ("float32", "channels_last", *([] if quick else ["compiled"]))
    found, half = compare(in_full, dims["time"]), compare(("float32", "bf16"), dims["time of bf16"])
    result = {f"speedup_train_{name}": speedup(found, "float32", name) for name in in_full[1:]}
    result |= {
        "speedup_train_bf16": speedup(half, "float32", "bf16"),
        "memory_ratio": memory["bf16"] / memory["float32"],
        "speedup_train": speedup(found, "plain", "float32"),
        "memory_ratio_float32": memory["float32"] / memory["plain"],
    }
    result |= found | {f"megabytes_{name}": value for name, value in memory.items()}
    result |= {name: value for name, value in half.items() if name.endswith("bf16")}
    result = {name: float(f"{value:.4g}") for name, value in result.items()}
    print(json.dumps(result | {"quick": quick}))


if __name__ == "__main__":
    main()

"""What files of UCoFiA hold, and the two sides that must compute the same: our model and the transcription.

Weights and features are the files' own; where a file has no weights its metadata name the one that has. All
sizes come from weights and metadata.
"""

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vmrlib.checkpoints import from_official
from vmrlib.models.official_ucofia import DEAD, SCORER, ucofia_places
from vmrlib.models.sinkhorn import sinkhorn
from vmrlib.models.ucofia import UCoFiAConfig
from vmrlib.models.ucofia_selection import perturbed_top_k
from vmrlib.models.ucofia_temporal import video_vector

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))
plain = importlib.import_module("reference.ucofia")

# every kind of file there is; a file of another name is one that no test reads
PATTERNS = (
    "similarity*",
    "temporal*",
    "patch_select*",
    "loss*",
    "eval*",
    "sinkhorn*",
    "clip*",
    "bertadam*",
)


def files(golden, pattern):
    """Every file of that name; whoever runs through them to the end has run them all, and it is printed."""
    assert pattern in PATTERNS
    found, count = sorted(golden.glob(f"ucofia/{pattern}.safetensors")), 0
    if not found:
        pytest.fail(f"no reference figures {golden / 'ucofia' / pattern}.safetensors")
    for path in found:
        yield Case(path, load_file(path), metadata(path))
        count += 1
    print(f"ucofia {pattern}: {count} of {len(found)} files")
    assert count == len(found)


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def part(data, prefix):
    """The tensors under a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in data.items() if key.startswith(prefix)}


def assert_scaled(ours, reference, tolerance, what):
    """The README's measure: the largest difference over the larger of 1 and the largest reference."""
    assert ours.shape == reference.shape, f"{what}: {tuple(ours.shape)} against {tuple(reference.shape)}"
    error = (ours.double() - reference.double()).abs().max() / max(1.0, reference.abs().max())
    assert error <= tolerance, f"{what}: {error:.1e} exceeds {tolerance:.0e}"


@dataclass
class Case:
    """One file: where it is, its tensors, what its metadata say."""

    path: Path
    data: dict
    about: dict

    @property
    def name(self):
        return self.path.stem

    @property
    def weights(self):
        """Released weights by their names: of this file, or of the one it names."""
        stem = self.about.get("weights_in", self.path.stem)
        data = self.data if stem == self.path.stem else load_file(self.path.with_name(f"{stem}.safetensors"))
        return part(data, "weight.")

    @property
    def inputs(self):
        return part(self.data, "input.")

    @property
    def out(self):
        return part(self.data, "out.")

    def number(self, name, default=1):
        return int(self.about.get(name, default))

    @property
    def scorer(self):
        """That of videos sees a token beside its class token: its norm is twice as wide."""
        norm = self.weights.get(f"{SCORER}.in_conv.0.weight", torch.empty(0))
        return "video" if len(norm) == 2 * self.dim else "frame"

    @property
    def dim(self):
        return self.number("D", self.inputs.get("tokens", torch.empty(1)).shape[-1])

    @property
    def config(self):
        """Our configuration, without CLIP; what a fragment does not tell is as small as can be."""
        weights = self.weights
        positions = weights.get("frame_position_embeddings.weight", torch.empty(self.number("F"), 0))
        return UCoFiAConfig(
            frames=self.number("F"),
            words=self.number("W"),
            dim=self.dim,
            patches=self.number("k", self.number("patches_per_frame", 2) - 1),
            heads=self.number("heads"),
            layers=self.number("layers", 0),
            positions=len(positions),
            scorer=self.scorer,
            samples=self.number("num_samples"),
            sigma=float(self.about.get("sigma", 0.05)),
            temperature=float(self.about.get("temperature", 0.01)),
            clip=None,
        )


class Ours:
    """vmrlib's model, with the released weights through the public door."""

    def __init__(self, case, dtype=torch.float32, **changes):
        self.case = case
        config = replace(case.config, **changes)
        self.model = from_official("ucofia", case.weights, config, partial=True).to(dtype)
        self.names = {ours: place.name for ours, place in ucofia_places(config).items()}

    def levels(self, given, patch_map=True):
        """Three similarities of encoded texts and videos; without `patch_map` as the released evaluation."""
        model = self.model
        model.config = replace(model.config, patch_map_in_evaluation=patch_map)
        texts = model.text_side(given["sequence_output"].squeeze(1), given["seq_features"])
        videos = model.video_side(
            given["visual_output"], given["visual_pixel_output"], given["video_mask"].bool()
        )
        return model.compare(texts, videos)

    def temporal(self, frames, mask):
        """What the blocks make of frames, the same with the outer residual, and the video's vector."""
        states = self.model.temporal.encode(frames, mask.bool())
        whole = self.model.temporal(frames, mask.bool())
        return states, whole, video_vector(whole, mask.bool())

    def place_positions(self, table):
        self.model.temporal.positions.data = table

    def gradients(self):
        parameters = dict(self.model.named_parameters())
        return {self.names[ours]: value.grad for ours, value in parameters.items()}

    def losses(self, logits):
        losses = self.model.loss({"logits": logits}, {})
        return losses["text_to_video"], losses["video_to_text"], losses["total"]

    def scores(self, tokens):
        return self.model.selection.scorer(tokens)

    def selected(self, tokens, noise):
        return self.model.selection(tokens, noise)

    @staticmethod
    def indicator(scores, noise, config):
        return perturbed_top_k(scores, noise, config.patches, config.sigma)

    @staticmethod
    def sinkhorn(scores, iterations):
        return sinkhorn(scores, iterations)


class Plain:
    """The transcription."""

    def __init__(self, case, dtype=torch.float32):
        self.case, config = case, case.config
        self.model = plain.PlainUCoFiA(
            config.dim,
            config.frames,
            config.words,
            config.vectors,
            config.heads,
            config.layers,
            config.positions,
            config.scorer,
            config.temperature,
        )
        used = {name: value for name, value in case.weights.items() if name not in DEAD}
        weights = {name.removeprefix("clip."): value for name, value in used.items()}
        left = self.model.load_state_dict(weights, strict=False)
        assert not left.unexpected_keys
        self.model.to(dtype).eval()

    def levels(self, given, patch_map=True):
        return self.model.similarities(
            given["sequence_output"].squeeze(1),
            given["seq_features"],
            given["visual_output"],
            given["visual_pixel_output"],
            given["video_mask"],
            patch_map,
        )

    def temporal(self, frames, mask):
        states = self.model.encode_frames(frames, mask)
        return states, states + frames, self.model.video_feature(frames, mask)

    def place_positions(self, table):
        self.model.frame_position_embeddings.weight.data = table

    def gradients(self):
        found = {name: value.grad for name, value in self.model.named_parameters()}
        return found | {"clip.logit_scale": found["logit_scale"]}

    def losses(self, logits):
        return plain.losses(logits)

    def scores(self, tokens):
        return self.model.visual_token_selector.score_predictor(tokens)

    def selected(self, tokens, noise):
        config = self.case.config
        return self.model.visual_token_selector(tokens, noise, config.patches, config.sigma)

    @staticmethod
    def indicator(scores, noise, config):
        return plain.CountedTopK.apply(scores, noise, config.patches, config.sigma)

    @staticmethod
    def sinkhorn(scores, iterations):
        return plain.sinkhorn(scores, iterations)

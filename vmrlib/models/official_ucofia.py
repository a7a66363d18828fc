"""The names of UCoFiA's released weights, and where each goes in our model.

Theirs keep CLIP under OpenAI's names, with query, key and value of a block in one matrix and `attn.net.` in
the shifted blocks; that part of the name is dropped here. (The released loader does not, and so silently goes
back to the weights of the pretrained CLIP in these two blocks.)
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vmrlib.models.openai_clip import NAMES, SCALARS_OF_THE_ARCHIVE, TOWER_NAMES, TRANSPOSED_NAMES
from vmrlib.models.ucofia import UCoFiA, UCoFiAConfig

# Parameters of the release that its code never uses.
DEAD = ("word_logit_weight", "frame_mat_weight", "frame_mat_weight2", "word_mat_weight_for_pixel")
DEAD += tuple(f"clip.{name}" for name in SCALARS_OF_THE_ARCHIVE)

MATRICES = {
    "sentence_map": "global_mat_weight",
    "video_map": "global_mat_weight_1",
    "word_map": "local_mat_weight",
    "patch_map": "local_mat_weight1",
    "similarity.frames": "frame_logit_weight",
    "similarity.words_first": "word_mat_weight",
    "similarity.patches_second": "pixel_mat_weight2",
    "similarity.patches_first": "pixel_mat_weight",
    "similarity.words_second": "word_mat_weight2",
    "temporal.positions": "frame_position_embeddings.weight",
}
SCORER = "visual_token_selector.score_predictor"
SELECTION = {
    "norm.weight": "in_conv.0.weight",
    "norm.bias": "in_conv.0.bias",
    "narrow.weight": "in_conv.1.weight",
    "mix.weight": "out_conv.0.weight",
    "out.weight": "out_conv.2.weight",
}
BLOCK = {
    "norm_in": "ln_1",
    "norm_ffn": "ln_2",
    "dense": "attn.out_proj",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}


class Place(NamedTuple):
    """Where a parameter of ours is in the release: which third of its rows, and whether it is transposed."""

    name: str
    third: int | None = None
    transposed: bool = False

    def of(self, weights: Mapping[str, Tensor]) -> Tensor:
        value = weights[self.name]
        value = value if self.third is None else value.chunk(3)[self.third]
        return value.T if self.transposed else value


def ucofia_places(config: UCoFiAConfig) -> dict[str, Place]:
    """The place of every parameter of our model in the release."""
    places = {ours: Place(official) for ours, official in MATRICES.items()}
    places |= {
        f"selection.scorer.{ours}": Place(f"{SCORER}.{official}") for ours, official in SELECTION.items()
    }
    for number in range(config.layers):
        official, block = f"transformerClip.resblocks.{number}", f"temporal.blocks.{number}"
        for kind in ("weight", "bias"):
            places[f"{block}.projections.{kind}"] = Place(f"{official}.attn.in_proj_{kind}")
            places |= {f"{block}.{a}.{kind}": Place(f"{official}.{b}.{kind}") for a, b in BLOCK.items()}
    if config.clip is None:
        return places | {"own_scale": Place("clip.logit_scale")}
    places |= {f"clip.model.{ours}": Place(f"clip.{official}") for official, ours in NAMES.items()}
    places |= {
        f"clip.model.{ours}": Place(f"clip.{official}", transposed=True)
        for official, ours in TRANSPOSED_NAMES.items()
    }
    towers = (("vision", "visual.", config.clip.vision_layers), ("text", "", config.clip.text_layers))
    for tower, prefix, layers in towers:
        for number in range(layers):
            official = f"clip.{prefix}transformer.resblocks.{number}"
            block = f"clip.model.{tower}_model.encoder.layers.{number}"
            places |= {f"{block}.{b}": Place(f"{official}.{a}") for a, b in TOWER_NAMES.items()}
            for third, letter in enumerate("qkv"):
                for kind in ("weight", "bias"):
                    ours = f"{block}.self_attn.{letter}_proj.{kind}"
                    places[ours] = Place(f"{official}.attn.in_proj_{kind}", third)
    return places


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The names in a checkpoint, as they are and without what the shifted blocks add to them."""
    return {name: name.replace(".attn.net.", ".attn.") for name in weights}


@torch.no_grad()
def fill_ucofia(model: UCoFiA, places: Mapping[str, Place], weights: Mapping[str, Tensor]) -> None:
    """Gives every parameter the released weights that are there, under their plain names.

    Raises ValueError for those of another shape.
    """
    for ours, parameter in model.named_parameters():
        place = places[ours]
        if place.name in weights:
            value = place.of(weights)
            if value.shape != parameter.shape:
                raise ValueError(
                    f"{place.name} has shape {tuple(weights[place.name].shape)}, but `{ours}` of this "
                    f"configuration needs {tuple(parameter.shape)}"
                )
            parameter.copy_(value)

"""CLIP weights under OpenAI's names, as they are called in transformers.

A table of names, so that the authors' checkpoints (and those of UCoFiA) load into `CLIPModel`.
"""

import re

from torch import Tensor
from transformers import CLIPConfig


class WeightsError(ValueError):
    """Weights, configuration or vocabulary are missing or do not fit together."""


# OpenAI's name of a part -> transformers' name; `{}` is the number of the layer.
TOWER_NAMES = {
    "attn.out_proj.weight": "self_attn.out_proj.weight",
    "attn.out_proj.bias": "self_attn.out_proj.bias",
    "ln_1.weight": "layer_norm1.weight",
    "ln_1.bias": "layer_norm1.bias",
    "ln_2.weight": "layer_norm2.weight",
    "ln_2.bias": "layer_norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}
NAMES = {
    "logit_scale": "logit_scale",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
TRANSPOSED_NAMES = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
SCALARS_OF_THE_ARCHIVE = ("input_resolution", "context_length", "vocab_size")
LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")


def from_openai_state_dict(
    state_dict: dict[str, Tensor], vision_heads: int | None = None, text_heads: int | None = None
) -> tuple[dict[str, Tensor], CLIPConfig]:
    """State dict of `CLIPModel` and its configuration, from weights named as in OpenAI's code.

    Keys may have `clip.` in front (then others are dropped); `attn.net.` (UCoFiA's shifted layers) is
    `attn.`. The joint `in_proj` is split into q, k and v; the two projections are transposed.
    """
    if any(key.startswith("clip.") for key in state_dict):
        state_dict = {key[5:]: value for key, value in state_dict.items() if key.startswith("clip.")}
    source = {key.replace(".attn.net.", ".attn."): value for key, value in state_dict.items()}
    state, layers = {}, {"text_model": 0, "vision_model": 0}
    for key, value in source.items():
        match = LAYER.fullmatch(key)
        if key in NAMES:
            state[NAMES[key]] = value
        elif key in TRANSPOSED_NAMES:
            state[TRANSPOSED_NAMES[key]] = value.T.contiguous()
        elif match:
            tower = "vision_model" if match[1] else "text_model"
            layers[tower] = max(layers[tower], int(match[2]) + 1)
            layer = f"{tower}.encoder.layers.{match[2]}."
            if match[3] in TOWER_NAMES:
                state[layer + TOWER_NAMES[match[3]]] = value
            elif match[3] in ("attn.in_proj_weight", "attn.in_proj_bias"):
                for name, part in zip("qkv", value.chunk(3), strict=True):
                    state[f"{layer}self_attn.{name}_proj.{match[3][len('attn.in_proj_') :]}"] = part.clone()
            else:
                raise WeightsError(f"state dict: unknown key {key}")
        elif key not in SCALARS_OF_THE_ARCHIVE:
            raise WeightsError(f"state dict: unknown key {key}")
    try:
        config = _config_of(source, layers, vision_heads, text_heads)
    except KeyError as error:
        raise WeightsError(f"state dict: key {error} is missing") from error
    return state, config


def _config_of(
    source: dict[str, Tensor], layers: dict[str, int], vision_heads: int | None, text_heads: int | None
) -> CLIPConfig:
    vision_width, _, patch, _ = source["visual.conv1.weight"].shape
    grid = round((len(source["visual.positional_embedding"]) - 1) ** 0.5)
    vocabulary, text_width = source["token_embedding.weight"].shape
    dim = source["text_projection"].shape[1]
    vision = {
        "hidden_size": vision_width,
        "intermediate_size": 4 * vision_width,
        "num_hidden_layers": layers["vision_model"],
        "num_attention_heads": vision_heads or vision_width // 64,
        "image_size": grid * patch,
        "patch_size": patch,
        "projection_dim": dim,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": 4 * text_width,
        "num_hidden_layers": layers["text_model"],
        "num_attention_heads": text_heads or text_width // 64,
        "max_position_embeddings": len(source["positional_embedding"]),
        "vocab_size": vocabulary,
        "projection_dim": dim,
        "pad_token_id": 0,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=dim)

"""The authors' released weights in our models.

A released checkpoint names its parameters in its own way and keeps apart what we compute in one product. So a
model needs one table: our parameter -> the authors' names whose rows, joined in that order, it consists of.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.openai_clip import WeightsError

Names = dict[str, tuple[str, ...]]


class Loading(NamedTuple):
    """What became of the names in a released state dict.

    missing: the authors' names that a parameter of ours needs and that are not there; it keeps the values it
    was initialised with. unused: names there that no parameter of ours takes, among them the `dead` ones,
    which the released code never uses either.
    """

    missing: tuple[str, ...]
    unused: tuple[str, ...]
    dead: tuple[str, ...]


def from_official(name: str, state_dict: Mapping, config: MSATConfig, partial: bool = False) -> nn.Module:
    """Our model of that name with the authors' weights, on the CPU and in eval mode.

    `state_dict` is what their checkpoint holds: parameters by name, each name perhaps with `module.` in front
    (saved from DataParallel), all of them perhaps under "model" or "state_dict". `config` must have the sizes
    of those weights. The result's attribute `loading` says which names were not used.

    Raises WeightsError for an unknown model, for weights of another shape, and, unless `partial`, for every
    missing name and every unused one that is not known to be dead weight in the released code.
    """
    if name not in OFFICIAL:
        raise WeightsError(f"no released weights are known for {name!r}; known: {', '.join(OFFICIAL)}")
    build, names_of, dead_part = OFFICIAL[name]
    weights = official_weights(state_dict)
    model = build(config).eval()
    names = names_of(config)

    wanted = [official for parts in names.values() for official in parts]
    missing = tuple(official for official in wanted if official not in weights)
    unused = tuple(official for official in weights if official not in set(wanted))
    dead = tuple(official for official in unused if dead_part in official)
    unexpected = [official for official in unused if official not in dead]
    if not partial and (missing or unexpected):
        problems = [
            f"{what} {listed(some)}"
            for what, some in (("missing", missing), ("not used", unexpected))
            if some
        ]
        raise WeightsError(f"released weights of {name}: {'; '.join(problems)}")

    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parts = names[parameter_name]
            for rows, official in zip(parameter.chunk(len(parts)), parts, strict=True):
                if official in weights:
                    rows.copy_(shaped(weights[official], rows, official, parameter_name))
    model.loading = Loading(missing, unused, dead)
    return model


def official_weights(state_dict: Mapping) -> dict[str, Tensor]:
    """The tensors of a released checkpoint by their names, without wrapping and without `module.`."""
    for key in ("model", "state_dict"):
        if isinstance(state_dict.get(key), Mapping):
            state_dict = state_dict[key]
    weights = {name.removeprefix("module."): value for name, value in state_dict.items()}
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise WeightsError(f"released weights: {name!r} is no tensor but {type(value).__name__}")
    return weights


def shaped(value: Tensor, like: Tensor, official: str, ours: str) -> Tensor:
    """The tensor in the shape of ours; one learned vector may be stored as a table of one row."""
    if tuple(value.shape) not in (tuple(like.shape), (1, *like.shape)):
        raise WeightsError(
            f"released weights: {official} has shape {tuple(value.shape)}, "
            f"but `{ours}` of this configuration needs {tuple(like.shape)}"
        )
    return value.reshape(like.shape)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in one line; after `most` of them, how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def msat_names(config: MSATConfig) -> Names:
    """The authors' names of each parameter of our MSAT (mxingzhang90/MSAT at d9a467c)."""
    base = "bert_layer.vlbert"
    names = {"hidden_word": (f"{base}.mask_embeddings.weight",)}

    def linear(ours: str, *official: str) -> None:
        for kind in ("weight", "bias"):
            names[f"{ours}.{kind}"] = tuple(f"{part}.{kind}" for part in official)

    linear("video_in", f"{base}.visual_1x1_object")
    linear("words_in", f"{base}.word_mapping")
    linear("video_norm", f"{base}.visual_embedding_LayerNorm")
    linear("words_norm", f"{base}.text_embedding_LayerNorm")
    for number in range(config.layers):
        layer, ours = f"{base}.encoder.layer.{number}", f"layers.{number}"
        for stream, own, other in (("words", "text", "visual"), ("video", "visual", "text")):
            # key_other and value_other belong to the stream that asks, but read the other one's states.
            asking, answering = f"{layer}.attention_{own}.self", f"{layer}.attention_{other}.self"
            linear(
                f"{ours}.from_{stream}",
                f"{asking}.query",
                f"{asking}.query_other",
                f"{asking}.key",
                f"{asking}.value",
                f"{answering}.key_other",
                f"{answering}.value_other",
            )
            out = f"{ours}.{stream}_out"
            linear(f"{out}.dense", f"{layer}.attention_{own}.output.dense")
            linear(f"{out}.attention_norm", f"{layer}.attention_{own}.output.LayerNorm")
            linear(f"{out}.widen", f"{layer}.intermediate_{own}.dense")
            linear(f"{out}.narrow", f"{layer}.output_{own}.dense")
            linear(f"{out}.ffn_norm", f"{layer}.output_{own}.LayerNorm")
    for place in (1, 4):
        linear(f"word_head.{place}", f"bert_layer.final_mlp.{place}")
    linear("stage_head.features", "bert_layer.final_mlp_2.1")
    for stage, letter in enumerate("sec"):  # start, end, middle
        for place in (0, 3):
            linear(f"stage_head.scores.{stage}.{place}", f"bert_layer.final_mlp_{letter}.{place}")
    linear("moment_head.hidden", "bert_layer.final_mlp_3.0")
    linear("moment_head.out", "bert_layer.final_mlp_3.3")
    return names


# name: our model, its table, and what is in the name of a parameter that the released code never uses
OFFICIAL = {"msat": (MSAT, msat_names, "visual_1x1_text")}

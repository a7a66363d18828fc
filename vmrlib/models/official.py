"""The authors' released weights in our models: MSAT, ACB with VTC, MMN, UCoFiA, ReLoCLNet.

A released checkpoint names its parameters in its own way and keeps apart what we compute in one product. So a
model needs one table: our parameter -> the authors' names whose rows, joined in that order, it consists of.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmrlib.models.acb import ACBConfig
from vmrlib.models.mmn import MMNConfig
from vmrlib.models.msat import MSATConfig
from vmrlib.models.official_mmn import mmn_names
from vmrlib.models.official_names import Names, linear
from vmrlib.models.official_reloclnet import reloclnet_names
from vmrlib.models.official_ucofia import DEAD, fill_ucofia, plain_names, ucofia_places
from vmrlib.models.openai_clip import WeightsError
from vmrlib.models.reloclnet import ReLoCLNetConfig
from vmrlib.models.ucofia import UCoFiA, UCoFiAConfig
from vmrlib.models.vtc import VTC


class Loading(NamedTuple):
    """What became of the names in a released state dict.

    missing: the authors' names that a parameter of ours needs and that are not there; it keeps the values it
    was initialised with. unused: names there that no parameter of ours takes, among them the `dead` ones,
    which the released code never uses either.
    """

    missing: tuple[str, ...]
    unused: tuple[str, ...]
    dead: tuple[str, ...]


def from_official(
    name: str,
    state_dict: Mapping,
    config: MSATConfig | MMNConfig | UCoFiAConfig | ReLoCLNetConfig,
    partial: bool = False,
) -> nn.Module:
    """Our model of that name with the authors' weights, on the CPU and in eval mode.

    `state_dict` is what their checkpoint holds: parameters by name, each name perhaps with `module.` in front
    (saved from DataParallel), all of them perhaps under "model" or "state_dict". `config` must have the sizes
    of those weights. The result's attribute `loading` says which names were not used.

    Raises WeightsError for an unknown model, for weights of another shape, and, unless `partial`, for every
    missing name and every unused one that is not known to be dead weight in the released code.
    """
    if name == "ucofia":
        return ucofia_from_official(official_weights(state_dict), config, partial)
    if name not in OFFICIAL:
        known = ", ".join([*OFFICIAL, "ucofia"])
        raise WeightsError(f"no released weights are known for {name!r}; known: {known}")
    names_of, dead_names = OFFICIAL[name]
    weights = official_weights(state_dict)
    model = config.build().eval()
    names = names_of(config)
    queues = queues_in(weights) if getattr(config, "contrast", None) else {}

    wanted = [official for parts in names.values() for official in parts]
    missing = tuple(official for official in wanted if official not in weights)
    unused = tuple(official for official in weights if official not in {*wanted, *queues})
    dead = tuple(official for official in unused if dead_names and re.fullmatch(dead_names, official))
    loading = Loading(missing, unused, dead)
    if not partial:
        refuse_incomplete(name, loading)

    fill(model, names, weights)
    if queues:
        fill_queues(model.contrast, {queues[official]: weights[official] for official in queues})
    model.loading = loading
    return model


def ucofia_from_official(weights: Mapping[str, Tensor], config: UCoFiAConfig, partial: bool) -> UCoFiA:
    """`from_official` for UCoFiA, whose release keeps CLIP under OpenAI's names."""
    model, places, names = config.build().eval(), ucofia_places(config), plain_names(weights)
    wanted = {place.name for place in places.values()}
    missing = tuple(sorted(wanted - set(names.values())))
    unused = tuple(name for name, plain in names.items() if plain not in wanted)
    loading = Loading(missing, unused, tuple(name for name in unused if name in DEAD))
    if not partial:
        refuse_incomplete("ucofia", loading)
    try:
        fill_ucofia(model, places, {plain: weights[name] for name, plain in names.items()})
    except ValueError as error:
        raise WeightsError(f"released weights: {error}") from None
    model.loading = loading
    return model


def refuse_incomplete(name: str, loading: Loading) -> None:
    """Raises WeightsError for names that are missing, and for unused ones that are not dead weight."""
    unexpected = [official for official in loading.unused if official not in loading.dead]
    problems = [
        f"{what} {listed(some)}"
        for what, some in (("missing", loading.missing), ("not used", unexpected))
        if some
    ]
    if problems:
        raise WeightsError(f"released weights of {name}: {'; '.join(problems)}")


@torch.no_grad()
def fill(module: nn.Module, names: Names, weights: Mapping[str, Tensor]) -> None:
    """Gives parameters, and named buffers, the released weights; WeightsError for another shape."""
    buffers = [(name, buffer) for name, buffer in module.named_buffers() if name in names]
    for name, parameter in [*module.named_parameters(), *buffers]:
        parts = names[name]
        # a single number cannot be taken apart
        pieces = parameter.chunk(len(parts)) if parameter.ndim else [parameter]
        for piece, official in zip(pieces, parts, strict=True):
            if official in weights:
                piece.copy_(shaped(weights[official], piece, official, name))


def queues_in(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The queues of a checkpoint that was saved in training: their full names, and the last parts of them."""
    return {name: name.rpartition(".")[2] for name in weights if name.rpartition(".")[2] in QUEUES}


@torch.no_grad()
def fill_queues(contrast: VTC, stored: Mapping[str, Tensor]) -> None:
    """Gives the queues what the release stored: keys as columns, ids as a row, the next place."""
    for name, value in stored.items():
        value = value.T if value.ndim == 2 and name != "idx_queue" else value
        buffer = getattr(contrast, QUEUES[name])
        if value.numel() != buffer.numel():
            raise WeightsError(
                f"released weights: {name} has shape {tuple(stored[name].shape)}, but the queue of this "
                f"configuration has {contrast.config.queue_size} places of {contrast.queue_words.shape[1]}"
            )
        buffer.copy_(value.reshape(buffer.shape))


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
    """The tensor in the shape of ours; axes of one entry do not count.

    One learned vector may be stored as a table of one row, and a linear layer as a convolution of width 1.
    """
    if [size for size in value.shape if size > 1] != [size for size in like.shape if size > 1]:
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


BASE = "bert_layer.vlbert"
# The release's names of what our contrastive loss remembers.
QUEUES = {
    "image_queue": "queue_video",
    "text_queue": "queue_words",
    "idx_queue": "queue_ids",
    "queue_ptr": "place",
}


def msat_names(config: MSATConfig) -> Names:
    """The authors' names of each parameter of our MSAT (mxingzhang90/MSAT at d9a467c)."""
    names = shared_names("visual_1x1_object")
    for number in range(config.layers):
        layer, ours = f"{BASE}.encoder.layer.{number}", f"layers.{number}"
        for stream, own, other in (("words", "text", "visual"), ("video", "visual", "text")):
            # key_other and value_other belong to the stream that asks, but read the other one's states.
            asking, answering = f"{layer}.attention_{own}.self", f"{layer}.attention_{other}.self"
            names |= linear(
                f"{ours}.from_{stream}",
                f"{asking}.query",
                f"{asking}.query_other",
                f"{asking}.key",
                f"{asking}.value",
                f"{answering}.key_other",
                f"{answering}.value_other",
            )
            out = f"{ours}.{stream}_out"
            names |= linear(f"{out}.dense", f"{layer}.attention_{own}.output.dense")
            names |= linear(f"{out}.attention_norm", f"{layer}.attention_{own}.output.LayerNorm")
            names |= linear(f"{out}.widen", f"{layer}.intermediate_{own}.dense")
            names |= linear(f"{out}.narrow", f"{layer}.output_{own}.dense")
            names |= linear(f"{out}.ffn_norm", f"{layer}.output_{own}.LayerNorm")
    return names


def acb_vtc_names(config: ACBConfig) -> Names:
    """The names of the asymmetric co-attention network (love481's release at 552d625).

    Its blocks have no feed-forward step; with `config.ffn` their parameters are asked for under the names
    that the release's own, unused classes give them.
    """
    names = shared_names("visual_1x1_visual")
    for number, letter in enumerate(config.blocks):
        layer, ours = f"{BASE}.encoder.layer.{number}", f"layers.{number}"
        parts = {
            "A": {"words.own": "attention", "words.other": "crossattention"},
            "C": {"attention": "attention"},
        }
        if letter not in parts:
            raise WeightsError(f"no released weights are known for a block {letter!r}")
        for part, official in parts[letter].items():
            heads = f"{layer}.{official}.self"
            names |= linear(
                f"{ours}.{part}.projections", *(f"{heads}.{name}" for name in ("query", "key", "value"))
            )
            names |= linear(f"{ours}.{part}.dense", f"{layer}.{official}.output.dense")
            names |= linear(f"{ours}.{part}.norm", f"{layer}.{official}.output.LayerNorm")
        if config.ffn:
            ffn = f"{ours}.words.ffn" if letter == "A" else f"{ours}.ffn"
            names |= linear(f"{ffn}.widen", f"{layer}.intermediate.dense")
            names |= linear(f"{ffn}.narrow", f"{layer}.output.dense")
            names |= linear(f"{ffn}.norm", f"{layer}.output.LayerNorm")
    return names | (vtc_names(f"{BASE}.mplug.", "contrast.") if config.contrast else {})


def vtc_names(official: str, ours: str) -> Names:
    """The names of the contrastive loss; `official` and `ours` stand before every name."""
    names = {f"{ours}temperature": (f"{official}temp",)}
    for part, kind in (("encoders", ""), ("slow", "_m")):
        for layer, name in (
            ("video", "visual_encoder"),
            ("words", "text_encoder"),
            ("video_out", "vision_proj"),
            ("words_out", "text_proj"),
        ):
            names |= linear(f"{ours}{part}.{layer}", f"{official}{name}{kind}")
    return names


def shared_names(video_in: str) -> Names:
    """Embedding and heads, which both have; the layer that reads the video has two names."""
    names = {"hidden_word": (f"{BASE}.mask_embeddings.weight",)}
    names |= linear("video_in", f"{BASE}.{video_in}")
    names |= linear("words_in", f"{BASE}.word_mapping")
    names |= linear("video_norm", f"{BASE}.visual_embedding_LayerNorm")
    names |= linear("words_norm", f"{BASE}.text_embedding_LayerNorm")
    for place in (1, 4):
        names |= linear(f"word_head.{place}", f"bert_layer.final_mlp.{place}")
    names |= linear("stage_head.features", "bert_layer.final_mlp_2.1")
    for stage, letter in enumerate("sec"):  # start, end, middle
        for place in (0, 3):
            names |= linear(f"stage_head.scores.{stage}.{place}", f"bert_layer.final_mlp_{letter}.{place}")
    names |= linear("moment_head.hidden", "bert_layer.final_mlp_3.0")
    names |= linear("moment_head.out", "bert_layer.final_mlp_3.3")
    return names


# name: the table, and a pattern of the whole names of parameters that the released code never uses
OFFICIAL = {
    "msat": (msat_names, r".*visual_1x1_text.*"),
    "acb_vtc": (acb_vtc_names, r".*itm_head.*"),
    "mmn": (mmn_names, r"text_encoder\.bert\.embeddings\.position_ids"),
    "reloclnet": (reloclnet_names, None),  # it uses all of its own
}

"""The authors' names of ReLoCLNet's parameters (26hzhang/ReLoCLNet at 56cb666)."""

from vmrlib.models.official_names import Names, linear
from vmrlib.models.openai_clip import WeightsError
from vmrlib.models.reloclnet import ReLoCLNetConfig

STREAMS = ("video", "sub")
FILTERS = (("start", "st"), ("end", "ed"))


def reloclnet_names(config: ReLoCLNetConfig) -> Names:
    """Our parameter -> the authors' name of it, in a tuple, as `official.from_official` reads it.

    Raises WeightsError for the losses of the slides: the release has no weights for them.
    """
    for name in ("video_contrast", "frame_contrast"):
        if getattr(config, name) != "released":
            raise WeightsError(f"no released weights are known for {name} {getattr(config, name)!r}")
    names = {"query.pooling.weight": ("modular_vector_mapping.weight",)}
    names |= _input("query.input", "query_input_proj")
    names |= _positions("query.positions", "query_pos_embed") | _positions("positions", "ctx_pos_embed")
    names |= _block("query.first", "query_encoder") | _block("query.second", "query_encoder1")
    for number, stream in enumerate(STREAMS[: config.streams]):
        ours = f"streams.{number}"
        names |= _input(f"{ours}.input", f"{stream}_input_proj")
        for place, part in enumerate(("first", "second", "third"), start=1):
            names |= _block(f"{ours}.{part}", f"{stream}_encoder{place}")
        if config.streams == 2:
            names |= _attention(f"{ours}.cross", f"{stream}_cross_att")
            names |= linear(f"{ours}.cross_norm", f"{stream}_cross_layernorm")
        names |= linear(f"{ours}.query_out", f"{stream}_query_linear")
    return names | {f"{ours}.weight": (f"merged_{theirs}_predictor.weight",) for ours, theirs in FILTERS}


def _input(ours: str, official: str) -> Names:
    return linear(f"{ours}.norm", f"{official}.LayerNorm") | linear(f"{ours}.linear", f"{official}.net.1")


def _positions(ours: str, official: str) -> Names:
    table = {f"{ours}.table.weight": (f"{official}.position_embeddings.weight",)}
    return table | linear(f"{ours}.norm", f"{official}.LayerNorm")


def _attention(ours: str, official: str) -> Names:
    parts = (linear(f"{ours}.{part}", f"{official}.{part}") for part in ("query", "key", "value"))
    return {name: value for part in parts for name, value in part.items()}


def _block(ours: str, official: str) -> Names:
    names = _attention(f"{ours}.attention", f"{official}.self")
    names |= linear(f"{ours}.dense", f"{official}.output.dense")
    return names | linear(f"{ours}.norm", f"{official}.output.LayerNorm")

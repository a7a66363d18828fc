"""The authors' names of ReLoCLNet's parameters (26hzhang/ReLoCLNet at 56cb666)."""

from vmrlib.models.openai_clip import WeightsError
from vmrlib.models.reloclnet import ReLoCLNetConfig

Names = dict[str, tuple[str, ...]]
STREAMS = ("video", "sub")


def reloclnet_names(config: ReLoCLNetConfig) -> Names:
    """Our parameter -> the authors' name of it, in a tuple, as `official.from_official` reads it.

    Raises WeightsError for the losses of the slides: the release has no weights for them.
    """
    for name in ("video_contrast", "frame_contrast"):
        if getattr(config, name) != "released":
            raise WeightsError(f"no released weights are known for {name} {getattr(config, name)!r}")
    names = {"query.pooling.weight": "modular_vector_mapping.weight"}
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
            names |= _linear(f"{ours}.cross_norm", f"{stream}_cross_layernorm")
        names |= _linear(f"{ours}.query_out", f"{stream}_query_linear")
    names |= {"start.weight": "merged_st_predictor.weight", "end.weight": "merged_ed_predictor.weight"}
    return {ours: (official,) for ours, official in names.items()}


def _linear(ours: str, official: str) -> dict[str, str]:
    return {f"{ours}.{kind}": f"{official}.{kind}" for kind in ("weight", "bias")}


def _input(ours: str, official: str) -> dict[str, str]:
    return _linear(f"{ours}.norm", f"{official}.LayerNorm") | _linear(f"{ours}.linear", f"{official}.net.1")


def _positions(ours: str, official: str) -> dict[str, str]:
    table = {f"{ours}.table.weight": f"{official}.position_embeddings.weight"}
    return table | _linear(f"{ours}.norm", f"{official}.LayerNorm")


def _attention(ours: str, official: str) -> dict[str, str]:
    parts = (_linear(f"{ours}.{part}", f"{official}.{part}") for part in ("query", "key", "value"))
    return {name: value for part in parts for name, value in part.items()}


def _block(ours: str, official: str) -> dict[str, str]:
    names = _attention(f"{ours}.attention", f"{official}.self")
    names |= _linear(f"{ours}.dense", f"{official}.output.dense")
    return names | _linear(f"{ours}.norm", f"{official}.output.LayerNorm")

"""Released weights in our models: wrapping, names that are missing or too many, shapes that do not fit."""

import pytest
import torch

from vmrlib.models.acb import ACBConfig
from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.official import acb_vtc_names, from_official, msat_names
from vmrlib.models.vtc import VTCConfig

CONFIG = MSATConfig.stage(
    clips=8, dim_video=6, dim_words=5, vocabulary=7, positions=9, heads=2, dim=8, dim_ffn=12, dim_head=10
)
DEAD = "bert_layer.vlbert.visual_1x1_text.weight"
FIRST = "bert_layer.vlbert.encoder.layer.0.attention_text.self"


@pytest.fixture
def released() -> dict:
    """Weights under the authors' names: each tensor holds its own number."""
    sizes = dict(MSAT(CONFIG).named_parameters())
    state = {DEAD: torch.zeros(8, 6)}
    for ours, parts in msat_names(CONFIG).items():
        for official, rows in zip(parts, sizes[ours].chunk(len(parts)), strict=True):
            state[official] = torch.full(rows.shape, float(len(state)))
    state["bert_layer.vlbert.mask_embeddings.weight"] = torch.arange(8.0)[None]  # a table of one row
    return state


def test_every_parameter_is_taken_and_dead_weight_is_named(released):
    model = from_official("msat", released, CONFIG)
    assert not model.training
    assert model.loading == ((), (DEAD,), (DEAD,))
    rows = model.layers[0].from_words.weight.chunk(6)
    # own queries, queries for the video, own keys and values, then what the video stream asks of the words
    other = FIRST.replace("attention_text", "attention_visual")
    expected = [f"{FIRST}.{part}" for part in ("query", "query_other", "key", "value")]
    expected += [f"{other}.key_other", f"{other}.value_other"]
    for part, name in zip(rows, expected, strict=True):
        assert torch.equal(part, released[f"{name}.weight"]), name
    assert model.hidden_word.tolist() == list(range(8))
    assert torch.equal(model.stage_head.scores[2][0].bias, released["bert_layer.final_mlp_c.0.bias"])


@pytest.mark.parametrize(
    "wrap", [lambda state: {"model": state, "epoch": 3}, lambda state: {"state_dict": state}]
)
def test_wrapped_checkpoints_are_unwrapped(released, wrap):
    parallel = wrap({f"module.{name}": value for name, value in released.items()})
    plain, unwrapped = from_official("msat", released, CONFIG), from_official("msat", parallel, CONFIG)
    for name, value in plain.state_dict().items():
        assert torch.equal(unwrapped.state_dict()[name], value), name


def test_missing_and_unknown_names_are_errors_that_name_them(released):
    del released[f"{FIRST}.key.bias"]
    released["bert_layer.pooler.weight"] = torch.zeros(2)
    with pytest.raises(ValueError, match="msat") as error:
        from_official("msat", released, CONFIG)
    assert f"missing {FIRST}.key.bias; not used bert_layer.pooler.weight" in str(error.value)
    assert DEAD not in str(error.value)


def test_a_fragment_loads_in_part_and_says_what_is_missing(released):
    fragment = {name: value for name, value in released.items() if ".self.key" not in name}
    fragment["bert_layer.pooler.weight"] = torch.zeros(2)
    torch.manual_seed(0)
    model = from_official("msat", fragment, CONFIG, partial=True)
    torch.manual_seed(0)
    fresh = MSAT(CONFIG)
    taken, initial = model.layers[1].from_video.weight.chunk(6), fresh.layers[1].from_video.weight.chunk(6)
    name = "bert_layer.vlbert.encoder.layer.1.attention_visual.self.value.weight"
    assert torch.equal(taken[3], released[name])
    assert torch.equal(taken[2], initial[2])
    assert set(model.loading.missing) == set(released) - set(fragment)
    assert set(model.loading.unused) == {DEAD, "bert_layer.pooler.weight"}


def test_many_names_are_counted(released):
    with pytest.raises(ValueError, match=r"missing .* and \d+ more$") as error:
        from_official("msat", {DEAD: released[DEAD]}, CONFIG)
    assert "\n" not in str(error.value)


def test_weights_of_another_size_name_tensor_and_both_shapes(released):
    released["bert_layer.final_mlp.4.bias"] = torch.zeros(9)
    with pytest.raises(
        ValueError, match=r"final_mlp\.4\.bias has shape \(9,\), but `word_head\.4\.bias` .* \(7,\)"
    ):
        from_official("msat", released, CONFIG, partial=True)


def test_what_is_no_state_dict_is_refused(released):
    with pytest.raises(ValueError, match="'optimiser' is no tensor but dict"):
        from_official("msat", released | {"optimiser": {}}, CONFIG)


def test_an_unknown_model_is_refused_with_the_known_names(released):
    with pytest.raises(ValueError, match="'bert'; known: msat"):
        from_official("bert", released, CONFIG)


# --- asymmetric co-attention

ACB_CONFIG = ACBConfig(
    **(vars(CONFIG) | {"group": "AC", "layers": 1, "contrast": VTCConfig(weight=1.0, queue_size=4, dim=6)})
)
ITM_HEAD = "bert_layer.vlbert.mplug.itm_head.weight"
LAYER = "bert_layer.vlbert.encoder.layer"


def numbered(config) -> dict:
    """Weights of that network under the authors' names: each tensor holds its own number."""
    state = {}
    sizes = dict(config.build().named_parameters())
    for ours, parts in acb_vtc_names(config).items():
        for official in parts:
            shape = (len(sizes[ours]) // len(parts), *sizes[ours].shape[1:]) if sizes[ours].ndim else ()
            state[official] = torch.full(shape, float(len(state)))
    return state


@pytest.fixture
def released_acb() -> dict:
    return numbered(ACB_CONFIG) | {ITM_HEAD: torch.zeros(2, 8)}


def test_every_parameter_of_asymmetric_co_attention_is_taken(released_acb):
    model = from_official("acb_vtc", released_acb, ACB_CONFIG)
    assert not model.training and model.loading == ((), (ITM_HEAD,), (ITM_HEAD,))
    asymmetric, connected = model.layers
    for ours, official in (
        (asymmetric.words.own, f"{LAYER}.0.attention"),
        (asymmetric.words.other, f"{LAYER}.0.crossattention"),
        (connected.attention, f"{LAYER}.1.attention"),
    ):
        for rows, part in zip(ours.projections.bias.chunk(3), ("query", "key", "value"), strict=True):
            assert torch.equal(rows, released_acb[f"{official}.self.{part}.bias"]), part
        assert torch.equal(ours.norm.weight, released_acb[f"{official}.output.LayerNorm.weight"])
    module = "bert_layer.vlbert.mplug"
    contrast = model.contrast
    assert contrast.temperature == released_acb[f"{module}.temp"]
    assert torch.equal(contrast.encoders.words_out.weight, released_acb[f"{module}.text_proj.weight"])
    assert torch.equal(contrast.slow.video.bias, released_acb[f"{module}.visual_encoder_m.bias"])


def test_queues_of_a_checkpoint_are_taken_where_there_are_some(released_acb):
    module, keys = "bert_layer.vlbert.mplug", torch.randn(2, 6, 4)
    queues = {"image_queue": keys[0], "text_queue": keys[1], "idx_queue": torch.tensor([[7, 8, 9, -100]])}
    queues |= {"queue_ptr": torch.tensor([3])}
    stored = {f"{module}.{name}": value for name, value in queues.items()}
    contrast = from_official("acb_vtc", released_acb | stored, ACB_CONFIG).contrast
    assert torch.equal(contrast.queue_video, keys[0].T) and torch.equal(contrast.queue_words, keys[1].T)
    assert contrast.queue_ids.tolist() == [7, 8, 9, -100] and contrast.place == 3
    stored[f"{module}.text_queue"] = torch.randn(6, 5)
    with pytest.raises(ValueError, match=r"text_queue has shape \(6, 5\), but .* 4 places of 6"):
        from_official("acb_vtc", released_acb | stored, ACB_CONFIG)


def test_the_variants_of_the_release_have_names_and_others_have_none(released_acb):
    wide = ACBConfig(**(vars(ACB_CONFIG) | {"ffn": True}))
    with pytest.raises(ValueError, match=r"missing .*layer\.0\.intermediate\.dense\.weight"):
        from_official("acb_vtc", released_acb, wide)
    assert from_official("acb_vtc", numbered(wide), wide).loading.missing == ()
    alone = ACBConfig(**(vars(ACB_CONFIG) | {"contrast": None}))
    assert from_official("acb_vtc", numbered(alone), alone).contrast is None
    both_ways = ACBConfig(**(vars(ACB_CONFIG) | {"group": "B"}))
    with pytest.raises(ValueError, match="no released weights are known for a block 'B'"):
        from_official("acb_vtc", released_acb, both_ways)

"""Asymmetric co-attention: sizes as published, what each block reads and changes, switches, learning."""

from dataclasses import replace
from pathlib import Path

import pytest
import test_msat
import torch
import torch.nn.functional as F
from test_msat import SMALL, for_inference
from torch.utils.flop_counter import FlopCounterMode

from vmrlib.configuration import read_config
from vmrlib.models.acb import (
    ACB,
    BLOCKS,
    ACBConfig,
    AsymmetricBlock,
    Attention,
    ConnectedBlock,
    SymmetricBlock,
    block_flops,
    count_encoder,
)
from vmrlib.models.attention import attention_share, word_bias
from vmrlib.models.msat import MSAT, MSATConfig, learnt_parameters
from vmrlib.models.vtc import VTCConfig
from vmrlib.moments import temporal_iou

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
ALONE = ACBConfig(**(vars(SMALL) | {"group": "AAC", "layers": 2}))
BOTH = replace(ALONE, contrast=VTCConfig(weight=0.5, queue_size=8))
HEADS, POINTS, WORDS, DIM = SMALL.heads, SMALL.points, 6, SMALL.dim
VTC = VTCConfig(weight=0.5)


def make_batch(number=3, words=WORDS, seed=0):
    """MSAT's batch, with what the contrastive loss needs.

    The first two queries have one segment, and all but the first say the same, as far as the numbers go.
    """
    batch = test_msat.make_batch(number, words, seed)
    numbers = torch.arange(number)
    ids = {"segment": (numbers - 1).clamp_min(0), "sentence": numbers.clamp_max(1)}
    return batch | {"annotation": numbers} | ids


@pytest.fixture(params=[ALONE, BOTH], ids=["acb", "acb_vtc"])
def model(request):
    torch.manual_seed(0)
    return ACB(replace(request.param, initial_std=0.3)).eval()


# --- sizes


@pytest.fixture
def count(monkeypatch):
    """How many numbers a model of that configuration learns, without the memory for them."""
    cells = torch.zeros(1, 2, dtype=torch.long)
    monkeypatch.setattr("vmrlib.models.msat.candidate_cells", lambda *_: cells)

    def learnt(config):
        with torch.device("meta"):
            return learnt_parameters(config.build())

    return learnt


UNUSED = {"tacos": 2_097_664, "activitynet": 256_512}  # MSAT's second projection of the video
ITM_HEAD = 1_026  # of the released contrastive loss
TABLE = {
    "MSAT": (MSATConfig, {}, (36_148_720, 37_193_198)),
    "MSAT without its dead projection": (MSATConfig, {}, (34_051_056, 36_936_686)),
    "MSAT + VTC": (MSATConfig, {"contrast": VTC}, (37_200_371, 38_244_849)),
    "ACB only": (ACBConfig, {"contrast": None}, (21_434_352, 24_319_982)),
    "ACB + VTC": (ACBConfig, {}, (22_486_003, 25_371_633)),
    "ACB + VTC with FFN": (ACBConfig, {"ffn": True}, (27_223_027, 30_108_657)),
}


@pytest.mark.parametrize("row", TABLE)
@pytest.mark.parametrize("dataset", UNUSED)
def test_every_variant_has_the_published_size(count, row, dataset):
    # section 7 of the specification; what the release never uses is left out by us, and named here
    kind, changes, expected = TABLE[row]
    config = getattr(kind, dataset)(**changes)
    dead = UNUSED[dataset] if row in ("MSAT", "MSAT + VTC") else 0
    dead += ITM_HEAD if config.contrast else 0
    assert count(config) + dead == expected[list(UNUSED).index(dataset)]


@pytest.mark.parametrize("dataset", UNUSED)
def test_the_sizes_in_the_documentation_are_those_of_the_models(count, dataset):
    preset = getattr(ACBConfig, dataset)
    for config in (preset(), preset(contrast=None)):
        assert f"{count(config):,}" in preset.__doc__
    assert f"{ITM_HEAD:,}" in preset.__doc__ and ITM_HEAD == 2 * (512 + 1)
    with torch.device("meta"):
        model = preset().build()
    slow = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    assert slow == 1_050_624 and f"{slow:,}" in preset.__doc__
    queues = model.contrast.queue_words.nbytes + model.contrast.queue_video.nbytes
    assert queues == 204_800_000


def test_the_shipped_configurations_are_of_that_size(count):
    tacos = read_config(CONFIGS / "acb_vtc_tacos.yaml").model.config()
    activitynet = read_config(CONFIGS / "acb_vtc_activitynet.yaml").model.config()
    assert (count(tacos), count(activitynet)) == (22_484_977, 25_370_607)


@pytest.mark.parametrize("ffn", [False, True])
def test_an_encoder_can_be_counted_without_being_built(ffn):
    config = replace(ALONE, dim_ffn=DIM, ffn=ffn)
    assert count_encoder(config.blocks, DIM, ffn) == sum(p.numel() for p in ACB(config).layers.parameters())


@pytest.mark.parametrize("group", ["A", "C", "AAC"])
def test_flops_of_a_block_are_those_of_its_matrix_products(group):
    torch.manual_seed(0)
    words, video, mask = torch.randn(1, 5, DIM), torch.randn(1, 9, DIM), torch.ones(1, 5, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for letter in group:
            words, video, _ = BLOCKS[letter](ALONE)(words, video, word_bias(mask, words.dtype), True)
    assert counter.get_total_flops() == sum(block_flops(letter, 9, 5, DIM) for letter in group)


def test_shares_of_attention_are_means_over_those_who_ask():
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    all_ask, first, keys = (
        torch.tensor([True, True]),
        torch.tensor([True, False]),
        torch.tensor([0, 1, 1]) > 0,
    )
    assert attention_share(weights, all_ask, keys).tolist() == [0.625, 0.5]
    assert attention_share(weights, first, keys).tolist() == [0.5, 0.0]
    assert attention_share(weights, ~all_ask, keys).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("", "group: expected letters A, B and C, found ''"),
        ("AAD", "group: expected letters A, B and C, found 'AAD'"),
        ("aac", "group: expected letters"),
        ("ACA", "group: 'ACA' ends with A"),
    ],
)
def test_impossible_groups_are_refused(group, message):
    with pytest.raises(ValueError, match=message):
        replace(ALONE, group=group)


def test_a_configuration_makes_its_model_and_names_it():
    both = replace(SMALL, contrast=BOTH.contrast)
    titles = {config.title: type(config.build()) for config in (SMALL, both, ALONE, BOTH)}
    assert titles == {"MSAT": MSAT, "MSAT + VTC": MSAT, "MSAT + ACB": ACB, "MSAT + ACB + VTC": ACB}
    stage = ACBConfig.stage()
    assert stage.blocks == "AACAAC" and stage.contrast == VTCConfig.stage() and stage.dim == SMALL.stage().dim


def test_only_the_encoder_differs_from_msat():
    def rest(model):
        state = model.state_dict()
        return {name: value.shape for name, value in state.items() if not name.startswith("layers.")}

    assert rest(ACB(ALONE)) == rest(MSAT(SMALL))
    assert rest(ACB(BOTH)) == rest(MSAT(replace(SMALL, contrast=BOTH.contrast)))


# --- blocks


@pytest.fixture
def states():
    """Words (2, 6, d) of which the second sample has 4, points, and the bias of the words."""
    torch.manual_seed(1)
    mask = torch.arange(WORDS) < torch.tensor([[6], [4]])
    return torch.randn(2, WORDS, DIM), torch.randn(2, POINTS, DIM), word_bias(mask, torch.float32)


def made(kind, **changes):
    torch.manual_seed(2)
    return kind(replace(ALONE, **changes)).eval()


def test_attention_is_the_textbook_one(states):
    words, video, bias = states
    attention = made(Attention)
    query, key, value = attention.projections.weight.chunk(3)
    of_query, of_key, of_value = attention.projections.bias.chunk(3)
    for asking, asked, added in ((words, words, bias), (words, video, None), (video, words, bias)):
        mixed = []
        for head in range(HEADS):
            rows = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
            q = asking @ query[rows].T + of_query[rows]
            k, v = asked @ key[rows].T + of_key[rows], asked @ value[rows].T + of_value[rows]
            logits = q @ k.mT / (DIM // HEADS) ** 0.5 + (0 if added is None else added[:, 0])
            mixed.append(logits.softmax(-1) @ v)
        expected = F.layer_norm(attention.dense(torch.cat(mixed, dim=-1)) + asking, (DIM,), eps=1e-12)
        found, _ = attention(asking, None if asked is asking else asked, added)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_video_passes_an_asymmetric_block_untouched(states):
    words, video, bias = states
    block = made(AsymmetricBlock)
    new_words, new_video, _ = block(words, video, bias)
    assert new_video is video and not torch.allclose(new_words, words)
    other, _, _ = block(words, video + 1, bias)
    assert (other - new_words).abs().max() > 1e-3, "the words read the video"
    own, _ = block.words.own(words, bias=bias)
    expected, _ = block.words.other(own, video)
    torch.testing.assert_close(new_words, expected)


def test_both_streams_of_a_symmetric_block_read_the_states_from_before_it(states):
    words, video, bias = states
    block = made(SymmetricBlock)
    new_words, new_video, _ = block(words, video, bias)
    expected_words, _ = block.words(words, video, bias, None, False)
    expected_video, _ = block.video(video, words, None, bias, False)
    torch.testing.assert_close(new_words, expected_words)
    torch.testing.assert_close(new_video, expected_video)
    one_after_the_other, _ = block.video(video, new_words, None, bias, False)
    assert (new_video - one_after_the_other).abs().max() > 1e-3


def test_a_connected_block_is_one_attention_over_both(states):
    words, video, bias = states
    block = made(ConnectedBlock)
    new_words, new_video, _ = block(words, video, bias)
    tokens, _ = block.attention(torch.cat([video, words], dim=1), bias=F.pad(bias, (POINTS, 0)))
    torch.testing.assert_close(torch.cat([new_video, new_words], dim=1), tokens)
    other_words, other_video, _ = block(words + 1, video, bias)
    assert (other_video - new_video).abs().max() > 1e-3 and (other_words - new_words).abs().max() > 1e-3


def test_the_residual_adds_the_video_that_skipped(states):
    plain, added = made(ConnectedBlock), made(ConnectedBlock, residual=True)
    words, video, bias = states
    new_words, new_video, _ = plain(words, video, bias)
    same_words, more_video, _ = added(words, video, bias)
    torch.testing.assert_close(same_words, new_words)
    torch.testing.assert_close(more_video, new_video + video)


@pytest.mark.parametrize("kind", [AsymmetricBlock, SymmetricBlock, ConnectedBlock])
def test_the_feed_forward_step_follows_the_attention(states, kind):
    plain, wide = made(kind), made(kind, ffn=True)
    wide.load_state_dict(plain.state_dict(), strict=False)
    words, video, bias = states
    before, after = plain(words, video, bias), wide(words, video, bias)
    parts = {"words": wide.words.ffn} if hasattr(wide, "words") else {"words": wide.ffn, "video": wide.ffn}
    parts |= {"video": wide.video.ffn} if hasattr(wide, "video") else {}
    for place, name in enumerate(("words", "video")):
        if name not in parts:
            assert after[place] is video
            continue
        ffn, x = parts[name], before[place]
        inner = F.gelu(x @ ffn.widen.weight.T + ffn.widen.bias)
        expected = F.layer_norm(inner @ ffn.narrow.weight.T + ffn.narrow.bias + x, (DIM,), eps=1e-12)
        torch.testing.assert_close(after[place], expected, atol=1e-5, rtol=1e-5)
    more = sum(p.numel() for p in wide.parameters()) - sum(p.numel() for p in plain.parameters())
    width, steps = SMALL.dim_ffn, 2 if kind is SymmetricBlock else 1
    assert more == steps * (2 * DIM * width + width + DIM + 2 * DIM)


# --- the model


def test_outputs_have_the_documented_shapes(model):
    batch = make_batch()
    outputs = model(for_inference(batch), attention=True)
    weights = outputs.pop("attention")
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "stage_logits": (3, 3, POINTS),
        "cells": (test_msat.CANDIDATES, 2),
        "offsets": (3, test_msat.CANDIDATES, 2),
        "moment_logits": (3, test_msat.CANDIDATES),
    }
    shapes = [[tuple(part.shape) for part in block] for block in weights]
    asymmetric = [(3, HEADS, WORDS, WORDS), (3, HEADS, WORDS, POINTS)]
    connected = [(3, HEADS, POINTS + WORDS, POINTS + WORDS)]
    assert shapes == [asymmetric, asymmetric, connected] * 2
    assert not any(name.startswith("contrast") for name in model(batch)), "only in training"


def test_the_words_over_words_come_first_in_a_symmetric_block():
    model = ACB(replace(ALONE, group="B", layers=1)).eval()
    (weights,) = model(for_inference(make_batch()), attention=True)["attention"]
    assert [part.shape[-2:] for part in weights] == [
        (WORDS, WORDS), (WORDS, POINTS), (POINTS, POINTS), (POINTS, WORDS)
    ]  # fmt: skip


@pytest.mark.parametrize("blocks", ["AACAAC", "BBC", "B", "CC"])
def test_attention_on_request_is_that_of_the_fused_path(blocks):
    torch.manual_seed(0)
    model, batch = (
        ACB(replace(ALONE, group=blocks, layers=1, initial_std=0.3)).eval(),
        for_inference(make_batch()),
    )
    fused, shown = model(batch), model(batch, attention=True)
    assert "attention" not in fused and len(shown["attention"]) == len(blocks)
    for name in fused:
        torch.testing.assert_close(shown[name], fused[name], atol=1e-5, rtol=1e-5)
    padding = ~batch["word_mask"][:, None, None]
    for block in shown["attention"]:
        for weights in block:
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
            if weights.shape[-1] != POINTS:  # the words are among the keys, behind the points
                assert (weights[..., -WORDS:].masked_select(padding) == 0).all()
            assert weights.std() > 0.01


def test_padding_words_change_nothing(model):
    batch = for_inference(make_batch())
    padded = dict(batch)
    more = torch.randn(3, 4, SMALL.dim_words)  # not even words that are no zeros
    padded["words"] = torch.cat([batch["words"], more], dim=1)
    padded["word_mask"] = torch.cat([batch["word_mask"], torch.zeros(3, 4, dtype=torch.bool)], dim=1)
    ours, again = model(batch), model(padded)
    for name in ("stage_logits", "offsets", "moment_logits"):
        torch.testing.assert_close(again[name], ours[name], atol=1e-5, rtol=1e-5)
    shorter = batch | {"word_mask": batch["word_mask"] & (torch.arange(WORDS) > 0)}
    assert (model(shorter)["moment_logits"] - ours["moment_logits"]).abs().max() > 1e-3


def test_a_sample_has_the_same_outputs_alone(model):
    batch = for_inference(make_batch())
    together = model(batch)
    for row in range(3):
        alone = model({name: value[row : row + 1] for name, value in batch.items()})
        for name in ("stage_logits", "offsets", "moment_logits"):
            torch.testing.assert_close(alone[name][0], together[name][row], atol=1e-5, rtol=1e-5)


def test_one_sample_can_be_learnt_from(model):
    batch = make_batch(1)
    losses = model.train().loss(model(batch), batch)
    assert all(value.isfinite() for value in losses.values())
    assert ("contrast" in losses) == (model.config.contrast is not None)


def test_gradients_reach_every_parameter_that_learns(model):
    batch = make_batch()
    model.train().loss(model(batch), batch)["total"].backward()
    for name, parameter in model.named_parameters():
        if name.startswith("contrast.slow"):
            assert parameter.grad is None and not parameter.requires_grad
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_total_is_weighted(model):
    batch = make_batch()
    losses = model.train().loss(model(batch), batch)
    names = ["stage", "regression", "iou", "words"] + ["contrast"] * (model.config.contrast is not None)
    assert list(losses) == [*names, "total"]
    weighted = [w * losses[name] for w, name in zip((*SMALL.weights, 0.5), names, strict=False)]
    assert losses["total"].item() == pytest.approx(sum(weighted).item())


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model, batch = ACB(replace(ALONE, dropout=0.5, ffn=True)), make_batch()
    assert not torch.equal(model(batch)["offsets"], model(batch)["offsets"])
    model.eval()
    assert torch.equal(model(batch)["offsets"], model(batch)["offsets"])


def test_four_samples_are_learnt_by_heart():
    torch.manual_seed(0)
    model, batch = ACB(replace(BOTH, group="AAC", layers=1)), make_batch(4, words=7)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(150):
        loss = model.loss(model(batch), batch)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.after_step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    model.eval()
    truth = batch["moments_cell"] * (batch["duration"] / SMALL.cells)[:, None]
    for (moments, _), true in zip(model.localise(for_inference(batch)), truth, strict=True):
        assert temporal_iou(moments[:1], true[None]).item() > 0.7


def test_a_state_dict_brings_the_model_back(model):
    again = ACB(model.config).eval()
    again.load_state_dict(model.state_dict())
    batch = for_inference(make_batch())
    assert torch.equal(again(batch)["moment_logits"], model(batch)["moment_logits"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padding_is_masked_in_every_precision(dtype):
    bias = word_bias(torch.tensor([[True, False]]), dtype)
    assert bias.isfinite().all() and bias.dtype == dtype
    assert bias.float().softmax(dim=-1).flatten().tolist() == [1.0, 0.0]

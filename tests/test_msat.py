"""MSAT: shapes, masks, candidates, one moment head written in two ways, learning, inference."""

from dataclasses import replace

import pytest
import torch

from vmrlib.models.msat import MSAT, MSATConfig, candidate_cells
from vmrlib.models.msat_heads import MomentHead
from vmrlib.moments import temporal_iou

# 8 cells, 9 points; candidates: 8 + 7 + 6 of lengths 1 to 3, and lengths 4, 6, 8 from even starts: 3 + 2 + 1.
SMALL = MSATConfig.stage(
    clips=16,
    dim_video=6,
    dim_words=5,
    vocabulary=12,
    positions=9 + 11,
    candidates=((3, 1), (8, 2)),
    heads=2,
    dim=16,
    dim_ffn=24,
    dim_head=20,
    layers=2,
    dropout=0.0,
)
CANDIDATES = 27
TRAINING_KEYS = ("moments_cell", "hidden_words", "word_labels")


@pytest.fixture
def model():
    torch.manual_seed(0)
    # Wider weights than a fresh model's, so that attention is far from uniform.
    return MSAT(replace(SMALL, initial_std=0.3)).eval()


def make_batch(number=3, words=6, seed=0):
    """Noise; sample b has `words` - b words, and the words 0 and 2 are to be guessed (of sample 1: none)."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(words) < torch.arange(words, words - number, -1)[:, None]
    start = torch.rand(number, 1, generator=generator, dtype=torch.float64) * 4
    length = 0.5 + torch.rand(number, 1, generator=generator, dtype=torch.float64) * 3
    hidden = torch.zeros(number, words, dtype=torch.bool)
    hidden[:, [0, 2]] = True
    hidden[1:2] = False
    return {
        "query_ids": [str(index) for index in range(number)],
        "video": torch.randn(number, SMALL.clips, SMALL.dim_video, generator=generator),
        "words": torch.randn(number, words, SMALL.dim_words, generator=generator) * mask[..., None],
        "word_mask": mask,
        "duration": 20 + 10 * torch.arange(number, dtype=torch.float64),
        "moments_cell": torch.cat([start, start + length], dim=1),
        "hidden_words": hidden,
        "word_labels": torch.randint(1, SMALL.vocabulary, (number, words), generator=generator) * mask,
    }


def for_inference(batch):
    return {name: value for name, value in batch.items() if name not in TRAINING_KEYS}


# --- configuration


def test_candidates_have_the_published_counts():
    for config, count in ((MSATConfig.tacos(), 2548), (MSATConfig.activitynet(), 428), (SMALL, CANDIDATES)):
        assert len(candidate_cells(config.points, config.candidates)) == count


def test_candidates_of_a_small_grid_by_hand():
    # 4 cells: all of length 1, then length 2 and 4 from even starts; 3 is no multiple of 2
    cells = candidate_cells(5, ((1, 1), (4, 2)))
    assert cells.tolist() == [[0, 1], [0, 2], [0, 4], [1, 2], [2, 3], [2, 4], [3, 4]]


@pytest.mark.parametrize(
    ("config", "count", "dead"),
    [(MSATConfig.tacos(), 34_051_056, 2_097_664), (MSATConfig.activitynet(), 36_936_686, 256_512)],
    ids=["tacos", "activitynet"],
)
def test_models_have_the_published_size_without_the_dead_projection(config, count, dead):
    # The released models hold a second projection of the video, which nothing uses.
    assert sum(parameter.numel() for parameter in MSAT(config).parameters()) == count
    assert config.dim_video * config.dim + config.dim == dead
    assert count + dead in (36_148_720, 37_193_198)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 1}, "stride is even"),
        ({"clips": 15}, "divides the clips"),
        ({"heads": 3}, "dim 16 is no multiple of heads 3"),
        ({"positions": 9}, "positions 9 must exceed the 9 points"),
        ({"proposals": "guess"}, "proposals must be stages, .* not 'guess'"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


# --- forward


def test_outputs_have_the_documented_shapes(model):
    batch = make_batch()
    outputs = model(for_inference(batch))
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {
        "stage_logits": (3, 3, 9),
        "cells": (CANDIDATES, 2),
        "offsets": (3, CANDIDATES, 2),
        "moment_logits": (3, CANDIDATES),
    }
    outputs = model(batch, attention=True)
    assert outputs["word_logits"].shape == (4, SMALL.vocabulary)  # samples 0 and 2 hide two words each
    regressed = len(outputs["regression_cells"])
    assert outputs["regression_offsets"].shape == (regressed, 2)
    assert outputs["regression_sample"].unique().tolist() == [0, 1, 2]
    assert [tuple(part.shape) for part in outputs["attention"][1]] == [(3, 2, 6, 6 + 9), (3, 2, 9, 9 + 6)]


def test_padding_words_change_nothing(model):
    batch = for_inference(make_batch())
    padded = dict(batch)
    # Not even words that are no zeros: no key of theirs is seen.
    more = torch.randn(3, 4, SMALL.dim_words)
    padded["words"] = torch.cat([batch["words"], more], dim=1)
    padded["word_mask"] = torch.cat([batch["word_mask"], torch.zeros(3, 4, dtype=torch.bool)], dim=1)
    ours, again = model(batch, attention=True), model(padded, attention=True)
    for name in ("stage_logits", "offsets", "moment_logits"):
        torch.testing.assert_close(again[name], ours[name], atol=1e-5, rtol=1e-5)
    by_video = again["attention"][-1][1]
    assert (by_video[..., 9:][~padded["word_mask"][:, None, None].expand(-1, 2, 9, -1)] == 0).all()
    # and a word that is there does count
    shorter = batch | {"word_mask": batch["word_mask"] & (torch.arange(6) > 0)}
    assert (model(shorter)["moment_logits"] - ours["moment_logits"]).abs().max() > 1e-3


def test_a_sample_has_the_same_outputs_alone(model):
    batch = for_inference(make_batch())
    together = model(batch)
    for row in range(3):
        alone = model({name: value[row : row + 1] for name, value in batch.items()})
        for name in ("stage_logits", "offsets", "moment_logits"):
            torch.testing.assert_close(alone[name][0], together[name][row], atol=1e-5, rtol=1e-5)


def test_attention_on_request_is_that_of_the_fused_path(model):
    batch = for_inference(make_batch())
    fused, shown = model(batch), model(batch, attention=True)
    assert "attention" not in fused
    for name in fused:
        torch.testing.assert_close(shown[name], fused[name], atol=1e-5, rtol=1e-5)
    assert len(shown["attention"]) == SMALL.layers
    padding = ~batch["word_mask"][:, None, None]
    for words, video in shown["attention"]:
        for weights in (words, video):
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert (words[..., :6].masked_select(padding) == 0).all()
        assert (video[..., 9:].masked_select(padding) == 0).all()
        assert words.std() > 0.01


def test_the_factored_moment_head_is_the_head_on_concatenated_features():
    torch.manual_seed(0)
    head, features = (
        MomentHead(SMALL.dim, SMALL.dim_head, SMALL.dropout).eval(),
        torch.randn(2, 9, 3 * SMALL.dim),
    )
    start, end, middle = features.chunk(3, dim=-1)
    cells = torch.cartesian_prod(torch.arange(9), torch.arange(9))
    i, j = cells.unbind(1)
    whole = torch.cat([start[:, i], middle[:, (i + j) // 2], end[:, j]], dim=-1)
    direct = head.out(torch.relu(head.hidden(whole)))
    table = head.table(features)
    torch.testing.assert_close(head(table, cells), direct, atol=1e-5, rtol=1e-5)
    sample = torch.arange(len(cells)) % 2
    picked = direct[sample, torch.arange(len(cells))]
    torch.testing.assert_close(head(table, cells, sample), picked, atol=1e-5, rtol=1e-5)


def test_words_are_hidden_in_training_only(model):
    batch = make_batch()
    open_words = batch | {"hidden_words": torch.zeros_like(batch["hidden_words"])}
    assert torch.equal(model(batch)["stage_logits"], model(open_words)["stage_logits"])
    model.train()
    assert not torch.equal(model(batch)["stage_logits"], model(open_words)["stage_logits"])


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model, batch = MSAT(replace(SMALL, dropout=0.5)), make_batch()
    assert not torch.equal(model(batch)["offsets"], model(batch)["offsets"])
    model.eval()
    assert torch.equal(model(batch)["offsets"], model(batch)["offsets"])


def test_a_query_longer_than_the_positions_is_refused(model):
    assert model(for_inference(make_batch(words=11)))
    with pytest.raises(ValueError, match="a query of 12 words, but the model has positions for 11"):
        model(for_inference(make_batch(words=12)))


# --- learning


def test_gradients_reach_every_parameter(model):
    batch = make_batch()
    model.train()
    model.loss(model(batch), batch)["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_four_samples_are_learnt_by_heart():
    torch.manual_seed(0)
    model, batch = MSAT(SMALL), make_batch(4, words=7)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(120):
        loss = model.loss(model(batch), batch)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    model.eval()
    truth = batch["moments_cell"] * (batch["duration"] / SMALL.cells)[:, None]
    for (moments, _), true in zip(model.localise(for_inference(batch)), truth, strict=True):
        assert temporal_iou(moments[:1], true[None]).item() > 0.7


def test_a_state_dict_brings_the_model_back(model):
    again = MSAT(SMALL).eval()
    state = model.state_dict()
    assert not {"positions", "candidates"} & set(state)  # they follow from the configuration
    again.load_state_dict(state)
    batch = make_batch()
    assert torch.equal(again(batch)["moment_logits"], model(batch)["moment_logits"])


def test_the_total_is_weighted(model):
    batch = make_batch()
    losses = model.loss(model(batch), batch)
    names = ("stage", "regression", "iou", "words")
    assert tuple(losses) == (*names, "total")
    weighted = [weight * losses[name] for weight, name in zip(SMALL.weights, names, strict=True)]
    assert losses["total"].item() == pytest.approx(sum(weighted).item())


# --- inference


class Scripted(MSAT):
    """A model that always gives the same boundaries (in cells) and scores."""

    def __init__(self, moments, scores):
        super().__init__(replace(SMALL, nms_iou=0.5))
        self.moments, self.scores = torch.tensor([moments]), torch.tensor([scores])

    def forward(self, batch):
        cells = torch.ones(len(self.scores[0]), 2, dtype=torch.long)
        return {"cells": cells, "offsets": self.moments - cells, "moment_logits": self.scores.logit()}


def localise(moments, scores, top=5, duration=8.0):
    ((found, found_scores),) = Scripted(moments, scores).localise(
        {"duration": torch.tensor([duration], dtype=torch.float64)}, top
    )
    assert found.dtype == torch.float64
    return found.tolist(), [round(score, 3) for score in found_scores.tolist()]


def test_moments_are_ranked_suppressed_and_not_cut():
    moments = [[0.0, 2.0], [0.0, 3.0], [6.0, 5.0], [0.0, 4.0], [-1.0, 9.0]]
    found, scores = localise(moments, [0.8, 0.7, 0.95, 0.9, 0.3])
    # 0-2 overlaps 0-4 by exactly 0.5 and stays; 0-3 by 0.75 and goes; 6-5 is reversed; -1 to 9 sticks out
    assert found == [[0.0, 4.0], [0.0, 2.0], [-1.0, 9.0]]
    assert scores == [0.9, 0.8, 0.3]


def test_no_more_than_top_come_back_in_seconds():
    moments = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert localise(moments, [0.5, 0.7, 0.6], top=2, duration=40.0)[0] == [[15.0, 20.0], [25.0, 30.0]]


def test_equal_scores_keep_the_order_of_the_cells():
    moments = [[float(start), start + 1.0] for start in range(6)]
    assert localise(moments, [0.5] * 6, top=6)[0] == moments


def test_nothing_comes_back_where_all_moments_are_reversed():
    assert localise([[2.0, 1.0], [3.0, 3.0]], [0.9, 0.8]) == ([], [])


def test_inference_needs_no_moments_and_does_not_use_them(model):
    batch = make_batch()
    alone, beside_truth = model.localise(for_inference(batch)), model.localise(batch)
    for (moments, scores), (same_moments, same_scores) in zip(alone, beside_truth, strict=True):
        assert torch.equal(moments, same_moments) and torch.equal(scores, same_scores)
        assert (scores[1:] <= scores[:-1]).all() and 1 <= len(moments) <= 5

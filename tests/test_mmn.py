"""MMN as a whole: what comes out, what a batch may change, what learns and at which rate."""

from dataclasses import replace

import pytest
import torch
from toy_mmn import SMALL, for_inference, make_batch, small_model

from vmrlib.models.mmn import MMN, cosines


@pytest.fixture
def model():
    return small_model()


def test_outputs_have_the_shapes_that_are_said(model):
    outputs = model(make_batch())
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {
        "cells": (10, 2),
        "similarities": (5, 3, 10),
        "contrast_scores": (5, 10),
        "iou_logits": (5, 10),
    }
    assert outputs["similarities"].abs().max() <= 1 + 1e-6 and outputs["iou_logits"].abs().max() <= 10 + 1e-5


def test_padding_and_the_rest_of_the_batch_change_no_answer(model):
    batch = for_inference(make_batch())
    together = model.localise(batch, top=3)
    for number, (moments, scores) in enumerate(together):
        length = int(batch["word_mask"][number].sum())
        one = {
            "video": batch["video"][batch["sentence_video"][number]][None],
            "words": batch["words"][number, None, :length],
            "word_mask": batch["word_mask"][number, None, :length],
            "duration": batch["duration"][number, None],
        }
        (alone,) = model.localise(one, top=3)
        torch.testing.assert_close(alone, (moments, scores), atol=1e-5, rtol=1e-5)


def test_a_sentence_that_is_too_long_is_an_error(model):
    with pytest.raises(ValueError, match="a query of 41 words, the model reads 40"):
        model(make_batch(words=41))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": torch.randn(3, 16, 6)}, r"video: expected \(V, 8, 6\), found \(3, 16, 6\)"),
        ({"video": torch.randn(3, 3, 6)}, r"video: expected \(V, 8, 6\), found \(3, 3, 6\)"),
        ({"sentence_video": None}, "there is no sentence_video, and 3 rows for 5 sentences"),
        ({"sentence_video": torch.tensor([0, 1, 2])}, "sentence_video: 3 rows for 5 sentences"),
        (
            {"word_mask": torch.tensor([True, False, True, False, True])[:, None].repeat(1, 5)},
            r"word_mask: the sentences \[1, 3\] have no word",
        ),
    ],
)
def test_a_batch_that_cannot_be_read_is_an_error(model, changes, message):
    batch = {name: value for name, value in (make_batch() | changes).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        model(batch)


def test_what_cannot_be_learnt_is_an_error(model):
    batch = make_batch()
    outputs = model(batch)
    unknown = batch["moments_cell"].clone()
    unknown[1, 0] = torch.nan
    with pytest.raises(ValueError, match="moments_cell: expected numbers, found"):
        model.loss(outputs, batch | {"moments_cell": unknown})
    with pytest.raises(ValueError, match=r"expected sentences about all of 3 videos, found"):
        model.loss(outputs, batch | {"sentence_video": torch.tensor([0, 0, 2, 2, 2])})


@pytest.mark.parametrize("count", [0, 1, 2])
def test_moments_of_score_0_are_no_answers(model, count):
    outputs = model(batch := for_inference(make_batch()))
    apart = [0, 9]  # the first clip and the last one
    ious = torch.full_like(outputs["iou_logits"], -torch.inf)  # whose sigmoid is 0
    ious[:, apart[:count]] = 1.0
    model.forward = lambda batch: outputs | {"iou_logits": ious}
    for moments, scores in model.localise(batch, top=5):
        assert sorted(moments.tolist()) == [[0, 5], [15, 20]][:count]
        assert scores.shape == (count,) and (scores > 0).all()


def test_answers_are_moments_of_the_map_in_seconds_best_first(model):
    for moments, scores in model.localise(for_inference(make_batch()), top=4):
        assert moments.dtype == torch.float64 and (moments[:, 0] < moments[:, 1]).all()
        assert (moments % 5 == 0).all() and moments.min() >= 0 and moments.max() <= 20
        assert (scores.diff() <= 0).all() and scores.min() >= 0 and scores.max() <= 1


def test_gradients_reach_every_parameter_and_in_frozen_epochs_all_but_distilbert():
    torch.manual_seed(0)
    model = MMN(replace(SMALL, frozen_epochs=2)).train()
    for epoch in (1, 2):
        model.zero_grad()
        batch = make_batch() | {"epoch": epoch}
        model.loss(model(batch), batch)["total"].backward()
        for name, parameter in model.named_parameters():
            frozen = epoch < 2 and name.startswith("text.bert.")
            # normalisation takes the bias of the layer before away, and a softmax that of its keys
            dead = name.endswith("bias") and ("convolutions.layers" in name or "k_lin" in name)
            assert (parameter.grad is None) == frozen, name
            assert frozen or dead or parameter.grad.abs().max() > 0, name


def test_it_learns_four_sentences_by_heart():
    torch.manual_seed(0)
    model, batch = MMN(replace(SMALL, margin=0.0)), make_batch(videos=(0, 0, 1, 1))
    batch["moments_cell"] = torch.tensor([[0, 1], [2, 4], [1, 3], [3, 4]], dtype=torch.float64)
    optimiser = torch.optim.AdamW(model.parameter_groups(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        model.loss(model(batch), batch)["total"].backward()
        optimiser.step()
        model.after_step()
    found = torch.stack([moments[0] for moments, _ in model.eval().localise(for_inference(batch), top=1)])
    assert (found / 5).tolist() == batch["moments_cell"].tolist()


def test_distilbert_has_its_own_share_of_the_rate_and_all_have_the_released_constants(model):
    model.config = replace(SMALL, text_rate=0.1)
    rest, text = model.parameter_groups()
    assert "share" not in rest and text["share"] == 0.1
    for group in (rest, text):
        assert group["betas"] == (0.9, 0.99) and group["weight_decay"] == 1e-5
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[each].startswith("text.bert.") for each in text["params"]} == {True}
    assert len(rest["params"]) + len(text["params"]) == len(names)
    assert "text.norm.weight" in {names[each] for each in rest["params"]}


def test_cosines_stay_in_full_precision():
    sentences, moments = torch.randn(3, 4).bfloat16(), torch.randn(2, 5, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = cosines(sentences, moments)
    expected = torch.nn.functional.cosine_similarity(
        sentences.float()[:, None, None], moments.float()[None], dim=-1
    )
    torch.testing.assert_close(found, expected)

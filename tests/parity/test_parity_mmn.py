"""Our MMN, and the plain transcription it is timed against, give the numbers of the released code."""

import re

import pytest
import torch
from mmn_sides import LOSSES, Ours, Plain, cases

from vmrlib.data.loaders import clip_grid
from vmrlib.metrics import best_iou, recall_at
from vmrlib.models.mmn import MMNConfig
from vmrlib.models.official import from_official

TENSORS = {"atol": 1e-5, "rtol": 1e-5}  # of the README beside the figures
LOSS, SECONDS = 2e-5, 1e-4
SIDES = pytest.mark.parametrize("side", [Ours, Plain])
KINDS = ("model_", "loss_", "feat2d_", "avgfeats_", "text_head", "eval_")


def assert_close(ours, reference, what, **tolerance):
    torch.testing.assert_close(
        ours.reshape(reference.shape).to(reference.dtype),
        reference,
        msg=lambda text: f"{what}: {text}",
        **(tolerance or TENSORS),
    )


def assert_same_losses(case, prefix, losses, **more):
    for official, ours in (LOSSES | more).items():
        expected = case.data[f"{prefix}{official}"].item()
        assert losses[ours].item() == pytest.approx(expected, abs=LOSS, rel=LOSS), f"{case.name} {official}"


def assert_same_recalls(case, answers):
    """Recall over all sentences at the IoUs in the file, and the means of its rows."""
    truths, found = [moment[None] for moment in case.data["in.moments"]], {}
    for name, theirs in zip(case.about["recall_names"], case.data["eval.recall"].tolist(), strict=True):
        if at := re.fullmatch(r"R@(\d+),IoU@([\d.]+)", name):
            found[name] = recall_at(answers, truths, int(at[1]), float(at[2]), "MMN") / 100
        else:
            prefix = f"R@{name.removeprefix('Best_R')},"
            row = [value for key, value in found.items() if key.startswith(prefix)]
            found[name] = sum(row) / len(row)
        assert found[name] == pytest.approx(theirs, abs=1e-6), f"{case.name} {name}"


def assert_same_answers(case, answers):
    """The moments of every sentence, as many as survive; what fills up a row of the file is no moment."""
    for expected, found in zip(case.data["eval.nms_top10"], answers, strict=True):
        real = expected[:, 0] < expected[:, 1]
        assert len(found) == real.sum(), f"{case.name}: {len(found)} answers of {int(real.sum())}"
        assert_close(found, expected[real], f"{case.name} moments", atol=SECONDS, rtol=0)
    assert_same_recalls(case, answers)


def test_every_file_is_of_a_kind_that_is_run(golden):
    files = sorted(path.stem for path in golden.glob("mmn/*.safetensors"))
    run = [name for name in files if name.startswith(KINDS)]
    print(f"mmn: {len(run)} of {len(files)} files")
    assert run and run == files


@SIDES
def test_maps_scores_losses_and_answers_of_whole_networks(golden, side):
    for case in cases(golden, "model_*"):
        ran = side(case)
        assert torch.equal(ran.mask(), case.mask), case.name
        with torch.no_grad():
            named = ran.run(training=False)
            for key in [key for key in case.data if key.startswith("out.")]:
                assert_close(named[key[4:]], case.data[key], f"{case.name} {key}")
            assert_same_losses(case, "loss.", ran.loss(early=True), total_early="total")
            assert_same_losses(case, "loss.", ran.loss(early=False), total_late="total")
            assert_same_ious(case, ran.ious())
        assert_same_answers(case, ran.answers(top=case.data["eval.nms_top10"].shape[1]))


def assert_same_ious(case, ious):
    """On the map: below its diagonal a cell ends before it starts, and some have 0 / 0."""
    assert_close(ious[:, case.mask].float(), case.data["target.iou2d"][:, case.mask], f"{case.name} target")


@SIDES
def test_gradients_of_whole_networks(golden, side):
    for case in cases(golden, "model_*"):
        ran = side(case)
        ran.run(training=False)
        ran.loss(early=True)["total"].backward()
        named = ran.named() | {"sent_feat_contrastive": ran.text.contrast, "sent_feat_iou": ran.text.iou}
        keys = [key for key in case.data if key.startswith("grad.total_early.")]
        assert keys
        for key in keys:
            name = key.removeprefix("grad.total_early.").removeprefix("w.")
            assert_close(named[name].grad, case.data[key], f"{case.name} {key}")


@SIDES
def test_a_step_in_training_mode(golden, side):
    for case in cases(golden, "model_*"):
        ran = side(case)
        ran.run(training=True)
        assert_same_losses(case, "train.loss.", ran.loss(early=True))
        after = {key[12:]: value for key, value in case.data.items() if key.startswith("train.after.")}
        assert after
        for name, value in after.items():
            assert_close(ran.named()[name], value, f"{case.name} {name} after a step")


@SIDES
def test_losses_and_their_gradients(golden, side):
    for case in cases(golden, "loss_*"):
        ran, data = side(case), case.data
        assert torch.equal(ran.mask(), case.mask), case.name
        inputs = [data[f"in.{name}"].clone().requires_grad_() for name in ("maps", "sents", "iou_logits")]
        losses = ran.own_losses(*inputs)
        assert_same_losses(case, "loss.", losses)
        for official in ("vid", "sent"):
            maps, sentences = torch.autograd.grad(losses[LOSSES[official]], inputs[:2], retain_graph=True)
            assert_close(maps, data[f"grad.{official}.maps"], f"{case.name} {official}, maps")
            assert_close(sentences, data[f"grad.{official}.sents"], f"{case.name} {official}, sentences")
        (logits,) = torch.autograd.grad(losses["iou"], inputs[2:])
        assert_close(logits, data["grad.iou.logits"], f"{case.name} gradient of the IoU")
        assert_same_ious(case, ran.ious())
        if side is Ours:
            # NaN, 0 / 0, for two equal moments without length
            about = {"equal_nan": True, **TENSORS}
            assert_close(ran.sentence_ious(), data["target.sentence_iou"], f"{case.name} sentences", **about)


@SIDES
def test_masks_and_maps_of_clips(golden, side):
    for case in cases(golden, "feat2d_*"):
        ran = side(case)
        assert torch.equal(ran.map(case.data["in.x"]), case.data["out.map2d"]), case.name
        assert torch.equal(ran.mask(), case.mask), case.name
        assert int(case.mask.sum()) == case.about["proposals"]


@SIDES
def test_answers_to_given_scores(golden, side):
    for case in cases(golden, "eval_*"):
        ran = side(case)
        assert torch.equal(ran.mask(), case.mask), case.name
        assert_close(ran.scores(), case.data["out.score2d"], f"{case.name} scores")
        answers = ran.answers(top=case.data["eval.nms_top10"].shape[1])
        assert_same_answers(case, answers)
        truths = [moment[None] for moment in case.data["in.moments"]]
        for n, expected in enumerate(case.data["eval.top5_iou"].T):
            there = torch.tensor([len(found) > n for found in answers])
            pairs = [pair for pair in zip(answers, truths, strict=True) if len(pair[0]) > n]
            ious = best_iou([found[n : n + 1] for found, _ in pairs], [truth for _, truth in pairs])
            assert_close(torch.as_tensor(ious), expected[there], f"{case.name} IoU of moment {n}")


@SIDES
@pytest.mark.parametrize("filling", [0.0, torch.nan, -1.0])
def test_a_file_may_hold_fewer_answers_than_rows(golden, side, filling):
    case = next(cases(golden, "eval_*"))
    kept, few = case.data["eval.nms_top10"].clone(), 3
    kept[:, few:] = filling
    for sentence, moments in enumerate(kept[:, :few]):  # every other moment gets a score of 0
        scores, duration = case.data["in.iou_score"][sentence], case.data["in.duration"][case.sentence_video]
        i, j = (moments / duration[sentence] * case.about["N"]).round().long().unbind(1)
        alone = torch.zeros_like(scores)
        alone[i, j - 1] = scores[i, j - 1]
        case.data["in.iou_score"][sentence] = alone
    case.data["eval.nms_top10"], case.about["recall_names"] = kept, []
    case.data["eval.recall"] = torch.zeros(0)
    assert_same_answers(case, side(case).answers(top=kept.shape[1]))


def test_resampled_clips(golden):
    for case in cases(golden, "avgfeats_*"):
        inputs = [key for key in case.data if key.startswith("in.")]
        assert len(inputs) == len(case.about["lens"])
        for key in inputs:
            clips = clip_grid([{"v": case.data[key]}], "v", case.about["num_pre_clips"])
            assert_close(clips, case.data[f"out.{key[3:]}"], f"{case.name} {key}")


def test_sentences_from_states_of_words(golden):
    for case in cases(golden, "text_head*"):
        dims = {"dim_joint": case.about["joint"], "dim_text": case.data["in.token_table"].shape[1]}
        config = MMNConfig.stage(**dims, text_heads=1, text_layers=1, dim_text_ffn=4)
        model = from_official("mmn", case.weights, config, partial=True)
        assert model.loading.unused == ()
        parts = [key.removeprefix("in.ids.") for key in case.data if key.startswith("in.ids.")]
        assert parts
        for part in parts:
            ids, lengths = case.data[f"in.ids.{part}"].long(), case.data[f"in.wordlen.{part}"]
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            contrast, iou = model.text.pool(case.data["in.token_table"][ids], mask)
            assert_close(contrast, case.data[f"out.contrastive.{part}"], f"{case.name} {part}")
            assert_close(iou, case.data[f"out.iou.{part}"], f"{case.name} {part}")

"""Our MSAT, and the plain transcription it is timed against, give the numbers of the released code."""

import json
import re

import pytest
import torch
from msat_sides import ATOL, DATASETS, Ours, Plain, cases, plain
from safetensors.torch import load_file

from vmrlib.models.attention import position_table
from vmrlib.models.msat import MSATConfig, candidate_cells
from vmrlib.models.msat_losses import regression_cells, stage_targets
from vmrlib.moments import suppress_batch

LOSS_RTOL, NORM_RTOL, GRADIENT_SHARE = 2e-5, 2e-3, 2e-3  # of the README beside the figures
NOT_STORED = 1e-4  # gradients that are smaller everywhere
# names in the files: ours; `vtc` is in the files of networks that have this loss
LOSSES = {"boundary": "stage", "reg": "regression", "iou": "iou", "mlm": "words", "vtc": "contrast"}
LOSSES["total"] = "total"
SIDES = pytest.mark.parametrize("side", [Ours, Plain])


def assert_close(ours, reference, what, atol=ATOL):
    reference = reference.to(ours.dtype)
    assert ours.shape == reference.shape, f"{what}: {tuple(ours.shape)} against {tuple(reference.shape)}"
    error = (ours - reference).abs().max()
    assert error <= atol, f"{what}: {error:.1e} exceeds {atol:.0e}"


def assert_same_tensors(case, prefix, named):
    """Every tensor of the file under that prefix that is a map or an activation is among ours, and equal."""
    expected = {key[len(prefix) :]: value for key, value in case.data.items() if key.startswith(prefix)}
    expected = {key: value for key, value in expected.items() if not key.startswith(("proposals", "num_"))}
    assert expected
    for key, value in expected.items():
        assert_close(named[key], value, f"{case.name} {prefix}{key}")


def assert_same_losses(case, prefix, losses):
    for official, ours in LOSSES.items():
        if f"{prefix}{official}" not in case.data:
            assert ours not in losses
            continue
        expected = case.data[f"{prefix}{official}"].item()
        assert float(losses.get(ours, torch.zeros(())).detach()) == pytest.approx(expected, rel=LOSS_RTOL), (
            f"{case.name} {prefix}{official}"
        )


def check_activations(ran):
    case = ran.case
    with torch.no_grad():
        named, losses = ran.run(training=False)
    assert_same_tensors(case, "out/", named)
    assert_same_losses(case, "loss/", losses)


def check_training_step(ran, zero=()):
    """Activations, losses and gradients of a step; those of `zero` are noise around 0 in every code."""
    case = ran.case
    named, losses = ran.run(training=True)
    assert_same_losses(case, "train_loss/", losses)
    losses["total"].backward()
    assert_same_tensors(case, "train/", named | ran.remembered())
    gradients = ran.gradients()
    names, norms = json.loads(case.about["param_order"]), case.data["grad_norm_sorted"]
    assert set(names) - set(gradients) == set(json.loads(case.about["no_grad_params"]))
    for name, norm in zip(names, norms, strict=True):
        ours = gradients[name].norm() if name in gradients else torch.zeros(())
        limit = {"rtol": NORM_RTOL, "atol": 0}
        if name.endswith(zero):
            assert gradients[name].abs().max() < NOT_STORED and f"grad/{name}" not in case.data, name
            limit = {"rtol": 0, "atol": NOT_STORED * gradients[name].numel() ** 0.5}
        torch.testing.assert_close(ours, norm, **limit, msg=f"{case.name} norm of {name}")
    for key in (key for key in case.data if key.startswith("grad/")):
        expected = case.data[key]
        limit = GRADIENT_SHARE * expected.abs().max().item()
        assert_close(gradients[key[len("grad/") :]], expected, f"{case.name} {key}", limit)


def check_proposals(ran):
    case = ran.case
    with torch.no_grad():
        named, _ = ran.run(training=False)
        for sample, scored in enumerate(case.data["out/num_scored"].tolist()):
            assert (named["score_map"][sample] > 0).sum() == scored
            expected = case.data[f"out/proposals_b{sample}"].double()[:scored]
            moments, scores = ran.proposals(sample, top=len(expected))
            # Seconds of the length of a cell: what is 3e-5 on the map is that many times more here.
            cell = case.duration[sample].item() / (int(case.about["T"]) - 1)
            limit = ATOL * max(1.0, cell) + torch.finfo(torch.float32).eps * expected.abs().max().item()
            assert_close(*tied_rows_sorted(moments, expected, scores), f"{case.name} proposals", limit)


@SIDES
def test_activations_attention_and_maps_are_the_released_ones(golden, side):
    for case in cases(golden):
        check_activations(side(case))


@SIDES
def test_a_training_step_has_the_released_activations_losses_and_gradients(golden, side):
    for case in cases(golden):
        check_training_step(side(case))


@SIDES
def test_proposals_before_suppression_are_the_released_ones(golden, side):
    for case in cases(golden):
        check_proposals(side(case))


def test_localise_finds_what_the_transcription_finds(golden):
    for case in cases(golden):
        ours, transcribed = Ours(case), Plain(case)
        threshold = ours.config.nms_iou
        with torch.no_grad():
            transcribed.run(training=False)
        durations = case.duration.double()
        expected = plain.localise(transcribed.out, durations, transcribed.sizes, threshold)
        for (moments, scores), (same, same_scores) in zip(
            ours.model.localise(ours.batch), expected, strict=True
        ):
            # The transcription goes on with cells that are no candidates, of score zero.
            candidates = same_scores > 0
            assert len(moments) >= 1 and len(moments) == candidates.sum()
            assert_close(moments, same[candidates], f"{case.name} moments", 1e-2)
            assert_close(scores, same_scores[candidates].double(), f"{case.name} scores")


def test_suppression_of_a_batch_is_the_released_one(golden):
    found, count = sorted(golden.glob("msat/eval*.safetensors")), 0
    for path in found:
        data = load_file(path)
        answers = data["pred"].double()
        scores = torch.arange(answers.shape[1], 0, -1, dtype=torch.float64).expand(answers.shape[:2])
        cases = [key for key in data if re.fullmatch(r"nms_[\d.]+_top-?\d+", key)]
        assert cases
        for key in cases:
            threshold, top = float(key.split("_")[1]), int(key.rpartition("top")[2])
            kept = suppress_batch(answers, scores, threshold, top if top > 0 else answers.shape[1])
            assert torch.equal(kept[:, : data[key].shape[1]], data[key]), f"{path.name} {key}"
            assert (kept[:, data[key].shape[1] :] == -1).all()
        count += 1
    print(f"msat eval: {count} of {len(found)} files")
    assert count == len(found) > 0


def tied_rows_sorted(moments, expected, scores):
    """Both lists, with rows of equal score (to rounding) in one order: the released sort is unstable."""
    moments, expected = moments.clone(), expected.clone()
    group = torch.cat([torch.zeros(1), (scores.diff() < -1e-6).cumsum(0)])
    for number in group.unique():
        rows = (group == number).nonzero().flatten()
        if len(rows) > 1:
            for table in (moments, expected):
                table[rows] = torch.tensor(sorted(table[rows].tolist()), dtype=table.dtype)
    return moments, expected


def test_targets_are_the_released_ones(golden):
    for case in cases(golden):
        ours = stage_targets(case.gt_times, case.map_gt.shape[2], DATASETS[case.about["dataset"]]["peak"])
        assert_close(ours, case.map_gt[:, :3], f"{case.name} targets", 2e-3)


def test_data_files_have_our_targets_positions_and_candidates(golden):
    found, count = sorted(golden.glob("msat/data*.safetensors")), 0
    configs = {"TACoS": MSATConfig.tacos(), "ActivityNet": MSATConfig.activitynet()}
    for path in found:
        data = load_file(path)
        datasets = {key.split("/")[0] for key in data if key.endswith("/map_gt")}
        assert datasets
        for dataset in datasets:
            config, expected = configs[dataset], data[f"{dataset}/map_gt"]
            moments_cell = data[f"{dataset}/gt_times"].double()
            assert expected.shape[2] == config.points
            what = f"{path.name} {dataset}"
            seconds = data[f"{dataset}/times"].double() / data[f"{dataset}/duration"].double()[:, None]
            assert_close(seconds * config.cells, moments_cell, f"{what} cells", 1e-3)
            ours = stage_targets(moments_cell, config.points, config.peak)
            assert_close(ours, expected[:, :3], f"{what} targets", 2e-3)
            transcribed = plain.targets(moments_cell, config.points, config.peak)
            assert_close(transcribed, expected, f"{what} transcribed targets", 2e-3)
            sample, cells = regression_cells(ours)
            near = (expected[:, 0] >= 0.4)[:, :, None] & (expected[:, 1] >= 0.4)[:, None]
            assert torch.equal(near.nonzero(), torch.cat([sample[:, None], cells], dim=1))
            table = data[f"{dataset}/pos_table"]
            assert_close(position_table(*table.shape), table, f"{what} positions")
            assert_close(plain.position_table(*table.shape), table, f"{what} transcribed positions")
            assert len(table) == config.positions
            candidates = data[f"{dataset}/iou_mask_map"].nonzero()
            assert torch.equal(candidate_cells(config.points, config.candidates), candidates), what
            sizes = plain.Sizes(clips=config.clips, stride=config.stride)
            assert torch.equal(plain.candidate_mask(sizes).nonzero(), candidates), what
        count += 1
    print(f"msat data: {count} of {len(found)} files")
    assert count == len(found) > 0


def test_candidates_of_every_network_are_those_of_its_file(golden):
    for case in cases(golden):
        assert torch.equal(Ours(case).model.candidates, case.iou_mask_map.nonzero()), case.name

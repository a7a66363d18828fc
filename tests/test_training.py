"""The training loop with a toy model: what it promises beside speed."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from toy_training import ToyModel, tiny_acb, tiny_msat, toy_run, toy_set, toy_settings

from vmrlib import checkpoints
from vmrlib.engine.log import LogError, TrainingLog
from vmrlib.engine.predicting import metric_thresholds
from vmrlib.engine.processes import Processes
from vmrlib.models.vtc import EMPTY
from vmrlib.training import (
    TrainingError,
    TrainingSettings,
    batches_from,
    draw_log,
    predict,
    read_log,
    score,
    train,
)
from vmrlib.viz.log import smooth


def weights(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# --- settings


def test_steps_and_evaluations_by_hand():
    settings = TrainingSettings(batch_size=16, epochs=2, evaluate_epochs=0.25)
    # 100 queries: 7 steps an epoch, a quarter of it is 1.75 steps
    assert settings.total_steps(100) == 14
    assert [s for s in range(1, 15) if settings.evaluates_after(s, 100)] == [2, 4, 6, 7, 9, 11, 13, 14]
    settings = TrainingSettings(steps=10, evaluate_steps=4)
    assert [s for s in range(1, 11) if settings.evaluates_after(s, 100)] == [4, 8, 10]
    settings = TrainingSettings(epochs=1.5, batch_size=10)
    assert [s for s in range(1, 16) if settings.evaluates_after(s, 100)] == [10, 15]


def test_learning_rates_by_hand():
    settings = TrainingSettings(steps=14, learning_rate=1.0, warmup_steps=4, schedule="cosine")
    rates = [settings.learning_rate_at(step, 14) for step in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9] == pytest.approx(0.5) and rates[13] == pytest.approx(0.5 * (1 + math.cos(0.9 * math.pi)))
    constant = TrainingSettings(steps=14, learning_rate=1.0)
    assert {constant.learning_rate_at(step, 14) for step in range(14)} == {1.0}
    falling = TrainingSettings(steps=14, learning_rate=1.0, warmup_steps=2, schedule=(1, 3))
    rates = [falling.learning_rate_at(step, 14, epoch=step // 2) for step in range(8)]
    assert rates == pytest.approx([0.5, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "say either epochs or steps"),
        ({"epochs": 1, "steps": 1}, "say either epochs or steps"),
        ({"steps": 1, "evaluate_steps": 1, "evaluate_epochs": 1}, "evaluate_epochs or evaluate_steps"),
        ({"steps": 0}, "training.steps: expected a number above 0, found 0"),
        ({"steps": 1, "learning_rate": math.inf}, "training.learning_rate"),
        ({"steps": 1, "workers": -1}, "training.workers: expected 0 or more"),
        ({"steps": 1, "precision": "fp8"}, "training.precision: expected one of float32, bf16, fp16"),
        ({"steps": 1, "schedule": "steep"}, "training.schedule: expected one of constant, cosine"),
        ({"steps": 1, "schedule": ()}, "training.schedule: expected epochs above 0 that rise, found []"),
        ({"steps": 1, "schedule": (0, 2)}, "training.schedule: expected epochs above 0 that rise"),
        ({"steps": 1, "schedule": (3, 3)}, "that rise, found [3, 3]"),
        ({"steps": 1, "metric": "R@6, IoU=0.5"}, "training.metric: expected"),
        ({"steps": 1, "metric": "R@1,IoU=.5"}, "training.metric: expected"),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(TrainingError) as error:
        TrainingSettings(**values)
    assert message in str(error.value)


def test_every_metric_of_ours_can_choose_the_checkpoint():
    for metric in ("mIoU", "R@1, IoU=0.5", "R@3, IoU=0.55", "dR@5, IoU=0.7"):
        tops, ious = metric_thresholds(metric)
        assert metric in score(predict(tiny_msat(), toy_set(2)), toy_set(2).queries, metric)
        assert 1 in tops and 0.5 in ious


# --- the order of the samples


def test_an_epoch_has_every_sample_once_and_does_not_depend_on_where_it_starts():
    items, settings, one = toy_set(20), toy_settings(), Processes("cpu")

    def take(first, number):
        batches = batches_from(items, first, settings, one)
        return [next(batches)[:2] for _ in range(number)]

    all_steps = take(0, 6)
    assert [epoch for epoch, _ in all_steps] == [0, 0, 0, 1, 1, 1]
    assert [len(indexes) for _, indexes in all_steps] == [8, 8, 4] * 2
    for epoch in (0, 1):
        assert sorted(i for e, indexes in all_steps for i in indexes if e == epoch) == list(range(20))
    assert all_steps[0] != (0, all_steps[3][1]), "another order in the next epoch"
    assert take(2, 4) == all_steps[2:]


def test_making_batches_takes_no_random_number_from_dropout():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    batches = batches_from(toy_set(20), 0, toy_settings(), Processes("cpu"))
    for _ in range(5):
        next(batches)
    assert torch.equal(torch.get_rng_state(), before)


# --- learning


def test_the_loss_falls_and_the_best_weights_are_kept(tmp_path):
    torch.manual_seed(0)
    model = ToyModel()
    result = toy_run(tmp_path / "run", model=model, epochs=20, evaluate_steps=7)
    losses = [record["losses"]["total"] for record in result.log if "losses" in record]
    assert len(losses) == 60 and sum(losses[-10:]) < 0.7 * sum(losses[:10])
    values = {record["step"]: record["val"]["mIoU"] for record in result.log if "val" in record}
    assert result.best == max(values.values()) > 5.0
    assert values[result.best_step] == result.best and min(s for s in values if values[s] == result.best)
    assert not model.training
    val = toy_set(6, "val")
    assert score(predict(model, val), val.queries)["mIoU"] == result.best == result.metrics["mIoU"]
    about, best, _ = checkpoints.read(tmp_path / "run")
    assert about["step"] == result.best_step and about["metrics"] == result.metrics
    assert torch.equal(best["out.weight"], model.out.weight)
    assert {path.suffix for path in (tmp_path / "run").iterdir()} == {
        ".json",
        ".jsonl",
        ".png",
        ".safetensors",
    }


def test_seeds_make_a_training_repeatable():
    runs = {seed: [] for seed in (0, 1)}
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        model = ToyModel()
        toy_run(None, model=model, seed=seed, epochs=2)
        runs[seed].append(weights(model))
    assert torch.equal(*runs[0]) and not torch.equal(runs[0][0], runs[1][0])


def test_without_a_folder_nothing_is_written_and_the_best_weights_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = ToyModel()
    result = toy_run(None, model=model)
    val = toy_set(6, "val")
    assert score(predict(model, val), val.queries)["mIoU"] == result.best
    assert not list(tmp_path.iterdir())


def test_training_without_a_validation_set():
    torch.manual_seed(0)
    model = ToyModel()
    before = weights(model)
    result = train(model, toy_set(), None, toy_settings(epochs=1))
    assert result.best is None and result.steps == 3 and not torch.equal(weights(model), before)


@pytest.mark.parametrize("accumulation", [3, 8, 50])
def test_accumulation_steps_as_the_whole_batch(accumulation):
    found = []
    for parts in (1, accumulation):
        torch.manual_seed(0)
        model = ToyModel(dropout=0.0)
        result = toy_run(None, model=model, accumulation=parts, epochs=2)
        found.append((weights(model), [r["losses"]["total"] for r in result.log if "losses" in r]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_model_is_told_of_every_step_once_it_is_done(accumulation):
    torch.manual_seed(0)
    model = ToyModel()
    told = []
    model.after_step = lambda: told.append(weights(model))
    toy_run(None, model=model, accumulation=accumulation, epochs=2, evaluate_steps=100)
    assert len(told) == 6 and all(not torch.equal(*pair) for pair in pairwise(told))


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_contrastive_loss_remembers_every_sample_of_a_step_once(accumulation):
    model = tiny_acb()
    before = [parameter.clone() for parameter in model.contrast.slow.parameters()]
    fast = [parameter.detach().clone() for parameter in model.contrast.encoders.parameters()]
    settings = toy_settings(epochs=None, steps=1, accumulation=accumulation)
    train(model, toy_set(), None, settings)
    contrast = model.contrast
    assert contrast.place == 8 and len(contrast.queue_ids[:8].unique()) == 8 and contrast.steps == 1
    assert (contrast.queue_ids[8:] == EMPTY).all()
    # the slow encoders have followed once, however many parts the step had
    momentum = model.config.contrast.momentum
    expected = [momentum * old + (1 - momentum) * new for old, new in zip(before, fast, strict=True)]
    torch.testing.assert_close([p.detach() for p in contrast.slow.parameters()], expected)


def test_gradients_are_clipped_together():
    seen = []

    def look(optimiser, args, kwargs):
        grads = [p.grad.norm() for group in optimiser.param_groups for p in group["params"]]
        seen.append(torch.stack(grads).norm().item())

    handle = register_optimizer_step_pre_hook(look)
    try:
        result = toy_run(None, clip_norm=0.5, epochs=2)
    finally:
        handle.remove()
    norms = [record["gradient_norm"] for record in result.log if "losses" in record]
    assert max(norms) > 0.6, "the log has the norm before"
    assert len(seen) == 6 and max(seen) <= 0.5 + 1e-4
    assert seen == pytest.approx([min(norm, 0.5) for norm in norms], rel=1e-3)


def test_patience_stops_and_a_plateau_lowers_the_rate():
    frozen = {"learning_rate": 1e-12, "evaluate_steps": 1}
    result = toy_run(None, patience=3, epochs=20, **frozen)
    assert result.steps == 4, "the first evaluation is the best, three follow"
    result = toy_run(None, schedule="plateau", epochs=20, **frozen)
    rates = [record["learning_rate"] for record in result.log if "losses" in record]
    assert rates[:22] == [1e-12] * 22 and rates[22:43] == pytest.approx([0.8e-12] * 21)
    assert rates[43] == pytest.approx(0.64e-12)


def test_a_rate_that_falls_after_epochs_falls_in_a_resumed_run_too(tmp_path):
    falling = {"schedule": (1, 3), "epochs": 4}
    whole = [record for record in toy_run(None, **falling).log if "losses" in record]
    rates = [record["learning_rate"] for record in whole]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 6 + [1e-4] * 3)

    def stop(record):
        if record["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path, on_step=stop, **falling)
    with pytest.raises(TrainingError, match=r"training.schedule is \[1, 3\] there, \(1, 2\) here"):
        toy_run(tmp_path, resume=True, **(falling | {"schedule": (1, 2)}))
    resumed = [record for record in toy_run(tmp_path, resume=True, **falling).log if "losses" in record]
    assert [(r["learning_rate"], r["losses"]) for r in resumed] == [
        (r["learning_rate"], r["losses"]) for r in whole
    ]


def test_half_precision_gives_losses_in_full(monkeypatch):
    kinds = []
    model = tiny_msat()
    loss = model.loss

    def watched(outputs, batch):
        kinds.append(outputs["stage_logits"].dtype)
        return loss(outputs, batch)

    monkeypatch.setattr(model, "loss", watched)
    result = train(model, toy_set(), toy_set(4, "val"), toy_settings(epochs=1, precision="bf16"))
    assert kinds == [torch.float32] * 3 and math.isfinite(result.log[-2]["losses"]["total"])
    with pytest.raises(TrainingError, match=r"training.precision: fp16 needs a GPU, not cpu"):
        toy_run(None, precision="fp16")


def test_deterministic_mode_is_on_only_while_it_trains():
    inside = []
    toy_run(
        None,
        deterministic=True,
        epochs=1,
        on_step=lambda record: inside.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(inside) and not torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used"):
        toy_run(None, device="cuda:99")


# --- runs that are there already


def test_a_finished_run_says_so_and_is_left_as_it_is(tmp_path):
    first = toy_run(tmp_path)
    torch.manual_seed(9)
    model = ToyModel()
    again = toy_run(tmp_path, resume=True, model=model)
    assert again.already_finished and not first.already_finished
    assert (again.steps, again.best, again.metrics) == (first.steps, first.best, first.metrics)
    assert again.log == first.log == read_log(tmp_path)
    assert torch.equal(model.out.weight, checkpoints.read(tmp_path)[1]["out.weight"])


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    toy_run(tmp_path, epochs=1)
    before = (tmp_path / "last.json").read_bytes()
    with pytest.raises(TrainingError, match="there is a run of 3 steps already"):
        toy_run(tmp_path, epochs=1)
    assert (tmp_path / "last.json").read_bytes() == before


def test_a_folder_that_lost_its_last_checkpoint_is_not_overwritten(tmp_path):
    toy_run(tmp_path, epochs=1)
    (tmp_path / "last.json").unlink()
    before = (tmp_path / "log.jsonl").read_bytes()
    for name in ("best.json", "log.jsonl"):
        with pytest.raises(TrainingError, match=f"there is {name}, but no last.json"):
            toy_run(tmp_path, epochs=1, resume=True)
        (tmp_path / name).rename(tmp_path / f"{name}.old")
    assert (tmp_path / "log.jsonl.old").read_bytes() == before
    (tmp_path / "log.jsonl").touch()  # killed while it wrote its first checkpoint
    assert toy_run(tmp_path, epochs=1, resume=True).steps == 3


def test_a_run_of_all_its_steps_ends_even_if_nobody_noted_that_it_did(tmp_path):
    toy_run(tmp_path, epochs=1)
    for more in (0, 2):
        about = json.loads((tmp_path / "last.json").read_text())
        about["training"]["progress"] |= {"step": 3 + more, "finished": False}
        (tmp_path / "last.json").write_text(json.dumps(about))
        assert toy_run(tmp_path, epochs=1, resume=True).already_finished


def test_another_number_of_samples_and_no_validation_query_are_refused(tmp_path):
    toy_run(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match=r"training.samples is 20 there, 40 here"):
        train(
            ToyModel(), toy_set(negatives=1), toy_set(6, "val"), toy_settings(epochs=1), tmp_path, resume=True
        )
    with pytest.raises(TrainingError, match="the validation set has no query"):
        train(ToyModel(), toy_set(), toy_set(0, "val"), toy_settings(epochs=1))


def test_another_configuration_is_refused_by_the_key_that_differs(tmp_path):
    toy_run(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match=r"training.learning_rate is 0.01 there, 0.02 here"):
        toy_run(tmp_path, resume=True, epochs=1, learning_rate=0.02)
    model, settings = ToyModel(), toy_settings(epochs=1)
    with pytest.raises(TrainingError, match=r"dataset is None there, 'other' here"):
        train(model, toy_set(), toy_set(6, "val"), settings, tmp_path, {"dataset": "other"}, resume=True)
    assert toy_run(tmp_path, resume=True, epochs=1, workers=1, predict_batch_size=3).already_finished


def test_other_weights_of_the_losses_are_another_configuration(tmp_path):
    toy_run(tmp_path, model=tiny_msat(), epochs=1)
    with pytest.raises(TrainingError, match=r"config.weights is \[.*\] there, \(1.0, 1.0, 1.0, 1.0\) here"):
        toy_run(tmp_path, model=tiny_msat(weights=(1.0, 1.0, 1.0, 1.0)), resume=True, epochs=1)


def test_a_loss_that_is_no_number_stops_and_the_last_checkpoint_stays_good(tmp_path):
    torch.manual_seed(0)
    model = ToyModel()

    def poison(record):
        model.poison = "q11" if record["step"] == 4 else model.poison

    with pytest.raises(TrainingError) as error:
        toy_run(tmp_path, model=model, on_step=poison)
    message = str(error.value)
    assert "the loss is nan; queries of the batch: " in message and "q11" in message.split(", ")
    step = int(message.split("step ")[1].split(",")[0])
    assert 5 <= step <= 9 and len(message.rpartition(": ")[2].split(", ")) in (4, 8)
    _, last, _ = checkpoints.read(tmp_path / "last.json")
    assert all(torch.isfinite(value).all() for value in last.values())
    healed = toy_run(tmp_path, resume=True)
    assert healed.steps == 24 and [r["step"] for r in healed.log if "losses" in r] == list(range(1, 25))


# --- answers


def test_inference_is_given_no_targets_and_the_mode_stays():
    model = ToyModel()
    model.train()
    keys = []
    localise = model.localise
    model.localise = lambda batch, top: keys.append((set(batch), model.training)) or localise(batch, top)
    items = toy_set(7)
    predictions = predict(model, items, batch_size=3, top=2)
    assert model.training and len(keys) == 3
    assert all(names == {"query_ids", "video", "words", "word_mask", "duration"} for names, _ in keys)
    assert not any(training for _, training in keys)
    assert [p.query_id for p in predictions] == [query.id for query in items.queries]
    assert predictions[0].moments.shape == (2, 2) and predictions[0].video_id == "v0"
    single = predict(model, items, batch_size=1, top=2)
    for one, other in zip(predictions, single, strict=True):
        assert one.moments == pytest.approx(other.moments, abs=1e-5)


# --- the log


def test_the_log_has_a_line_a_step_and_can_be_followed(tmp_path):
    followed = []
    result = toy_run(tmp_path, epochs=2, log_steps=2, evaluate_steps=4, on_step=followed.append)
    assert followed == result.log == read_log(tmp_path / "log.jsonl")
    assert [(record["step"], "val" in record) for record in result.log] == [
        (2, False), (4, False), (4, True), (6, False), (6, True),
    ]  # fmt: skip
    first = result.log[0]
    assert set(first) == {"step", "epoch", "learning_rate", "losses", "gradient_norm", "seconds"}
    assert set(first["losses"]) == {"moment", "total"} and first["learning_rate"] == 0.01


def test_a_log_goes_on_after_the_bytes_that_its_checkpoint_knows(tmp_path):
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path, label="simulated features")
    log.add({"step": 1, "losses": {"total": math.nan}})
    known = log.bytes
    log.add({"step": 2})
    again = TrainingLog(path, known)
    again.add({"step": 2, "again": True})
    assert read_log(path) == [
        {"step": 1, "losses": {"total": None}, "label": "simulated features"},
        {"step": 2, "again": True},
    ]
    with pytest.raises(LogError, match="checkpoint knows of 999"):
        TrainingLog(path, 999)
    path.write_text("{}\nno json\n")
    with pytest.raises(LogError, match=r"log.jsonl, line 2: not JSON"):
        read_log(path)


def test_the_picture_of_a_log_has_its_numbers(tmp_path):
    records = [
        {"step": s, "losses": {"total": 1 / s}, "learning_rate": 0.1, "label": "simulated"}
        for s in range(1, 9)
    ]
    records.insert(4, {"step": 4, "val": {"R@1, IoU=0.5": 20.0, "mIoU": 30.0}, "label": "simulated"})
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    figure = draw_log(path, metric="mIoU")
    loss, metric = figure.axes[0], figure.axes[1]
    assert loss.lines[0].get_xydata().tolist() == [[s, 1 / s] for s in range(1, 9)]
    assert metric.lines[0].get_xydata().tolist() == [[4, 30.0]]
    assert (
        metric.get_ylabel() == "mIoU (%) on val"
        and loss.get_title(loc="left") + loss.get_title() == "simulated"
    )
    assert smooth(torch.tensor([1.0, 3.0, 5.0]).numpy()).tolist() == [2.0, 3.0, 4.0]

"""The contrastive loss: what it pulls together, what it remembers and when, and what each switch does."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_acb import ALONE, BOTH, make_batch
from test_msat import SMALL, for_inference
from toy_training import tiny_acb, toy_run, toy_set

from vmrlib import checkpoints
from vmrlib.models.acb import ACB
from vmrlib.models.msat import MSAT
from vmrlib.models.vtc import EMPTY, VTC, VTCConfig, contrast_loss
from vmrlib.training import predict, read_log

DIM, POINTS, WORDS = 8, 9, 5
PLAIN = VTCConfig(weight=1.0, queue_size=6)
IN_BATCH = VTCConfig(weight=1.0, queue_size=0, momentum=None, alpha=0.0)


def made(config=PLAIN, dim=DIM, **changes):
    torch.manual_seed(0)
    return VTC(dim, replace(config, **changes)).train()


def given(number=3, seed=0, ids=None):
    """Words and points before `encode`, a mask (sample b has 5 - b words), moments in cells, ids."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randn(number, WORDS, DIM, generator=generator)
    video = torch.randn(number, POINTS, DIM, generator=generator)
    mask = torch.arange(WORDS) < (WORDS - torch.arange(number)).clamp_min(1)[:, None]
    start = torch.rand(number, 1, generator=generator, dtype=torch.float64) * 4
    moments = torch.cat([start, start + 1.5], dim=1)
    return (words, video), mask, moments, torch.arange(number) if ids is None else torch.tensor(ids)


def outputs_of(vtc, embedded, mask, moments, ids):
    return vtc(embedded, vtc.encode(*embedded), mask, moments, ids)


def loss_of(vtc, *inputs):
    return contrast_loss(outputs_of(vtc, *inputs))


def copies(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


# --- the loss by hand


def by_hand():
    """Encoders that change nothing: two sentences and two moments of one vector each, x and y."""
    vtc = made(IN_BATCH, dim=2, temperature=1.0)
    with torch.no_grad():
        for layer in vtc.encoders.children():
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    words = torch.eye(2)[:, None]  # (2, 1, 2)
    video = torch.zeros(2, 3, 2)
    video[0, 1], video[1, 1] = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 5.0])
    moments = torch.tensor([[0.5, 1.5], [1.0, 2.0]], dtype=torch.float64)  # point 1 alone, both times
    return vtc, (words, video), torch.ones(2, 1, dtype=torch.bool), moments


def test_the_loss_of_two_matching_pairs_by_hand():
    vtc, embedded, mask, moments = by_hand()
    loss = loss_of(vtc, embedded, mask, moments, torch.tensor([4, 9]))
    # cosines 1 with the partner, 0 with the other one: -log(e / (e + 1))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    # one query twice: both keys are right, each for one half
    loss = loss_of(vtc, embedded, mask, moments, torch.tensor([4, 4]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)) + 0.5)


def test_the_points_of_a_moment_are_those_from_ceil_to_before_ceil():
    vtc = made()
    moments = torch.tensor([[0.5, 3.2], [1.0, 3.0], [1.2, 1.9], [0.0, 8.0], [7.5, 8.0]], dtype=torch.float64)
    taken = [row.nonzero().flatten().tolist() for row in vtc.point_weights(moments, POINTS)]
    assert taken == [[1, 2, 3], [1, 2], [], list(range(8)), []]


def test_a_moment_without_a_point_is_the_bias_of_the_last_layer():
    vtc = made()
    embedded, mask, moments, ids = given()
    moments[0] = torch.tensor([1.2, 1.9])
    with torch.no_grad():
        vtc.encoders.video_out.bias.normal_()
        encoded = vtc.encode(*embedded)
        weights = vtc.word_weights(mask), vtc.point_weights(moments, POINTS)
        _, vectors = vtc.encoders.compared(*encoded, *weights)
        torch.testing.assert_close(vectors[0], F.normalize(vtc.encoders.video_out.bias, dim=0))
    loss = loss_of(vtc, embedded, mask, moments, ids)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in vtc.encoders.parameters())


def test_soft_targets_mix_the_slow_encoders_opinion_with_what_is_right():
    vtc = made(queue_size=4, alpha=0.3)
    vtc.queue_ids[1] = 2  # an older key of the third query
    outputs = outputs_of(vtc, *given())
    for side in ("video", "words"):
        targets = outputs[f"contrast_{side}_targets"]
        assert targets.shape == outputs[f"contrast_{side}_logits"].shape == (3, 3 + 4)
        torch.testing.assert_close(targets.sum(1), torch.ones(3))
        opinion = (targets - 0.7 * torch.eye(3, 7)) / 0.3
        torch.testing.assert_close(opinion[:2].sum(1), torch.ones(2))
        assert (opinion[:2] > 0).all()
        assert targets[2, 2] > 0.35 and targets[2, 3 + 1] > 0.35, "two right keys share"
        assert not targets.requires_grad


def test_without_distillation_the_targets_are_what_is_right():
    vtc = made(queue_size=4, alpha=0.0)
    outputs = outputs_of(vtc, *given(ids=[5, 6, 5]))
    expected = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    for side in ("video", "words"):
        torch.testing.assert_close(outputs[f"contrast_{side}_targets"], F.pad(expected, (0, 4)))


# --- what is remembered, and when


def test_slow_encoders_follow_once_a_step_also_when_it_has_parts():
    vtc = made(momentum=0.9)
    before, fast = copies(vtc.slow), copies(vtc.encoders)
    expected = [0.9 * slow + 0.1 * online for slow, online in zip(before, fast, strict=True)]
    for part in range(3):
        loss_of(vtc, *given(seed=part))
        torch.testing.assert_close(copies(vtc.slow), expected)
    vtc.enqueue()
    torch.testing.assert_close(copies(vtc.slow), expected)
    loss_of(vtc, *given())
    expected = [0.9 * slow + 0.1 * online for slow, online in zip(expected, fast, strict=True)]
    torch.testing.assert_close(copies(vtc.slow), expected)


def test_keys_go_into_the_queue_after_the_step_and_those_of_all_parts():
    vtc = made()
    before = vtc.queue_words.clone()
    for part in range(2):
        loss_of(vtc, *given(2, seed=part, ids=[2 * part, 2 * part + 1]))
        assert torch.equal(vtc.queue_words, before) and (vtc.queue_ids == EMPTY).all()
    vtc.enqueue()
    assert vtc.queue_ids.tolist() == [0, 1, 2, 3, EMPTY, EMPTY] and vtc.place == 4
    assert torch.equal(vtc.queue_words[4:], before[4:])
    words, _ = given(2, seed=1)[0]
    with torch.no_grad():
        key = F.normalize(vtc.slow.words_out(vtc.slow.words(words).sum(1)), dim=1)
    torch.testing.assert_close(vtc.queue_words[2:4], key)
    vtc.enqueue()  # nothing waits any more
    assert vtc.place == 4 and vtc.queue_ids.tolist()[:4] == [0, 1, 2, 3]


def test_nothing_is_remembered_out_of_training():
    model = ACB(BOTH).eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    batch = make_batch()
    model(batch)
    assert not model.contrast.waiting
    model.localise(for_inference(batch))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_ring_wraps_and_takes_the_last_of_too_many_keys():
    vtc = made(queue_size=5)
    loss_of(vtc, *given(3, ids=[0, 1, 2]))
    vtc.enqueue()
    loss_of(vtc, *given(3, ids=[3, 4, 5]))
    vtc.enqueue()
    assert vtc.queue_ids.tolist() == [5, 1, 2, 3, 4] and vtc.place == 1
    loss_of(vtc, *given(7, ids=list(range(10, 17))))
    vtc.enqueue()
    assert vtc.queue_ids.tolist() == [16, 12, 13, 14, 15] and vtc.place == 1
    torch.testing.assert_close(vtc.queue_video.norm(dim=1), torch.ones(5))


def test_a_query_finds_its_own_older_key():
    vtc = made(alpha=0.0)
    loss_of(vtc, *given())
    vtc.enqueue()
    targets = outputs_of(vtc, *given())["contrast_words_targets"]
    torch.testing.assert_close(targets, torch.cat([torch.eye(3), torch.eye(3, 6)], dim=1) / 2)


def test_queues_of_other_values_or_none_change_no_answer():
    torch.manual_seed(0)
    model = ACB(replace(BOTH, initial_std=0.3)).eval()
    batch = for_inference(make_batch())
    expected = model(batch)
    for change in (torch.rand_like, lambda queue: None):
        for name in ("queue_words", "queue_video", "queue_ids"):
            setattr(model.contrast, name, change(getattr(model.contrast, name).float()))
        found = model(batch)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert model.localise(batch)


# --- samples without a moment


def test_absent_moments_take_no_part():
    vtc, (embedded, mask, moments, ids) = made(), given()
    part = [0, 2]
    some = [(embedded[0][part], embedded[1][part]), mask[part], moments[part], ids[part]]
    expected = loss_of(vtc, *some)
    vtc = made()
    moments[1] = math.nan
    found = loss_of(vtc, embedded, mask, moments, ids)
    torch.testing.assert_close(found, expected)
    vtc.enqueue()
    assert vtc.queue_ids.tolist()[:3] == [0, 2, EMPTY]


@pytest.mark.parametrize("config", [PLAIN, IN_BATCH], ids=["queue", "in batch"])
def test_a_batch_of_absent_moments_alone_has_no_loss_and_finite_gradients(config):
    vtc, (embedded, mask, moments, ids) = made(config), given()
    embedded = tuple(part.requires_grad_() for part in embedded)
    loss = loss_of(vtc, embedded, mask, torch.full_like(moments, math.nan), ids)
    loss.backward()
    assert loss.item() == 0
    gradients = [p.grad for p in vtc.encoders.parameters()] + [part.grad for part in embedded]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    vtc.enqueue()
    assert vtc.place == 0


def test_a_whole_model_learns_from_a_batch_of_absent_moments():
    model, batch = ACB(BOTH).train(), make_batch()
    batch["moments_cell"] = torch.full_like(batch["moments_cell"], math.nan)
    losses = model.loss(model(batch), batch)
    losses["total"].backward()
    assert losses["contrast"] == 0 and losses["total"].isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# --- switches


def test_padding_is_part_of_a_sentence_unless_it_is_masked():
    (words, video), mask, moments, ids = given()
    longer = F.pad(words, (0, 0, 0, 3)), video
    longer_mask = F.pad(mask, (0, 3))
    for masked in (True, False):
        vtc = made(mask_padding=masked)
        with torch.no_grad():  # padding is not zero behind a layer with a bias
            vtc.encoders.words.bias.normal_()
        short = outputs_of(vtc, (words, video), mask, moments, ids)["contrast_words_logits"]
        long = outputs_of(vtc, longer, longer_mask, moments, ids)["contrast_words_logits"]
        assert torch.allclose(short, long, atol=1e-5) == masked


def test_the_mean_of_a_moment_and_a_sentence_by_hand():
    moments = torch.tensor([[0.5, 3.2], [1.2, 1.9]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    mean = made(pool="mean", mask_padding=True)
    expected = torch.tensor([[0, 1 / 3, 1 / 3, 1 / 3, 0], [0] * 5])
    torch.testing.assert_close(mean.point_weights(moments, 5), expected)
    assert mean.word_weights(mask).tolist() == [[0.5, 0.5, 0, 0], [0.25] * 4]
    assert made(pool="mean").word_weights(mask).tolist() == [[0.25] * 4] * 2
    assert made().word_weights(mask).tolist() == [[1.0] * 4] * 2


def test_slow_encoders_start_as_copies_only_where_that_is_wanted():
    for sync in (True, False):
        torch.manual_seed(0)
        model = MSAT(replace(SMALL, contrast=replace(PLAIN, sync_momentum=sync)))
        slow, fast = copies(model.contrast.slow), copies(model.contrast.encoders)
        weights = [torch.equal(one, other) for one, other in zip(slow, fast, strict=True) if one.ndim == 2]
        assert weights == [sync] * 4


def test_queries_of_one_segment_or_of_the_same_words_are_positives_of_each_other():
    batch = make_batch()  # the first two have one segment, the last two the same words
    expected = {"annotation": torch.eye(3)}
    expected["segment"] = torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    expected["sentence"] = torch.tensor([[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])
    for positives, right in expected.items():
        contrast = replace(BOTH.contrast, positives=positives, alpha=0.0)
        model = ACB(replace(BOTH, contrast=contrast)).train()
        outputs = model(batch)
        for side in ("video", "words"):
            torch.testing.assert_close(outputs[f"contrast_{side}_targets"][:, :3], right)
        model.after_step()
        assert model.contrast.queue_ids[:3].tolist() == batch[positives].tolist()


def test_the_temperature_is_kept_within_its_limits_and_can_come_back():
    inputs = given()
    expected = outputs_of(made(temperature=0.5), *inputs)["contrast_words_logits"]
    clamped = made(temperature=2.0, clamp=(0.001, 0.5))
    torch.testing.assert_close(outputs_of(clamped, *inputs)["contrast_words_logits"], expected)
    assert clamped.temperature.item() == 0.5
    loss_of(clamped, *inputs).backward()
    assert clamped.temperature.grad.abs() > 0
    within = made(temperature=0.3, clamp=(0.001, 0.5))
    free = made(temperature=0.3)
    torch.testing.assert_close(loss_of(within, *inputs), loss_of(free, *inputs))
    loss_of(within, *inputs).backward()
    assert within.temperature.grad.abs() > 0


def test_alpha_rises_with_the_steps():
    vtc = made(alpha=0.4, alpha_steps=4)
    seen = []
    for _ in range(6):
        seen.append(vtc.alpha)
        loss_of(vtc, *given())
        vtc.enqueue()
    assert seen == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert made(alpha=0.4).alpha == 0.4
    first = outputs_of(made(alpha=0.4, alpha_steps=4), *given())["contrast_words_targets"]
    torch.testing.assert_close(first, torch.eye(3, 9))


def test_without_slow_encoders_the_keys_learn_too():
    inputs = given()
    online, moving = made(IN_BATCH), made(queue_size=0, alpha=0.0)
    assert online.slow is None
    moving.encoders.load_state_dict(online.encoders.state_dict())
    moving.slow.load_state_dict(online.encoders.state_dict())
    losses = [loss_of(vtc, *inputs) for vtc in (online, moving)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    # A key's share of the gradient is there only where keys are not cut off.
    gradients = [vtc.encoders.words.weight.grad for vtc in (online, moving)]
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4
    words, video = (part.clone().requires_grad_() for part in inputs[0])
    logits = outputs_of(online, (words, video), *inputs[1:])["contrast_video_logits"]
    (gradient,) = torch.autograd.grad(logits[0, 1], words)
    assert gradient[1].abs().max() > 0 and gradient[0].abs().max() == 0


def test_without_a_queue_the_keys_are_those_of_the_batch():
    vtc = made(queue_size=0)
    for _ in range(2):
        outputs = outputs_of(vtc, *given())
        assert outputs["contrast_words_logits"].shape == (3, 3)
        contrast_loss(outputs).backward()
        vtc.enqueue()
    assert vtc.place == 0 and vtc.steps == 2 and not vtc.waiting


def test_the_vectors_may_be_narrower_than_the_model():
    vtc = made(dim=DIM)
    assert vtc.encoders.words_out.out_features == DIM
    narrow = VTC(DIM, replace(PLAIN, dim=3)).train()
    loss_of(narrow, *given()).backward()
    narrow.enqueue()
    assert narrow.queue_words.shape == narrow.queue_video.shape == (6, 3)


def test_beside_msat_the_loss_changes_nothing_but_its_own_layers():
    torch.manual_seed(0)
    model = MSAT(replace(SMALL, contrast=PLAIN)).train()
    batch = make_batch()
    losses = model.loss(model(batch), batch)
    losses["total"].backward()
    assert losses["contrast"] > 0 and model.contrast.temperature.grad.abs() > 0
    model.after_step()
    assert model.contrast.queue_ids[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize("place", ["before", "after"])
def test_what_is_pooled_has_seen_the_other_side_only_after_the_encoder(place):
    torch.manual_seed(0)
    model = ACB(replace(BOTH, contrast=replace(IN_BATCH, place=place), dropout=0.0)).train()
    batch = make_batch()
    batch["hidden_words"] = torch.zeros_like(batch["hidden_words"])  # those are hidden in training only
    other = batch | {"video": torch.randn_like(batch["video"])}
    sentences, moments = model.compared(batch)
    assert torch.allclose(sentences, model.compared(other)[0]) == (place == "before")
    torch.testing.assert_close(
        model(batch)["contrast_words_logits"], sentences @ moments.T / model.contrast.temperature
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "max"}, "contrast.pool: expected sum or mean, found 'max'"),
        (
            {"positives": "video"},
            "contrast.positives: expected annotation, segment or sentence, found 'video'",
        ),
        ({"queue_size": -1}, "contrast.queue_size, contrast.alpha_steps: expected 0 or more"),
        ({"alpha_steps": -1}, "contrast.queue_size, contrast.alpha_steps: expected 0 or more"),
        ({"alpha": 1.5}, "contrast.alpha: expected a number in 0..1, found 1.5"),
        ({"temperature": 0.0}, "contrast.temperature: expected a number above 0, found 0.0"),
        ({"momentum": None}, "contrast.momentum: without slow encoders queue_size and alpha must be 0"),
        ({"place": "within"}, "contrast.place: expected before or after, found 'within'"),
        (
            {"place": "after"},
            "contrast.place: after the encoder only with momentum None",
        ),
        ({"momentum": 1.1}, "contrast.momentum: expected a number in 0..1, found 1.1"),
    ],
)
def test_impossible_constants_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **changes)


# --- checkpoints


class StopError(Exception):
    """Ends a training where it stands."""


def stop_after(step):
    def look(record):
        if record["step"] == step:
            raise StopError

    return look


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A training of 24 steps that was stopped twice and resumed, and one that was not."""
    folder = tmp_path_factory.mktemp("contrast")
    for step in (5, 14):
        with pytest.raises(StopError):
            toy_run(folder / "stopped", resume=True, on_step=stop_after(step), model=tiny_acb())
    toy_run(folder / "stopped", resume=True, model=tiny_acb())
    toy_run(folder / "whole", model=tiny_acb())
    return folder


def test_a_stopped_training_ends_bit_equal_with_its_queue(runs):
    _, whole, state = checkpoints.read(runs / "whole/last.json")
    _, stopped, other_state = checkpoints.read(runs / "stopped/last.json")
    assert whole.keys() == stopped.keys() and state.keys() == other_state.keys()
    for name in whole:
        assert torch.equal(whole[name], stopped[name]), name
    assert all(torch.equal(state[name], other_state[name]) for name in state)
    # 8 epochs of 20 keys in 30 places, and nothing is left of the beginning
    assert whole["contrast.place"] == (8 * 20) % 30 and (whole["contrast.queue_ids"] != EMPTY).all()
    assert whole["contrast.steps"] == 24
    losses = [
        [record["losses"] for record in read_log(runs / name) if "losses" in record]
        for name in ("whole", "stopped")
    ]
    assert losses[0] == losses[1] and all(record["contrast"] > 0 for record in losses[0])


def test_the_best_checkpoint_goes_without_the_queue_and_answers_the_same(runs):
    _, weights, _ = checkpoints.read(runs / "whole/best.json")
    assert not any(name.startswith("contrast.queue_") for name in weights)
    assert any(name.startswith("contrast.encoders.") for name in weights)
    loaded = checkpoints.load(runs / "whole").model
    assert loaded.config == tiny_acb().config and isinstance(loaded, ACB)
    trained = tiny_acb()
    toy_run(runs / "whole", resume=True, model=trained)  # finished: it takes the best weights
    val = toy_set(6, "val")
    for one, other in zip(predict(loaded, val), predict(trained, val), strict=True):
        assert one.query_id == other.query_id and (one.moments == other.moments).all()


def test_a_loop_that_never_puts_keys_away_is_told_so(monkeypatch):
    monkeypatch.setattr("vmrlib.models.vtc.MOST_PARTS", 2)
    model, batch = ACB(BOTH).train(), make_batch()
    for _ in range(2):
        model(batch)
    with pytest.raises(RuntimeError, match=r"after_step\(\) is to follow each optimiser step"):
        model(batch)


def test_a_model_without_the_loss_has_nothing_to_put_away():
    model = ACB(ALONE)
    model.after_step()
    assert model.contrast is None and not any("contrast" in name for name in model.state_dict())

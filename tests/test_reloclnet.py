"""ReLoCLNet: configurations, shapes, padding, the schedule of negatives, answers, released weights."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vmrlib.cli import main
from vmrlib.configuration import PRESETS, ModelChoice
from vmrlib.engine.predicting import to_device
from vmrlib.models.official import from_official
from vmrlib.models.official_reloclnet import reloclnet_names
from vmrlib.models.reloclnet import ReLoCLNet, ReLoCLNetConfig

ROOT = Path(__file__).resolve().parent.parent
CLIPS, WORDS, DIM = 10, 5, 16
SMALL = ReLoCLNetConfig(
    dim_video=6,
    dim_subtitles=5,
    dim_words=7,
    clips=CLIPS,
    longest=WORDS + 4,
    dim=DIM,
    heads=4,
    dropout=0.0,
    input_dropout=0.0,
    initial_std=0.2,
    hard_after=3,
    hard_pool=1,
    span_clips=(1, 5),
)
ALONE = replace(SMALL, dim_subtitles=None)
SLIDES = replace(SMALL, negatives="all", video_contrast="slides", frame_contrast="slides")
CONFIGS = pytest.mark.parametrize("config", [SMALL, ALONE, SLIDES], ids=["both", "video", "slides"])


def make_batch(number=3, seed=0, learning=True, config=SMALL):
    """Videos of 10, 7, 4, ... clips; sentences of 5, 4, 3, ... words."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    lengths = torch.tensor([max(3, CLIPS - 3 * i) for i in range(number)])
    mask = torch.arange(CLIPS) < lengths[:, None]
    batch = {
        "video": noise(number, CLIPS, config.dim_video) * mask[..., None],
        "subtitles": noise(number, CLIPS, 5) * mask[..., None],
        "video_mask": mask,
        "words": noise(number, WORDS, config.dim_words),
        "word_mask": torch.arange(WORDS) < torch.tensor([[max(1, WORDS - i)] for i in range(number)]),
        "duration": torch.full((number,), 15.0, dtype=torch.float64),
    }
    if learning:
        batch["moments_cell"] = torch.tensor([[0.4, 1.2]] * number, dtype=torch.float64)
    return batch


def built(config, seed=0):
    torch.manual_seed(seed)
    return ReLoCLNet(config).eval()


def numbers(model):
    return sum(parameter.numel() for parameter in model.parameters())


# --- configurations


def test_published_sizes_have_the_published_number_of_parameters():
    assert numbers(ReLoCLNetConfig.tvr().build()) == 7_765_650


def test_relonet_is_the_same_network_with_two_weights_of_zero():
    relonet, full = ReLoCLNetConfig.relonet(), ReLoCLNetConfig.tvr()
    assert replace(relonet, weights=full.weights) == full and relonet.weights == (*full.weights[:3], 0.0, 0.0)
    assert (relonet.title, full.title) == ("ReLoNet", "ReLoCLNet")
    model, batch = built(replace(SMALL, weights=(0.01, 1.0, 1.0, 0.0, 0.0))), make_batch()
    parts = model.loss(model(batch), batch)
    assert set(parts) == {"spans", "videos", "sentences", "total"}, "what weighs nothing is not computed"
    expected = 0.01 * parts["spans"] + parts["videos"] + parts["sentences"]
    torch.testing.assert_close(parts["total"], expected)


def test_the_configuration_of_the_slides_differs_in_losses_only():
    slides, full = ReLoCLNetConfig.slides(), ReLoCLNetConfig.tvr()
    assert slides.weights[0] == full.weights[0] / 2 and slides.weights[1:] == full.weights[1:]
    same = ("weights", "negatives", "video_contrast", "frame_contrast", "hard_after")
    assert replace(slides, **{name: getattr(full, name) for name in same}) == full


def test_presets_take_the_sizes_of_the_data_and_leave_out_what_the_model_has_not():
    choice = ModelChoice("reloclnet_stage", {"dim": 32})
    config = choice.config(dim_video=9, dim_words=8, vocabulary=100)
    assert (config.dim_video, config.dim_words, config.dim) == (9, 8, 32)
    assert PRESETS["reloclnet_tvr"]() == ReLoCLNetConfig.tvr()
    assert config.cells == config.clips


@pytest.mark.parametrize(
    ("found", "changes"),
    [("dim_subtitles is 770", []), ("seconds_per_clip is 1.5", ["--set", "model.dim_subtitles=null"])],
)
def test_the_command_line_refuses_what_only_the_loader_of_corpora_has(tmp_path, capsys, found, changes):
    config = str(ROOT / "configs/reloclnet_stage.yaml")
    command = ["train", "--config", config, "--out", str(tmp_path / "run"), "--set", "data.videos=2"]
    assert main([*command, "--set", "model.preset=reloclnet_tvr", *changes]) == 1
    assert f"model.{found}: there are no subtitles here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "dim 16 is no multiple of heads 3"),
        ({"kernel": 4}, "kernel: expected an odd number, found 4"),
        ({"clips": 0}, "clips: expected a number above 0, found 0"),
        ({"dim_subtitles": 0}, "dim_subtitles: expected a number above 0, found 0"),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1, found 1.0"),
        ({"span_clips": (4, 4)}, "span_clips: expected two rising numbers above 0"),
        ({"ranking": "margin"}, "ranking: expected one of hinge, lse, found 'margin'"),
        ({"negatives": "hard"}, "negatives: expected one of sampled, all, found 'hard'"),
        ({"video_contrast": "paper"}, "video_contrast: expected one of released, slides, found 'paper'"),
        ({"frame_contrast": ""}, "frame_contrast: expected one of released, slides, found ''"),
        (
            {"weights": (1.0, 1.0, 1.0)},
            "weights: expected 5 numbers from 0 on, not all of them 0, found (1.0,",
        ),
        ({"weights": (1.0, 1.0, 1.0, 1.0, torch.nan)}, "weights: expected 5 numbers from 0 on"),
        ({"weights": (0.0,) * 5}, "weights: expected 5 numbers from 0 on, not all of them 0"),
        ({"margin": -0.1}, "margin: expected a number from 0 on, found -0.1"),
        ({"hard_after": -1}, "hard_after: expected a number from 0 on, or none, found -1"),
        ({"seconds_per_clip": -1.5}, "seconds_per_clip: expected a number above 0, or none, found -1.5"),
        ({"initial_std": -0.02}, "initial_std: expected a number above 0, found -0.02"),
        ({"alpha": torch.inf}, "alpha: expected a number above 0, at most 80, found inf"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(SMALL, **changes)


# --- the model


@CONFIGS
def test_outputs_have_the_documented_shapes(config):
    model, batch = built(config), make_batch()
    streams = config.streams
    expected = {
        "word_weights": (3, WORDS, streams),
        "query_vectors": (3, streams, DIM),
        "middle": (3, streams, CLIPS, DIM),
        "final": (3, streams, CLIPS, DIM),
        "mask": (3, CLIPS),
        "video_scores": (3, 3),
        "similarity": (3, CLIPS),
        "start_logits": (3, CLIPS),
        "end_logits": (3, CLIPS),
    }
    learning = {"labels": (3, 2), "negative_ranks": (2, 3), "frame_similarity": (3, streams, CLIPS)}
    learning["contrast_similarity"] = (streams, 3, 3) if config is SLIDES else (3, 3)
    assert {name: tuple(value.shape) for name, value in model(batch).items()} == expected | learning
    del batch["moments_cell"]
    assert set(model(batch)) == set(expected), "for inference there are no targets"
    assert set(model.loss(model(make_batch()), make_batch())) == {
        "spans", "videos", "sentences", "frames", "contrast", "total"
    }  # fmt: skip


@CONFIGS
def test_gradients_reach_every_parameter(config):
    model, batch = built(config).train(), make_batch()
    model.loss(model(batch), batch)["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # a number added to all logits of a softmax changes nothing, so key biases learn nothing
        assert parameter.grad.abs().max() > 0 or name.endswith("pooling.0.bias"), name


@pytest.mark.parametrize("kernel", [1, 5])
def test_starts_and_ends_are_filters_along_the_clips(kernel):
    model = built(replace(SMALL, kernel=kernel))
    similarity = torch.randn(3, 2, CLIPS, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 2, CLIPS, dtype=torch.bool)
    with torch.no_grad():
        found = model.span_logits(similarity, mask)
        for layer, logits in zip((model.start, model.end), found, strict=True):
            expected = layer(similarity.flatten(0, 1)[:, None])[:, 0].unflatten(0, (3, 2))
            torch.testing.assert_close(logits, expected)


def test_more_padding_words_change_nothing():
    model, batch = built(SMALL), make_batch(learning=False)
    longer = dict(batch)
    longer["words"] = torch.cat([batch["words"], torch.randn(3, 4, SMALL.dim_words)], dim=1)
    longer["word_mask"] = torch.cat([batch["word_mask"], torch.zeros(3, 4, dtype=torch.bool)], dim=1)
    for name in ("query_vectors", "video_scores", "start_logits"):
        torch.testing.assert_close(model(longer)[name], model(batch)[name], atol=1e-5, rtol=1e-5)


def test_padding_clips_reach_the_last_two_logits_and_nothing_else():
    # as released: the filters read two places behind the end, which hold numbers, not zeros
    model, batch = built(SMALL), make_batch(learning=False)
    length = 4
    cut = {name: batch[name][2:, :length] for name in ("video", "subtitles", "video_mask")}
    cut |= {name: batch[name][2:] for name in ("words", "word_mask", "duration")}
    whole, short = model(batch), model(cut)
    torch.testing.assert_close(short["final"][0], whole["final"][2, :, :length], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short["video_scores"][0, 0], whole["video_scores"][2, 2])
    difference = (short["start_logits"][0] - whole["start_logits"][2, :length]).abs()
    assert difference[: length - 2].max() < 1e-5 and difference[length - 2 :].min() > 1e-4
    assert (whole["start_logits"][2, length:] == -1e10).all()


def test_the_streams_ask_each_other_as_they_were_before():
    model, batch = built(SMALL), make_batch()
    video = model.encode_video(batch)
    both = batch["video_mask"][:, :, None] & batch["video_mask"][:, None]
    first = video["first"].unbind(1)
    for own, other, stream, middle in zip(
        first, reversed(first), model.streams, video["middle"].unbind(1), strict=True
    ):
        mixed = stream.cross_norm(stream.cross(own, other, both) + own)
        torch.testing.assert_close(stream.second(mixed, batch["video_mask"]), middle)
    changed = model.encode_video(batch | {"subtitles": batch["subtitles"].flip(2)})
    assert (changed["final"][:, 0] - video["final"][:, 0]).abs().max() > 1e-3


def test_a_batch_without_subtitles_is_refused_by_a_model_that_reads_them():
    batch = make_batch()
    del batch["subtitles"]
    message = "subtitles: not in the batch, but this model reads video and subtitles"
    with pytest.raises(ValueError, match=message):
        built(SMALL)(batch)


def test_a_video_alone_needs_no_subtitles_and_no_mask():
    model, batch = built(ALONE), make_batch(config=ALONE)
    del batch["subtitles"], batch["video_mask"]
    outputs = model(batch)
    assert outputs["mask"].all() and outputs["final"].shape[1] == 1
    full = batch | {"video_mask": torch.ones(3, CLIPS, dtype=torch.bool)}
    assert torch.equal(model(full)["start_logits"], outputs["start_logits"])


def test_the_score_of_a_video_is_the_best_cosine_averaged():
    model = built(SMALL)
    vectors = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])  # one sentence, two streams
    final = torch.tensor([[[[1.0, 0.0], [9.0, 9.0]], [[1.0, 0.0], [0.0, -5.0]]]])
    scores = model.video_scores(vectors, final, torch.tensor([[True, True]]))
    assert scores.item() == pytest.approx((1.0 + 0.0) / 2)  # best of (1, .71), and of (0, -1)
    padded = model.video_scores(vectors, final, torch.tensor([[False, True]]))
    assert padded.item() == pytest.approx((0.5**0.5 - 1.0) / 2)


def test_hard_negatives_begin_after_so_many_epochs():
    model, batch = built(SMALL).train(), make_batch(6)
    for epoch in range(SMALL.hard_after):
        before = torch.cat([model(batch | {"epoch": epoch})["negative_ranks"] for _ in range(20)])
        assert before.min() == 1 and before.max() == 5
    hard = model(batch | {"epoch": SMALL.hard_after})["negative_ranks"]
    assert (hard == 1).all(), "the pool holds the best wrong one only"
    never = built(replace(SMALL, hard_after=None))
    assert never(batch | {"epoch": 1000, "draws": torch.full((6, 2), 0.9999)})["negative_ranks"].min() == 5
    assert not list(model.buffers()), "a training that begins with these weights begins with the first epoch"


def test_what_is_drawn_for_a_sample_decides_on_its_negatives():
    model, batch = built(SMALL).train(), make_batch(6)
    draws = torch.tensor([[0.0, 0.99], [0.19, 0.2], [0.21, 0.39], [0.5, 0.5], [0.79, 0.8], [0.9, 1.0]])
    ranks = model(batch | {"draws": draws})["negative_ranks"]
    assert ranks.tolist() == [[1, 1, 2, 3, 4, 5], [5, 2, 2, 3, 5, 5]]


def test_a_sample_without_a_moment_is_refused():
    model, batch = built(SMALL), make_batch()
    batch["moments_cell"][1] = torch.nan
    with pytest.raises(ValueError, match="moments_cell: a sample without a moment"):
        model(batch)


@pytest.mark.parametrize("moment", [[-0.5, 2.0], [3.0, 1.0]])
def test_a_moment_before_its_video_or_backwards_is_refused(moment):
    model, batch = built(SMALL), make_batch()
    batch["moments_cell"][1] = torch.tensor(moment)
    message = f"moments_cell: expected clips from 0 on, the end not before the start, found {moment}"
    with pytest.raises(ValueError, match=re.escape(message)):
        model(batch)


def test_masks_are_true_or_false_and_have_no_holes():
    model, batch = built(SMALL), make_batch(learning=False)
    for name in ("video_mask", "word_mask"):
        message = f"{name}: expected True where there is data, else False, found torch.float32"
        with pytest.raises(ValueError, match=message):
            model(batch | {name: batch[name].float()})
    batch["video_mask"][1, 2] = False
    with pytest.raises(ValueError, match="video_mask: row 1 has data behind padding"):
        model(batch)


def test_a_sentence_that_is_too_long_is_refused():
    model, batch = built(replace(SMALL, longest=4)), make_batch()
    with pytest.raises(ValueError, match="a sequence of 5, but the model has positions for 4"):
        model(batch)


def test_one_sample_can_be_learnt_from():
    model, batch = built(SMALL).train(), make_batch(1)
    parts = model.loss(model(batch), batch)
    assert all(value.isfinite() for value in parts.values())
    assert parts["videos"] == parts["sentences"] == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_finite_outputs(dtype):
    model, batch = built(SMALL), make_batch()
    with torch.autocast("cpu", dtype):
        outputs = model(batch)
    for name in ("video_scores", "start_logits", "query_vectors"):
        assert outputs[name].isfinite().all(), name
    for name in ("video_scores", "start_logits", "frame_similarity", "contrast_similarity"):
        assert outputs[name].dtype == torch.float32, name
    difference = outputs["video_scores"].float() - model(batch)["video_scores"]
    assert difference.abs().max() < 0.05


def test_moments_are_seconds_and_best_first():
    model, batch = built(SMALL), make_batch(learning=False)
    answers, outputs = model.localise(batch, top=4), model(batch)
    for b, (moments, scores) in enumerate(answers):
        start, end = outputs["start_logits"][b].softmax(-1), outputs["end_logits"][b].softmax(-1)
        table = {
            (i, j): (start[i] * end[j]).item() for i in range(CLIPS) for j in range(i + 1, min(i + 5, CLIPS))
        }
        best = sorted(table, key=table.get, reverse=True)[:4]
        best = [pair for pair in best if table[pair] > 0]
        assert moments.tolist() == [[1.5 * i, 1.5 * j] for i, j in best]
        assert scores.tolist() == pytest.approx([table[pair] for pair in best])
    relative = built(replace(SMALL, seconds_per_clip=None)).localise(to_device(batch, torch.device("cpu")), 1)
    assert (relative[0][0] % (15.0 / CLIPS) == 0).all(), "clips of a tenth of 15 s"


def test_four_samples_are_learnt_by_heart():
    torch.manual_seed(0)
    model, batch = ReLoCLNet(replace(SMALL, weights=(1.0, 1.0, 1.0, 0.03, 0.03))).train(), make_batch(4)
    batch["video_mask"] = torch.ones(4, CLIPS, dtype=torch.bool)
    batch["moments_cell"] = torch.tensor([[0.0, 2.0], [3.0, 6.0], [5.0, 9.0], [6.0, 7.0]]).double()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = model.loss(model(batch), batch)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.after_step()
    model.eval()
    found = torch.stack([moments[0] for moments, _ in model.localise(batch, top=1)])
    assert torch.equal(found / 1.5, batch["moments_cell"])
    assert torch.equal(model(batch)["video_scores"].argmax(dim=1), torch.arange(4))


def test_decay_leaves_out_biases_and_norms_but_not_the_norms_behind_co_attention():
    model = built(SMALL)
    decayed, others = model.parameter_groups(0.25)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    ids = {id(parameter) for parameter in decayed["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in ids}
    assert {name for name in names if "norm" in name} == {f"streams.{s}.cross_norm.weight" for s in (0, 1)}
    assert not any(name.endswith("bias") for name in names)
    assert len(names) == len(decayed["params"]) and len(others["params"]) + len(names) == len(
        list(model.parameters())
    )


def test_initial_weights_have_the_published_spread():
    model = built(replace(SMALL, dim=64, initial_std=0.02))
    assert model.streams[0].first.dense.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.positions.table.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.streams[1].query_out.bias.abs().max() == 0
    assert 0.1 < model.start.weight.abs().max() <= SMALL.kernel**-0.5


# --- released weights


def released(config):
    """Weights under the authors' names: each tensor holds its own number."""
    sizes = dict(ReLoCLNet(config).named_parameters())
    return {
        official: torch.full(sizes[ours].shape, float(number))
        for number, (ours, (official,)) in enumerate(reloclnet_names(config).items())
    }


@pytest.mark.parametrize("config", [SMALL, ALONE], ids=["both", "video"])
def test_every_released_weight_has_its_place(config):
    weights = released(config)
    model = from_official("reloclnet", {f"module.{name}": value for name, value in weights.items()}, config)
    assert model.loading == ((), (), ()) and not model.training
    for ours, (official,) in reloclnet_names(config).items():
        assert torch.equal(model.get_parameter(ours), weights[official]), ours
    assert len(weights) == len(list(model.parameters()))


def test_missing_and_unknown_weights_are_named():
    weights = released(SMALL)
    del weights["sub_cross_att.key.bias"]
    weights["pooler.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"missing sub_cross_att\.key\.bias; not used pooler\.weight"):
        from_official("reloclnet", weights, SMALL)
    model = from_official("reloclnet", weights, SMALL, partial=True)
    assert model.loading == (("sub_cross_att.key.bias",), ("pooler.weight",), ())


def test_the_losses_of_the_slides_have_no_released_weights():
    with pytest.raises(ValueError, match="no released weights are known for video_contrast 'slides'"):
        from_official("reloclnet", released(SMALL), SLIDES)

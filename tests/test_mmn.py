"""MMN: the moments of its map, what its losses count, what a batch may change, learning, published sizes."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy_training import WORDS, toy_features, toy_queries, toy_words

from vmrlib import checkpoints
from vmrlib.configuration import read_config
from vmrlib.data.annotations import Query
from vmrlib.data.by_video import VideoDataset
from vmrlib.data.loaders import LoaderError, train_vocabulary
from vmrlib.material import Material, describe_set
from vmrlib.models import mmn_losses
from vmrlib.models.mmn import MMN, cosines
from vmrlib.models.mmn_config import MMNConfig
from vmrlib.models.mmn_proposals import MaskedConvolutions, pool_moments, proposal_cells, window_shares
from vmrlib.models.official import from_official
from vmrlib.models.official_mmn import mmn_names
from vmrlib.train import new_model
from vmrlib.training import TrainingSettings, predict, train

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SMALL = MMNConfig.stage(
    clips=8,
    cells=4,
    pooling_counts=(3,),
    dim_video=6,
    dim_words=5,
    dim=8,
    dim_maps=8,
    dim_joint=8,
    dim_text=8,
    dim_text_ffn=8,
    text_layers=1,
    text_heads=2,
    layers=2,
)
LEARNT = ("moments_cell", "epoch")


def make_batch(videos=(0, 0, 1, 2, 2), words=5, seed=0):
    """Noise for sentences about these videos; the third of them is shorter than the others."""
    generator = torch.Generator().manual_seed(seed)
    number, count = len(videos), max(videos) + 1
    start = 2 * torch.rand(number, 1, generator=generator, dtype=torch.float64)
    mask = torch.ones(number, words, dtype=torch.bool)
    mask[2, 3:] = False
    return {
        "video": torch.randn(count, SMALL.clips, SMALL.dim_video, generator=generator),
        "words": torch.randn(number, words, SMALL.dim_words, generator=generator) * mask[..., None],
        "word_mask": mask,
        "sentence_video": torch.tensor(videos),
        "duration": torch.full((number,), 20.0, dtype=torch.float64),
        "moments_cell": torch.cat([start, start + 1.5], dim=1),
        "texts": [f"sentence {n}" for n in range(number)],
        "query_ids": [f"q{n}" for n in range(number)],
        "epoch": 0,
    }


def for_inference(batch):
    return {name: value for name, value in batch.items() if name not in LEARNT}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MMN(SMALL).eval()


# --- the map


@pytest.mark.parametrize(
    ("preset", "moments"), [("charades", 136), ("activitynet", 1104), ("tacos", 2548), ("stage", 78)]
)
def test_the_published_maps_have_the_published_number_of_moments(preset, moments):
    # section 1.3 of the specification
    config = getattr(MMNConfig, preset)()
    assert len(proposal_cells(config.cells, config.pooling_counts)) == moments
    if preset != "stage":
        assert f"{moments:,} moments" in getattr(MMNConfig, preset).__doc__


def test_a_sparse_map_by_hand():
    # level 0: one diagonal; level 1: one diagonal 2 further, from every second clip
    cells = proposal_cells(6, (1, 1)).tolist()
    assert cells[:6] == [[0, 0], [0, 1], [0, 3], [1, 1], [1, 2], [2, 2]]
    assert cells[6:] == [[2, 3], [2, 5], [3, 3], [3, 4], [4, 4], [4, 5], [5, 5]]


def test_a_moment_is_described_by_the_largest_value_of_its_clips():
    clips = torch.tensor([[[3.0, -1.0, 2.0, 5.0, 4.0, -7.0]]])
    cells = torch.tensor([[0, 0], [0, 2], [1, 1], [1, 2], [1, 5], [4, 5], [5, 5]])
    assert pool_moments(clips, cells).tolist() == [[[3.0, 3.0, -1.0, 2.0, 5.0, 4.0, -7.0]]]


def test_each_layer_divides_by_the_filled_cells_under_its_window():
    mask = torch.tensor([[True, True], [False, True]])
    first, second = window_shares(mask, kernel=3, layers=2)
    # padded by 2: the map grows to 4 x 4, and its corner below the diagonal sees nothing
    assert first.tolist()[0] == [1, 0.5, 0.5, 1] and first[3, 0] == 0 and first[1, 1] == pytest.approx(1 / 3)
    # the mask has grown: 15 of these 16 are filled, and the lower left window misses the empty one
    torch.testing.assert_close(second, torch.tensor([[1 / 9, 1 / 9], [1 / 8, 1 / 9]]))


def test_convolutions_keep_the_size_of_the_map():
    for kernel, layers in ((3, 1), (5, 3), (9, 2)):
        mask = torch.ones(6, 6).triu().bool()
        maps = MaskedConvolutions(mask, 2, 3, kernel, layers).eval()(torch.randn(1, 2, 6, 6))
        assert maps.shape == (1, 3, 6, 6)


@pytest.mark.parametrize(("preset", "expected"), [("charades", 103), ("activitynet", 997)])
def test_the_convolutions_cost_what_the_released_ones_cost(preset, expected):
    config = getattr(MMNConfig, preset)()
    with torch.device("meta"):  # sizes without numbers
        mask = torch.ones(config.cells, config.cells, dtype=torch.bool)
        convolutions = MaskedConvolutions(
            mask, config.dim, config.dim_maps, config.kernel, config.layers
        ).eval()
        with FlopCounterMode(display=False) as counter:
            convolutions(torch.zeros(1, config.dim, config.cells, config.cells))
    assert counter.get_total_flops() / 1e9 == pytest.approx(expected, rel=0.005)


# --- losses


def test_a_moment_of_the_map_lasts_to_the_end_of_its_last_clip():
    ious = mmn_losses.moment_ious(torch.tensor([[1.0, 3.0]]), torch.tensor([[1, 2], [1, 1], [3, 3], [0, 3]]))
    assert ious.tolist() == [[1.0, 0.5, 0.0, 0.5]]


def test_the_wanted_score_grows_between_two_ious():
    logits = torch.zeros(1, 3)
    ious = torch.tensor([[0.5, 0.75, 1.0]])  # wanted: 0, 1/2, 1, each with a cross entropy of ln 2 at 1/2
    assert mmn_losses.iou_loss(logits, ious, (0.5, 1.0)).item() == pytest.approx(math.log(2))
    sure = mmn_losses.iou_loss(torch.full((1, 1), 3.0), torch.tensor([[0.9]]), (0.3, 0.7))
    assert sure.item() == pytest.approx(math.log(1 + math.exp(-3)))


SIMILAR = torch.tensor([[[0.5, 0.1], [0.2, 0.3]], [[0.4, 0.0], [0.1, 0.6]], [[0.3, 0.2], [0.9, 0.8]]])
OWN = torch.tensor([0, 0, 1])  # [sentence, video, moment]; the first two sentences are about the first video


def softmax_loss(positive, *others):
    return math.log(sum(map(math.exp, (positive, *others)))) - positive


@pytest.mark.parametrize("overlap", [0.4, 0.5])
def test_from_video_to_sentence_by_hand(overlap):
    positives, between = torch.tensor([[0], [1], [1]]), torch.eye(3)
    between[0, 1] = between[1, 0] = overlap
    found = mmn_losses.video_loss(SIMILAR, OWN, positives, between, 0.1, 0.1, removal_iou=0.5)
    near = overlap < 0.5  # is the other sentence about the same video a negative?
    first = softmax_loss(4.0, *([4.0] if near else []), 3.0)
    second = softmax_loss(-1.0, *([1.0] if near else []), 2.0)
    third = softmax_loss(7.0, 3.0, 6.0)
    assert found.item() == pytest.approx((first + second + third) / 3, rel=1e-5)


def test_from_sentence_to_video_by_hand():
    positives = torch.tensor([[0], [1], [1]])
    ious = torch.tensor([[0.9, 0.1], [0.1, 0.4], [0.6, 0.7]])
    found = mmn_losses.sentence_loss(SIMILAR, OWN, positives, ious, 0.1, 0.1, negative_iou=0.5)
    least = math.log(1e-6)
    first = softmax_loss(4.0, 0.0, 1.0, 2.0, 3.0, least)  # its positive stays in the sum, with a cosine of 0
    second = softmax_loss(-1.0, 4.0, 0.0, 1.0, 6.0, least)  # its positive is a negative, too
    third = softmax_loss(7.0, 3.0, 2.0, 0.0, 0.0, least)
    assert found.item() == pytest.approx((first + second + third) / 3, rel=1e-5)


def test_groups_of_videos_know_nothing_of_each_other(model):
    batch = make_batch()
    outputs = model(batch)
    model.config = replace(SMALL, group=2)
    grouped = model.loss(outputs, batch)
    model.config = SMALL
    parts = []
    for rows, videos in (([0, 1, 2], [0, 1]), ([3, 4], [2])):
        part = {name: batch[name][rows] for name in ("words", "word_mask", "moments_cell", "duration")}
        part |= {"video": batch["video"][videos], "sentence_video": batch["sentence_video"][rows] - videos[0]}
        parts.append(model.loss(model(part), part))
    for name, value in grouped.items():
        assert value.item() == pytest.approx((parts[0][name] + parts[1][name]).item() / 2, rel=1e-4), name
    assert grouped["sentence"] < model.loss(outputs, batch)["sentence"], "fewer negatives"


def test_contrasts_count_a_hundredth_after_their_epochs(model):
    batch = make_batch()
    outputs = model(batch)
    for epoch, share in ((SMALL.contrast_epochs - 1, 1.0), (SMALL.contrast_epochs, 0.01)):
        losses = model.loss(outputs, batch | {"epoch": epoch})
        contrasts = SMALL.weight * share * (losses["video"] + losses["sentence"])
        assert losses["total"].item() == pytest.approx((losses["iou"] + contrasts).item())


# --- the model


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


# --- sentences through a tokenizer


@pytest.fixture
def published(tmp_path) -> MMNConfig:
    """A configuration whose DistilBERT is a folder with small weights and a tokenizer of few words."""
    from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "star", "jumps"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 6}
    torch.manual_seed(1)
    DistilBertModel(DistilBertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    return replace(SMALL, pretrained=str(tmp_path), tokens=len(words), longest=6)


def test_a_published_distilbert_reads_sentences_with_its_own_tokenizer(published):
    torch.manual_seed(0)
    model = published.build()
    before = model.text.bert.embeddings.word_embeddings.weight.clone()
    model.load_pretrained()
    assert not torch.equal(model.text.bert.embeddings.word_embeddings.weight, before)
    model.eval()
    states, mask = model.text.states({"texts": ["A star jumps", "star"]})
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]  # with [CLS] and [SEP]
    together, _ = model.text.pool(states, mask)
    alone, _ = model.text({"texts": ["star"]})
    torch.testing.assert_close(alone[0], together[1])


# --- released weights


def released_names(config):
    """A state dict under the authors' names: each tensor holds its own number."""
    sizes = MMN(config).state_dict()
    return {
        parts[0]: torch.full_like(sizes[ours], n) for n, (ours, parts) in enumerate(mmn_names(config).items())
    }


def test_released_weights_are_all_taken_and_what_is_missing_is_named(published):
    state = released_names(published)
    state["featpool.conv.weight"] = state["featpool.conv.weight"][..., None]
    model = from_official("mmn", state, published)
    assert model.loading == ((), (), ())
    for ours, parts in mmn_names(published).items():
        value = model.state_dict()[ours]
        assert torch.equal(value, state[parts[0]].reshape(value.shape)), ours
    old = state | {"text_encoder.bert.embeddings.position_ids": torch.arange(6)[None]}
    assert from_official("mmn", old, published).loading.dead == ("text_encoder.bert.embeddings.position_ids",)
    del state["text_encoder.fc_out1.bias"]
    with pytest.raises(ValueError, match=r"mmn: missing text_encoder\.fc_out1\.bias"):
        from_official("mmn", state, published)
    assert from_official("mmn", state, published, partial=True).loading.missing == (
        "text_encoder.fc_out1.bias",
    )


# --- data and training


def video_set(queries=None, **options):
    words = toy_words()
    return VideoDataset(
        toy_queries(12) if queries is None else queries,
        toy_features(),
        SMALL.clips,
        SMALL.cells,
        words,
        train_vocabulary(WORDS),
        **options,
    )


def test_a_batch_holds_each_video_once_with_all_of_its_sentences():
    queries = (
        Query("one", "A red star", "v0", ((2.0, 6.0),), 8.0),
        Query("two", "blue square", "v1", ((0.0, 4.0), (5.0, 6.0)), 8.0),
        Query("three", "star jumps", "v0", ((1.0, 3.0),), 8.0),
    )
    items = video_set(queries)
    assert len(items) == 2 and items.query_ids([1, 0]) == ["two", "two", "one", "three"]
    items.set_epoch(3)
    batch = items.collate([items[1], items[0]])
    assert batch["query_ids"] == ["two", "two", "one", "three"]
    assert batch["sentence_video"].tolist() == [0, 0, 1, 1] and batch["epoch"] == 3
    assert batch["texts"] == ["blue square", "blue square", "A red star", "star jumps"]
    assert torch.equal(batch["video"], torch.stack([items.video("v1"), items.video("v0")]))
    assert batch["moments_cell"].tolist() == [[0.0, 2.0], [2.5, 3.0], [1.0, 3.0], [0.5, 1.5]]


def test_what_is_asked_without_targets_holds_no_moment_and_shares_videos():
    blind = video_set().without_targets()
    assert isinstance(blind, VideoDataset) and len(blind) == len(blind.queries)
    batch = blind.collate([blind[n] for n in range(len(blind))])
    assert not {"moments_cell", "epoch", "annotation", "segment"} & batch.keys()
    assert batch["query_ids"] == [query.id for query in blind.queries]
    assert not any(query.moments for query in blind.queries)
    videos = list(dict.fromkeys(query.video_id for query in blind.queries))
    assert len(batch["video"]) == len(videos)
    assert [videos[row] for row in batch["sentence_video"]] == [query.video_id for query in blind.queries]


def test_negatives_are_refused():
    with pytest.raises(LoaderError, match=r"data\.negatives: this model compares whole videos, found 1"):
        video_set(negatives=1)


def test_it_trains_through_the_engine_and_comes_back_from_its_checkpoint(tmp_path):
    settings = TrainingSettings(
        batch_size=4, steps=4, learning_rate=1e-2, accumulation=2, device="cpu", evaluate_steps=2
    )
    items, rates = video_set(), []
    torch.manual_seed(0)
    model = replace(SMALL, contrast_epochs=1, text_rate=0.5).build()
    result = train(model, items, items, settings, tmp_path / "run", on_step=rates.append)
    assert result.steps == 4 and {"iou", "video", "sentence", "total"} == rates[0]["losses"].keys()
    found = checkpoints.load(tmp_path / "run").model
    assert found.config == model.config
    pairs = zip(predict(model, items), predict(found, items), strict=True)
    assert all((one.moments == other.moments).all() for one, other in pairs)


def test_material_puts_the_queries_of_a_video_together():
    config = read_config(CONFIGS / "mmn_stage.yaml", {"data.videos": 3, "data.train_videos": 4})
    material = Material(config, simulate=True)
    items, model = material.dataset("train"), new_model(material)
    assert isinstance(items, VideoDataset) and len(items) == 4
    queries = len(material.queries("train"))
    assert f"{queries} queries about 4 videos, {queries} moments" in describe_set("", items, material)
    batch = items.collate([items[number] for number in range(4)])
    assert len(batch["video"]) == 4 and len(batch["words"]) == queries
    assert model.loss(model(batch), batch)["total"].isfinite()


# --- configurations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 30}, "clips 30 are no multiple of cells 12"),
        ({"kernel": 4, "layers": 3}, "kernel 4, layers 3"),
        ({"pooling_counts": (7, 4)}, "pooling_counts: they reach 15 clips ahead, there are 12"),
        ({"iou_range": (0.5, 0.5)}, "iou_range: expected two numbers, rising"),
        ({"group": 0}, "group: expected a number above 0, found 0"),
        ({"temperature_video": 0.0}, "temperature_video: expected a number above 0, found 0.0"),
        ({"text_heads": 7}, "dim_text 64 is no multiple of text_heads 7"),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1, found 1.0"),
        ({"positives": 0}, "positives: expected a number above 0, found 0"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        MMNConfig.stage(**changes)


# videos in a batch, on a GPU, rate, epochs: section 1.8 of the specification
PUBLISHED = {"charades": (48, 12, 1e-4, 18), "activitynet": (48, 8, 8e-4, 18), "tacos": (4, 2, 1.5e-3, 250)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shipped_configurations_are_as_published(name):
    config = read_config(CONFIGS / f"mmn_{name}.yaml")
    model, training = config.model.config(), config.training
    assert model == getattr(MMNConfig, name)()
    batch, of_gpu, rate, epochs = PUBLISHED[name]
    assert (training.batch_size, training.learning_rate, training.epochs) == (batch, rate, epochs)
    assert model.group == of_gpu == training.batch_size // training.accumulation
    assert (training.clip_norm, training.seed) == (5, 25285)
    assert (model.dim, model.dim_maps, model.dim_joint, model.text_rate) == (512, 512, 256, 0.1)
    assert config.data.val not in config.data.test, "nothing is chosen on test"


def test_the_sizes_of_the_data_are_those_of_the_model():
    choice = read_config(CONFIGS / "mmn_stage.yaml").model
    assert "vocabulary" not in choice.fields and {"dim_video", "dim_words"} <= choice.fields
    assert choice.config(dim_video=7, dim_words=9) == MMNConfig.stage(dim_video=7, dim_words=9)

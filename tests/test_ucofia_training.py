"""UCoFiA through the engine: batches, training, checkpoints, several processes, figures and baselines."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scripts import run_script
from test_ucofia import CLIP, SMALL

from vmrlib import checkpoints
from vmrlib.cli import main
from vmrlib.configuration import PRESETS, read_config
from vmrlib.data.annotations import Query
from vmrlib.data.loaders import LoaderError
from vmrlib.data.text_video import TextVideoDataset
from vmrlib.engine.bert_adam import BertAdam
from vmrlib.engine.retrieving import chance, mean_pooling, metrics_of, retrieval_scores, retrieved
from vmrlib.models.clip import Clip
from vmrlib.models.sinkhorn import ReferenceSetError
from vmrlib.models.ucofia_config import ClipSizes
from vmrlib.retrieval_material import RetrievalMaterial
from vmrlib.training import TrainingError, TrainingSettings, train

ROOT = Path(__file__).resolve().parent.parent
TOY = replace(SMALL, clip=replace(CLIP, vision_layers=2), samples=10, block=8)
SETTINGS = TrainingSettings(
    steps=60, batch_size=8, learning_rate=5e-3, evaluate_steps=30, device="cpu", metric="text to video R@1"
)


def toy_set(number: int = 8, texts: int = 1) -> TextVideoDataset:
    """Videos of one colour each, and texts of which the second token names the colour; 29 ends a text."""
    frames = {f"v{n}": torch.full((3, 12, 12, 3), 30 * n % 256, dtype=torch.uint8) for n in range(number)}
    queries = [Query(f"q{n}", f"text {n}", f"v{n % number}", (), 1.0) for n in range(texts * number)]
    tokens = torch.tensor([[1, 2 + n % number, 3 + n // number, 29, 0] for n in range(texts * number)])
    return TextVideoDataset(queries, frames, tokens)


def toy_model():
    torch.manual_seed(0)
    return replace(TOY, clip_share=1.0).build()


def test_a_batch_holds_frames_and_tokens_of_pairs():
    items = toy_set(3, texts=2)
    batch = items.collate([items[4], items[2]])
    assert batch["query_ids"] == ["q4", "q2"] == items.query_ids([4, 2])
    assert batch["frames"].shape == (2, 3, 12, 12, 3) and batch["frames"].dtype == torch.uint8
    assert batch["frames"][:, 0, 0, 0, 0].tolist() == [30, 60] and batch["frame_mask"].all()
    assert batch["token_ids"].tolist() == [[1, 3, 4, 29, 0], [1, 4, 3, 29, 0]]
    assert items.truth.tolist() == [0, 1, 2, 0, 1, 2]
    assert [len(part["frames"]) for part in items.video_batches(2)] == [2, 1]


def test_texts_without_frames_or_tokens_are_named():
    query = Query("q", "a", "v", (), 1.0)
    with pytest.raises(LoaderError, match="query 'q': no frames of video 'v'"):
        TextVideoDataset([query], {}, torch.ones(1, 3, dtype=torch.long))
    with pytest.raises(LoaderError, match="tokens: 2 rows for 1 texts"):
        TextVideoDataset([query], {}, torch.ones(2, 3, dtype=torch.long))
    frames = {"v": torch.zeros(2, 4, 4, 3).byte(), "w": torch.zeros(3, 4, 4, 3).byte()}
    other = Query("r", "a", "w", (), 1.0)
    with pytest.raises(
        LoaderError, match=r"query 'r': frames of video 'w' are \(3, 4, 4, 3\), not \(2, 4, 4"
    ):
        TextVideoDataset([query, other], frames, torch.ones(2, 3, dtype=torch.long), length=2)
    frames["w"] = torch.zeros(2, 4, 5, 3).byte()
    with pytest.raises(
        LoaderError, match=r"query 'r': frames of video 'w' are \(2, 4, 5, 3\), not \(2, 4, 4"
    ):
        TextVideoDataset([query, other], frames, torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(LoaderError, match="query 'r': no frames of video 'w'"):
        TextVideoDataset([query, other], {"v": frames["v"]}, torch.ones(2, 3, dtype=torch.long))


def test_a_shorter_video_is_filled_up():
    frames = {"v": torch.full((1, 2, 2, 3), 9).byte(), "w": torch.full((2, 2, 2, 3), 7).byte()}
    queries = [Query(name, "a", name, (), 1.0) for name in "vw"]
    tokens = torch.ones(2, 3, dtype=torch.long)
    for length, masks in ((None, [[1, 0], [1, 1]]), (3, [[1, 0, 0], [1, 1, 0]])):
        items = TextVideoDataset(queries, frames, tokens, length)
        (batch,) = items.video_batches(2)
        again = items.collate([items[0], items[1]])
        for found in (batch, again):
            assert found["frame_mask"].tolist() == masks and found["frame_mask"].dtype == torch.bool
            assert found["frames"][0, :, 0, 0, 0].tolist() == [9] + [0] * (len(masks[0]) - 1)


def test_what_inference_is_given_holds_no_moments():
    query = Query("q", "a", "v", ((1.0, 2.0),), 4.0, extra={"clips": [1]})
    items = TextVideoDataset(
        [query], {"v": torch.zeros(1, 2, 2, 3).byte()}, torch.ones(1, 3, dtype=torch.long)
    )
    assert items.queries[0].moments == () and items.queries[0].extra == {}
    assert items[0].keys() == {"query_ids", "samples", "frames", "frame_mask", "token_ids"}


def test_a_trained_model_finds_the_videos_that_it_sees_and_no_others(tmp_path):
    items, model = toy_set(), toy_model()
    result = train(model, items, items, SETTINGS, tmp_path / "run")
    assert result.metrics["text to video R@1"] >= 75, result.metrics  # 12.5 by chance
    found = checkpoints.load(tmp_path / "run").model
    assert found.config == model.config
    scores = retrieval_scores(found, items)
    torch.testing.assert_close(scores, retrieval_scores(model, items))
    assert metrics_of(scores, items)["text to video R@1"] == result.metrics["text to video R@1"]

    # other frames under each name: the model finds where the frames went, and not by name
    names = list(items.video_ids)
    moved = {name: items.frames[names[n - 1]] for n, name in enumerate(names)}
    blind = metrics_of(retrieval_scores(model, TextVideoDataset(items.queries, moved, items.tokens)), items)
    assert blind["text to video R@1"] <= 25

    # the sentences of others under each query: the model follows what is said, and not the query's place
    swapped = TextVideoDataset(items.queries, items.frames, items.tokens.roll(1, dims=0))
    blind = metrics_of(retrieval_scores(model, swapped), items)
    assert blind["text to video R@1"] <= 25 and blind["video to text R@1"] <= 25


@pytest.mark.parametrize("noisy", [False, True])
def test_biases_from_training_are_another_protocol_than_none_or_those_of_the_test(noisy):
    model, test = replace(TOY, noisy_evaluation=noisy).build(), toy_set(6, texts=2)
    queries = [replace(q, id=f"t{q.id}", video_id=f"t{q.video_id}") for q in test.queries[:6]]
    frames = {f"t{name}": 255 - value for name, value in test.frames.items()}
    train_set = TextVideoDataset(queries, frames, test.tokens[:6])
    without, with_biases = retrieved(model, test), retrieved(model, test, reference=train_set)
    assert without.protocol == "no bias" and with_biases.protocol == "training queries"
    assert without.video_bias.eq(0).all() and with_biases.video_bias.ne(0).all()
    with pytest.raises(ReferenceSetError, match="reference texts: 'q0' is one of the test"):
        retrieved(model, test, reference=test)
    assert retrieved(model, test, reference=test, transductive=True).protocol == "transductive"


def test_bert_adam_gets_gradients_that_are_clipped_together_before(monkeypatch):
    norms, step = [], BertAdam.step

    def noting(optimiser):
        gradients = [
            p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None
        ]
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())
        step(optimiser)

    monkeypatch.setattr(BertAdam, "step", noting)
    settings = replace(SETTINGS, steps=1, optimizer="bert_adam", clip_norm=1)
    result = train(toy_model(), toy_set(), None, settings)
    assert result.log[0]["gradient_norm"] > 2
    assert norms == [pytest.approx(1.0, rel=1e-4)]


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(TrainingError, match=r"training\.metric: 'mIoU' is no metric of what is trained here"):
        train(toy_model(), toy_set(), None, replace(SETTINGS, metric="mIoU"))


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    settings, items = replace(SETTINGS, steps=4, save_steps=1, evaluate_steps=2), toy_set()
    whole = train(toy_model(), items, items, settings, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(record):
        if record["step"] == 3 and "losses" in record:
            raise KilledError

    with pytest.raises(KilledError):
        train(toy_model(), items, items, settings, tmp_path / "killed", on_step=kill)
    again = train(toy_model(), items, items, settings, tmp_path / "killed", resume=True)
    assert again.metrics == whole.metrics and again.steps == whole.steps == 4
    _, weights, _ = checkpoints.read(tmp_path / "whole/last.json")
    _, resumed, _ = checkpoints.read(tmp_path / "killed/last.json")
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_chance_is_what_scores_without_meaning_reach():
    items = toy_set(40, texts=2)
    generator = torch.Generator().manual_seed(0)
    drawn = [metrics_of(torch.rand(80, 40, generator=generator), items) for _ in range(200)]
    for name, value in chance(40).items():
        mean = sum(each[name] for each in drawn) / len(drawn)
        assert mean == pytest.approx(value, rel=0.1), name


def test_mean_pooling_is_the_cosine_of_a_sentence_and_of_all_frames():
    clip = Clip.stage()
    frames = {name: torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8) for name in "ab"}
    queries = [Query(name, "a red star", name, (), 1.0) for name in "ab"]
    items = TextVideoDataset(queries, frames, clip.tokenize(["a red star", "a big square"], 20))
    sentence = clip.encode_sentences(["a big square"], 20).sentence[0]
    seen = torch.nn.functional.normalize(clip.encode_frames(frames["a"]).frame, dim=-1).mean(dim=0)
    expected = torch.cosine_similarity(sentence, seen, dim=0)
    torch.testing.assert_close(mean_pooling(clip, items)[1, 0], expected)
    padded = TextVideoDataset(queries, frames, items.tokens, length=4)
    torch.testing.assert_close(mean_pooling(clip, padded), mean_pooling(clip, items))


def test_sizes_of_stage_are_those_of_its_clip():
    ours, clip = ClipSizes.stage(), Clip.stage().model.config
    for tower in ("vision", "text"):
        there = getattr(clip, f"{tower}_config")
        sizes = (there.hidden_size, there.num_attention_heads, there.num_hidden_layers)
        assert sizes == tuple(getattr(ours, f"{tower}_{name}") for name in ("width", "heads", "layers"))
    assert (clip.vision_config.image_size, clip.vision_config.patch_size) == (64, 16)
    assert (clip.text_config.vocab_size, clip.text_config.max_position_embeddings) == (ours.vocabulary, 24)


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> Path:
    """Where toy_gathering.py left what two processes found."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("processes")
    run_script("toy_gathering.py", folder)
    return folder


@pytest.mark.parametrize("share", ["shared", "same"])
def test_two_processes_get_the_gradients_of_one(processes, share):
    one = torch.load(processes / f"{share}-one.pt")
    for rank in range(2):
        for name, value in torch.load(processes / f"{share}-{rank}.pt").items():
            torch.testing.assert_close(value, one[name], rtol=1e-6, atol=1e-9, msg=f"{rank} {name}")


def test_two_processes_go_by_the_same_evaluations_whatever_noise_each_draws(processes):
    one, other = (json.loads((processes / f"trained-{rank}.json").read_text()) for rank in range(2))
    assert one["metrics"] == other["metrics"] and one["steps"] == other["steps"] == 3
    # the third batch is one sample, which both processes have: it has no other to be mistaken for
    assert one["losses"][2] == other["losses"][2] == 0 and one["losses"][0] > 1


def test_stage_is_trained_on_and_judged_from_the_command_line(tmp_path, capsys):
    command = ["train", "--config", str(ROOT / "configs/ucofia_stage.yaml"), "--device", "cpu"]
    for change in ("data.videos=5", "training.steps=2", "training.batch_size=4", "training.warmup_steps=1"):
        command += ["--set", change]
    assert main([*command, "--out", str(tmp_path / "run"), "--evaluate"]) == 0
    out = capsys.readouterr().out
    again = [*command, "--out", str(tmp_path / "run"), "--resume", "--json", "--evaluate", "test-iid"]
    protocols = {"train": "training queries", "test": "transductive"}
    for biases, protocol in protocols.items():
        assert main([*again, "--biases", biases]) == 0
        report = json.loads(capsys.readouterr().out)["splits"]["test-iid"]
        assert report["figures"]["protocol"] == protocol
        assert report["baselines"].keys() == {"no bias", "mean pooling", "chance"}
    assert main([*again, "train", "--biases", "train"]) == 1
    assert "--biases train: the training split itself" in capsys.readouterr().err
    assert "test-iid: " in out and ", no bias, in retrieved-test-iid.jsonl" in out
    assert "about 5 videos" in out and "8 of each video, 64 x 64" in out
    assert out.count("mean pooling") == out.count("chance") == 2 and "video to text" in out
    lines = (tmp_path / "run/retrieved-test-iid.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        assert 1 <= line["rank"] <= 5 and len(line["videos"]) == 5
        assert (line["videos"][0] == line["vid"]) == (line["rank"] == 1)
    found = checkpoints.load(tmp_path / "run")
    assert found.model.tokenize(["a red star"]).shape == (1, 20)
    assert found.about["words_from"] == "CLIP: stage" and found.about["features"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.dataset=tacos", "data.dataset: 'tacos' has no frames here"),
        ("data.negatives=1", "data.negatives: expected 0 for retrieval, found 1"),
        ("features=[{extractor: stage-clip}]", "features: this model reads frames"),
        ("model.pretrained=null", "model.pretrained: without a CLIP"),
        ("model.clip=null", "model.pretrained: without a CLIP"),
        ("model.clip={shifts: [1]}", "model.clip.shifts: unknown key"),
        ("model.clip.vision_layers=3", "clip.vision_layers is 3, but 2 in the CLIP to begin with"),
        ("model.patches=17", "patches 17 exceed CLIP's 16 of a frame"),
        ("training.metric=mIoU", "training.metric: 'mIoU' is no metric of what is trained here"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path, capsys, change, message):
    command = ["train", "--config", str(ROOT / "configs/ucofia_stage.yaml"), "--set", "data.videos=2"]
    assert main([*command, "--out", str(tmp_path / "run"), "--set", change]) == 1
    assert message in capsys.readouterr().err


def test_a_part_of_the_sizes_of_clip_may_differ():
    config = PRESETS["ucofia_stage"]()
    assert config.clip.shifts == (1,) and PRESETS["ucofia_msrvtt"]().clip.shifts == (10, 11)


def test_another_configuration_of_the_same_data_is_of_the_same_kind_and_shares_frames():
    config = read_config(ROOT / "configs/ucofia_stage.yaml", {"data.videos": 2})
    material = RetrievalMaterial(config)
    other = material.variant(replace(config, training=replace(config.training, seed=1)))
    assert isinstance(other, RetrievalMaterial)
    assert other.dataset("val").frames is material.dataset("val").frames

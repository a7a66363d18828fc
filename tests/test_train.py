"""`python -m vmrlib train`: from a configuration to a checkpoint, on Stage, own data, and TACoS' queries."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vmrlib import checkpoints
from vmrlib.cli import main
from vmrlib.configuration import read_config
from vmrlib.data.annotations import Query, read_jsonl, write_jsonl
from vmrlib.data.predictions import read_predictions
from vmrlib.data.store import Features, FeatureStore
from vmrlib.material import Material, MaterialError, letter_vectors, notebook_material
from vmrlib.models.msat import MSATConfig
from vmrlib.text import WordVectors
from vmrlib.training import read_log

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SMALL = {"model.dim": 16, "model.dim_ffn": 16, "model.dim_head": 16, "model.layers": 1, "model.heads": 2}
SETS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A folder with features of four videos and queries about them, and configs/own.yaml beside them."""
    monkeypatch.chdir(tmp_path)
    store = FeatureStore.create(tmp_path / "features/mine", {"extractor": "toy", "dim": 5, "stride": 1.0})
    for name in "abcd":
        rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(ord(name)))
        store.add(name, Features(rows, torch.arange(20.0) + 0.5, 1.0, 20.0))
    for split, videos in (("train", "ab"), ("val", "c"), ("test", "d")):
        queries = [
            Query(f"{split}{video}{n}", f"somebody opens door {n}", video, ((float(n), n + 4.0),), 20.0)
            for video in videos
            for n in range(6)
        ]
        write_jsonl(tmp_path / f"mine-{split}.jsonl", queries)
    (tmp_path / "own.yaml").write_text((CONFIGS / "own.yaml").read_text(encoding="utf-8"))
    return tmp_path


def call(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["train", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_own_data_from_store_to_predictions(own, capsys):
    command = ("--config", "own.yaml", "--out", "run", *SETS, "--set", "training.epochs=2", "--device", "cpu")
    code, out, _ = call(capsys, *command, "--evaluate", "mine-test.jsonl")
    assert code == 0
    assert "12 queries about 2 videos, 12 moments" in out and "features toy (5)" in out.replace(
        "clip:toy", "toy"
    )
    assert "constant window" in out and "mine-test.jsonl: 6 queries" in out
    assert len(read_predictions(own / "run/predictions-mine-test.jsonl")) == 6
    found = checkpoints.load(own / "run")
    assert found.about["dataset"]["train"] == "mine-train.jsonl" and found.about["words_from"] == "letters"
    assert found.about["features"][0]["dim"] == 5 and str(own) not in json.dumps(found.about)
    assert "door" in found.words and found.model.config.dim_video == 5

    code, out, _ = call(capsys, *command, "--resume", "--json")
    report = json.loads(out)
    assert code == 0 and report["already_finished"] and report["steps"] == 2 and report["label"] == ""
    code, _, error = call(capsys, *command)
    assert code == 1 and "there is a run of 2 steps already" in error and error.count("\n") == 1
    code, _, error = call(capsys, *command, "--resume", "--seed", "4")
    assert code == 1 and "seed is 0 there, 4 here" in error


def test_a_run_can_start_from_the_weights_of_another_one(own, capsys):
    command = ("--config", "own.yaml", *SETS, "--device", "cpu")
    assert call(capsys, *command, "--out", "first", "--set", "training.epochs=2")[0] == 0
    code, _, error = call(
        capsys, *command, "--set", "training.epochs=1", "--set", "training.learning_rate=1e-12",
        "--out", "second", "--start-from", "first",
    )  # fmt: skip
    assert code == 0, error
    first, second = checkpoints.load(own / "first"), checkpoints.load(own / "second")
    for name, value in first.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, atol=1e-6, rtol=0)
    assert second.about["started_from"] == {
        "step": first.about["step"],
        "sha256": first.about["weights"]["sha256"],
    }

    code, _, error = call(capsys, *command, "--out", "third", "--start-from", "first", "--set", "model.dim=8")
    assert code == 1 and "another model: dim is 16, not 8" in error and not (own / "third").exists()


def test_weights_for_other_features_or_words_do_not_start_a_run(own, capsys):
    command = ("--config", "own.yaml", *SETS, "--device", "cpu", "--set", "training.epochs=1")
    assert call(capsys, *command, "--out", "first")[0] == 0
    glove(own, [*"abc", "somebody", "opens", "door"], dim=300)
    code, _, error = call(
        capsys, *command, "--out", "x", "--start-from", "first", "--words", "glove.txt",
        "--features", "simulated",
    )  # fmt: skip
    assert code == 1 and "words_from is letters, not glove.txt" in error
    assert "features is clip:toy (5," in error and not (own / "x").exists()


def glove(folder: Path, words: list[str], dim: int = 3) -> Path:
    path = folder / "glove.txt"
    path.write_text("".join(f"{word} {' '.join([str(n + 1)] * dim)}\n" for n, word in enumerate(words)))
    return path


@pytest.mark.parametrize("kind", ["txt", "npz"])
def test_of_a_large_file_the_first_words_are_kept_and_those_of_all_splits(own, monkeypatch, kind):
    monkeypatch.setattr("vmrlib.sources.MOST_WORDS", 3)
    words = ["the", "of", "an hour", "rare", "door", "never", "somebody", "cake"]
    path = glove(own, words)
    if kind == "npz":
        vectors = WordVectors.from_text(path)
        path = own / "glove.npz"
        np.savez(path, words=np.array(words), vectors=vectors(words).numpy())
    write_jsonl(own / "more.jsonl", [Query("m", "a cake", "d", ((0.0, 4.0),), 20.0)])
    config = read_config(own / "own.yaml", {"words": str(path)})
    first = words[:3]
    for others, kept in {
        (): [*first, "door", "somebody"],
        ("more.jsonl",): [*first, "door", "somebody", "cake"],
    }.items():
        assert list(Material(config, others=others).words.vocabulary.words) == kept


def test_a_run_does_not_go_on_with_other_annotations_but_may_be_judged_on_others(own, capsys):
    glove(own, ["somebody", "opens", "door", "cake"])
    command = ("--config", "own.yaml", "--out", "run", *SETS, "--set", "training.epochs=1", "--device", "cpu")
    command = (*command, "--words", "glove.txt")
    code, out, _ = call(capsys, *command, "--resume")
    assert code == 0 and "no run in run: starting" in out
    blind = [Query(f"b{n}", "a cake", "d", (), 20.0) for n in range(2)]
    write_jsonl(own / "blind.jsonl", blind)
    code, out, error = call(capsys, *command, "--resume", "--evaluate", "blind.jsonl", "mine-test.jsonl")
    assert code == 0 and "blind.jsonl: queries without moments, no figures" in out, error
    assert len(read_predictions(own / "run/predictions-blind.jsonl")) == 2 and "no run" not in out
    code, out, _ = call(capsys, *command, "--resume", "--evaluate")
    assert code == 0 and "mine-test.jsonl: 6 queries" in out

    val = read_jsonl(own / "mine-val.jsonl")
    write_jsonl(own / "mine-val.jsonl", [replace(val[0], moments=((0.0, 5.0),)), *val[1:]])
    code, _, error = call(capsys, *command, "--resume")
    assert code == 1 and "dataset.val_sha256 is" in error
    code, _, error = call(capsys, *command, "--resume", "--set", "data.negatives=1")
    assert code == 1 and "dataset.negatives is 0 there, 1 here" in error


def test_empty_splits_and_wrong_splits_are_named_before_anything_is_done(own, capsys):
    command = ("--config", "own.yaml", *SETS, "--device", "cpu")
    (own / "empty.jsonl").write_text("")
    outside = [Query("o", "a door opens", "c", ((30.0, 40.0),), 20.0)]
    for arguments, message in {
        ("--set", "data.train=empty.jsonl"): "empty.jsonl: there is no query in it",
        ("--set", "data.val=empty.jsonl"): "empty.jsonl: there is no query in it",
        ("--evaluate", "empty.jsonl"): "empty.jsonl: there is no query in it",
        ("--evaluate", "nowhere.jsonl"): "nowhere.jsonl",
        ("--set", "data.test=[]", "--evaluate"): "own.yaml: data.test names no split for --evaluate",
    }.items():
        code, _, error = call(capsys, *command, "--out", "run", *arguments)
        assert code == 1 and message in error and error.count("\n") == 1 and not (own / "run").exists()
    for split in ("train", "val"):
        code, _, error = call(capsys, *command, "--plan", "--set", f"data.{split}=empty.jsonl")
        assert code == 1 and "empty.jsonl: there is no query in it" in error
    config = read_config(own / "own.yaml")
    material = Material(config)
    material._splits["mine-train.jsonl"] = outside
    with pytest.raises(MaterialError, match="no moment of it is inside of its video"):
        material.dataset("mine-train.jsonl")


def test_a_plan_needs_no_out_and_writes_nothing(own, capsys):
    before = sorted(own.rglob("*"))
    code, out, _ = call(capsys, "--config", "own.yaml", "--plan", "--json", *SETS, "--device", "cpu")
    plan = json.loads(out)
    assert code == 0 and sorted(own.rglob("*")) == before
    # 12 queries in batches of 32: a step an epoch, and an evaluation after each
    assert (plan["steps"], plan["evaluations"], plan["train_queries"], plan["val_queries"]) == (30, 30, 12, 6)
    tables = 53 * 16 * 4 + 78 * 2 * 8  # positions, candidates: what the model holds and does not learn
    assert plan["training_bytes"] == 16 * plan["parameters"] + tables and plan["hours"] > 0
    assert plan["videos_bytes"] == (2 + 1) * MSATConfig.stage().clips * 5 * 4
    assert plan["activations_bytes"] > 32 * MSATConfig.stage().points * 16 * 4, "the points of 32 videos"
    code, out, _ = call(capsys, "--config", "own.yaml", "--plan", *SETS, "--device", "cpu")
    assert [line.split()[0] for line in out.splitlines()] == ["parameters", "memory", "steps", "time"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "training.batch=3"), "own.yaml: training.batch: unknown key"),
        (("--set", "data.dataset=mine"), "data.dataset: expected one of stage, own, tacos"),
        (("--fraction", "2"), "data.fraction: expected a number in 0..1, found 2.0"),
        (("--features", "nowhere"), "nowhere: no feature store"),
        (("--words", "nowhere.txt"), "nowhere.txt: no such file"),
        (("--set", "features=[{extractor: baseline}]"), "features.0.extractor: only Stage is extracted"),
        (("--set", "features=[{simulated: x}]"), "no layout 'x'"),
        (("--set", "model.dim_video=7"), "model.dim_video is 7, but the data has 5"),
        ((), "--out is needed"),
    ],
)
def test_mistakes_are_told_in_one_line(own, capsys, arguments, message):
    out = ("--out", "run") if arguments else ()
    code, _, error = call(capsys, "--config", "own.yaml", *out, *arguments)
    assert code == 1 and message in error and error.count("\n") == 1


def test_stage_with_simulated_features_says_so_everywhere(tmp_path, capsys):
    code, out, _ = call(
        capsys, "--config", CONFIGS / "stage.yaml", "--out", tmp_path, "--features", "simulated", *SETS,
        "--set", "data.videos=6", "--set", "training.steps=3", "--device", "cpu", "--evaluate", "val",
    )  # fmt: skip
    assert code == 0 and "simulated features: noise in the place of the video" in out
    assert "features simulated " in out and "MSAT (simulated features)" in out
    assert all(record["label"] == "simulated features" for record in read_log(tmp_path))
    about = checkpoints.read(tmp_path)[0]
    assert about["label"] == "simulated features" and about["features"][0]["spec"].startswith("simulated ")
    assert about["dataset"]["hash"] and about["dataset"]["split"] == "train"
    assert (tmp_path / "predictions-val-simulated.jsonl").is_file()


def test_a_fraction_is_drawn_by_seed_and_keeps_the_vocabulary():
    simulated = [{"simulated": "x", "dim": 4, "seconds_per_clip": 1.0}]
    changes = {"data.videos": 10, "features": simulated}
    whole = Material(read_config(CONFIGS / "stage.yaml", changes))
    half, same, other = (
        Material(read_config(CONFIGS / "stage.yaml", changes | {"data.fraction": 0.5, "training.seed": seed}))
        for seed in (0, 0, 1)
    )
    ids = [[query.id for query in each.queries("train")] for each in (whole, half, same, other)]
    assert len(ids[1]) == round(len(ids[0]) / 2) and set(ids[1]) < set(ids[0])
    assert ids[1] == ids[2] != ids[3]
    assert half.vocabulary.words == whole.vocabulary.words and half.queries("val") == whole.queries("val")


def test_letters_give_every_word_its_own_direction():
    vectors, other = letter_vectors(["dog", "cat"]), letter_vectors(["cat"])
    assert torch.equal(vectors(["cat"]), other(["cat"]))
    assert vectors(["dog", "cat"]).norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert abs(float(vectors(["dog"])[0] @ vectors(["cat"])[0])) < 0.3
    assert not vectors(["unheard"]).any()


def test_notebooks_get_the_dataset_that_the_environment_names(monkeypatch, mirror):
    monkeypatch.delenv("VMRLIB_DATASET", raising=False)
    assert notebook_material(data__videos=4).config.data.dataset == "stage"
    monkeypatch.setenv("VMRLIB_DATASET", "tacos")
    monkeypatch.setenv("VMRLIB_MIRROR", str(mirror))
    material = notebook_material(data__fraction=0.01, training__epochs=1)
    assert material.label == "simulated features" and len(material.queries("train")) == 98
    assert material.words.dim == 300 and material.model_config.vocabulary == 1514
    assert len(material.dataset("val")) == 4436
    monkeypatch.setenv("VMRLIB_DATASET", "tvr2")
    with pytest.raises(MaterialError, match=r"there are configurations for .*activitynet, .*own, .*stage"):
        notebook_material()

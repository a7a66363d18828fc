"""Checkpoints: what is written comes back, and what is damaged is named."""

import json

import pytest
import torch
from toy_training import WORDS, tiny_msat, toy_words

from vmrlib import checkpoints
from vmrlib.checkpoints import CheckpointError
from vmrlib.data.loaders import train_vocabulary


@pytest.fixture
def saved(tmp_path):
    model, words, vocabulary = tiny_msat(), toy_words(), train_vocabulary(WORDS)
    about = checkpoints.describe(model, words, vocabulary, step=7, metrics={"mIoU": 12.5}, dataset="toy")
    checkpoints.write(tmp_path, "best", about, checkpoints.weights_of(model, words))
    return tmp_path, model


def rewrite(folder, **changes):
    about = json.loads((folder / "best.json").read_text())
    (folder / "best.json").write_text(json.dumps(about | changes))


def test_a_model_comes_back_with_its_words(saved):
    folder, model = saved
    for path in (folder, folder / "best.json"):
        found = checkpoints.load(path)
        assert not found.model.training and found.model.config == model.config
        weights = model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in found.model.state_dict().items())
        assert torch.equal(found.words.table, toy_words().table) and "star" in found.words
        assert found.vocabulary.words == train_vocabulary(WORDS).words
        assert found.about["step"] == 7 and found.about["metrics"] == {"mIoU": 12.5}
        assert found.about["model"] == "msat" and found.about["weights"]["file"].startswith("best-")


def test_a_new_checkpoint_replaces_the_old_one_and_its_files(saved):
    folder, model = saved
    about = checkpoints.describe(model, toy_words(), train_vocabulary(WORDS), step=8)
    (folder / ".left-by-a-killed-one.tmp").write_text("half")
    (folder / "last-12345678.safetensors").write_text("of another checkpoint")
    with torch.no_grad():
        model.hidden_word += 1
    checkpoints.write(folder, "best", about, checkpoints.weights_of(model, toy_words()))
    assert checkpoints.load(folder).about["step"] == 8
    names = sorted(path.name for path in folder.iterdir())
    assert (
        len(names) == 3
        and names[0].startswith("best-")
        and names[1:] == ["best.json", "last-12345678.safetensors"]
    )


def test_the_run_folder_of_a_run_without_evaluations_is_its_last(tmp_path):
    model, words = tiny_msat(), toy_words()
    about = checkpoints.describe(model, words, train_vocabulary(WORDS))
    state = {"random.0": torch.get_rng_state()}
    checkpoints.write(tmp_path, "last", about, checkpoints.weights_of(model, words), state)
    assert checkpoints.load(tmp_path).model.config == model.config
    assert torch.equal(checkpoints.read(tmp_path)[2]["random.0"], state["random.0"])


def test_missing_and_damaged_files_are_named(saved):
    folder, _ = saved
    with pytest.raises(CheckpointError, match=r"nowhere.json: no checkpoint"):
        checkpoints.load(folder / "nowhere.json")
    with pytest.raises(CheckpointError, match=r"best.json: no checkpoint"):
        (folder / "empty").mkdir()
        checkpoints.load(folder / "empty")
    (weights,) = folder.glob("best-*.safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=rf"{weights.name}: damaged"):
        checkpoints.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=rf"{weights.name}: no such file, best.json names it"):
        checkpoints.load(folder)
    (folder / "best.json").write_text('{"format": ')
    with pytest.raises(CheckpointError, match=r"best.json: damaged"):
        checkpoints.load(folder)
    (folder / "best.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"format 'list'"):
        checkpoints.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "format 99, this version reads format 1"),
        (
            {"model": "mmn2"},
            "field \"model\": expected one of msat, acb, mmn, ucofia, reloclnet, found 'mmn2'",
        ),
        ({"config": {"depth": 3}}, 'field "config.depth" is unknown to MSATConfig'),
        ({"config": {"clips": 8}}, 'field "config.stride" is missing'),
        ({"config": None}, 'field "config": expected an object, found None'),
        ({"words": ["one", "one"]}, "its words cannot be used"),
        ({"vocabulary": ["a", "a"]}, "its words cannot be used"),
        ({"weights": {}}, 'field "weights" is missing or names no file'),
    ],
)
def test_what_the_json_says_wrongly_is_named(saved, changes, message):
    folder, _ = saved
    rewrite(folder, **changes)
    with pytest.raises(CheckpointError) as error:
        checkpoints.load(folder)
    assert message in str(error.value) and "best.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_config_of_other_sizes_does_not_fit_the_weights(saved):
    folder, _ = saved
    config = json.loads((folder / "best.json").read_text())["config"]
    rewrite(folder, config=config | {"dim": 16})
    with pytest.raises(CheckpointError, match="the weights do not fit its config") as error:
        checkpoints.load(folder)
    assert "\n" not in str(error.value)
    rewrite(folder, config=config | {"stride": 3})
    with pytest.raises(CheckpointError, match="no model can be built"):
        checkpoints.load(folder)


def test_official_weights_are_loaded_from_here():
    from vmrlib.models import official

    assert checkpoints.from_official is official.from_official
    with pytest.raises(AttributeError):
        checkpoints.nothing  # noqa: B018

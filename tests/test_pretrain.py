"""What the tiny CLIP saw, that its training works, and that the shipped weights are as good as said."""

import json
import re
from pathlib import Path

import pytest
import torch

from vmrlib.data.stage import world
from vmrlib.data.stage.captions import PHRASES, UNSEEN_NOUNS, UNSEEN_PHRASES, vocabulary
from vmrlib.data.stage.world import KITCHEN, SCENES, UNSEEN_PAIRS, UNSEEN_SCENES, VERSION
from vmrlib.models import stage_clip as pretrain
from vmrlib.models.clip import STAGE_WEIGHTS, Clip
from vmrlib.models.stage_clip import quality, sample, samples, train

WEIGHTS = Path(world.__file__).with_name("weights")
MAKE = "python -m vmrlib.models.stage_clip --out vmrlib/data/stage/weights"
FRESH = (90_000, 90_256)  # numbers of samples that no training has used


@pytest.fixture(scope="module")
def manifest() -> dict:
    try:
        return json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        pytest.fail(f"the weights of the tiny CLIP are missing: {MAKE}")


# ---- what it saw ----------------------------------------------------------------------------------


def test_it_saw_one_frame_of_each_video_and_of_no_video_of_a_split(manifest):
    assert manifest["stage"] == VERSION
    assert len(manifest["seen"]) == manifest["frames"] == sum(manifest["scenes"].values())
    assert manifest["frames"] >= 10_000
    assert all(re.fullmatch(r"pretrain-\d{5}", video) for video in manifest["seen"])
    assert all(isinstance(ms, int) for ms in manifest["seen"].values())
    assert FRESH[0] > max(int(video[-5:]) for video in manifest["seen"])


def test_it_saw_no_unseen_scene(manifest):
    assert set(manifest["scenes"]) == {*SCENES, KITCHEN} - set(UNSEEN_SCENES)


def test_it_saw_no_unseen_composition(manifest):
    assert not set(manifest["pairs"]) & {f"{shape} {verb}" for shape, verb in UNSEEN_PAIRS}
    assert {pair.split()[0] for pair in manifest["pairs"]} == {shape for shape, _ in UNSEEN_PAIRS}


def test_it_read_no_verb_and_no_unseen_word(manifest):
    read = set(manifest["words"])
    assert read <= set(vocabulary())
    phrases = " ".join(
        text for table in (PHRASES, UNSEEN_PHRASES) for texts in table.values() for text in texts
    )
    places = {"the", "to", "right", "left", "in", "from", "of", "up", "down", "on", "and", "a", "is", "next"}
    verbs = set(re.findall(r"[a-z]+", re.sub(r"{\w}", " ", phrases))) - places
    assert not read & verbs
    assert not read & {noun for nouns in UNSEEN_NOUNS.values() for noun in nouns}


def test_the_manifest_tells_the_truth_about_its_rows(manifest):
    for video in list(manifest["seen"])[:: len(manifest["seen"]) // 60]:
        script, time, _ = sample(int(video[-5:]))
        assert script.video_id == video
        assert round(1000 * time) == manifest["seen"][video], f"made by another version: {MAKE}"


# ---- samples --------------------------------------------------------------------------------------


def test_a_sample_depends_on_its_number_alone():
    frames, captions, rows = samples(5, 8)
    again, same, _ = samples(7, 8)
    assert torch.equal(frames[2], again[0])
    assert captions[2] == same[0]
    assert len({row["video"] for row in rows}) == 3
    assert frames.shape == (3, 64, 64, 3) and frames.dtype == torch.uint8
    assert all(len(texts) == pretrain.CAPTIONS_PER_FRAME for texts in captions)


def test_the_mirror_of_a_caption_swaps_left_and_right():
    text = "a red star on the left and a big circle on the right"
    assert pretrain._mirror(text) == "a red star on the right and a big circle on the left"
    assert pretrain._mirror(pretrain._mirror(text)) == text


# ---- training -------------------------------------------------------------------------------------


def test_a_short_run_learns(monkeypatch):
    monkeypatch.setattr(pretrain, "BATCH", 64)
    torch.manual_seed(0)
    frames, captions, _ = samples(0, 320)
    clip = Clip.untrained_stage(vocabulary())
    losses = train(clip, frames, captions, epochs=4)
    early, late = sum(losses[:4]) / 4, sum(losses[-4:]) / 4
    print(f"loss {early:.2f} -> {late:.2f}")
    assert late < early - 0.25


def test_quality_of_a_perfect_and_of_a_constant_model():
    class Model:
        def __init__(self, perfect):
            self.perfect = perfect

        def encode_frames(self, frames):
            eye = torch.eye(4) if self.perfect else torch.ones(4, 4)
            return type("Features", (), {"frame": eye})

        def encode_sentences(self, texts):
            rows = [
                torch.eye(4)[TEXTS.index(text)] if text in TEXTS else torch.zeros(4) + 1e-6 for text in texts
            ]
            return type(
                "Features", (), {"sentence": torch.stack(rows) if self.perfect else torch.ones(len(texts), 4)}
            )

    TEXTS = ["a star on the left", "a circle on the right", "a square low down", "a star at night"]
    captions = [[text] for text in TEXTS]
    assert quality(Model(True), torch.zeros(4), captions) == {"R@1": 1, "R@5": 1, "left_or_right": 1}
    assert quality(Model(False), torch.zeros(4), captions) == {
        "R@1": 0,
        "R@5": 1,
        "left_or_right": 0,
    }  # ties lose


def test_the_shipped_weights_are_as_good_as_promised(manifest):
    clip = Clip.stage().eval()
    frames, captions, _ = samples(*FRESH)
    measured = quality(clip, frames, captions)
    print(measured)
    assert measured["R@1"] >= 0.40
    assert measured["left_or_right"] >= 0.75
    said = manifest["measured_on_held_out_frames"]
    assert all(abs(measured[name] - said[name]) < 0.12 for name in said)


def test_the_script_writes_what_ships(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pretrain", "--out", str(tmp_path), "--frames", "64", "--epochs", "1"])
    monkeypatch.setattr(pretrain, "HELD_OUT", 16)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    pretrain.main()
    assert set(json.loads(capsys.readouterr().out)) == {"R@1", "R@5", "left_or_right"}
    names = {path.name for path in tmp_path.iterdir()}
    assert {STAGE_WEIGHTS, "config.json", "vocabulary.json", "manifest.json"} <= names
    assert not [name for name in names if name.endswith((".tmp", ".part"))]
    told = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert len(told["seen"]) == told["frames"] == 64

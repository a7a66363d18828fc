"""Features of Stage: cached under what they depend on, noise as asked for, and the oracle's view."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stage_splits import split

from vmrlib.data.stage.world import COLOURS, SHAPES
from vmrlib.features import load_extractor
from vmrlib.features import stage as module
from vmrlib.features.stage import cache_folder, oracle_features, stage_features, video_features

PART = split("open", "val", 3)


class Mean:
    """The mean colour of a clip; counts how many clips it has seen."""

    name, dim, size, frames_per_clip, seconds_per_clip, stride = "mean", 3, 64, 2, 2.0, 2.0

    def __init__(self, setting=0):
        self.seen, self.setting = 0, setting

    def metadata(self):
        return {"extractor": self.name, "setting": self.setting}

    def __call__(self, frames):
        self.seen += len(frames)
        return frames.float().mean(dim=(1, 2, 3)) / 255


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VMRLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_video_gets_one_row_a_clip(cache):
    assert cache_folder() == cache
    features = stage_features(PART, Mean())
    assert set(features) == {script.video_id for script in PART.scripts}
    assert all(rows.shape == (12, 3) and rows.dtype == torch.float32 for rows in features.values())
    assert all(bool(((rows > 0) & (rows < 1)).all()) for rows in features.values())


def test_the_second_time_they_come_from_the_cache(cache):
    first, second = Mean(), Mean()
    before, after = stage_features(PART, first), stage_features(PART, second)
    assert (first.seen, second.seen) == (36, 0)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


def test_another_extractor_or_another_split_is_another_entry(cache):
    stage_features(PART, Mean())
    for part, extractor in ((PART, Mean(setting=1)), (split("open", "val", 2), Mean())):
        stage_features(part, extractor)
        assert extractor.seen > 0
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file", None])
def test_a_damaged_entry_is_computed_again(cache, damage):
    before = stage_features(PART, Mean())
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    again = Mean()
    after = stage_features(PART, again)
    assert again.seen == 36
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_crash_leaves_nothing_half_written(cache, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        stage_features(PART, Mean())
    assert not list(cache.glob("*.safetensors"))


def test_noise_has_the_spread_asked_for_and_is_the_same_every_time():
    part = split("open", "val")
    clean = stage_features(part, Mean())
    noisy_part = replace(part, config=replace(part.config, feature_noise=0.7))
    computed = Mean()
    noisy = stage_features(noisy_part, computed)
    assert computed.seen == 0  # noise is added to what is cached
    assert all(torch.equal(noisy[name], stage_features(noisy_part, Mean())[name]) for name in noisy)
    everything = torch.cat([clean[script.video_id] for script in part.scripts])
    noise = torch.cat([noisy[script.video_id] for script in part.scripts]) - everything
    torch.testing.assert_close(noise.std(dim=0), 0.7 * everything.std(dim=0), rtol=0.1, atol=0)
    assert noise.mean(dim=0).abs().max() < 0.05


def test_noise_does_not_depend_on_whether_the_cache_was_there(cache):
    part = replace(PART, config=replace(PART.config, feature_noise=1.0))
    fresh, cached = stage_features(part, Mean()), stage_features(part, Mean())
    assert all(torch.equal(fresh[name], cached[name]) for name in fresh)


def test_a_real_extractor_sees_the_rendered_frames():
    extractor = load_extractor("baseline")
    rows = video_features(PART.scripts[0], extractor)
    assert rows.shape == (round(24 / extractor.stride), extractor.dim)
    assert torch.isfinite(rows).all()


# ---- the oracle -----------------------------------------------------------------------------------


def test_the_oracle_sees_where_everybody_is_and_how_it_changes():
    for script in PART.scripts:
        rows = oracle_features(script).view(24, 16, 8).numpy()
        at = {shift: script.states_at(np.arange(24) + 0.5 + shift) for shift in (-0.5, 0, 0.5)}
        slots = []
        for index, actor in enumerate(script.actors):
            slot = 4 * COLOURS.index(actor.colour) + SHAPES.index(actor.shape)
            slots.append(slot)
            seen = at[0][:, index, 4] == 1
            assert np.array_equal(rows[:, slot, 0], seen)
            assert np.allclose(rows[seen, slot, 1:4], at[0][seen, index, :3])
            change = (at[0.5] - at[-0.5])[seen, index, :4]
            assert np.allclose(rows[seen, slot, 4:] * (0.05, 0.05, 0.05, 0.5), change, atol=1e-6)
            assert not rows[~seen, slot].any()
        assert not np.delete(rows, slots, axis=1).any()


def test_the_oracle_follows_the_clip_length():
    assert oracle_features(PART.scripts[0], 2.0).shape == (12, 128)
    assert oracle_features(PART.scripts[0], 0.5).shape == (48, 128)

"""Features in the layouts of other groups load as ours do; what is wrong is named with file and key."""

import pickle

import h5py
import numpy as np
import pytest
import torch

from vmrlib.data.published import LAYOUTS, PublishedFeatures, concatenate
from vmrlib.data.store import FeatureMismatch, Features, MissingVideo, StoreError
from vmrlib.features.decode import probe

ROWS = np.random.default_rng(0).normal(size=(20, 4096)).astype(np.float32)


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


def test_tacos_c3d_has_windows_of_64_frames_every_12(tmp_path):
    path = hdf5(tmp_path / "tall_c3d_features.hdf5", **{"s13-d21.avi": ROWS, "s1-d2": ROWS[:3]})
    published = PublishedFeatures(LAYOUTS["tacos-c3d"], path)
    features = published["s13-d21"]
    torch.testing.assert_close(features.values, torch.from_numpy(ROWS))
    assert features.times[0] == pytest.approx(32 / 29.4) and features.seconds_per_clip == 12 / 29.4
    assert features.duration == pytest.approx((19 * 12 + 64) / 29.4)
    assert list(published) == ["s1-d2", "s13-d21"] and "s1-d2" in published and "s9" not in published


def test_activitynet_c3d_is_spread_over_the_duration(tmp_path):
    path = hdf5(tmp_path / "c3d.hdf5", **{"v_abc/c3d_features": ROWS[:8, :500]})
    published = PublishedFeatures(LAYOUTS["activitynet-c3d"], path, {"v_abc": 16.0})
    assert published["v_abc"].times.tolist() == [1, 3, 5, 7, 9, 11, 13, 15]
    with pytest.raises(StoreError, match=r"c3d\.hdf5, 'v_abc', 'c3d_features'.*duration of 'v_abc'"):
        PublishedFeatures(LAYOUTS["activitynet-c3d"], path)["v_abc"]


@pytest.mark.parametrize(
    ("name", "dim"),
    [("tvr-i3d", 1024), ("tvr-resnet", 2048), ("tvr-resnet-i3d", 3072), ("tvr-subtitles", 768)],
)
def test_tvr_has_a_row_every_second_and_a_half(tmp_path, name, dim):
    path = hdf5(tmp_path / "tvr.h5", friends_s01e03=ROWS[:, :dim])
    features = PublishedFeatures(LAYOUTS[name], path, {"friends_s01e03": 30.2})["friends_s01e03"]
    assert features.values.shape == (20, dim) and features.times[1] == 2.25 and features.duration == 30.2


def test_charades_vgg_and_npy_folders(tmp_path):
    path = hdf5(tmp_path / "vgg.hdf5", AB12C=ROWS)
    assert PublishedFeatures(LAYOUTS["charades-vgg"], path, {"AB12C": 10.0})["AB12C"].seconds_per_clip == 0.5
    np.save(tmp_path / "AB12C.npy", ROWS[:5, :1024])
    i3d = PublishedFeatures(LAYOUTS["vslnet-i3d"], tmp_path, {"AB12C": 5.0})
    assert i3d["AB12C"].times.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert list(i3d) == ["AB12C"]


def test_rgb_and_flow_or_slowfast_and_clip_are_put_side_by_side(tmp_path):
    np.save(tmp_path / "v_rgb.npy", ROWS[:6, :1024])
    np.save(tmp_path / "v_flow.npy", ROWS[:5, 1024:2048])
    both = concatenate([PublishedFeatures(LAYOUTS[f"bmt-i3d-{x}"], tmp_path)["v"] for x in ("rgb", "flow")])
    torch.testing.assert_close(both.values, torch.from_numpy(ROWS[:5, :2048]))
    assert both.times.tolist() == pytest.approx([1.28, 3.84, 6.4, 8.96, 11.52])
    for folder, dim in (("slowfast", 2304), ("clip", 512)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "v_0.0_40.0.npz", features=ROWS[:, :dim].astype(np.float16))
    parts = [
        PublishedFeatures(LAYOUTS[f"qvhighlights-{x}"], tmp_path / x)["v_0.0_40.0"]
        for x in ("slowfast", "clip")
    ]
    assert concatenate(parts).values.shape == (20, 2816) and concatenate(parts).values.dtype == torch.float32
    other = Features(parts[0].values, parts[0].times, 1.5, 40.0)
    with pytest.raises(FeatureMismatch, match=r"1\.5 and 2\.0"):
        concatenate([parts[0], other])


def test_what_is_wrong_is_named_with_file_and_key(tmp_path):
    path = hdf5(
        tmp_path / "tvr.h5", a=ROWS[:, :7], b=ROWS[:0, :1024], c=np.full((4, 1024), np.nan), d=ROWS[0]
    )
    tvr = PublishedFeatures(LAYOUTS["tvr-i3d"], path)
    with pytest.raises(
        FeatureMismatch, match=r"tvr\.h5, 'a': shape is \(20, 7\), wanted \(clips > 0, 1024\)"
    ):
        tvr["a"]
    with pytest.raises(FeatureMismatch, match="'b': shape is"):
        tvr["b"]
    with pytest.raises(StoreError, match="'c': not all numbers"):
        tvr["c"]
    with pytest.raises(FeatureMismatch, match="'d': shape is"):
        tvr["d"]
    hdf5(tmp_path / "text.h5", f=np.full((4, 1024), b"x"), g=np.ones((4, 1024), complex))
    for key in "fg":
        with pytest.raises(StoreError, match=rf"text\.h5, '{key}': holds .*, wanted numbers"):
            PublishedFeatures(LAYOUTS["tvr-i3d"], tmp_path / "text.h5")[key]
    with pytest.raises(MissingVideo, match=r"tvr\.h5: no key or file 'e'"):
        tvr["e"]
    hdf5(tmp_path / "anet.hdf5", v_x=ROWS, **{"v_y/other": ROWS})
    anet = PublishedFeatures(LAYOUTS["activitynet-c3d"], tmp_path / "anet.hdf5")
    for video in ("v_x", "v_y"):
        with pytest.raises(StoreError, match=rf"anet\.hdf5, '{video}', 'c3d_features'"):
            anet[video]
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(StoreError, match=r"empty\.h5: no readable HDF5"):
        PublishedFeatures(LAYOUTS["tvr-i3d"], tmp_path / "empty.h5")
    with pytest.raises(FileNotFoundError, match="none"):
        PublishedFeatures(LAYOUTS["tvr-i3d"], tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_a_damaged_npz_is_named(tmp_path, content):
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(StoreError, match=r"'v\.npz', 'features': cannot be read"):
        PublishedFeatures(LAYOUTS["qvhighlights-clip"], tmp_path)["v"]
    np.savez(tmp_path / "w.npz", other=ROWS)
    with pytest.raises(StoreError, match=r"'w\.npz', 'features': no such array"):
        PublishedFeatures(LAYOUTS["qvhighlights-clip"], tmp_path)["w"]


def test_rows_that_do_not_fit_the_duration_are_an_error(tmp_path):
    np.savez(tmp_path / "v.npz", features=ROWS[:, :512])
    for duration in (40.0, 38.5, 43.9):
        PublishedFeatures(LAYOUTS["qvhighlights-clip"], tmp_path, {"v": duration})["v"]
    with pytest.raises(
        FeatureMismatch, match=r"20 clips of 2 s cover 40\.00 s, but the video lasts 150\.00 s"
    ):
        PublishedFeatures(LAYOUTS["qvhighlights-clip"], tmp_path, {"v": 150.0})["v"]


def test_an_open_file_can_be_sent_to_a_worker(tmp_path):
    tvr = PublishedFeatures(LAYOUTS["tvr-i3d"], hdf5(tmp_path / "tvr.h5", a=ROWS[:, :1024]))
    assert torch.equal(pickle.loads(pickle.dumps(tvr))["a"].values, tvr["a"].values)


def test_real_clip_features_align_with_their_video(mirror):
    video = mirror / "clips" / "research_only" / "charades_Y1HGC.mp4"
    if not video.exists():
        pytest.skip("needs the real video: set VMRLIB_MIRROR to a mirror that has it")
    name, duration = "charades_Y1HGC_clip_vid", probe(video).duration
    features = PublishedFeatures(LAYOUTS["qvhighlights-clip"], mirror / "features", {name: duration})[name]
    assert features.values.shape == (15, 512) and features.times.tolist() == list(range(1, 31, 2))
    assert features.duration == pytest.approx(30.72, abs=0.05)
    assert 9 < features.values.norm(dim=1).mean() < 13

"""A store gives back what was put in, tells how it was made, and names a file that is damaged."""

import json
import pickle

import jaxtyping
import pytest
import torch
from torch.utils.data import DataLoader

from vmrlib.data.store import (
    FeatureMismatch,
    Features,
    FeatureStore,
    MissingVideo,
    StoreError,
    compare_features,
)

METADATA = {"extractor": "toy", "weights_sha256": "abc", "window": 2.0, "stride": 2.0, "vmrlib": "0.1"}


def features(seed: int, clips: int = 5, dim: int = 8) -> Features:
    values = torch.randn(clips, dim, generator=torch.Generator().manual_seed(seed))
    return Features(values, torch.arange(clips).double() * 2 + 1, 2.0, 2.0 * clips + 0.3)


def filled(path, count: int = 5) -> FeatureStore:
    store = FeatureStore.create(path, METADATA, dataset="toys")
    for number in range(count):
        store.add(f"video {number}", features(number, clips=3 + number))
    store.reindex()
    return store


def equal(a: Features, b: Features) -> bool:
    same = torch.equal(a.values, b.values) and torch.equal(a.times, b.times)
    return same and (a.seconds_per_clip, a.duration) == (b.seconds_per_clip, b.duration)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_put_in_comes_out(tmp_path, packed):
    written = filled(tmp_path / "s")
    if packed:
        written.pack(shard_bytes=300)
    for store in (written, FeatureStore(tmp_path / "s"), pickle.loads(pickle.dumps(written))):
        assert list(store) == [f"video {n}" for n in range(5)] and len(store) == 5
        assert "video 3" in store and "video 9" not in store
        assert all(equal(store[f"video {n}"], features(n, clips=3 + n)) for n in range(5))
        assert (store.dataset, store.metadata) == ("toys", METADATA)
    assert len(list((tmp_path / "s").glob("videos/*"))) == (0 if packed else 5)
    assert (len(list((tmp_path / "s").glob("shard-*"))) > 1) == packed


def test_a_store_grows_after_packing(tmp_path):
    filled(tmp_path / "s").pack()
    store = FeatureStore.create(tmp_path / "s", METADATA)
    store.add("new", features(9))
    store.pack()
    again = FeatureStore(tmp_path / "s")
    assert len(again) == 6 and equal(again["new"], features(9)) and again.verify() == 2


def test_videos_written_by_two_processes_are_all_found(tmp_path):
    one, two = (FeatureStore.create(tmp_path / "s", METADATA) for _ in range(2))
    one.add("a", features(1))
    two.add("b", features(2))
    two.reindex()
    one.add("c", features(3))  # killed before it wrote an index
    assert list(FeatureStore(tmp_path / "s")) == ["a", "b", "c"]


def test_the_index_is_rebuilt_from_the_files(tmp_path):
    store = filled(tmp_path / "s")
    store.pack()
    (tmp_path / "s" / "index.json").unlink()
    again = FeatureStore(tmp_path / "s")
    assert len(again) == 5 and again.metadata == METADATA and again.dataset == "toys"
    assert equal(again["video 2"], features(2, clips=5))


def test_workers_of_a_loader_read_it(tmp_path):
    store = filled(tmp_path / "s")
    store.pack()
    _ = store["video 0"]  # open before the workers start
    ids = list(store)
    loader = DataLoader(
        [(store, video) for video in ids],
        batch_size=None,
        num_workers=2,
        collate_fn=lambda item: item[0][item[1]].values,
    )
    assert [len(values) for values in loader] == [3, 4, 5, 6, 7]


def test_other_features_are_refused_and_both_are_named(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(
        FeatureMismatch, match=r"extractor is 'toy', wanted 'clip'; stride is 2\.0, wanted 1\.0"
    ):
        FeatureStore.create(tmp_path / "s", METADATA | {"extractor": "clip", "stride": 1.0})
    with pytest.raises(FeatureMismatch, match="'toys', not 'tacos'"):
        FeatureStore.create(tmp_path / "s", METADATA, dataset="tacos")
    assert len(FeatureStore.create(tmp_path / "s", METADATA | {"vmrlib": "9"})) == 5
    store = FeatureStore(tmp_path / "s")
    store.require(extractor="toy", stride=2.0)
    with pytest.raises(FeatureMismatch, match="layer is None, wanted 3"):
        store.require(layer=3)


def test_features_of_two_extractors_in_one_folder_are_an_error(tmp_path):
    filled(tmp_path / "a", 1)
    other = FeatureStore.create(tmp_path / "b", METADATA | {"extractor": "clip"})
    other.add("x", features(1))
    (tmp_path / "b" / "videos" / "x.safetensors").rename(tmp_path / "a" / "videos" / "x.safetensors")
    with pytest.raises(FeatureMismatch, match=r"x\.safetensors: extractor is 'clip', but 'toy'"):
        FeatureStore(tmp_path / "a")


def test_a_store_is_made_only_in_a_folder_of_its_own(tmp_path):
    (tmp_path / "killed" / "videos").mkdir(parents=True)
    (tmp_path / "killed" / ".0a1b.tmp").write_bytes(b"{")
    assert len(FeatureStore.create(tmp_path / "killed", METADATA)) == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="no feature store"):
        FeatureStore.create(tmp_path / "full", METADATA)


def test_a_damaged_file_is_named(tmp_path):
    filled(tmp_path / "s").pack()
    shard = next((tmp_path / "s").glob("shard-*"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{shard.name}: damaged"):
        FeatureStore(tmp_path / "s").verify()
    shard.write_bytes(data[:-1])
    with pytest.raises(StoreError, match=rf"{shard.name}: {len(data) - 1} bytes, the index says {len(data)}"):
        FeatureStore(tmp_path / "s")
    shard.unlink()
    with pytest.raises(StoreError, match="no bytes"):
        FeatureStore(tmp_path / "s")


def test_a_damaged_index_and_strange_files_are_named(tmp_path):
    filled(tmp_path / "s")
    (tmp_path / "s" / "videos" / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(StoreError, match=r"broken\.safetensors: no readable feature file"):
        FeatureStore(tmp_path / "s")
    (tmp_path / "s" / "index.json").write_text("{")
    with pytest.raises(StoreError, match=r"index\.json: damaged"):
        FeatureStore(tmp_path / "s")
    with pytest.raises(StoreError, match="no such folder"):
        FeatureStore(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="neither index"):
        FeatureStore(tmp_path / "empty")


def test_a_missing_video_is_an_error_and_a_key_error(tmp_path):
    store = filled(tmp_path / "s")
    with pytest.raises(MissingVideo, match="no features of video 'x'") as error:
        store["x"]
    assert isinstance(error.value, KeyError) and isinstance(error.value, ValueError)
    assert store.get("x") is None


def test_features_that_are_not_finite_are_not_written(tmp_path):
    store = FeatureStore.create(tmp_path / "s", METADATA)
    bad = features(0)
    bad.values[2, 3] = float("nan")
    with pytest.raises(StoreError, match="video 'v' are not all finite"):
        store.add("v", bad)
    assert list((tmp_path / "s" / "videos").iterdir()) == []


def test_features_without_rows_or_with_other_times_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 8\)"):
        Features(torch.zeros(0, 8), torch.zeros(0), 1.0, 1.0)
    # the second where annotations are checked as well
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=r"\(3, 8\) with \(2,\)|'times'"):
        Features(torch.zeros(3, 8), torch.zeros(2), 1.0, 1.0)


def test_ids_that_are_no_file_names_are_kept(tmp_path):
    store = FeatureStore.create(tmp_path / "s", METADATA)
    for video in ("a/b", "c:d*?", "é.avi", ".hidden"):
        store.add(video, features(1))
    store.pack()
    assert set(FeatureStore(tmp_path / "s")) == {"a/b", "c:d*?", "é.avi", ".hidden"}


def test_the_index_says_what_design_promises(tmp_path):
    filled(tmp_path / "s").pack()
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    assert index["dataset"] == "toys" and index["metadata"]["weights_sha256"] == "abc"
    (record,) = index["files"].values()
    assert len(record["sha256"]) == 64
    assert record["videos"]["video 1"] == {"clips": 4, "seconds_per_clip": 2.0, "duration": 8.3}


def test_comparison_finds_scale_offset_and_shift():
    first = features(0, clips=40)
    same = compare_features(first, first)
    assert same.shift == 0 and same.cosine.min() > 0.999999
    second = Features(first.values * 2 + 3, first.times, 2.0, 80.0)
    result = compare_features(first, second)
    torch.testing.assert_close(result.scale, torch.full((8,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(result.offset, torch.full((8,), 3.0, dtype=torch.float64))
    later = Features(first.values[:-3], first.times[3:], 2.0, 80.0)
    assert compare_features(first, later).shift == 6.0
    assert "shift +6 s" in str(compare_features(first, later))
    with pytest.raises(FeatureMismatch, match="8 and 4"):
        compare_features(first, features(1, dim=4))

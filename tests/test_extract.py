"""Features do not depend on batches, shards or interruptions, and stand at the centres of their clips."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from barcoded_videos import barcode, write
from toy_extractor import Toy

from vmrlib.cli import main
from vmrlib.data.store import FeatureMismatch, FeatureStore
from vmrlib.data.video import write_video
from vmrlib.features.decode import read_frames
from vmrlib.features.extract import extract, find_videos


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for number in range(7):
        times = np.cumsum(rng.integers(20, 90, 30 + 9 * number))
        suffix = ["mp4", "mkv"][number % 2]
        (folder / f"part {number % 2}").mkdir(exist_ok=True)
        write(folder / f"part {number % 2}" / f"v{number}.{suffix}", times)
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def reference(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "store"
    report = extract([videos], Toy(), out, batch_size=8, progress=False, dataset="toys")
    assert report.extracted == [f"v{n}" for n in range(7)] and not report.skipped and not report.failed
    return FeatureStore(out)


def assert_same(store, reference):
    assert list(store) == list(reference)
    for video in reference:
        torch.testing.assert_close(store[video].values, reference[video].values, atol=1e-5, rtol=0)
        assert torch.equal(store[video].times, reference[video].times)
        assert store[video].duration == reference[video].duration


def test_rows_are_the_frames_shown_in_the_parts_of_their_clip(videos, reference):
    path = videos / "part 1" / "v3.mkv"
    features = reference["v3"]
    count = len(features.times)
    assert features.times.tolist() == [0.5 * k + 0.25 for k in range(count)]
    assert features.times[-1] < features.duration <= features.times[-1] + 0.5
    when = np.array([[0.5 * k + 0.125, 0.5 * k + 0.375] for k in range(count)])
    frames = read_frames(path, when.ravel(), size=32).reshape(count, 2, 32, 32, 3)
    torch.testing.assert_close(features.values, Toy()(torch.from_numpy(frames)))
    assert reference.metadata["extractor"] == "toy" and reference.dataset == "toys"


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_do_not_change_features(videos, reference, tmp_path, batch_size):
    extract([videos], Toy(), tmp_path / "s", batch_size=batch_size, progress=False)
    assert_same(FeatureStore(tmp_path / "s"), reference)


def test_three_shards_give_the_same_as_one(videos, reference, tmp_path):
    done = [
        extract([videos], Toy(), tmp_path / "s", shard=(i, 3), progress=False).extracted for i in (2, 0, 1)
    ]
    assert sorted(video for part in done for video in part) == list(reference) and all(done)
    store = FeatureStore(tmp_path / "s")
    assert_same(store, reference)
    store.pack()
    assert_same(FeatureStore(tmp_path / "s"), reference)


def test_a_killed_extraction_goes_on_where_it_stopped(videos, reference, tmp_path):
    script = f"""
from toy_extractor import Toy
from vmrlib.features.extract import extract
extract([{str(videos)!r}], Toy(pause=0.1), {str(tmp_path / "s")!r}, batch_size=1, progress=False)
"""
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "s").glob("videos/*.safetensors"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = list(FeatureStore(tmp_path / "s"))
    assert 2 <= len(before) < 7
    report = extract([videos], Toy(), tmp_path / "s", progress=False)
    assert report.skipped == before and len(report.extracted) == 7 - len(before)
    store = FeatureStore(tmp_path / "s")
    assert_same(store, reference)
    assert store.verify() == 7


def test_another_extractor_is_an_error_that_names_both(videos, reference):
    with pytest.raises(FeatureMismatch, match="weights_sha256 is 'seed 0', wanted 'seed 1'"):
        extract([videos], Toy(seed=1), reference.path, progress=False)


def test_a_damaged_video_is_reported_and_the_others_are_done(tmp_path):
    write(tmp_path / "good.mp4", [0, 500, 900])
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    report = extract([tmp_path], Toy(), tmp_path / "s", progress=False)
    assert report.extracted == ["good"] and list(report.failed) == ["bad"]
    assert report.failed["bad"].startswith(f"{tmp_path / 'bad.mp4'}: not a readable video")
    assert list(FeatureStore(tmp_path / "s")) == ["good"]


def test_two_files_of_one_id_are_an_error_that_names_both(tmp_path):
    for name in ("a/x.mp4", "b/x.mkv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"x\.mp4 and .*x\.mkv: two videos of one id 'x'"):
        find_videos([tmp_path])
    assert list(find_videos([tmp_path / "a", tmp_path / "a" / "x.mp4"])) == ["x"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_videos([tmp_path / "nowhere"])
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match="no video files"):
        find_videos([tmp_path / "c"])


def test_a_wrong_shard_is_an_error(videos, tmp_path):
    with pytest.raises(ValueError, match="shard 3/3"):
        extract([videos], Toy(), tmp_path / "s", shard=(3, 3), progress=False)
    with pytest.raises(SystemExit):
        main(["extract", "x.mp4", "--extractor", "baseline", "--out", str(tmp_path / "s"), "--shard", "3/3"])
    assert not (tmp_path / "s").exists()


def test_the_command_line(tmp_path, capsys):
    write_video(tmp_path / "a.mp4", [barcode(n) for n in range(20)], 5)
    (tmp_path / "b.mp4").write_bytes(b"")
    command = ["extract", str(tmp_path), "--extractor", "baseline", "--out", str(tmp_path / "s")]
    command += ["--device", "cpu", "--seconds-per-clip", "2", "--dataset", "mine"]
    assert main([*command, "--json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["extracted"] == ["a"] and list(report["failed"]) == ["b"]
    assert err.strip().splitlines()[-1].startswith(f"vmrlib extract: {tmp_path / 'b.mp4'}: ")
    (tmp_path / "b.mp4").unlink()
    assert main([*command, "--pack"]) == 0
    assert "0 extracted, 1 already there, 0 failed" in capsys.readouterr().out
    store = FeatureStore(tmp_path / "s")
    assert store["a"].times.tolist() == [1.0, 3.0] and store.dataset == "mine"
    store.require(extractor="baseline", window=2.0, stride=2.0)
    assert main([*command, "--seconds-per-clip", "1"]) == 1
    assert "window is 2.0, wanted 1.0" in capsys.readouterr().err

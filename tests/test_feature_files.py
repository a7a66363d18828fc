"""Published features are compared with the annotations: what is missing, empty or damaged is named."""

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from vmrlib.data import feature_files
from vmrlib.data.downloads import read_manifest
from vmrlib.data.feature_files import EXPECTED, check_features, every, rate, tacos_c3d
from vmrlib.data.published import LAYOUTS

VIDEOS = {
    "s1-d1.avi": ("train", 294),
    "s2-d2.avi": ("train", 588),
    "s3-d3.avi": ("val", 2940),
    "s4-d4.avi": ("test", 300),
}
C3D_ROWS = {"s1-d1": 20, "s2-d2": 44, "s3-d3": 240, "s4-d4": 20}  # (frames - 64) // 12 + 1


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder with hand-made annotations of four videos in the layout of TACoS."""
    monkeypatch.setenv("VMRLIB_DATA", str(tmp_path))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    folder = tmp_path / "annotations" / "tacos"
    folder.mkdir(parents=True)
    for split in ("train", "val", "test"):
        content = {
            video: {"timestamps": [[10, 200]], "sentences": ["He cuts."], "fps": 29.4, "num_frames": frames}
            for video, (its, frames) in VIDEOS.items()
            if its == split
        }
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def tacos_file(data: Path, **rows: int | np.ndarray) -> Path:
    """The C3D file with these numbers of rows (or arrays) in place of the right ones; -1 leaves one out."""
    path = data / "features" / "tacos" / "tall_c3d_features.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for video, count in (
            C3D_ROWS | {key.replace("_", "-"): value for key, value in rows.items()}
        ).items():
            if not np.isscalar(count):
                file[f"{video}.avi"] = count
            elif count >= 0:
                file.create_dataset(f"{video}.avi", (count, 4096), "f4")
    return path


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    feature_files.add_arguments(parser)
    return feature_files.run(parser.parse_args(arguments))


def test_right_features_pass(data, capsys):
    tacos_file(data)
    assert run() == run("tacos") == run("tacos/c3d") == 0
    assert "tacos/c3d (4096 numbers a row): right: 4 of 4 are there" in capsys.readouterr().out


def test_the_other_preparation_of_tacos_passes_too(data):
    # 16 frames every 4 of a video 16 frames longer: ceil(frames / 4) + 1
    (report,) = check_features("tacos/c3d", tacos_file(data, s1_d1=75, s2_d2=148))
    assert report.verdict == "right"


def test_everything_that_is_wrong_is_named(data, capsys):
    nan = np.zeros((44, 4096), np.float32)
    nan[3, 5] = np.nan
    tacos_file(data, s1_d1=-1, s2_d2=nan, s3_d3=0, s4_d4=21)
    assert run("tacos/c3d") == 1
    told = capsys.readouterr().out
    assert "wrong: 1 missing of 4 (s1-d1); 1 empty (s3-d3)" in told
    assert "(s4-d4 has 21, wanted 20 or 76)" in told
    assert "1 not finite, of 3 read whole (s2-d2)" in told


def test_only_missing_ids_is_called_incomplete_and_json_has_them_all(data, capsys):
    tacos_file(data, **{key.replace("-", "_"): -1 for key in C3D_ROWS if key != "s1-d1"})
    assert run("tacos/c3d", "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "incomplete" and row["missing"] == ["s2-d2", "s3-d3", "s4-d4"]
    assert (row["wanted"], row["found"], row["splits"]) == (4, 1, ["train", "val", "test"])


def test_a_file_of_another_dataset_is_wrong_and_its_ids_are_shown(data, capsys):
    path = tacos_file(data)
    with h5py.File(path, "w") as file:
        file["Y1HGC"] = np.zeros((5, 4096), np.float32)
    assert run("tacos/c3d") == 1
    told = capsys.readouterr().out
    assert "wrong: 4 missing of 4 (s1-d1, s2-d2, s3-d3, s4-d4); 1 other ids (Y1HGC)" in told


def test_another_dimension_is_noticed(data):
    (report,) = check_features("tacos/c3d", tacos_file(data, s1_d1=np.zeros((20, 500)), s2_d2=np.zeros(44)))
    assert report.shapes == {"s1-d1": (20, 500), "s2-d2": (44,)}
    assert "2 not (rows, 4096) (s1-d1 (20, 500), s2-d2 (44,))" in report.problems


def test_what_is_not_numbers_is_noticed_also_beyond_the_sample(data, monkeypatch):
    monkeypatch.setattr(feature_files, "SAMPLE", 1)
    kinds = {"s2_d2": np.ones((44, 4096), complex), "s3_d3": np.full((240, 4096), b"x")}
    (report,) = check_features("tacos/c3d", tacos_file(data, **kinds))
    assert report.verdict == "wrong" and report.read == 1
    assert report.unreadable == {
        "s2-d2": "holds complex128, not numbers",
        "s3-d3": "holds |S1, not numbers",
    }


def test_a_file_that_is_cut_off_is_named_in_one_line(data):
    path = tacos_file(data)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"tall_c3d_features\.hdf5: no readable HDF5 file"):
        run("tacos/c3d")


def test_a_folder_of_npz_files_is_checked_from_their_headers(data):
    folder = data / "features/tacos/univtg/vid_clip"
    folder.mkdir(parents=True)
    for video, (_, frames) in VIDEOS.items():
        rows = round(frames / 29.4 / 2)
        np.savez(folder / f"{video[:-4]}.npz", features=np.ones((rows, 512), np.float16))
    (report,) = check_features("tacos/univtg-clip", folder)
    assert report.verdict == "right" and report.read == 4
    (folder / "s1-d1.npz").write_bytes(b"PK broken")
    np.savez(folder / "s2-d2.npz", other=np.ones((10, 512)))
    np.savez(folder / "s3-d3.npz", features=np.ones((80, 512)))
    (report,) = check_features("tacos/univtg-clip", folder)
    assert set(report.unreadable) == {"s1-d1", "s2-d2"} and report.lengths == {"s3-d3": (80, "about 50")}
    assert report.verdict == "wrong"


def test_without_annotations_nothing_is_called_right(data, capsys):
    path = tacos_file(data)
    for file in (data / "annotations/tacos").iterdir():
        file.unlink()
    assert run("tacos/c3d", "--path", str(path)) == 1
    assert "no annotations to compare with: bash data_download.sh tacos" in capsys.readouterr().out


def test_missing_splits_are_left_out_and_named(data):
    path = tacos_file(data, s4_d4=-1)
    (data / "annotations/tacos/test.json").unlink()
    (report,) = check_features("tacos/c3d", path)
    assert report.verdict == "right" and report.splits == ("train", "val") and report.wanted == 3


def test_videos_that_were_gone_already_are_not_counted_as_missing(data):
    folder = data / "annotations/activitynet_captions"
    folder.mkdir()
    content = {
        f"v_{x}": {"duration": 25.6, "timestamps": [[0, 9]], "sentences": ["Someone runs."]} for x in "abc"
    }
    (folder / "train.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "available_mp4.txt").write_text("v_a\nv_c\n", encoding="utf-8")
    features = data / "bmt"
    features.mkdir()
    for stream in ("rgb", "flow"):
        np.save(features / f"v_a_{stream}.npy", np.zeros((10, 1024), np.float32))
    np.save(features / "v_c_rgb.npy", np.zeros((10, 1024), np.float32))
    rgb, flow = check_features("activitynet_captions/bmt-i3d", features)
    assert rgb.verdict == "right" and rgb.unavailable == 1 and rgb.wanted == 2
    assert flow.missing == ("v_c",) and flow.verdict == "incomplete"


def test_features_of_texts_are_looked_up_by_query(data):
    folder = data / "annotations/qvhighlights"
    folder.mkdir()
    row = {"qid": 7, "query": "A cat.", "vid": "x_0.0_150.0", "duration": 150, "relevant_windows": [[0, 2]]}
    row |= {"relevant_clip_ids": [0], "saliency_scores": [[1, 2, 3]]}
    (folder / "highlight_val_release.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    features = data / "text"
    features.mkdir()
    np.savez(features / "qid7.npz", last_hidden_state=np.zeros((5, 512)), pooler_output=np.zeros(512))
    (report,) = check_features("qvhighlights/text", features)
    assert report.verdict == "right" and report.found == 1


def test_row_counts_follow_from_seconds():
    assert tacos_c3d(20, 294 / 29.4) == tacos_c3d(75, 294 / 29.4) == "" and tacos_c3d(19, 10.0) == "20 or 75"
    assert every(2)(75, 150.0) == every(2)(73, 150.0) == "" and every(2)(70, 150.0) == "about 75"
    assert rate(1, 8.2)(300, 100.0) == "" and rate(1, 8.2)(50, 100.0) and rate(1, 8.2)(900, 100.0)


def test_mistakes_are_named(data):
    for arguments, message in [
        (["nonsense"], "no features are known as 'nonsense'"),
        (["tacos"], "there are no features of tacos: bash data_download.sh tacos-features"),
        (["tacos/c3d"], "not there; how to get it: bash data_download.sh tacos-features/c3d"),
        (["--path", "x"], "--path needs exactly one DATASET/KIND"),
        (["tacos/c4d", "--path", str(data)], "no check of features is known as 'tacos/c4d'"),
    ]:
        with pytest.raises((ValueError, OSError), match=message):
            run(*arguments)


def test_nothing_there_is_said(data, capsys):
    assert run() == 0 and "there are no published features" in capsys.readouterr().out


def test_every_feature_file_of_the_list_has_a_check_and_the_other_way_round():
    manifest = read_manifest()
    units = [unit for name in manifest.targets for unit in manifest.units(name)]
    listed = {unit.features_name for unit in units if unit.kind.features}
    assert listed == {f"{dataset}/{kind}" for dataset, kinds in EXPECTED.items() for kind in kinds}
    for kinds in EXPECTED.values():
        for expected in kinds.values():
            for each in expected if isinstance(expected, tuple) else (expected,):
                assert each.layout in LAYOUTS


def test_the_published_clip_counts_of_tacos_follow_the_rule(mirror):
    counts = json.loads((mirror / "features/tacos_clip_counts.json").read_text(encoding="utf-8"))
    videos = {key: row for key, row in counts.items() if isinstance(row, dict) and "num_clips_qmn" in row}
    assert len(videos) == 127
    for row in videos.values():
        seconds = row["num_frames_2dtan"] / row["fps"]
        assert (
            tacos_c3d(row["num_clips_2dtan_script"], seconds)
            == tacos_c3d(row["num_clips_qmn"], seconds)
            == ""
        )

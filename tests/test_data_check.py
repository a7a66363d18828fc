"""`data check` tells what is there, what is odd, what differs from print and what is missing."""

import json
import sys
import types

import pytest
from test_datasets import save

from vmrlib import cli
from vmrlib.data import check
from vmrlib.data.check import as_text, failures, report
from vmrlib.data.datasets import DATASETS, read_split
from vmrlib.data.datasets.across import compare, shared
from vmrlib.data.datasets.counts import KNOWN, difference


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, and no mirror."""
    monkeypatch.setenv("VMRLIB_DATA", str(tmp_path))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    return tmp_path / "annotations"


def record(*texts, videos=1):
    times = [[k % 7, k % 7 + 2] for k in range(len(texts))]
    one = {"duration": 9.0, "timestamps": times, "sentences": list(texts)}
    return {f"v{k}": one for k in range(videos)}


def write_cg(folder, **splits):
    for name, content in splits.items():
        save(folder / "charades_cg", f"{name}.json", content)


def test_every_split_has_known_counts():
    assert set(KNOWN) == {(dataset, split) for dataset, splits in DATASETS.items() for split in splits}


def test_nothing_there_is_told_and_is_no_failure(folder, capsys):
    assert cli.main(["data", "check"]) == 0
    text = capsys.readouterr().out
    assert "charades_sta (bash data_download.sh charades_sta): charades_sta_train.txt (train)" in text
    assert text.endswith("no file is wrong\n")


def test_a_dataset_asked_for_by_name_must_be_there(folder, capsys):
    assert cli.main(["data", "check", "tacos"]) == 1
    assert "tacos train: train.json is not there" in capsys.readouterr().out
    assert cli.main(["data", "check", "nonsense"]) == 1
    assert "no dataset 'nonsense': there are tacos" in capsys.readouterr().err


def test_the_table_is_aligned_and_leaves_out_what_is_nowhere(folder):
    write_cg(folder, train=record("A dog.", " Two cats."), novel_word=record("One"))
    text = as_text(report(["charades_cg"]))
    rows = text.splitlines()
    assert rows[0] == "charades_cg"
    assert rows[1].split() == ["train", "novel_word"]
    table = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in rows[2:8]}
    assert table["videos"] == ["1", "1"]
    assert table["rows in the file"] == ["2", "1"]
    assert table["texts with outer blanks"] == ["1", "0"]
    assert len({len(line) for line in rows[1:8]}) == 1, "columns are aligned to the right"
    assert "double blanks" not in text
    assert "  videos in train and novel_word: 1" in rows


def test_what_is_left_out_is_printed_with_its_place(folder):
    content = record("A dog.")
    content["v0"]["timestamps"] = [[5, 5]]
    write_cg(folder, train=content)
    text = as_text(report(["charades_cg"]))
    assert (
        "train, left out: train.json, video 'v0', row 0: the start is not before the end: [5.0, 5.0]" in text
    )


def test_a_copy_with_unknown_counts_fails(folder, capsys):
    write_cg(folder, train=record("A dog."))
    assert cli.main(["data", "check"]) == 1
    text = capsys.readouterr().out
    expected = (
        "charades_cg train: 1 videos, 1 queries; published: 3555 videos, 8281 queries "
        "(Li et al. 2022, table of the repository): this copy is none that we know"
    )
    assert text.count(expected) == 2, "among the differences, and as a reason to fail"


def test_a_copy_whose_moments_are_damaged_fails_though_its_rows_are_as_many(folder):
    content = {f"v{k}": record(*(["A."] if k else ["A."] * 116))["v0"] for k in range(580)}
    content["v1"] = {"duration": 9.0, "timestamps": [[2, 0]], "sentences": ["A."]}
    write_cg(folder, novel_word=content)
    found = report(["charades_cg"])
    (reason,) = failures(found)
    assert "580 videos, 695 queries, 694 of them usable; published: 588 videos, 703 queries" in reason
    assert reason.endswith("this copy is none that we know")


def test_a_damaged_real_copy_fails(mirror, tmp_path):
    content = json.loads((mirror / "mirror" / "tacos" / "test.json").read_text(encoding="utf-8"))
    rows = [pair for entry in content.values() for pair in entry["timestamps"]]
    for pair in rows[:1000]:
        pair.reverse()
    save(tmp_path, "test.json", content)
    assert "4001 queries, 3001 of them usable" in str(difference(read_split("tacos", "test", tmp_path)))
    assert difference(read_split("tacos", "test", tmp_path)).fails


def test_a_test_file_without_queries_is_none_that_we_know(tmp_path):
    save(tmp_path, "tvr_test_public_release.jsonl", "")
    assert difference(read_split("tvr", "test_public", tmp_path)).fails


def test_videos_under_two_names_count_once(tmp_path, monkeypatch):
    rows = [
        {"annotation_id": n, "video": video, "description": "x", "num_segments": 6, "times": [[0, 0]]}
        for n, video in enumerate(["a.mov", "a.mp4", "b.avi"])
    ]
    split = read_split("didemo", "train", save(tmp_path, "train_data.json", rows))
    assert (len(split.videos), split.findings["videos under two names"]) == (3, 1)
    assert difference(split).found == "2 videos, 3 queries"


def test_counts_of_files_that_nobody_of_us_read_do_not_fail(folder, capsys):
    database = {"a": {"subset": "training", "duration": 9, "annotations": []}}
    save(folder / "youcook2", "youcookii_annotations_trainval.json", {"database": database})
    found = report(["youcook2"])
    assert [(one["split"], one["known"], one["fails"]) for one in found["published"]] == [
        ("train", False, False),
        ("val", False, False),
    ]
    assert cli.main(["data", "check", "youcook2"]) == 0
    assert "this copy is none that we know (we have read none)" in capsys.readouterr().out


def test_an_error_that_nobody_foresaw_is_told_and_the_others_are_read(folder, monkeypatch, capsys):
    def read(dataset, split, place):
        if split == "train":
            raise TypeError("unhashable type")
        return read_split(dataset, split, place)

    write_cg(folder, train=record("A."), novel_word=record("A."))
    monkeypatch.setattr(check, "read_split", read)
    assert cli.main(["data", "check", "charades_cg"]) == 1
    text = capsys.readouterr().out
    assert "  charades_cg train: TypeError: unhashable type" in text
    assert "rows in the file" in text


def test_json_can_be_printed_by_any_terminal(folder, capsys):
    content = record("A.")
    content["v0"]["sentences"] = [5]
    write_cg(folder, train={"caf\u00e9\U0001f600": content["v0"]})
    cli.main(["data", "check", "--json"])
    text = capsys.readouterr().out
    assert text.isascii()
    assert "caf\u00e9\U0001f600" in json.loads(text)["problems"][0]["message"]


def test_known_copies_that_differ_from_print_do_not_fail(folder):
    write_cg(folder, novel_word=record(*(f"{n}." for n in range(695)), videos=1))
    content = {f"v{k}": record(*(["A."] if k else ["A."] * 116))["v0"] for k in range(580)}
    write_cg(folder, novel_word=content)
    found = report(["charades_cg"])
    (one,) = found["published"]
    assert (one["found"], one["known"]) == ("580 videos, 695 queries", True)
    assert failures(found) == []
    # and the published copy, should somebody have it, is as good
    write_cg(folder, novel_word={f"v{k}": record(*(["A."] if k else ["A."] * 116))["v0"] for k in range(588)})
    assert report(["charades_cg"])["published"] == []


def test_a_wrong_file_is_told_and_the_others_are_read(folder, capsys):
    write_cg(folder, train="{", novel_word=record("A."))
    assert cli.main(["data", "check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (problem,) = found["problems"]
    assert (problem["dataset"], problem["split"]) == ("charades_cg", "train")
    assert "train.json, line 1: not JSON" in problem["message"]
    assert problem["message"] in found["failures"]
    assert list(found["datasets"]["charades_cg"]["splits"]) == ["novel_word"]


def test_json_holds_everything_of_a_split(folder, capsys):
    write_cg(folder, train=record("A dog."))
    cli.main(["data", "check", "--json"])
    split = json.loads(capsys.readouterr().out)["datasets"]["charades_cg"]["splits"]["train"]
    assert split.keys() == {
        "videos",
        "queries",
        "rows",
        "dropped",
        "findings",
        "figures",
        "tallies",
        "files",
        "notes",
    }
    assert split["figures"]["words"] == {"min": 2.0, "median": 2.0, "mean": 2.0, "max": 2.0}


def test_a_list_of_videos_without_captions_is_compared_by_its_videos(folder):
    save(folder / "msrvtt", "MSRVTT_train.7k.csv", "video_id\n" + "".join(f"video{k}\n" for k in range(7010)))
    assert difference(read_split("msrvtt", "train_7k", folder / "msrvtt")) is None
    save(folder / "msrvtt", "MSRVTT_train.7k.csv", "video_id\nvideo1\n")
    assert difference(read_split("msrvtt", "train_7k", folder / "msrvtt")).found == "1 videos"


def test_shared_ids_are_counted_for_each_pair():
    ids = {"a": ["x", "y"], "b": ["y", "z"], "c": []}
    assert shared(ids, "videos") == {"videos in a and b": 1, "videos in a and c": 0, "videos in b and c": 0}


def test_side_files_are_optional_and_compared_where_they_are(folder):
    place = folder / "activitynet_captions"
    save(place, "train.json", record("A.", videos=3))
    splits = {"train": read_split("activitynet_captions", "train", place)}
    assert compare("activitynet_captions", splits, place) == {}
    save(place, "available_mp4.txt", "v0\nv2\nv2\nx\n")
    assert compare("activitynet_captions", splits, place) == {
        "lines of available_mp4.txt": 4,
        "different videos in available_mp4.txt": 3,
        "videos of train in available_mp4.txt": 2,
    }


@pytest.mark.parametrize("path", [None, "mine.json"])
def test_the_summary_is_written_where_asked(folder, capsys, monkeypatch, path):
    written = []
    module = types.ModuleType("vmrlib.data.summary")
    module.write_summary = written.append
    monkeypatch.setitem(sys.modules, "vmrlib.data.summary", module)
    assert cli.main(["data", "check", "--summary", *([path] if path else [])]) == 0
    assert written[0].name == (path or "real_summary.json")
    assert capsys.readouterr().out == f"wrote {written[0]}\n"

"""`data check` tells what is there, what is odd, what differs from print and what is missing."""

import json
import sys
import types

import pytest
from test_datasets import save

from vmrlib import cli
from vmrlib.data.check import as_text, failures, report
from vmrlib.data.datasets import DATASETS, read_split
from vmrlib.data.datasets.across import compare, shared
from vmrlib.data.datasets.published import KNOWN, difference


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, and no mirror."""
    monkeypatch.setenv("VMRLIB_DATA", str(tmp_path))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    return tmp_path / "annotations"


def record(*texts, videos=1):
    one = {"duration": 9.0, "timestamps": [[k, k + 2] for k in range(len(texts))], "sentences": list(texts)}
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

"""The validator of one's own annotations tells all problems at once, by file, line, field and value."""

import json

import numpy as np
import pytest

from vmrlib import cli
from vmrlib.data.annotations import AnnotationError, read_jsonl
from vmrlib.data.validate import SUFFIXES, as_line, validate
from vmrlib.data.video import write_video
from vmrlib.features.extract import SUFFIXES as EXTRACTED

GOOD = {"qid": 1, "query": "A dog barks.", "vid": "v1", "duration": 30, "relevant_windows": [[1, 2.5]]}


def write(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def told(path, level=None):
    found, _ = validate(path)
    return [(one.line, one.field) for one in found if level in (None, one.level)]


def test_a_good_file_has_no_findings(tmp_path):
    blind = {name: GOOD[name] for name in ("query", "vid", "duration")}
    path = write(tmp_path / "a.jsonl", GOOD, "", GOOD | {"qid": "b", "query": "A cat."})
    assert validate(path) == ([], 2)
    assert validate(write(tmp_path / "blind.jsonl", blind | {"qid": 1})) == ([], 1)


def test_all_problems_are_told_not_only_the_first(tmp_path):
    path = write(
        tmp_path / "bad.jsonl",
        "{",
        "[]",
        {"qid": True, "query": " ", "duration": 0, "relevant_windows": [[1], [5, 4], [2, 3]]},
        GOOD,
        GOOD | {"query": "Another.", "relevant_windows": [[31, 32]]},
        '{"qid": 9, "qid": 10}',
        GOOD | {"qid": 5, "query": "Third.", "split": 3, "relevant_clip_ids": [-1], "saliency_scores": [4]},
    )
    assert told(path, "error") == [
        (1, ""),
        (2, ""),
        (3, "vid"),
        (3, "query"),
        (3, "qid"),
        (3, "duration"),
        (3, "relevant_windows"),
        (3, "relevant_windows"),
        (5, "relevant_windows"),
        (5, "qid"),
        (6, ""),
        (7, "split"),
        (7, "relevant_clip_ids"),
        (7, "saliency_scores"),
    ]
    found, queries = validate(path)
    assert queries == 4
    by_line = {(one.line, one.field): as_line("bad.jsonl", one) for one in found}
    assert by_line[3, "vid"] == 'error: bad.jsonl, line 3: field "vid": is missing'
    assert by_line[3, "qid"].endswith('field "qid": expected text or a whole number, found True')
    assert by_line[5, "qid"].endswith("field \"qid\": '1' is already used in line 4")
    assert by_line[6, ""] == "error: bad.jsonl, line 6: 'qid' is there twice"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"relevant_windows": [[1, 31]]}, "relevant_windows", "[1, 31] ends after the video's 30 s"),
        ({"relevant_windows": [[1, 3], [2, 4]]}, "relevant_windows", "[1, 3] and [2, 4] overlap"),
        ({"query": " A  dog"}, "query", "blanks outside or several inside: ' A  dog'"),
        ({"relevant_clip_ids": [0, 15]}, "relevant_clip_ids", "clip 15 starts after the video's 30 s"),
        (
            {"relevant_clip_ids": [0, 1], "saliency_scores": [[1, 2, 3]]},
            "saliency_scores",
            "of 1 clips, but relevant_clip_ids has 2",
        ),
        ({"saliency_scores": [[1]]}, "saliency_scores", 'of 1 clips, but no "relevant_clip_ids"'),
        ({"duration": 31, "query": "b"}, "duration", "31 s, but 30 s in line 1 for the same video"),
        ({"query": "a DOG barks."}, "query", "the same query of the same video as in line 1"),
    ],
)
def test_what_is_suspicious_is_a_warning_and_can_still_be_read(tmp_path, change, field, message):
    path = write(tmp_path / "a.jsonl", GOOD, GOOD | {"qid": 2, "query": "Other."} | change)
    (found,), _ = validate(path)
    assert (found.level, found.line, found.field) == ("warning", 2, field)
    assert message in found.message
    assert len(read_jsonl(path)) == 2


def test_a_blind_line_among_others_is_suspicious(tmp_path):
    blind = {"qid": 2, "query": "A cat.", "vid": "v1", "duration": 30, "relevant_window": [[1, 2]]}
    assert told(write(tmp_path / "a.jsonl", GOOD, blind)) == [(2, "relevant_windows")]


def test_a_blind_split_beside_others_is_as_it_should_be(tmp_path):
    blind = {"qid": 2, "query": "A cat.", "vid": "v1", "duration": 30, "split": "test"}
    path = write(tmp_path / "a.jsonl", GOOD, GOOD | {"qid": 3, "query": "B.", "split": "train"}, blind)
    assert told(path) == []
    path = write(tmp_path / "a.jsonl", GOOD, blind, GOOD | {"qid": 3, "query": "B.", "split": "test"})
    ((found,), _) = validate(path)
    assert (found.line, found.message) == (2, "missing, though other lines of split 'test' have it")


def test_a_line_in_another_encoding_does_not_hide_the_others(tmp_path, capsys):
    path = tmp_path / "latin.jsonl"
    lines = [json.dumps(GOOD | {"query": "caf\u00e9"}, ensure_ascii=False), "{"]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    assert told(path, "error") == [(1, ""), (2, "")]
    assert cli.main(["data", "validate", str(path), "--json"]) == 1
    first, _ = json.loads(capsys.readouterr().out)["findings"]
    assert first["message"].startswith("not UTF-8 text: invalid continuation byte at byte ")


def test_a_long_value_is_cut_off(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", GOOD | {"vid": ["x" * 5000], "split": ["y" * 5000]}, "z" * 5000)
    assert all(len(as_line("a", one)) < 200 for one in validate(path)[0])
    cli.main(["data", "validate", str(path), "--json"])
    assert len(capsys.readouterr().out) < 2000


def test_whatever_the_reader_refuses_is_an_error(tmp_path):
    for row in (
        "nonsense",
        GOOD | {"relevant_windows": []},
        GOOD | {"relevant_windows": [[1, None]]},
        GOOD | {"duration": "30"},
        GOOD | {"vid": ""},
        GOOD | {"split": 5},
        GOOD | {"relevant_clip_ids": "x"},
        GOOD | {"saliency_scores": [[]]},
    ):
        path = write(tmp_path / "a.jsonl", row)
        with pytest.raises(AnnotationError):
            read_jsonl(path)
        assert told(path, "error"), row


def test_an_empty_file_is_an_error(tmp_path):
    assert told(write(tmp_path / "a.jsonl", ""), "error") == [(0, "")]


def test_videos_must_be_there_and_last_as_long_as_told(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    frames = [np.full((32, 32, 3), 40 * k, np.uint8) for k in range(6)]
    write_video(videos / "v1.mp4", frames, 2)  # 3 s
    (videos / "broken.mp4").write_bytes(b"no video")
    rows = [
        GOOD | {"vid": vid, "qid": number, "duration": seconds, "relevant_windows": [[0, 1]]}
        for number, (vid, seconds) in enumerate([("v1", 3), ("v1.mp4", 30), ("broken", 3), ("absent", 3)])
    ]
    found, _ = validate(write(tmp_path / "a.jsonl", *rows), videos)
    assert [(one.level, one.line, one.field) for one in found] == [
        ("warning", 2, "duration"),
        ("error", 3, "vid"),
        ("error", 4, "vid"),
    ]
    assert "lasts 3.00 s" in found[0].message
    with pytest.raises(OSError, match="no such folder of videos"):
        validate(tmp_path / "a.jsonl", tmp_path / "nowhere")


def test_the_same_files_count_as_videos_as_in_extraction():
    assert SUFFIXES == EXTRACTED


def test_the_command_prints_every_finding_and_fails_on_errors_only(tmp_path, capsys):
    path = str(write(tmp_path / "a.jsonl", GOOD | {"relevant_windows": [[1, 31]]}))
    assert cli.main(["data", "validate", path]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'warning: {path}, line 1: field "relevant_windows": [1, 31] ends after the video\'s 30 s',
        f"{path}: 1 queries, 0 errors, 1 warnings",
    ]
    path = str(write(tmp_path / "b.jsonl", GOOD | {"query": ""}, GOOD | {"vid": 3, "qid": 2}))
    assert cli.main(["data", "validate", path, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["queries"], told["errors"], told["warnings"]) == (2, 2, 0)
    assert [(one["line"], one["field"], one["value"]) for one in told["findings"]] == [
        (1, "query", ""),
        (2, "vid", 3),
    ]
    assert cli.main(["data", "validate", str(tmp_path / "nowhere.jsonl")]) == 1
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_the_example_of_the_documentation_is_valid(tmp_path):
    from conftest import ROOT

    text = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith('    {"qid"')]
    path = write(tmp_path / "example.jsonl", *lines)
    found, queries = validate(path)
    assert queries == 3
    assert found == []
    assert read_jsonl(path)[0].moments == ((12.0, 17.5),)

"""`python -m vmrlib evaluate`: tables, JSON, and what it says about files that do not fit."""

import json

import pytest

from vmrlib.cli import main
from vmrlib.data.datasets import DATASETS

PREDICTION = {
    "qid": 1,
    "query": "a cat",
    "vid": "v",
    "pred_relevant_windows": [[0, 5, 0.9], [0, 9, 0.8], [40, 50, 0.1]],
    "pred_saliency_scores": [1] * 30,
}
ANNOTATION = {
    "qid": 1,
    "query": "a cat",
    "vid": "v",
    "duration": 60,
    "relevant_windows": [[0, 10]],
    "relevant_clip_ids": [0, 1, 2, 3, 4],
    "saliency_scores": [[2, 3, 4]] * 5,
}
CORPUS = {
    "video2idx": {"v": 3},
    "VCMR": [{"desc_id": 1, "desc": "x", "predictions": [[3, 0, 5, 1], [3, 0, 10, 0.5]]}],
}
CORPUS_QUERY = {"desc_id": 1, "desc": "x", "vid_name": "v", "ts": [0, 10], "type": "t", "duration": 60}


@pytest.fixture
def files(tmp_path):
    """Writes the two files of a command and gives its arguments."""

    def write(kind, predictions, annotations):
        arguments = ["evaluate", kind]
        for name, rows in (("predictions", predictions), ("annotations", annotations)):
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
            arguments += [f"--{name}", str(path)]
        return arguments

    return write


def printed(capsys, arguments):
    """What a command that succeeds prints on stdout; nothing goes to stderr."""
    assert main(arguments) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    return out


def refused(capsys, arguments, code=1):
    """The one line that a command prints before it fails."""
    try:
        assert main(arguments) == code
    except SystemExit as end:
        assert end.code == code
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    return errors


def test_qvhighlights_prints_one_json_object_in_the_official_structure(files, capsys):
    arguments = files("qvhighlights", [PREDICTION], [ANNOTATION])
    figures = json.loads(printed(capsys, [*arguments, "--json"]))
    assert list(figures) == [
        "brief", "HL-min-Fair", "HL-min-Good", "HL-min-VeryGood", "full", "long", "middle", "short",
    ]  # fmt: skip
    assert figures["full"]["MR-R1"]["0.5"] == 100.0
    assert figures["full"]["MR-R1"]["0.55"] == 0.0
    assert figures["long"]["MR-mIoU"] is None


def test_qvhighlights_prints_a_table(files, capsys):
    lines = printed(capsys, files("qvhighlights", [PREDICTION], [ANNOTATION])).splitlines()
    cells = {line.split("  ")[0]: line.split()[-4:] for line in lines[:8]}
    assert cells["moments"] == ["full", "short", "middle", "long"]
    # At 0.5 the first window hits (AP 1), up to 0.9 the second (AP 1/2): (1 + 8 / 2) / 10.
    assert cells["mAP"] == ["50.00", "50.00", "-", "-"]
    assert cells["R@1, IoU=0.5"] == ["100.00", "100.00", "-", "-"]
    assert lines[-3].split() == ["highlights", "Fair", "Good", "VeryGood"]
    # All clips have equal saliency, so precision is 5 of 30 for those raters who found the five.
    assert lines[-2].split() == ["mAP", "16.67", "11.11", "5.56"]
    assert lines[-1].split() == ["Hit@1", "100.00", "100.00", "100.00"]


def test_tvr_has_the_official_keys_and_the_ranks_that_are_asked_for(files, capsys):
    arguments = files("tvr", [CORPUS], [CORPUS_QUERY])
    figures = json.loads(printed(capsys, [*arguments, "--json", "--ranks", "1", "2"]))
    assert figures["VCMR"] == {"0.5-r1": 100.0, "0.5-r2": 100.0, "0.7-r1": 0.0, "0.7-r2": 100.0}
    assert figures["VCMR_by_type"]["t-0.7-r2"] == 100.0
    assert figures["VCMR_by_type"]["v-0.5-r1"] is None
    assert figures["VCMR_by_type"]["desc_type_ratio"] == "v 0.0 t 100.0 vt 0.0"
    lines = printed(capsys, arguments).splitlines()
    assert lines[0].split() == ["VCMR", "all", "v", "t", "vt"]
    assert [line.split("  ")[0] for line in lines[1:3]] == ["R@1, IoU=0.5", "R@5, IoU=0.5"]


def test_span_prints_every_figure_with_its_interval(files, capsys):
    arguments = files("span", [PREDICTION], [ANNOTATION])
    figures = json.loads(printed(capsys, [*arguments, "--json", "--ious", "0.5", "0.7"]))
    assert figures["R@1, IoU=0.5"] == 100.0
    assert figures["R@1, IoU=0.7"] == 0.0
    assert figures["R@5, IoU=0.7"] == 100.0
    assert figures["mIoU"] == 50.0
    assert figures["dR@1, IoU=0.5"] == 91.67  # the end is 5 of 60 s off
    assert figures["dR@5, IoU=0.5"] == 98.33
    assert figures["intervals"]["mIoU"] == [50.0, 50.0]
    assert (figures["queries"], figures["convention"]) == (1, ">=")
    lines = printed(capsys, arguments).splitlines()
    assert lines[0] == "1 queries, hit: IoU >= m"
    assert ["mIoU", "50.00", "50.00", "to", "50.00"] in [line.split() for line in lines]


@pytest.mark.parametrize(("convention", "recall"), [("MMN", 100.0), ("MSAT", 0.0), (">", 0.0), (">=", 100.0)])
def test_span_takes_a_convention_by_sign_or_name(files, capsys, convention, recall):
    arguments = files("span", [PREDICTION], [ANNOTATION])
    figures = json.loads(printed(capsys, [*arguments, "--json", "--convention", convention]))
    assert figures["R@1, IoU=0.5"] == recall


def test_span_suppresses_before_it_ranks(files, capsys):
    # By score: 0-9 hides 0-5 and the reversed one is dropped; 0-9 is the first then.
    windows = [[0, 5, 0.5], [9, 0, 0.9], [0, 9, 0.8], [40, 50, 0.1]]
    arguments = files("span", [PREDICTION | {"pred_relevant_windows": windows}], [ANNOTATION])
    figures = json.loads(printed(capsys, [*arguments, "--json", "--nms", "0.5", "--ranks", "1", "2"]))
    assert figures["mIoU"] == 90.0
    assert figures["R@1, IoU=0.7"] == 100.0


def test_partial_says_how_many_were_left_out(files, capsys):
    others = [ANNOTATION | {"qid": number} for number in (1, 2, 3)]
    for kind in ("qvhighlights", "span"):
        arguments = files(kind, [PREDICTION], others)
        errors = refused(capsys, arguments)
        assert "annotations.jsonl: 2 of 3 queries have no prediction (2, 3)" in errors
        assert "partial" in errors
        figures = json.loads(printed(capsys, [*arguments, "--partial", "--json"]))
        assert figures["partial"] == {"queries": 1, "without_prediction": 2, "without_query": 0}
        assert "1 queries judged; left out: 0 predictions without a query, 2 queries" in printed(
            capsys, [*arguments, "--partial"]
        )
    arguments = files("tvr", [CORPUS], [CORPUS_QUERY, CORPUS_QUERY | {"desc_id": 2}])
    assert "VCMR: 1 of 2 queries have no prediction (2)" in refused(capsys, arguments)
    assert printed(capsys, [*arguments, "--partial"]).startswith("VCMR: 1 queries judged; left out: 0 pred")


def test_a_wrong_line_is_named_in_one_line(files, capsys):
    broken = PREDICTION | {"pred_relevant_windows": [[0, "ten", 1]]}
    errors = refused(capsys, files("qvhighlights", [broken], [ANNOTATION]))
    assert 'predictions.jsonl, line 1: field "pred_relevant_windows"' in errors
    assert "[0, 'ten', 1]" in errors
    errors = refused(capsys, files("span", [PREDICTION], [ANNOTATION | {"duration": -1}]))
    assert 'annotations.jsonl, line 1: field "duration"' in errors


def test_the_traceback_is_shown_on_request(files):
    arguments = files("qvhighlights", [PREDICTION], [ANNOTATION | {"qid": 2}])
    with pytest.raises(ValueError, match="no prediction is for a query"):
        main([*arguments, "--debug"])


def test_a_missing_file_and_an_unknown_dataset_are_named(files, capsys):
    arguments = files("span", [PREDICTION], [ANNOTATION])
    errors = refused(capsys, [*arguments[:-1], "nowhere.jsonl"])
    assert "nowhere.jsonl: no such file, and no DATASET/SPLIT of tacos, " in errors
    errors = refused(capsys, [*arguments[:-1], "tacos/middle"])
    assert all(split in errors for split in DATASETS["tacos"])
    assert "no-file" in refused(capsys, [*arguments[:3], "no-file", *arguments[4:]])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--convention", "XML"], "convention must be >, >= or one of 2D-TAN"),
        (["--ious", "1.5"], "expected a number above 0 and at most 1, not '1.5'"),
        (["--ranks", "0"], "expected a whole number above 0, not '0'"),
        (["--nms", "x"], "expected a number above 0 and at most 1, not 'x'"),
    ],
)
def test_wrong_options_are_a_wrong_call(files, capsys, extra, message):
    assert message in refused(capsys, [*files("span", [PREDICTION], [ANNOTATION]), *extra], code=2)


@pytest.mark.parametrize("kind", ["qvhighlights", "tvr", "span"])
def test_help_shows_an_example(capsys, kind):
    with pytest.raises(SystemExit) as end:
        main(["evaluate", kind, "--help"])
    assert end.value.code == 0
    assert f"example: python -m vmrlib evaluate {kind} --predictions" in capsys.readouterr().out


def test_an_installed_split_is_named_by_dataset_and_split(mirror, files, capsys):
    folder = mirror / "eval" / "qvhighlights"
    path = next(path for path in sorted(folder.rglob("*val*.jsonl")))
    out = printed(
        capsys,
        [
            "evaluate",
            "qvhighlights",
            "--predictions",
            str(path),
            "--annotations",
            "qvhighlights/val",
            "--json",
        ],
    )
    (metrics,) = path.parent.glob("*metrics*.json")
    official = json.loads(metrics.read_text(encoding="utf-8"))["brief"]
    assert official.items() <= json.loads(out)["brief"].items()

"""The summary of the real datasets: right on small examples; the packaged file is that of the real ones."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data import summary, summary_results
from vmrlib.data.annotations import Query
from vmrlib.data.datasets import MissingFile, read_split
from vmrlib.data.predictions import Prediction, write_predictions
from vmrlib.metrics.overlap import area_iou

SPLITS_WITH_REFERENCE = {  # the names of the reference file -> ours
    "tacos/val": "tacos val",
    "tacos/test": "tacos test",
    "activitynet_captions/val": "activitynet_captions val_1",
    "activitynet_captions/test": "activitynet_captions val_2",
    "charades_sta/test": "charades_sta test",
    "charades_cd/test_iid": "charades_cd test_iid",
    "charades_cd/test_ood": "charades_cd test_ood",
    "activitynet_cd/test_iid": "activitynet_cd test_iid",
    "activitynet_cd/test_ood": "activitynet_cd test_ood",
    "tvr/val (SVMR)": "tvr val",
}


@pytest.fixture(scope="session")
def built(mirror) -> dict:
    """The summary of the real files, made anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMRLIB_MIRROR", str(mirror))
        return summary.build_summary()


@pytest.fixture(scope="module")
def packaged() -> dict:
    return summary.read_summary()


def test_the_packaged_file_is_what_the_real_files_give(built):
    stored = summary.PACKAGED.read_text(encoding="utf-8").splitlines()
    fresh = summary.as_text(built).splitlines()
    other = [(a[:200], b[:200]) for a, b in zip(stored, fresh, strict=False) if a != b]
    assert other == [] and len(stored) == len(fresh), "run: python -m vmrlib data check --summary"


def test_model_free_answers_have_the_reference_figures(built, mirror):
    reference = json.loads((mirror / "eval" / "reference_baselines.json").read_text(encoding="utf-8"))[
        "baselines"
    ]
    for name, own in SPLITS_WITH_REFERENCE.items():
        for theirs, ours in (("predict_full_video", "full video"), ("predict_train_median", "train median")):
            if theirs in reference[name]:
                wanted = [reference[name][theirs][key] for key in ("R1@0.3", "R1@0.5", "R1@0.7", "mIoU")]
                assert built["model-free"][own][ours] == wanted, (name, ours)
    training = set(reference) - set(SPLITS_WITH_REFERENCE)
    assert training == {
        "tacos/train",
        "activitynet_captions/train",
        "charades_sta/train",
    }


def test_published_scores_have_the_official_figures(built, mirror):
    folder = mirror / "eval" / "qvhighlights"
    metrics = {
        "Moment-DETR": "moment_detr_sample/sample_val_preds_metrics_raw.json",
        "CG-DETR": "cgdetr/hl_val_submission_metrics.json",
        "CG-DETR, CLIP only": "cgdetr_clip_only/hl_val_submission_metrics.json",
    }
    for name, file in metrics.items():
        official = json.loads((folder / file).read_text(encoding="utf-8"))["brief"]
        ours = built["published"]["official"][name]
        assert {key: ours[key] for key in official} == official
        assert built["published"]["scores"][name]["R@1, IoU=0.5"][0] == official["MR-full-R1@0.5"]
        assert built["published"]["scores"][name]["mAP"][0] == official["MR-full-mAP"]


def test_the_packaged_file_is_small_and_holds_no_sentence(packaged):
    assert summary.PACKAGED.stat().st_size < 150_000

    def strings(value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield key
                yield from strings(item)
        elif isinstance(value, list):
            for item in value:
                yield from strings(item)
        elif isinstance(value, str):
            yield value

    found = set(strings({key: value for key, value in packaged.items() if key != "made from"}))
    assert max(len(text.split()) for text in found) <= 10 and max(map(len, found)) < 70


def test_every_histogram_counts_every_moment(packaged):
    for dataset, splits in packaged["datasets"].items():
        for name, split in splits.items():
            if "location" not in split:
                continue
            moments = np.sum(split["location"])
            assert moments == sum(split["moment length"]["counts"]) == sum(split["moment share"]["counts"])
            assert sum(split["video duration"]["counts"]) <= split["videos"], (dataset, name)
            assert sum(split["moments per query"]) == split["queries"]
            assert split["rows"] - split["queries"] <= sum(split["dropped"].values())


def test_what_is_missing_is_named_with_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VMRLIB_DATA", str(tmp_path))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    with pytest.raises(MissingFile, match=r"train.json: no such file.*data_download.sh tacos"):
        summary.build_summary()
    with pytest.raises(MissingFile, match=r"univtg.jsonl: no such file.*data_download.sh predictions"):
        summary.results_folder("qvhighlights", ["univtg/univtg.jsonl"])


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "summary.json"
    monkeypatch.setattr(summary, "build_summary", lambda: {"a": {"b": 1.5}})
    summary.write_summary(path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": {"b": 1.5}}
    monkeypatch.setattr(summary, "build_summary", lambda: {"a": float("nan")})
    with pytest.raises(ValueError):
        summary.write_summary(path)
    assert os.listdir(path.parent) == ["summary.json"]
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": {"b": 1.5}}


def test_text_of_the_summary_is_json_and_reads_line_by_line():
    value = {"a": {"b": {"c": {"d": {"e": [1, 2]}}}, "f": {}}, "g": [0.5]}
    text = summary.as_text(value)
    assert json.loads(text) == value
    assert '"d": {"e":[1,2]}' in text.splitlines()


def test_histograms_hold_what_lies_beyond_their_edges():
    result = summary.histogram([0.01, 5.0, 5.0, 4000.0])
    assert result["median"] == 5.0
    assert result["counts"][0] == result["counts"][-1] == 1 and sum(result["counts"]) == 4


def test_locations_put_ends_into_the_cell_before_them():
    grid = np.array(summary.locations(np.array([[0.0, 1.0], [0.0, 0.5], [0.5, 0.51], [0.96, 1.0]])))
    assert {(0, 19), (0, 9), (10, 10), (19, 19)} == set(zip(*np.nonzero(grid), strict=True))


def test_words_are_counted():
    result = summary.words([["a", "dog", "runs"], ["a", "dog"], []])
    assert result["vocabulary"] == 3 and result["mean"] == 1.67
    assert result["per query"] == [1, 0, 1, 1]
    assert list(result["common"].items()) == [("a", 2), ("dog", 2), ("runs", 1)]
    assert summary.first_verbs(["The person opens the door.", "A red door."]) == {"(none)": 1, "opens": 1}


def test_scores_are_those_of_the_best_true_moment():
    windows = np.array([[[0.0, 10.0]], [[0.0, 4.0]]])
    truths = np.array([[[20.0, 30.0], [0.0, 5.0]], [[0.0, 10.0], [0.0, 0.0]]])
    mask = np.array([[True, True], [True, False]])
    assert summary.scores(windows, truths, mask) == [100.0, 50.0, 0.0, 45.0]  # IoU 5/10 and 4/10


def test_shares_of_a_video_are_whole_seconds_where_they_should_be():
    shares, durations = (
        np.array([[1 / 6 + 1e-16, 4 / 6]]),
        np.array([30.0, 82.730000000000004])[:, None, None],
    )
    assert summary.in_seconds(shares, durations)[0].tolist() == [[5.0, 20.0]]
    whole = summary.in_seconds(np.array([[0.0, 1.0]]), np.array([[[0.1 + 0.2]]]))
    assert whole.tolist() == [[[0.0, 0.1 + 0.2]]]  # the end of the video is what the file says


def query(name, video, start, end, text="A man sits.", duration=100.0, **extra) -> Query:
    return Query(name, text, video, ((float(start), float(end)),), duration, extra=extra)


def test_a_window_hits_several_moments_where_it_can():
    assert summary_results.most_hits([(0, 10), (20, 30)], [1, 1], 0.3) == 2  # [0, 30] has IoU 1/3 with both
    assert summary_results.most_hits([(0, 10), (20, 30)], [1, 1], 0.4) == 1  # too far apart
    assert summary_results.most_hits([(0, 10), (20, 30)], [1, 3], 0.4) == 3  # so the frequent one
    assert (
        summary_results.most_hits([(0, 10), (5, 15)], [1, 1], 0.5) == 2
    )  # [2.5, 12.5] has IoU 0.6 with both
    assert summary_results.most_hits([(0, 10), (0, 20)], [2, 1], 0.5) == 3
    assert summary_results.most_hits([(0, 10), (0, 25)], [2, 1], 0.7) == 2  # 10 / 0.7 is less than 0.7 * 25
    assert summary_results.most_hits([(0, 10), (10, 20)], [1, 1], 0.5) == 2  # the whole: exactly half of both


spans = st.tuples(st.integers(0, 20), st.integers(1, 15)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(spans, min_size=1, max_size=5, unique=True), st.sampled_from([0.3, 0.5, 0.7]))
def test_no_window_of_a_fine_grid_hits_more(moments, iou):
    edges = np.linspace(-5, 40, 91)
    windows = np.array([(a, b) for a in edges for b in edges if a < b])
    reached = area_iou(windows[:, None], np.array(moments, dtype=float)[None]) >= iou
    assert summary_results.most_hits(moments, [1] * len(moments), iou) >= reached.sum(axis=1).max()


def test_ceiling_counts_queries_that_ask_the_same_and_mean_another_moment():
    queries = [
        query("1", "v", 0, 10),
        query("2", "v", 0, 10),
        query("3", "v", 50, 60, text="a man sits."),
        query("4", "w", 50, 60),
    ]
    result = summary_results.ceilings(queries)
    assert result["queries"] == 4 and result["repeated rows"] == 1
    assert result["queries with another moment for the same text"] == 3
    assert result["R@1, IoU=0.5"] == 75.0


def test_iou_of_segments_counts_segments():
    assert summary_results.segment_iou((0, 0), (0, 0)) == 1
    assert summary_results.segment_iou((0, 1), (1, 1)) == 0.5
    assert summary_results.segment_iou((0, 1), (1, 2)) == 1 / 3
    assert summary_results.segment_iou((0, 1), (3, 5)) == 0


def test_annotators_are_judged_by_each_other():
    queries = [
        query("1", "v", 0, 5, times=[[0, 0], [0, 0]], num_segments=6),
        query("2", "v", 0, 5, times=[[1, 2], [2, 2], [2, 2]], num_segments=5),
    ]
    result = summary_results.agreement(queries)
    assert result["unanimous"] == 50 and result["annotators"] == 5
    assert result["pairs"] == {"0": 0, "1/3": 0, "1/2": 50, "2/3": 0, "1": 50, "other": 0}
    at_half = summary_results.AXIS.index(0.5)
    human = {name: result[name]["another annotator"][at_half] for name in ("curves", "curves, >")}
    assert human == {"curves": 100.0, "curves, >": 66.67}  # the second query: 3 of 3 pairs, or 1 of 3
    assert result["curves"]["first segment"][at_half] == 50
    assert result["mIoU"]["another annotator"] == 83.33
    best = {name: result[name]["best possible answer"][at_half] for name in ("curves", "curves, >")}
    assert best == {"curves": 100.0, "curves, >": 83.33}  # segment 2 hits two of the three


def test_training_logs_of_both_kinds_are_read(tmp_path):
    table = "| Rank@1 | mIoU |\n|  46.76  |  35.56  |  20.99  |  68.50  |  58.18  |  31.56  | 33.23 |\n"
    line = '... [Metrics] {"brief": {"MR-full-R1@0.3": 23.48, "MR-full-R1@0.5": 10.9}, "HL-min-Fair": {}}\n'
    for file, text in zip(summary_results.LOGS.values(), (table * 2, table, line, line * 3), strict=True):
        (tmp_path / file).write_text(text, encoding="utf-8")
    runs = summary_results.training_runs(tmp_path)
    assert [run["R@1, IoU=0.5"] for run in runs.values()] == [[35.56] * 2, [35.56], [10.9], [10.9] * 3]


def test_intervals_over_videos_are_wider_where_a_video_has_many_queries():
    queries = [query(f"{v}.{k}", f"v{v}", 0, 90 if v % 2 else 10) for v in range(10) for k in range(20)]
    result = summary_results.two_intervals(queries)
    assert result["R@1, IoU=0.3"] == 50 and (result["videos"], result["queries"]) == (10, 200)
    width = {name: high - low for name, (low, high) in list(result.items())[-2:]}
    assert width["over videos"] > 3 * width["over queries"]


def test_published_predictions_are_scored_compared_and_stretched(tmp_path):
    train = [query("t", "t", 0, 50)]
    queries = [query("1", "v", 0, 20), query("2", "w", 40, 80)]
    for number, path in enumerate(summary_results.MODELS.values()):
        windows = [[0.0, 20.0 if number == 0 else 40.0], [40.0, 80.0]]
        rows = [Prediction(str(i + 1), np.array([w]), np.ones(1)) for i, w in enumerate(windows)]
        write_predictions(tmp_path / path, rows[::-1])  # the order of the file does not matter
    result = summary_results.published(tmp_path, train, queries)
    assert result["scores"]["Moment-DETR"]["R@1, IoU=0.7"] == [100, 100, 100]
    assert result["scores"]["UniVTG"]["R@1, IoU=0.7"] == [50, 0, 100]
    assert result["scores"]["UniVTG"]["mIoU"][0] == 75
    assert result["exact ties"]["UniVTG"] == {"0.5": 1, "0.7": 0}
    at_half = result["axis"].index(0.5)
    own = result["curves"]["UniVTG"]
    assert (own["R@1"][at_half], own["R@1, >"][at_half]) == (100, 50)
    assert own["dR@1"][at_half] == 90  # (1 - 0) (1 - 20 / 100), and 1
    assert result["differences"]["Moment-DETR - UniVTG"]["R@1, IoU=0.7"] == [50, 0, 100]
    long = result["differences"]["Moment-DETR - UniVTG"]["mAP, long"]
    assert long == [0, 0, 0]  # both find the long moment
    assert result["short"] == {"queries": 0, "short moments only": 0, "R@1, IoU=0.5": {}}
    assert result["stretched"]["Moment-DETR"]["0.5"][:3] == [
        100,
        100,
        0,
    ]  # half of each moment, in its middle
    assert result["scores"]["full video"]["mIoU"][0] == 30
    assert result["rounded"]["UniVTG"]["on the grid before"] == 100
    assert result["official"]["UniVTG"]["MR-full-R1@0.5"] == 100


def test_rounding_puts_both_ends_on_the_grid():
    answers = [
        Prediction("1", np.array([[0.9, 10.9]]), np.ones(1)),
        Prediction("2", np.array([[4.0, 8.0]]), np.ones(1)),
    ]
    truths = [np.array([[0.0, 10.0]]), np.array([[4.0, 8.0]])]  # [0.9, 10.9] becomes [0, 10]
    result = summary_results._rounded(answers, truths)
    assert result["on the grid before"] == 50
    assert set(result["R@1"]) == {100}


def test_splits_that_cannot_be_judged_are_left_out(tmp_path):
    folder = tmp_path / "didemo"
    folder.mkdir()
    row = {"annotation_id": 1, "description": "A cat.", "video": "v", "num_segments": 6, "times": [[0, 1]]}
    for name in ("val", "test"):
        (folder / f"{name}_data.json").write_text(json.dumps([row]), encoding="utf-8")
    splits = {name: read_split("didemo", name, folder) for name in ("val", "test")}
    result = summary.constants("didemo", splits)
    # val stands in for the training split, which is not public
    assert list(result) == ["didemo test", "didemo test, OOD-1", "didemo test, OOD-2"]
    # 3 s of noise before a moment of 10 s: 3 to 13 of 33 s, and the answer 0 to 11 s has an IoU of 8/13
    assert result["didemo test, OOD-1"]["train median"] == [100, 100, 0, 61.54]
    assert result["didemo test"]["train median"] == [100, 100, 100, 100]
    assert result["didemo test"]["full video"] == [100, 0, 0, 33.33]

"""Our metrics give the figures of the released evaluators: golden figures, and real prediction files."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vmrlib.data.annotations import Query, read_jsonl
from vmrlib.data.predictions import (
    CorpusPredictions,
    Prediction,
    match,
    read_corpus_predictions,
    read_corpus_queries,
    read_predictions,
)
from vmrlib.metrics import (
    batch_averaged_mean,
    best_iou,
    evaluate_corpus,
    evaluate_qvhighlights,
    evaluate_span,
    hits_at,
    mean_iou,
    recall_at,
    text_to_video,
    video_to_text,
)
from vmrlib.metrics.retrieval import entries_released
from vmrlib.metrics.retrieval import ranks as pessimistic_ranks
from vmrlib.moments import non_maximum_suppression

RELEASED_NAMES = {"R1": "R@1", "R5": "R@5", "R10": "R@10", "MR": "MdR", "MedianR": "MdR", "MeanR": "MnR"}
RELEASED_NAMES["Std_Rank"] = "std"
# Recomputed by an independent implementation and noted beside the file, which has no metrics file.
UNIVTG = {
    "MR-full-R1@0.5": 68.39,
    "MR-full-R1@0.7": 54.0,
    "MR-full-mIoU": 62.19,
    "MR-full-mAP@0.5": 65.6,
    "MR-full-mAP@0.75": 47.73,
    "MR-full-mAP": 45.99,
    "MR-short-mAP": 12.61,
    "MR-middle-mAP": 49.17,
    "MR-long-mAP": 49.02,
    "HL-min-VeryGood-mAP": 41.25,
    "HL-min-VeryGood-Hit1": 67.42,
}


def files(folder, pattern):
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.fail(f"no reference figures {folder / pattern}")
    return found


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def ran(what, count, found):
    print(f"{what}: {count} of {len(found)} files")
    assert count == len(found)


def leaves(figures, prefix=""):
    """Path -> value of every figure in nested dicts."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


# ---- golden figures of released evaluators ---------------------------------------------------------


def test_msat_suppression_recall_and_mean_iou_are_the_released_ones(golden):
    found, count = files(golden, "msat/eval*.safetensors"), 0
    for path in found:
        data = load_file(path)
        answers, truths = data["pred"].double(), [moment[None] for moment in data["gt"].double()]
        thresholds = {key.split("_")[1] for key in data if key.startswith("nms_")}
        assert thresholds
        for threshold in thresholds:
            kept_by = {}
            for top in {int(key.rpartition("top")[2]) for key in data if key.startswith(f"nms_{threshold}_")}:
                expected = data[f"nms_{threshold}_top{top}"]
                order = torch.arange(answers.shape[1], 0, -1).double()  # best first already
                kept_by[top] = [
                    non_maximum_suppression(one, order, float(threshold), top if top > 0 else None)
                    for one in answers
                ]
                for ours, theirs in zip(kept_by[top], expected, strict=True):
                    assert ours.tolist() == theirs[theirs >= 0].tolist(), f"{path.name} {threshold} top {top}"
            kept = [one[index] for one, index in zip(answers, kept_by[5], strict=True)]
            for row, iou in enumerate((0.3, 0.5, 0.7)):
                for column, n in enumerate((1, 5)):
                    recall = recall_at(kept, truths, n, iou, "MSAT") / 100
                    assert recall == pytest.approx(data[f"recall_{threshold}"][row, column].item(), abs=1e-7)
                    hits = hits_at(kept, truths, n, iou, "ACB")
                    averaged = data[f"recall_batchavg64_{threshold}"][row, column].item()
                    assert batch_averaged_mean(hits, 64) == pytest.approx(averaged, abs=1e-7)
            assert mean_iou(kept, truths) / 100 == pytest.approx(data[f"miou_{threshold}"].item(), abs=1e-7)
            averaged = batch_averaged_mean(best_iou(kept, truths), 64)
            assert averaged == pytest.approx(data[f"miou_batchavg64_{threshold}"].item(), abs=1e-7)
        count += 1
    ran("msat eval", count, found)


def test_mmn_scores_suppression_and_recall_are_the_released_ones(golden):
    found, count = files(golden, "mmn/eval_*.safetensors"), 0
    for path in found:
        data, config = load_file(path), json.loads(metadata_of(path)["config"])
        scores = (0.5 * data["in.contrastive_score"] + 0.5) ** config["score_pow"] * data["in.iou_score"]
        torch.testing.assert_close(scores, data["out.score2d"], atol=1e-5, rtol=1e-5)
        durations = torch.repeat_interleave(data["in.duration"], data["in.num_sentence"])
        kept = []
        for row, (map2d, duration) in enumerate(zip(data["out.score2d"], durations, strict=True)):
            # Float32 seconds, as released: many IoUs lie at the threshold, and their last bit decides.
            moments = (map2d.nonzero() + torch.tensor([0, 1])) * duration / config["N"]
            survivors = moments[non_maximum_suppression(moments, map2d[map2d != 0], config["nms_thresh"])]
            top = data["eval.nms_top10"][row]
            real = top[top[:, 0] < top[:, 1]]  # of fewer survivors the file is filled up
            torch.testing.assert_close(survivors[: len(top)], real, atol=1e-4, rtol=0)
            kept.append(survivors)
        truths = [moment[None] for moment in data["in.moments"]]
        for n in range(5):
            ious = best_iou([one[n : n + 1] for one in kept], truths).float()
            there = torch.tensor([len(one) > n for one in kept])
            torch.testing.assert_close(ious[there], data["eval.top5_iou"][there, n], atol=1e-5, rtol=0)
        recalls = {}
        for name, theirs in zip(config["recall_names"], data["eval.recall"].tolist(), strict=True):
            if at := re.fullmatch(r"R@(\d+),IoU@([\d.]+)", name):
                recalls[name] = recall_at(kept, truths, int(at[1]), float(at[2]), "MMN") / 100
            else:  # the mean of the row above
                prefix = f"R@{name.removeprefix('Best_R')},"
                row = [value for key, value in recalls.items() if key.startswith(prefix)]
                recalls[name] = sum(row) / len(row)
            assert recalls[name] == pytest.approx(theirs, abs=1e-6), f"{path.name} {name}"
        count += 1
    ran("mmn eval", count, found)


def assert_released(ours, theirs, what):
    for name, value in theirs.items():
        assert ours[RELEASED_NAMES[name]] == pytest.approx(value, rel=1e-6), f"{what} {name}"


def groups_of(ends):
    """The video of each sentence, from the numbers of the sentences after which the video changes."""
    sizes = np.diff([0, *ends.tolist()])
    return np.repeat(np.arange(len(sizes)), sizes)


def test_ucofia_ranks_and_summaries_are_the_released_ones(golden):
    found, count = files(golden, "ucofia/sinkhorn*.safetensors"), 0
    for path in found:
        data, expected = load_file(path), json.loads(metadata_of(path)["metrics"])
        square, tied = data["metrics.square"], data["metrics.square_with_ties"]
        flat, flat_groups = data["metrics.multi_flat"], groups_of(data["metrics.multi_cut_off_points"])
        padded = data["out.sim_padded_[video,sentence,video]"]
        real = torch.isfinite(padded[..., 0])
        groups = real.nonzero()[:, 0]
        assert groups_of(data["input.cut_off_points"]).tolist() == groups.tolist()
        computed = {
            "square_rows": text_to_video(square, ties="released"),
            "square_cols": video_to_text(square, ties="released"),
            "square_with_ties": text_to_video(tied, ties="released"),
            "multi_t2v": text_to_video(flat, flat_groups, ties="released"),
            "multi_v2t": video_to_text(flat, flat_groups, ties="released"),
            "pipeline_multi/t2v": text_to_video(padded[real], groups, ties="released"),
            "pipeline_multi/v2t": video_to_text(padded[real], groups, ties="released"),
        }
        theirs = {name: value for name, value in expected.items() if name != "pipeline_multi"}
        theirs |= {f"pipeline_multi/{way}": value for way, value in expected["pipeline_multi"].items()}
        assert theirs.keys() == computed.keys()
        for name, values in theirs.items():
            assert_released(computed[name], values, f"{path.name} {name}")
        for name, matrix in (("square", square), ("square_T", square.T), ("ties", tied)):
            ranks = data[f"metrics.{name}_ranks0"]
            assert (entries_released(matrix) - 1).tolist() == ranks.tolist()
            if len(ranks) == len(matrix):  # no ties: ours is the released rank
                assert (pessimistic_ranks(matrix) - 1).tolist() == ranks.tolist()
        count += 1
    ran("ucofia sinkhorn_metrics", count, found)


def test_ucofia_similarities_score_as_the_released_pipelines_say(golden):
    found, count = files(golden, "ucofia/eval*.safetensors"), 0
    for path in found:
        data, expected = load_file(path), json.loads(metadata_of(path)["metrics"])
        for tree, both in expected.items():
            scores = data[f"out.{tree}.sim"]
            assert_released(text_to_video(scores, ties="released"), both["t2v"], f"{path.name} {tree}")
            assert_released(video_to_text(scores, ties="released"), both["v2t"], f"{path.name} {tree}")
        count += 1
    ran("ucofia eval_pipeline", count, found)


def test_reloclnet_rows_score_as_the_released_evaluator_says(golden):
    # The released code cuts its lists to `max_after_nms` rows in place, before it scores them at all.
    found, count = files(golden, "reloclnet/inference*.safetensors"), 0
    for path in found:
        data, config = load_file(path), json.loads(metadata_of(path)["json"])
        queries = [
            Query(
                str(row["desc_id"]),
                row["desc"],
                row["vid_name"],
                (tuple(row["ts"]),),
                row["duration"],
                extra={"type": row["type"]},
            )
            for row in config["queries"]
        ]
        flows = {
            "metrics_before_nms": {"VCMR": "vcmr", "SVMR": "svmr", "VR": "vr"},
            "metrics_after_nms_official_flow": {"VCMR": "vcmr_nms_flow", "SVMR": "svmr_nms_flow_buggy"},
        }
        for flow, names in flows.items():
            tasks = {
                task: {
                    query.id: rows[rows[:, 0] >= 0, :3][: config["max_after_nms"]].numpy()
                    for query, rows in zip(queries, data[f"out.{name}"], strict=True)
                }
                for task, name in names.items()
            }
            submission = CorpusPredictions(config["video2idx"], tasks)
            ranks = sorted({int(key.rpartition("r")[2]) for key in config[flow]["VCMR"]})
            assert evaluate_corpus(submission, queries, ranks) == config[flow], f"{path.name} {flow}"
        count += 1
    ran("reloclnet inference", count, found)


# ---- real files of predictions ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def qvhighlights(mirror):
    """The queries of both splits that have true moments."""
    folder = mirror / "mirror" / "qvhighlights"
    return [read_jsonl(folder / f"highlight_{name}.jsonl") for name in ("val_release", "test_with_gt")]


def split_of(predictions, splits):
    ids = {prediction.query_id for prediction in predictions}
    return next(queries for queries in splits if {query.id for query in queries} == ids)


def test_every_official_metrics_file_of_qvhighlights_is_reproduced_to_the_digit(mirror, qvhighlights):
    found, count = [], 0
    for metrics in files(mirror, "eval/qvhighlights/**/*metrics*.json"):
        found += [(metrics, path) for path in sorted(metrics.parent.glob("*.jsonl"))]
    for metrics, path in found:
        official = dict(leaves(json.loads(metrics.read_text(encoding="utf-8"))))
        predictions = read_predictions(path)
        ours = dict(leaves(evaluate_qvhighlights(predictions, split_of(predictions, qvhighlights))))
        assert len(official) > 100
        assert {name: ours.get(name) for name in official} == official, path
        count += 1
    ran("qvhighlights", count, found)


def test_a_file_with_few_and_reversed_windows_has_the_figures_of_an_independent_count(mirror, qvhighlights):
    for path in files(mirror, "eval/qvhighlights/univtg/*.jsonl"):
        predictions = read_predictions(path)
        brief = evaluate_qvhighlights(predictions, split_of(predictions, qvhighlights))["brief"]
        assert {name: brief[name] for name in UNIVTG} == UNIVTG


def test_recall_of_a_file_is_that_of_its_official_figures(mirror, qvhighlights):
    for metrics in files(mirror, "eval/qvhighlights/**/*metrics*.json"):
        official = json.loads(metrics.read_text(encoding="utf-8"))["full"]
        for path in metrics.parent.glob("*.jsonl"):
            predictions = read_predictions(path)
            matched = match(predictions, split_of(predictions, qvhighlights))
            ours = evaluate_span(matched.predictions, matched.queries, (1,), (0.5, 0.7), "QVHighlights")
            assert ours["R@1, IoU=0.5"] == official["MR-R1"]["0.5"]
            assert ours["R@1, IoU=0.7"] == official["MR-R1"]["0.7"]
            assert ours["mIoU"] == official.get("MR-mIoU", ours["mIoU"])


def test_tvr_fixtures_are_reproduced_exactly(mirror):
    found, count = files(mirror, "eval/tvr/*_predictions.json"), 0
    for path in found:
        name = path.name.removesuffix("_predictions.json")
        submission = read_corpus_predictions(path)
        queries = read_corpus_queries(path.with_name(f"{name}_gt.jsonl"))
        for metrics in files(path.parent, f"{name}_metrics*.json"):
            official = json.loads(metrics.read_text(encoding="utf-8"))
            ranks = sorted({int(key.rpartition("r")[2]) for key in official["VCMR"]})
            ours = evaluate_corpus(submission, queries, ranks)
            assert json.dumps(ours) == json.dumps(official), metrics  # the order of the keys, too
        count += 1
    ran("tvr", count, found)


def test_percent_answers_of_a_language_model_have_the_reported_iou(mirror):
    (log,) = files(mirror, "eval/activitynet/*_log.txt")
    (data,) = files(mirror, "eval/activitynet/*_data_*.json")
    videos = json.loads(data.read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [row for row in rows if row["task"] == "grounding"]
    assert rows
    for row in rows:
        video = videos[row["video_id"]]
        start, end = map(float, re.search(r"from (\d+) to (\d+)", row["answer"]).groups())
        answer = torch.tensor([[start, end]], dtype=torch.float64) / 100 * video["duration"]
        truth = torch.tensor([video["timestamps"][row["info"]["sentence_id"]]], dtype=torch.float64)
        assert round(best_iou([answer], [truth]).item(), 2) == row["info"]["iou"], row["answer"]


def test_metrics_of_the_full_val_split_of_tvr_have_the_same_distribution_of_types(mirror):
    official = json.loads((mirror / "eval/tvr/sample_val_predictions_metrics_raw.json").read_text("utf-8"))
    queries = read_corpus_queries(mirror / "mirror" / "tvr" / "tvr_val_release.jsonl")
    empty = {query.id: np.zeros((0, 3), dtype=np.float32) for query in queries}
    index = {query.video_id: number for number, query in enumerate(queries)}
    ours = evaluate_corpus(CorpusPredictions(index, {"VR": empty}), queries)
    assert ours["VR_by_type"]["desc_type_ratio"] == official["VR_by_type"]["desc_type_ratio"]
    assert ours["VR"] == {"r1": 0.0, "r5": 0.0, "r10": 0.0, "r100": 0.0}


def test_an_answer_to_the_full_video_is_the_official_baseline_figure(mirror):
    baselines = json.loads((mirror / "eval/reference_baselines.json").read_text("utf-8"))["baselines"]
    expected = baselines["tvr/val (SVMR)"]["predict_full_video"]
    queries = read_corpus_queries(mirror / "mirror" / "tvr" / "tvr_val_release.jsonl")
    answers = [
        Prediction(query.id, np.array([[0.0, query.duration]]), np.ones(1), video_id=query.video_id)
        for query in queries
    ]
    ours = evaluate_span(answers, queries, (1,), (0.1, 0.3, 0.5, 0.7))
    assert {name: ours[name.replace("R1@", "R@1, IoU=")] for name in expected} == expected

"""Answers that need no model: worked by hand, and equal to measured reference figures on the real files."""

import json

import pytest
import torch
from test_datasets_real import ANET, real

from vmrlib.data.annotations import Query
from vmrlib.data.model_free import (
    best_windows,
    constant_window,
    full_video,
    median_window,
    random_moment,
    train_median,
    truths,
    windows,
)
from vmrlib.metrics import best_iou, mean_iou, recall_at


def query(*moments, duration=10.0, name="q"):
    return Query(name, "text", "v", tuple(moments), duration)


def test_the_full_video_is_from_0_to_the_end():
    (answer,) = full_video([query(duration=7.5)])
    assert answer.dtype == torch.float64
    assert answer.tolist() == [[0.0, 7.5]]


def test_medians_are_of_all_moments_and_of_fractions():
    train = [query((1.0, 5.0)), query((0.0, 8.0), (3.0, 4.0), duration=20.0)]
    # starts 0.1, 0.0, 0.15; ends 0.5, 0.4, 0.2
    assert median_window(train).tolist() == [0.1, 0.4]
    (answer,) = train_median(train, [query(duration=40.0)])
    assert answer.tolist() == [[4.0, 16.0]]
    # of an even number the mean of the two in the middle
    assert median_window([query((1.0, 5.0)), query((2.0, 9.0))]).tolist() == pytest.approx([0.15, 0.7])


def test_the_constant_window_is_the_one_that_hits_most_often():
    train = [query((5.0, 10.0)), query((5.0, 10.0)), query((0.0, 1.0)), query((0.0, 5.0), (5.0, 10.0))]
    (answer,) = constant_window(train, [query(duration=24.0)], iou=0.999)
    assert answer.tolist() == [[12.0, 24.0]]


def test_a_query_counts_once_however_many_of_its_moments_are_hit():
    # the first half is hit by two queries, the second by one query twice
    train = [query((0.0, 5.0)), query((0.0, 5.0)), query((5.0, 10.0), (5.0, 10.0), (5.0, 10.0))]
    assert best_windows(train, lambda one: None, 0.999)[None].tolist() == [0.0, 0.5]


def test_windows_of_each_key_are_chosen_apart():
    train = [query((0.0, 5.0), name="a"), query((5.0, 10.0), name="b")]
    chosen = best_windows(train, lambda one: one.id, 0.999)
    assert {key: window.tolist() for key, window in chosen.items()} == {"a": [0.0, 0.5], "b": [0.5, 1.0]}


def test_there_are_300_windows_all_forwards():
    grid = windows()
    assert grid.shape == (300, 2)
    assert bool((grid[:, 0] < grid[:, 1]).all())


def test_random_moments_lie_in_the_video_and_come_again_with_the_seed():
    queries = [query(duration=seconds) for seconds in (1.0, 30.0, 1000.0)]
    answers = random_moment(queries, seed=3)
    for answer, one in zip(answers, queries, strict=True):
        assert 0 <= answer[0, 0] <= answer[0, 1] <= one.duration
    assert all(map(torch.equal, answers, random_moment(queries, seed=3)))
    assert not torch.equal(answers[1], random_moment(queries, seed=4)[1])


def test_truths_of_several_moments_keep_their_order_and_blind_queries_have_none():
    first, second = truths([query((4.0, 5.0), (1.0, 2.0)), query((0.0, 1.0))])
    assert first.tolist() == [[4.0, 5.0], [1.0, 2.0]]
    assert second.tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match="query 'blind' has no moments"):
        truths([query(name="blind")])


def test_nothing_can_be_learnt_from_no_queries():
    for learn in (median_window, lambda train: constant_window(train, [query()])):
        with pytest.raises(ValueError, match="no training"):
            learn([])


def test_reference_figures_come_out_to_the_printed_digit(mirror):
    text = (mirror / "eval" / "reference_baselines.json").read_text(encoding="utf-8")
    reference = json.loads(text)["baselines"]
    medians = {}
    for name, figures in reference.items():
        dataset, _, part = name.removesuffix(" (SVMR)").partition("/")
        split = real(mirror, dataset, ANET[part] if dataset == "activitynet_captions" else part)
        true = truths(split.queries)
        if part == "train":
            medians[dataset] = median_window(split.queries)

        def scores(answers, true=true):
            # as arrays, which are faster to go through than a hundred thousand tensors
            best = best_iou(list(torch.stack(answers).numpy()), list(torch.stack(true).numpy()))
            recalls = {f"R1@{iou}": (best >= iou).double().mean().item() for iou in (0.1, 0.3, 0.5, 0.7)}
            return {key: round(100 * value, 2) for key, value in recalls.items()} | {
                "mIoU": round(100 * best.mean().item(), 2)
            }

        mine = {"rows": split.rows, "kept": len(split.queries), "dropped": len(split.dropped)}
        mine["predict_full_video"] = scores(full_video(split.queries))
        if "predict_train_median" in figures:
            window = medians[dataset]
            mine["predict_train_median"] = {
                "start_frac": round(window[0].item(), 6),
                "end_frac": round(window[1].item(), 6),
            } | scores([window[None] * query.duration for query in split.queries])
        assert mine == figures, name
    assert len(reference) == 13


def test_a_reference_figure_through_the_public_metrics(mirror):
    train, test = (real(mirror, "charades_sta", name).queries for name in ("train", "test"))
    answers, true = train_median(train, test), truths(test)
    assert round(recall_at(answers, true, 1, 0.5), 2) == 15.43
    assert round(mean_iou(answers, true), 2) == 18.53

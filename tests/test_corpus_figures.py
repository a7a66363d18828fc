"""Figures of a model that searches all videos of a split, beside chance and one window."""

from dataclasses import replace

import pytest
import torch
from test_reloclnet import built
from toy_training import CLIPS, DIM, WORDS, toy_features, toy_queries, toy_words

from vmrlib.corpus_figures import answer_corpus, corpus_figures, corpus_lines, without_model
from vmrlib.data.annotations import Query
from vmrlib.data.loaders import MomentDataset, collate, train_vocabulary
from vmrlib.models.reloclnet import ReLoCLNetConfig

CONFIG = ReLoCLNetConfig.stage(dim_video=DIM, dim_words=5, clips=CLIPS, dim=8, heads=2, initial_std=0.4)


def dataset(queries):
    """The set that a model is asked of: no targets."""
    words = {"words": toy_words(), "vocabulary": train_vocabulary(WORDS)}
    return MomentDataset(queries, toy_features(), CLIPS, CLIPS, targets=False, **words)


def test_answers_are_those_of_the_model_on_each_pair():
    model, queries = built(CONFIG), toy_queries(7)
    found = answer_corpus(model, dataset(queries))
    assert found.video_index == {"v0": 0, "v1": 1, "v2": 2}
    batch = collate([dataset(queries)[i] for i in range(7)])
    with torch.no_grad():
        outputs = model(batch)
    scores = outputs["video_scores"][:, :3]  # the first three queries are about the three videos
    own = model.localise(batch, top=100)
    for row, query in enumerate(queries):
        videos = scores[row].argsort(descending=True).tolist()
        assert found.tasks["VR"][query.id].tolist() == [[video, 0.0, 0.0] for video in videos]
        moments = found.tasks["SVMR"][query.id]
        assert (moments[:, 0] == found.video_index[query.video_id]).all()
        assert moments[0, 1:].tolist() == pytest.approx(own[row][0][0].tolist())
        assert set(found.tasks["VCMR"][query.id][:, 0]) <= {0.0, 1.0, 2.0}


def test_a_model_that_knows_the_moments_finds_them():
    model, queries = built(CONFIG), toy_queries(9)
    found = answer_corpus(model, dataset(queries))
    # whatever the model finds first in its own video is made the truth
    told = [
        replace(query, moments=(tuple(found.tasks["SVMR"][query.id][0, 1:].tolist()),)) for query in queries
    ]
    report = corpus_figures(model, dataset(told), told, told)
    assert report["videos"] == 3 and report["figures"]["SVMR"]["0.7-r1"] == 100.0
    assert report["figures"]["VR"]["r5"] == report["baselines"]["VR"]["r5"] == 100.0, "there are only three"
    lines = corpus_lines(report, "ReLoCLNet")
    assert "a corpus of 3 videos" in lines[0]
    assert [line.split()[0] for line in lines[1:]].count("R@10,") == 4 and "without a model" in lines[1]


def test_chance_and_one_window_by_hand():
    queries = [Query(f"q{n}", "a star", f"v{n}", ((4.0, 9.0),), 24.0) for n in range(4)]
    queries[3] = replace(queries[3], moments=((20.0, 21.0),))
    figures = without_model(queries[:3], queries)  # the first window that reaches 0.5 is (0, 9): 5 / 9
    assert figures["VR"] == {"r1": 25.0, "r5": 100.0, "r10": 100.0, "r100": 100.0}
    assert figures["SVMR"] == {"0.5-r1": 75.0, "0.7-r1": 0.0}
    assert figures["VCMR"]["0.5-r1"] == 18.75 and figures["VCMR"]["0.5-r5"] == 75.0
    assert figures["VCMR"]["0.7-r5"] == 0.0

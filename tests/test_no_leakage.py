"""The shipped model needs video and sentence: with a wrong one of them it is as good as a blind one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stage_splits import split

from vmrlib import checkpoints
from vmrlib.ablation import read_results, recall
from vmrlib.data.loaders import MomentDataset
from vmrlib.data.model_free import truths
from vmrlib.features import load_extractor
from vmrlib.features.stage import stage_features
from vmrlib.finding import STAGE_CHECKPOINT
from vmrlib.metrics import recall_at
from vmrlib.training import predict

RESULTS = read_results(Path(__file__).parent.parent / "results" / "msat_stage.json")
MARGIN = (
    8.0  # points: standard errors of 2 on both sides, and a model that is sure of itself is wrong more often
)


@pytest.fixture(scope="module")
def shipped():
    return checkpoints.load(STAGE_CHECKPOINT)


@pytest.fixture(scope="module")
def features(shipped):
    part = split("open", "test-iid")
    return [
        stage_features(part, load_extractor(made["spec"], "cpu", made["seconds_per_clip"]))
        for made in shipped.about["features"]
    ]


def score(shipped, features, queries) -> float:
    """R@1, IoU=0.5 on test-iid in percent; `queries` may say other things than they should."""
    config = shipped.model.config
    asked = MomentDataset(
        queries, features, config.clips, config.cells, shipped.words, shipped.vocabulary, targets=False
    )
    assert not any(query.moments or query.extra for query in asked.queries)
    answers = [prediction.moments[:1] for prediction in predict(shipped.model, asked)]
    return recall_at(answers, truths(split("open", "test-iid").queries), n=1, iou=0.5)


def test_it_is_better_than_every_blind_answer(shipped, features):
    found = score(shipped, features, split("open", "test-iid").queries)
    print(f"test-iid: {found:.1f}")
    assert found > recall(RESULTS, "text-blind", "test-iid").mean + 20


def test_with_the_features_of_other_videos_it_is_as_good_as_one_that_sees_nothing(shipped, features):
    part = split("open", "test-iid")
    ids = [script.video_id for script in part.scripts]
    exchanged = [
        dict(zip(ids, [rows[ids[k - 7]] for k in range(len(ids))], strict=True)) for rows in features
    ]
    found = score(shipped, exchanged, part.queries)
    blind = recall(RESULTS, "video-blind", "test-iid").mean
    print(f"features of other videos: {found:.1f}, video-blind: {blind:.1f}")
    assert 0 < found < blind + MARGIN


def test_with_the_sentences_of_other_videos_it_is_as_good_as_one_that_reads_nothing(shipped, features):
    queries = split("open", "test-iid").queries
    order = torch.randperm(len(queries), generator=torch.Generator().manual_seed(0)).tolist()
    exchanged = [replace(query, text=queries[k].text) for query, k in zip(queries, order, strict=True)]
    found = score(shipped, features, exchanged)
    blind = recall(RESULTS, "text-blind", "test-iid").mean
    print(f"sentences of other queries: {found:.1f}, text-blind: {blind:.1f}")
    assert 0 < found < blind + MARGIN

"""Queries and features as batches: MSAT's data pipeline, and what inference may not see."""

import math
import pickle
import struct

import pytest
import torch
from toy_training import CELLS, CLIPS, DIM, toy_features, toy_queries, toy_set, toy_words

from vmrlib.data.annotations import Query
from vmrlib.data.clips import resample_mean
from vmrlib.data.loaders import (
    LoaderError,
    MomentDataset,
    clip_grid,
    collate,
    hide_words,
    seed_of,
    train_vocabulary,
)
from vmrlib.data.simulated import SimulatedFeatures, tacos_rows
from vmrlib.data.store import Features, FeatureStore


def made(*queries: Query, features=None, **options) -> MomentDataset:
    words, vocabulary = toy_words(), train_vocabulary(["a red star jumps"])
    features = toy_features() if features is None else features
    return MomentDataset(queries, features, CLIPS, CELLS, words, vocabulary, **options)


def test_a_batch_by_hand():
    queries = (
        Query("one", "A red star, jumps!", "v0", ((2.0, 6.0),), 8.0),
        Query("two", "unheard star", "v1", ((-1.0, 99.0),), 4.0),
    )
    items = made(*queries)
    batch = collate([items[0], items[1]])
    assert batch["query_ids"] == ["one", "two"]
    assert batch["duration"].tolist() == [8.0, 4.0] and batch["duration"].dtype == torch.float64
    assert batch["word_mask"].tolist() == [[True] * 4, [True, True, False, False]]
    # the vocabulary by frequency, then letters: <pad> a jumps red star <unk>
    assert batch["word_labels"].tolist() == [[1, 3, 4, 2], [5, 4, 0, 0]]
    table = toy_words()
    assert torch.equal(batch["words"][0], table(["a", "red", "star", "jumps"]))
    assert not batch["words"][1, 0].any() and not batch["words"][1, 2:].any(), "unknown words and padding"
    # cells last duration / 4: 2 s and 1 s; the second moment is cut to its video
    assert batch["moments_cell"].tolist() == [[1.0, 3.0], [0.0, 4.0]]
    assert batch["moments_cell"].dtype == torch.float64
    rows = torch.nn.functional.normalize(toy_features()["v0"], dim=1)
    assert torch.equal(batch["video"][0], resample_mean(rows, CLIPS))


def test_every_item_has_its_number_and_shares_those_of_its_segment_and_words():
    queries = (
        Query("one", "A red star jumps", "v0", ((2.0, 6.0),), 8.0),
        Query("two", "a star", "v0", ((2.0, 6.0), (0.0, 1.0)), 8.0),
        Query("three", "a star", "v1", ((2.0, 6.0),), 8.0),
        Query("four", "red star", "v0", ((0.0, 1.0),), 8.0),
    )
    items = made(*queries)
    batch = collate([items[i] for i in range(len(items))])
    assert batch["annotation"].tolist() == [0, 1, 2, 3, 4]
    assert batch["segment"].tolist() == [0, 0, 1, 2, 1], "the video counts, too"
    assert batch["sentence"].tolist() == [0, 1, 1, 1, 2], "the video does not count"
    negatives = made(*queries, negatives=1)
    assert [negatives[5 + i]["annotation"] for i in range(5)] == [0, 1, 2, 3, 4]


def test_several_features_are_normalised_and_resampled_each_by_itself():
    first, second = {"v": torch.randn(10, 3) * 7}, {"v": torch.randn(4, 2) * 0.1}
    query = Query("q", "a star", "v", ((0.0, 1.0),), 8.0)
    video = made(query, features=[first, second])[0]["video"]
    assert video.shape == (CLIPS, 5)
    alone = [made(query, features=features)[0]["video"] for features in (first, second)]
    assert torch.equal(video, torch.cat(alone, dim=1))


def test_a_query_with_two_moments_is_two_items_for_training_and_one_for_inference():
    query = Query("q", "a star", "v0", ((0.0, 2.0), (4.0, 6.0)), 8.0)
    items = made(query)
    assert [item["moments_cell"] for item in (items[0], items[1])] == [(0, 1), (2, 3)] and len(items) == 2
    assert items.query_ids([1]) == ["q"]
    assert len(items.without_targets()) == 1


def test_moments_outside_of_the_video_are_left_out_and_counted():
    query = Query("q", "a star", "v0", ((9.0, 12.0), (1.0, 1.0), (7.0, 12.0)), 8.0)
    items = made(query)
    assert items.dropped == [("q", (9.0, 12.0)), ("q", (1.0, 1.0))]
    assert [items[i]["moments_cell"] for i in range(len(items))] == [(3.5, 4.0)]


def test_inference_sees_no_moment():
    items = toy_set(6)
    blind = items.without_targets()
    batch = collate([blind[i] for i in range(6)])
    assert set(batch) == {"query_ids", "video", "words", "word_mask", "duration"}
    assert all(query.moments == () and query.extra == {} for query in blind.queries)
    secret = Query("q", "a star", "v0", ((1.25, 2.5),), 8.0, extra={"windows": "1.25 to 2.5"})
    number = struct.pack(">d", 1.25)  # as pickle writes it
    whole, without = pickle.dumps(made(secret)), pickle.dumps(made(secret).without_targets())
    assert number in whole and b"1.25 to 2.5" in whole
    assert number not in without and b"1.25 to 2.5" not in without, "nowhere in the whole object"


# --- hidden words


def test_hidden_words_are_some_but_never_all():
    mask = torch.arange(6) < torch.tensor([1, 2, 3, 6] * 500)[:, None]
    hidden = hide_words(mask, seed=5)
    assert not (hidden & ~mask).any()
    counts, lengths = hidden.sum(dim=1), mask.sum(dim=1)
    assert (counts[lengths == 1] == 0).all(), "a query of one word has none"
    assert (counts[lengths > 1] >= 1).all() and (counts[lengths > 1] < lengths[lengths > 1]).all()
    # 6 words: 0.9 on average; none becomes one (0.85 ** 6 = 0.377), all become five (hardly ever)
    assert counts[lengths == 6].float().mean() == pytest.approx(0.9 + 0.377, abs=0.1)
    # which of two words is hidden alone is a fair draw
    assert hidden[lengths == 2][:, 0].float().mean() == pytest.approx(0.5, abs=0.06)


def test_hidden_words_depend_on_seed_epoch_and_place_only():
    items, others = toy_set(20), toy_set(20)
    alone = [items[i]["hidden_words"] for i in range(20)]
    batch = collate([others[i] for i in (7, 3, 19)])["hidden_words"]
    for row, index in zip(batch, (7, 3, 19), strict=True):
        assert torch.equal(row[: len(alone[index])], alone[index])
    others.set_epoch(1)
    assert any(not torch.equal(alone[i], others[i]["hidden_words"]) for i in range(20))
    others.set_epoch(0)
    assert all(torch.equal(alone[i], others[i]["hidden_words"]) for i in range(20))
    other_seed = toy_set(20, seed=4)
    assert any(not torch.equal(alone[i], other_seed[i]["hidden_words"]) for i in range(20))


def test_workers_give_the_same_batches():
    items = toy_set(12)
    loader = torch.utils.data.DataLoader(items, batch_size=5, num_workers=1, collate_fn=collate)
    for number, batch in enumerate(loader):
        here = collate([items[i] for i in range(5 * number, min(12, 5 * number + 5))])
        assert all(torch.equal(batch[key], here[key]) for key in batch if key != "query_ids")


# --- vocabulary and videos


def test_the_vocabulary_begins_with_padding_and_ends_with_unknown():
    vocabulary = train_vocabulary(["The star falls.", "the red star", "A star"])
    assert vocabulary.words == ("<pad>", "star", "the", "a", "falls", "red", "<unk>")
    assert vocabulary(["star", "blue"]) == [1, 6]


def test_videos_are_kept_up_to_a_limit(monkeypatch):
    reads = []

    def counting(videos, video_id, clips):
        reads.append(video_id)
        return clip_grid(videos, video_id, clips)

    monkeypatch.setattr("vmrlib.data.loaders.clip_grid", counting)
    bytes_of_one = CLIPS * DIM * 4
    items = made(*toy_queries(6), cache_bytes=2 * bytes_of_one)
    for _ in range(3):
        _ = [items[i] for i in range(6)]
    assert reads.count("v0") == reads.count("v1") == 1 and reads.count("v2") == 6
    assert items.memory == 2 * bytes_of_one
    assert toy_set(6).memory == 3 * bytes_of_one


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query("q", "a star", "v9", ((0.0, 1.0),), 8.0), "query 'q': no features of video 'v9' in dict"),
        (Query("q", "...", "v0", ((0.0, 1.0),), 8.0), "query 'q' has no words: '...'"),
        (Query("q", "a a a a a", "v0", ((0.0, 1.0),), 8.0), "query 'q' has 5 words, the model takes 4"),
        (Query("q", "a star", "v0", (), 8.0), "query 'q' has no moments"),
        (Query("q", "a star", "v0", ((0.0, 1.0),), 0.0), "query 'q': the duration of its video is not known"),
    ],
)
def test_what_cannot_be_loaded_is_named(query, message):
    with pytest.raises(LoaderError) as error:
        made(query, longest=4)
    assert message in str(error.value)


def test_a_store_is_named_where_a_video_is_missing_or_not_finite(tmp_path):
    store = FeatureStore.create(tmp_path / "mine", {"extractor": "toy"})
    store.add("v0", Features(torch.ones(4, DIM), torch.arange(4.0), 1.0, 4.0))
    query = Query("q", "a star", "v0", ((0.0, 1.0),), 8.0)
    assert made(query, features=store)[0]["video"].shape == (CLIPS, DIM)
    with pytest.raises(LoaderError, match=r"video 'v1' in .*mine"):
        made(Query("q", "a star", "v1", ((0.0, 1.0),), 8.0), features=store)
    with pytest.raises(LoaderError, match="'v0' are not all finite"):
        _ = made(query, features={"v0": torch.full((4, DIM), math.nan)})[0]


# --- simulated features


def test_simulated_features_are_the_same_everywhere_and_named():
    durations = {"a": 30.0, "b": 400.0}
    features = SimulatedFeatures(durations, "tacos-c3d")
    assert features["a"].shape == (69, 4096), "30 s have 882 frames: (882 - 64) // 12 + 1"
    assert torch.equal(features["b"], SimulatedFeatures(durations, "tacos-c3d")["b"])
    assert not torch.equal(features["a"][0], features["b"][0])
    assert features.name == "simulated tacos-c3d" and "c" not in features and list(features) == ["a", "b"]
    with pytest.raises(LoaderError, match="no features of video 'v0' in simulated tacos-c3d"):
        made(Query("q", "a star", "v0", ((0.0, 1.0),), 8.0), features=features)
    with pytest.raises(ValueError, match="no layout 'nonsense'"):
        SimulatedFeatures(durations, "nonsense")


def test_simulated_videos_of_tacos_have_as_many_rows_as_the_real_ones(mirror):
    import json

    from vmrlib.data.datasets import read_split

    counts = json.loads((mirror / "features/tacos_clip_counts.json").read_text())
    durations = {
        query.video_id: query.duration
        for split in ("train", "val", "test")
        for query in read_split("tacos", split, mirror / "mirror/tacos").queries
    }
    assert len(durations) == 127
    for video, duration in durations.items():
        assert tacos_rows(duration) == counts[video]["num_clips_2dtan_script"]


def test_the_vocabularies_have_the_published_sizes(mirror):
    from vmrlib.data.datasets import read_split

    for dataset, size in {"tacos": 1514, "activitynet_captions": 10728}.items():
        queries = read_split(dataset, "train", mirror / "mirror" / dataset).queries
        assert len(train_vocabulary(query.text for query in queries)) == size


def test_seeds_differ_by_every_part():
    assert len({seed_of(0, "a", 1), seed_of(0, "a", 2), seed_of(1, "a", 1), seed_of(0, "b", 1)}) == 4
    assert seed_of(0, "a") == seed_of(0, "a") < 2**63


def three_videos(**options) -> MomentDataset:
    queries = [
        Query("one", "a red star jumps", "v0", ((2.0, 6.0),), 8.0),
        Query("two", "a red star falls", "v1", ((0.0, 4.0),), 8.0),
        Query("three", "nothing moves", "v2", ((1.0, 2.0),), 8.0),
    ]
    return made(*queries, features={f"v{k}": torch.full((4, DIM), k + 1.0) for k in range(3)}, **options)


def test_a_negative_is_the_query_with_a_video_it_is_not_true_of_and_has_nothing_to_find_or_guess():
    items = three_videos(negatives=2)
    assert len(items) == 9 and items.query_ids(range(9)) == ["one", "two", "three"] * 3
    for index in range(3, 9):
        negative, own = items[index], items[index % 3]
        assert negative["query_ids"] == own["query_ids"] and torch.equal(negative["words"], own["words"])
        assert items._others[index - 3] != items.queries[index % 3].video_id
        assert all(map(math.isnan, negative["moments_cell"]))
        assert (negative["word_labels"] == -100).all()
        assert negative["hidden_words"].any(), "a sentence without a gap would give it away"


def test_videos_that_a_query_is_true_of_are_never_its_negatives():
    absent = {("one", "v2"), ("two", "v2"), ("three", "v0")}
    items = three_videos(negatives=3, absent=lambda query, video_id: (query.id, video_id) in absent)
    for epoch in range(3):
        items.set_epoch(epoch)
        assert items._others == ["v2", "v2", "v0"] * 3
    with pytest.raises(LoaderError, match="query 'one' is true of every video"):
        three_videos(negatives=1, absent=lambda query, video_id: False)


def test_negatives_look_like_the_query_and_change_with_the_epoch():
    items = three_videos(negatives=1)
    assert items._others[0] == "v1", "the other red star, not the video where nothing moves"
    epochs = set()
    for epoch in range(20):
        items.set_epoch(epoch)
        epochs.add(items._others[2])
    assert epochs == {"v0", "v1"}
    assert len(items.without_targets()) == 3


def test_no_query_and_no_moment_inside_make_an_empty_set():
    assert len(made()) == 0
    assert len(made(Query("q", "a star", "v0", ((9.0, 12.0),), 8.0), negatives=1)) == 0


def test_a_set_for_inference_shares_the_limit_of_the_memory():
    items = made(*toy_queries(6), cache_bytes=2 * CLIPS * DIM * 4)
    _ = items[0]
    for blind in (items.without_targets(), items.without_targets()):
        _ = [blind[i] for i in range(6)]
    assert len(items._cache) == 2

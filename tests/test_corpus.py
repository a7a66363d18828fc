"""The loader of corpora: rows, norms, end points, moments in clips, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from test_reloclnet import SMALL

from vmrlib.checkpoints import load
from vmrlib.data.annotations import Query
from vmrlib.data.corpus import CorpusQueries, CorpusVideos
from vmrlib.data.loaders import LoaderError
from vmrlib.models.reloclnet_search import encode_corpus, search
from vmrlib.training import TrainingSettings, predict, train

VIDEO = {"a": torch.tensor([[3.0, 4.0], [0.0, 2.0]]), "b": torch.ones(3, 2)}
SUBTITLES = {"a": torch.tensor([[0.0], [5.0]]), "b": torch.ones(3, 1)}
WORDS = {"1": torch.tensor([[3.0, 4.0]] * 4), "2": torch.tensor([[0.0, 2.0]])}
QUERIES = [Query("1", "one", "a", ((0.0, 1.5),), 3.0), Query("2", "two", "b", ((1.5, 4.5), (0.0, 3.0)), 4.5)]


def videos(**options):
    return CorpusVideos(VIDEO, SUBTITLES, **({"clips": 4} | options))


def test_rows_are_normalised_and_marked_with_their_place():
    found = videos()["a"]
    assert found["video"].tolist() == [[3.0, 4.0, 0.0, 0.5], [0.0, 2.0, 0.5, 1.0]]
    assert found["subtitles"][0].tolist() == [0.0, 0.0, 0.5], "a row of zeros stays zero"
    assert found["subtitles"][1].tolist() == pytest.approx([5 / (5 + 1e-5), 0.5, 1.0])
    plain = videos(end_points=False, normalise_video=True, normalise_subtitles=False)["a"]
    assert plain["video"][0].tolist() == pytest.approx([3 / 5.00001, 4 / 5.00001])
    assert plain["subtitles"].tolist() == [[0.0], [5.0]]


def test_a_batch_is_padded_to_all_places_and_to_the_longest_sentence():
    items = CorpusQueries(QUERIES, WORDS, videos(), longest=3)
    batch = items.collate([items[0], items[2]])
    assert {name: tuple(value.shape) for name, value in batch.items() if torch.is_tensor(value)} == {
        "video": (2, 4, 4),
        "subtitles": (2, 4, 3),
        "video_mask": (2, 4),
        "words": (2, 3, 2),
        "word_mask": (2, 3),
        "duration": (2,),
        "moments_cell": (2, 2),
        "annotation": (2,),
        "draws": (2, 2),
    }
    assert batch["annotation"].tolist() == [0, 2]
    assert batch["query_ids"] == ["1", "2"] and batch["video_mask"].sum(dim=1).tolist() == [2, 3]
    assert batch["word_mask"].sum(dim=1).tolist() == [3, 1], "four words are cut to three"
    assert (batch["video"][~batch["video_mask"]] == 0).all()
    assert batch["words"][0, 0].tolist() == pytest.approx([3 / 5.00001, 4 / 5.00001])


def test_there_is_an_item_for_each_moment_in_clips():
    items = CorpusQueries(QUERIES, WORDS, videos(), seconds_per_clip=1.5)
    assert [items[number]["moments_cell"] for number in range(len(items))] == [(0, 1), (1, 3), (0, 2)]


def test_for_inference_there_is_no_moment_anywhere():
    items = CorpusQueries(QUERIES, WORDS, videos(), seed=4).without_targets()
    assert len(items) == 2 and all(query.moments == () for query in items.queries)
    batch = items.collate([items[0], items[1]])
    assert not {"moments_cell", "annotation", "draws", "epoch"} & batch.keys()
    assert batch["video_mask"].sum(dim=1).tolist() == [2, 3] and items.query_ids([1, 0]) == ["2", "1"]


def test_a_blind_query_names_no_video_and_none_is_loaded():
    class NoVideos(CorpusVideos):
        def __getitem__(self, video_id):
            raise AssertionError(f"video {video_id!r} was loaded")

    blind = [Query("1", "one", "", (), 0.0), Query("2", "two", "", (), 0.0)]
    items = CorpusQueries(blind, WORDS, NoVideos(VIDEO, SUBTITLES), targets=False)
    batch = items.collate([items[0], items[1]])
    assert set(batch) == {"query_ids", "words", "word_mask", "duration"}
    with pytest.raises(LoaderError, match="query '1' names no video: it can only be searched for"):
        items.without_targets()


def test_what_is_drawn_depends_on_seed_epoch_and_item_alone():
    items, other = (CorpusQueries(QUERIES, WORDS, videos(), seed=seed) for seed in (1, 2))
    first = items.collate([items[2], items[0]])
    assert first["epoch"] == 0 and (first["draws"] >= 0).all() and (first["draws"] < 1).all()
    assert torch.equal(first["draws"].flip(0), items.collate([items[0], items[2]])["draws"])
    assert not torch.equal(first["draws"], other.collate([other[2], other[0]])["draws"])
    items.set_epoch(1)
    second = items.collate([items[2], items[0]])
    assert second["epoch"] == 1 and not torch.equal(first["draws"], second["draws"])


def random_stores():
    """Twelve videos with subtitles, and a sentence of random words about each."""
    generator = torch.Generator().manual_seed(0)
    video = {f"v{n}": torch.randn(8 + n % 3, 4, generator=generator) for n in range(12)}
    subtitles = {name: torch.randn(len(rows), 3, generator=generator) for name, rows in video.items()}
    queries, words = [], {}
    for n, name in enumerate(video):
        first = n % 5
        moment = (1.5 * first, 1.5 * (first + 3))
        queries.append(Query(f"q{n}", "words", name, (moment,), 1.5 * len(video[name])))
        words[f"q{n}"] = torch.randn(4, 5, generator=generator)
    return queries, words, CorpusVideos(video, subtitles, clips=10)


def test_the_engine_trains_on_videos_with_subtitles(tmp_path):
    queries, words, corpus_videos = random_stores()
    items = CorpusQueries(queries, words, corpus_videos)
    config = replace(SMALL, dim_video=6, dim_subtitles=5, dim_words=5, weights=(1.0, 1.0, 1.0, 0.03, 0.03))
    settings = TrainingSettings(steps=60, batch_size=6, learning_rate=5e-3, evaluate_steps=30, device="cpu")
    torch.manual_seed(0)
    model = config.build()
    result = train(model, items, items, settings, tmp_path / "run")
    assert result.metrics["R@1, IoU=0.5"] >= 75, result.metrics
    found = load(tmp_path / "run").model
    assert found.config == config and len(predict(found, items)) == 12

    names = list(corpus_videos.streams["video"][0])
    corpus = encode_corpus(found, corpus_videos.batches(names, size=5))
    blind = CorpusQueries(queries, words, corpus_videos, targets=False)
    batch = blind.collate([blind[n] for n in range(12)])
    own = torch.arange(12)
    answers = search(found, corpus, batch["words"], batch["word_mask"], own=own)
    assert (answers.videos[:, 0] == own).float().mean() >= 0.75
    told = predict(found, items, top=1)
    for n, prediction in enumerate(told):
        assert prediction.moments[0].tolist() == pytest.approx(answers.own_spans.moments[n, 0].tolist())


def test_videos_without_subtitles_make_batches_without_them():
    batches = list(CorpusVideos(VIDEO, clips=4).batches(["b", "a", "b"], size=2))
    assert [len(batch["video"]) for batch in batches] == [2, 1]
    assert set(batches[0]) == {"video", "video_mask"}
    assert batches[0]["video_mask"].sum(dim=1).tolist() == [3, 2]


def test_a_long_video_is_resampled_but_its_moments_are_not():
    long = {"a": torch.arange(9.0)[:, None]}
    found = CorpusVideos(long, clips=4, end_points=False)
    assert found["a"]["video"][:, 0].tolist() == [
        0.5,
        2.5,
        5.0,
        7.0,
    ]  # edges 0 2 4 7 8 of 9 rows, the last never read
    items = CorpusQueries([Query("1", "one", "a", ((6.0, 12.0),), 13.5)], WORDS, found)
    assert items[0]["moments_cell"] == (4.0, 8.0)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ({}, "no features of 'a'"),
        ({"a": torch.empty(0, 2)}, "features of 'a' are empty"),
        ({"a": torch.tensor([[0.0, torch.nan]] * 2)}, "features of 'a' are not all finite"),
        ({"a": torch.ones(3, 2)}, "video 'a': streams of different lengths: {'video': 3, 'subtitles': 2}"),
    ],
)
def test_what_cannot_be_loaded_is_named(video, message):
    with pytest.raises(LoaderError, match=message):
        CorpusVideos(video, SUBTITLES, clips=4)["a"]


def test_a_query_without_moments_cannot_be_learnt_from():
    with pytest.raises(LoaderError, match="query '3' has no moments"):
        CorpusQueries([Query("3", "three", "a", (), 3.0)], WORDS, videos())


def test_a_moment_before_its_video_is_refused():
    query = Query("3", "three", "a", ((-1.0, 2.0),), 3.0)
    with pytest.raises(LoaderError, match=r"query '3': expected a start from 0 on .*, found -1\.0, 2\.0"):
        CorpusQueries([query], WORDS, videos())

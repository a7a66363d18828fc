"""The loader of corpora: rows, norms, end points, moments in clips, and what it refuses."""

import pytest
import torch

from vmrlib.data.annotations import Query
from vmrlib.data.corpus import CorpusQueries, CorpusVideos
from vmrlib.data.loaders import LoaderError

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
    assert {name: tuple(value.shape) for name, value in batch.items() if name != "query_ids"} == {
        "video": (2, 4, 4),
        "subtitles": (2, 4, 3),
        "video_mask": (2, 4),
        "words": (2, 3, 2),
        "word_mask": (2, 3),
        "duration": (2,),
        "moments_cell": (2, 2),
    }
    assert batch["query_ids"] == ["1", "2"] and batch["video_mask"].sum(dim=1).tolist() == [2, 3]
    assert batch["word_mask"].sum(dim=1).tolist() == [3, 1], "four words are cut to three"
    assert (batch["video"][~batch["video_mask"]] == 0).all()
    assert batch["words"][0, 0].tolist() == pytest.approx([3 / 5.00001, 4 / 5.00001])


def test_there_is_an_item_for_each_moment_in_clips():
    items = CorpusQueries(QUERIES, WORDS, videos(), seconds_per_clip=1.5)
    assert [items[number]["moments_cell"] for number in range(len(items))] == [(0, 1), (1, 3), (0, 2)]


def test_for_inference_there_is_no_moment_anywhere():
    items = CorpusQueries(QUERIES, WORDS, videos(), targets=False)
    assert len(items) == 2 and all(query.moments == () for query in items.queries)
    assert "moments_cell" not in items.collate([items[0], items[1]])


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

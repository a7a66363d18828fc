"""Search over a corpus equals scoring everything, whatever its batches; suppression; the best spans."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_reloclnet import ALONE, CLIPS, SMALL, built, make_batch

from vmrlib.models.reloclnet_search import encode_corpus, localise_in, search, suppress
from vmrlib.models.reloclnet_spans import best, best_spans

VIDEOS = 7


@pytest.fixture(params=[SMALL, ALONE], ids=["both", "video"])
def model(request):
    return built(request.param)


def parts(batch, size):
    names = ("video", "subtitles", "video_mask", "duration")
    return ({name: batch[name][i : i + size] for name in names} for i in range(0, VIDEOS, size))


def brute_force(model, batch, queries, weighted=True):
    """Every admissible span of every video for each sentence: {(video, start, end): score}."""
    config = model.config
    with torch.no_grad():
        _, _, vectors = model.query(batch["words"][:queries], batch["word_mask"][:queries])
        video = model.encode_video(batch)
        scores = model.video_scores(vectors, video["final"], video["mask"])
        similarity = torch.einsum("qsd,vstd->qvt", model.span_queries(vectors), video["final"])
        mask = video["mask"].expand(queries, -1, -1)
        logits = model.span_logits(similarity / config.streams, mask)
        start, end = (each.softmax(-1) for each in logits)
    found = []
    for q in range(queries):
        spans = {}
        for v in range(len(video["mask"])):
            weight = (config.alpha * scores[q, v]).exp().item() if weighted else 1.0
            for i in range(CLIPS):
                for j in range(i + config.span_clips[0], min(i + config.span_clips[1], CLIPS)):
                    score = start[q, v, i].item() * weight * end[q, v, j].item()
                    if score > 0:
                        spans[v, i, j] = score
        found.append(spans)
    return scores, found


def check(rows, table, top):
    best = sorted(table, key=table.get, reverse=True)[:top]
    assert rows[:, :3].tolist() == [[v, 1.5 * i, 1.5 * j] for v, i, j in best]
    assert rows[:, 3].tolist() == pytest.approx([table[key] for key in best], rel=1e-4)


@pytest.mark.parametrize("size", [1, 3, VIDEOS])
def test_a_search_finds_what_scoring_everything_finds(model, size):
    batch = make_batch(VIDEOS, learning=False)
    corpus = encode_corpus(model, parts(batch, size))
    words, mask, own = batch["words"][:4], batch["word_mask"][:4], torch.tensor([6, 0, 2, 2])
    found = search(model, corpus, words, mask, videos=3, spans=12, own=own)
    scores, tables = brute_force(model, batch, 4)
    torch.testing.assert_close(corpus.scores(model.query(words, mask)[2]), scores, atol=1e-5, rtol=1e-5)
    best = scores.topk(3, dim=1)
    assert torch.equal(found.videos, best.indices)
    torch.testing.assert_close(
        found.video_scores, (model.config.alpha * best.values).exp(), rtol=1e-3, atol=0
    )
    for q, table in enumerate(tables):
        kept = {key: score for key, score in table.items() if key[0] in best.indices[q].tolist()}
        check(found.spans.rows(q), kept, 12)
    _, tables = brute_force(model, batch, 4, weighted=False)
    alone = localise_in(model, corpus, words, mask, own, spans=12)
    for q, table in enumerate(tables):
        kept = {key: score for key, score in table.items() if key[0] == own[q]}
        check(found.own_spans.rows(q), kept, 12)
        assert torch.equal(alone.rows(q), found.own_spans.rows(q))


def test_a_corpus_keeps_clips_and_the_two_rows_behind_them(model):
    corpus = encode_corpus(model, parts(make_batch(VIDEOS, learning=False), 4))
    assert corpus.lengths == [10, 7, 4, 3, 3, 3, 3] and len(corpus) == VIDEOS
    assert [len(rows) for rows in corpus.videos] == [10, 9, 6, 5, 5, 5, 5]
    width = model.config.streams * model.config.dim
    assert corpus.memory == 4 * 45 * (width + model.config.streams)


def test_a_corpus_smaller_than_the_search_is_searched_whole(model):
    batch = make_batch(VIDEOS, learning=False)
    corpus = encode_corpus(model, parts(batch, 4))
    found = search(model, corpus, batch["words"][:2], batch["word_mask"][:2])
    assert found.videos.sort(dim=1).values.tolist() == [list(range(VIDEOS))] * 2
    _, tables = brute_force(model, batch, 2)
    for q, table in enumerate(tables):
        check(found.spans.rows(q), table, 200)
        check(found.spans.rows(q, most=5), table, 5)


def test_seconds_are_those_of_each_video_where_clips_are_fractions_of_it():
    model, batch = built(replace(SMALL, seconds_per_clip=None)), make_batch(VIDEOS, learning=False)
    batch["duration"] = torch.arange(1.0, VIDEOS + 1) * CLIPS
    corpus = encode_corpus(model, parts(batch, 3))
    assert corpus.seconds_per_clip == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    own = torch.tensor([2])
    found = localise_in(model, corpus, batch["words"][:1], batch["word_mask"][:1], own, spans=3)
    assert (found.moments % 3.0 == 0).all() and found.moments.max() > 0


def test_a_video_without_a_clip_is_named(model):
    batch = make_batch(VIDEOS, learning=False)
    batch["video_mask"][4] = False
    with pytest.raises(ValueError, match="video 4 of the corpus has no clip"):
        encode_corpus(model, parts(batch, 3))


def test_an_empty_corpus_and_a_video_that_is_not_in_it_are_refused(model):
    batch = make_batch(VIDEOS, learning=False)
    words, mask = batch["words"][:2], batch["word_mask"][:2]
    with pytest.raises(ValueError, match="corpus: there is no video in it"):
        search(model, encode_corpus(model, []), words, mask)
    corpus = encode_corpus(model, parts(batch, 4))
    for wrong in (-1, VIDEOS):
        own = torch.tensor([0, wrong])
        message = f"own: expected positions from 0 to below {VIDEOS}, found {wrong}"
        with pytest.raises(ValueError, match=message):
            search(model, corpus, words, mask, own=own)
        with pytest.raises(ValueError, match=message):
            localise_in(model, corpus, words, mask, own)


def test_a_mask_with_holes_is_no_length(model):
    corpus, final = encode_corpus(model, []), torch.ones(1, model.config.streams, 3, model.config.dim)
    with pytest.raises(ValueError, match="mask: row 0 has data behind padding"):
        corpus.add(final, torch.tensor([[True, False, True]]), torch.ones(1))


def test_a_model_in_training_mode_is_refused(model):
    batch = make_batch(VIDEOS, learning=False)
    corpus = encode_corpus(model, parts(batch, 4))
    model.train()
    with pytest.raises(ValueError, match=r"the model is in training mode: call model.eval\(\) first"):
        encode_corpus(model, parts(batch, 4))
    with pytest.raises(ValueError, match="training mode"):
        search(model, corpus, batch["words"], batch["word_mask"])


def test_equal_videos_and_moments_come_in_their_order(model):
    batch = make_batch(VIDEOS, learning=False)
    names = ("video", "subtitles", "video_mask", "duration")
    twice = {name: batch[name][[1, 1, 0, 0, 1]] for name in names}
    corpus = encode_corpus(model, [twice])
    found = search(model, corpus, batch["words"][:4], batch["word_mask"][:4], videos=4, spans=8)
    for order in found.videos.tolist():
        assert order in ([0, 1, 4, 2], [2, 3, 0, 1])
    for q in range(4):
        rows = found.spans.rows(q)
        for row, after in pairwise(rows):
            assert row[3] > after[3] or row[:3].tolist() < after[:3].tolist()


def test_the_best_of_equal_values_are_the_first():
    values = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert best(values, 2)[1].tolist() == [[1, 2], [0, 1], [4, 3]]
    assert best(values, 4)[1].tolist() == [[1, 2, 4, 3], [0, 1, 2, 3], [4, 3, 2, 1]]
    assert best(values, 9)[1].tolist() == [[1, 2, 4, 3, 0], [0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_scores_alone(model, dtype):
    batch = make_batch(VIDEOS, learning=False)
    corpus = encode_corpus(model, parts(batch, 4))
    vectors = model.query(batch["words"], batch["word_mask"])[2].detach()
    exact = corpus.scores(vectors)
    with torch.autocast("cpu", dtype):
        assert torch.equal(corpus.scores(vectors), exact)
    high = torch.full((1, VIDEOS), 0.97)
    corpus.scores = lambda vectors: high.expand(len(vectors), -1)
    with torch.autocast("cpu", dtype):
        found = search(model, corpus, batch["words"], batch["word_mask"])
    exact = (model.config.alpha * high[0, 0]).exp()  # 4e12: more than float16 holds
    torch.testing.assert_close(found.video_scores, exact.expand_as(found.video_scores), rtol=1e-5, atol=0)


def test_seconds_are_exact_whatever_a_clip_is():
    model, batch = built(replace(SMALL, seconds_per_clip=1.3)), make_batch(VIDEOS, learning=False)
    found = localise_in(
        model, encode_corpus(model, parts(batch, 3)), batch["words"], batch["word_mask"], torch.arange(VIDEOS)
    )
    allowed = {1.3 * clip for clip in range(CLIPS + 1)}
    assert set(found.rows(0)[:, 1:3].flatten().tolist()) <= allowed


@pytest.mark.parametrize("top", [1, 7, 50, 1000])
@pytest.mark.parametrize("lengths", [(1, 2), (2, 6), (1, 12)])
def test_the_best_spans_are_those_of_a_full_table(top, lengths):
    generator = torch.Generator().manual_seed(top)
    start, end = (torch.rand(2, 3, 11, generator=generator).softmax(-1) for _ in range(2))
    weight = torch.rand(2, 3, generator=generator)
    table = weight[..., None, None] * start[..., None] * end[..., None, :]  # (Q, K, i, j)
    length = torch.arange(11)[None] - torch.arange(11)[:, None]
    allowed = (length >= lengths[0]) & (length < lengths[1])
    expected = (table * allowed).flatten(1).sort(dim=1, descending=True)
    found = best_spans(start, end, weight, lengths, top)
    count = min(top, 3 * int(allowed.sum()))
    torch.testing.assert_close(found.score[:, :count], expected.values[:, :count])
    places = found.video * 121 + found.start * 11 + found.end
    assert torch.equal(places[:, :count], expected.indices[:, :count])
    assert (found.score[:, count:] == 0).all(), "what is no span scores 0"


def test_suppression_works_in_each_video_by_itself():
    rows = torch.tensor(
        [[5, 0, 9, 0.9], [2, 0, 9, 0.8], [5, 0, 8, 0.7], [5, 4, 13, 0.6], [2, 20, 30, 0.5]],
        dtype=torch.float64,
    )  # IoU of the third with the first 8/9, of the fourth with the first 5/13
    assert suppress(rows, 0.5).tolist() == rows[[0, 1, 3, 4]].tolist()
    assert suppress(rows, 0.5, most=2).tolist() == rows[:2].tolist()
    assert suppress(rows, 8 / 9).tolist() == rows.tolist(), "an IoU of exactly the threshold stays"
    assert suppress(rows[:0], 0.5).shape == (0, 4)

"""Retrieval tests: which texts there are, which video each belongs to, and that every video has one."""

import json

import pytest

from vmrlib.data.retrieval import (
    activitynet_paragraphs,
    didemo_paragraphs,
    msrvtt_1k_a,
    multi_sentence,
)


def consistent(test):
    """Truth and groups say the same, and every text and video is in them once."""
    assert len(test.truth) == len(test.texts)
    assert len(test.groups) == len(test.video_ids) == len(set(test.video_ids))
    assert sorted(text for group in test.groups for text in group) == list(range(len(test.texts)))
    for video, group in enumerate(test.groups):
        assert all(test.truth[text] == video for text in group)
    return test


def write_didemo(folder, *rows):
    folder.mkdir(exist_ok=True)
    records = [
        {"annotation_id": n, "video": video, "description": text, "num_segments": 6, "times": [[0, 0]]}
        for n, (video, text) in enumerate(rows)
    ]
    (folder / "test_data.json").write_text(json.dumps(records), encoding="utf-8")
    return folder


def test_descriptions_of_a_video_are_joined_in_file_order(tmp_path):
    folder = write_didemo(tmp_path, ("v", "one "), ("w", "two"), ("v", "three\n"))
    test = consistent(didemo_paragraphs("test", folder))
    assert test.texts == ("one three", "two")
    assert test.video_ids == ("v", "w")
    assert test.truth == (0, 1)


def test_a_list_of_videos_selects_and_must_be_known(tmp_path):
    folder = write_didemo(tmp_path, ("v", "one"), ("w", "two"))
    assert didemo_paragraphs("test", folder, videos={"w"}).video_ids == ("w",)
    with pytest.raises(ValueError, match="1 videos are not in DiDeMo test, among them 'x'"):
        didemo_paragraphs("test", folder, videos=["w", "x"])


def test_a_video_under_two_names_has_one_paragraph(tmp_path):
    folder = write_didemo(tmp_path, ("v.mov", "one"), ("w.avi", "two"), ("v.mp4", "three"))
    test = consistent(didemo_paragraphs("test", folder))
    assert (test.video_ids, test.texts) == (("v", "w"), ("one three", "two"))
    for videos in (["v.mp4"], ["v.mov", "v.mp4"], ["v"]):
        assert didemo_paragraphs("test", folder, videos=videos).texts == ("one three",)


def test_a_paragraph_has_the_sentences_whose_moment_was_left_out(tmp_path):
    record = {"duration": 9.0, "timestamps": [[0, 4], [5, 5], [4, 9]], "sentences": ["A.", " B. ", "C."]}
    (tmp_path / "val.json").write_text(json.dumps({"v": record}), encoding="utf-8")
    assert activitynet_paragraphs(folder=tmp_path).texts == ("A. B. C.",)


def test_every_sentence_of_msvd_is_a_text_of_its_video(tmp_path):
    (tmp_path / "test_list.txt").write_text("b\na\n", encoding="utf-8")
    captions = {"a": ["a one", "a two"], "b": ["b one"], "c": ["not in the list"]}
    (tmp_path / "captions_msvd.json").write_text(json.dumps(captions), encoding="utf-8")
    test = consistent(multi_sentence("msvd", folder=tmp_path))
    assert test.video_ids == ("b", "a")
    assert test.texts == ("b one", "a one", "a two")
    assert (test.truth, test.groups) == ((0, 1, 1), ((0,), (1, 2)))
    with pytest.raises(ValueError, match="not 'didemo'"):
        multi_sentence("didemo", folder=tmp_path)


def test_a_video_without_text_is_refused(tmp_path):
    (tmp_path / "test_list.txt").write_text("a\n", encoding="utf-8")
    (tmp_path / "captions_msvd.json").write_text('{"a": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="1 videos have no text, among them 'a'"):
        multi_sentence("msvd", folder=tmp_path)


def test_msrvtt_1k_a_has_1000_pairs(mirror):
    test = consistent(msrvtt_1k_a(mirror / "mirror" / "msrvtt"))
    assert len(test.texts) == len(test.video_ids) == 1000
    assert test.truth == tuple(range(1000))
    # for these no order of the videos is right for all: R@1 cannot reach 100 %
    assert len(set(test.texts)) == 995


def test_activitynet_paragraphs_are_4917(mirror):
    test = consistent(activitynet_paragraphs(folder=mirror / "mirror" / "activitynet_captions"))
    assert len(test.texts) == len(test.video_ids) == 4917
    path = mirror / "mirror" / "activitynet_captions" / "val.json"
    for video, record in list(json.loads(path.read_text(encoding="utf-8")).items())[:50]:
        joined = " ".join(" ".join(record["sentences"]).split())
        assert test.texts[test.video_ids.index(video)] == joined


def test_didemo_paragraphs_are_one_for_each_video(mirror):
    test = consistent(didemo_paragraphs("test", mirror / "mirror" / "didemo"))
    assert len(test.texts) == len(test.video_ids) == 1004
    assert len(didemo_paragraphs("val", mirror / "mirror" / "didemo").video_ids) == 1065

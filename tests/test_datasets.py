"""Every format is read by the same rules, and a bad file is named by place, field and value (by hand)."""

import json
import pickle
from pathlib import Path

import pytest

from vmrlib.data import annotations_folder, data_folder
from vmrlib.data.annotations import AnnotationError, Query
from vmrlib.data.datasets import DATASETS, MissingFile, corpus, read_split
from vmrlib.data.datasets.didemo import by_agreement
from vmrlib.data.datasets.findings import summary
from vmrlib.data.datasets.qvhighlights import moments_of, youtube_span
from vmrlib.data.datasets.split import Row, assemble, clean_text


def save(folder: Path, name: str, content) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def lines(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(identity="a", text="A dog.", moments=((1.0, 2.0),), duration=10.0, video="v"):
    return Row(Path("folder/file.json"), f"row {identity}", identity, text, video, moments, duration)


# --- what holds for every dataset


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A dog.", "A dog."),
        ("  A dog. \n", "A dog."),
        ("A\ndog\tsits.", "A dog sits."),
        ("A  dog \r\n sits.", "A dog sits."),
        ("caf\u00e9 \u201cA\u201d", "caf\u00e9 \u201cA\u201d"),
        ("one\u00a0\u00a0two\u2028", "one\u00a0\u00a0two\u2028"),
        (" \n", ""),
    ],
)
def test_only_blanks_and_line_breaks_are_mended(text, clean):
    assert clean_text(text) == clean


def test_moments_are_clipped_and_what_is_left_out_is_recorded():
    split = assemble(
        "d",
        "s",
        [
            row("a", moments=((-1.0, 12.0),)),
            row("b", moments=((5.0, 4.0),)),
            row("c", moments=((10.0, 11.0),)),
            row("d", moments=((3.0, 3.0), (2.0, 4.0))),
            row("e", text=" "),
            row("f", moments=()),
        ],
        [Path("folder/file.json")],
    )
    assert [(query.id, query.moments) for query in split.queries] == [
        ("a", ((0.0, 10.0),)),
        ("d", ((2.0, 4.0),)),
        ("f", ()),
    ]
    assert [(one.where, one.reason, one.value) for one in split.dropped] == [
        ("file.json, row b", "the start is not before the end", [5.0, 4.0]),
        ("file.json, row c", "outside the video of 10.00 s", [10.0, 11.0]),
        ("file.json, row d", "the start is not before the end", [3.0, 3.0]),
        ("file.json, row e", "no text", " "),
    ]
    assert (split.rows, split.files) == (6, ("file.json",))
    counted = split.findings
    assert counted["ends past the video"] == 2
    assert counted["ends more than 1 s past the video"] == 1
    assert counted["starts at or after the end"] == 2
    assert counted["starts after the end"] == 1
    assert counted["starts past the video"] == 1
    assert counted["no time left inside the video"] == 3
    assert counted["starts before 0"] == 1
    assert counted["moments of 99 % of the video"] == 1
    assert counted["queries with several moments"] == 1
    assert counted["empty texts"] == 1
    assert len(split.sentences) == 5, "a text whose moment is left out is still a text"


def test_repeated_rows_are_counted_and_kept():
    rows = [row("a"), row("b", text=" a DOG. "), row("c", moments=((2.0, 3.0),)), row("d", video="w")]
    split = assemble("d", "s", rows, [])
    assert len(split.queries) == 4
    assert split.findings["exact repetitions"] == 1
    assert split.findings["texts repeated in a video"] == 2
    assert split.videos == ("v", "w")


def test_what_is_odd_in_a_text_is_counted():
    texts = ["Sit", "one  two.", "a\nb", "caf\u00e9 #1", "12", " x.\n"]
    counted = assemble("d", "s", [row(str(n), text=text) for n, text in enumerate(texts)], []).findings
    assert {name: count for name, count in counted.items() if name.startswith("texts") and count} == {
        "texts without letters": 1,
        "texts of one word": 3,
        "texts with outer blanks": 1,
        "texts with a line break at the end": 1,
        "texts with inner line breaks or tabs": 1,
        "texts with double blanks": 1,
        "texts with non-ASCII characters": 1,
        "texts without a final period": 4,
        "texts with a #": 1,
    }


def test_two_rows_with_one_id_are_an_error():
    with pytest.raises(
        AnnotationError, match=r"file.json, row a: id 'a' is already used in file.json, row a"
    ):
        assemble("d", "s", [row(), row()], [])


def test_a_summary_takes_the_upper_of_two_middle_values():
    assert summary([4, 1, 3, 2]) == {"min": 1.0, "median": 3.0, "mean": 2.5, "max": 4.0}
    assert summary([]) == {}


def test_a_dataset_or_split_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    with pytest.raises(ValueError, match="no dataset 'coco': there are tacos, activitynet_captions"):
        read_split("coco", "train")
    with pytest.raises(ValueError, match="tacos has no split 'dev': there are train, val, test"):
        read_split("tacos", "dev", tmp_path)


@pytest.mark.parametrize(("dataset", "split"), [(d, s) for d, splits in DATASETS.items() for s in splits])
def test_a_missing_file_names_the_command_that_fetches_it(dataset, split, tmp_path):
    with pytest.raises(MissingFile, match=r"bash data_download\.sh [a-z_0-9]+$") as error:
        read_split(dataset, split, tmp_path / dataset)
    assert isinstance(error.value, OSError) and isinstance(error.value, ValueError)
    assert str(tmp_path) in str(error.value)


def test_files_are_found_where_the_downloads_go(tmp_path, monkeypatch):
    monkeypatch.setenv("VMRLIB_DATA", str(tmp_path))
    monkeypatch.delenv("VMRLIB_MIRROR", raising=False)
    record = {"duration": 9, "timestamps": [[0, 4]], "sentences": ["A."]}
    save(tmp_path / "annotations" / "charades_cg", "train.json", {"v": record})
    assert read_split("charades_cg", "train").rows == 1


def test_one_file_in_the_data_folder_does_not_hide_those_of_the_mirror(tmp_path, monkeypatch):
    data, mirror = tmp_path / "data", tmp_path / "copies"
    monkeypatch.setenv("VMRLIB_DATA", str(data))
    monkeypatch.setenv("VMRLIB_MIRROR", str(mirror))
    record = {"duration": 9, "timestamps": [[0, 4]], "sentences": ["A."]}
    save(mirror / "mirror" / "charades_cg", "train.json", {"v": record, "w": record})
    save(mirror / "mirror" / "charades_cg", "novel_word.json", {"v": record})
    empty = data / "annotations" / "charades_cg"
    empty.mkdir(parents=True)
    assert annotations_folder("charades_cg") == mirror / "mirror" / "charades_cg"
    assert read_split("charades_cg", "train").rows == 2
    save(empty, "train.json", {"v": record})
    assert annotations_folder("charades_cg") == empty
    assert read_split("charades_cg", "train").rows == 1, "the data folder comes first"
    assert read_split("charades_cg", "novel_word").rows == 1
    save(mirror / "mirror" / "vatex", "val_list.txt", "x_000001_000011\n")
    save(data / "annotations" / "vatex", "ref_captions.json", {"x_000001_000011": ["a"]})
    assert read_split("vatex", "val").rows == 1


def test_an_empty_name_of_the_data_folder_is_none(monkeypatch):
    monkeypatch.delenv("VMRLIB_DATA", raising=False)
    default = data_folder()
    monkeypatch.setenv("VMRLIB_DATA", "")
    assert data_folder() == default


def test_videos_that_nobody_asks_about_are_counted():
    split = assemble("d", "s", [row("a"), row("b", moments=((5.0, 4.0),), video="w")], [], videos="vwx")
    assert split.findings["videos without queries"] == 2
    assert "videos without queries" not in assemble("d", "s", [], [], videos="vw").findings


# --- {video: {duration, timestamps, sentences}}


def test_activitynet_captions_by_hand(tmp_path):
    record = {"duration": 9.5, "timestamps": [[0, 4], [4, 9.51]], "sentences": ["A dog.", " It\nsits. "]}
    save(tmp_path, "val_1.json", {"v_x": record, "v_y": {"duration": 3, "timestamps": [], "sentences": []}})
    split = read_split("activitynet_captions", "val_1", tmp_path)
    assert split.queries == (
        Query("v_x#0", "A dog.", "v_x", ((0.0, 4.0),), 9.5, "val_1"),
        Query("v_x#1", "It sits.", "v_x", ((4.0, 9.5),), 9.5, "val_1"),
    )
    assert split.videos == ("v_x", "v_y"), "a video without sentences is still one of the split"
    assert split.tallies["fields"] == {"duration": 2, "timestamps": 2, "sentences": 2}


def test_frames_of_tacos_become_seconds(tmp_path):
    record = {"fps": 20, "num_frames": 100, "timestamps": [[10, 110]], "sentences": ["He cuts"]}
    save(tmp_path, "train.json", {"s1.avi": record})
    split = read_split("tacos", "train", tmp_path)
    assert split.queries == (Query("s1.avi#0", "He cuts", "s1.avi", ((0.5, 5.0),), 5.0, "train"),)
    assert split.findings["ends past the video"] == 1
    assert split.findings["texts without a final period"] == 1
    assert split.figures["seconds past the end of the video"]["max"] == 0.5
    assert split.tallies["fps"] == {"20": 1}


def test_charades_cd_has_another_name_for_the_duration(tmp_path):
    record = {"video_duration": 8.0, "video_fps": -1.0, "decode_fps": 16.0}
    record |= {"timestamps": [[1.0, 2.0]], "sentences": ["person sits"]}
    save(tmp_path, "charades_test_ood.json", {"AB": record})
    (query,) = read_split("charades_cd", "test_ood", tmp_path).queries
    assert (query.id, query.duration) == ("AB#0", 8.0)


@pytest.mark.parametrize("change", [{"video_fps": [1]}, {"decode_fps": {}}])
def test_a_rate_of_charades_cd_is_a_number(tmp_path, change):
    record = {"video_duration": 8.0, "timestamps": [[1, 2]], "sentences": ["person sits"]}
    save(tmp_path, "charades_val.json", {"AB": record | change})
    ((name, value),) = change.items()
    with pytest.raises(AnnotationError, match=f"'AB': field \"{name}\": expected a number, found") as error:
        read_split("charades_cd", "val", tmp_path)
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 1e-320}, 'field "fps": expected a rate that makes num_frames a time, found'),
        ({"fps": 0.5, "timestamps": [[0, 1.7e308]]}, 'field "timestamps": expected frames at 0.5 per second'),
    ],
)
def test_frames_of_tacos_make_times(tmp_path, change, message):
    record = {"fps": 20, "num_frames": 100, "timestamps": [[10, 90]], "sentences": ["He cuts"]}
    save(tmp_path, "train.json", {"s1.avi": record | change})
    with pytest.raises(AnnotationError, match=message):
        read_split("tacos", "train", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "split", "extra"),
    [
        ("charades_cg", "novel_word", {"news": [{"DET": ["all"]}]}),
        ("activitynet_cg", "novel_composition", {"novels": [{"v-n": [["put", "book"]]}]}),
    ],
)
def test_compositional_splits_name_what_is_novel(tmp_path, dataset, split, extra):
    record = {"duration": 8.0, "timestamps": [[1, 2]], "sentences": ["person sits"]} | extra
    save(tmp_path, f"{split}.json", {"v": record})
    (query,) = read_split(dataset, split, tmp_path).queries
    ((name, (value,)),) = extra.items()
    assert query.extra == {name: value}


RECORD = {"duration": 9, "timestamps": [[0, 4]], "sentences": ["A."]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not JSON: .* at column 2"),
        ("[]", "expected an object, found list"),
        ({"v": 3}, "video 'v': field \"v\": expected an object, found 3"),
        ({"v": {"duration": 9, "sentences": []}}, "video 'v': field \"timestamps\" is missing"),
        (
            {"v": RECORD | {"duration": 0}},
            "video 'v': field \"duration\": expected a number above 0, found 0",
        ),
        ({"v": RECORD | {"duration": "9"}}, "field \"duration\": expected a number above 0, found '9'"),
        ('{"v": {"duration": NaN, "timestamps": [], "sentences": []}}', "above 0, found nan"),
        ({"v": RECORD | {"sentences": []}}, "field \"sentences\": expected 1 entries.*found '0 entries'"),
        (
            {"v": RECORD | {"timestamps": [[0]]}},
            r"row 0: field \"timestamps\": expected \[start, end\], found \[0\]",
        ),
        ({"v": RECORD | {"timestamps": [[0, "4"]]}}, r"expected \[start, end\], found \[0, '4'\]"),
        ({"v": RECORD | {"sentences": [5]}}, 'row 0: field "sentences": expected text, found 5'),
        ('{"v": {}, "v": {}}', "'v' is there twice"),
    ],
)
def test_a_bad_file_is_named_by_video_field_and_value(tmp_path, content, message):
    save(tmp_path, "train.json", content)
    with pytest.raises(AnnotationError, match=message.replace('\\"', '"')) as error:
        read_split("charades_cg", "train", tmp_path)
    assert str(error.value).startswith(str(tmp_path / "train.json"))


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "train.json").write_bytes(b"\xff\xfe")
    with pytest.raises(AnnotationError, match=r"train.json, line 1: not UTF-8 text: .* at byte 1"):
        read_split("tacos", "train", tmp_path)


def test_activitynet_cd_train_is_what_the_other_splits_leave(tmp_path):
    def record(*texts, duration=9):
        return {"duration": duration, "timestamps": [[0, 4]] * len(texts), "sentences": list(texts)}

    captions, cd = tmp_path / "activitynet_captions", tmp_path / "activitynet_cd"
    save(captions, "train.json", {"a": record("a1"), "b": record("b1")})
    save(captions, "val.json", {"c": record("c1", "c2"), "d": record("d1")})
    save(captions, "test.json", {"c": record("c3", duration=8)})
    save(cd, "anet_val.json", {"b": record("b1")})
    save(cd, "anet_test_iid.json", {"d": record("d1")})
    save(cd, "anet_test_ood.json", {})
    split = read_split("activitynet_cd", "train", cd)
    assert [(query.id, query.text, query.duration) for query in split.queries] == [
        ("a#0", "a1", 9.0),
        ("c#0", "c1", 9.0),
        ("c#1", "c2", 9.0),
        ("c#2", "c3", 9.0),
    ]
    assert split.notes[0].startswith("derived")
    save(cd, "anet_train.json", {"z": record("z1")})
    split = read_split("activitynet_cd", "train", cd)
    assert ([query.id for query in split.queries], split.notes) == (["z#0"], ())


# --- Charades-STA


def charades(folder, text):
    save(folder, "Charades_v1_train.csv", "id,subject,length\nAB,x,8.5\nCD,y,20\n")
    return save(folder, "charades_sta_train.txt", text)


def test_charades_lines_are_cut_at_the_first_number_signs(tmp_path):
    text = "AB 0.0 9.0##person ##1 sits.\r\nCD 3.0 2.0##backwards.\n\nAB 1 2##again.\n"
    split = read_split("charades_sta", "train", charades(tmp_path, text))
    assert split.queries == (
        Query("AB#0", "person ##1 sits.", "AB", ((0.0, 8.5),), 8.5, "train"),
        Query("AB#1", "again.", "AB", ((1.0, 2.0),), 8.5, "train"),
    )
    assert [one.where for one in split.dropped] == ["charades_sta_train.txt, line 2, video 'CD'"]
    assert split.findings["rows of the Charades table"] == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("AB 0.0 9.0 sits.", "line 1: expected VIDEO START END##sentence, found 'AB 0.0 9.0 sits.'"),
        ("AB 0.0##sits.", "line 1: expected VIDEO START END##sentence"),
        ("AB zero 9.0##sits.", "line 1: field \"start\": expected a number, found 'zero'"),
        ("AB 0.0 nan##sits.", "line 1: field \"end\": expected a number, found 'nan'"),
        ("XY 0.0 9.0##sits.", "line 1: video 'XY' has no length in Charades_v1_train.csv"),
    ],
)
def test_a_bad_charades_line_is_named(tmp_path, line, message):
    with pytest.raises(AnnotationError, match=message):
        read_split("charades_sta", "train", charades(tmp_path, line + "\n"))


def test_a_bad_charades_table_is_named(tmp_path):
    charades(tmp_path, "AB 0.0 9.0##sits.\n")
    save(tmp_path, "Charades_v1_train.csv", "id,size\nAB,8\n")
    with pytest.raises(AnnotationError, match=r'csv, line 1: column "length" is missing'):
        read_split("charades_sta", "train", tmp_path)
    save(tmp_path, "Charades_v1_train.csv", "id,length\nAB,\n")
    with pytest.raises(AnnotationError, match=r"csv, line 2: field \"length\": expected a number, found ''"):
        read_split("charades_sta", "train", tmp_path)


def test_a_damaged_charades_table_is_named_by_its_line(tmp_path):
    charades(tmp_path, "AB 0.0 9.0##sits.\n")
    for rest in ("z,20\n", "z,20\n" * 40000):  # the second is longer than what Python takes for a field
        save(tmp_path, "Charades_v1_train.csv", 'id,subject,length\nAB,x,8.5\nCD,"y,20\n' + rest)
        with pytest.raises(AnnotationError, match=r"train\.csv, line 3: not CSV: "):
            read_split("charades_sta", "train", tmp_path)


def test_a_unicode_line_separator_does_not_end_a_row_of_a_table(tmp_path):
    charades(tmp_path, "AB 0.0 9.0##sits.\n")
    save(tmp_path, "Charades_v1_train.csv", "id,subject,length\nAB,x\u2028y,8.5\n")
    assert read_split("charades_sta", "train", tmp_path).queries[0].duration == 8.5


# --- QVHighlights

HIGHLIGHT = {
    "qid": 3,
    "query": "A boat",
    "duration": 148,
    "vid": "_a_b_60.0_210.0",
    "relevant_windows": [[0, 4], [10, 12]],
    "relevant_clip_ids": [0, 1, 5],
    "saliency_scores": [[1, 2, 3]] * 3,
}


def test_highlights_by_hand(tmp_path):
    split = read_split("qvhighlights", "val", save(tmp_path, "highlight_val_release.jsonl", lines(HIGHLIGHT)))
    assert split.queries == (
        Query("3", "A boat", "_a_b_60.0_210.0", ((0.0, 4.0), (10.0, 12.0)), 148.0, "val"),
    )
    assert split.queries[0].extra == {
        "youtube_id": "_a_b",
        "relevant_clip_ids": [0, 1, 5],
        "saliency_scores": [[1, 2, 3]] * 3,
    }
    assert split.findings["durations shorter than the span in the video id"] == 1
    assert split.findings["moments that are not the relevant clips"] == 0
    assert split.findings["YouTube ids with _"] == 1
    assert split.findings["most moments of a query"] == 2


def test_oddities_of_highlights_are_counted(tmp_path):
    odd = HIGHLIGHT | {
        "relevant_windows": [[0, 5]],
        "relevant_clip_ids": [0, 80],
        "saliency_scores": [[1, 2, 9], [1, 1], [1, 1, 1]],
    }
    split = read_split("qvhighlights", "train", save(tmp_path, "highlight_train_release.jsonl", lines(odd)))
    names = (
        "moments that are not the relevant clips",
        "window ends that are no whole clips",
        "clips past the video",
        "saliency of another number of clips",
        "ratings outside 0 to 4",
        "clips without three raters",
    )
    assert [split.findings[name] for name in names] == [1] * 6


def test_the_blind_highlights_have_no_moments(tmp_path):
    blind = {name: HIGHLIGHT[name] for name in ("qid", "query", "duration", "vid")}
    split = read_split("qvhighlights", "test", save(tmp_path, "highlight_test_release.jsonl", lines(blind)))
    assert split.queries[0].moments == ()
    assert (split.rows, split.dropped) == (1, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vid": "abc"}, "line 1: field \"vid\": expected YOUTUBE_START_END, found 'abc'"),
        ({"vid": "abc_nan_inf"}, 'field "vid": expected YOUTUBE_START_END'),
        ({"vid": "abc_0.0_inf"}, 'field "vid": expected YOUTUBE_START_END'),
        ({"qid": 1.5}, 'line 1: field "qid": expected a whole number or text, found 1.5'),
        ({"query": None}, 'line 1: field "query": expected text, found None'),
        ({"relevant_windows": [3]}, r'field "relevant_windows": expected \[start, end\], found 3'),
        ({"relevant_clip_ids": ["0"]}, "field \"relevant_clip_ids\": expected whole numbers, found '0'"),
        ({"relevant_clip_ids": [10**400]}, 'field "relevant_clip_ids": expected whole numbers, found 1000'),
        ({"saliency_scores": [["a"]]}, 'field "saliency_scores": expected a list of ratings'),
    ],
)
def test_a_bad_highlight_is_named(tmp_path, change, message):
    save(tmp_path, "highlight_val_release.jsonl", lines(HIGHLIGHT | change))
    with pytest.raises(AnnotationError, match=message):
        read_split("qvhighlights", "val", tmp_path)


def test_ratings_are_looked_at_though_there_are_no_clips(tmp_path):
    alone = {name: value for name, value in HIGHLIGHT.items() if name != "relevant_clip_ids"}
    save(tmp_path, "highlight_val_release.jsonl", lines(alone | {"saliency_scores": "x"}))
    with pytest.raises(AnnotationError, match="field \"saliency_scores\": expected a list, found 'x'"):
        read_split("qvhighlights", "val", tmp_path)


def test_youtube_ids_are_read_from_the_right():
    assert youtube_span("_a_b_60.0_210.0") == ("_a_b", 60.0, 210.0)
    for wrong in ("abc", "_60.0_210.0", "a_b_c"):
        with pytest.raises(ValueError):
            youtube_span(wrong)


def test_runs_of_clips_make_moments():
    assert moments_of([5, 0, 1]) == [(0.0, 4.0), (10.0, 12.0)]
    assert moments_of([]) == []


# --- TVR

INDEX = {"val": {"w": [20.0, 1], "v": [10.0, 0]}, "test_public": {"x": [9.5, 0]}}


def test_tvr_by_hand(tmp_path):
    rows = [
        {"vid_name": "v", "duration": 10.0, "ts": [0, 4.5], "desc": " A. ", "type": "vt", "desc_id": 90},
        {"vid_name": "w", "duration": 19.0, "ts": [1.5, 25], "desc": "B.", "type": "v", "desc_id": 91},
    ]
    save(tmp_path, "tvr_val_release.jsonl", lines(*rows))
    save(tmp_path, "tvr_video2dur_idx.json", INDEX)
    split = read_split("tvr", "val", tmp_path)
    assert split.queries == (
        Query("90", "A.", "v", ((0.0, 4.5),), 10.0, "val"),
        Query("91", "B.", "w", ((1.5, 19.0),), 19.0, "val"),
    )
    assert [query.extra["type"] for query in split.queries] == ["vt", "v"]
    assert split.findings["times without decimals"] == 2
    assert split.findings["queries whose video is in the corpus"] == 2
    assert split.findings["durations that differ from the corpus"] == 1
    assert corpus("val", tmp_path) == {"v": 10.0, "w": 20.0}
    assert list(corpus("val", tmp_path)) == ["v", "w"]
    with pytest.raises(AnnotationError, match="expected one of val, test_public, found 'test'"):
        corpus("test", tmp_path)


def test_blind_tvr_rows_have_a_text_only(tmp_path):
    save(tmp_path, "tvr_test_public_release.jsonl", lines({"desc": "A.", "desc_id": 1}))
    split = read_split("tvr", "test_public", tmp_path)
    assert split.queries == (Query("1", "A.", "", (), 0.0, "test_public"),)
    assert split.videos == ()
    assert "tvr_video2dur_idx.json is not there" in split.notes[0]
    save(tmp_path, "tvr_video2dur_idx.json", INDEX)
    assert read_split("tvr", "test_public", tmp_path).videos == ("x",)


# --- DiDeMo


def test_choices_are_ordered_by_agreement_then_as_they_come():
    assert by_agreement([(2, 2), (0, 1), (2, 2), (0, 0)]) == ((10.0, 15.0), (0.0, 10.0), (0.0, 5.0))


def test_didemo_by_hand(tmp_path):
    record = {
        "annotation_id": 4,
        "description": "a bug\n",
        "num_segments": 5,
        "times": [[4, 4], [3, 4], [4, 4]],
        "video": "1@N04_2.m4v",
    }
    split = read_split("didemo", "test", save(tmp_path, "test_data.json", [record]))
    assert split.queries == (Query("4", "a bug", "1@N04_2.m4v", ((20.0, 25.0), (15.0, 25.0)), 25.0, "test"),)
    assert split.queries[0].extra == {
        "times": [[4, 4], [3, 4], [4, 4]],
        "num_segments": 5,
        "annotation_id": 4,
    }
    assert split.tallies["annotators"] == {"3": 1}
    for change, message in (
        ({"times": [[0, 1.5]]}, r"row 0: field \"times\": expected \[first segment, last segment\]"),
        ({"times": []}, 'row 0: field "times": expected a pair for each annotator'),
        ({"num_segments": 0}, 'field "num_segments": expected a number above 0 and up to 10000, found 0'),
        ({"num_segments": 10**400}, 'field "num_segments": expected a number above 0 and'),
        ({"times": [[0, 10**400]]}, r'field "times": expected \[first segment, last segment\], found \[0, 1'),
    ):
        save(tmp_path, "test_data.json", [record | change])
        with pytest.raises(AnnotationError, match=message):
            read_split("didemo", "test", tmp_path)


# --- captions of whole videos


def test_msrvtt_by_hand(tmp_path):
    test = "key,vid_key,video_id,{}\nret0,msr7,video7,a dog\nret1,msr8,video8,a dog\n"
    save(tmp_path, "MSRVTT_train.9k.csv", "video_id\nvideo1\nvideo2\n")
    for column in ("sentence", "sentences"):
        save(tmp_path, "MSRVTT_JSFUSION_test.csv", test.format(column))
        split = read_split("msrvtt", "test_1k_a", tmp_path)
        assert [(query.id, query.text, query.video_id) for query in split.queries] == [
            ("ret0", "a dog", "video7"),
            ("ret1", "a dog", "video8"),
        ]
        assert split.findings["captions repeated by other videos"] == 1
        assert split.findings["keys of another video"] == 0
    train = read_split("msrvtt", "train_9k", tmp_path)
    assert (train.videos, train.queries) == (("video1", "video2"), ())
    assert "only the list of videos was read" in train.notes[0]
    content = {
        "videos": [{"video_id": "video1", "start time": 2.5, "end time": 12.0}],
        "sentences": [
            {"caption": "a cat", "video_id": "video1", "sen_id": 5},
            {"caption": "no", "video_id": "video7", "sen_id": 6},
            {"caption": "two  cats", "video_id": "video1", "sen_id": 7},
        ],
    }
    save(tmp_path, "MSRVTT_data.json", content)
    train = read_split("msrvtt", "train_9k", tmp_path)
    assert train.queries == (
        Query("5", "a cat", "video1", (), 9.5, "train_9k"),
        Query("7", "two cats", "video1", (), 9.5, "train_9k"),
    )
    assert (train.findings["videos without queries"], train.notes) == (1, ())


CAPTIONS = {"a": [["a", "man"], ["a", "cat", "."]], "b": [["one"]]}


def test_msvd_reads_words_and_sentences_alike(tmp_path):
    save(tmp_path, "val_list.txt", "b\na\n")
    save(tmp_path, "captions_msvd.json", {v: [" ".join(c) for c in texts] for v, texts in CAPTIONS.items()})
    from_json = read_split("msvd", "val", tmp_path)
    (tmp_path / "raw-captions.pkl").write_bytes(pickle.dumps(CAPTIONS))
    from_pickle = read_split("msvd", "val", tmp_path)
    assert from_pickle.queries == from_json.queries
    assert [(query.id, query.text) for query in from_json.queries] == [
        ("b#0", "one"),
        ("a#0", "a man"),
        ("a#1", "a cat ."),
    ]
    assert from_json.videos == ("b", "a")
    save(tmp_path, "val_list.txt", "c\n")
    with pytest.raises(AnnotationError, match=r"video 'c' of val_list.txt has no captions"):
        read_split("msvd", "val", tmp_path)


class Evil:
    """Pickled, it is a call that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, protocol):
    save(tmp_path, "val_list.txt", "a\n")
    trace = tmp_path / "trace"
    (tmp_path / "raw-captions.pkl").write_bytes(pickle.dumps({"a": Evil(trace)}, protocol))
    with pytest.raises(AnnotationError, match=r"raw-captions.pkl: not a pickle of captions: .*open is not"):
        read_split("msvd", "val", tmp_path)
    assert not trace.exists()
    for name in (b"eval", b"exec", b"getattr", b"__import__"):
        (tmp_path / "raw-captions.pkl").write_bytes(b"cbuiltins\n" + name + b"\n(S'1'\ntR.")
        with pytest.raises(AnnotationError, match="is not allowed"):
            read_split("msvd", "val", tmp_path)
    (tmp_path / "raw-captions.pkl").write_bytes(b"damaged")
    with pytest.raises(AnnotationError, match="not a pickle of captions"):
        read_split("msvd", "val", tmp_path)


def test_a_pickle_of_python_2_can_be_read(tmp_path):
    save(tmp_path, "val_list.txt", "a\n")
    (tmp_path / "raw-captions.pkl").write_bytes(b"(dS'a'\n(l(lS'caf\\xc3\\xa9'\naas.")
    assert read_split("msvd", "val", tmp_path).queries[0].text == "caf\u00e9"


def test_vatex_by_hand(tmp_path):
    rows = [
        {"videoID": "_x_1_000010_000020", "enCap": ["a", "b"], "chCap": ["c"]},
        {"videoID": "y_000001_000011", "enCap": ["d"]},
    ]
    save(tmp_path, "vatex_validation_v1.0.json", rows)
    official = read_split("vatex", "val", tmp_path)
    assert official.queries[1] == Query("_x_1_000010_000020#1", "b", "_x_1_000010_000020", (), 10.0, "val")
    assert official.queries[0].extra == {"youtube_id": "_x_1"}
    assert "official split" in official.notes[0]
    # a list cuts a split out of any of the files
    save(tmp_path, "test_list.txt", "y_000001_000011\n")
    listed = read_split("vatex", "test", tmp_path)
    assert [query.text for query in listed.queries] == ["d"]
    assert (listed.videos, listed.notes) == (("y_000001_000011",), ())
    save(tmp_path, "ref_captions.json", {"y_000001_000011": ["e", "f"]})
    assert [query.text for query in read_split("vatex", "test", tmp_path).queries] == ["e", "f"]
    save(tmp_path, "test_list.txt", "z_000001_000011\n")
    with pytest.raises(
        AnnotationError, match=r"video 'z_000001_000011' has no captions in ref_captions.json or"
    ):
        read_split("vatex", "test", tmp_path)
    save(tmp_path, "vatex_validation_v1.0.json", [{"videoID": "z", "enCap": ["d"]}])
    with pytest.raises(AnnotationError, match="field \"videoID\": expected YOUTUBE_START_END, found 'z'"):
        read_split("vatex", "val", tmp_path)


def test_youcook2_by_hand(tmp_path):
    def record(subset, *steps):
        annotations = [{"id": n, "segment": s, "sentence": t} for n, (s, t) in enumerate(steps)]
        return {"subset": subset, "duration": 60.5, "recipe_type": "101", "annotations": annotations}

    database = {
        "a": record("training", ([10, 20], "cut the onion"), ([50, 61], "fry it")),
        "b": record("validation", ([0, 5], "boil water")),
    }
    save(tmp_path, "youcookii_annotations_trainval.json", {"database": database})
    split = read_split("youcook2", "train", tmp_path)
    assert split.queries == (
        Query("a#0", "cut the onion", "a", ((10.0, 20.0),), 60.5, "train"),
        Query("a#1", "fry it", "a", ((50.0, 60.5),), 60.5, "train"),
    )
    assert split.queries[0].extra == {"recipe_type": "101"}
    assert split.tallies["subset"] == {"training": 1, "validation": 1}
    assert read_split("youcook2", "val", tmp_path).videos == ("b",)
    database["b"]["annotations"][0]["segment"] = [0]
    save(tmp_path, "youcookii_annotations_trainval.json", {"database": database})
    with pytest.raises(
        AnnotationError, match=r"video 'b', row 0: field \"segment\": expected \[start, end\]"
    ):
        read_split("youcook2", "val", tmp_path)

"""Annotation files: what goes in comes out, and a bad line is named by file, line, field and value."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.annotations import AnnotationError, Query, read_jsonl, read_text, write_jsonl

GOOD = {
    "qid": 7,
    "query": "A dog barks.",
    "vid": "v1",
    "duration": 30,
    "relevant_windows": [[1, 2.5], [4, 9]],
}

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
number = st.floats(0, 1e4, allow_nan=False)
moment = (
    st.tuples(number, number).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: tuple(sorted(pair)))
)


@st.composite
def queries(draw):
    moments = tuple(draw(st.lists(moment, max_size=3)))  # none: a blind query
    extra = st.dictionaries(st.sampled_from(["verb", "note"]), st.integers() | st.text(max_size=4))
    return Query(
        id=draw(text),
        text=draw(text),
        video_id=draw(text),
        moments=moments,
        duration=max((end for _, end in moments), default=0.0) + 1,
        split=draw(st.sampled_from(["", "train", "test-iid"])),
        extra=draw(extra),
    )


@given(rows=st.lists(queries(), max_size=4, unique_by=lambda query: query.id))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    write_jsonl(path, rows)
    back = read_jsonl(path)
    assert back == rows
    assert [query.extra for query in back] == [query.extra for query in rows]


def test_a_line_of_the_field_by_hand(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(GOOD | {"saliency": [1]}) + "\r\n\r\n", encoding="utf-8", newline="")
    (query,) = read_jsonl(path, split="val")
    assert query == Query("7", "A dog barks.", "v1", ((1.0, 2.5), (4.0, 9.0)), 30.0, "val")
    assert query.extra == {"saliency": [1]}


def test_a_blind_line_has_no_moments(tmp_path):
    path = tmp_path / "blind.jsonl"
    path.write_text(json.dumps({k: v for k, v in GOOD.items() if k != "relevant_windows"}), encoding="utf-8")
    (query,) = read_jsonl(path)
    assert query == Query("7", "A dog barks.", "v1", (), 30.0)
    write_jsonl(path, [query])
    assert "relevant_windows" not in path.read_text(encoding="utf-8")


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert [query.id for query in read_jsonl(path)] == ["7"]


def test_a_text_with_a_unicode_line_separator_stays_one_line(tmp_path):
    query = Query("q", "one\u2028two\x85three", "v", ((0.0, 1.0),), 2.0)
    write_jsonl(tmp_path / "a.jsonl", [query])
    assert read_jsonl(tmp_path / "a.jsonl") == [query]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: .* at column 2"),
        ("[1]", "expected an object, found list"),
        *[
            (json.dumps({k: v for k, v in GOOD.items() if k != name}), f'field "{name}" is missing')
            for name in ("qid", "query", "vid", "duration")
        ],
        ('{"qid": 1, "qid": 2}', "'qid' is there twice"),
        (json.dumps(GOOD | {"query": " "}), r"""field "query": expected text, found ' '"""),
        (json.dumps(GOOD | {"vid": 3}), 'field "vid": expected text, found 3'),
        (json.dumps(GOOD | {"qid": True}), 'field "qid": expected text or a whole number, found True'),
        (json.dumps(GOOD | {"duration": 0}), 'field "duration": expected seconds above 0, found 0'),
        (json.dumps(GOOD | {"duration": "30"}), "field \"duration\": expected seconds above 0, found '30'"),
        (
            json.dumps(GOOD | {"duration": float("nan")}),
            'field "duration": expected seconds above 0, found nan',
        ),
        (json.dumps(GOOD | {"duration": 10**400}), 'field "duration": expected seconds above 0, found 1000'),
        (json.dumps(GOOD | {"relevant_windows": []}), r'field "relevant_windows": expected .* found \[\]'),
        (json.dumps(GOOD | {"relevant_windows": [[1]]}), r"expected \[start, end\], found \[1\]"),
        (json.dumps(GOOD | {"relevant_windows": [[1, None]]}), r"expected \[start, end\], found \[1, None\]"),
        (json.dumps(GOOD | {"relevant_windows": [[5, 4]]}), r"\[5, 4\] does not run forwards from 0"),
        (json.dumps(GOOD | {"relevant_windows": [[4, 4]]}), r"\[4, 4\] does not run forwards from 0"),
        (json.dumps(GOOD | {"relevant_windows": [[-1, 4]]}), r"\[-1, 4\] does not run forwards from 0"),
        (json.dumps(GOOD | {"relevant_windows": [[30, 31]]}), r"\[30, 31\] starts after the video's 30 s"),
        (json.dumps(GOOD | {"split": 5}), 'field "split": expected text, found 5'),
        (
            json.dumps(GOOD | {"relevant_clip_ids": "x"}),
            "field \"relevant_clip_ids\": expected whole numbers from 0, found 'x'",
        ),
        (
            json.dumps(GOOD | {"saliency_scores": [4]}),
            r'field "saliency_scores": expected a list of ratings for each clip, found \[4\]',
        ),
        (json.dumps(GOOD | {"vid": ["x" * 5000]}), r"found \['x{75}\.\.\.$"),
        (json.dumps(GOOD | {"qid": "1"}), "field \"qid\": '1' is already used in line 1"),
    ],
)
def test_a_bad_line_is_named_by_file_line_field_and_value(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(GOOD | {"qid": 1}) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as error:
        read_jsonl(path)
    assert str(error.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match=r"bad\.jsonl, line 1: not UTF-8 text: .* at byte 1$"):
        read_jsonl(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r{caf\xe9}")
    for read in (read_jsonl, read_text):
        with pytest.raises(AnnotationError, match=r"bad\.jsonl, line 3: not UTF-8 text: .* at byte 5$"):
            read(path)


def test_a_missing_file_is_an_os_error_that_names_it(tmp_path):
    with pytest.raises(OSError, match=r"nowhere\.jsonl"):
        read_jsonl(tmp_path / "nowhere.jsonl")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    query = Query("q", "text", "v", ((0.0, 1.0),), 2.0)
    write_jsonl(path, [query])
    with pytest.raises(ValueError, match="JSON"):
        write_jsonl(path, [query, Query("r", "text", "v", ((0.0, 1.0),), float("nan"))])
    assert read_jsonl(path) == [query]
    assert [item.name for item in tmp_path.iterdir()] == ["a.jsonl"]

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_jsonl(path, [])
    assert read_jsonl(path) == [query]

"""The real files have exactly the counts and the anomalies that an independent count found in them."""

import gc
import gzip
import json
from functools import cache

import pytest

from vmrlib.data import check
from vmrlib.data.datasets import AnnotatedSplit, MissingFile, corpus, read_split
from vmrlib.data.datasets.split import clean_text

ANET = {"train": "train", "val": "val_1", "test": "val_2"}
# an independent count of everything, by the names it gives them
NAMES = {
    "TACoS": "tacos",
    "ActivityNet Captions": "activitynet_captions",
    "Charades-STA": "charades_sta",
    "Charades-CD": "charades_cd",
    "ActivityNet-CD": "activitynet_cd",
    "Charades-CG": "charades_cg",
}
TIMES = {
    "end > duration (+0.01)": "ends past the video",
    "end > duration by >1s": "ends more than 1 s past the video",
    "start >= duration": "starts past the video",
    "start >= end": "starts at or after the end",
    "start > end": "starts after the end",
    "start >= min(end,duration)": "no time left inside the video",
    "negative start": "starts before 0",
    "full video (>=99%)": "moments of 99 % of the video",
}
TEXTS = {
    "empty text": "empty texts",
    "no letters": "texts without letters",
    "1-word text": "texts of one word",
    "leading/trailing space": "texts with outer blanks",
    "newline/tab inside": "texts with inner line breaks or tabs",
    "double space": "texts with double blanks",
    "non-ascii text": "texts with non-ASCII characters",
}
REPEATED = {
    "exact duplicate (vid,ts,text) extra rows": "exact repetitions",
    "same (vid,text), any ts, extra rows": "texts repeated in a video",
}


@cache  # a quarter of a gigabyte when all are read
def real(mirror, dataset: str, split: str) -> AnnotatedSplit:
    """A split of the real files, read once."""
    return read_split(dataset, split, mirror / "mirror" / dataset)


@pytest.fixture(scope="session")
def found(mirror):
    """The whole report on the real files."""
    with pytest.MonkeyPatch.context() as patch:
        # the same reading serves the other tests
        patch.setattr(check, "read_split", lambda dataset, split, _: real(mirror, dataset, split))
        report = check.report(folder=mirror / "mirror")
    gc.freeze()  # what is kept need not be searched for cycles again and again
    return report


@pytest.fixture(scope="session")
def integrity(mirror):
    """The independent count."""
    return json.loads((mirror / "mirror" / "integrity.json").read_text(encoding="utf-8"))


def four(figures: dict) -> str:
    return "/".join(f"{figures[part]:.2f}" for part in ("min", "median", "mean", "max"))


def times(split: dict) -> dict:
    """What the count says of moments, from our report."""
    late = split["figures"].get("seconds past the end of the video", {"max": 0})["max"]
    return {name: split["findings"][ours] for name, ours in TIMES.items()} | {
        "video duration s min/median/mean/max": four(split["figures"]["video duration"]),
        "moment len s min/median/mean/max": four(split["figures"]["moment length"]),
        "max overshoot s": pytest.approx(late, abs=0.005),
    }


def texts(split: dict, words: str = "words") -> dict:
    """What the count says of texts, from our report."""
    numbers = split["figures"][words]
    return {name: split["findings"][ours] for name, ours in (TEXTS | REPEATED).items()} | {
        "words mean/max": f"{numbers['mean']:.2f}/{numbers['max']:.0f}"
    }


def counts(split: dict) -> dict:
    return {"videos": split["videos"], "queries": split["rows"]}


def tally(split: dict, field: str) -> str:
    return f"[{', '.join(f'({value}, {count})' for value, count in split['tallies'][field].items())}]"


def fields(split: dict) -> str:
    """The fields that all rows have, as the count writes them."""
    (count,) = set(split["tallies"]["fields"].values())
    assert count in (split["videos"], split["rows"])
    return str(sorted(split["tallies"]["fields"]))


def family_note(dataset: str, split: dict) -> dict:
    findings, videos = split["findings"], split["videos"]
    if dataset == "tacos":
        assert findings["video ids that end in .avi"] == videos
        return {"note": f"fps values: {tally(split, 'fps')} keys {fields(split)}"}
    if dataset == "charades_sta":  # a malformed line, or a video without a duration, would be an error
        return {
            "note": "malformed lines 0; "
            f'lines not ending in "." {findings["texts without a final period"]}; '
            "videos without csv duration 0; "
            f"Charades_v1 csv rows {findings['rows of the Charades table']}; "
            f'text contains "#" {findings["texts with a #"]}'
        }
    if dataset == "charades_cd":  # lists of different lengths would be an error
        return {"note": f"list length mismatches 0; video_fps values {tally(split, 'video_fps')}"}
    if dataset == "charades_cg":
        return {"note": f"keys {fields(split)}"}
    return {}


def highlights_note(split: dict) -> str:
    count = split["findings"]
    durations = list(split["tallies"]["duration"].items())[:4]
    parts = [
        f"rows(queries) {split['rows']}",
        f"videos {split['videos']}",
        f"youtube ids {count['YouTube videos']}",
        "dup qid 0",  # would be an error
        f"fields {fields(split)}",
        f"durations [{', '.join(f'({seconds}, {n})' for seconds, n in durations)}]",
        f"non-ascii queries {count['texts with non-ASCII characters']}",
        f"empty {count['empty texts']}",
        f"queries with >1 window {count['queries with several moments']}",
        f"max windows {count['most moments of a query']}",
    ]
    if count["moments"]:
        parts += [
            f"clip_ids vs saliency length mismatch {count['saliency of another number of clips']}",
            f"windows != union of clip ids {count['moments that are not the relevant clips']}",
            f"vid name span != duration {count['durations shorter than the span in the video id']}",
            f"no window {count['queries without moments']}",
            f"duplicate (vid,query) {count['texts repeated in a video']}",
            f"odd window ends (not multiple of 2) {count['window ends that are no whole clips']}",
            f"clip id beyond duration {count['clips past the video']}",
            f"saliency outside 0-4 {count['ratings outside 0 to 4']}",
            f"saliency not 3 raters {count['clips without three raters']}",
        ]
        assert count["durations longer than the span in the video id"] == 0
    return "; ".join(parts)


def of_highlights(split: dict) -> dict:
    """The count has a row for each moment of a query, ours one for each query."""
    if not split["findings"]["moments"]:
        return {"note": highlights_note(split)}
    moments, findings = split["findings"]["moments"], split["findings"]
    per_moment = texts(split, "words, one text for each moment") | {
        "double space": findings["texts with double blanks, one for each moment"],
        "same (vid,text), any ts, extra rows": moments
        - split["rows"]
        + findings["texts repeated in a video"],
    }
    both = times(split) | per_moment | {"videos": split["videos"], "queries": moments}
    return both | {"note": highlights_note(split)}


def of_tvr(name: str, split: dict) -> dict:
    own = texts(split) | {"duplicate ids": 0}  # would be an error
    if name == "test_public":
        # the count takes the empty id of the blind rows for a video; ours counts the corpus
        assert split["videos"] == 1089
        return own | {"videos": 1, "queries": split["rows"], "note": f"fields {fields(split)}"}
    types = {kind: int(count) for kind, count in split["tallies"]["type"].items()}
    there, apart = (
        split["findings"][name]
        for name in ("queries whose video is in the corpus", "durations that differ from the corpus")
    )
    note = f"type {types}; vids in video2dur val {there}; |duration - video2dur| > 0.01: {apart}"
    return own | times(split) | counts(split) | {"note": note}


def of_didemo(split: dict) -> dict:
    count = split["findings"]
    return counts(split) | {
        "num_segments": split["tallies"]["num_segments"],
        "annotators": split["tallies"]["annotators"],
        "start_gt_end": count["choices that end before they start"],
        "beyond_segments": count["choices past the last segment"],
        "all_annotators_differ": count["queries on which no two annotators agree"],
        "times_gt_5": count["choices past segment 5"],
        "empty": count["empty texts"],
        "nonascii": count["texts with non-ASCII characters"],
        "newline": count["texts with a line break at the end"],
        "dup_ids": 0,  # would be an error
        "dup_vid_text": count["texts repeated in a video"],
    }


def of_msrvtt(splits: dict, across: dict) -> dict:
    test, nine, seven = (splits[name] for name in ("test_1k_a", "train_9k", "train_7k"))
    return {
        "test_rows": test["rows"],
        "test_videos": test["videos"],
        "dup_sentences": test["findings"]["captions repeated by other videos"],
        "key_mismatch": test["findings"]["keys of another video"],
        "train9k": nine["videos"] + nine["findings"]["videos listed twice"],
        "unique9k": nine["videos"],
        "train7k": seven["videos"] + seven["findings"]["videos listed twice"],
        "unique7k": seven["videos"],
        "overlap9k_test": across["videos in train_9k and test_1k_a"],
        "overlap7k_test": across["videos in train_7k and test_1k_a"],
        "t7_in_t9": across["videos in train_9k and train_7k"],
        "nonascii": test["findings"]["texts with non-ASCII characters"],
    }


def ours(name: str, found: dict) -> dict:
    """What our report says under a heading of the independent count, in its words."""
    data = found["datasets"]
    across = {dataset: content["across"] for dataset, content in data.items()}
    head, _, part = name.partition(" (")[0].rpartition(" ")
    if head in NAMES:
        dataset = NAMES[head]
        split = data[dataset]["splits"][ANET[part] if dataset == "activitynet_captions" else part]
        return counts(split) | times(split) | texts(split) | family_note(dataset, split)
    if name == "TVR video2dur_idx":
        return {
            split: across["tvr"][f"videos of {split} in the corpus"]
            for split in ("test_challenge", "test_public", "train", "val")
        }
    if name == "TVR overlap":
        return {
            "&".join(sorted(key.removeprefix("videos of the corpora in ").split(" and "))): count
            for key, count in across["tvr"].items()
            if key.startswith("videos of the corpora in ")
        }
    if head == "TVR":
        return of_tvr(part, data["tvr"]["splits"][part])
    if head == "QVHighlights":
        return of_highlights(data["qvhighlights"]["splits"][part])
    if head == "DiDeMo":
        return of_didemo(data["didemo"]["splits"][part])
    found = across["qvhighlights"]
    if name == "QVH test vs test_with_gt":
        return {
            "same_qids": found["ids of only one of test and test_with_gt"] == 0,
            "same_queries": None,  # the count left it open and gave the next one instead
            "query/vid differ": found["queries that differ between test and test_with_gt"],
        }
    if name == "QVH youtube-id overlap":
        pairs = ("train&val", "train&test", "val&test")
        return {pair: found["YouTube videos in " + " and ".join(pair.split("&"))] for pair in pairs}
    if name == "MSR-VTT":
        return of_msrvtt(data["msrvtt"]["splits"], across["msrvtt"])
    if name == "video overlap between splits of one dataset":
        short = {"activitynet_captions": "anet", "qvhighlights": "qvh"}
        back = {"val_1": "val", "val_2": "test"}
        return {
            f"{short.get(dataset, dataset)}: {back.get(a, a)} & {back.get(b, b)}": count
            for dataset in across
            if dataset != "msrvtt"  # counted under its own heading
            for key, count in across[dataset].items()
            if key.startswith("videos in ") and " and " in key and count
            for a, b in [key.removeprefix("videos in ").split(" and ")]
        }
    if name == "charades valid_videos":
        found = across["charades_sta"]
        differ = (
            found["videos of the splits that are not in valid_videos.txt"]
            + found["videos in valid_videos.txt that are in no split"]
        )
        return {"n": found["videos in valid_videos.txt"], "equal_train_plus_test": differ == 0}
    assert name == "anet available_mp4"
    found, splits = across["activitynet_captions"], data["activitynet_captions"]["splits"]
    return (
        {
            "n": found["lines of available_mp4.txt"],
            "unique": found["different videos in available_mp4.txt"],
        }
        | {f"of_{a}": found[f"videos of {b} in available_mp4.txt"] for a, b in ANET.items()}
        | {f"n_{a}": splits[b]["videos"] for a, b in ANET.items()}
    )


def test_every_key_of_the_independent_count_has_the_same_value(found, integrity):
    agreed = 0
    for name, expected in integrity.items():
        mine = ours(name, found)
        assert mine == expected, name
        agreed += len(expected)
    assert len(integrity) == 35
    print(f"{agreed} values under {len(integrity)} headings agree")


def test_no_real_file_is_wrong_and_only_known_counts_differ(found):
    assert found["problems"] == []
    assert all(one["known"] for one in found["published"])
    assert {(one["dataset"], one["split"]) for one in found["published"]} == {
        ("tacos", "train"),
        ("tacos", "val"),
        ("tacos", "test"),
        ("charades_cg", "novel_word"),
    }
    novel = next(one["message"] for one in found["published"] if one["split"] == "novel_word")
    assert "580 videos, 695 queries; published: 588 videos, 703 queries" in novel


def test_what_is_left_out_of_real_files_is_told_with_place_and_value(found):
    dropped = {
        (dataset, name): [(one["where"], one["value"]) for one in split["dropped"]]
        for dataset, content in found["datasets"].items()
        for name, split in content["splits"].items()
        if split["dropped"]
    }
    reversed_rows = [
        ("v_N7ppHQNikv8', row 2", [34.77, 34.77]),
        ("v_4rKTw99bM8g', row 1", [4.97, 4.97]),
        ("v_0bosp4-pyTM', row 3", [61.29, 60.71]),
        ("v_rhOtqArO-3Y', row 5", [173.44, 150.31]),
    ]
    assert dropped.keys() == {
        ("activitynet_captions", "train"),
        ("activitynet_cd", "test_ood"),
        ("charades_cd", "test_ood"),
        ("charades_sta", "train"),
    }
    assert dropped["activitynet_captions", "train"] == [
        (f"train.json, video '{place}", value) for place, value in reversed_rows
    ]
    assert sorted(dropped["activitynet_cd", "test_ood"]) == sorted(
        (f"anet_test_ood.json, video '{place}", value) for place, value in reversed_rows
    )
    assert dropped["charades_sta", "train"] == [
        (f"charades_sta_train.txt, line {line}, video {video!r}", value)
        for line, video, value in (
            (8252, "LEOL6", [8.0, 7.0]),
            (8440, "IOL8Q", [20.9, 12.0]),
            (9623, "AKKWU", [38.0, 13.0]),
            (9624, "AKKWU", [38.0, 13.0]),
        )
    ]
    assert dropped["charades_cd", "test_ood"] == [
        ("charades_test_ood.json, video 'LEOL6', row 0", [7.0, 8.0]),
        ("charades_test_ood.json, video 'AKKWU', row 0", [13.0, 38.0]),
        ("charades_test_ood.json, video 'AKKWU', row 1", [13.0, 38.0]),
    ]


def test_findings_that_only_the_prose_of_the_count_names(found):
    def findings(dataset, name):
        return {split: s["findings"][name] for split, s in found["datasets"][dataset]["splits"].items()}

    assert findings("tacos", "texts without a final period") == {"train": 2050, "val": 1001, "test": 937}
    assert findings("activitynet_captions", "moments under 1 s") == {"train": 447, "val_1": 195, "val_2": 218}
    assert findings("activitynet_captions", "videos under 5 s") == {"train": 22, "val_1": 14, "val_2": 14}
    without_period = findings("charades_cd", "texts without a final period")
    assert without_period == {"train": 11071, "val": 859, "test_iid": 823, "test_ood": 3375}
    assert findings("didemo", "videos under two names") == {"val": 29, "test": 33}
    assert findings("qvhighlights", "YouTube ids with _")["train"] == 1022
    assert found["datasets"]["tvr"]["splits"]["val"]["findings"]["times without decimals"] == 1792
    durations = found["datasets"]["charades_cd"]["across"]
    assert durations["videos that the Charades tables do not have"] == 0
    assert durations["durations that differ by more than 0.3 s"] == 0
    derived = found["datasets"]["activitynet_cd"]["splits"]["train"]
    assert (derived["videos"], derived["rows"]) == (10984, 51415)
    assert derived["notes"][0].startswith("derived")


def test_what_is_not_there_is_told_with_its_command(found):
    absent = {(one["dataset"], one["split"]): one["command"] for one in found["missing"]}
    assert absent["tvr", "train"] == "bash data_download.sh tvr"
    assert absent["didemo", "train"] == "bash data_download.sh didemo"


def test_all_moments_of_real_files_lie_inside_their_videos(mirror):
    for dataset, split in (("tacos", "train"), ("charades_sta", "train"), ("charades_cd", "test_ood")):
        for query in real(mirror, dataset, split).queries:
            assert query.text == clean_text(query.text) != ""
            assert all(0 <= start < end <= query.duration for start, end in query.moments), query.id


def test_tacos_is_in_seconds(mirror):
    path = mirror / "mirror" / "tacos" / "train.json"
    video, record = next(iter(json.loads(path.read_text(encoding="utf-8")).items()))
    query = real(mirror, "tacos", "train").queries[0]
    assert (query.id, query.video_id) == (f"{video}#0", video)
    assert query.moments == (tuple(frame / 29.4 for frame in record["timestamps"][0]),)
    assert query.duration == record["num_frames"] / 29.4


def test_charades_texts_keep_a_number_sign(mirror):
    texts = [query.text for query in real(mirror, "charades_sta", "train").queries if "#" in query.text]
    assert len(texts) == 6
    assert all("##" not in text for text in texts)


def test_derived_activitynet_cd_train_equals_the_reconstructed_file(mirror):
    path = mirror / "mirror" / "activitynet_cd" / "anet_train_derived.json.gz"
    expected = json.loads(gzip.decompress(path.read_bytes()))
    split = real(mirror, "activitynet_cd", "train")
    assert list(split.videos) == list(expected)
    rows = [
        (f"{video}#{index}", clean_text(text), record["duration"])
        for video, record in expected.items()
        for index, text in enumerate(record["sentences"])
    ]
    assert [(query.id, query.text, query.duration) for query in split.queries] == rows
    starts = [start for record in expected.values() for start, _ in record["timestamps"]]
    assert [query.moments[0][0] for query in split.queries] == starts


def test_the_blind_test_of_tvr_has_texts_and_a_corpus_only(mirror):
    split = real(mirror, "tvr", "test_public")
    assert {(query.video_id, query.moments, query.duration) for query in split.queries} == {("", (), 0.0)}
    videos = corpus("test_public", mirror / "mirror" / "tvr")
    assert tuple(videos) == split.videos
    assert len(videos) == 1089


def test_the_corpus_of_tvr_keeps_the_order_of_its_indices(mirror):
    folder = mirror / "mirror" / "tvr"
    index = json.loads((folder / "tvr_video2dur_idx.json").read_text(encoding="utf-8"))["val"]
    videos = corpus("val", folder)
    assert [index[video][1] for video in videos] == sorted(number for _, number in index.values())
    val = real(mirror, "tvr", "val")
    assert {query.video_id for query in val.queries} <= videos.keys()


def test_both_files_of_the_qvhighlights_test_have_the_same_queries(mirror):
    blind, told = (real(mirror, "qvhighlights", name) for name in ("test", "test_with_gt"))
    assert [(q.id, q.text, q.video_id, q.duration) for q in blind.queries] == [
        (q.id, q.text, q.video_id, q.duration) for q in told.queries
    ]
    assert not any(query.moments for query in blind.queries)
    assert all(len(q.extra["relevant_clip_ids"]) == len(q.extra["saliency_scores"]) for q in told.queries)


def test_didemo_puts_the_choice_of_most_annotators_first(mirror):
    for query in real(mirror, "didemo", "test").queries:
        times = query.extra["times"]
        votes = [times.count([start / 5, end / 5 - 1]) for start, end in query.moments]
        assert votes == sorted(votes, reverse=True)
        assert sum(votes) == len(times)
        assert query.duration == 5 * query.extra["num_segments"]


def test_a_missing_real_file_names_its_command(mirror):
    with pytest.raises(MissingFile, match=r"tvr_train_release.jsonl.*bash data_download.sh tvr$"):
        read_split("tvr", "train", mirror / "mirror" / "tvr")

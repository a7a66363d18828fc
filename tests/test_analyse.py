"""`python -m vmrlib analyse`: groups and figures by hand, the table, the picture, and the files it finds."""

import json

import numpy as np
import pytest

from vmrlib.analyse import analyse, find_queries, table
from vmrlib.cli import main
from vmrlib.data.annotations import Query
from vmrlib.data.predictions import Prediction, read_predictions, write_predictions
from vmrlib.data.stage.splits import StageConfig, make_split
from vmrlib.metrics.analysis import VERBS, first_verb, longest
from vmrlib.viz.analysis import draw_analysis
from vmrlib.viz.style import to_png


def query(name, moments, text="The man opens the door.", duration=60, video=None):
    pairs = tuple((float(start), float(end)) for start, end in moments)
    return Query(str(name), text, video or f"v{name}", pairs, float(duration))


QUERIES = [
    query(1, [(0, 5)]),  # at most 5 s, first third, 5 words
    query(2, [(25, 35)], "A woman is walking her dog along the old river."),  # 10 s, middle third, 10 words
    query(3, [(30, 60.0)], "Rain."),  # 30 s, last third, no verb
    query(4, [(0, 31), (50, 52)], "He walked " + "very " * 14 + "fast."),  # 31 s, 17 words
]
ANSWERS = [
    np.array([[0.0, 4.0]]),
    np.array([[25.0, 30.0]]),
    np.zeros((0, 2)),
    np.array([[50.0, 52.0], [0, 31]]),
]


def named(analysis, title):
    return {group.name: group for group in analysis.groups[title]}


def test_groups_and_figures_by_hand():
    analysis = analyse(ANSWERS, QUERIES, iou=0.5)
    # IoU of the first answers: 0.8, 0.5, none, 1 (with the second moment).
    assert (analysis.overall.queries, analysis.overall.recall) == (4, 75)
    assert analysis.overall.mean_iou == pytest.approx(100 * 2.3 / 4)
    lengths = named(analysis, "moment length")
    assert [group.queries for group in lengths.values()] == [1, 1, 1, 1]
    assert [group.recall for group in lengths.values()] == [100, 100, 0, 100]
    assert list(lengths) == ["at most 5 s", "5 to 10 s", "10 to 30 s", "over 30 s"]
    places = named(analysis, "position in the video")
    assert [group.queries for group in places.values()] == [2, 1, 1]
    assert places["first third"].mean_iou == pytest.approx(90)
    words = named(analysis, "words in the query")
    assert [group.queries for group in words.values()] == [2, 1, 0, 1]
    assert words["11 to 15"].recall is None
    verbs = named(analysis, "first verb")
    assert {name: group.queries for name, group in verbs.items()} == {
        "walk": 2, "open": 1, "other": 0, "no verb": 1,
    }  # fmt: skip


def test_a_higher_iou_and_the_strict_convention_reach_the_figures():
    assert analyse(ANSWERS, QUERIES, iou=0.9).overall.recall == 25
    assert analyse(ANSWERS, QUERIES, iou=0.5, convention="MSAT").overall.recall == 50


def test_a_query_is_grouped_by_its_longest_moment_whatever_was_answered():
    assert longest(QUERIES[3]) == (0, 31)
    assert longest(query(1, [(0, 4), (10, 14)])) == (0, 4)


def test_the_first_full_verb_counts_in_its_dictionary_form():
    assert first_verb("A man is opening the door and leaves.") == "open"
    assert first_verb("The girl was happy.") == "be"
    assert first_verb("A red car") == "no verb"
    assert first_verb("") == "no verb"


def test_rare_verbs_are_one_group():
    verbs = ("walk", "cook", "eat", "hold", "talk", "drink", "wash", "read", "play", "open")
    texts = [f"A man is {verb}ing something." for verb in verbs]
    queries = [query(number, [(0, 5)], text) for number, text in enumerate(texts)]
    groups = named(analyse([np.array([[0, 5.0]])] * len(texts), queries), "first verb")
    assert len(groups) == VERBS + 2
    assert groups["other"].queries == 2
    assert sum(group.queries for group in groups.values()) == len(texts)


def test_intervals_draw_whole_videos():
    one = [query(number, [(0, 5)], video="same") for number in range(6)]
    answers = [np.array([[0, 5.0]]) if number % 2 else np.array([[50, 55.0]]) for number in range(6)]
    overall = analyse(answers, one).overall
    assert (overall.recall, overall.low, overall.high) == (50, 50, 50)
    spread = analyse(answers, [query(number, [(0, 5)]) for number in range(6)]).overall
    assert spread.low < 50 < spread.high


def test_queries_without_truth_or_duration_are_named():
    with pytest.raises(ValueError, match="query 9 has no true moment"):
        analyse([ANSWERS[0]], [query(9, [])])
    with pytest.raises(ValueError, match="query 9 has no duration"):
        analyse([ANSWERS[0]], [query(9, [(0, 5)], duration=0)])


def test_the_table_has_a_line_for_every_group():
    lines = table(analyse(ANSWERS, QUERIES))
    assert lines[0].split() == ["queries", "R@1,", "IoU=0.5", "95", "%", "interval", "mIoU"]
    assert lines[1].split()[:4] == ["all", "queries", "4", "75.00"]
    assert "  11 to 15" in [line[:10] for line in lines]
    assert next(line for line in lines if "11 to 15" in line).split()[3:] == ["0", "-", "-", "-"]


# ---- the picture -----------------------------------------------------------------------------------


def test_bars_whiskers_and_counts_stand_at_the_figures():
    analysis = analyse(ANSWERS, QUERIES)
    figure = draw_analysis(analysis)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(analysis.groups)
    for axes, groups in zip(figure.axes, analysis.groups.values(), strict=True):
        filled = [group for group in groups if group.recall is not None]
        assert [bar.get_width() for bar in axes.patches] == [group.recall for group in filled]
        assert [label.get_text() for label in axes.get_yticklabels()] == [group.name for group in groups]
        assert [text.get_text() for text in axes.texts] == [f"n = {group.queries}" for group in groups]
        *whiskers, overall = axes.lines
        assert [tuple(line.get_xdata()) for line in whiskers] == [(g.low, g.high) for g in filled]
        assert set(overall.get_xdata()) == {analysis.overall.recall}
        assert axes.get_xlim() == (0, 100)
        rows = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
        assert rows == pytest.approx([row for row, group in enumerate(groups) if group.recall is not None])
    assert to_png(figure).startswith(b"\x89PNG")


def test_nothing_is_drawn_outside_the_picture():
    figure = draw_analysis(analyse(ANSWERS, QUERIES), "A title")
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    texts = [text for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels(), axes.title)]
    for text in [*texts, *figure.texts]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text
    to_png(figure)


# ---- the command -----------------------------------------------------------------------------------


def predictions(queries, answers, texts=True):
    return [
        Prediction(one.id, answer, np.ones(len(answer)), None, one.video_id, one.text if texts else "")
        for one, answer in zip(queries, answers, strict=True)
    ]


@pytest.fixture
def own_file(tmp_path):
    """A file whose lines hold the truth, too."""
    path = tmp_path / "own.jsonl"
    rows = []
    for one, answer in zip(QUERIES, ANSWERS, strict=True):
        rows.append(
            {
                "qid": one.id,
                "query": one.text,
                "vid": one.video_id,
                "duration": one.duration,
                "relevant_windows": [list(moment) for moment in one.moments],
                "pred_relevant_windows": [[*moment, 1.0] for moment in answer.tolist()],
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
    return path


def test_lines_that_hold_the_truth_need_no_annotations(own_file, capsys, tmp_path):
    picture = tmp_path / "new" / "analysis.png"
    assert main(["analyse", str(own_file), "--out", str(picture)]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert out.splitlines() == table(analyse(ANSWERS, QUERIES))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(picture.parent.glob("*.tmp"))


def test_json_is_one_object_with_two_decimals(own_file, capsys):
    assert main(["analyse", str(own_file), "--json", "--iou", "0.9"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["iou"] == 0.9
    assert figures["overall"]["recall"] == 25.0
    assert figures["overall"]["mean_iou"] == 57.5
    assert figures["groups"]["words in the query"][2]["recall"] is None


def test_annotations_of_a_file_are_taken_by_id(own_file, tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    write_predictions(path, predictions(QUERIES, ANSWERS)[::-1])
    assert main(["analyse", str(path), "--annotations", str(own_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["recall"] == 75.0


def test_stage_is_recognised_by_ids_and_texts(tmp_path, monkeypatch):
    monkeypatch.setattr("vmrlib.data.stage.splits.OPEN_SIZES", {"test-iid": 3})
    monkeypatch.setattr("vmrlib.data.stage.splits.KITCHEN_SIZES", {"test-iid": 2})
    path = tmp_path / "answers.jsonl"
    for config in (StageConfig.open(), StageConfig.kitchen()):
        queries = make_split("test-iid", config).queries
        found = predictions(queries, [np.array([[0.0, 5.0]])] * len(queries))
        write_predictions(path, found)
        assert find_queries(path, read_predictions(path)) == queries


def test_ids_that_nobody_knows_ask_for_annotations(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    write_predictions(path, predictions(QUERIES[:1], ANSWERS[:1]))
    assert main(["analyse", str(path)]) == 1
    assert "name them with --annotations" in capsys.readouterr().err


def test_a_file_of_qvhighlights_is_recognised_by_its_ids(mirror):
    path = next(iter(sorted((mirror / "eval" / "qvhighlights").rglob("*.jsonl"))))
    queries = find_queries(path, read_predictions(path))
    assert {query.split for query in queries} == {"val"}
    assert len(queries) == 1550

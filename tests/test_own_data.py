"""Own videos and queries, from mp4 and JSONL to found moments, through the command line."""

import json

import pytest

from vmrlib.cli import main
from vmrlib.data.annotations import Query, read_jsonl, write_jsonl
from vmrlib.data.predictions import read_predictions
from vmrlib.data.stage import make_split
from vmrlib.data.stage.export import frames
from vmrlib.data.video import write_video
from vmrlib.finding import UnknownWords, find

CONFIG = """
model: {{preset: stage, dim: 32, dim_ffn: 32, dim_head: 32, heads: 2, layers: 1}}
data: {{dataset: own, train: {0}/train.jsonl, val: {0}/val.jsonl, test: [{0}/val.jsonl]}}
features: [{{store: {0}/features}}]
words: letters
training: {{steps: 8, batch_size: 8, learning_rate: 1e-3, warmup_steps: 2, device: cpu}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with 12 videos under own names, annotations of 8 and of 4 of them, and a configuration."""
    folder = tmp_path_factory.mktemp("own")
    split = make_split("train", n=12)
    names = {script.video_id: f"garden {number:02d}" for number, script in enumerate(split.scripts)}
    for script in split.scripts:
        write_video(folder / "videos" / f"{names[script.video_id]}.mp4", frames(script, 64, 4), 4)
    queries = [
        Query(f"q{number}", query.text, names[query.video_id], query.moments, query.duration)
        for number, query in enumerate(split.queries)
    ]
    write_jsonl(folder / "train.jsonl", [query for query in queries if query.video_id < "garden 08"])
    write_jsonl(folder / "val.jsonl", [query for query in queries if query.video_id >= "garden 08"])
    (folder / "own.yaml").write_text(CONFIG.format(folder.as_posix()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(home):
    """The folder after `extract` and `train --evaluate`."""
    store, run = home / "features", home / "run"
    extract = ["extract", str(home / "videos"), "--extractor", "baseline", "--out", str(store)]
    assert main([*extract, "--device", "cpu", "--json"]) == 0
    train = ["train", "--config", str(home / "own.yaml"), "--out", str(run), "--json"]
    assert main([*train, "--evaluate", str(home / "val.jsonl")]) == 0
    return home


def ask(capsys, *arguments) -> tuple[dict, str]:
    """What `find --json` prints, and its warnings."""
    assert main(["find", *map(str, arguments), "--device", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_predictions_are_judged_by_evaluate(trained, capsys):
    files = ["--predictions", trained / "run" / "predictions-val.jsonl"]
    files += ["--annotations", trained / "val.jsonl"]
    assert main(["evaluate", "span", *map(str, files), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["queries"] == len(read_jsonl(trained / "val.jsonl"))
    assert 0 <= figures["R@1, IoU=0.3"] <= 100


def test_find_gives_the_moments_that_evaluation_gave(trained, capsys, tmp_path):
    query = read_jsonl(trained / "val.jsonl")[0]
    (predicted,) = (
        prediction
        for prediction in read_predictions(trained / "run" / "predictions-val.jsonl")
        if prediction.query_id == query.id
    )
    video = trained / "videos" / f"{query.video_id}.mp4"
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    answer, _ = ask(
        capsys, video, query.text, "--checkpoint", trained / "run", "--html", page, "--out", picture
    )
    found = answer["pred_relevant_windows"]
    assert 1 <= len(found) <= 5 and answer["vid"] == query.video_id
    expected = predicted.moments[0].clip(0, query.duration)
    assert found[0][:2] == pytest.approx(expected.tolist(), abs=0.01)
    assert found[0][2] == pytest.approx(predicted.scores[0], abs=0.01)
    assert "data:video/mp4;base64," in page.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "own" in answer["model"] and answer["page"] == str(page)


@pytest.mark.filterwarnings("ignore::vmrlib.finding.UnknownWords")
def test_find_takes_a_loaded_checkpoint_and_a_path(trained):
    from vmrlib import checkpoints

    query = read_jsonl(trained / "val.jsonl")[0]
    video = trained / "videos" / f"{query.video_id}.mp4"
    loaded = find(video, query.text, checkpoints.load(trained / "run"), device="cpu")
    named = find(video, query.text, str(trained / "run" / "best.json"), device="cpu", top=2)
    assert loaded.moments[:2] == named.moments and not len(named.similarity)


def test_unknown_words_are_told(trained, capsys, tmp_path):
    video, out = trained / "videos" / "garden 09.mp4", tmp_path / "picture.png"
    call = (video, "Zebras gallop", "--checkpoint", trained / "run", "--out", out)
    answer, warning = ask(capsys, *call)
    assert answer["unknown_words"] == ["zebras", "gallop"]
    assert warning.count("\n") == 1 and "zebras, gallop" in warning and "say nothing" in warning
    with pytest.warns(UnknownWords, match=r"does not know: zebra\.$"):
        find(video, "the red zebra", trained / "run", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{home}/own.yaml", "a star"], "own.yaml"),
        (["{home}/absent.mp4", "a star"], "absent.mp4: no such file"),
        (["{video}", ""], "query is empty"),
        (["{video}", "?!"], "has no words"),
        (["{video}", "a star", "--checkpoint", "{home}/nowhere"], "nowhere: no checkpoint"),
        (["{video}", "a star", "--checkpoint", "{home}/other.json"], "size 32 is needed, here it is 64"),
        (["{video}", "a star", "--seconds-per-clip", "2"], "seconds per clip"),
        (["{video}", "a star", "--html", "page.txt"], "--html must end in .html"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(trained, arguments, message, capsys):
    about = json.loads((trained / "run" / "best.json").read_text(encoding="utf-8"))
    about["features"][0]["size"] = 32
    about["weights"]["file"] = f"run/{about['weights']['file']}"
    (trained / "other.json").write_text(json.dumps(about), encoding="utf-8")
    if "--checkpoint" not in arguments:
        arguments = [*arguments, "--checkpoint", "{home}/run"]
    video = trained / "videos" / "garden 09.mp4"
    call = [word.format(home=trained, video=video) for word in arguments]
    assert main(["find", *call, "--device", "cpu"]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error and error.startswith("vmrlib find: ")

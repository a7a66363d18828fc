"""Stage as files: other tools can read them, an export can be resumed, a bad call is one line."""

import json
import re
import shutil
import subprocess

import av
import numpy as np
import pytest
from stage_splits import split

from vmrlib.cli import main
from vmrlib.data.annotations import read_jsonl
from vmrlib.data.stage import export as module
from vmrlib.data.stage import render
from vmrlib.data.stage.export import export, srt
from vmrlib.data.stage.world import Line

SIZE, FPS = 64, 5
PART = split("open", "test-iid", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(PART, tmp_path_factory.mktemp("stage") / "out", SIZE, FPS)


def test_nothing_but_the_promised_files_is_written(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    videos = {f"videos/{s.video_id}.{kind}" for s in PART.scripts for kind in ("mp4", "srt")}
    assert names == videos | {"annotations.jsonl", "stage.json"}


def test_the_mp4_decodes_to_the_rendered_frames(folder):
    script = PART.scripts[0]
    with av.open(str(folder / "videos" / f"{script.video_id}.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", SIZE, SIZE)
        assert stream.average_rate == FPS
        assert container.duration / av.time_base == pytest.approx(script.duration, abs=0.01)
        decoded = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    assert len(decoded) == script.duration * FPS
    times = np.arange(len(decoded)) / FPS
    assert np.allclose([time for time, _ in decoded], times)
    shown = render(script, times, size=SIZE).astype(int)
    difference = np.abs(np.stack([image for _, image in decoded]).astype(int) - shown)
    assert difference.mean() < 6
    # and the right one of all frames: nearer to its own picture than to that of two seconds later
    assert np.abs(decoded[20][1] - shown[20]).mean() <= np.abs(decoded[20][1] - shown[30]).mean()


def test_the_annotations_are_the_queries(folder):
    queries = read_jsonl(folder / "annotations.jsonl")
    assert queries == PART.queries
    assert [query.extra for query in queries] == [query.extra for query in PART.queries]


def test_the_subtitles_are_srt(folder):
    for script in PART.scripts:
        text = (folder / "videos" / f"{script.video_id}.srt").read_text(encoding="utf-8")
        clock = r"(\d\d):(\d\d):(\d\d),(\d\d\d)"
        blocks = text.strip().split("\n\n")
        assert len(blocks) == len(script.lines)
        for number, (block, line) in enumerate(zip(blocks, script.lines, strict=True), start=1):
            head, times, words = block.split("\n")
            found = re.fullmatch(f"{clock} --> {clock}", times)
            hours, minutes, seconds, ms = map(int, found.groups()[:4])
            assert (head, words) == (str(number), line.text)
            assert ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms == line.start_ms


def test_an_hour_is_written_as_an_hour():
    assert srt((Line("Hi.", 3_723_004, 3_725_000),)) == "1\n01:02:03,004 --> 01:02:05,000\nHi.\n"


def test_another_reader_sees_the_same_video(folder):
    if shutil.which("ffprobe") is None:
        # PyAV brings no program of its own: its demuxer by name is the second reader then.
        with av.open(str(folder / "videos" / f"{PART.scripts[0].video_id}.mp4"), format="mp4") as container:
            assert container.streams.video[0].frames == 24 * FPS
        return
    path = folder / "videos" / f"{PART.scripts[0].video_id}.mp4"
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=nb_frames", "-of", "json", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["streams"][0]["nb_frames"] == str(24 * FPS)


def test_stage_json_tells_version_hash_and_knobs(folder):
    about = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    assert (about["stage"], about["hash"], about["split"]) == (1, PART.hash, "test-iid")
    assert (about["size"], about["fps"], about["config"]["profile"]) == (SIZE, FPS, "open")


def test_an_interrupted_export_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    written, real = [], module.write_video

    def fails_at_the_second(path, frames, fps, **options):
        if written:
            raise OSError("disk full")
        written.append(path.name)
        return real(path, frames, fps, **options)

    monkeypatch.setattr(module, "write_video", fails_at_the_second)
    with pytest.raises(OSError, match="disk full"):
        export(PART, tmp_path / "out", SIZE, FPS)
    assert not (tmp_path / "out" / "annotations.jsonl").exists()
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 1
    before = next((tmp_path / "out").rglob("*.mp4")).stat().st_mtime_ns

    again = []
    monkeypatch.setattr(
        module,
        "write_video",
        lambda path, *rest, **options: again.append(path.name) or real(path, *rest, **options),
    )
    export(PART, tmp_path / "out", SIZE, FPS)
    assert again == [f"{PART.scripts[1].video_id}.mp4"]
    assert (tmp_path / "out" / "videos" / written[0]).stat().st_mtime_ns == before
    for name in ("annotations.jsonl", "stage.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_a_video_that_fails_half_way_leaves_no_mp4(tmp_path, monkeypatch):
    def breaks(script, size, fps):
        yield np.zeros((size, size, 3), dtype=np.uint8)
        raise OSError("no more frames")

    monkeypatch.setattr(module, "frames", breaks)
    with pytest.raises(OSError, match="no more frames"):
        export(PART, tmp_path / "out", SIZE, FPS)
    assert not list((tmp_path / "out").rglob("*.mp4"))
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_two_different_exports_do_not_share_a_folder(folder):
    with pytest.raises(ValueError, match=r"stage\.json: holds another export: size is 64, not 32"):
        export(PART, folder, 32, FPS)
    with pytest.raises(ValueError, match=f"holds another export: hash is {PART.hash}, not"):
        export(split("open", "test-iid", 1), folder, SIZE, FPS)


def test_a_damaged_stage_json_is_named(tmp_path):
    (tmp_path / "stage.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"stage\.json: damaged"):
        export(PART, tmp_path, SIZE, FPS)


# ---- the command ----------------------------------------------------------------------------------


def test_the_command_writes_what_the_function_writes(folder, tmp_path, capsys):
    call = ["stage", "--split", "test-iid", "--n", "2", "--size", str(SIZE), "--fps", str(FPS)]
    assert main([*call, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["videos"], told["queries"], told["hash"]) == (2, len(PART.queries), PART.hash)
    assert (tmp_path / "out" / "annotations.jsonl").read_bytes() == (
        folder / "annotations.jsonl"
    ).read_bytes()


def test_the_command_passes_its_knobs_on(tmp_path, capsys):
    call = "stage --split val --n 1 --size 16 --fps 1 --json"
    knobs = "--profile kitchen --duration 24 --complexity 2 1 2 --seed 5"
    assert main([*call.split(), *knobs.split(), "--out", str(tmp_path / "out")]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    knobs = {"profile": "kitchen", "duration": 24, "complexity": [1, 2], "seed": 5}
    assert {name: config[name] for name in knobs} == knobs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("", "--out FOLDER is missing (or --statistics)"),
        ("--out X --n 0", "--n must be at least 1, not 0"),
        ("--out X --size 63", "--size must be even and at least 16, not 63"),
        ("--out X --fps 0", "--fps must be at least 1, not 0"),
        ("--out X --profile kitchen --split test-scene", "split must be one of train, "),
        ("--out X --split test-complex --complexity 1", "test-complex asks about levels 3 and 4"),
    ],
)
def test_a_bad_call_is_one_line(call, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["stage", *call.split()]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"vmrlib stage: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_statistics_stand_beside_those_of_the_real_datasets(capsys, monkeypatch):
    from vmrlib.data.stage import statistics

    monkeypatch.setattr(
        statistics,
        "make_split",
        lambda name, config: split(config.profile, name, 4 if config.actors[0] == 3 else 20),
    )
    assert main(["stage", "--statistics", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["Stage open", "ActivityNet Captions", "Stage kitchen", "TACoS"]
    assert told["TACoS"]["queries"] == 9790
    assert told["Stage kitchen"]["moment_share"] < told["Stage open"]["moment_share"]
    assert main(["stage", "--statistics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(statistics.ROWS)
    assert len({len(line) for line in lines}) == 1


def test_the_figures_of_the_real_datasets_come_from_their_files(mirror):
    from vmrlib.data.stage.statistics import REAL, real_statistics

    assert real_statistics(mirror) == json.loads(REAL.read_text(encoding="utf-8"))

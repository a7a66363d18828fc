"""data_download.sh against a real server on loopback that stalls, hangs up and serves damaged bytes."""

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from download_server import (
    CONTENT,
    SCRIPT,
    download,
    environment,
    files_below,
    needs_bash,
    path_without_curl,
    row,
    serve,
    shutil,
    write_list,
    write_manifest,
)

BLOB = "git_blob"
HALF = len(CONTENT) // 2
pytestmark = needs_bash
server = pytest.fixture(serve)


@pytest.fixture(params=["curl", "python"])
def transport(request, tmp_path) -> str:
    """A PATH with curl, or one without, where Python does the transfer."""
    if request.param == "curl":
        if shutil.which("curl") is None:
            pytest.skip("needs curl")
        return os.environ["PATH"]
    return path_without_curl(tmp_path / "bin")


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def unknown_size(path: str, urls: list[str], **fields) -> dict:
    """A file of which only the blob id is known."""
    return {
        "path": path,
        "bytes": None,
        "git_blob": git_blob(CONTENT),
        "licence": "MIT",
        "urls": urls,
    } | fields


def test_a_second_run_fetches_nothing(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    first = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("Name the source.") == 1
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/good/a", None)]
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert len(server.requests) == 1
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


@pytest.mark.parametrize(("manner", "known"), [("cut", "sha256"), ("cut", BLOB), ("stall", "sha256")])
def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, server, transport, manner, known):
    urls = [server.url(f"{manner}/a")]
    file = row("videos/a.mp4", urls) if known == "sha256" else unknown_size("videos/a.mp4", urls)
    started = time.perf_counter()
    outcome = download(
        tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set", PATH=transport
    )
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [(f"/{manner}/a", None), (f"/{manner}/a", f"bytes={HALF}-")]
    assert server.bytes_sent <= len(CONTENT) + 64_000
    assert time.perf_counter() - started < 30  # the server is silent for longer than that


def test_what_an_earlier_run_left_is_used(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    part = tmp_path / "data/videos/a.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:100_000])
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert server.requests == [("/good/a", "bytes=100000-")]
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
@pytest.mark.parametrize(
    ("transport", "whole_group"), [("curl", False), ("python", False), ("curl", True)], indirect=["transport"]
)
def test_a_run_after_kill_9_goes_on_where_it_stopped(tmp_path, server, transport, whole_group):
    manifest = write_manifest(tmp_path, a=[server.url("slow/a")])
    run = subprocess.Popen(
        ["bash", SCRIPT, "--manifest", manifest, "set"],
        env=environment(tmp_path / "data", PATH=transport),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    parts = lambda: list((tmp_path / "data/videos").glob("a.mp4.part*"))  # noqa: E731
    wait_for(lambda: any(part.stat().st_size > HALF / 3 for part in parts()))
    if whole_group:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()  # its transfer ends a second later
    run.wait()
    assert not (tmp_path / "data/videos/a.mp4").exists()
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert [wanted is None for _, wanted in server.requests] == [True, False]
    assert server.bytes_sent <= len(CONTENT) + 64_000
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


def test_an_interrupted_run_keeps_what_it_has(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("slow/a")])
    run = subprocess.Popen(
        ["bash", SCRIPT, "--manifest", manifest, "set"],
        env=environment(tmp_path / "data"),
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: server.bytes_sent > HALF)
    run.terminate()
    assert run.wait(timeout=10) == 130
    (left,) = files_below(tmp_path / "data")
    assert left == "videos/a.mp4.part" and (tmp_path / "data" / left).stat().st_size > HALF / 2


def test_two_runs_at_once_do_not_spoil_a_file(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("slow/a")])
    run = ["bash", SCRIPT, "--manifest", manifest, "set"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    first = subprocess.Popen(run, env=environment(tmp_path / "data"), **pipes)
    wait_for(lambda: server.bytes_sent > 0)
    second = subprocess.Popen(run, env=environment(tmp_path / "data"), **pipes)
    outputs = [process.communicate(timeout=30)[0] for process in (first, second)]
    assert first.returncode == second.returncode == 0, outputs
    assert "another run is fetching it" in outputs[1]
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_damaged_bytes_are_rejected_and_the_second_mirror_is_used(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("damaged/a"), server.url("good/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert "wrong checksum" in outcome.stderr and "damaged/a" in outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/damaged/a", None), ("/good/a", None)]


def test_a_file_that_everybody_lost_is_given_up_at_once(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("absent/a"), server.url("absent/b")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 1 and "videos/a.mp4: nobody has it any more" in outcome.stderr
    assert len(server.requests) == 2


def test_a_wrong_file_is_not_fetched_over_and_over(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("damaged/a")])
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 1
    assert server.requests == [("/damaged/a", None)] * 2


@pytest.mark.parametrize("known", ["sha256", BLOB])
def test_a_mirror_that_lost_the_file_is_passed_over(tmp_path, server, known):
    urls = [server.url("absent/a"), server.url("good/a")]
    file = row("a.mp4", urls) if known == "sha256" else unknown_size("a.mp4", urls)
    assert download(tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set").returncode == 0
    assert server.requests == [("/absent/a", None), ("/good/a", None)]
    assert files_below(tmp_path / "data") == ["a.mp4"]


def test_a_damaged_beginning_spoils_only_one_round(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("absent/a"), server.url("good/a")])
    part = tmp_path / "data/videos/a.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("no-ranges/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT


def test_a_whole_part_of_unknown_size_is_recognised(tmp_path, server, transport):
    """The run was killed between the last byte and the check: the server has nothing more to send."""
    file = unknown_size("a.mp4", [server.url("good/a")])
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.mp4.part").write_bytes(CONTENT)
    outcome = download(
        tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set", PATH=transport
    )
    assert outcome.returncode == 0, outcome.stderr
    assert server.bytes_sent == 0 and files_below(tmp_path / "data") == ["a.mp4"]


def test_a_server_that_does_not_know_the_size_is_enough(tmp_path, server, transport):
    file = unknown_size("a.mp4", [server.url("chunked/a")])
    outcome = download(
        tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set", PATH=transport
    )
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/a.mp4").read_bytes() == CONTENT
    assert "a.mp4 (size unknown)" in outcome.stdout


def test_nothing_half_written_gets_the_name_of_a_file(tmp_path, server):
    urls = {"a": [server.url("damaged/a"), server.url("absent/a")], "b": [server.url("good/b")]}
    outcome = download(tmp_path / "data", "--manifest", write_manifest(tmp_path, **urls), "set")
    assert outcome.returncode == 1
    assert "could not be fetched: videos/a.mp4" in outcome.stderr
    assert files_below(tmp_path / "data") == ["videos/b.mp4"]


def test_a_full_disk_is_noticed_before_the_first_byte(tmp_path, server):
    file = row("a.mp4", [server.url("good/a")], bytes=10**18)
    outcome = download(tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set")
    assert outcome.returncode == 1
    assert "not enough space" in outcome.stderr and "1e+09 GB are needed" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1 and server.requests == []


def test_dry_run_writes_nothing(tmp_path, server):
    urls = [server.url("good/a"), server.url("good/b")]
    manifest = write_manifest(tmp_path, a=urls)
    outcome = download(tmp_path / "data", "--manifest", manifest, "--dry-run", "set")
    assert outcome.returncode == 0
    assert all(url in outcome.stdout for url in urls)
    assert not (tmp_path / "data").exists()
    assert server.requests == []


def test_the_script_uses_nothing_that_is_not_everywhere():
    text = Path(SCRIPT).read_text(encoding="utf-8")
    for word in (
        "readarray",
        "mapfile",
        "declare -A",
        "${,,}",
        "stat -",
        "sed -i",
        " timeout ",
        "flock",
        "BASHPID",
    ):
        assert word not in text, word

"""data_download.sh against a real server on loopback that stalls, hangs up and serves damaged bytes."""

import hashlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from download_server import (
    CONTENT,
    CRUMBS,
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


def test_a_second_run_fetches_nothing(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    first = download(tmp_path / "data", "--manifest", manifest, "set")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("Name the source.") == 1
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/good/a", None)]
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert len(server.requests) == 1
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


@pytest.mark.parametrize(
    ("manner", "known"), [("cut", BLOB), ("vague", "sha256"), ("stall", "sha256"), ("crumbs", "sha256")]
)
def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, server, transport, manner, known):
    """Also one that breaks all the time, and one where nobody says that more should come."""
    urls = [server.url(f"{manner}/a")]
    file = row("videos/a.mp4", urls) if known == "sha256" else unknown_size("videos/a.mp4", urls)
    started = time.perf_counter()
    outcome = download(
        tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set", PATH=transport
    )
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    piece = CRUMBS.get(manner, HALF)
    starts = range(0, len(CONTENT), piece) if manner == "crumbs" else (0, piece)
    ranges = [f"bytes={start}-" if start else None for start in starts]
    assert server.requests == [(f"/{manner}/a", wanted) for wanted in ranges]
    assert server.bytes_sent <= len(CONTENT) + 64_000
    assert time.perf_counter() - started < 30  # the server is silent for longer than that


@pytest.mark.parametrize(
    ("transport", "known"), [("curl", "sha256"), ("python", BLOB)], indirect=["transport"]
)
def test_an_answer_that_breaks_off_in_its_headers_is_no_file(tmp_path, server, transport, known):
    urls = [server.url("mute/a")]
    file = row("a.mp4", urls) if known == "sha256" else unknown_size("a.mp4", urls)
    outcome = download(
        tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set", PATH=transport
    )
    assert outcome.returncode == 0 and "wrong" not in outcome.stderr, outcome.stderr
    assert len(server.requests) == 2 and files_below(tmp_path / "data") == ["a.mp4"]


def test_another_file_that_is_shorter_does_not_spoil_the_next_mirror(tmp_path, server, transport):
    server.contents["page"] = b"<html>Too many downloads</html>"
    manifest = write_manifest(tmp_path, a=[server.url("no-ranges/page"), server.url("good/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert server.requests[-1] == ("/good/a", None) and len(server.requests) == 3


def test_a_body_without_end_is_stopped(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("endless/a"), server.url("good/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set")
    assert outcome.returncode == 0, outcome.stderr
    assert "wrong checksum" in outcome.stderr and "Terminated" not in outcome.stderr
    assert server.bytes_sent < 20 * len(CONTENT)


def test_another_part_than_was_asked_for_is_not_appended(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("shifted/a"), server.url("good/a")])
    part = tmp_path / "data/videos/a.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:100_000])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0 and "wrong checksum" not in outcome.stderr, outcome.stderr


def test_a_name_that_is_taken_by_a_folder_is_told_and_nothing_is_fetched_again(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    folder = tmp_path / "data/videos/a.mp4"
    folder.mkdir(parents=True)
    outcome = download(tmp_path / "data", "--manifest", manifest, "set")
    assert outcome.returncode == 1
    assert "videos/a.mp4: cannot be written" in outcome.stderr and "checksum" not in outcome.stderr
    folder.rmdir()
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert server.requests == [("/good/a", None)]
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


def test_a_wrong_size_in_the_list_is_named(tmp_path, server):
    file = row("a.mp4", [server.url("good/a")], bytes=5)
    outcome = download(tmp_path / "data", "--manifest", write_list(tmp_path, set=[file]), "set")
    assert outcome.returncode == 1 and f"a.mp4 has {len(CONTENT)} bytes, wanted 5" in outcome.stderr


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
    ("transport", "whole_group"), [("curl", False), ("python", True)], indirect=["transport"]
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


def test_two_runs_at_once_share_a_file(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("slow/a")])
    run = ["bash", SCRIPT, "--manifest", manifest, "set"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = [subprocess.Popen(run, env=environment(tmp_path / "data"), **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=30)[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    assert sum("another run is fetching it" in output for output in outputs) == 1
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_damaged_bytes_are_rejected_and_the_second_mirror_is_used(tmp_path, server):
    manifest = write_manifest(tmp_path, a=[server.url("damaged/a"), server.url("good/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set")
    assert outcome.returncode == 0, outcome.stderr
    assert "wrong checksum" in outcome.stderr and "damaged/a" in outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/damaged/a", None), ("/good/a", None)]


def test_a_file_that_everybody_lost_is_given_up_at_once(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("absent/a"), server.url("absent/b")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 1 and "videos/a.mp4: nobody has it any more" in outcome.stderr
    assert len(server.requests) == 2


def test_a_mirror_that_lost_the_file_is_passed_over(tmp_path, server):
    files = [row("a.mp4", [server.url("absent/a"), server.url("good/a")])]
    files.append(unknown_size("b.mp4", [server.url("absent/b"), server.url("good/b")]))
    assert download(tmp_path / "data", "--manifest", write_list(tmp_path, set=files), "set").returncode == 0
    assert [path for path, _ in server.requests] == ["/absent/a", "/good/a", "/absent/b", "/good/b"]
    assert files_below(tmp_path / "data") == ["a.mp4", "b.mp4"]


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


def test_a_wrong_file_gets_no_name_and_is_not_fetched_over_and_over(tmp_path, server):
    urls = {"a": [server.url("damaged/a")], "b": [server.url("good/b")]}
    outcome = download(tmp_path / "data", "--manifest", write_manifest(tmp_path, **urls), "set")
    assert outcome.returncode == 1
    assert "could not be fetched: videos/a.mp4" in outcome.stderr
    assert files_below(tmp_path / "data") == ["videos/b.mp4"]
    assert server.requests == [("/damaged/a", None)] * 2 + [("/good/b", None)]


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
    # only the last step may use what is installed: it compares features with the annotations
    assert re.findall(r'"\$python" -m \S+ \S+', text) == ['"$python" -m vmrlib.data.download_steps end']

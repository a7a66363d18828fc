"""data_download.sh against a real server on loopback that stalls, hangs up and serves damaged bytes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vmrlib.data.annotations import read_jsonl
from vmrlib.data.downloads import File, checksum, read_targets, state

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "data_download.sh"
CONTENT = bytes(range(256)) * 1200  # 307 kB
PROGRAMS = ("bash", "dirname", "cat", "mkdir", "cp", "mv", "rm", "chmod", "wc", "tr", "sleep")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; the first part of the path says how badly."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.bytes_sent = 0
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        manner = self.path.split("/")[1]
        if manner == "absent":
            self.send_error(404)
            return
        first_time = wanted is None
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and manner != "no-ranges" else 0
        body = CONTENT[start:] if manner != "damaged" else b"x" * (len(CONTENT) - start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        breaks = manner in ("cut", "stall") or (manner == "no-ranges" and len(self.server.requests) == 1)
        if breaks and first_time:
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        self.server.bytes_sent += len(body)
        if manner == "stall" and first_time:
            self.server.closing.wait(60)

    def log_message(self, *arguments):
        """Keeps the test's output clean; the requests are in Server.requests."""


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


@pytest.fixture(params=["curl", "python"])
def transport(request, tmp_path) -> str:
    """A PATH with curl, or one without, where Python does the transfer."""
    if request.param == "curl":
        if shutil.which("curl") is None:
            pytest.skip("needs curl")
        return os.environ["PATH"]
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in PROGRAMS:
        (folder / program).symlink_to(shutil.which(program))
    (folder / "python3").symlink_to(sys.executable)
    return str(folder)


def write_manifest(tmp_path: Path, **files: list[str]) -> Path:
    """A list with one target, `set`, of files with the right content at the given URLs."""
    rows = [
        {
            "path": f"videos/{name}.mp4",
            "bytes": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "licence": "CC BY 4.0",
            "urls": urls,
        }
        for name, urls in files.items()
    ]
    path = tmp_path / "downloads.json"
    target = {"about": "a test", "notice": ["Name the source."], "files": rows}
    path.write_text(json.dumps({"targets": {"set": target}}), encoding="utf-8")
    return path


def download(data: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    settings = {"VMRLIB_DATA": str(data), "VMRLIB_STALL_SECONDS": "1", "VMRLIB_MIRROR": ""}
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_second_run_fetches_nothing(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    first = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert first.returncode == 0, first.stderr
    assert "Name the source." in first.stdout
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/good/a", None)]
    assert download(tmp_path / "data", "--manifest", manifest, "set").returncode == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("manner", ["cut", "stall"])
def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, server, transport, manner):
    manifest = write_manifest(tmp_path, a=[server.url(f"{manner}/a")])
    started = time.perf_counter()
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [(f"/{manner}/a", None), (f"/{manner}/a", f"bytes={len(CONTENT) // 2}-")]
    assert server.bytes_sent <= len(CONTENT) + 64_000
    assert time.perf_counter() - started < 30  # the server is silent for longer than that


def test_what_an_earlier_run_left_is_used(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("good/a")])
    part = tmp_path / "data/videos/a.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:100_000])
    assert download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport).returncode == 0
    assert server.requests == [("/good/a", "bytes=100000-")]
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]


def test_damaged_bytes_are_rejected_and_the_second_mirror_is_used(tmp_path, server, transport):
    manifest = write_manifest(tmp_path, a=[server.url("damaged/a"), server.url("good/a")])
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", PATH=transport)
    assert outcome.returncode == 0, outcome.stderr
    assert "wrong checksum" in outcome.stderr and "damaged/a" in outcome.stderr
    assert (tmp_path / "data/videos/a.mp4").read_bytes() == CONTENT
    assert server.requests == [("/damaged/a", None), ("/good/a", None)]


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


def test_nothing_half_written_gets_the_name_of_a_file(tmp_path, server):
    urls = {"a": [server.url("damaged/a"), server.url("absent/a")], "b": [server.url("good/b")]}
    outcome = download(tmp_path / "data", "--manifest", write_manifest(tmp_path, **urls), "set")
    assert outcome.returncode == 1
    assert "could not be fetched: videos/a.mp4" in outcome.stderr
    assert files_below(tmp_path / "data") == ["videos/b.mp4"]


def test_a_local_mirror_replaces_the_network(tmp_path, server):
    urls = {name: [server.url(f"good/{name}")] for name in ("a", "b", "c")}
    manifest = write_manifest(tmp_path, **urls)
    mirror = tmp_path / "mirror"
    (mirror / "videos").mkdir(parents=True)
    (mirror / "videos/a.mp4").write_bytes(CONTENT)
    (mirror / "videos/b.mp4").write_bytes(CONTENT[:-1] + b"x")
    (mirror / "videos/a.mp4").chmod(0o444)
    outcome = download(tmp_path / "data", "--manifest", manifest, "set", VMRLIB_MIRROR=str(mirror))
    assert outcome.returncode == 1
    assert "videos/b.mp4: wrong checksum" in outcome.stderr
    assert "not in the mirror: videos/c.mp4" in outcome.stderr
    assert files_below(tmp_path / "data") == ["videos/a.mp4"]
    assert server.requests == []


def test_verify_names_damaged_and_missing_files(tmp_path):
    manifest = write_manifest(tmp_path, a=["http://x/a"], b=["http://x/b"], c=["http://x/c"])
    videos = tmp_path / "data/videos"
    nothing = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert nothing.returncode == 0 and "nothing" in nothing.stdout
    videos.mkdir(parents=True)
    (videos / "a.mp4").write_bytes(CONTENT)
    (videos / "b.mp4").write_bytes(CONTENT[:-1] + b"x")
    outcome = download(tmp_path / "data", "--manifest", manifest, "--verify")
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines() == ["damaged: videos/b.mp4", "missing: videos/c.mp4"]
    for name in "bc":
        (videos / f"{name}.mp4").write_bytes(CONTENT)
    assert download(tmp_path / "data", "--manifest", manifest, "--verify").returncode == 0


def test_dry_run_writes_nothing(tmp_path, server):
    urls = [server.url("good/a"), server.url("good/b")]
    outcome = download(tmp_path / "data", "--manifest", write_manifest(tmp_path, a=urls), "--dry-run", "set")
    assert outcome.returncode == 0
    assert all(url in outcome.stdout for url in urls)
    assert not (tmp_path / "data").exists()
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "no target 'nonsense'; there are: clips, clips-research"),
        (["--nonsense"], "unknown option --nonsense"),
        (["--manifest", "absent.json", "set"], "absent.json"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, arguments, message):
    outcome = download(tmp_path / "data", *arguments)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_a_git_blob_id_settles_a_file_as_well(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    blob = "git_blob:ce013625030ba8dba906f756967f9e9ca394464a"  # printf 'hello\n' | git hash-object --stdin
    assert checksum(tmp_path / "a.txt", "git_blob") == blob
    assert state(File("a.txt", 6, blob, "MIT", ()), tmp_path) == "right"
    (tmp_path / "a.txt").write_bytes(b"hallo\n")
    assert state(File("a.txt", 6, blob, "MIT", ()), tmp_path) == "damaged"
    assert state(File("b.txt", 6, blob, "MIT", ()), tmp_path) == "missing"


def test_the_list_is_sound():
    for name, target in read_targets().items():
        assert target.notice and target.files, name
        assert len({file.path for file in target.files}) == len(target.files)
        for file in target.files:
            assert ".." not in file.path and not file.path.startswith("/")
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|git_blob:[0-9a-f]{40}", file.checksum), file.path
            assert file.urls and all(url.startswith("https://") for url in file.urls), file.path
            assert file.bytes > 0 and file.licence, file.path


def test_list_names_every_target_and_licence(tmp_path):
    outcome = download(tmp_path / "data", "--list")
    assert outcome.returncode == 0
    for name, target in read_targets().items():
        assert f"{name}: {target.about}" in outcome.stdout
        assert all(file.licence in outcome.stdout for file in target.files)


def test_the_labels_of_the_free_clips_belong_to_fetched_videos():
    queries = read_jsonl(ROOT / "vmrlib/data/free_clips_labels.jsonl")
    videos = {Path(file.path).stem for file in read_targets()["clips"].files}
    assert len(queries) == 18
    assert {query.video_id for query in queries} <= videos
    assert all(end <= query.duration for query in queries for _, end in query.moments)


def test_every_target_comes_from_the_real_mirror(tmp_path, mirror):
    names = list(read_targets())
    outcome = download(tmp_path / "data", *names, VMRLIB_MIRROR=str(mirror))
    assert outcome.returncode == 0, outcome.stderr
    assert download(tmp_path / "data", "--verify").returncode == 0

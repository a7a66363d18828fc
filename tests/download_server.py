"""A web server on loopback that serves a file as badly as asked, and calls of data_download.sh."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "data_download.sh"
CONTENT = bytes(range(256)) * 1200  # 307 kB
COMPILED = tempfile.TemporaryDirectory()
CRUMBS = {"crumbs": 50_000, "stall": 1500}
PROGRAMS = ("bash", "dirname", "cat", "mkdir", "mv", "rm", "wc", "tr", "sleep")


class Server(ThreadingHTTPServer):
    """Serves CONTENT (or what `contents` has for the last part of a path); the first part says how badly.

    `cut` sends half of the file to the first request, `vague` too, but without the length; `stall` little,
    and then nothing; `mute` not even its headers; `crumbs` a little to every request; `damaged` other bytes
    of the right number; `endless` no end; `no-ranges` ignores Range, `shifted` sends what begins elsewhere;
    `slow` takes 2 s the first time; `chunked` does not say how long the file is; `absent` answers 404.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.contents: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.bytes_sent = 0
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        manner, name = self.path.split("/")[1], self.path.rpartition("/")[2]
        content = self.server.contents.get(name, CONTENT)
        if manner == "absent":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and manner != "no-ranges" else 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first_time = wanted is None
        if manner == "mute" and len(self.server.requests) == 1:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Le")
            return
        if manner == "shifted" and start:
            start -= 1000
        body = content[start:] if manner != "damaged" else b"x" * (len(content) - start)
        self.send_response(206 if start else 200)
        if manner in ("chunked", "endless") or (manner == "vague" and first_time):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if first_time and (
            manner in ("cut", "vague")
            or (manner == "no-ranges" and content is CONTENT and len(self.server.requests) == 1)
        ):
            body = body[: len(body) // 2]
        elif manner == "crumbs" or (manner == "stall" and first_time):
            body = body[: CRUMBS[manner]]
        while manner == "endless" and not self.server.closing.wait(0.05):
            try:
                self.server.bytes_sent += self.wfile.write(body[:50_000])
            except OSError:
                return  # the other side had enough
        steps = 40 if manner == "slow" and first_time else 1
        for number in range(steps):
            piece = body[number * len(body) // steps : (number + 1) * len(body) // steps]
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:
                return  # the other side was killed
            self.server.bytes_sent += len(piece)
            if steps > 1:
                time.sleep(0.05)
        if manner == "stall" and first_time:
            self.server.closing.wait(60)

    def log_message(self, *arguments):
        """Keeps the test's output clean; the requests are in Server.requests."""


def serve():
    """The fixture `server`: a server that runs as long as a test."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


def path_without_curl(folder: Path) -> str:
    """A PATH with the programs that the script may use, where Python does the transfer."""
    folder.mkdir()
    for program in PROGRAMS:
        (folder / program).symlink_to(shutil.which(program))
    (folder / "python3").symlink_to(sys.executable)
    return str(folder)


def row(path: str, urls: list[str], content: bytes | None = CONTENT, **fields) -> dict:
    """A file of a list; without content nobody knows its size and checksum."""
    known = {} if content is None else {"sha256": hashlib.sha256(content).hexdigest()}
    size = None if content is None else len(content)
    return {"path": path, "bytes": size, "licence": "CC BY 4.0", "urls": urls} | known | fields


def write_list(folder: Path, **targets: list[dict] | dict) -> Path:
    """A list of targets: a list of rows, or a target with more fields; `groups` are groups."""
    groups = targets.pop("groups", {})
    common = {"about": "a test", "notice": ["Name the source."]}
    content = {
        name.replace("_", "-"): common | ({"files": target} if isinstance(target, list) else target)
        for name, target in targets.items()
    }
    path = folder / "downloads.json"
    path.write_text(json.dumps({"targets": content, "groups": groups}), encoding="utf-8")
    return path


def write_manifest(folder: Path, **files: list[str]) -> Path:
    """A list with one target, `set`, of files with the right content at the given URLs."""
    return write_list(folder, set=[row(f"videos/{name}.mp4", urls) for name, urls in files.items()])


def environment(data: Path, **more: str) -> dict[str, str]:
    settings = {"VMRLIB_DATA": str(data), "VMRLIB_STALL_SECONDS": "1", "VMRLIB_MIRROR": ""}
    # every run starts Python some times: compile the steps only once, and leave nothing beside them
    settings |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": COMPILED.name}
    return os.environ | settings | more


def download(data: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess:
    """The outcome of data_download.sh with these arguments and settings."""
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env=environment(data, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

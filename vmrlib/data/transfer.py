"""Downloads for a machine without curl: `python -m vmrlib.data.transfer URL STALL_SECONDS PATH`.

Standard library only, and Python 3.9: `data_download.sh` runs this before anything is installed.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

SLOWEST_BYTES_PER_SECOND = 1000  # below this a connection counts as stalled


def fetch(url: str, path: str | Path, stall_seconds: float) -> None:
    """Continues a partial file from a URL.

    Raises OSError when the server refuses, stalls or hangs up, or sends another part than was asked for; the
    bytes so far stay in the file. The status of the answer is printed, as curl does when it is asked to.
    """
    path = Path(path)
    offset = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        answer = urllib.request.urlopen(request, timeout=stall_seconds)
    except HTTPError as error:
        print(error.code)  # 404: it is gone; 416: the server has nothing more to send
        raise
    with answer:
        print(answer.status)
        sent = answer.headers.get("Content-Range", "")
        if answer.status == 206 and not sent.startswith(f"bytes {offset}-"):
            raise ConnectionError(f"{url}: sent {sent!r}, wanted what begins at byte {offset}")
        whole_file = answer.status != 206  # a server without ranges starts again at byte 0
        with path.open("wb" if whole_file else "ab") as file:
            since, received = time.monotonic(), 0
            while block := answer.read1(1 << 16):
                file.write(block)
                received += len(block)
                if (seconds := time.monotonic() - since) > stall_seconds:
                    if received < SLOWEST_BYTES_PER_SECOND * seconds:
                        raise TimeoutError(f"{url}: {received} bytes in {seconds:.0f} s")
                    since, received = time.monotonic(), 0
        if answer.length:
            raise ConnectionError(f"{url}: {answer.length} bytes are missing")


if __name__ == "__main__":
    try:
        fetch(sys.argv[1], sys.argv[3], float(sys.argv[2]))
    except (OSError, HTTPException) as problem:
        sys.exit(f"data_download.sh: {problem}")

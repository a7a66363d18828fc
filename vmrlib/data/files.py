"""Files that appear whole or not at all: written under another name first, then renamed."""

import os
import uuid
from pathlib import Path


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file, and the folders above it; what was there stays until the new one is complete.

    Several processes may write the same path: the last one wins. Raises OSError when it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes text as UTF-8 with the line ends it has, as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))

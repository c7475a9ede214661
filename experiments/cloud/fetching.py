"""A file of a host: piece by piece where SFTP is off, and what it must have been to be the one that is there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comparison_server.delivery_log import HASH_BYTES
from deploy.host_error import HostError

OnBytes = Callable[[int, int], None]  # so many are here, of so many


def in_pieces(
    host: str,
    into: Path,
    size: int,
    ask: Callable[[int], dict[str, Any]],
    on_bytes: OnBytes = lambda have, size: None,
) -> None:
    """Write a file of that size; `ask` brings the piece that begins at a byte."""
    with open(into, "wb") as opened:
        while (begin := opened.tell()) < size:
            if not opened.write(base64.b64decode(ask(begin)["data"])):
                raise HostError(host, "no file", f"{into.name} has become shorter while it was fetched")
            on_bytes(opened.tell(), size)


def hash_of(file: Path) -> str:
    """As the agent tells it of a file there."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()

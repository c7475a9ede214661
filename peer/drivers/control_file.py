"""Where control is to be had when that changes: a small file that the operator's side writes anew whenever it does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from peer.core.names import is_endpoint

MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Control:
    """Who leads from where: which of the operators that came one after the other, and the ends of the way to it."""

    attached: str
    operator: str
    manager: tuple[str, int]
    server: tuple[str, int]


def read_control(path: Path) -> Control | None:
    """What the file says now; None if it is not there, or is not what it should be."""
    try:
        with open(path, "rb") as file:
            said = json.loads(file.read(MOST_BYTES))
        manager, server = said["manager"], said["server"]
        if not (is_endpoint(manager) and is_endpoint(server)):
            return None
        return Control(str(said["attached"]), str(said["operator"]), tuple(manager), tuple(server))
    except (OSError, ValueError, LookupError, TypeError):
        return None

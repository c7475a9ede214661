"""Who, where and which: peers, members, endpoints and message ids."""

from __future__ import annotations

import re
from typing import Any

PeerId = int  # the place of a member in the run's member list, from 0
Members = tuple[PeerId, ...]
HOST = re.compile(r"[0-9A-Za-z._:%-]{1,255}", re.ASCII)  # a name or an address


def message_id(sender: PeerId, number: int) -> int:
    """A message's 64-bit id, as the logs keep it."""
    return sender << 32 | number


def is_endpoint(value: Any) -> bool:
    """Whether what somebody says is a host and a port, as text and number."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and isinstance(value[0], str)
        and HOST.fullmatch(value[0]) is not None
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
        and 0 < value[1] < 65536
    )

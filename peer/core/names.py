"""Who and which: peers, members and message ids."""

from __future__ import annotations

PeerId = int  # the place of a member in the run's member list, from 0
Members = tuple[PeerId, ...]


def message_id(sender: PeerId, number: int) -> int:
    """A message's 64-bit id, as the logs keep it."""
    return sender << 32 | number

"""What a run leaves behind: the records of deliveries and multicasts, and their files.

A peer writes two binary files, `trace-<peer>.bin` (what it delivered, in order)
and `sends-<peer>.bin` (what it multicast, and after how many deliveries). Each
opens with MAGIC and one line of JSON, the header, padded so that the records
that follow are aligned and can be mapped into memory. A file that was closed in
order ends with a SEAL record that holds the number of records before it; a file
without one was cut, and a half-written last record does not count.

Times are seconds on the peer's own monotonic clock since Release; of what comes before the
RELEASED record they are that clock itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from peer.core.commands import COMMANDS
from peer.core.effects import EFFECTS, Deliver, Effect, RecordMulticast
from peer.core.events import EVENTS, Event
from peer.core.news import NEWS
from peer.core.wire import packet_classes

MAGIC = b"mol-trace-1\n"
ALIGNMENT = 64

DELIVERED, VIEW, RELEASED, SEAL = 0, 1, 2, 3

# kind, sender, first number, how many messages, Lamport stamp, time.
#   VIEW      first = the number of the view
#   RELEASED  time = the peer's own clock at that moment, the zero of all times after it
#   SEAL      stamp = how many records came before it
DELIVERY_RECORD = struct.Struct("<IIIIQd")
# kind, first number, how many messages, microseconds, how many deliveries were made before, time.
#   DELIVERED microseconds = by how much the peer was late: the application asks at a time that was drawn beforehand
#   SEAL      deliveries = how many records came before it
SEND_RECORD = struct.Struct("<IIIIQd")
MOST_LATE_US = (1 << 32) - 1


def pack_header(header: dict) -> bytes:
    """The opening bytes of a trace file, a multiple of ALIGNMENT long."""
    line = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    used = len(MAGIC) + len(line) + 1
    return MAGIC + line + b" " * (-used % ALIGNMENT) + b"\n"


def read_header(path: Path | str) -> tuple[dict, int]:
    """The header of a trace file and the offset at which its records begin."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is not a trace file of this lab")
        line = file.readline()
    if not line.endswith(b"\n"):
        raise ValueError(f"{path} is cut inside its header")
    return json.loads(line), len(MAGIC) + len(line)


class Recorder:
    """Turns what one peer's stack did into records; the world takes the bytes and keeps them."""

    __slots__ = (
        "level", "deliveries", "sends", "steps", "delivered", "records", "zero_s", "_step",
        "_me", "_timed", "_due_s", "_took_s",
    )  # fmt: skip

    def __init__(self, level: str = "deliveries", me: int | None = None) -> None:
        """`me`: whose messages are timed, one after the other, from when they were multicast until delivered here."""
        self.level = level
        self.deliveries, self.sends = bytearray(), bytearray()
        self.steps: list[str] | None = [] if level == "everything" else None
        self.delivered = 0  # messages
        self.records = [0, 0]  # of deliveries, of sends
        self.zero_s = 0.0  # when this peer was released, on its own clock
        self._step = 0
        self._me = me
        self._timed: int | None = None  # which of its messages is timed now,
        self._due_s = 0.0  # when it was to be multicast,
        self._took_s: float | None = None  # and how long the one before took

    def released(self, time_s: float) -> None:
        """Times count from here; the moment itself is kept, so that clocks that are shared can be lined up."""
        self.zero_s = time_s
        self.deliveries += DELIVERY_RECORD.pack(RELEASED, 0, 0, 0, 0, time_s)
        self.records[0] += 1

    def record(
        self, turn: Sequence[Event], effects: Sequence[Effect], time_s: float, late_s: float = 0.0
    ) -> None:
        """One step of the stack; `late_s`: how much later than it was due."""
        since_s = time_s - self.zero_s
        for effect in effects:
            kind = type(effect)
            if kind is Deliver:
                block = effect.block
                sender, first, count = block.sender, block.first, block.count
                self.deliveries += DELIVERY_RECORD.pack(DELIVERED, sender, first, count, block.stamp, since_s)
                self.records[0] += 1
                self.delivered += count
                if sender == self._me and self._timed is not None and self._timed < first + count:
                    self._timed, self._took_s = None, since_s - self._due_s
            elif kind is RecordMulticast:
                if self._timed is None:
                    self._timed, self._due_s = effect.first, since_s - late_s
                late_us = min(round(late_s * 1e6), MOST_LATE_US)
                self.sends += SEND_RECORD.pack(DELIVERED, effect.first, effect.count, late_us, self.delivered, since_s)
                self.records[1] += 1
        if self.steps is not None:
            line = {"step": self._step, "time_s": time_s, "turn": plain(list(turn)), "effects": plain(list(effects))}
            self.steps.append(json.dumps(line, separators=(",", ":")))
            self._step += 1

    def latency_s(self, time_s: float | None = None) -> float | None:
        """How long the latest of its own messages took; by now, if one has been on its way for longer than that."""
        if self._timed is None or time_s is None:
            return self._took_s
        return max(self._took_s or 0.0, time_s - self.zero_s - self._due_s)

    def seal(self) -> None:
        """Nothing follows."""
        self.deliveries += DELIVERY_RECORD.pack(SEAL, 0, 0, 0, self.records[0], 0.0)
        self.sends += SEND_RECORD.pack(SEAL, 0, 0, 0, self.records[1], 0.0)

    def holds_records(self) -> bool:
        """Whether there is anything that the world has not kept yet."""
        return bool(self.deliveries or self.sends or self.steps)

    def take(self) -> tuple[bytes, bytes, str]:
        """What was recorded since the last time: deliveries, sends, steps."""
        deliveries, sends = bytes(self.deliveries), bytes(self.sends)
        self.deliveries.clear()
        self.sends.clear()
        steps = "".join(line + "\n" for line in self.steps or ())
        if self.steps:
            self.steps.clear()
        return deliveries, sends, steps


def plain(value: Any) -> Any:
    """A value of events, effects and packets as JSON can hold it, without loss."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
    assert is_dataclass(value), f"a {type(value).__name__} cannot be traced"
    return {"is": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in fields(value)}}


def unplain(value: Any) -> Any:
    """What `plain` was given; classes are looked up among events, effects, commands, news and packets only."""
    if isinstance(value, list):
        return [unplain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "is" in value:
        known = {cls.__name__: cls for cls in (*EVENTS, *EFFECTS, *COMMANDS, *NEWS)} | packet_classes()
        cls = known[value["is"]]
        return cls(**{name: unplain(item) for name, item in value.items() if name != "is"})
    if "bytes" in value:
        return bytes.fromhex(value["bytes"])
    if "tuple" in value:
        return tuple(unplain(item) for item in value["tuple"])
    return {unplain(key): unplain(item) for key, item in value["dict"]}

"""Run folders for the tests of analysis: played, written by hand, and read again without any of the code under test."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.play import Played, in_simulator, plan, play
from experiments.scenario import load, orderings, override
from peer.core.trace import DELIVERED, DELIVERY_RECORD, MAGIC, RELEASED, SEAL, SEND_RECORD, pack_header
from peer.stacks import ORDERINGS


def played(
    out: Path, scenario: str, ordering: str, *assignments: str, repeats: int = 1, **options: Any
) -> list[Played]:
    """Runs in the simulator."""
    chosen = override(load(scenario), assignments, ordering=ordering, **options)
    return list(play(plan(chosen, orderings(ordering, ORDERINGS), repeats, "sim"), in_simulator, out))


# Reading


def delivered(folder: Path, peer: int) -> list[tuple[int, int, float, int]]:
    """(sender, number, time since Release, stamp) of each delivery, in order."""
    zero, rows = None, []
    for kind, sender, first, count, stamp, time_s in _records(folder / f"trace-{peer}.bin", DELIVERY_RECORD):
        if kind == RELEASED:
            zero = time_s
            rows = [(*row[:2], row[2] - zero, row[3]) for row in rows]
        elif kind == DELIVERED:
            rows += [(sender, number, time_s, stamp) for number in range(first, first + count)]
    return rows


def multicast(folder: Path, peer: int) -> list[tuple[int, float, int]]:
    """(number, time since Release, deliveries made by then) of each multicast, in order."""
    rows = []
    for kind, first, count, _, after, time_s in _records(folder / f"sends-{peer}.bin", SEND_RECORD):
        if kind == DELIVERED:
            rows += [(number, time_s, after) for number in range(first, first + count)]
    return rows


def due(folder: Path, peer: int) -> list[float]:
    """When each of these was to be multicast."""
    times = []
    for kind, _, count, late_us, _, time_s in _records(folder / f"sends-{peer}.bin", SEND_RECORD):
        if kind == DELIVERED:
            times += [time_s - late_us / 1e6] * count
    return times


def zero(folder: Path, peer: int) -> float:
    """When a peer was released, on its own clock."""
    records = _records(folder / f"trace-{peer}.bin", DELIVERY_RECORD)
    return next(record[5] for record in records if record[0] == RELEASED)


def latencies(folder: Path, peers: int) -> dict[tuple[int, int], list[float]]:
    """By (sender, receiver), on a clock that all share, each message once."""
    found: dict[tuple[int, int], list[float]] = {}
    for sender in range(peers):
        asked = {number: zero(folder, sender) + time_s for number, time_s, _ in multicast(folder, sender)}
        for receiver in range(peers):
            seen = set()
            for origin, number, time_s, _ in delivered(folder, receiver):
                if origin == sender and number in asked and number not in seen:
                    seen.add(number)
                    latency = zero(folder, receiver) + time_s - asked[number]
                    found.setdefault((sender, receiver), []).append(latency)
    return found


def percentile(values: Iterable[float], share: float) -> float:
    """Between two values where it falls between them."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _records(path: Path, record: struct.Struct) -> list[tuple]:
    content = path.read_bytes()
    begin = content.index(b"\n", len(MAGIC)) + 1
    whole = (len(content) - begin) // record.size * record.size
    return list(record.iter_unpack(content[begin : begin + whole]))


# Writing

Record = tuple  # of a trace: kind, sender, first, count, stamp, time_s


def write_trace(folder: Path, peer: int, records: Sequence[Record], sealed: bool = True, **header: Any) -> None:
    """A log of deliveries."""
    rows = [DELIVERY_RECORD.pack(*record) for record in records]
    seal = [DELIVERY_RECORD.pack(SEAL, 0, 0, 0, len(rows), 0.0)] if sealed else []
    (folder / f"trace-{peer}.bin").write_bytes(pack_header({"peer": peer, **header}) + b"".join(rows + seal))


def write_sends(
    folder: Path, peer: int, rows: Sequence[tuple[int, int, int, float]], late_us: int = 0, **header: Any
) -> None:
    """Send records: first, count, after, time_s."""
    packed = [SEND_RECORD.pack(DELIVERED, first, count, late_us, after, time_s) for first, count, after, time_s in rows]
    seal = SEND_RECORD.pack(SEAL, 0, 0, 0, len(rows), 0.0)
    (folder / f"sends-{peer}.bin").write_bytes(pack_header({"peer": peer, **header}) + b"".join([*packed, seal]))


def change(path: Path, **changes: Any) -> None:
    """Other values in a JSON document; `...` takes a name out of it."""
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not ...}))

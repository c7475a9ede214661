"""The logs of a run as a diagram asks for them: they stay on disk, and only what was asked for is made of them.

A log of a million deliveries is looked through in a few milliseconds, so that a window can be cut out of it at once.
Messages are ids (sender << 32 | number), times are seconds on the run's one time line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.run import Peer, Run
from comparison_server.evidence import NUMBER_BITS, NUMBERS, message_ids
from comparison_server.run_folder import DELIVERY, SEND
from peer.core.trace import DELIVERED, RELEASED, VIEW, read_header

CHUNK = 1 << 17  # deliveries looked at together


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive deliveries of one peer."""

    ids: np.ndarray
    positions: np.ndarray
    times_s: np.ndarray


@dataclass(frozen=True, slots=True)
class Asked:
    """When a message was multicast, and how many deliveries its sender had made by then."""

    time_s: float
    after: int


class Log:
    """What one peer delivered and multicast."""

    def __init__(self, run: Run, peer: Peer, released_s: float) -> None:
        self.peer = peer
        records = _records(run.folder / f"trace-{peer.number}.bin", DELIVERY)
        kinds = np.array(records["kind"])
        rows = _rows(kinds == DELIVERED)
        times_s = _on_one_line(records["time_s"], kinds, released_s)
        self.views = [(float(times_s[row]), int(records["first"][row])) for row in np.flatnonzero(kinds == VIEW)]
        self._senders, self._firsts, self._counts = (
            np.ascontiguousarray(records[name][rows]) for name in ("sender", "first", "count")
        )
        self._ends = np.cumsum(self._counts, dtype=np.int64)
        self._times_s = times_s[rows]
        self.length = int(self._ends[-1]) if len(self._ends) else 0

        sends = _records(run.folder / f"sends-{peer.number}.bin", SEND)
        self._sends = sends[np.flatnonzero(sends["kind"] == DELIVERED)]
        self._asked_s = self._sends["time_s"] + released_s
        self._asked_order = np.argsort(self._sends["first"], kind="stable")
        self._asked_firsts = self._sends["first"][self._asked_order]

    # Deliveries

    def between(self, from_s: float, to_s: float) -> tuple[int, int]:
        """The positions of what was delivered in this time: the first of it, and the one after the last."""
        low, high = np.searchsorted(self._times_s, [from_s, np.nextafter(to_s, np.inf)])
        return self._begin(int(low)), self._begin(int(high))

    def part(self, low: int, high: int) -> Part:
        """What stands at the positions from low up to, but not at, high."""
        low, high = max(0, low), min(high, self.length)
        if low >= high:
            return Part(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0))
        first, last = (int(np.searchsorted(self._ends, at, side="right")) for at in (low, high - 1))
        runs = slice(first, last + 1)
        counts = self._counts[runs].astype(np.int64)
        begins = self._ends[runs] - counts
        positions = np.arange(low, high)
        of = np.repeat(np.arange(len(counts)), counts)[low - begins[0] : high - begins[0]]
        numbers = self._firsts[runs].astype(np.int64)[of] + positions - begins[of]
        return Part(message_ids(self._senders[runs][of], numbers), positions, self._times_s[runs][of])

    def at(self, position: int) -> int | None:
        """The message at a position."""
        there = self.part(position, position + 1).ids if position >= 0 else ()
        return int(there[0]) if len(there) else None

    def time_s(self, position: int) -> float:
        """When the delivery at a position was made."""
        return float(self._times_s[np.searchsorted(self._ends, position, side="right")])

    def find(self, ident: int) -> list[int]:
        """All positions that hold a message, the first delivery first."""
        sender, number = divmod(ident, NUMBERS)
        behind = np.int64(number) - self._firsts
        runs = np.flatnonzero((self._senders == sender) & (behind >= 0) & (behind < self._counts))
        return (self._begins(runs) + behind[runs]).tolist()

    def among(self, wanted: np.ndarray, low: int, high: int) -> Iterator[Part]:
        """Of the deliveries at these positions those of wanted messages, which are sorted."""
        for begin in range(max(0, low), min(high, self.length), CHUNK):
            part = self.part(begin, min(begin + CHUNK, high))
            found = np.searchsorted(wanted, part.ids)
            found[found == len(wanted)] = 0
            hit = np.flatnonzero(wanted[found] == part.ids) if len(wanted) else found[:0]
            yield Part(part.ids[hit], part.positions[hit], part.times_s[hit])

    # Multicasts

    def asked(self, number: int) -> Asked | None:
        """What is recorded of the multicast of a message; of one asked for twice the first."""
        at = int(np.searchsorted(self._asked_firsts, number, side="right")) - 1
        if at < 0:
            return None
        at = int(np.searchsorted(self._asked_firsts, self._asked_firsts[at]))
        row = self._sends[self._asked_order[at]]
        if number - int(row["first"]) >= int(row["count"]):
            return None
        return Asked(float(self._asked_s[self._asked_order[at]]), int(row["after"]))

    def asked_between(self, from_s: float, to_s: float, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The messages multicast in this time, at most so many and the first of them, and when."""
        rows = np.flatnonzero((self._asked_s >= from_s) & (self._asked_s <= to_s))[:most]
        counts = self._sends["count"][rows].astype(np.int64)
        of = np.repeat(np.arange(len(rows)), counts)[:most]
        within = np.arange(len(of)) - (np.cumsum(counts) - counts)[of]
        return message_ids(self.peer.number, self._sends["first"][rows][of] + within), self._asked_s[rows][of]

    # Time

    def begins_s(self) -> float | None:
        """When it first multicast or delivered anything."""
        return min((float(times[0]) for times in (self._times_s, self._asked_s) if len(times)), default=None)

    def ends_s(self) -> float | None:
        """When it last multicast or delivered anything."""
        return max((float(times[-1]) for times in (self._times_s, self._asked_s) if len(times)), default=None)

    def _begin(self, run: int) -> int:
        return int(self._ends[run - 1]) if run else 0

    def _begins(self, runs: np.ndarray) -> np.ndarray:
        return self._ends[runs] - self._counts[runs]


def open_logs(run: Run) -> Mapping[int, Log]:
    """The logs of all peers that were ever released, by number."""
    zeros = [peer.zero_s for peer in run.peers if peer.zero_s is not None]
    earliest = min(zeros, default=0.0)
    return {
        peer.number: Log(run, peer, peer.zero_s - earliest if run.shared_clock else 0.0)
        for peer in run.peers
        if peer.zero_s is not None
    }


def ident_of(sender: int, number: int) -> int:
    return sender << NUMBER_BITS | number


def _records(path: Path, record: np.dtype) -> np.ndarray:
    """The whole records of a file, mapped; none where there is no file."""
    if not path.exists():
        return np.empty(0, record)
    offset = read_header(path)[1]
    count = (path.stat().st_size - offset) // record.itemsize
    return np.memmap(path, record, "r", offset, (count,)) if count else np.empty(0, record)


def _on_one_line(times_s: np.ndarray, kinds: np.ndarray, released_s: float) -> np.ndarray:
    """The times of records on the run's time line; those before Release are still on the peer's own clock."""
    line_s = np.array(times_s)
    releases = np.flatnonzero(kinds == RELEASED)
    zeros = line_s[releases]
    for begin, end, zero in zip([0, *releases], [*releases, len(line_s)], [0.0, *zeros]):
        line_s[begin:end] += zero - zeros[0] + released_s
    return line_s


def _rows(chosen: np.ndarray) -> np.ndarray | slice:
    """Where these are, as a slice if they follow one another, as they nearly always do."""
    rows = np.flatnonzero(chosen)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows

"""How far apart the orders of a run's logs are: rounds one by one, inversions, and how far messages are displaced.

The **displacement** of a message in a log is how far its position there is from its median position, over the logs
that hold it. So a message that one log of many has too late counts in that log, and the others are not blamed; where a
log misses a message, what follows is off by one there. A message that a log holds twice counts the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from comparison_server import inversions as counting
from comparison_server.evidence import Evidence
from comparison_server.positions import Positions

CHUNK = 1 << 16  # messages or positions looked at together


def rounds(evidence: Evidence) -> dict[str, np.ndarray]:
    """position, logs, kinds, out_of_order: every round of a run."""
    logs = [(log.ids, log.start) for log in evidence.logs]
    end = max((start + len(ids) for ids, start in logs), default=0)
    held, kinds, expected = np.zeros(end, np.int16), np.zeros(end, np.int16), np.zeros(end, np.int16)
    for ids, start in logs:
        held[start : start + len(ids)] += 1
        expected[start:] += 1  # who has ended before others is expected to go on
    for low in range(0, end, CHUNK):
        kinds[low : low + CHUNK] = _kinds(logs, low, min(low + CHUNK, end))
    return {
        "position": np.arange(end, dtype=np.int32),
        "logs": held,
        "kinds": kinds,
        "out_of_order": (kinds > 1) | (held < expected),
    }


def _kinds(logs: list[tuple[np.ndarray, int]], low: int, high: int) -> np.ndarray:
    """How many different messages stand at each of these positions."""
    there = np.zeros((len(logs), high - low), bool)
    table = np.zeros((len(logs), high - low), np.uint64)
    for row, (ids, start) in enumerate(logs):
        begin, end = max(low, start), min(high, start + len(ids))
        if begin < end:
            there[row, begin - low : end - low] = True
            table[row, begin - low : end - low] = ids[begin - start : end - start]
    first = table[there.argmax(axis=0), np.arange(high - low)]
    table = np.where(there, table, first)  # who holds nothing there adds no kind
    kinds = there.any(axis=0).astype(np.int16)
    differs = (table != first).any(axis=0)
    ordered = np.sort(table[:, differs].T, axis=1)
    kinds[differs] += np.count_nonzero(np.diff(ordered, axis=1), axis=1).astype(np.int16)
    return kinds


def inversions(positions: Positions) -> tuple[int, float]:
    """How many pairs of messages two logs hold the opposite way round, and of all pairs that two logs both hold."""
    found = counting.between_logs(positions, positions.everybody)
    held = [positions.order(log).place >= 0 for log in positions.everybody]
    both = [int(np.count_nonzero(one & other)) for one, other in combinations(held, 2)]
    pairs = sum(count * (count - 1) // 2 for count in both)
    return found, found / pairs if pairs else np.nan


def displacement(positions: Positions) -> tuple[float, float]:
    """The mean over all messages and the logs that hold them, and the largest; not a number where nothing is held."""
    total, largest, count = 0.0, 0.0, 0
    for places, held in _places(positions):
        count += int(np.count_nonzero(held))
        first = np.where(held[0], places[0], places.max(axis=0, initial=0))
        differs = ((places != first) & held).any(axis=0)
        if not differs.any():
            continue
        apart = _from_median(places[:, differs].T, held[:, differs].T)
        total, largest = total + float(apart.sum()), max(largest, float(apart.max()))
    return (total / count, largest) if count else (np.nan, np.nan)


def _places(positions: Positions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """[log][message]: where each log holds some messages, and whether it does; some of them at a time."""
    logs = positions.everybody
    starts = np.array([[positions.logs[log].start] for log in logs])
    for low in range(0, positions.count if logs else 0, CHUNK):
        places = np.stack([positions.order(log).place[low : low + CHUNK] for log in logs])
        held = places >= 0
        yield np.where(held, places + starts, 0), held


def _from_median(places: np.ndarray, held: np.ndarray) -> np.ndarray:
    """[message][log]: how far from the median of the logs that hold it; 0 where it is not held."""
    far = np.iinfo(places.dtype).max
    ordered = np.sort(np.where(held, places, far), axis=1)
    count = held.sum(axis=1)
    row = np.arange(len(places))
    middle = (ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2
    return np.where(held, np.abs(places - middle[:, None]), 0.0)

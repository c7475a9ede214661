"""Inversions: how many pairs of messages two logs hold the opposite way round (the Kendall distance)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from comparison_server.positions import Positions


def between_logs(positions: Positions, logs: Sequence[int]) -> int:
    """Inversions of all pairs of these logs, each over the messages that both hold."""
    parties = [(positions.orders[number], count) for number, count in _tally(positions, logs).items()]
    total = 0
    for (one, ones), (other, others) in combinations(parties, 2):
        there = other.place[one.messages]
        total += count(there[there >= 0]) * ones * others
    return total


def _tally(positions: Positions, logs: Sequence[int]) -> dict[int, int]:
    tally: dict[int, int] = {}
    for log in logs:
        tally[positions.order_of[log]] = tally.get(positions.order_of[log], 0) + 1
    return tally


def count(sequence: np.ndarray) -> int:
    """The number of pairs of a sequence of distinct integers of which the larger one comes first.

    The sequence is cut wherever nothing before is larger than anything behind; a log that is nearly in order falls
    into many short blocks, and most of one element. What remains is sorted stably by one more bit of the value at a
    time, from the highest: of two elements that agreed so far and now part, an inverted pair is a one before a zero.
    """
    length = len(sequence)
    value = np.empty(length, np.int64)
    value[np.argsort(sequence)] = np.arange(length)
    ends = np.flatnonzero(np.maximum.accumulate(value) == np.arange(length)) + 1
    sizes = np.diff(ends, prepend=0)
    if len(sizes) == length:
        return 0
    value -= np.repeat(ends - sizes, sizes)
    value = value[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    block = np.repeat(np.cumsum(sizes) - sizes, sizes)  # where each element's block begins

    inversions = 0
    here = np.arange(len(value))
    for bit in reversed(range(int(sizes.max() - 1).bit_length())):
        begin = block + (value >> (bit + 1) << (bit + 1))  # of those that agree so far: a block holds all its values
        one = value >> bit & 1
        ones = np.cumsum(one) - one
        ones -= ones[begin]
        zero = one == 0
        inversions += int(ones[zero].sum())
        to = np.where(zero, here - ones, begin + (1 << bit) + ones)
        moved = np.empty_like(value)
        moved[to] = value
        value = moved  # blocks keep their elements, so `block` stays as it is
    return inversions

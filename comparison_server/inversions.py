"""Inversions: how many pairs of messages two logs hold the opposite way round (the Kendall distance)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from comparison_server.positions import Positions

PASSES_A_BIT = 32  # comparing neighbours at one distance takes so much less than sorting by one bit
SPARSEST = 8  # a table of all values is made where it is so many times longer than the sequence at most


def between_logs(positions: Positions, logs: Sequence[int]) -> int:
    """Inversions of all pairs of these logs, each over the messages that both hold."""
    parties = [(positions.orders[number], count) for number, count in _tally(positions, logs).items()]
    total = 0
    for (one, ones), (other, others) in combinations(parties, 2):
        there = other.place[one.messages]
        if len(other.messages) < positions.count:
            there = there[there >= 0]
        total += count(there) * ones * others
    return total


def _tally(positions: Positions, logs: Sequence[int]) -> dict[int, int]:
    tally: dict[int, int] = {}
    for log in logs:
        tally[positions.order_of[log]] = tally.get(positions.order_of[log], 0) + 1
    return tally


def count(sequence: np.ndarray) -> int:
    """The number of pairs of a sequence of distinct integers of which the larger one comes first.

    The sequence is cut wherever nothing before is larger than anything behind; a log that is nearly in order falls
    into many short blocks, and most of one element. Where in what remains nothing is far from its place, every element
    is compared with those that it can be inverted with. Else all is sorted stably by one more bit of the value at a
    time, from the highest: of two elements that agreed so far and now part, an inverted pair is a one before a zero.
    """
    value = _ranks(sequence)
    ends = np.flatnonzero(np.maximum.accumulate(value) == np.arange(len(value), dtype=value.dtype)) + 1
    sizes = np.diff(ends, prepend=0)
    if len(sizes) == len(value):
        return 0
    begins, sizes = (ends - sizes)[sizes > 1], sizes[sizes > 1]
    here = np.arange(int(sizes.sum()))
    block = np.repeat(np.cumsum(sizes) - sizes, sizes)  # where each element's block begins, of what remains
    begin = np.repeat(begins, sizes)  # and of all
    value = value[begin + here - block]
    farthest = int(np.abs(value - (begin + here - block)).max())
    if 2 * farthest <= PASSES_A_BIT * int(sizes.max() - 1).bit_length():
        return sum(int(np.count_nonzero(value[:-apart] > value[apart:])) for apart in range(1, 2 * farthest))
    value = value - begin

    inversions = 0
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


def _ranks(sequence: np.ndarray) -> np.ndarray:
    """How many elements are smaller than each."""
    if not len(sequence):
        return sequence
    least = int(sequence.min())
    span = int(sequence.max()) - least + 1
    if span == len(sequence):
        return sequence - least if least else sequence
    if span > SPARSEST * len(sequence):
        ranks = np.empty(len(sequence), np.int64)
        ranks[np.argsort(sequence)] = np.arange(len(sequence))
        return ranks
    there = np.zeros(span, np.int64)
    there[sequence - least] = 1
    return (np.cumsum(there) - 1)[sequence - least]

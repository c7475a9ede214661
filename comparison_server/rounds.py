"""Out-of-order rounds: the positions at which the logs of a group do not all hold the same message.

Round j is the j-th delivery of everybody. It is short when some log has no j-th delivery, disordered when two logs
hold different messages there, out of order when it is either. A process that joined later takes part from the
position at which it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Positions looked at together: half a megabyte a log, so that two logs and the comparison stay in the cache.
CHUNK = 1 << 16

Sequenced = tuple[np.ndarray, int]  # ids, and the position of the first


@dataclass(slots=True)
class Rounds:
    """How often the logs differ; `first` is the first position out of order, `first_disordered` speaks for itself."""

    rounds: int
    out_of_order: int
    short: int
    disordered: int
    first: int | None
    first_disordered: int | None


def compare(logs: Sequence[Sequenced]) -> Rounds:
    """Counts the rounds of logs that may well lie on disk: they are mapped, and looked at chunk by chunk."""
    ends = [start + len(ids) for ids, start in logs]
    longest, shortest = max(ends, default=0), min(ends, default=0)
    disordered = disordered_and_short = 0
    first = None
    for low, chunks in _chunks(logs):
        differs = _differs(chunks)
        if differs is None:
            continue
        disordered += int(np.count_nonzero(differs))
        disordered_and_short += int(np.count_nonzero(differs[max(0, shortest - low) :]))
        if first is None:
            first = low + int(np.argmax(differs))
    short = longest - shortest
    out_of_order = disordered + short - disordered_and_short
    firsts = [position for position in (first, shortest if short else None) if position is not None]
    return Rounds(longest, out_of_order, short, disordered, min(firsts, default=None), first)


def held(logs: Sequence[Sequenced], position: int) -> list[int | None]:
    """The id that each log holds at a position, None where it has ended or not yet begun."""
    return [int(ids[position - start]) if start <= position < start + len(ids) else None for ids, start in logs]


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two logs are equal; ends at the first chunk that is not."""
    return len(one) == len(other) and all(
        np.array_equal(one[low : low + CHUNK], other[low : low + CHUNK]) for low in range(0, len(one), CHUNK)
    )


def _chunks(logs: Sequence[Sequenced]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Cuts the positions so that between two cuts the same logs are there, and no piece exceeds a chunk."""
    cuts = sorted({start for _, start in logs} | {start + len(ids) for ids, start in logs})
    for begin, end in zip(cuts, cuts[1:]):
        there = [(ids, start) for ids, start in logs if start <= begin and end <= start + len(ids)]
        if len(there) < 2:
            continue
        for low in range(begin, end, CHUNK):
            high = min(low + CHUNK, end)
            yield low, [ids[low - start : high - start] for ids, start in there]


def _differs(chunks: list[np.ndarray]) -> np.ndarray | None:
    """Where not all chunks hold the same; None when they are equal, which is the usual case and the cheap one."""
    reference, *others = chunks
    differs = None
    for other in others:
        if not np.array_equal(reference, other):
            differs = reference != other if differs is None else differs | (reference != other)
    return differs

"""FIFO: each process delivers each sender's messages first, first + 1, and so on.

A gap, a step back and a repeat break it; a log that merely ends early does not. Of a process that joined later the
first is the one after those that were delivered before it joined.

Smallest witness: the delivery at the smallest position that does not continue what the log held of that sender; of
several there, the first peer's. It is shown with the delivery of the same sender before it, or where it is the first
of its sender with the message that should have been; `at` are the positions of the two.
"""

from __future__ import annotations

import numpy as np

from comparison_server.evidence import NUMBER_BITS
from comparison_server.finding import Finding, broken, held
from comparison_server.positions import Positions


def fifo(positions: Positions) -> Finding:
    firsts = {ident >> NUMBER_BITS: ident for _, ident in positions.first_of_senders()}
    violations, smallest = 0, None
    broken_orders: dict[object, tuple[int, tuple | None]] = {}
    for number, log in enumerate(positions.logs):
        key = positions.order_of[number], log.start
        if key not in broken_orders:
            expected = firsts if log.start == 0 else _after_joining(positions, number, firsts)
            broken_orders[key] = _breaks(log.ids, expected)
        count, first = broken_orders[key]
        violations += count
        if first is not None and (smallest is None or first[0] < smallest[0][0]):
            smallest = first, number
    if smallest is None:
        return held("Each process delivered each sender's messages in the order of their numbers, without a gap.")
    (position, ident, before, expected), number = smallest
    log = positions.logs[number]
    name = positions.evidence.message_name(ident)
    if before is None:
        messages, at = [expected, ident], [positions.position_of(number, expected), position]
        says = f"before {positions.evidence.message_name(expected)}"
    else:
        messages, at = [int(log.ids[before]), ident], [before, position]
        says = f"right after {positions.evidence.message_name(messages[0])} (position {before}) of the same sender"
    witness = {
        "messages": [positions.evidence.message(each) for each in messages],
        "peers": [log.label],
        "positions": [[positions.position_of(number, each) for each in messages]],
        "at": at,
    }
    return broken(violations, witness, f"{positions.peer(number)} delivered {name} (position {position}) {says}.")


def _breaks(ids: np.ndarray, expected: dict[int, int]) -> tuple[int, tuple | None]:
    """How many deliveries do not continue their sender's; the first one's position, id, predecessor, expected id."""
    senders = ids >> np.uint64(NUMBER_BITS)
    if len(ids) and senders.max() < 1 << 16:
        senders = senders.astype(np.uint16)  # sorted by counting
    by_sender = np.argsort(senders, kind="stable")
    sorted_ids = ids[by_sender]
    continues = np.empty(len(ids), bool)
    continues[1:] = sorted_ids[1:] == sorted_ids[:-1] + np.uint64(1)
    heads = np.flatnonzero(np.diff(senders[by_sender], prepend=senders[by_sender[:1]]) != 0)
    heads = np.concatenate([[0], heads])[: len(ids)]
    continues[heads] = [int(ident) == expected[int(ident) >> NUMBER_BITS] for ident in sorted_ids[heads]]
    breaks = np.flatnonzero(~continues)
    if not len(breaks):
        return 0, None
    at = int(breaks[np.argmin(by_sender[breaks])])
    ident, head = int(sorted_ids[at]), at in set(map(int, heads))
    before = None if head else int(by_sender[at - 1])
    return len(breaks), (int(by_sender[at]), ident, before, expected[ident >> NUMBER_BITS])


def _after_joining(positions: Positions, number: int, firsts: dict[int, int]) -> dict[int, int]:
    spared = positions.spared(number)
    assert spared is not None
    expected = {}
    for sender, first in firsts.items():
        span = positions.span(sender)
        known = np.flatnonzero(spared[span])
        expected[sender] = positions.ident(span.start + int(known[-1])) + 1 if len(known) else first
    return expected

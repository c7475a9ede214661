"""Integrity: no message is delivered twice, and none that its sender did not multicast.

Smallest witness: the wrong delivery at the smallest position; of several there, the first peer's. `again` is the
position of the second delivery, or None where the message is one that was never multicast.
"""

from __future__ import annotations

import numpy as np

from comparison_server.finding import Finding, broken, held
from comparison_server.positions import Order, Positions


def integrity(positions: Positions) -> Finding:
    recorded = any(multicasts is not None for multicasts in positions.multicasts)
    foreign = _foreign(positions) if recorded else None
    violations, smallest = 0, None
    for number, order in enumerate(positions.orders):
        wrong = [_repeats(order)]
        if foreign is not None:
            strange = np.flatnonzero(foreign[order.messages])
            wrong.append(strange if order.raw is None else order.raw[strange])
        logs = [log for log, of in enumerate(positions.order_of) if of == number]
        violations += sum(map(len, wrong)) * len(logs)
        for position in (int(each[0]) for each in wrong if len(each)):
            smallest = min(smallest or (position, logs[0]), (position, logs[0]))
    if smallest is not None:
        return broken(violations, *_proof(positions, *smallest))
    if not recorded:
        return held("No message was delivered twice; whether each was multicast cannot be seen without send records.")
    return held("No message was delivered twice, and none that its sender did not multicast.")


def _repeats(order: Order) -> np.ndarray:
    """The positions that hold a message again."""
    if order.raw is None:
        return np.empty(0, np.intp)
    repeats = np.ones(len(order.ids), bool)
    repeats[order.raw] = False
    return np.flatnonzero(repeats)


def _foreign(positions: Positions) -> np.ndarray | None:
    """Marks the messages that their sender is known not to have multicast; None if there are none."""
    foreign = np.zeros(positions.count, bool)
    for sender in map(int, positions.senders):
        log = positions.log_of_sender(sender)
        multicasts = None if log is None else positions.multicasts[log]
        if log is None:
            foreign[positions.span(sender)] = positions.evidence.closed
        elif multicasts is not None:
            span = positions.span(sender)
            foreign[span] = True
            foreign[multicasts.messages] = False
            if not positions.logs[log].up:  # what it multicast after its last record that was kept is unknown
                last = int(multicasts.messages.max(initial=span.start - 1))
                foreign[last + 1 : span.stop] = False
    return foreign if foreign.any() else None


def _proof(positions: Positions, position: int, log: int) -> tuple[dict, str]:
    message = int(positions.index(positions.order(log).ids[position : position + 1])[0])
    first = positions.order(log).position(message)
    name, peer = positions.name(message), positions.peer(log)
    if first == position:
        sentence = f"{peer} delivered {name} at position {position}, which its sender did not multicast."
        return positions.witness([message], [log], again=None), sentence
    sentence = f"{peer} delivered {name} at position {first} and again at position {position}."
    return positions.witness([message], [log], again=position), sentence

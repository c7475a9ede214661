"""Same view: two processes that went from a view to the next delivered the same set of messages in it.

Smallest witness: in the first view that breaks it the message that somebody delivered at the smallest position, of
those that somebody lacks; of several there, the one in the first log. `view` is the view; the peers are one that
delivered it there and the first that did not (and may have in another view).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from comparison_server.evidence import PeerLog
from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Order, Positions


@dataclass(slots=True)
class Passage:
    """What a process delivered in a view before it went on to the next: its places from `begin` to `end`."""

    log: int
    begin: int
    end: int


def same_view(positions: Positions) -> Finding:
    if not any(log.views for log in positions.logs):
        return no_evidence("No views were recorded.")
    passages: dict[int, list[Passage]] = {}
    for number, log in enumerate(positions.logs):
        for view, begin, end in _passages(log):
            order = positions.order(number)
            passage = Passage(number, int(order.places_before(begin)), int(order.places_before(end)))
            passages.setdefault(view, []).append(passage)
    violations, smallest = 0, None
    for view, passed in sorted(passages.items()):
        lacked = _lacked(positions, passed)
        violations += sum(map(len, lacked))
        if smallest is None and any(map(len, lacked)):
            smallest = view, passed, lacked
    if smallest is None:
        return held("Who went from one view to the next delivered the same messages in it.")
    return broken(violations, *_proof(positions, *smallest))


def _passages(log: PeerLog) -> Iterator[tuple[int, int, int]]:
    """The views that a process left for the next, and the positions between which it was in each."""
    views = list(log.views)
    if views and log.start == 0:  # what was delivered before the first record was delivered in the view before
        views.insert(0, (0, views[0][1] - 1))
    for (begin, view), (end, following) in zip(views, views[1:]):
        if following == view + 1:
            yield view, begin, end


def _lacked(positions: Positions, passed: list[Passage]) -> list[np.ndarray]:
    """For each of those that passed a view, the messages that it lacks of what the others delivered in it."""
    delivered = [_messages(positions, passage) for passage in passed]
    if all(np.array_equal(delivered[0], other) for other in delivered):
        return [np.empty(0, np.intp)] * len(passed)
    union = np.zeros(positions.count, bool)
    for messages in delivered:
        union[messages] = True
    lacked = []
    for passage, messages in zip(passed, delivered):
        lacks = union.copy()
        lacks[messages] = False
        if not positions.evidence.self_delivery:
            lacks[positions.span(positions.logs[passage.log].sender)] = False
        lacked.append(np.flatnonzero(lacks))
    return lacked


def _messages(positions: Positions, passage: Passage) -> np.ndarray:
    return positions.order(passage.log).messages[passage.begin : passage.end]


def _proof(
    positions: Positions, view: int, passed: list[Passage], lacked: list[np.ndarray]
) -> tuple[dict, str]:
    wanted = np.zeros(positions.count, bool)
    wanted[np.concatenate(lacked)] = True
    smallest = None
    for passage in passed:
        there = np.flatnonzero(wanted[_messages(positions, passage)])
        if len(there):
            order: Order = positions.order(passage.log)
            place = passage.begin + int(there[0])
            candidate = (order.position_at(place), passage.log, int(order.messages[place]))
            smallest = min(smallest or candidate, candidate)
    assert smallest is not None
    _, has, message = smallest
    lacks = next(passage.log for passage, messages in zip(passed, lacked) if message in messages)
    sentence = (
        f"In view {view} {positions.peer(has)} delivered {positions.name(message)}, {positions.peer(lacks)} did not,"
        f" and both went on to view {view + 1}."
    )
    return positions.witness([message], [has, lacks], view=view), sentence

"""Causal order: who delivered a message had delivered before it all that its sender had multicast or delivered by then.

Those are the direct dependencies. As each of them was delivered with its own before it, they suffice.

Smallest witness: the delivery at the smallest position that came too soon; of several there, the first peer's. Of the
dependencies it lacked the one is shown that came first in the sender's own history. `sender` is the peer that multicast
the message, `after` how many deliveries it had made by then, and `link` says how it knew of the dependency.
"""

from __future__ import annotations

import numpy as np

from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Order, Party, Positions

NEVER = np.iinfo(np.int32).max  # stands behind every place
SPARED = -1  # and before


def causal(positions: Positions) -> Finding:
    senders = [log for log, multicasts in enumerate(positions.multicasts) if multicasts is not None]
    if not senders:
        return no_evidence("There are no send records.")
    violations, smallest = 0, None
    for party in positions.parties(positions.everybody):
        due = _due(party)
        for sender in senders:
            early = _early(positions, party, due, sender)
            if len(early):
                violations += len(early) * len(party.logs)
                places = party.order.place[positions.multicasts[sender].messages[early]]  # type: ignore[union-attr]
                soonest = int(np.argmin(places))
                candidate = (party.order.position_at(int(places[soonest])), party.logs[0], sender, int(early[soonest]))
                smallest = min(smallest or candidate, candidate)
    if smallest is not None:
        return broken(violations, *_proof(positions, *smallest[1:]))
    if unrecorded := _unrecorded(positions):
        return no_evidence(f"There are no send records of {' and '.join(unrecorded)}.")
    return held("Nobody delivered a message before what its sender had multicast or delivered by then.")


def _due(party: Party) -> np.ndarray:
    """For each message the place at which the log had it; what it lacks stands behind all, what it is spared before."""
    due = np.where(party.order.place < 0, np.int32(NEVER), party.order.place)
    if party.spared is not None:
        due[party.spared] = SPARED
    return due


def _early(positions: Positions, party: Party, due: np.ndarray, sender: int) -> np.ndarray:
    """Which of the sender's multicasts, by their number in its record, these logs delivered too soon."""
    multicasts, history = positions.multicasts[sender], positions.order(sender)
    assert multicasts is not None
    here = party.order.place[multicasts.messages]
    if not len(here):
        return np.empty(0, np.intp)
    if history is party.order:
        latest = multicasts.places - 1  # these logs are the sender's own history
    else:
        latest = _latest(due, history, multicasts.places)
    sent = np.maximum.accumulate(due[multicasts.messages])
    return np.flatnonzero((here >= 0) & (np.maximum(latest, sent) > here))


def _latest(due: np.ndarray, history: Order, places: np.ndarray) -> np.ndarray:
    """For each count of places the latest place at which any of so many messages of a history is due; -1 for none."""
    known = np.maximum.accumulate(due[history.messages[: int(places.max())]])
    return np.append(known, np.int32(SPARED))[places - 1]


def _unrecorded(positions: Positions) -> list[str]:
    """Names of senders whose messages were delivered and whose send records are missing."""
    unrecorded = []
    for sender in map(int, positions.senders):
        log = positions.log_of_sender(sender)
        if log is None or positions.multicasts[log] is None:
            unrecorded.append(positions.evidence.sender_name(sender))
    return unrecorded


def _proof(positions: Positions, log: int, sender: int, record: int) -> tuple[dict, str]:
    party = positions.parties([log])[0]
    due, history, multicasts = _due(party), positions.order(sender), positions.multicasts[sender]
    assert multicasts is not None
    message, after = int(multicasts.messages[record]), int(multicasts.positions[record])
    here = int(party.order.place[message])

    # A multicast after so many deliveries comes before the delivery at that position.
    found = []
    delivered = np.flatnonzero(due[history.messages[: multicasts.places[record]]] > here)
    if len(delivered):
        place = int(delivered[0])
        found.append((history.position_at(place), 1, int(history.messages[place])))
    multicast = np.flatnonzero(due[multicasts.messages[:record]] > here)
    if len(multicast):
        earlier = int(multicast[0])
        found.append((int(multicasts.positions[earlier]), 0, int(multicasts.messages[earlier])))
    at, was_delivery, needed = min(found)

    name, dependency, peer = positions.name(message), positions.name(needed), positions.peer(sender)
    had = f"had delivered {dependency} (position {at})" if was_delivery else f"had multicast {dependency}"
    late = party.order.position(needed)
    sentence = (
        f"{peer} {had} before it multicast {name}, but {positions.peer(log)} delivered {name} at position"
        f" {party.order.position_at(here)} and {dependency} {'never' if late is None else f'only at position {late}'}."
    )
    witness = positions.witness(
        [needed, message],
        [log, sender],
        sender=positions.logs[sender].label,
        after=after,
        link="delivered" if was_delivery else "multicast",
    )
    return witness, sentence

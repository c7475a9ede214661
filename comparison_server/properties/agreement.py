"""Agreement: all that are up delivered the same set of messages.

Smallest witness: the message that somebody delivered at the smallest position, of those that somebody lacks; of
several there, the one in the first log. It names everybody who has it and who lacks it, and `why` where that is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Positions


def agreement(positions: Positions) -> Finding:
    if len(positions.up) < 2:
        return no_evidence("Fewer than two processes are up.")
    return judge(positions, positions.up, "All that are up delivered the same messages.")


def judge(positions: Positions, logs: list[int], when_held: str) -> Finding:
    """Whether all that are up delivered whatever one of these logs holds."""
    return positions.once(("agreement", tuple(logs)), lambda: _judge(positions, logs, when_held))


def _judge(positions: Positions, logs: list[int], when_held: str) -> Finding:
    union = positions.delivered(logs)
    everything = int(np.count_nonzero(union))
    violations, lacked, lacking = 0, np.zeros(positions.count, bool), set()
    for party in positions.parties(positions.up):
        if len(party.order.messages) == everything:  # whatever a log that is up holds belongs to the union
            continue
        lacks = union & (party.order.place < 0)
        if party.spared is not None:
            lacks &= ~party.spared
        if missing := int(np.count_nonzero(lacks)):
            violations += missing * len(party.logs)
            lacked |= lacks
            lacking.update(party.logs)
    if not violations:
        return held(when_held)
    message, log = earliest(positions, np.flatnonzero(lacked), logs)
    return broken(violations, *_proof(positions, message, log))


def earliest(positions: Positions, messages: np.ndarray, logs: Sequence[int]) -> tuple[int, int]:
    """Of these messages the one that stands at the smallest position in one of these logs, and that log."""
    smallest = None
    for log in logs:
        places = positions.order(log).place[messages]
        there = np.flatnonzero(places >= 0)
        if len(there):
            at = there[np.argmin(places[there])]
            candidate = (positions.order(log).position_at(int(places[at])), log, int(messages[at]))
            smallest = min(smallest or candidate, candidate)
    assert smallest is not None
    return smallest[2], smallest[1]


def _proof(positions: Positions, message: int, log: int) -> tuple[dict, str]:
    has = [other for other in positions.everybody if positions.order(other).place[message] >= 0]
    lacks = [other for other in positions.everybody if other not in has and not _is_spared(positions, other, message)]
    why = {positions.logs[other].label: _why(positions, other, message) for other in lacks}
    wanting = [other for other in lacks if positions.logs[other].up]
    reason = why[positions.logs[wanting[0]].label]
    sentence = (
        f"{positions.peer(log)} delivered {positions.name(message)} at position"
        f" {positions.order(log).position(message)}, and {positions.peers(wanting)} did not ({reason})."
    )
    return positions.witness([message], has + lacks, why=why), sentence


def _is_spared(positions: Positions, log: int, message: int) -> bool:
    spared = positions.spared(log)
    return spared is not None and bool(spared[message])


def _why(positions: Positions, log: int, message: int) -> str:
    if not positions.logs[log].up:
        return positions.logs[log].why
    later = positions.order(log).place[positions.rest_of_sender(message)]
    return "passed over" if (later >= 0).any() else "not yet"

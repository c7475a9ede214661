"""Prefix: of any two logs of those that are up one is a prefix of the other, repeats left out.

A process that joined later is compared from the position at which it began.

Smallest witness: the first position at which two logs hold different messages, and the first two peers whose do.
"""

from __future__ import annotations

from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Positions
from comparison_server.rounds import compare
from comparison_server.rounds import held as held_at


def prefix(positions: Positions) -> Finding:
    if not positions.evidence.self_delivery:
        return no_evidence("Logs without their process's own messages cannot be prefixes of each other.")
    if len(positions.up) < 2:
        return no_evidence("Fewer than two processes are up.")
    parties = positions.parties(positions.up)
    logs = [(party.order.first_ids, positions.logs[party.logs[0]].start) for party in parties]
    rounds = compare(logs)
    position = rounds.first_disordered
    if position is None:
        return held("Of any two logs of those that are up one is a prefix of the other.")
    there = zip(parties, held_at(logs, position))
    (one, ident), *others = sorted((party.logs[0], ident) for party, ident in there if ident is not None)
    other, different = next(each for each in others if each[1] != ident)
    witness = {
        "position": position,
        "messages": [positions.evidence.message(ident), positions.evidence.message(different)],
        "peers": [positions.logs[log].label for log in (one, other)],
        "positions": [[positions.position_of(log, each) for each in (ident, different)] for log in (one, other)],
    }
    return broken(
        rounds.disordered,
        witness,
        f"The logs part at position {position}: {positions.peer(one)} holds {positions.evidence.message_name(ident)}"
        f" there, {positions.peer(other)} {positions.evidence.message_name(different)}.",
    )

"""Total order: one order of all messages agrees with every log of those that are up.

It is broken where two logs hold two messages they share in opposite order, and where the orders of several logs
together have a cycle: a b / b c / c a has one, though no two of these logs share two messages.

Smallest witness: one with the fewest messages, so two before any cycle, and the shortest cycle; of several, the one
that is complete first, that is, held by the shortest beginnings of the logs (repeats left out, all cut at the same
length). The log of peers[i] holds messages[i] before messages[i + 1], and the last one's the last before the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from comparison_server.contradictions import Leg, cycle, opposition, swaps
from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Positions


def total(positions: Positions) -> Finding:
    if len(positions.up) < 2:
        return no_evidence("Fewer than two processes are up.")
    return judge(positions, positions.up, "One order agrees with the logs of all that are up.")


def judge(positions: Positions, logs: list[int], when_held: str) -> Finding:
    """Whether one order agrees with all of these logs."""
    return positions.once(("total", tuple(logs)), lambda: _judge(positions, logs, when_held))


def _judge(positions: Positions, logs: list[int], when_held: str) -> Finding:
    numbers = [positions.order_of[log] for log in logs]
    distinct = list(dict.fromkeys(numbers))
    orders = [positions.orders[number] for number in distinct]
    found = sum(
        swaps(positions.orders[one], positions.orders[other]) * numbers.count(one) * numbers.count(other)
        for one, other in combinations(distinct, 2)
    )
    legs = opposition(orders) if found else cycle(orders, positions.count)
    if legs is None:
        return held(when_held)
    at_least = f"at least {found or 1}"
    return broken(at_least, *_proof(positions, legs, [logs[numbers.index(number)] for number in distinct]))


def _proof(positions: Positions, legs: Sequence[Leg], logs: list[int]) -> tuple[dict, str]:
    path = [(logs[leg.order], leg.message, leg.then) for leg in legs]
    says = [
        f"{positions.peer(log)} delivered {positions.name(message)} (position {positions.order(log).position(message)})"
        f" before {positions.name(then)} (position {positions.order(log).position(then)})"
        for log, message, then in path
    ]
    witness = positions.witness([message for _, message, _ in path], [log for log, _, _ in path])
    return witness, ", but ".join((", ".join(says[:-1]), says[-1])) + "."

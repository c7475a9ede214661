"""How early an ordering can deliver at all, given the one-way delays: what the speed of light leaves of it.

`bound` is a floor for every (sender, receiver) pair at any load: no delivery is ever
earlier. `expected` is what a message takes on average that has the whole group to
itself; for most orderings that is the floor, and `critical` says through which member
it goes. Bounds and expectations are matrices [sender][receiver] in the unit of `delays`,
which are [from][to], 0 from a peer to itself, and between all others as the network has
them: they need not be equal in both directions nor obey the triangle inequality, so
nothing here takes a short cut through a third peer.

`options` are those of the run: `sequencer`, `leader` (by default peer 0), `ring` (by
default 0, 1, 2, ...), and must be those that were in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Matrix = np.ndarray
Floor = Callable[[Matrix, Mapping[str, Any]], Matrix]


def bound(ordering: str, variant: str | None, delays: Any, options: Mapping[str, Any] | None = None) -> Matrix:
    """The earliest that each receiver can deliver each sender's message, at any load."""
    return _floor(BOUNDS, ordering, variant)(_matrix(delays), options or {})


def expected(ordering: str, variant: str | None, delays: Any, options: Mapping[str, Any] | None = None) -> Matrix:
    """The mean latency of messages that never meet another one."""
    table = BOUNDS | {name: BOUNDS[name] | floors for name, floors in EXPECTED.items()}
    return _floor(table, ordering, variant)(_matrix(delays), options or {})


def critical(ordering: str, variant: str | None, delays: Any, options: Mapping[str, Any] | None = None) -> Matrix:
    """The member that a message waits for which never meets another one: the one through which its floor goes.

    Where that is the sender nobody is waited for, and -1 where it is nobody in particular.
    """
    return _floor(CRITICAL, ordering, variant)(_matrix(delays), options or {})


def rotation(delays: Any, ring: Sequence[int] | None = None) -> float:
    """How long a token takes once around the ring when nobody holds it up."""
    delays = _matrix(delays)
    ring = _ring(delays, {"ring": ring} if ring else {})
    return float(sum(delays[a, b] for a, b in pairwise([*ring, ring[0]])))


def shortest_paths(delays: Any, edges: Iterable[tuple[int, int]]) -> Matrix:
    """The delays in a mesh whose edges (both directions each) are the only ones: for `bound` over a sparse overlay."""
    direct = _matrix(delays)
    paths = np.full_like(direct, np.inf)
    np.fill_diagonal(paths, 0.0)
    for a, b in edges:
        paths[a, b], paths[b, a] = direct[a, b], direct[b, a]
    for via in range(len(paths)):
        paths = np.minimum(paths, _through(paths, via))
    return paths


# -- the rules


def _on_arrival(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    return delays.copy()


def _once_all_said_so(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """Every member has it and has told the receiver."""
    return _latest(_through(delays, member) for member in range(len(delays)))


def _numbered_after_unicast(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """To the sequencer, and from there to all."""
    return _through(delays, options.get("sequencer", 0))


def _numbered_after_broadcast(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """The block from its sender, the number from the sequencer."""
    return np.maximum(delays, _numbered_after_unicast(delays, options))


def _numbered_by_anybody(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """As before, and each member is as likely to number it."""
    floors = [np.maximum(delays, _through(delays, holder)) for holder in range(len(delays))]
    return np.mean(floors, axis=0)


def _agreed_at_sender(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """The slowest member's proposal comes back to the sender, whose decision goes to all."""
    return (delays + delays.T).max(axis=1, keepdims=True) + delays


def _stored_by_majority(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """To the leader; there and back to as many others as make a majority with it; from the leader to all."""
    leader = options.get("leader", 0)
    others = np.delete(delays[leader] + delays[:, leader], leader)
    majority = len(delays) // 2
    return _through(delays, leader) + (np.sort(others)[majority - 1] if majority else 0.0)


def _known_held_by_token(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """The token leaves the sender with the block and reaches the receiver after it was at every other member,
    each of which can only report a block that it has."""
    ring = _ring(delays, options)
    floors = np.zeros_like(delays)
    for place, sender in enumerate(ring):
        order = ring[place:] + ring[:place]
        time = 0.0
        for origin, target in pairwise(order + order[:-1]):  # the sender's predecessor is the first who knows
            time = max(time + delays[origin, target], delays[sender, target])
            floors[sender, target] = time
    return floors


def _waits_for_token(after: Floor) -> Floor:
    """On average half a rotation passes before the sender has the token."""
    return lambda delays, options: rotation(delays, options.get("ring")) / 2 + after(delays, options)


BOUNDS: dict[str, dict[str, Floor]] = {  # the first variant is the default
    "unordered": {"plain": _on_arrival},
    "fifo": {"plain": _on_arrival},
    "causal": {"plain": _on_arrival},
    "lamport_all_ack": {"explicit": _once_all_said_so, "promise": _on_arrival, "textbook": _once_all_said_so},
    "fixed_sequencer": {"ub": _numbered_after_unicast, "bb": _numbered_after_broadcast},
    "moving_sequencer": {"plain": _on_arrival},  # whoever numbers it may be the sender itself
    "token_ring": {"plain": _on_arrival, "safe": _known_held_by_token},
    "skeen": {"sender": _agreed_at_sender, "all": _once_all_said_so},
    "raft_log": {"plain": _stored_by_majority},
}

EXPECTED: dict[str, dict[str, Floor]] = {  # where an idle group is slower than the floor
    "lamport_all_ack": {"promise": _once_all_said_so},
    "moving_sequencer": {"plain": _numbered_by_anybody},
    "token_ring": {"plain": _waits_for_token(_on_arrival), "safe": _waits_for_token(_known_held_by_token)},
}


# -- whom it waits for

NOBODY = -1


def _the_sender(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    return np.repeat(np.arange(len(delays))[:, None], len(delays), axis=1)


def _nobody(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    return np.full(delays.shape, NOBODY)


def _the_farthest(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """Whose word comes last."""
    return np.argmax([_through(delays, member) for member in range(len(delays))], axis=0)


def _the_sequencer(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    return np.full(delays.shape, options.get("sequencer", 0))


def _the_sequencer_if_later(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    later = _numbered_after_unicast(delays, options) > delays
    return np.where(later, _the_sequencer(delays, options), _the_sender(delays, options))


def _the_farthest_of_the_sender(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    """Whose proposal comes back last."""
    return np.repeat((delays + delays.T).argmax(axis=1)[:, None], len(delays), axis=1)


def _the_leader(delays: Matrix, options: Mapping[str, Any]) -> Matrix:
    return np.full(delays.shape, options.get("leader", 0))


CRITICAL: dict[str, dict[str, Floor]] = {  # of the same orderings and variants as BOUNDS
    "unordered": {"plain": _the_sender},
    "fifo": {"plain": _the_sender},
    "causal": {"plain": _the_sender},
    "lamport_all_ack": {"explicit": _the_farthest, "promise": _the_farthest, "textbook": _the_farthest},
    "fixed_sequencer": {"ub": _the_sequencer, "bb": _the_sequencer_if_later},
    "moving_sequencer": {"plain": _nobody},  # each member is as likely to number it
    "token_ring": {"plain": _nobody, "safe": _nobody},  # the token's way is through all
    "skeen": {"sender": _the_farthest_of_the_sender, "all": _the_farthest},
    "raft_log": {"plain": _the_leader},
}


# -- matrices


def _floor(table: Mapping[str, Mapping[str, Floor]], ordering: str, variant: str | None) -> Floor:
    if ordering not in table:
        raise ValueError(f"no bound is known for {ordering!r}; known are {', '.join(table)}")
    variants = table[ordering]
    wanted = next(iter(variants)) if variant is None else variant
    if wanted not in variants:
        raise ValueError(f"no bound is known for variant {wanted!r} of {ordering}; known are {', '.join(variants)}")
    return variants[wanted]


def _matrix(delays: Any) -> Matrix:
    matrix = np.asarray(delays, dtype=float)
    assert matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and not matrix.diagonal().any()
    return matrix


def _through(delays: Matrix, member: int) -> Matrix:
    """From every sender to one member and from there to every receiver."""
    return delays[:, [member]] + delays[[member], :]


def _latest(matrices: Iterable[Matrix]) -> Matrix:
    latest, *others = matrices
    for matrix in others:
        latest = np.maximum(latest, matrix)
    return latest


def _ring(delays: Matrix, options: Mapping[str, Any]) -> list[int]:
    return list(options.get("ring") or range(len(delays)))

"""The shortest contradiction between orders: messages that no single order can hold as the given ones do.

An order says of any two messages it holds which comes first. Two orders that hold two messages the opposite way round
contradict each other; and three may do so where no two do: a before b, b before c, c before a. A contradiction is a
chain of legs, each an order that holds one message before the next, that comes back to where it began. No shortest
one needs two legs of the same order, so it has at most as many legs as there are orders.

Of contradictions with equally few legs the one is shown that is complete first: the one that the shortest beginnings
of the orders, all cut at the same place, already hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from comparison_server.positions import Order

FAR = np.iinfo(np.int32).max


@dataclass(slots=True)
class Leg:
    """The order of this number holds `message` before `then`."""

    order: int
    message: int
    then: int


def swaps(one: Order, other: Order) -> int:
    """How many neighbours (among the messages both hold) in one order stand the other way round in the other."""
    length = max(len(one.messages), len(other.messages))
    return int(np.count_nonzero(_descents(_common(one, other, length))))


def opposition(orders: Sequence[Order]) -> list[Leg] | None:
    """Two messages that two orders hold the opposite way round, those which are complete first."""
    legs, length = None, max((len(order.messages) for order in orders), default=0)
    for (p, one), (q, other) in combinations(enumerate(orders), 2):

        def opposed(length: int, one: Order = one, other: Order = other) -> bool:
            return bool(_descents(_common(one, other, length)).any())

        if opposed(length):
            length = _least(opposed, length)
            first, then = _first_swap(one, other, length)
            legs = [Leg(p, first, then), Leg(q, then, first)]
            length -= 1  # another pair must be complete earlier to be preferred
    return legs


def cycle(orders: Sequence[Order], count: int) -> list[Leg] | None:
    """The shortest contradiction of orders among which no two contradict each other."""
    union = np.zeros(count, bool)
    for order in orders:
        union[order.messages] = True
    if any(len(order.messages) == np.count_nonzero(union) for order in orders):
        return None  # no other contradicts this one, and it holds all messages: it is the order that was asked for

    inside = _tangled(orders, count)
    messages = np.flatnonzero(inside)
    dense = np.full(count, -1, np.intp)
    dense[messages] = np.arange(len(messages))
    places = [np.flatnonzero(inside[order.messages]) for order in orders]
    tangle = [dense[order.messages[there]] for order, there in zip(orders, places)]

    found = _walk(tangle, len(messages))
    if found is None:
        return None
    legs = len(found[0])

    def beginning(length: int) -> list[np.ndarray]:
        return [order[: np.searchsorted(there, length)] for order, there in zip(tangle, places)]

    def closes(length: int) -> bool:
        walked = _walk(beginning(length), len(messages))
        return walked is not None and len(walked[0]) == legs

    begun = beginning(_least(closes, 1 + max(int(there[-1]) for there in places if len(there))))
    walked = _walk(begun, len(messages))
    assert walked is not None
    return [Leg(p, int(messages[a]), int(messages[b])) for p, a, b in _retrace(begun, *walked)]


def _least(holds: Callable[[int], bool], length: int) -> int:
    """The least length for which something holds that holds for the given one and for all beyond the least."""
    high = min(64, length)
    while high < length and not holds(high):
        high = min(4 * high, length)
    low = 0
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _common(one: Order, other: Order, length: int) -> np.ndarray:
    """The places in the other order of the messages that both hold within a length, as the one order has them."""
    there = other.place[one.messages[:length]]
    return there[(there >= 0) & (there < length)]


def _descents(there: np.ndarray) -> np.ndarray:
    return there[1:] < there[:-1]


def _first_swap(one: Order, other: Order, length: int) -> tuple[int, int]:
    there = _common(one, other, length)
    at = int(np.argmax(_descents(there)))
    return int(other.messages[there[at]]), int(other.messages[there[at + 1]])


def _tangled(orders: Sequence[Order], count: int) -> np.ndarray:
    """Marks the messages among which alone a cycle can lie.

    Rank all messages in any way at all. A cycle that leads up past a rank must lead down past it again, and only a
    step from one message to the next in some order that leads down can do that; so a cycle lies within ranks that
    such steps cover without a gap. A good ranking leaves few of them.
    """
    rank = _rank(orders, count)
    turns = np.zeros(count + 1, np.int64)
    for order in orders:
        ranks = rank[order.messages]
        down = np.flatnonzero(ranks[1:] < ranks[:-1])
        np.add.at(turns, ranks[down + 1], 1)
        np.add.at(turns, ranks[down], -1)
    covered = np.cumsum(turns) > 0  # the gap between each rank and the next
    inside = covered.copy()
    inside[1:] |= covered[:-1]
    return inside[rank]


def _rank(orders: Sequence[Order], count: int) -> np.ndarray:
    """The longest order, with what it lacks put in behind the message that some other order holds before."""
    longest = max(orders, key=lambda order: len(order.messages))
    taken = longest.place >= 0
    sequence, keys = [longest.messages], [np.arange(len(longest.messages))]
    for order in orders:
        new = ~taken[order.messages]
        taken[order.messages] = True
        sequence.append(order.messages[new])
        keys.append(np.maximum.accumulate(longest.place[order.messages])[new])
    rank = np.full(count, count)
    rank[np.concatenate(sequence)[np.argsort(np.concatenate(keys), kind="stable")]] = np.arange(sum(map(len, sequence)))
    return rank


def _walk(orders: list[np.ndarray], count: int) -> tuple[list[np.ndarray], int] | None:
    """Walks from every message at once, leg by leg, until one can come back to itself.

    levels[k][p, a] is the first place in order p that at most k legs from message a lead to. A leg along p leads to
    all that stands later in p, so the first place is all that need be kept. Returned are the levels, as many as the
    cycle has legs, and a message that lies on it.
    """
    place = np.full((len(orders), count), FAR, np.int32)
    for p, order in enumerate(orders):
        place[p, order] = np.arange(len(order))
    levels = [place]
    while len(levels) < len(orders):
        reach = levels[-1]
        further = reach.copy()
        for p, order in enumerate(orders):
            places = np.minimum(reach[p], len(order))
            for q in range(len(orders)):
                # What of all that stands in p from a place on stands soonest in q; of nothing, FAR.
                soonest = np.append(place[q, order], np.int32(FAR))[::-1]
                soonest = np.minimum.accumulate(soonest)[::-1]
                np.minimum(further[q], soonest[places], out=further[q])
        levels.append(further)
        returns = (further < place) & (place < FAR)
        if returns.any():
            return levels, int(np.argmax(returns.any(axis=0)))
        if np.array_equal(further, reach):
            return None
    return None


def _retrace(orders: list[np.ndarray], levels: list[np.ndarray], start: int) -> list[tuple[int, int, int]]:
    """The legs of the cycle through a message, found backwards: which order led there, and from which message."""
    place, then, legs = levels[0], start, []
    for level in reversed(levels):
        p = next(p for p in range(len(orders)) if level[p, start] < place[p, then] < FAR)
        message = int(orders[p][level[p, start]])
        legs.append((p, message, then))
        then = message
    return legs[::-1]

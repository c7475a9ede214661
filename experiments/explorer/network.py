"""Ideal networks: what each of them gives to the layer above, and what may arrive next.

What is under way to one peer is its inbox, a small hashable value. A network knows packets only by the numbers of
their arrivals, which say who sent what; equal inboxes have the same packets under way.

A packet that may be lost is never taken away: it may stay under way for ever, which no peer can tell from a loss. So
`datagrams` covers any number of losses, and only what is said of the end of a run cannot be judged there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peer.core.guarantees import FIFO_LINKS, LARGE, ONCE, RELIABLE

Inbox = tuple[Any, ...]
Arrived = tuple[int, Inbox, bool]  # what may arrive now, what is under way then, and whether a copy of it still is


@dataclass(frozen=True, slots=True)
class Network:
    """Carries packets from peer to peer, as well as it says."""

    name: str
    gives: frozenset[str]
    sentence: str
    duplicates: int = 0  # how many packets may arrive at each peer once more

    @property
    def keeps_order(self) -> bool:
        """Whether what arrives next from a source is what it sent first."""
        return FIFO_LINKS in self.gives

    def empty(self, peers: int) -> Inbox:
        """Nothing is under way to a peer."""
        raise AssertionError("each kind has its own")

    def put(self, inbox: Inbox, source: int, arrivals: tuple[int, ...]) -> Inbox:
        """`source` has sent these, in this order."""
        raise AssertionError("each kind has its own")

    def next(self, inbox: Inbox) -> Iterator[Arrived]:
        """All that may happen next."""
        raise AssertionError("each kind has its own")


class Queues(Network):
    """A queue for each pair: an inbox holds one for each source."""

    __slots__ = ()

    def empty(self, peers: int) -> Inbox:
        return ((),) * peers

    def put(self, inbox: Inbox, source: int, arrivals: tuple[int, ...]) -> Inbox:
        return (*inbox[:source], inbox[source] + arrivals, *inbox[source + 1 :])

    def next(self, inbox: Inbox) -> Iterator[Arrived]:
        for source, queue in enumerate(inbox):
            if queue:
                yield queue[0], (*inbox[:source], queue[1:], *inbox[source + 1 :]), False


class Bag(Network):
    """Whatever is under way may arrive next: an inbox holds how many duplicates there may still be, and the packets."""

    __slots__ = ()

    def empty(self, peers: int) -> Inbox:
        return (self.duplicates,)

    def put(self, inbox: Inbox, source: int, arrivals: tuple[int, ...]) -> Inbox:
        return (inbox[0], *sorted(inbox[1:] + arrivals))

    def next(self, inbox: Inbox) -> Iterator[Arrived]:
        duplicates, *packets = inbox
        for place, arrival in enumerate(packets):
            if place and packets[place - 1] == arrival:
                continue  # of equal ones one is enough
            yield arrival, (duplicates, *packets[:place], *packets[place + 1 :]), False
            if duplicates:
                yield arrival, (duplicates - 1, *packets), True


NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Queues("fifo", frozenset({RELIABLE, FIFO_LINKS, ONCE, LARGE}), "links that lose nothing and keep the order"),
        Bag("reliable", frozenset({RELIABLE, ONCE, LARGE}), "links that lose nothing and keep no order"),
        Bag("datagrams", frozenset(), "datagrams in any order, with any number of losses", duplicates=1),
    )
}

"""What a layer is: the handlers it may have, and what it can do in them.

A layer is a slotted dataclass that holds all its state in fields: numbers, texts,
bytes, tuples, lists, deques, dicts, sets and slotted dataclasses of these. It has no
clock, no sockets and no dice. A handler runs to completion; what it asks for is
queued and happens after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from peer.core.effects import Ask, CancelTimer, Deliver, Note, RecordMulticast, Report, Save, SetTimer, Transmit
from peer.core.events import Answered, Moved, PacketArrived
from peer.core.names import Members, PeerId
from peer.core.requests import Send


class Layer:
    """One rule of a stack. Handlers that a layer does not have are passed by, at no cost."""

    __slots__ = ()

    name: str = ""
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    loses: frozenset[str] = frozenset()
    packets: tuple[type, ...] = ()  # the packet classes this layer eats; all others pass it by
    requests: tuple[type, ...] = ()  # the same for requests from above,
    news: tuple[type, ...] = ()  # and for news from below
    gate: bool = False  # a gate sees every packet, as long as its field `shut` is true

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Layer:
        """This layer as the run's settings and its own options want it."""
        return cls(**options)

    def granted(self) -> frozenset[str]:
        """What this layer gives with the options it has."""
        return self.gives

    def start(self, out: Out) -> None:
        """The stack begins; `out.entropy` and `out.saved` are set."""

    def on_request(self, request: Any, out: Out) -> None:
        """A layer above asks for something that is in `requests`."""

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        """A packet of one of this layer's classes came up."""

    def on_news(self, news: Any, out: Out) -> None:
        """A layer below has news that is in `news`."""

    def on_delivery(self, block: Any, out: Out) -> None:
        """The ordering hands over the next block."""
        out.deliver(block)

    def on_command(self, command: Any, out: Out) -> None:
        """The operator's side wants something."""

    def on_answer(self, answered: Answered, out: Out) -> None:
        """A service replied."""

    def on_moved(self, moved: Moved, out: Out) -> None:
        """A member's datagrams come from another endpoint."""

    def on_timer(self, key: Any, out: Out) -> None:
        """A timer of this layer ran out."""

    def on_turn(self, out: Out) -> None:
        """All that arrived together is in: conclude. Called from the bottom up."""

    def on_flush(self, out: Out) -> None:
        """Everybody has concluded: send what is still owed. Called from the top down."""

    def held(self) -> dict[str, int]:
        """What this layer keeps that is not delivered or not acknowledged yet, by name."""
        return {}

    def waits_for(self, out: Out) -> list[PeerId]:
        """Whom this layer waits for now."""
        return []

    def measures(self) -> dict[str, Any]:
        """What the operator is told of this layer when the run is over, by name; a few lines at most."""
        return {}


class Out:
    """What a layer can do in a handler. One per layer, made by the stack; a layer never keeps it."""

    __slots__ = (
        "me", "members", "others", "entropy", "saved", "layer", "_queue", "effects",
        "_arrivals", "_requests", "_send_is_taken", "_news", "_delivery", "_bottom", "_reroute", "_flushing",
    )  # fmt: skip

    me: PeerId
    members: Members
    others: Members

    @property
    def flushing(self) -> bool:
        """Whether the turn is being flushed; the layers above have had their last word in it."""
        return self._flushing[0]

    def down(self, request: Any) -> None:
        """Ask the layers below; what none of them takes, the network does."""
        route = self._requests.get(type(request))
        if route is None:
            self._bottom(request)
        else:
            self._queue.append((route[0], request, route[1]))

    def send(self, peer: PeerId, packet: Any) -> None:
        """`down(Send(peer, packet))`, and the short way where no layer below takes it."""
        if self._send_is_taken:
            self.down(Send(peer, packet))
        else:
            self.effects.append(Transmit(peer, packet))

    def up(self, arrival: PacketArrived) -> None:
        """Hand a packet to whichever layer above eats it."""
        route = self._arrivals.get(type(arrival.packet))
        if route is None:
            self.effects.append(uneaten(arrival))
        else:
            self._queue.append((route[0], arrival, route[1]))

    def tell(self, news: Any) -> None:
        """Tell the layers above; what none of them eats is a Report."""
        route = self._news.get(type(news))
        if route is None:
            self.effects.append(Report(news))
        else:
            self._queue.append((route[0], news, route[1]))

    def deliver(self, block: Any) -> None:
        """Hand a block up; past the last layer the application gets it."""
        route = self._delivery
        if route is None:
            self.effects.append(Deliver(block))
        else:
            self._queue.append((route[0], block, route[1]))

    def open_gate(self) -> None:
        """From now on packets pass this layer by, but for its own classes."""
        self._reroute()

    def record_multicast(self, first: int, count: int) -> None:
        """Put on record that the application asked for these messages now."""
        self.effects.append(RecordMulticast(first, count))

    def set_timer(
        self, key: Any, earliest_s: float, latest_s: float | None = None, *, paced: bool = False
    ) -> None:
        """Fire `on_timer(key)` after a time from this range, instead of a timer already set under that key.

        `paced`: after the moment at which the timer was due that fires now, so that a peer that was held up does not
        fall behind for good.
        """
        latest_s = earliest_s if latest_s is None else latest_s
        self.effects.append(SetTimer(self.layer, key, earliest_s, latest_s, paced))

    def cancel_timer(self, key: Any) -> None:
        """Do not fire."""
        self.effects.append(CancelTimer(self.layer, key))

    def ask(self, service: str, question: Any) -> None:
        """Ask a service; the reply comes as `on_answer`."""
        self.effects.append(Ask(service, question))

    def save(self, key: str, value: Any, *, append: bool = False) -> None:
        """Make a value durable before anything that follows."""
        self.effects.append(Save(self.layer, key, value, append))

    def note(self, name: str, **fields: Any) -> None:
        """Leave a line in the trace."""
        self.effects.append(Note(name, fields))


def uneaten(arrival: PacketArrived) -> Note:
    """The note about a packet that no layer of this stack knows."""
    return Note("uneaten", {"packet": type(arrival.packet).__name__, "source": arrival.source})


def freeze(value: Any) -> Any:
    """A hashable value that says all of `value`; dicts and sets by sorted key."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return ("l", *_frozen(value))
    if kind is tuple:
        return ("t", *_frozen(value))
    if kind is dict:
        return ("d", *[(freeze(key), freeze(value[key])) for key in sorted(value)])
    if kind is deque:
        return ("q", *_frozen(value))
    if kind in (set, frozenset):
        return ("s" if kind is set else "f", *sorted(map(freeze, value)))
    return (kind, *_frozen([getattr(value, name) for name in _names(kind)]))


def thaw(frozen: Any) -> Any:
    """A fresh value that `freeze` turns into this again."""
    if type(frozen) is not tuple:
        return frozen
    tag, *items = frozen
    if tag == "d":
        return {thaw(key): thaw(item) for key, item in items}
    items = [thaw(item) if type(item) is tuple else item for item in items]
    if type(tag) is str:
        return items if tag == "l" else _CONTAINERS[tag](items)
    fresh = tag.__new__(tag)
    for name, item in zip(_names(tag), items):
        setattr(fresh, name, item)
    return fresh


def _frozen(items: Iterable[Any]) -> list[Any]:
    return [item if type(item) in _ATOMS else freeze(item) for item in items]


@cache
def _names(kind: type) -> tuple[str, ...]:
    assert is_dataclass(kind), f"a layer's field holds a {kind.__name__}, which cannot be frozen"
    return tuple(f.name for f in fields(kind))


_ATOMS = {type(None), bool, int, float, str, bytes, type}
_CONTAINERS = {"t": tuple, "q": deque, "s": set, "f": frozenset}

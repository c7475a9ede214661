"""A few real stacks on one table, joined by a wire that does to every packet what the test says.

The fate of the packets from one stack to another is a text, a character a packet:

    .   it arrives
    x   it is lost
    2   it arrives twice
    <   it is held back until the next of that direction has arrived

and whatever the text does not cover arrives. Time passes only when nothing is on the wire: then the earliest timer
fires, at the beginning of its range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from group_manager.membership import Membership
from peer.core.commands import Release
from peer.core.effects import Ask, CancelTimer, Deliver, Effect, Note, RecordMulticast, Report, SetTimer, Transmit
from peer.core.events import Answered, Commanded, Event, PacketArrived, Started, TimerFired
from peer.core.layer import Layer, Out
from peer.core.stack import Stack
from peer.core.wire import Packet, register

Fates = Mapping[tuple[int, int], str] | str
MOST_TURNS = 100_000


@dataclass(slots=True)
class Word(Packet):
    """What the tests send."""

    text: str


@dataclass(slots=True)
class Blob(Packet):
    """The same, of any length."""

    text: bytes


register(250, Word)
register(249, Blob)


@dataclass(slots=True)
class Listener(Layer):
    """The top of a stack that has no ordering: keeps the words that come up, in order."""

    name = "listener"
    packets = (Word, Blob)

    heard: list[tuple[int, str | bytes]] = field(default_factory=list)  # (source, text)

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        self.heard.append((arrival.source, arrival.packet.text))


class Table:
    """The stacks, the wire between them, and all that was seen on it."""

    def __init__(self, layers: Iterable[Sequence[Layer]], fates: Fates = "", rtt_s: float | None = None) -> None:
        stacks = [list(each) for each in layers]
        members = tuple(range(len(stacks)))
        self.stacks = [Stack(each, me, members) for me, each in enumerate(stacks)]
        self.rtt_s = rtt_s
        self.now_s = 0.0
        directions = [(source, target) for source in members for target in members if source != target]
        text = fates if isinstance(fates, str) else None
        self.fates: dict[tuple[int, int], Iterator[str]] = {
            each: iter(fates.get(each, "") if text is None else text) for each in directions
        }
        self.wire: deque[tuple[int, int, Any]] = deque()
        self.held_back: dict[tuple[int, int], list] = {each: [] for each in directions}
        self.timers: dict[tuple[int, str, Any], float] = {}
        self.manager = Membership()
        for me in members:
            self.manager.handle({"op": "register", "name": f"p{me}", "endpoint": ["10.0.0.1", me + 1]}, 0.0)
        self.sent: list[tuple[int, int, Any]] = []  # every packet that was put on the wire
        self.delivered: list[list] = [[] for _ in members]  # blocks
        self.reports: list[list] = [[] for _ in members]  # news that left the stack
        self.notes: list[list[str]] = [[] for _ in members]
        self.multicasts: list[list[tuple[int, int]]] = [[] for _ in members]
        self.effects: list[list[Effect]] = [[] for _ in members]

    # What a test does.

    def start(self) -> Table:
        """Every stack begins, with other chance than the next."""
        for me in range(len(self.stacks)):
            self.turn(me, Started(entropy=bytes([me + 1]) * 32))
        return self

    def release(self) -> Table:
        """Every workload begins."""
        for me in range(len(self.stacks)):
            self.turn(me, Commanded(Release("test")))
        return self

    def ask(self, me: int, *requests: Any) -> Table:
        """From above the top of a stack, in one turn."""
        for request in requests:
            self.stacks[me].ask(request)
        self._perform(me, self.stacks[me].sweep())
        return self

    def turn(self, me: int, *events: Event) -> list[Effect]:
        """Events that arrive together."""
        effects = self.stacks[me].handle(list(events))
        self._perform(me, effects)
        return effects

    def arrive(self, me: int, source: int, *packets: Any) -> list[Effect]:
        """Packets that arrive together, wherever they come from."""
        return self.turn(me, *[PacketArrived(source, packet, self.rtt_s, None) for packet in packets])

    def carry(self, choose: Callable[[list[tuple[int, int]]], tuple[int, int]] | None = None) -> Table:
        """Packets arrive until none is on the wire; `choose` says from which direction the next one comes."""
        for _ in range(MOST_TURNS):
            if not self.wire:
                late = [(*direction, packet) for direction, kept in self.held_back.items() for packet in kept]
                if not late:
                    return self
                self.wire.extend(late)
                for kept in self.held_back.values():
                    kept.clear()
            source, target, packet = self._next(choose)
            fate = next(self.fates[source, target], ".")
            assert fate in ".x2<", f"unknown fate {fate!r}"
            if fate == "<":
                self.held_back[source, target].append(packet)
                continue
            for _ in range({".": 1, "x": 0, "2": 2}[fate]):
                self.arrive(target, source, packet)
            overtaken = self.held_back[source, target]
            while overtaken and fate != "x":
                self.arrive(target, source, overtaken.pop(0))
        raise AssertionError("the packets never end")

    def settle(self, limit_s: float = 1000.0) -> Table:
        """Packets arrive and timers fire until there are none of either."""
        self.carry()
        while self.timers:
            assert self.now_s < limit_s, f"never at rest; timers {sorted(map(str, self.timers))}"
            self.fire()
            self.carry()
        return self

    def pass_time(self, wait_s: float) -> Table:
        """What is to happen within so many seconds happens."""
        end_s = self.now_s + wait_s
        self.carry()
        while self.timers and min(self.timers.values()) <= end_s:
            self.fire()
            self.carry()
        self.now_s = end_s
        return self

    def fire(self) -> None:
        """The earliest timer fires; of several, the one that was set first."""
        me, layer, key = name = min(self.timers, key=self.timers.__getitem__)
        self.now_s = max(self.now_s, self.timers.pop(name))
        self.turn(me, TimerFired(layer, key))

    # What a test sees.

    def heard(self, me: int, source: int | None = None) -> list[str]:
        """The words that came up, of one source or of all."""
        words = self.stacks[me].layer("listener").heard
        return [text for origin, text in words if source is None or origin == source]

    def messages(self, me: int) -> list[tuple[int, int]]:
        """(sender, number) of every message that was delivered."""
        blocks = self.delivered[me]
        return [(block.sender, number) for block in blocks for number in range(block.first, block.first + block.count)]

    def sent_by(self, me: int, kind: type) -> list[tuple[int, Any]]:
        """(target, packet) of every packet of that class, in order."""
        return [(target, packet) for source, target, packet in self.sent if source == me and type(packet) is kind]

    def told(self, me: int, kind: type) -> list[Any]:
        """The news of that class that left the stack."""
        return [news for news in self.reports[me] if type(news) is kind]

    # The world.

    def _next(self, choose: Callable | None) -> tuple[int, int, Any]:
        if choose is None:
            return self.wire.popleft()
        direction = choose(sorted({(source, target) for source, target, _ in self.wire}))
        place = next(place for place, (source, target, _) in enumerate(self.wire) if (source, target) == direction)
        found = self.wire[place]
        del self.wire[place]
        return found

    def _perform(self, me: int, effects: list[Effect]) -> None:
        self.effects[me] += effects
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                self.sent.append((me, effect.target, effect.packet))
                self.wire.append((me, effect.target, effect.packet))
            elif kind is SetTimer:
                assert 0 <= effect.earliest_s <= effect.latest_s
                self.timers.pop((me, effect.layer, effect.key), None)
                self.timers[me, effect.layer, effect.key] = self.now_s + effect.earliest_s
            elif kind is CancelTimer:
                self.timers.pop((me, effect.layer, effect.key), None)
            elif kind is Deliver:
                self.delivered[me].append(effect.block)
            elif kind is Report:
                self.reports[me].append(effect.news)
            elif kind is Note:
                self.notes[me].append(effect.name)
            elif kind is RecordMulticast:
                self.multicasts[me].append((effect.first, effect.count))
            elif kind is Ask:
                reply = self.manager.handle(effect.question, self.now_s)
                self.turn(me, Answered(effect.service, reply))

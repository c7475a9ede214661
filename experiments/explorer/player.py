"""The shipped layers at work: what one peer's stack does in each of its states with each event, found out once."""

from __future__ import annotations

from typing import Any, NamedTuple

from experiments.explorer.forms import Frozen, Packets
from experiments.explorer.model import Model
from peer.core.effects import Ask, CancelTimer, Deliver, Effect, RecordMulticast, SetTimer, Transmit
from peer.core.events import Event, PacketArrived, Started, TimerFired
from peer.core.names import PeerId, message_id

MULTICAST = 0  # the number of the event that lets the application multicast
OWN = -1  # in a story: an own multicast


class Said(NamedTuple):
    """What the layers want of the world, in the order in which they said it."""

    sends: tuple[tuple[PeerId, int], ...] = ()  # target, and the number of the arrival there
    story: tuple[int, ...] = ()  # ids of delivered messages, and OWN
    timers: tuple[SetTimer | CancelTimer, ...] = ()


SILENCE = Said()


class Events:
    """All events of a search, numbered; equal ones have one number."""

    def __init__(self) -> None:
        self.packets = Packets()
        self.all: list[Event] = []
        self._numbers: dict[Any, int] = {}
        assert self.firing("application", "multicast") == MULTICAST

    def arrival(self, source: PeerId, packet: Any) -> int:
        """The number of this packet's arrival."""
        return self._number((source, self.packets.number(packet)), PacketArrived(source, packet))

    def firing(self, layer: str, key: Any) -> int:
        """The number of this timer's firing."""
        return self._number((layer, key), TimerFired(layer, key))

    def _number(self, known_by: Any, event: Event) -> int:
        number = self._numbers.setdefault(known_by, len(self.all))
        if number == len(self.all):
            self.all.append(event)
        return number


class Player:
    """One peer's stack. Its states are numbered as they are met."""

    def __init__(self, model: Model, me: PeerId, events: Events) -> None:
        self.me, self.events = me, events
        self.stack = model.stack(me)
        self.asked: list[int] = []  # [state]: messages that the application has multicast
        self._frozen = Frozen(type(self.stack.ordering), events.packets)
        self._states: list[tuple] = []
        self._numbers: dict[tuple, int] = {}
        self._now = -1  # the state that the stack is in
        self._fed: dict[tuple[int, int], tuple[int, Said]] = {}
        self._swept: dict[tuple[int, int], tuple[int, Said]] = {}

    def start(self) -> tuple[int, Said]:
        """The state in which the stack begins, and what it says at once."""
        return self._outcome(self.stack.handle([Started()]))

    def feed(self, state: int, event: int) -> tuple[int, Said]:
        """What an event does in the middle of a turn."""
        known = self._fed.get((state, event))
        if known is None:
            self._wake(state)
            self.stack.feed([self.events.all[event]])
            known = self._fed[state, event] = self._outcome(self.stack.take())
        return known

    def sweep(self, state: int, late: int) -> tuple[int, Said]:
        """What the end of a turn does; `late` messages are multicast when the layers below have concluded."""
        known = self._swept.get((state, late))
        if known is None:
            self._wake(state)
            self.stack.application.late = late
            known = self._swept[state, late] = self._outcome(self.stack.sweep())
        return known

    def _wake(self, state: int) -> None:
        if state != self._now:
            frozen, self.stack.application.asked = self._states[state]
            self._frozen.wake(self.stack.ordering, frozen)

    def _outcome(self, effects: list[Effect]) -> tuple[int, Said]:
        value = self._frozen.freeze(self.stack.ordering), self.stack.application.asked
        state = self._now = self._numbers.setdefault(value, len(self._states))
        if state == len(self._states):
            self._states.append(value)
            self.asked.append(value[1])
        return state, self._said(effects) if effects else SILENCE

    def _said(self, effects: list[Effect]) -> Said:
        sends, story, timers = [], [], []
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                sends.append((effect.target, self.events.arrival(self.me, effect.packet)))
            elif kind is Deliver:
                story += delivered(effect.block)
            elif kind is RecordMulticast:
                story += [OWN] * effect.count
            elif kind is SetTimer or kind is CancelTimer:
                timers.append(effect)
            else:
                assert kind is not Ask, "an ideal network has no services that could be asked"
        return Said(tuple(sends), tuple(story), tuple(timers))


def delivered(block: Any) -> list[int]:
    """The ids of a block's messages."""
    return [message_id(block.sender, number) for number in range(block.first, block.first + block.count)]

"""A stack: layers, one queue between them, and the turn.

A turn is the list of events that arrived together. Each goes in at the bottom (or at
the layer it is meant for), and the queue is drained after each, so no handler is ever
called inside another. Then two sweeps: `on_turn` from the bottom up, where layers
conclude from all that arrived, and `on_flush` from the top down, where they send what
they still owe. Who handles what is found out once, when the stack is made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from peer.core.effects import Effect, Transmit
from peer.core.events import Answered, Commanded, Event, Moved, PacketArrived, Started, TimerFired
from peer.core.layer import Layer, Out, uneaten
from peer.core.names import Members, PeerId
from peer.core.requests import Connect, Send, SendAll, SendTo

Route = tuple[Callable[..., None], Out]


class Stack:
    """The layers of one peer, from bottom to top."""

    __slots__ = (
        "layers", "me", "members", "_outs", "_queue", "_effects", "_flushing",
        "_arrivals", "_timers", "_turns", "_flushes", "_plays",
    )  # fmt: skip

    def __init__(self, layers: Sequence[Layer], me: PeerId, members: Members) -> None:
        self.layers, self.me, self.members = list(layers), me, members
        self._queue: deque = deque()
        self._effects: list[Effect] = []
        self._flushing = [False]  # shared with every Out
        self._outs = [self._out_of(layer) for layer in self.layers]
        self._wire_up()
        self._timers = {layer.name: (layer.on_timer, out) for layer, out in zip(self.layers, self._outs)}
        self._turns = self._having("on_turn")
        self._flushes = self._having("on_flush")[::-1]
        self._plays = {
            PacketArrived: self._play_uneaten,
            TimerFired: self._play_timer,
            Started: self._play_start,
            Commanded: self._play_command,
            Answered: self._play_answer,
            Moved: self._play_moved,
        }

    def handle(self, turn: Sequence[Event]) -> list[Effect]:
        """A whole turn: all events, then both sweeps."""
        self.feed(turn)
        return self.sweep()

    def feed(self, turn: Sequence[Event]) -> None:
        """Take events in without ending the turn."""
        plays, queue = self._plays, self._queue
        for event in turn:  # most are packets that somebody eats
            if type(event) is PacketArrived and (route := self._arrivals.get(type(event.packet))) is not None:
                route[0](event, route[1])
            else:
                plays[type(event)](event)
            while queue:
                handler, item, out = queue.popleft()
                handler(item, out)

    def sweep(self) -> list[Effect]:
        """End the turn; all effects since the last one, in order."""
        queue = self._queue
        for conclude, out in self._turns:
            conclude(out)
            if queue:
                self._drain()
        self._flushing[0] = True
        for flush, out in self._flushes:
            flush(out)
            if queue:
                self._drain()
        self._flushing[0] = False
        if not self._effects:
            return []
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def ask(self, request: Any) -> None:
        """A request from above the top layer."""
        handler, out = _routes(list(zip(self.layers, self._outs))[::-1], "requests", "on_request")[type(request)]
        handler(request, out)
        self._drain()

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)

    def held(self) -> dict[str, int]:
        """What the layers keep that is not delivered or not acknowledged yet."""
        return {what: amount for layer in self.layers for what, amount in layer.held().items()}

    def total(self, count: str) -> int:
        """The sum of a count that some of the layers keep."""
        return sum(getattr(layer, count, 0) for layer in self.layers)

    def waits_for(self) -> list[PeerId]:
        """Whom the layers wait for now."""
        return sorted({peer for layer, out in zip(self.layers, self._outs) for peer in layer.waits_for(out)})

    def measures(self) -> dict[str, Any]:
        """What the layers have to say of themselves when the run is over."""
        return {what: value for layer in self.layers for what, value in layer.measures().items()}

    # What an event does first.

    def _play_uneaten(self, arrival: PacketArrived) -> None:
        self._effects.append(uneaten(arrival))

    def _play_timer(self, fired: TimerFired) -> None:
        handler, out = self._timers[fired.layer]
        handler(fired.key, out)

    def _play_start(self, started: Started) -> None:
        for layer, out in zip(self.layers, self._outs):
            out.entropy = started.entropy
            out.saved = started.saved.get(layer.name, {})
            layer.start(out)
            self._drain()

    def _play_command(self, commanded: Commanded) -> None:
        for handler, out in self._having("on_command"):
            handler(commanded.command, out)
            self._drain()

    def _play_answer(self, answered: Answered) -> None:
        for handler, out in self._having("on_answer"):
            handler(answered, out)

    def _play_moved(self, moved: Moved) -> None:
        for handler, out in self._having("on_moved"):
            handler(moved, out)

    def _drain(self) -> None:
        queue = self._queue
        while queue:
            handler, item, out = queue.popleft()
            handler(item, out)

    # Who handles what.

    def _out_of(self, layer: Layer) -> Out:
        out = Out()
        out.me, out.members, out.layer = self.me, self.members, layer.name
        out.others = tuple(member for member in self.members if member != self.me)
        out.entropy, out.saved = bytes(32), {}
        out._queue, out.effects, out._flushing = self._queue, self._effects, self._flushing
        out._bottom, out._reroute = self._to_the_network, self._route
        return out

    def _wire_up(self) -> None:
        for place, out in enumerate(self._outs):
            below = list(zip(self.layers, self._outs))[:place][::-1]
            above = list(zip(self.layers, self._outs))[place + 1 :]
            out._requests = _routes(below, "requests", "on_request")
            out._send_is_taken = Send in out._requests
            out._news = _routes(above, "news", "on_news")
            out._delivery = next(((layer.on_delivery, o) for layer, o in above if _has(layer, "on_delivery")), None)
        self._route()

    def _route(self) -> None:
        """Find out who gets which packets; once more when a gate opens."""
        for place, out in enumerate(self._outs):
            out._arrivals = self._arrivals_above(place + 1)
        self._arrivals = self._arrivals_above(0)

    def _arrivals_above(self, lowest: int) -> dict[type, Route]:
        routes: dict[type, Route] = {}
        gate: Route | None = None
        for layer, out in zip(self.layers[lowest:], self._outs[lowest:]):
            entry = (layer.on_arrival, out)
            for packet in layer.packets:
                routes[packet] = gate or entry
            if gate is None and layer.gate and layer.shut:
                gate = entry
        return routes

    def _having(self, handler: str) -> list[Route]:
        return [(getattr(layer, handler), out) for layer, out in zip(self.layers, self._outs) if _has(layer, handler)]

    def _to_the_network(self, request: Any) -> None:
        """What the lowest layer asks for; in a stack that begins higher up, the network takes its place."""
        effects = self._effects
        kind = type(request)
        if kind is Send:
            effects.append(Transmit(request.peer, request.packet))
        elif kind is SendTo:
            effects.append(Transmit(request.peer, request.body))
        elif kind is SendAll:
            for member in self.members:
                if member != self.me:
                    effects.append(Transmit(member, request.body))
        else:
            assert kind is Connect, f"no layer below takes {request!r}"


def _routes(layers: list[tuple[Layer, Out]], table: str, handler: str) -> dict[type, Route]:
    """Who takes what, the nearest first."""
    routes: dict[type, Route] = {}
    for layer, out in layers:
        for kind in getattr(layer, table):
            routes.setdefault(kind, (getattr(layer, handler), out))
    return routes


def _has(layer: Layer, handler: str) -> bool:
    return getattr(type(layer), handler) is not getattr(Layer, handler)

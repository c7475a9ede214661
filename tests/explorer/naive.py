"""An exhaustive search as one would first write it: every step of every peer at any moment, nothing left out.

Peers may all be in the middle of a turn at the same time, states are compared as wholes, and the layers run for every
single step. Slow, and good for one thing: the explorer must come to exactly the same states between turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.explorer.model import Model, SteppedStack
from peer.core.effects import Deliver, Effect, RecordMulticast, Transmit
from peer.core.events import PacketArrived, Started, TimerFired
from peer.core.layer import freeze, thaw
from peer.core.names import message_id

ASK = TimerFired("application", "multicast")

# One peer: its frozen layers, the frozen effects of an open turn (None between turns), its log, what it had delivered
# before each own multicast, and what is under way to it: (source, frozen packet), and copies that may still be made.
Local = tuple[Any, Any, tuple[int, ...], tuple[int, ...], tuple, int]
State = tuple[Local, ...]


class Naive:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.stacks = [model.stack(me) for me in range(model.peers)]
        for stack in self.stacks:
            stack.handle([Started()])

    def states(self) -> set[State]:
        """All states in which nobody is in the middle of a turn."""
        duplicates = self.model.network.duplicates
        begin = tuple((freeze(stack.layers), None, (), (), (), duplicates) for stack in self.stacks)
        seen, waiting = {begin}, [begin]
        while waiting:
            for state in self._next(waiting.pop()):
                if state not in seen:
                    seen.add(state)
                    waiting.append(state)
        return {state for state in seen if all(local[1] is None for local in state)}

    def _next(self, state: State) -> Iterator[State]:
        for me, local in enumerate(state):
            for event, inbox, copies in self._events(local):
                stack = self._wake(me, local)
                stack.feed([event])
                effects = (*(local[1] or ()), *map(freeze, stack.take()))
                yield self._with(state, me, (freeze(stack.layers), effects, *local[2:4], inbox, copies))
            asked = self._wake(me, local).application.asked
            for late in range(local[1] is None, self.model.messages - asked + 1):
                stack = self._wake(me, local)
                stack.application.late = late
                effects = [*map(thaw, local[1] or ()), *stack.sweep()]
                yield self._performed(state, me, (freeze(stack.layers), None, *local[2:]), effects)

    def _events(self, local: Local) -> Iterator[tuple[Any, tuple, int]]:
        inbox, copies = local[4:]
        for place, (source, packet) in enumerate(inbox):
            overtakes = any(other == source for other, _ in inbox[:place])
            if overtakes and self.model.network.keeps_order:
                continue
            event = PacketArrived(source, thaw(packet))
            yield event, inbox[:place] + inbox[place + 1 :], copies
            if copies:
                yield event, inbox, copies - 1
        if thaw(local[0])[1].asked < self.model.messages:
            yield ASK, inbox, copies

    def _wake(self, me: int, local: Local) -> SteppedStack:
        stack = self.model.stack(me)
        stack.feed([Started()])
        stack.take()
        for layer, woken in zip(stack.layers, thaw(local[0])):
            for name in layer.__dataclass_fields__:
                setattr(layer, name, getattr(woken, name))
        return stack

    def _performed(self, state: State, me: int, local: Local, effects: list[Effect]) -> State:
        layers, turn, log, after, inbox, copies = local
        for effect in effects:
            if type(effect) is Deliver:
                block = effect.block
                log += tuple(message_id(block.sender, block.first + each) for each in range(block.count))
            elif type(effect) is RecordMulticast:
                after += (len(log),)
        state = self._with(state, me, (layers, turn, log, after, inbox, copies))
        for effect in effects:
            if type(effect) is Transmit:
                target = state[effect.target]
                inbox = (*target[4], (me, freeze(effect.packet)))
                state = self._with(state, effect.target, (*target[:4], self._in_order(inbox), target[5]))
        return state

    def _in_order(self, inbox: tuple) -> tuple:
        """Only what its order says is told apart: that of each source, or none at all."""
        if self.model.network.keeps_order:
            return tuple(sorted(inbox, key=lambda arrival: arrival[0]))
        return tuple(sorted(inbox, key=repr))

    @staticmethod
    def _with(state: State, me: int, local: Local) -> State:
        return (*state[:me], local, *state[me + 1 :])

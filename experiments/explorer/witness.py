"""The steps that lead to a violation: as data that can be kept, and played again with the layers themselves.

Playing them is also the proof: the search looks most things up, here fresh stacks do all of it once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from experiments.explorer.judging import AT_THE_END, Judge, Violation
from experiments.explorer.model import Model, model_of
from experiments.explorer.player import Events, delivered
from experiments.explorer.state import History
from peer.core.blocks import Block
from peer.core.effects import CancelTimer, Deliver, Effect, RecordMulticast, SetTimer, Transmit
from peer.core.errors import SettingsError
from peer.core.events import Event, Started, TimerFired
from peer.core.layer import Layer
from peer.core.names import PeerId, message_id
from peer.core.trace import plain, unplain
from peer.core.wire import Packet


@dataclass(frozen=True, slots=True)
class Multicast:
    """The application of this peer asks for its next message."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet arrives; over links that keep the order it is the next from its source, whatever that is."""

    peer: PeerId
    source: PeerId
    packet: Any
    copy: bool = False  # it is still under way as well


@dataclass(frozen=True, slots=True)
class Firing:
    """A timer runs out."""

    peer: PeerId
    layer: str
    key: Any


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The turn is over; `late` messages are multicast when the layers have concluded, and before they flush."""

    peer: PeerId
    late: int = 0


Step = Multicast | Arrival | Firing | TurnEnd
STEPS: Mapping[str, type] = {cls.__name__: cls for cls in (Multicast, Arrival, Firing, TurnEnd)}


@dataclass(frozen=True, slots=True)
class Witness:
    """A violation and the steps that lead to it."""

    model: Model
    violation: Violation
    steps: tuple[Step, ...]

    def conversation(self) -> list[str]:
        """What happens, a line a step, and what is wrong with it."""
        stage = Stage(self.model)
        for step in self.steps:
            stage.play(step)
        return [*stage.lines, f"So {self.violation.sentence}: {self.violation.property} does not hold."]

    def as_dict(self) -> dict[str, Any]:
        """The witness as JSON can hold it."""
        model = self.model
        return {
            "ordering": model.ordering,
            "variant": model.variant,
            "options": dict(model.options),
            "link": model.network.name,
            "duplicates": model.network.duplicates,
            "peers": model.peers,
            "messages": model.messages,
            "firings": model.firings,
            "property": self.violation.property,
            "sentence": self.violation.sentence,
            "conversation": self.conversation(),
            "steps": [_step_as_dict(step) for step in self.steps],
        }

    def save(self, folder: Path) -> Path:
        """Keep it in a file of this folder; a file that says something else is not replaced."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"
        model = self.model
        name = "-".join(filter(None, ("counterexample", model.ordering, model.variant, model.network.name)))
        name += f"-{model.peers}x{model.messages}-{self.violation.property}"
        folder.mkdir(parents=True, exist_ok=True)
        path, number = folder / f"{name}.json", 2
        while path.exists() and path.read_text(encoding="utf-8") != text:
            path, number = folder / f"{name}-{number}.json", number + 1
        path.write_text(text, encoding="utf-8")
        return path


def load(path: Path, layer: type[Layer] | None = None) -> Witness:
    """A witness that was kept; `layer` is a test's own, where the violation is one of such a layer."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        model = model_of(
            layer or kept["ordering"],
            kept["variant"],
            kept["link"],
            kept["peers"],
            kept["messages"],
            options=kept["options"],
            duplicates=kept["duplicates"],
            firings=kept["firings"],
        )
        steps = tuple(_step_from_dict(step) for step in kept["steps"])
        return Witness(model, Violation(kept["property"], kept["sentence"]), steps)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"is no counterexample of this lab: {type(error).__name__}, {error}"
        raise SettingsError(problem, file=str(path)) from None


class Stage:
    """Fresh stacks of all peers, the packets under way, and what has happened so far, in words."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.lines: list[str] = []
        self.steps: list[Step] = []  # as they were played
        self.histories = [History()] * model.peers
        self._events = Events()
        self._stacks = [model.stack(me) for me in range(model.peers)]
        self._inboxes = [model.network.empty(model.peers)] * model.peers
        self._begun = [False] * model.peers  # a turn
        self._said: list[list[Effect]] = [[] for _ in self._stacks]  # in this turn so far
        self._timers: list[dict[tuple[str, Any], tuple[bool, int]]] = [{} for _ in self._stacks]  # running, fired
        for me, stack in enumerate(self._stacks):
            stack.feed([Started()])
            self._end_turn(me, [])

    def play(self, step: Step) -> bool:
        """Let this happen, if it can."""
        me = step.peer
        kind = type(step)
        if kind is Multicast:
            if not self._may_ask(me, 1):
                return False
            self._say(step, f"p{me} multicasts {self._own(me, 1)}")
            self._feed(me, TimerFired("application", "multicast"))
        elif kind is Arrival:
            return self._arrive(step)
        elif kind is Firing:
            running, fired = self._timers[me].get((step.layer, step.key), (False, 0))
            if not running or fired == self.model.firings:
                return False
            self._timers[me][step.layer, step.key] = False, fired + 1
            self._say(step, f"p{me}'s timer {step.key!r} of {step.layer} runs out")
            self._feed(me, TimerFired(step.layer, step.key))
        else:
            if not self._may_ask(me, step.late):
                return False
            did = ["ends its turn"] if self._begun[me] else []
            did += [f"multicasts {self._own(me, step.late)}"] if step.late else []
            self._stacks[me].application.late = step.late
            self.steps.append(step)
            self._end_turn(me, did)
        return True

    def at_rest(self) -> bool:
        """Whether nothing can happen any more, and no bound is the reason."""
        waiting = any(arrival for inbox in self._inboxes for arrival in self.model.network.next(inbox))
        running = any(running for timers in self._timers for running, _ in timers.values())
        may_ask = any(self._may_ask(me, 1) for me in range(self.model.peers))
        return not (waiting or running or may_ask or any(self._begun))

    # What happens.

    def _arrive(self, step: Arrival) -> bool:
        me = step.peer
        for number, inbox, copy in self.model.network.next(self._inboxes[me]):
            arrived = self._events.all[number]
            if (arrived.source, copy) == (step.source, step.copy):
                if self.model.network.keeps_order or arrived.packet == step.packet:
                    self._inboxes[me] = inbox
                    copied = ", and is still under way as well" if copy else ""
                    step = replace(step, packet=arrived.packet)
                    self._say(step, f"{self._words(arrived.packet, step.source)} reaches p{me}{copied}")
                    self._feed(me, arrived)
                    return True
        return False

    def _feed(self, me: PeerId, event: Event) -> None:
        self._begun[me] = True
        self._stacks[me].feed([event])
        self._hear(me, self._stacks[me].take())

    def _hear(self, me: PeerId, effects: Sequence[Effect]) -> None:
        """Timers run at once, all else leaves with the end of the turn."""
        self._said[me] += effects
        for effect in effects:
            if type(effect) in (SetTimer, CancelTimer):
                _, fired = self._timers[me].get((effect.layer, effect.key), (False, 0))
                self._timers[me][effect.layer, effect.key] = type(effect) is SetTimer, fired

    def _end_turn(self, me: PeerId, did: list[str]) -> None:
        self._hear(me, self._stacks[me].sweep())
        sent: dict[int, list[PeerId]] = {}  # by the number of the arrival
        got: list[str] = []
        log, after, asked = self.histories[me]
        for effect in self._said[me]:
            if type(effect) is Transmit:
                number = self._events.arrival(me, effect.packet)
                self._inboxes[effect.target] = self.model.network.put(self._inboxes[effect.target], me, (number,))
                sent.setdefault(number, []).append(effect.target)
            elif type(effect) is Deliver:
                messages = delivered(effect.block)
                log += tuple(messages)
                got += map(self.model.message_name, messages)
            elif type(effect) is RecordMulticast:
                after += (len(log),) * effect.count
                asked += effect.count
        self._said[me], self._begun[me] = [], False
        self.histories[me] = History(log, after, asked)
        for targets, numbers in groupby(sent, key=sent.__getitem__):
            packets = [self._words(self._events.all[number].packet) for number in numbers]
            did.append(f"sends {_listed(packets)} to {_listed(f'p{target}' for target in targets)}")
        did += [f"delivers {_listed(got)}"] if got else []
        if did:
            self.lines.append(f"p{me} {_listed(did)}")

    # Words.

    def _say(self, step: Step, line: str) -> None:
        self.steps.append(step)
        self.lines.append(line)

    def _may_ask(self, me: PeerId, count: int) -> bool:
        return self._stacks[me].application.asked + count <= self.model.messages

    def _own(self, me: PeerId, count: int) -> str:
        first = self._stacks[me].application.asked
        return _listed([self.model.message_name(message_id(me, number)) for number in range(first, first + count)])

    def _words(self, packet: Any, source: PeerId | None = None) -> str:
        """A packet in words; where a source is given and the packet does not tell, that too."""
        if type(packet) is Block:
            return _listed([self.model.message_name(ident) for ident in delivered(packet)]) or f"p{packet.sender}'s end"
        shown = ", ".join(f"{each.name} {self._value(getattr(packet, each.name))}" for each in fields(packet))
        return f"{type(packet).__name__}({shown})" + ("" if source is None else f" of p{source}")

    def _value(self, value: Any) -> str:
        if isinstance(value, Packet):
            return self._words(value)
        return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


def violation_of(stage: Stage, name: str) -> Violation | None:
    """Whether what happened on this stage breaks the property of that name."""
    judge = Judge(stage.model, (name,))
    if name not in AT_THE_END:
        return judge.at_any_time(stage.histories)
    return judge.at_the_end(stage.histories) if stage.at_rest() else None


def _listed(items: Iterable[str]) -> str:
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _step_as_dict(step: Step) -> dict[str, Any]:
    return {"step": type(step).__name__, **{each.name: plain(getattr(step, each.name)) for each in fields(step)}}


def _step_from_dict(step: dict[str, Any]) -> Step:
    values = {name: unplain(value) for name, value in step.items() if name != "step"}
    return STEPS[step["step"]](**values)

"""The search: every state that the peers can come to, breadth first, and the shortest way to a broken promise.

A state is one integer, and a turn adds to it: what becomes of the peer that takes it, and of the inboxes that it
sends to. Both are looked up (state.py), so the shipped layers run a few thousand times for millions of states.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiments.explorer.judging import AT_THE_END, PROPERTIES, Judge, Violation, recorded
from experiments.explorer.model import Model, model_of
from experiments.explorer.player import MULTICAST
from experiments.explorer.state import MASK, MOST_SITUATIONS, Choice, Full, History, Space
from experiments.explorer.witness import Arrival, Firing, Multicast, Step, TurnEnd
from experiments.yaml_files import unknown
from peer.core.errors import SettingsError
from peer.core.events import PacketArrived
from peer.core.guarantees import RELIABLE
from peer.core.layer import Layer
from peer.core.names import PeerId

MAX_STATES = 2_000_000
TELL_EVERY = 20_000  # states looked at between two words of progress


@dataclass(frozen=True, slots=True)
class Explored:
    """What a search found. All numbers are the same whenever and wherever it is run."""

    model: Model
    checked: tuple[str, ...]
    exhausted: bool  # every state within the bounds was looked at
    states: int  # in which no peer is in the middle of a turn
    transitions: int  # turns taken from them
    depth: int  # turns, on the shortest way to the farthest state
    stopped: str  # why the search ended before it was exhausted, in words
    bounds: str  # within which everything was searched, in words
    violation: Violation | None = None
    witness: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is."""

    states: int
    depth: int
    waiting: int  # states found and not looked at


def explore(
    ordering: str | type[Layer],
    variant: str | None = None,
    network: str | None = None,
    peers: int = 3,
    messages: int = 1,
    max_states: int = MAX_STATES,
    *,
    check: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    duplicates: int | None = None,
    firings: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> Explored:
    """Search everything that an ordering can do over an ideal network, for a property that it breaks.

    `ordering` is a name or, in tests, a class; `network` is by default the one that gives exactly what the ordering
    needs; `check` names the properties to judge, by default those that the ordering promises. The first that is
    found broken ends the search.
    """
    model = model_of(
        ordering, variant, network, peers, messages, options=options, duplicates=duplicates, firings=firings
    )
    with _no_garbage_collection():
        return Search(model, judged(model, check), max_states, progress).run()


def judged(model: Model, check: Sequence[str] | None) -> tuple[str, ...]:
    """The properties that a search judges: those asked for, or of those promised the ones that can be judged."""
    reliable = RELIABLE in model.network.gives
    for name in check or ():
        if name not in PROPERTIES:
            raise SettingsError(unknown("property", name, PROPERTIES), path="check")
        if name in AT_THE_END and not reliable:
            problem = f"{name} is judged when all has arrived, and {model.network.name} may never arrive"
            raise SettingsError(problem, path="check")
    wanted = model.promised if check is None else check
    return tuple(name for name in PROPERTIES if name in wanted and (reliable or name not in AT_THE_END))


class Search:
    """One search."""

    def __init__(
        self, model: Model, properties: Sequence[str], max_states: int, progress: Callable[[Progress], None] | None
    ) -> None:
        self.model, self.properties, self.max_states, self.progress = model, tuple(properties), max_states, progress
        self.space = Space(model, recorded(properties))
        self.judge = Judge(model, properties)
        self.parents: dict[int, int] = {}  # state -> the one it was first reached from
        self.transitions = self.depth = 0
        self._judged: set[tuple[int, ...]] = set()  # histories

    def run(self) -> Explored:
        """Look at every state, or as many as are allowed, or until a violation is found."""
        try:
            self._look_at_all()
            return self._explored(f"more than {self.max_states} states" if self._full() else "")
        except _Found as found:
            return self._explored("a violation was found", found.violation, found.state)
        except Full:
            return self._explored(f"a peer can be in more than {MOST_SITUATIONS} situations")
        finally:
            self.space.forget()

    def _explored(self, stopped: str, violation: Violation | None = None, state: int | None = None) -> Explored:
        witness = () if state is None else tuple(self._way_to(state))
        return Explored(
            self.model,
            self.properties,
            not stopped,
            len(self.parents),
            self.transitions,
            self.depth,
            stopped,
            self.model.bounds(timers=any(local.timers for peer in self.space.peers for local in peer.locals)),
            violation,
            witness,
        )

    def _look_at_all(self) -> None:
        begin = self.space.begin()
        self.parents[begin] = begin
        level = [begin]
        while level and not self._full():
            found: list[int] = []
            for first in range(0, len(level), TELL_EVERY):
                self._look_at(level[first : first + TELL_EVERY], found)
                if self.progress is not None:
                    waiting = max(0, len(level) - first - TELL_EVERY) + len(found)
                    self.progress(Progress(len(self.parents), self.depth, waiting))
            level = found
            self.depth += bool(found)

    def _look_at(self, states: list[int], found: list[int]) -> None:
        """Take every turn that is possible in each of these states.

        All peers' turns are taken everywhere; a reduction that leaves some of them out would belong here.
        """
        parents, judged, max_states = self.parents, self._judged, self.max_states
        turns_of, peers = self.space.turns, self.space.peers
        shifts, known = [peer.shift for peer in peers], [peer.turns for peer in peers]
        histories = [(peer.history_of, peer.shift) for peer in peers]
        for state in states:
            if len(parents) > max_states:
                return
            situations = [state >> shift & MASK for shift in shifts]
            taken = 0
            for peer, turns, situation in zip(peers, known, situations):
                turns = turns[situation] or turns_of(peer, situation)
                taken += len(turns)
                for change, told, arrivals in turns:
                    after = state + change
                    for target, arriving in arrivals:
                        after += arriving[situations[target]]
                    if after not in parents:
                        parents[after] = state
                        found.append(after)
                        if told:
                            numbers = tuple([history_of[after >> shift & MASK] for history_of, shift in histories])
                            if numbers not in judged:
                                self._judge(after, numbers)
            self.transitions += taken
            if not taken:
                self._judge_the_end(state)

    def _full(self) -> bool:
        return len(self.parents) > self.max_states

    # Judging.

    def _judge(self, state: int, histories: tuple[int, ...]) -> None:
        """Judge these histories, by their numbers, unless it was done."""
        self._judged.add(histories)
        violation = self.judge.at_any_time(self._read(histories))
        if violation is not None:
            raise _Found(state, violation)

    def _read(self, histories: Iterable[int]) -> list[History]:
        return [peer.histories[number] for peer, number in zip(self.space.peers, histories)]

    def _judge_the_end(self, state: int) -> None:
        """Nothing can happen any more; where only a bound keeps a timer from firing that says nothing."""
        peers = list(zip(self.space.peers, self.space.situations(state)))
        if any(peer.cut_short(situation) for peer, situation in peers):
            return
        violation = self.judge.at_the_end(self._read(peer.history_of[situation] for peer, situation in peers))
        if violation is not None:
            raise _Found(state, violation)

    # The way back.

    def _way_to(self, state: int) -> Iterator[Step]:
        way = [state]
        while (before := self.parents[way[-1]]) != way[-1]:
            way.append(before)
        for before, after in pairwise(reversed(way)):
            yield from self._turn_between(before, after)

    def _turn_between(self, before: int, after: int) -> Iterator[Step]:
        situations = self.space.situations(before)
        for peer, situation in zip(self.space.peers, situations):
            for outcome, (change, _, arrivals) in zip(peer.outcomes(situation), self.space.turns(peer, situation)):
                if before + change + sum(arriving[situations[target]] for target, arriving in arrivals) == after:
                    choices, late = peer.way_to(situation, outcome)
                    yield from (self._step(peer.me, choice) for choice in choices)
                    yield TurnEnd(peer.me, late)
                    return
        raise AssertionError("no turn leads there")

    def _step(self, me: PeerId, choice: Choice) -> Step:
        number, _, copy = choice
        event = self.space.events.all[number]
        if number == MULTICAST:
            return Multicast(me)
        if type(event) is PacketArrived:
            return Arrival(me, event.source, event.packet, copy)
        return Firing(me, event.layer, event.key)


class _Found(Exception):
    def __init__(self, state: int, violation: Violation) -> None:
        self.state, self.violation = state, violation


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Millions of objects, and the only circle among them is broken at the end: looking for more would take long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

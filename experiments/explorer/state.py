"""What a peer can do next, found out once: its states, its situations, and all turns that it can take in each.

    local state   all that a peer is: its frozen layers, its log, its timers, and what it has sent in this turn
    situation     a local state between turns, and the inbox: what is under way to this peer
    turn          from one situation to another, and what was sent to whom

The layers run only in `Peer.fed` and `Peer.ended`, once for each local state and event. All else is numbers: local
states and situations are numbered as they are met, each peer's on their own, events for all peers together.

A turn goes on alone. While it lasts nothing leaves the peer, and what others do meanwhile can only add to the inbox;
so whatever a turn takes in may as well be taken in just before its end, and nothing is missed by looking only at
states between turns. And a turn need not go on where ending it changes nothing: what follows may be one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from experiments.explorer.model import Model
from experiments.explorer.network import Inbox
from peer.core.effects import Ask, CancelTimer, Deliver, Effect, RecordMulticast, SetTimer, Transmit
from peer.core.events import Event, PacketArrived, Started, TimerFired
from peer.core.layer import freeze, thaw
from peer.core.names import PeerId, message_id

SITUATION_BITS = 20  # a state of all peers is one integer with so many bits for each
MOST_SITUATIONS = 1 << SITUATION_BITS
MASK = MOST_SITUATIONS - 1

MULTICAST = 0  # the number of the event that lets the application multicast

Sends = tuple[tuple[int, ...], ...]  # by target the numbers of the arrivals there, in order; () for none at all
Outcome = tuple[int, Sends]  # the situation after a turn, and what was sent
Moment = tuple[int, Inbox]  # of a turn: the local state, and what is still under way
Choice = tuple[int, Inbox, bool]  # an event that may happen in a turn, what is under way then, and whether it still is

Ways = dict[Moment, tuple[Moment, Choice] | None]  # how a moment was reached; None: there the turn begins

# What a turn adds to the state of all: for the peer's own situation, and for each target what it gets by its situation.
# Between the two: whether the peer's history becomes another.
Turn = tuple[int, bool, tuple[tuple[PeerId, "Arrivals"], ...]]


class History(NamedTuple):
    """What the properties look at."""

    log: tuple[int, ...] = ()  # ids of messages, as delivered
    after: tuple[int, ...] = ()  # for each own multicast how many deliveries came before, where that matters
    asked: int = 0  # own multicasts


class Timer(NamedTuple):
    """A timer that was set at least once."""

    layer: str
    key: Any
    running: bool
    fired: int


class Local(NamedTuple):
    """A local state."""

    ordering: Any  # frozen
    history: History
    timers: tuple[Timer, ...]
    sends: Sends


class Full(Exception):
    """There are more situations than fit the numbers of the search."""


class Recorded(NamedTuple):
    """Which parts of a history the properties want; what none of them wants would only multiply the states."""

    across: bool  # the order of messages of different senders
    after: bool


class Events:
    """All events of a search, numbered; equal ones have one number."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._numbers: dict[Any, int] = {}
        assert self.number(TimerFired("application", "multicast")) == MULTICAST

    def number(self, event: Event) -> int:
        frozen = freeze(event)
        number = self._numbers.get(frozen)
        if number is None:
            number = self._numbers[frozen] = len(self.all)
            self.all.append(event)
        return number


class Peer:
    """One peer of the search: its real stack, and all that was found out about it."""

    def __init__(self, model: Model, me: PeerId, events: Events, recorded: Recorded) -> None:
        self.model, self.me, self.events, self.recorded = model, me, events, recorded
        self.stack = model.stack(me)
        self.shift = SITUATION_BITS * me
        self._fields = [each.name for each in fields(self.stack.ordering)]
        self._awake = -1  # the local state that the stack is in
        self._locals: dict[Local, int] = {}
        self.locals: list[Local] = []
        self._fed: dict[tuple[int, int], int] = {}
        self._ended: dict[tuple[int, int], tuple[int, Sends, bool]] = {}
        self._situations: dict[tuple[int, Inbox], int] = {}
        self.situations: list[tuple[int, Inbox]] = []
        self.turns: list[list[Turn] | None] = []  # [situation]
        self._histories: dict[History, int] = {}
        self.histories: list[History] = []
        self.history_of: list[int] = []  # [situation]

    # The layers at work.

    def started(self) -> tuple[int, Sends]:
        """The local state in which the peer begins, and what it sends at once."""
        self.stack.feed([Started()])
        begun = self._after(Local(None, History(), (), ()), self.stack.sweep())
        return self._number(begun._replace(sends=())), begun.sends

    def fed(self, local: int, event: int) -> int:
        """The local state once this event is in, the turn not ended."""
        known = self._fed.get((local, event))
        if known is None:
            before = self._wake(local)
            happens = self.events.all[event]
            if type(happens) is TimerFired and event != MULTICAST:
                before = before._replace(timers=_fired(before.timers, happens))
            self.stack.feed([happens])
            known = self._fed[local, event] = self._awake = self._number(self._after(before, self.stack.take()))
        return known

    def ended(self, local: int, late: int) -> tuple[int, Sends, bool]:
        """The local state once the turn has ended, what was sent, and whether all is as if it had not ended yet.

        `late` is how many messages the application multicasts when the layers below have concluded.
        """
        known = self._ended.get((local, late))
        if known is None:
            before = self._wake(local)
            self.stack.application.late = late
            after = self._after(before, self.stack.sweep())
            self._awake = self._number(after._replace(sends=()))
            known = self._ended[local, late] = self._awake, after.sends, after == before
        return known

    def _wake(self, number: int) -> Local:
        local = self.locals[number]
        if number != self._awake:
            ordering = self.stack.ordering
            for name, item in zip(self._fields, local.ordering[1:]):
                setattr(ordering, name, thaw(item))
            self.stack.application.asked = local.history.asked
            self._awake = number
        return local

    def _after(self, before: Local, effects: list[Effect]) -> Local:
        """The local state that the layers are in now, once these effects are on record."""
        log, after, _ = before.history
        timers, sends = before.timers, before.sends
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                sends = sends or ((),) * self.model.peers
                arrival = self.events.number(PacketArrived(self.me, effect.packet))
                target = effect.target
                sends = (*sends[:target], (*sends[target], arrival), *sends[target + 1 :])
            elif kind is Deliver:
                log += delivered(effect.block)
            elif kind is RecordMulticast:
                if self.recorded.after:
                    after += (len(log),) * effect.count
            elif kind is SetTimer or kind is CancelTimer:
                timers = _set(timers, effect, kind is SetTimer)
            else:
                assert kind is not Ask, "an ideal network has no services to be asked"
        if not self.recorded.across and log is not before.history.log:
            log = tuple(sorted(log, key=sender_of))
        history = History(log, after, self.stack.application.asked)
        return Local(freeze(self.stack.ordering), history, timers, sends)

    def _number(self, local: Local) -> int:
        number = self._locals.setdefault(local, len(self.locals))
        if number == len(self.locals):
            self.locals.append(local)
        return number

    # Situations and turns.

    def situation(self, local: int, inbox: Inbox) -> int:
        """The number of a situation."""
        key = local, inbox
        number = self._situations.get(key)
        if number is None:
            number = self._situations[key] = len(self.situations)
            if number == MOST_SITUATIONS:
                raise Full
            self.situations.append(key)
            self.turns.append(None)
            self.history_of.append(self._history(self.locals[local].history))
        return number

    def _history(self, history: History) -> int:
        number = self._histories.setdefault(history, len(self.histories))
        if number == len(self.histories):
            self.histories.append(history)
        return number

    def outcomes(self, situation: int) -> list[Outcome]:
        """All that a turn can come to."""
        return list(dict.fromkeys(outcome for _, _, outcome in self._endings(situation, {})))

    def way_to(self, situation: int, wanted: Outcome) -> tuple[list[Choice], int]:
        """The choices that make a turn come to this, and how many late multicasts end it."""
        ways: Ways = {}
        at, late = next((at, late) for at, late, outcome in self._endings(situation, ways) if outcome == wanted)
        choices = []
        while (way := ways[at]) is not None:
            at, choice = way
            choices.append(choice)
        return choices[::-1], late

    def _endings(self, situation: int, ways: Ways) -> Iterator[tuple[Moment, int, Outcome]]:
        """Where a turn can end, after how many late multicasts, and what it comes to; `ways` learns how it came there.

        All ways to the same moment are equally long, as what is left tells how much was taken in.
        """
        begin = self.situations[situation]
        ways[begin] = None
        waiting = [begin]
        while waiting:
            at = waiting.pop()
            local, inbox = at
            if at is not begin:
                closed, sends, quiet = self.ended(local, 0)
                yield at, 0, (self.situation(closed, inbox), sends)
                if quiet:
                    continue
            for late in range(1, self._left(local) + 1):
                closed, sends, _ = self.ended(local, late)
                yield at, late, (self.situation(closed, inbox), sends)
            for choice in self.choices(local, inbox):
                reached = self.fed(local, choice[0]), choice[1]
                if reached not in ways:
                    ways[reached] = at, choice
                    waiting.append(reached)

    def choices(self, local: int, inbox: Inbox) -> Iterable[Choice]:
        """All that may happen next in a turn, but for its end."""
        state = self.locals[local]
        choices = list(self.model.network.next(inbox))
        if state.history.asked < self.model.messages:
            choices.append((MULTICAST, inbox, False))
        for timer in state.timers:
            if timer.running and timer.fired < self.model.firings:
                choices.append((self.events.number(TimerFired(timer.layer, timer.key)), inbox, False))
        return choices

    def _left(self, local: int) -> int:
        """How many messages the application may still multicast."""
        return self.model.messages - self.locals[local].history.asked

    def cut_short(self, situation: int) -> bool:
        """Whether a timer is running that would fire but for the bound."""
        return any(timer.running for timer in self.locals[self.situations[situation][0]].timers)


class Space:
    """All peers. A state of all of them is one integer that holds the number of each peer's situation."""

    def __init__(self, model: Model, recorded: Recorded) -> None:
        self.model = model
        self.events = Events()
        self.peers = [Peer(model, me, self.events, recorded) for me in range(model.peers)]
        self._arrivals: dict[tuple, Arrivals] = {}

    def begin(self) -> int:
        """The state in which all have started and nothing has arrived."""
        network = self.model.network
        started = [peer.started() for peer in self.peers]
        inboxes = [network.empty(self.model.peers)] * self.model.peers
        for source, (_, sends) in enumerate(started):
            for target, arrivals in enumerate(sends):
                inboxes[target] = network.put(inboxes[target], source, arrivals)
        return self.state([peer.situation(local, inbox) for peer, (local, _), inbox in zip(self.peers, started, inboxes)])

    def state(self, situations: Sequence[int]) -> int:
        """The state in which the peers are in these situations."""
        return sum(situation << peer.shift for peer, situation in zip(self.peers, situations))

    def situations(self, state: int) -> list[int]:
        """The peers' situations in a state."""
        return [state >> peer.shift & MASK for peer in self.peers]

    def turns(self, peer: Peer, situation: int) -> list[Turn]:
        """All turns that a peer can take in this situation."""
        known = peer.turns[situation]
        if known is None:
            known = peer.turns[situation] = [self._turn(peer, situation, *each) for each in peer.outcomes(situation)]
        return known

    def _turn(self, peer: Peer, before: int, after: int, sends: Sends) -> Turn:
        told = peer.history_of[before] != peer.history_of[after]
        arrivals = [(target, self._arriving(peer.me, target, sent)) for target, sent in enumerate(sends) if sent]
        return after - before << peer.shift, told, tuple(arrivals)

    def _arriving(self, source: PeerId, target: PeerId, sent: tuple[int, ...]) -> Arrivals:
        known = self._arrivals.get((source, target, sent))
        if known is None:
            known = Arrivals(self.peers[target], source, sent)
            self._arrivals[source, target, sent] = known
        return known


class Arrivals(dict[int, int]):
    """By a peer's situation: what is to be added to a state when `source` sends it these packets."""

    __slots__ = ("peer", "source", "sent")

    def __init__(self, peer: Peer, source: PeerId, sent: tuple[int, ...]) -> None:
        self.peer, self.source, self.sent = peer, source, sent

    def __missing__(self, situation: int) -> int:
        peer = self.peer
        local, inbox = peer.situations[situation]
        reached = peer.situation(local, peer.model.network.put(inbox, self.source, self.sent))
        change = self[situation] = reached - situation << peer.shift
        return change


def delivered(block: Any) -> tuple[int, ...]:
    """The ids of a block's messages."""
    return tuple(message_id(block.sender, number) for number in range(block.first, block.first + block.count))


def sender_of(ident: int) -> PeerId:
    """Who multicast a message."""
    return ident >> 32


def _fired(timers: tuple[Timer, ...], event: TimerFired) -> tuple[Timer, ...]:
    return tuple(
        each._replace(running=False, fired=each.fired + 1) if (each.layer, each.key) == (event.layer, event.key) else each
        for each in timers
    )


def _set(timers: tuple[Timer, ...], effect: SetTimer | CancelTimer, running: bool) -> tuple[Timer, ...]:
    """The same timers, of which one runs, or does so no more."""
    known = {(each.layer, each.key): each for each in timers}
    name = effect.layer, effect.key
    known[name] = known.get(name, Timer(*name, running, 0))._replace(running=running)
    return tuple(known[name] for name in sorted(known, key=repr))

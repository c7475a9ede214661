"""What the peers can do next: their situations, and all turns that they can take in each.

    local state   all that a peer is: the state of its layers, its history, its timers, what it has sent in this turn
    situation     a local state between turns, and the inbox: what is under way to this peer
    turn          from one situation to another, and what was sent to whom
    state         of all peers: one integer that holds the number of each one's situation

All of them are numbered as they are met, and what a turn does is found out once.

A turn goes on alone. While it lasts nothing leaves the peer, and what others do meanwhile can only add to the inbox;
so what a turn takes in may as well be taken in just before it ends, and nothing is missed where only states between
turns are looked at. And a turn need not go on where ending it changes nothing: what follows may be one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiments.explorer.model import Model
from experiments.explorer.network import Inbox
from experiments.explorer.player import MULTICAST, OWN, SILENCE, Events, Player, Said
from peer.core.effects import SetTimer
from peer.core.names import PeerId

SITUATION_BITS = 20
MOST_SITUATIONS = 1 << SITUATION_BITS
MASK = MOST_SITUATIONS - 1

Sends = tuple[tuple[int, ...], ...]  # by target the numbers of the arrivals there, in order; () for none at all
Outcome = tuple[int, Sends]  # of a turn: the situation then, and what was sent
Moment = tuple[int, Inbox]  # of a turn: the local state, and what is still under way
Choice = tuple[int, Inbox, bool]  # an event that may be next in a turn, what is under way then, and if it still is
Ways = dict[Moment, tuple[Moment, Choice] | None]  # how a moment was reached; None: there the turn began

# What a turn adds to a state for the peer itself, whether its history becomes another, and by target what is added
# there, which depends on the situation of the target.
Turn = tuple[int, bool, tuple[tuple[PeerId, "Arrivals"], ...]]


class History(NamedTuple):
    """What the properties look at."""

    log: tuple[int, ...] = ()  # ids of messages, as delivered
    after: tuple[int, ...] = ()  # for each own multicast how many deliveries came before, where that matters
    asked: int = 0  # own multicasts


class Recorded(NamedTuple):
    """Which parts of a history some property looks at; what none does would only multiply the states."""

    across: bool = True  # the order of messages of different senders
    after: bool = True


class Timer(NamedTuple):
    """A timer that was set at least once."""

    layer: str
    key: Any
    running: bool
    fired: int


class Local(NamedTuple):
    """A local state; `layers` is the number of their state."""

    layers: int
    history: History
    timers: tuple[Timer, ...]
    sends: Sends


class Full(Exception):
    """There are more situations than a state has room for."""


class Peer:
    """One peer of the search, and all that was found out about it."""

    def __init__(self, model: Model, me: PeerId, events: Events, recorded: Recorded) -> None:
        self.model, self.me, self.events, self.recorded = model, me, events, recorded
        self.player = Player(model, me, events)
        self.shift = SITUATION_BITS * me
        self.locals: list[Local] = []
        self._locals: dict[Local, int] = {}
        self._fed: dict[tuple[int, int], int] = {}
        self._ended: dict[tuple[int, int], tuple[int, Sends, bool]] = {}
        self.situations: list[Moment] = []
        self._situations: dict[Moment, int] = {}
        self.turns: list[list[Turn] | None] = []  # [situation], None: not found out yet
        self.histories: list[History] = []
        self._histories: dict[History, int] = {}
        self.history_of: list[int] = []  # [situation]

    # Local states.

    def start(self) -> tuple[int, Sends]:
        """The local state in which the peer begins, and what it sends at once."""
        begun = self._told(Local(0, History(), (), ()), *self.player.start())
        return self._local(begun._replace(sends=())), begun.sends

    def fed(self, local: int, event: int) -> int:
        """The local state once this event is in and the turn has not ended."""
        known = self._fed.get((local, event))
        if known is None:
            before = self.locals[local]
            if event != MULTICAST and any(timer.running for timer in before.timers):
                before = before._replace(timers=_fired(before.timers, self.events.all[event]))
            known = self._local(self._told(before, *self.player.feed(before.layers, event)))
            self._fed[local, event] = known
        return known

    def ended(self, local: int, late: int) -> tuple[int, Sends, bool]:
        """The local state once the turn has ended, what it sent, and whether its end changed nothing."""
        known = self._ended.get((local, late))
        if known is None:
            before = self.locals[local]
            after = self._told(before, *self.player.sweep(before.layers, late))
            known = self._local(after._replace(sends=())), after.sends, after == before
            self._ended[local, late] = known
        return known

    def _told(self, before: Local, layers: int, said: Said) -> Local:
        """The local state when the layers have come to that state and said that."""
        _, history, timers, sends = before
        if said is not SILENCE:
            if said.sends:
                by_target = [list(each) for each in sends or ((),) * self.model.peers]
                for target, arrival in said.sends:
                    by_target[target].append(arrival)
                sends = tuple(map(tuple, by_target))
            if said.story:
                history = self._went_on(history, said.story)
            for effect in said.timers:
                timers = _set(timers, effect.layer, effect.key, type(effect) is SetTimer)
        return Local(layers, history, timers, sends)

    def _went_on(self, history: History, story: Sequence[int]) -> History:
        log, after = list(history.log), history.after
        asked = history.asked
        for ident in story:
            if ident == OWN:
                asked += 1
                if self.recorded.after:
                    after += (len(log),)
            else:
                log.append(ident)
        if not self.recorded.across:
            log.sort(key=sender_of)
        return History(tuple(log), after, asked)

    def _local(self, local: Local) -> int:
        number = self._locals.setdefault(local, len(self.locals))
        if number == len(self.locals):
            self.locals.append(local)
        return number

    # Situations and turns.

    def situation(self, local: int, inbox: Inbox) -> int:
        """The number of a situation."""
        moment = local, inbox
        number = self._situations.get(moment)
        if number is None:
            number = self._situations[moment] = len(self.situations)
            if number == MOST_SITUATIONS:
                raise Full
            self.situations.append(moment)
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

        All ways to a moment are equally long, as what is left tells how much was taken in.
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
            for late in range(1, self.model.messages - self.locals[local].history.asked + 1):
                closed, sends, _ = self.ended(local, late)
                yield at, late, (self.situation(closed, inbox), sends)
            for choice in self.choices(local, inbox):
                reached = self.fed(local, choice[0]), choice[1]
                if reached not in ways:
                    ways[reached] = at, choice
                    waiting.append(reached)

    def choices(self, local: int, inbox: Inbox) -> list[Choice]:
        """All that may be next in a turn, but for its end."""
        layers, _, timers, _ = self.locals[local]
        choices = list(self.model.network.next(inbox))
        if self.player.asked[layers] < self.model.messages:
            choices.append((MULTICAST, inbox, False))
        for timer in timers:
            if timer.running and timer.fired < self.model.firings:
                choices.append((self.events.firing(timer.layer, timer.key), inbox, False))
        return choices

    def cut_short(self, situation: int) -> bool:
        """Whether a timer is running that would fire but for the bound."""
        return any(timer.running for timer in self.locals[self.situations[situation][0]].timers)


class Space:
    """All peers, and how a turn of one changes the state of all."""

    def __init__(self, model: Model, recorded: Recorded) -> None:
        self.model = model
        self.events = Events()
        self.peers = [Peer(model, me, self.events, recorded) for me in range(model.peers)]
        self._arrivals: dict[tuple, Arrivals] = {}

    def begin(self) -> int:
        """The state in which all have started and nothing has arrived."""
        network = self.model.network
        started = [peer.start() for peer in self.peers]
        inboxes = [network.empty(self.model.peers)] * self.model.peers
        for source, (_, sends) in enumerate(started):
            for target, arrivals in enumerate(sends):
                inboxes[target] = network.put(inboxes[target], source, arrivals)
        situations = [peer.situation(local, inbox) for peer, (local, _), inbox in zip(self.peers, started, inboxes)]
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
            known = self._arrivals[source, target, sent] = Arrivals(self.peers[target], source, sent)
        return known

    def forget(self) -> None:
        """Break the circle of peers, turns and arrivals, so that their memory is free at once."""
        for peer in self.peers:
            peer.turns.clear()


class Arrivals(dict[int, int]):
    """By a peer's situation: what is added to a state when `source` sends it these packets."""

    __slots__ = ("peer", "source", "sent")

    def __init__(self, peer: Peer, source: PeerId, sent: tuple[int, ...]) -> None:
        self.peer, self.source, self.sent = peer, source, sent

    def __missing__(self, situation: int) -> int:
        peer = self.peer
        local, inbox = peer.situations[situation]
        reached = peer.situation(local, peer.model.network.put(inbox, self.source, self.sent))
        change = self[situation] = reached - situation << peer.shift
        return change


def sender_of(ident: int) -> PeerId:
    """Who multicast a message."""
    return ident >> 32


def _fired(timers: tuple[Timer, ...], event: Any) -> tuple[Timer, ...]:
    """The same timers, of which one has fired if this event is its firing."""
    name = getattr(event, "layer", None), getattr(event, "key", None)
    return tuple(
        timer._replace(running=False, fired=timer.fired + 1) if (timer.layer, timer.key) == name else timer
        for timer in timers
    )


def _set(timers: tuple[Timer, ...], layer: str, key: Any, running: bool) -> tuple[Timer, ...]:
    """The same timers, of which one is running now, or no more."""
    known = {(timer.layer, timer.key): timer for timer in timers}
    before = known.get((layer, key), Timer(layer, key, False, 0))
    known[layer, key] = before._replace(running=running)
    return tuple(known[name] for name in sorted(known, key=repr))

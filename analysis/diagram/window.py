"""What is in a window of a run: its lanes, the messages in it, and what of them a diagram is to point at; pure data.

Times are seconds on one time line. Where the peers share a clock the line begins at the earliest release of any of
them; where each has its own, at the release of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.diagram.logs import Log, ident_of, open_logs
from analysis.run import Peer, Run
from comparison_server.evidence import NUMBERS
from peer.core.errors import SettingsError

MOST_MESSAGES = 400  # in one window
A_FEW = 150  # in one that is to be taken in at a glance
MOST_LANES = 16  # unless others were asked for
MOST_EXPANDED = 1 << 18  # deliveries of which all messages are looked at; of more, an even sample
LEAST_S = 1e-6  # that a picture spans, also where all happened at one moment
A_LOOK = 30  # messages that a window holds when nobody says how long it is to be

Ident = tuple[int, int]  # of a message: its sender, its number


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry of a log."""

    peer: int
    position: int
    time_s: float
    again: bool  # it had been delivered there before


@dataclass(frozen=True, slots=True)
class Message:
    """One message: when it was multicast, None where that was not recorded, and its deliveries near the window."""

    sender: int
    number: int
    asked_s: float | None
    deliveries: tuple[Delivery, ...]

    @property
    def ident(self) -> Ident:
        return self.sender, self.number

    @property
    def name(self) -> str:
        return f"{self.sender}:{self.number}"


@dataclass(frozen=True, slots=True)
class Lane:
    """One peer."""

    peer: int
    name: str
    region: str
    begins_s: float | None  # its first sign of life; None: it was never released
    ends_s: float | None  # its last one, of who went down; None: it went on
    why: str  # it went down
    views: tuple[tuple[float, int], ...]  # when it installed a view, and which


@dataclass(frozen=True, slots=True)
class Focus:
    """What a diagram is to show of a violation."""

    property: str
    sentence: str
    messages: tuple[Ident, ...]  # those it is about, as the witness has them
    offending: frozenset[tuple[int, int]]  # deliveries that break it: peer and position
    lacks: tuple[int, ...] = ()  # peers that never delivered what they should have
    notes: Mapping[int, str] = field(default_factory=dict)  # of each peer, in a few words
    between: Ident | None = None  # a message that was due and passed over
    chain: tuple[tuple[int, float], ...] = ()  # peer and time: the way from what was needed to what needed it
    past_s: Mapping[int, float] = field(default_factory=dict)  # up to where each peer lies in the causal past


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a run, as long as it is to be drawn."""

    from_s: float
    to_s: float
    lanes: tuple[Lane, ...]
    messages: tuple[Message, ...]  # in the order in which they appear
    left_out: int  # messages of this time that are not among them
    hidden: tuple[str, ...]  # names of peers that are not among the lanes
    shared_clock: bool
    asked_to_s: float | None = None  # it was to be this long, which is too much for one picture
    focus: Focus | None = None


class Scene:
    """A run with its logs open, and the peers that are to be lanes."""

    def __init__(self, run: Run, peers: Sequence[str] | None = None, first: Sequence[int] = ()) -> None:
        self.run = run
        self.logs: Mapping[int, Log] = open_logs(run)
        self.peers = chosen(run, peers) if peers is not None else _most_wanted(run, first)
        self.shown = [self.logs[peer.number] for peer in self.peers if peer.number in self.logs]

    @property
    def span(self) -> tuple[float, float]:
        """When the first of these peers first did anything, and when the last last did."""
        begins = [log.begins_s() for log in self.shown if log.begins_s() is not None]
        ends = [log.ends_s() for log in self.shown if log.ends_s() is not None]
        if not begins:
            raise SettingsError("none of these peers multicast or delivered anything", file=str(self.run.folder))
        return min(begins), max(ends)

    def busiest(self, from_s: float, to_s: float) -> tuple[Log, int, int]:
        """The log with most deliveries in this time, and their positions."""
        low, high, number = max(
            ((*log.between(from_s, to_s), -log.peer.number) for log in self.shown), key=lambda each: each[1] - each[0]
        )
        return self.logs[-number], low, high

    def cut(
        self,
        from_s: float,
        to_s: float,
        *,
        keep: Sequence[int] = (),
        glance: bool = False,
        asked_to_s: float | None = None,
        focus: Focus | None = None,
    ) -> Window:
        """What happened in this time: the messages to keep and the first of the others; at a glance an even sample."""
        candidates, count = self._candidates(from_s, to_s)
        kept = set(keep)
        others = [ident for ident in candidates if ident not in kept]
        room = max(0, (A_FEW if glance else MOST_MESSAGES) - len(kept))
        drawn = others[:room]
        if glance and len(others) > room:
            drawn = [others[place] for place in np.linspace(0, len(others) - 1, room).astype(int)]
        left_out = max(0, count - len(kept.intersection(candidates)) - len(drawn))
        messages = self._messages([*keep, *drawn], from_s, to_s)
        return Window(
            from_s, max(to_s, from_s + LEAST_S), tuple(map(self._lane, self.peers)), messages, left_out,
            tuple(peer.name for peer in self.run.peers if peer not in self.peers),
            self.run.shared_clock, asked_to_s, focus,
        )  # fmt: skip

    def _candidates(self, from_s: float, to_s: float) -> tuple[list[int], int]:
        """Messages of this time in the order in which they appear, and how many there are at least."""
        spans = [log.between(from_s, to_s) for log in self.shown]
        if sum(high - low for low, high in spans) > MOST_EXPANDED:
            log, low, high = self.busiest(from_s, to_s)
            sample = np.linspace(low, high - 1, MOST_MESSAGES).astype(int)
            return [ident for at in sample if (ident := log.at(int(at))) is not None], high - low
        parts = [log.part(low, high) for log, (low, high) in zip(self.shown, spans)]
        asked = [log.asked_between(from_s, to_s, MOST_EXPANDED) for log in self.shown]
        ids = np.concatenate([part.ids for part in parts] + [ids for ids, _ in asked])
        times_s = np.concatenate([part.times_s for part in parts] + [times for _, times in asked])
        ids = ids[np.argsort(times_s, kind="stable")]
        firsts = np.sort(np.unique(ids, return_index=True)[1])
        return ids[firsts].tolist(), len(firsts)

    def _messages(self, idents: Sequence[int], from_s: float, to_s: float) -> tuple[Message, ...]:
        wanted = np.unique(np.array(idents, np.uint64))
        deliveries: dict[int, list[Delivery]] = {int(ident): [] for ident in wanted}
        for log in self.shown:
            low, high = log.between(from_s, to_s)
            found: set[int] = set()
            for part in log.among(wanted, low, high + 4 * MOST_MESSAGES):  # a line may leave the window on the right
                for ident, position, time_s in zip(part.ids.tolist(), part.positions.tolist(), part.times_s.tolist()):
                    deliveries[ident].append(Delivery(log.peer.number, position, time_s, ident in found))
                    found.add(ident)
        messages = []
        for ident, each in deliveries.items():
            sender, number = divmod(ident, NUMBERS)
            asked = self.logs[sender].asked(number) if sender in self.logs else None
            messages.append(Message(sender, number, None if asked is None else asked.time_s, tuple(each)))
        return tuple(sorted(messages, key=_appears))

    def _lane(self, peer: Peer) -> Lane:
        log = self.logs.get(peer.number)
        why = why_down(self.run, peer.number)
        begins_s, ends_s = (None, None) if log is None else (log.begins_s(), log.ends_s())
        views = () if log is None else tuple(log.views)
        return Lane(peer.number, peer.name, peer.region, begins_s, ends_s if why else None, why, views)


def window(run: Run, from_s: float, to_s: float, peers: Sequence[str] | None = None) -> Window:
    """What these peers, all by default, did in this time; cut short where that is too much for one picture."""
    if not (math.isfinite(from_s) and math.isfinite(to_s) and from_s < to_s):
        raise SettingsError(f"a window goes from an earlier to a later moment, not from {from_s:g} to {to_s:g} s")
    scene = Scene(run, peers)
    begins_s, ends_s = scene.span
    if to_s < begins_s or ends_s < from_s:
        when = f"the run lasts from {begins_s:.6g} to {ends_s:.6g} s"
        raise SettingsError(f"nothing happened between {from_s:g} and {to_s:g} s; {when}")
    log, low, high = scene.busiest(from_s, to_s)
    if high - low <= MOST_MESSAGES:
        return scene.cut(from_s, to_s)
    cut_s = log.time_s(low + MOST_MESSAGES)
    if cut_s <= from_s:  # so many at one instant
        return scene.cut(from_s, to_s)
    return scene.cut(from_s, cut_s, asked_to_s=to_s)


def stretch(
    run: Run, from_s: float | None = None, to_s: float | None = None, peers: Sequence[str] | None = None
) -> Window:
    """What these peers did in this time: without a beginning from the first moment, without an end a short look."""
    scene = Scene(run, peers)
    begins_s, ends_s = scene.span
    start_s = begins_s if from_s is None else from_s
    if to_s is not None:
        return window(run, start_s, to_s, peers)
    if not math.isfinite(start_s) or start_s > ends_s:
        when = f"the run lasts from {begins_s:.6g} to {ends_s:.6g} s"
        raise SettingsError(f"nothing happened after {start_s:g} s; {when}")
    return scene.cut(*_a_look(scene, start_s))


def samples(run: Run, count: int) -> list[Window]:
    """Short windows, evenly spread over the run."""
    scene = Scene(run)
    begins_s, ends_s = scene.span
    log, low, high = scene.busiest(begins_s, ends_s)
    starts = [begins_s + (ends_s - begins_s) * place / max(1, count) for place in range(count)]
    if high > low:
        starts = [log.time_s(low + (high - low) * place // count) for place in range(count)]
    return [scene.cut(*_a_look(scene, start_s), glance=True) for start_s in sorted(set(starts))]


def chosen(run: Run, peers: Sequence[str]) -> tuple[Peer, ...]:
    """The peers of these names or numbers, in the order of their numbers."""
    by_name = {str(peer.number): peer for peer in run.peers} | {peer.name: peer for peer in run.peers}
    for name in peers:
        if name not in by_name:
            known = ", ".join(peer.name for peer in run.peers)
            raise SettingsError(f"there is no peer {name!r} in this run; there are {known}", path="--peers")
    if not peers:
        raise SettingsError("names no peer", path="--peers")
    return tuple(sorted({by_name[name] for name in peers}, key=lambda peer: peer.number))


def why_down(run: Run, peer: int) -> str:
    """Why a peer is not up at the end, in a few words; nothing of one that is."""
    sealed = run.peers[peer].sealed
    return str((run.scenario.get("not_up") or {}).get(str(peer), "" if sealed else "log cut"))


def named(ident: Ident | int) -> str:
    """A message as a sentence names it."""
    sender, number = divmod(ident, NUMBERS) if isinstance(ident, int) else ident
    return f"{sender}:{number}"


def whole(ident: Ident) -> int:
    """The id of a message."""
    return ident_of(*ident)


def _a_look(scene: Scene, start_s: float) -> tuple[float, float]:
    """A time from here on that holds a look's messages and lasts long enough for what was sent in it to arrive."""
    _, ends_s = scene.span
    log, low, _ = scene.busiest(start_s, ends_s)
    end_s = log.time_s(min(low + A_LOOK, log.length) - 1) if log.length and low < log.length else ends_s
    lasts_s = (end_s - start_s) or (ends_s - start_s) or 1e-3
    return start_s - 0.02 * lasts_s, start_s + 1.02 * lasts_s


def _most_wanted(run: Run, first: Sequence[int]) -> tuple[Peer, ...]:
    """As many peers as there is room for, these before all others."""
    by_need = sorted(run.peers, key=lambda peer: (peer.number not in first, peer.number))
    return tuple(sorted(by_need[:MOST_LANES], key=lambda peer: peer.number))


def _appears(message: Message) -> tuple[float, int, int]:
    times = [delivery.time_s for delivery in message.deliveries]
    first_s = min(times + ([] if message.asked_s is None else [message.asked_s]), default=math.inf)
    return first_s, message.sender, message.number

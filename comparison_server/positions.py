"""Where each message stands in each log: the index that all properties share.

Messages are numbered densely, sender by sender and in the order of their numbers, so that a table with one entry a
message tells where a log holds it. Logs that are equal in every position share one such table. A place counts first
deliveries only; where a log repeats messages, `raw` leads from a place to the position in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from comparison_server.evidence import NUMBER_BITS, NUMBERS, Evidence, PeerLog, message_ids
from comparison_server.rounds import same

ABSENT = -1
# A message table may be this many times as long as what is known to be in it; beyond, messages are looked up by search.
SPARSEST = 4
MOST_SENDERS = 1 << 16  # a sender beyond is searched for too: such a number comes from a damaged log, not from a group

T = TypeVar("T")


class Order:
    """One sequence of deliveries, as all logs equal to it share it."""

    __slots__ = ("ids", "messages", "place", "raw")

    def __init__(self, ids: np.ndarray, messages: np.ndarray, count: int) -> None:
        places = np.arange(len(messages), dtype=np.int32)
        place = np.full(count, ABSENT, np.int32)
        place[messages] = places
        raw = None
        if np.count_nonzero(place >= 0) < len(messages):  # repeats: only the first delivery of a message counts
            place[messages[::-1]] = places[::-1]
            raw = np.flatnonzero(place[messages] == places)
            messages = messages[raw]
            place[messages] = places[: len(messages)]
        self.ids, self.messages, self.place, self.raw = ids, messages, place, raw

    @property
    def first_ids(self) -> np.ndarray:
        """The ids without repeats."""
        return self.ids if self.raw is None else self.ids[self.raw]

    def position(self, message: int) -> int | None:
        """The position in the log at which a message was first delivered."""
        place = int(self.place[message])
        return None if place < 0 else self.position_at(place)

    def position_at(self, place: int) -> int:
        return place if self.raw is None else int(self.raw[place])

    def places_before(self, position: np.ndarray | int) -> np.ndarray:
        """How many first deliveries stand before a position."""
        if self.raw is None:
            return np.minimum(position, len(self.messages))
        return np.searchsorted(self.raw, position)


@dataclass(slots=True, eq=False)
class Party:
    """Logs with one order, of which the same is expected: `spared` marks messages that they may lack, and do."""

    order: Order
    logs: list[int]
    spared: np.ndarray | None


@dataclass(slots=True, eq=False)
class Multicasts:
    """The messages that one log's process multicast, and how many places and positions its log had by then."""

    messages: np.ndarray
    places: np.ndarray
    positions: np.ndarray


class Positions:
    """The index of one run's evidence."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.logs: Sequence[PeerLog] = evidence.logs
        self.everybody = list(range(len(self.logs)))
        self.up = [number for number, log in enumerate(self.logs) if log.up]
        self._once: dict[Hashable, object] = {}

        distinct: list[np.ndarray] = []
        self.order_of: list[int] = []
        for log in self.logs:
            known = next((number for number, ids in enumerate(distinct) if same(ids, log.ids)), len(distinct))
            if known == len(distinct):
                distinct.append(log.ids)
            self.order_of.append(known)
        sent = [self._sent_ids(log) for log in self.logs]
        self._number_messages(distinct, [ids for ids in sent if ids is not None])
        self.orders = [Order(ids, self.index(ids), self.count) for ids in distinct]
        self.multicasts = [self._multicasts(number, ids) for number, ids in enumerate(sent)]
        self._sender_logs = {log.sender: number for number, log in enumerate(self.logs) if log.sender is not None}

    # Messages

    def _number_messages(self, distinct: list[np.ndarray], sent: list[np.ndarray]) -> None:
        arrays = distinct + sent
        senders = (max((int(ids.max()) for ids in arrays if len(ids)), default=0) >> NUMBER_BITS) + 1
        if senders <= MOST_SENDERS:
            least = np.full(senders, NUMBERS, np.uint64)
            most = np.zeros(senders, np.uint64)
            for ids in arrays:
                of, numbers = (ids >> np.uint64(NUMBER_BITS)).astype(np.intp), ids & np.uint64(NUMBERS - 1)
                np.minimum.at(least, of, numbers)
                np.maximum.at(most, of, numbers)
            self.senders = np.flatnonzero(least < NUMBERS)
            least, spans = least[self.senders], (most - least + np.uint64(1))[self.senders]
            self.count = int(spans.sum())
            if self.count <= SPARSEST * (max(map(len, distinct), default=0) + sum(map(len, sent))) + (1 << 12):
                self._known = None
                self._bases = np.cumsum(spans) - spans
                self._firsts = message_ids(self.senders, least)
                self._shift = np.zeros(senders, np.uint64)
                self._shift[self.senders] = self._firsts - self._bases
                return
        # Numbers with wide gaps, or far too many senders for a table.
        self._known = np.unique(np.concatenate(arrays))
        self.count = len(self._known)
        self.senders, bases = np.unique(self._known >> np.uint64(NUMBER_BITS), return_index=True)
        self._bases = bases.astype(np.uint64)
        self._firsts = self._known[bases]

    def index(self, ids: np.ndarray) -> np.ndarray:
        """The messages that known ids stand for."""
        if self._known is not None:
            return np.searchsorted(self._known, ids)
        return (ids - self._shift[(ids >> np.uint64(NUMBER_BITS)).astype(np.intp)]).astype(np.intp)

    def ident(self, message: int) -> int:
        if self._known is not None:
            return int(self._known[message])
        sender = int(np.searchsorted(self._bases, np.uint64(message), side="right")) - 1
        return int(self._firsts[sender]) + message - int(self._bases[sender])

    def first_of_senders(self) -> list[tuple[int, int]]:
        """For each sender the first of its messages, and the id of that."""
        return [(int(base), int(first)) for base, first in zip(self._bases, self._firsts)]

    def span(self, sender: int | None) -> slice:
        """The messages of a sender; they follow one another in the order of their numbers."""
        where = int(np.searchsorted(self.senders, -1 if sender is None else sender))
        if sender is None or where == len(self.senders) or int(self.senders[where]) != sender:
            return slice(0, 0)
        following = self._bases[where + 1 : where + 2]
        return slice(int(self._bases[where]), int(following[0]) if len(following) else self.count)

    def rest_of_sender(self, message: int) -> slice:
        """A message and all later ones of its sender."""
        return slice(message, self.span(self.ident(message) >> NUMBER_BITS).stop)

    # Logs

    def order(self, log: int) -> Order:
        return self.orders[self.order_of[log]]

    def log_of_sender(self, sender: int) -> int | None:
        return self._sender_logs.get(sender)

    def position_of(self, log: int, ident: int) -> int | None:
        """The position at which a log first holds an id, known or not."""
        there = np.flatnonzero(self.logs[log].ids == np.uint64(ident))
        return int(there[0]) if len(there) else None

    def delivered(self, logs: Sequence[int]) -> np.ndarray:
        """Marks the messages that at least one of these logs holds."""
        union = np.zeros(self.count, bool)
        for number in dict.fromkeys(self.order_of[log] for log in logs):
            union |= self.orders[number].place >= 0
        return union

    def multicast_messages(self) -> np.ndarray:
        """Marks the messages that somebody is recorded to have multicast."""
        union = np.zeros(self.count, bool)
        for multicasts in self.multicasts:
            if multicasts is not None:
                union[multicasts.messages] = True
        return union

    def parties(self, logs: Sequence[int]) -> list[Party]:
        """The logs, those together of which the same is expected and which hold the same."""
        parties: dict[Hashable, Party] = {}
        for number in logs:
            log = self.logs[number]
            key = (self.order_of[number], log.start, None if self.evidence.self_delivery else log.sender)
            if key not in parties:
                parties[key] = Party(self.order(number), [], self.spared(number))
            parties[key].logs.append(number)
        return list(parties.values())

    def spared(self, number: int) -> np.ndarray | None:
        """Marks what a log may lack: own messages where they are not delivered, and what came before it joined."""
        log = self.logs[number]
        if log.start == 0 and self.evidence.self_delivery:
            return None
        spared = np.zeros(self.count, bool)
        if not self.evidence.self_delivery:
            spared[self.span(log.sender)] = True
        for other, begun in enumerate(self.logs):
            if begun.start < log.start:
                spared[self.order(other).messages[: log.start - begun.start]] = True
        spared[self.order(number).messages] = False
        return spared

    def _sent_ids(self, log: PeerLog) -> np.ndarray | None:
        return None if log.sends is None else message_ids(log.sender, log.sends.numbers)

    def _multicasts(self, number: int, ids: np.ndarray | None) -> Multicasts | None:
        if ids is None:
            return None
        messages, after = self.index(ids), self.logs[number].sends.after
        if len(messages) > 1 and (messages[1:] <= messages[:-1]).any():  # of a number asked for twice the first counts
            firsts = np.sort(np.unique(messages, return_index=True)[1])
            messages, after = messages[firsts], after[firsts]
        return Multicasts(messages, self.order(number).places_before(after), after)

    # Words and witnesses

    def name(self, message: int) -> str:
        return self.evidence.message_name(self.ident(message))

    def peer(self, log: int) -> str:
        return f"peer {self.logs[log].label}"

    def peers(self, logs: Sequence[int]) -> str:
        *most, last = (self.logs[log].label for log in logs)
        return f"peers {', '.join(most)} and {last}" if most else f"peer {last}"

    def witness(self, messages: Sequence[int], logs: Sequence[int], **more: object) -> dict:
        return {
            "messages": [self.evidence.message(self.ident(message)) for message in messages],
            "peers": [self.logs[log].label for log in logs],
            "positions": [[self.order(log).position(message) for message in messages] for log in logs],
            **more,
        }

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What two properties both need is computed for the first and kept for the second."""
        if key not in self._once:
            self._once[key] = compute()
        return self._once[key]  # type: ignore[return-value]

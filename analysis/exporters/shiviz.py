"""Export `shiviz`: multicasts and deliveries with vector clocks, as ShiViz draws them (bestchai.bitbucket.io/shiviz).

The first line is the regular expression that ShiViz is to read the rest with, the second one is empty: there is one
execution. Then comes a line an event: its host, its vector clock as JSON, and what happened. A host's own entry counts
its events from 1; an entry that is 0 is left out, as ShiViz wants it.

The clocks come from the trace alone: a multicast knows what its sender delivered before, a delivery also what the
message's multicast knew. What a multicast knows rests on other multicasts, so it is worked out in rounds, each with
what is known so far, until nothing is added: two where messages come in causal order, few more where they do not. It is
held for all messages at once, four bytes a message and peer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.run import Peer, Run
from analysis.tidy import Asked
from comparison_server.evidence import NUMBERS, message_ids

PATTERN = r"(?<host>\S+) (?<clock>\{.*?\}) (?<event>.*)"
AT_ONCE = 1 << 14  # events looked at together
MANY_EVENTS = 20_000  # more than that no browser draws


def events(run: Run) -> Iterator[bytes]:
    """The log, host after host."""
    clocks = Clocks(run)
    hosts = _hosts(run)
    yield f"{PATTERN}\n\n".encode()
    for peer in run.peers:
        for part in clocks.events_of(peer):
            yield "".join(_line(hosts, peer.number, *event) for event in part).encode()


def count(run: Run) -> int:
    """How many events that are."""
    return sum(peer.delivered + peer.multicast for peer in run.peers)


def _hosts(run: Run) -> list[str]:
    """The peers' names without blanks, which would end them."""
    names = [re.sub(r"\s", "_", peer.name) for peer in run.peers]
    return names if len(set(names)) == len(names) else [f"{name}#{number}" for number, name in enumerate(names)]


def _line(hosts: list[str], host: int, clock: list[int], what: str, message: tuple[int, int]) -> str:
    told = {hosts[peer]: time for peer, time in enumerate(clock) if time}
    sender, number = message
    name = hosts[sender] if sender < len(hosts) else sender
    return f"{hosts[host]} {json.dumps(told, separators=(',', ':'), ensure_ascii=False)} {what} {name}:{number}\n"


@dataclass(frozen=True, slots=True)
class _Part:
    """Some events of one peer, one after the other."""

    is_send: np.ndarray
    place: np.ndarray  # of a multicast among all, of a delivery that of its message; -1: nobody recorded it
    messages: np.ndarray  # ids
    times: np.ndarray  # the own entry of the clock


class Clocks:
    """The vector clocks of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.asked = Asked.of([run.log_of(peer).sends for peer in run.peers])
        self.knows = np.zeros((len(self.asked.numbers), len(run.peers)), np.int32)  # [message][peer]: at its multicast
        for peer in run.peers:
            for part in self._parts(peer):
                self.knows[part.place[part.is_send], peer.number] = part.times[part.is_send]
        while any([self._learns(peer) for peer in run.peers]):
            pass

    def events_of(self, peer: Peer) -> Iterator[list[tuple[list[int], str, tuple[int, int]]]]:
        """The clock of each event, what it is, and its message; some at a time."""
        for part, clocks in self._clocks(peer):
            whats = np.where(part.is_send, "multicasts", "delivers").tolist()
            messages = [divmod(ident, NUMBERS) for ident in part.messages.tolist()]
            yield list(zip(clocks.tolist(), whats, messages))

    def _learns(self, peer: Peer) -> bool:
        """Whether this peer's multicasts turn out to know more than was known of them."""
        news = False
        for part, clocks in self._clocks(peer):
            places, found = part.place[part.is_send], clocks[part.is_send]
            if (found > self.knows[places]).any():
                self.knows[places] = np.maximum(self.knows[places], found)
                news = True
        return news

    def _clocks(self, peer: Peer) -> Iterator[tuple[_Part, np.ndarray]]:
        """[event][peer]: its clock, by what is known of the multicasts so far."""
        known = np.zeros(len(self.run.peers), np.int32)
        for part in self._parts(peer):
            clocks = np.where((part.place >= 0)[:, None], self.knows[part.place], 0)
            clocks[:, peer.number] = 0
            np.maximum(clocks[0], known, out=clocks[0])
            np.maximum.accumulate(clocks, axis=0, out=clocks)
            known = clocks[-1].copy()
            clocks[:, peer.number] = part.times
            yield part, clocks

    def _parts(self, peer: Peer) -> Iterator[_Part]:
        """What a peer multicast and delivered, in the order in which it did."""
        log = self.run.log_of(peer)
        first, end = self.asked.bases[peer.number], self.asked.bases[peer.number + 1]
        sends = message_ids(peer.number, self.asked.numbers[first:end])
        after = np.minimum(self.asked.after[first:end], len(log.ids))
        order = np.argsort(after, kind="stable")
        send_at = after[order] + np.arange(len(order))  # among all events: those of deliveries, and the sends before
        events = len(log.ids) + len(sends)
        for low in range(0, events, AT_ONCE):
            times = np.arange(low, min(low + AT_ONCE, events))
            begin, stop = np.searchsorted(send_at, (low, low + len(times)))
            is_send = np.zeros(len(times), bool)
            is_send[send_at[begin:stop] - low] = True
            ids = log.ids[low - begin : low - begin + int((~is_send).sum())]
            messages, place = np.empty(len(times), np.uint64), np.empty(len(times), np.int64)
            messages[is_send], messages[~is_send] = sends[order[begin:stop]], ids
            place[is_send], place[~is_send] = first + order[begin:stop], self.asked.find(ids)
            yield _Part(is_send, place, messages, times + 1)

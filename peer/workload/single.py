"""Workload `single`: one message in the whole group at a time, to measure latency and nothing else.

Everybody derives the same random order of senders from the seed. Whoever is next waits,
once the message before was delivered here, for twice the longest round trip and a random
time of up to as much again, and multicasts. Where the network is real and its round trips
are not known, it waits for a gap as `steady` does. The ENDs come when all is delivered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from peer.core.blocks import Block
from peer.core.errors import SettingsError
from peer.core.guarantees import RELIABLE
from peer.core.layer import Out
from peer.core.names import PeerId
from peer.workload.sender import Sender

MOST_TURNS = 1_000_000  # of all peers together, each a few round trips long


@dataclass(slots=True)
class Single(Sender):
    """Takes turns."""

    name = "single"
    needs = frozenset({RELIABLE})  # one lost message would stop the turns

    turns: tuple[PeerId, ...] = ()  # who multicasts the first message in the group, the second, ...
    pause_s: tuple[float, float] = (0.0, 0.0)
    done: int = 0  # messages delivered here

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Sender:
        members, total = len(run.members), len(run.members) * run.workload.messages
        if total > MOST_TURNS:
            problem = f"expected at most {MOST_TURNS // members:,} of each peer, one after the other, found "
            raise SettingsError(f"{problem}{run.workload.messages:,}", path="workload.messages")
        places = sorted(range(total), key=lambda k: hashlib.blake2b(f"{run.seed} turn {k}".encode()).digest())
        turns = tuple(k % members for k in places)
        if run.delays_s is None:
            low, high = run.workload.gap_ms
            pause_s = (low / 1000, high / 1000)
        else:
            pause_s = (2 * run.longest_round_trip_s(), 4 * run.longest_round_trip_s())
        return super(Single, cls).make(run, me, {"turns": turns, "pause_s": pause_s, **options})

    def on_release(self, out: Out) -> None:
        self._next(out)

    def on_timer(self, key: Any, out: Out) -> None:
        if key == "pause":
            self.ask(1, out)

    def on_delivery(self, block: Block, out: Out) -> None:
        super(Single, self).on_delivery(block, out)
        if block.count:
            self.done += block.count
            if self.released:
                self._next(out)

    def _next(self, out: Out) -> None:
        if self.done >= len(self.turns):  # more, where a member multicasts more than it should
            self.ending = True
            if out.flushing:
                out.set_timer("more", 0.0)
        elif self.turns[self.done] == out.me:
            out.set_timer("pause", *self.pause_s)

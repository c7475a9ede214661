"""Workload `steady`: a message after every random gap, 10-99 ms unless told otherwise.

Its moments are drawn beforehand and wait for nobody (open loop): a peer that was held up asks for what became due
meanwhile at once, and latencies count from when it was due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peer.core.layer import Out
from peer.core.names import PeerId
from peer.workload.sender import Sender


@dataclass(slots=True)
class Steady(Sender):
    """What the classroom program does: multicast at random moments."""

    name = "steady"

    gap_s: tuple[float, float] = (0.010, 0.099)

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Sender:
        low, high = run.workload.gap_ms
        return super(Steady, cls).make(run, me, {"gap_s": (low / 1000, high / 1000), **options})

    def on_release(self, out: Out) -> None:
        self._next(out)

    def on_timer(self, key: Any, out: Out) -> None:
        if key == "gap":
            self.ask(1, out)
            self._next(out)

    def _next(self, out: Out) -> None:
        if self.asked < self.messages:
            out.set_timer("gap", *self.gap_s, paced=True)
        else:
            self.ending = True

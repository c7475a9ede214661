"""Workload `burst`: as fast as the window lets."""

from __future__ import annotations

from dataclasses import dataclass

from peer.core.layer import Out
from peer.workload.sender import Sender


@dataclass(slots=True)
class Burst(Sender):
    """Asks for a block's worth of messages whenever a block may leave."""

    name = "burst"

    def on_release(self, out: Out) -> None:
        pass

    def on_flush(self, out: Out) -> None:
        if self.released and not self.ending:
            wanted = min(self.room() * self.per_block(), self.messages - self.asked)
            if wanted > 0:
                self.ask(wanted, out)
            self.ending = self.asked == self.messages
        super(Burst, self).on_flush(out)

    def wants_to_send(self) -> bool:
        return self.released and not self.ended

"""What an emulated network does to the datagrams of one ordered pair: delay, jitter, loss, duplication, reordering.

The simulator asks it when a datagram is sent, a real peer when one is received; both
get the same answers for the same seed and the same count of datagrams.
"""

from __future__ import annotations

from peer.core.names import PeerId
from peer.core.settings import RunSettings
from peer.drivers.chance import stream

LONGEST_HOLD = 3.0  # a reordered datagram is held back by up to so many round trips


class PairModel:
    """The fate of every datagram from one peer to another, one after the other."""

    __slots__ = (
        "delay_s", "jitter_s", "hold_s", "loss", "duplicate", "reorder",
        "lost", "doubled", "held", "_draw", "_sure",
    )  # fmt: skip

    def __init__(self, run: RunSettings, source: PeerId, target: PeerId) -> None:
        network = run.network
        self.delay_s = run.delays_s[source][target]
        self.loss, self.duplicate, self.reorder = network.loss, network.duplicate, network.reorder
        self.jitter_s = network.jitter_ms / 1000
        self.hold_s = LONGEST_HOLD * (self.delay_s + run.delays_s[target][source])
        self.lost = self.doubled = self.held = 0
        self._draw = stream(run.seed, "network", source, target).random
        calm = not (self.loss or self.duplicate or self.reorder or self.jitter_s)
        self._sure = (self.delay_s,) if calm else None

    def fates(self) -> tuple[float, ...]:
        """The delays of the copies of the next datagram that arrive: none, one or two."""
        if self._sure is not None:
            return self._sure
        draw = self._draw
        if self.loss and draw() < self.loss:
            self.lost += 1
            return ()
        if self.duplicate and draw() < self.duplicate:
            self.doubled += 1
            return (self._delay(), self._delay())
        return (self._delay(),)

    def _delay(self) -> float:
        delay_s = self.delay_s
        if self.jitter_s:
            delay_s += self._draw() * self.jitter_s
        if self.reorder and self._draw() < self.reorder:
            self.held += 1
            delay_s += self._draw() * self.hold_s
        return delay_s

"""A network that loses exactly what a test says, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from experiments.simulator.world import SimulatedPeer
from peer.core.blocks import Block
from peer.links.ack_resend import Data
from peer.ordering.fixed_sequencer import Numbered

Such = Callable[[int, int, Any], bool]  # source, target, what is inside


class Losing:
    """Loses a datagram that holds such a packet, the first `times` of them between each pair; counts them."""

    def __init__(self, such: Such, times: int) -> None:
        self.such, self.times = such, times
        self.lost: Counter[tuple[int, int]] = Counter()

    def install(self, monkeypatch: Any) -> Losing:
        """From now on, in every simulated run of this test."""
        send = SimulatedPeer._send_datagram

        def send_or_lose(peer: SimulatedPeer, target: int, packets: list, size: int) -> None:
            pair = (peer.me, target)
            if self.lost[pair] < self.times and any(self.such(*pair, part) for each in packets for part in parts(each)):
                self.lost[pair] += 1
            else:
                send(peer, target, packets, size)

        monkeypatch.setattr(SimulatedPeer, "_send_datagram", send_or_lose)
        return self


def parts(packet: Any) -> Iterator[Any]:
    """A packet, and what is inside it."""
    yield packet
    if type(packet) is Data:
        yield from parts(packet.body)
    elif type(packet) is Numbered:
        yield packet.block


def is_end(part: Any) -> bool:
    """Whether this is the last that its sender has to say."""
    return type(part) is Block and part.count == 0

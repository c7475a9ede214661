"""What the packets were for that one peer sent in a run: how many of each class, and what follows from that."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any


class Traffic:
    """Counts what leaves, of a packet that carries another one both."""

    __slots__ = ("alone", "carried")

    def __init__(self) -> None:
        self.alone: defaultdict[type, int] = defaultdict(int)
        self.carried: defaultdict[type, defaultdict[type, int]] = defaultdict(lambda: defaultdict(int))  # by carrier

    def count(self, packets: Sequence[Any]) -> None:
        """These packets leave for one member."""
        alone, carried = self.alone, self.carried
        for packet in packets:
            kind = type(packet)
            if kind.carries:
                carried[kind][type(packet.body)] += 1
            else:
                alone[kind] += 1

    def measures(self) -> dict[str, Any]:
        """For the operator."""
        seen = Counter(self.alone)
        sent = sum(self.alone.values()) + sum(sum(bodies.values()) for bodies in self.carried.values())
        for carrier, bodies in self.carried.items():
            seen[carrier] += sum(bodies.values())
            seen.update(bodies)
        return {
            "packets_sent": sent,
            "packets": dict(sorted((kind.__name__, count) for kind, count in seen.items())),
            "link_acks": sum(count for kind, count in seen.items() if kind.acknowledges == "link"),
            "link_ack_bytes": sum(count * kind.ack_bytes for kind, count in seen.items()),
            "ordering_acks": sum(count for kind, count in seen.items() if kind.acknowledges == "ordering"),
            "clock_bytes": sum(count * kind.clock_bytes for kind, count in seen.items()),
        }

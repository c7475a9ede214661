"""What happened: the events that go into a stack. Never changed once made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.names import PeerId


@dataclass(slots=True)
class Started:
    """The stack begins: what it saved in an earlier life, 256 fresh bits, and what it had delivered."""

    saved: dict[str, Any] = field(default_factory=dict)
    entropy: bytes = bytes(32)
    delivered: tuple = ()


@dataclass(slots=True)
class PacketArrived:
    """The network, or the layer below, hands in a packet.

    `rtt_s` (smoothed round trip to the source) and `silence_s` (time since its last
    packet) are measured by the world, and None where there is no time.
    """

    source: PeerId
    packet: Any
    rtt_s: float | None = None
    silence_s: float | None = None


@dataclass(slots=True)
class TimerFired:
    """A timer ran out; `layer` is who set it and `key` under which name."""

    layer: str
    key: Any


@dataclass(slots=True)
class Answered:
    """A service replied to an earlier `Ask`."""

    service: str
    reply: Any


@dataclass(slots=True)
class Commanded:
    """The operator's side wants something; every layer sees it, bottom up."""

    command: Any


@dataclass(slots=True)
class Moved:
    """An authentic datagram of `source` came from an endpoint that is not the known one."""

    source: PeerId
    endpoint: tuple[str, int]


Event = Started | PacketArrived | TimerFired | Answered | Commanded | Moved
EVENTS = (Started, PacketArrived, TimerFired, Answered, Commanded, Moved)

"""What a layer asks of the layers below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peer.core.blocks import Block
from peer.core.names import PeerId


@dataclass(slots=True)
class Connect:
    """Make a ready pair with this member (overlay to connection)."""

    peer: PeerId


@dataclass(slots=True)
class Send:
    """Carry one datagram to a member, unreliably (link to overlay)."""

    peer: PeerId
    packet: Any


@dataclass(slots=True)
class SendTo:
    """Hand this body to one member's stack (anyone to link)."""

    peer: PeerId
    body: Any


@dataclass(slots=True)
class SendAll:
    """Hand this body to every other member's stack.

    `own` marks a block of this peer's own application: the link says by `Settled`
    when every member holds it, which is what opens the workload's window.
    """

    body: Any
    own: bool = False


@dataclass(slots=True)
class MulticastBlock:
    """Multicast these messages of this peer (workload to ordering); count 0 is the END after `first` messages."""

    first: int
    count: int
    size: int
    body: bytes

    def block(self, sender: PeerId, stamp: int) -> Block:
        """The block that carries them."""
        return Block(sender, self.first, self.count, self.size, stamp, self.body)

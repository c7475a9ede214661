"""What a layer tells the layers above it, beside packets and deliveries.

News that no layer eats leaves through the top of the stack as a `Report` and
reaches the session.
"""

from __future__ import annotations

from dataclasses import dataclass

from peer.core.names import PeerId


@dataclass(slots=True)
class Located:
    """Discovery knows where this member is."""

    peer: PeerId


@dataclass(slots=True)
class PairReady:
    """This peer and that member have confirmed each other."""

    peer: PeerId


@dataclass(slots=True)
class PairRefused:
    """That member was told another run than this peer."""

    peer: PeerId
    sentence: str


@dataclass(slots=True)
class GroupReady:
    """Every member can be reached."""


@dataclass(slots=True)
class Settled:
    """So many more of this peer's own blocks need nothing more from the link."""

    blocks: int


@dataclass(slots=True)
class Drained:
    """Every member's END was delivered here, and all that was multicast before it."""

    delivered: int


@dataclass(slots=True)
class Overfull:
    """A layer would have to keep more than honest members can make it keep: the run cannot go on."""

    sentence: str


NEWS = (Located, PairReady, PairRefused, GroupReady, Settled, Drained, Overfull)

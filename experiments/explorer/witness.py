"""The steps that lead to a violation: as data that can be kept and played again, and as a conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from peer.core.blocks import Block
from peer.core.names import PeerId
from peer.core.trace import plain, unplain


@dataclass(frozen=True, slots=True)
class Multicast:
    """The application of this peer asks for its next message."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet arrives; over links that keep the order, whatever is next from this source."""

    peer: PeerId
    source: PeerId
    packet: Any
    copy: bool = False  # and is still under way as well


@dataclass(frozen=True, slots=True)
class Firing:
    """A timer runs out."""

    peer: PeerId
    layer: str
    key: Any


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The turn is over; `late` messages are asked for once the layers have concluded, before they send what they owe."""

    peer: PeerId
    late: int = 0


Step = Multicast | Arrival | Firing | TurnEnd
STEPS: dict[str, type] = {cls.__name__: cls for cls in (Multicast, Arrival, Firing, TurnEnd)}

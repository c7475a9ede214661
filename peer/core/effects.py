"""What a peer asks of its world: the effects that come out of a stack, performed in the order given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.names import PeerId


@dataclass(slots=True)
class Transmit:
    """Put a packet on the network towards a member, or an endpoint (discovery only)."""

    target: PeerId | tuple[str, int] | str
    packet: Any


@dataclass(slots=True)
class Locate:
    """From now on, packets for `peer` go to this endpoint."""

    peer: PeerId
    endpoint: tuple[str, int]


@dataclass(slots=True)
class Ask:
    """Ask a service something; its reply comes back as `Answered`."""

    service: str
    question: Any


@dataclass(slots=True)
class SetTimer:
    """Fire (layer, key) after a time drawn evenly from this range; replaces a timer of that name.

    The time counts from now; `paced`: from when the timer was due that fired in this step, however late it fired.
    """

    layer: str
    key: Any
    earliest_s: float
    latest_s: float
    paced: bool = False


@dataclass(slots=True)
class CancelTimer:
    """That timer shall not fire, not even if it is already due."""

    layer: str
    key: Any


@dataclass(slots=True)
class Save:
    """Make this durable before any later effect of the same step."""

    layer: str
    key: str
    value: Any
    append: bool = False


@dataclass(slots=True)
class RecordMulticast:
    """The application asked for these messages now; on record before anything of them leaves."""

    first: int
    count: int


@dataclass(slots=True)
class Deliver:
    """The application gets the messages of this block."""

    block: Any


@dataclass(slots=True)
class Report:
    """News that no layer ate leaves through the top, for the session."""

    news: Any


@dataclass(slots=True)
class Finish:
    """This stack has nothing left to do."""

    reason: str


@dataclass(slots=True)
class Note:
    """Something worth a line in the trace; nobody acts on it."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


Effect = Transmit | Locate | Ask | SetTimer | CancelTimer | Save | RecordMulticast | Deliver | Report | Finish | Note
EFFECTS = (Transmit, Locate, Ask, SetTimer, CancelTimer, Save, RecordMulticast, Deliver, Report, Finish, Note)

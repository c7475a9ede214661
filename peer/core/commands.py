"""What the comparison server commands and what a session reports, as they travel over control connections.

A stack sees Release, Close and Stop; the session keeps the others to itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from peer.core.errors import WireError
from peer.core.shapes import fits, hints_of, shown

# Commands, to the session.


@dataclass(slots=True)
class Prepare:
    """Build a fresh stack for this run; `me` is the receiver's place among the members.

    `incarnations`: which process belongs to the run, by the name of each member that was there when it began.
    """

    run: str
    me: int
    settings: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)
    incarnations: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Release:
    """Begin to multicast."""

    run: str = ""


@dataclass(slots=True)
class Close:
    """Everybody is done: end the connections in order and seal the logs."""

    run: str = ""


@dataclass(slots=True)
class Describe:
    """Say what you were told about this run: whoever leads now was not there when it began."""

    run: str


@dataclass(slots=True)
class Collected:
    """The logs of this run are safe here."""

    run: str = ""


@dataclass(slots=True)
class Fetch:
    """Send this part of a sealed log."""

    run: str
    file: str
    offset: int
    length: int


REPLACED = "another process has come"  # how the reason of a Stop begins that is not the operator's wish


@dataclass(slots=True)
class Stop:
    """End at once."""

    reason: str = ""


# Reports, from the session.


@dataclass(slots=True)
class Hello:
    """A peer's process introduces itself; `run` is what it is playing, if anything."""

    name: str
    group: str
    incarnation: str
    python: str
    run: str = ""
    phase: str = "idle"
    archive: str = ""  # what the program of a deployed peer is made of, as a digest


@dataclass(slots=True)
class Reached:
    """The whole group can be reached from here."""

    run: str


@dataclass(slots=True)
class Described:
    """What the Prepare of this run said."""

    run: str
    me: int
    settings: dict[str, Any]
    header: dict[str, Any]


@dataclass(slots=True)
class Counts:
    """How far a session is: what it asked for, delivered, sent again, holds, and whom it waits for.

    `latency_s`: what its own latest message took until it was delivered to itself, or has taken by now.
    """

    run: str
    phase: str
    asked: int = 0
    delivered: int = 0
    resent: int = 0
    ended: bool = False
    drained: bool = False
    held: dict[str, int] = field(default_factory=dict)
    waits_for: list[str] = field(default_factory=list)
    latency_s: float | None = None


@dataclass(slots=True)
class Rejected:
    """The session does not do what it was told."""

    run: str
    code: str
    sentence: str


@dataclass(slots=True)
class Leaves:
    """From now on this session follows another comparison server: that of this operator."""

    run: str
    operator: str


@dataclass(slots=True)
class Sealed:
    """The logs are complete on the peer's side: {file name: [size, hash]}."""

    run: str
    files: dict[str, list]
    measures: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Chunk:
    """A part of a log; the bytes travel behind the message, with their hash in it."""

    run: str
    file: str
    offset: int
    hash: str


Command = Prepare | Release | Close | Describe | Collected | Fetch | Stop
ControlReport = Hello | Described | Reached | Counts | Rejected | Leaves | Sealed | Chunk
COMMANDS = (Prepare, Release, Close, Describe, Collected, Fetch, Stop)
REPORTS = (Hello, Described, Reached, Counts, Rejected, Leaves, Sealed, Chunk)

_BY_NAME = {cls.__name__: cls for cls in (*COMMANDS, *REPORTS)}


def to_message(item: Command | ControlReport) -> dict[str, Any]:
    """A command or report as a JSON object."""
    return {"op": type(item).__name__, **{f.name: getattr(item, f.name) for f in fields(item)}}


def from_message(message: Any) -> Command | ControlReport:
    """The command or report that a JSON object is; WireError if it is none."""
    if not isinstance(message, dict):
        raise WireError("control", "not an object")
    cls = _BY_NAME.get(str(message.get("op")))
    if cls is None:
        raise WireError("control", f"unknown op {shown(message.get('op'))}")
    given = {name: value for name, value in message.items() if name != "op"}
    for name, hint in hints_of(cls).items():
        if name in given and not fits(given[name], hint):
            raise WireError("control", f"{cls.__name__}.{name} is {shown(given[name])}")
    try:
        return cls(**given)
    except TypeError as error:
        raise WireError("control", str(error)[:200]) from None

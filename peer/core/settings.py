"""The settings of a scenario and of one run, as frozen dataclasses.

A scenario is what a person writes. A run is one ordering of it with everything
resolved: the complete stack, the matrix of delays, the seed. Peers only ever see
runs; the operator's side makes them (experiments/scenario.py) and checks them there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

from peer.core.blocks import BESIDE_BODY_BYTES
from peer.core.errors import SettingsError
from peer.core.shapes import fits, hints_of, shown


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """One entry of a stack: a layer's name and its options."""

    __pydantic_config__ = {"extra": "forbid"}

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StackSettings:
    """The layers of a stack from bottom to top; None leaves a place empty."""

    __pydantic_config__ = {"extra": "forbid"}

    discovery: LayerSettings | None = LayerSettings("group_manager")
    connection: LayerSettings | None = LayerSettings("ready_ack")
    overlay: LayerSettings | None = LayerSettings("full_mesh")
    hop_link: LayerSettings | None = None
    link: LayerSettings | None = LayerSettings("ack_resend")
    membership: LayerSettings | None = LayerSettings("static")
    election: LayerSettings | None = None
    ordering: LayerSettings = LayerSettings("lamport_all_ack")
    allow_unmet: bool = False


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """Who multicasts what, and when."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: str = "steady"
    messages: int = 100
    gap_ms: tuple[float, float] = (10.0, 99.0)
    size_bytes: int = 64


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the emulated network does to datagrams."""

    __pydantic_config__ = {"extra": "forbid"}

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter_ms: float = 0.0
    broadcast: Literal["region", "all", "none"] = "region"
    datagram_bytes: int = 60_000
    wire: bool = False


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How much a workload may have in flight."""

    __pydantic_config__ = {"extra": "forbid"}

    blocks: int = 64
    bytes: int = 2**20  # of their messages; four members' share of a socket's buffer
    block_bytes: int = 65_507  # a block's messages, or as many as fit a datagram; many small blocks share one


@dataclass(frozen=True, slots=True)
class DeadlineSettings:
    """How long each phase of a run may take; None: as long as `deadline_s` lets."""

    __pydantic_config__ = {"extra": "forbid"}

    handshake_s: float = 30.0
    send_s: float | None = None
    drain_s: float = 60.0
    upload_s: float = 60.0
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One run as every peer is told it; its digest is compared in the handshake."""

    __pydantic_config__ = {"extra": "forbid"}

    members: tuple[str, ...]
    regions: tuple[str, ...]
    stack: StackSettings
    workload: WorkloadSettings
    network: NetworkSettings
    window: WindowSettings
    deadlines: DeadlineSettings
    delays_s: tuple[tuple[float, ...], ...] | None  # one way, [from][to]; None: the network is real
    seed: str
    trace: Literal["deliveries", "everything"] = "deliveries"

    def check(self) -> None:
        """SettingsError unless there is a region for every member, a delay for every pair, and all is within bounds."""
        members = len(self.members)
        if len(self.regions) != members:
            raise SettingsError(f"expected {members}, one a member, found {len(self.regions)}", path="regions")
        if self.delays_s is not None:
            if [len(row) for row in self.delays_s] != [members] * members:
                raise SettingsError(f"expected {members} rows of {members}, one delay a pair", path="delays_s")
            if not all(0 <= delay_s <= LONGEST_DELAY_S for row in self.delays_s for delay_s in row):
                raise SettingsError(f"expected delays of 0 to {LONGEST_DELAY_S:g} seconds", path="delays_s")
        if not 0 < members <= MOST_MEMBERS or len(set(self.members)) < members:
            raise SettingsError(f"expected 1 to {MOST_MEMBERS} different names, found {members}", path="members")
        self._check_bounds()

    def _check_bounds(self) -> None:
        for path, (low, high) in BOUNDS.items():
            group, name = path.split(".")
            value = getattr(getattr(self, group), name)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"expected {low:,} to {high:,}, found {value:,}", path=path)
        shortest, longest = self.workload.gap_ms
        if not 0 <= shortest <= longest <= LONGEST_GAP_MS:
            problem = f"expected [shortest, longest] in ms, found [{shortest:g}, {longest:g}]"
            raise SettingsError(problem, path="workload.gap_ms")

    def digest(self) -> bytes:
        """Eight bytes that two peers share only if they were told the same run."""
        return hashlib.blake2b(to_json(self).encode(), digest_size=8).digest()

    def block_bytes(self) -> int:
        """How many bytes of messages a block may hold, so that it fits one datagram with all its headers."""
        return min(self.window.block_bytes, self.network.datagram_bytes - AROUND_BLOCK_BYTES)

    def most_held_bytes(self) -> int:
        """What a layer may keep of blocks that wait for others: four windows of everybody's are more than it needs."""
        largest = max(self.block_bytes(), self.workload.size_bytes)
        bodies = min(self.window.blocks * largest, self.window.bytes + largest)
        return max(MOST_HELD_BYTES, 4 * len(self.members) * (bodies + self.window.blocks * BESIDE_BODY_BYTES))

    def longest_round_trip_s(self) -> float:
        """The largest round trip that the emulated network has; half a second where it is real."""
        if self.delays_s is None:
            return 0.5
        there = max(max(row) for row in self.delays_s)
        return 2 * (there + self.network.jitter_ms / 1000)


MOST_MEMBERS = 255
AROUND_BLOCK_BYTES = 192  # in a datagram, at most: its header and the link's, and 64 for what an ordering adds
MOST_HELD_BYTES = 256 * 2**20  # or more, where the windows are larger
LONGEST_DELAY_S, LONGEST_GAP_MS = 3600.0, 3_600_000.0
# The lowest and the highest value of each number. Messages are counted in 32 bits on their way.
BOUNDS: dict[str, tuple[float, float]] = {
    "workload.messages": (0, 2**32 - 1),
    "workload.size_bytes": (8, 16 * 2**20),
    "network.loss": (0, 1),
    "network.duplicate": (0, 1),
    "network.reorder": (0, 1),
    "network.jitter_ms": (0, 60_000),
    "network.datagram_bytes": (548, 65_507),
    "window.blocks": (1, 1_000_000),
    "window.bytes": (1, 2**40),
    "window.block_bytes": (1, 16 * 2**20),
    "deadlines.handshake_s": (0.001, 1_000_000),
    "deadlines.send_s": (0.001, 1_000_000),
    "deadlines.drain_s": (0.001, 1_000_000),
    "deadlines.upload_s": (0.001, 1_000_000),
    "deadlines.deadline_s": (0.001, 1_000_000),
}


def to_json(settings: Any) -> str:
    """Settings as canonical JSON: the same settings always give the same text."""
    return json.dumps(settings, default=_fields, sort_keys=True, separators=(",", ":"))


def _fields(settings: Any) -> dict[str, Any]:
    return {f.name: getattr(settings, f.name) for f in fields(settings)}


def from_json(cls: type, value: Any) -> Any:
    """Settings of class `cls` from what `json.loads` gave; a peer's half of the check."""
    return _build(cls, value, "")


def _build(cls: type, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise SettingsError(f"expected an object, found {value!r}", path=path or cls.__name__)
    known = {f.name: f for f in fields(cls)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise SettingsError(f"unknown setting; known are {', '.join(known)}", path=f"{path}.{unknown[0]}".strip("."))
    hints = hints_of(cls)
    found = {name: _value(hints[name], value[name], f"{path}.{name}".strip(".")) for name in value}
    missing = [name for name, f in known.items() if name not in value and f.default is f.default_factory is MISSING]
    if missing:
        raise SettingsError("is missing", path=f"{path}.{missing[0]}".strip("."))
    return cls(**found)


def _value(hint: Any, value: Any, path: str) -> Any:
    options = (hint, *get_args(hint))
    nested = next(filter(is_dataclass, options), None)
    if nested is not None and (value is not None or nested is hint):
        return _build(nested, value, path)
    if not fits(value, hint):
        raise SettingsError(f"found {shown(value)}, which it cannot be", path=path)
    return _tuples(value) if tuple in map(get_origin, options) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value

"""The settings of a scenario and of one run, as frozen dataclasses.

A scenario is what a person writes. A run is one ordering of it with everything
resolved: the complete stack, the matrix of delays, the seed. Peers only ever see
runs; the operator's side makes them (experiments/scenario.py) and checks them there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from peer.core.errors import SettingsError


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
    block_bytes: int = 16_384  # a block's messages; many small blocks share a datagram, a large one fills its own


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
        """SettingsError unless there is a region for every member and a delay for every pair."""
        members = len(self.members)
        if len(self.regions) != members:
            raise SettingsError(f"expected {members}, one a member, found {len(self.regions)}", path="regions")
        if self.delays_s is not None and [len(row) for row in self.delays_s] != [members] * members:
            raise SettingsError(f"expected {members} rows of {members}, one delay a pair", path="delays_s")

    def digest(self) -> bytes:
        """Eight bytes that two peers share only if they were told the same run."""
        return hashlib.blake2b(to_json(self).encode(), digest_size=8).digest()

    def block_bytes(self) -> int:
        """How many bytes of messages a block may hold, so that it fits one datagram with all its headers."""
        return min(self.window.block_bytes, self.network.datagram_bytes - 256)

    def longest_round_trip_s(self) -> float:
        """The largest round trip that the emulated network has; half a second where it is real."""
        if self.delays_s is None:
            return 0.5
        there = max(max(row) for row in self.delays_s)
        return 2 * (there + self.network.jitter_ms / 1000)


def to_json(settings: Any) -> str:
    """Settings as canonical JSON: the same settings always give the same text."""
    return json.dumps(asdict(settings), sort_keys=True, separators=(",", ":"))


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
    return cls(**{name: _value(known[name], value[name], f"{path}.{name}".strip(".")) for name in value})


def _value(spec: Any, value: Any, path: str) -> Any:
    nested = _NESTED_CLASSES.get(str(spec.type).split(" |")[0])
    if nested is not None and (value is not None or "None" not in spec.type):
        return _build(nested, value, path)
    return _tuples(value) if "tuple" in str(spec.type) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


_NESTED_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (LayerSettings, StackSettings, WorkloadSettings, NetworkSettings, WindowSettings, DeadlineSettings)
}

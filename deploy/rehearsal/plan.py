"""What cloud to make: regions and the delays between them, hosts and what is odd about each, what the network does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from peer.core.errors import SettingsError

OPERATOR = "operator"  # stands for the operator's machine wherever a host is named
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
MOST_HOSTS, MOST_REGIONS, MOST_IN_REGION = 255, 200, 200
PEER_PORT = 5700


@dataclass(frozen=True, slots=True)
class Weather:
    """What a network does to frames beside delaying them.

    Jitter is added to the delay, evenly from 0 to this; a reordered frame is held back by up to three round trips;
    `rate_mbit` is shared by all between two regions, and what would wait longer than `queue_ms` for it is dropped;
    so is, in silence, what is larger than `largest_bytes` (IP header included).
    """

    __pydantic_config__ = {"extra": "forbid"}

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter_ms: float = 0.0
    rate_mbit: float | None = None
    queue_ms: float = 200.0
    largest_bytes: int = 65_535


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host, and what is odd about it.

    `nat`: it knows itself by a private address only, all others reach it under a public one. `clock_offset_s`: how far
    its wall clock is from this machine's; `uptime_s`: how much longer than this machine it seems to run. `jump`: the
    host of the same plan from which alone it takes ssh. `noisy`: its .bashrc prints something.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: str
    region: str
    nat: bool = False
    peers: int = 1
    clock_offset_s: float = 0.0
    uptime_s: int = 0
    jump: str | None = None
    python: Literal["usual", "none", "old"] = "usual"
    disk_kb: int = 256 * 1024
    sftp: bool = True
    noisy: bool = False
    max_startups: str = "10:30:100"
    max_sessions: int = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole cloud; `one_way_ms` is [from][to] in the order of `regions`, within a region too."""

    __pydantic_config__ = {"extra": "forbid"}

    hosts: tuple[HostPlan, ...]
    regions: tuple[str, ...] = ("here",)
    one_way_ms: tuple[tuple[float, ...], ...] = ((0.1,),)
    between: Weather = field(default_factory=Weather)  # regions
    inside: Weather = field(default_factory=Weather)  # a region
    broadcast: bool = True  # reaches all of a region, or nobody, as in most clouds
    operator: str = ""  # the region from which the operator works; by default the first
    lab: str = "rehearsal"
    user: str = "lab"
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self)

    @property
    def operator_region(self) -> str:
        return self.operator or self.regions[0]

    def host(self, name: str) -> HostPlan:
        for host in self.hosts:
            if host.name == name:
                return host
        raise SettingsError(f"unknown host {name}; known are {', '.join(host.name for host in self.hosts)}")

    def delay_ms(self, origin: str, target: str) -> float:
        return self.one_way_ms[self.regions.index(origin)][self.regions.index(target)]

    def address(self, name: str) -> str:
        """The address under which all others reach a host."""
        return f"198.18.{self._region_of(name)}.{self._place_of(name)}"

    def private_address(self, name: str) -> str | None:
        """Where a host is behind NAT, the address that it has itself."""
        if name == OPERATOR or not self.host(name).nat:
            return None
        return f"10.18.{self._region_of(name)}.{self._place_of(name)}"

    def _region_of(self, name: str) -> int:
        return self.regions.index(self.operator_region if name == OPERATOR else self.host(name).region)

    def _place_of(self, name: str) -> int:
        if name == OPERATOR:
            return 2
        region = self.host(name).region
        return 10 + [host.name for host in self.hosts if host.region == region].index(name)


def plain(
    hosts: int | Sequence[str],
    regions: Sequence[str] = ("here",),
    one_way_ms: Sequence[Sequence[float]] | float = 0.1,
    **more: object,
) -> Plan:
    """A cloud of so many hosts (h0, h1, ...), or of these, dealt out to the regions.

    A single number is the delay between any two regions; inside one it is 0.1 ms then. Of a single region it is that
    inside it.
    """
    names = [f"h{place}" for place in range(hosts)] if isinstance(hosts, int) else hosts
    dealt = tuple(HostPlan(name, regions[place % len(regions)]) for place, name in enumerate(names))
    if isinstance(one_way_ms, (int, float)):
        inside = one_way_ms if len(regions) == 1 else 0.1
        one_way_ms = [[inside if origin == target else one_way_ms for target in regions] for origin in regions]
    return Plan(dealt, tuple(regions), tuple(tuple(map(float, row)) for row in one_way_ms), **more)


def plan_from(written: dict) -> Plan:
    """The plan that `dataclasses.asdict` made plain."""
    made = dict(written)
    made["hosts"] = tuple(HostPlan(**host) for host in made["hosts"])
    made["regions"] = tuple(made["regions"])
    made["one_way_ms"] = tuple(tuple(row) for row in made["one_way_ms"])
    return Plan(**{**made, "between": Weather(**made["between"]), "inside": Weather(**made["inside"])})


def check_weather(weather: Weather, path: str = "") -> None:
    """Refuses shares that are none, and the like; `path`: where it stands."""
    upper = {"loss": 1, "duplicate": 1, "reorder": 1, "jitter_ms": 60_000, "queue_ms": 60_000, "largest_bytes": 65_535}
    for name, most in upper.items():
        value = getattr(weather, name)
        if not 0 <= value <= most:
            raise SettingsError(f"expected 0 to {most:,}, found {value:g}", path=f"{path}.{name}".lstrip("."))
    if weather.rate_mbit is not None and not weather.rate_mbit > 0:
        raise SettingsError(f"expected more than 0, found {weather.rate_mbit:g}", path=f"{path}.rate_mbit".lstrip("."))


def _check(plan: Plan) -> None:
    check_weather(plan.between, "between")
    check_weather(plan.inside, "inside")
    names = [host.name for host in plan.hosts]
    for place, host in enumerate(plan.hosts):
        where = f"hosts.{host.name}"
        if not NAME.fullmatch(host.name) or host.name == OPERATOR:
            raise SettingsError(f"no name for a host: {host.name!r}", path=f"hosts.{place}")
        if names.count(host.name) > 1:
            raise SettingsError("is there twice", path=where)
        if host.region not in plan.regions:
            known = ", ".join(plan.regions)
            raise SettingsError(f"unknown region {host.region}; known are {known}", path=f"{where}.region")
        if host.jump is not None and (host.jump not in names or host.jump == host.name):
            raise SettingsError(f"expected the name of another host, found {host.jump}", path=f"{where}.jump")
        if host.peers < 1 or host.disk_kb < 4:
            raise SettingsError("expected 1 or more peers and 4 KB or more of disk", path=where)
    if not 1 <= len(plan.hosts) <= MOST_HOSTS:
        raise SettingsError(f"expected 1 to {MOST_HOSTS}, found {len(plan.hosts)}", path="hosts")
    if not 1 <= len(plan.regions) <= MOST_REGIONS or len(set(plan.regions)) < len(plan.regions):
        raise SettingsError(f"expected 1 to {MOST_REGIONS} different ones", path="regions")
    if any([host.region for host in plan.hosts].count(region) > MOST_IN_REGION for region in plan.regions):
        raise SettingsError(f"more than {MOST_IN_REGION} in one region", path="hosts")
    if plan.operator_region not in plan.regions:
        raise SettingsError(f"unknown region {plan.operator_region}", path="operator")
    rows = plan.one_way_ms
    if len(rows) != len(plan.regions) or any(len(row) != len(rows) for row in rows):
        raise SettingsError("expected as many rows and columns as regions", path="one_way_ms")
    if not all(0 <= delay <= 60_000 for row in rows for delay in row):
        raise SettingsError("expected ms from 0 to 60,000", path="one_way_ms")

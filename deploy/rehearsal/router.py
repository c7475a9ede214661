"""Decides where each frame goes, when it arrives, and whether; knows no clock and no device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import permutations
from random import Random

from deploy.rehearsal.frames import (
    ARP,
    EVERYBODY,
    ICMP,
    IP,
    IPV4,
    LEAST,
    SSH,
    TCP,
    UDP,
    Readdress,
    arp_answer,
    mac_of,
    ports_of,
)  # fmt: skip
from deploy.rehearsal.plan import OPERATOR, Plan, Weather, check_weather
from peer.core.errors import SettingsError

ROUTER = mac_of(1)
LONGEST_HOLD = 3.0  # a reordered frame is held back by up to so many round trips
NUMBERS = {"udp": UDP, "tcp": TCP, "icmp": ICMP}
WHAT = ("any", *NUMBERS, "ssh")  # what can be blocked


@dataclass(eq=False)
class Port:
    """The network card of a host, or of the operator."""

    name: str
    region: str
    mac: bytes
    own: bytes  # the address that it has itself,
    public: bytes  # and the one under which others reach it
    ways: dict[bytes, Way] = field(default_factory=dict, repr=False)  # to each address that can be reached from here
    asleep: bool = False  # takes and sends nothing


@dataclass(eq=False)
class Way:
    """From one card to another."""

    origin: Port
    target: Port
    path: Path
    readdress: Readdress | None
    blocked: tuple[str, ...] = ()  # most often nothing
    head: bytes = b""  # of each frame that arrives

    def __post_init__(self) -> None:
        self.head = self.target.mac + ROUTER


@dataclass(eq=False)
class Path:
    """From one region to another: what happens to the frames of all that use it."""

    delay_s: float
    hold_s: float
    weather: Weather
    draw: Random
    free_at: float = 0.0  # when the last frame of a limited rate will have left
    calm: bool = True

    def __post_init__(self) -> None:
        self.set(self.weather)

    def set(self, weather: Weather) -> None:
        self.weather = weather
        self.calm = weather == Weather(queue_ms=weather.queue_ms)

    def arrivals(self, now: float, size: int, counts: Counter[str]) -> tuple[float, ...]:
        """When the copies of a frame arrive that leaves now: none, one or two."""
        if self.calm:
            return (now + self.delay_s,)
        weather, draw = self.weather, self.draw.random
        if size > weather.largest_bytes:
            counts["too large"] += 1
            return ()
        if weather.rate_mbit is not None:
            begin = max(now, self.free_at)
            if begin - now > weather.queue_ms / 1000:
                counts["queue full"] += 1
                return ()
            now = self.free_at = begin + size * 8e-6 / weather.rate_mbit
        if weather.loss and draw() < weather.loss:
            counts["lost"] += 1
            return ()
        if weather.duplicate and draw() < weather.duplicate:
            counts["doubled"] += 1
            return (now + self._delay(counts), now + self._delay(counts))
        return (now + self._delay(counts),)

    def _delay(self, counts: Counter[str]) -> float:
        delay_s = self.delay_s
        if self.weather.jitter_ms:
            delay_s += self.draw.random() * self.weather.jitter_ms / 1000
        if self.weather.reorder and self.draw.random() < self.weather.reorder:
            counts["held back"] += 1
            delay_s += self.draw.random() * self.hold_s
        return delay_s


Arrival = tuple[float, Port, bytes]


class Router:
    """All that lies between the machines of a cloud."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()  # of frames, by what became of them
        self.ports = {name: self._port(number, name) for number, name in enumerate(_names(plan), 2)}
        self.paths = {(a, b): self._path(a, b) for a in plan.regions for b in plan.regions}
        self._blocks: set[tuple[str, str, str]] = set()  # (origin, target, what)
        for port in self.ports.values():
            port.ways = dict(self._ways_from(port))
        self._apply()

    def arrive(self, origin: Port, frame: bytes, now: float) -> Sequence[Arrival]:
        """What comes of a frame that a card has sent: which frames arrive where and when."""
        counts = self.counts
        if frame[12:14] != IPV4 or len(frame) < LEAST:
            answer = arp_answer(frame, ROUTER) if frame[12:14] == ARP else None
            return ((now, origin, answer),) if answer else ()
        way = origin.ways.get(frame[30:34])
        if way is None:
            if frame[:6] == EVERYBODY:
                return self._broadcast(origin, frame, now)
            counts["nobody there"] += 1
            return ()
        if way.blocked and _is_blocked(way, frame):
            counts["blocked"] += 1
            return ()
        due = way.path.arrivals(now, len(frame) - IP, counts)
        if not due:
            return ()
        frame = way.head + (way.readdress(frame) if way.readdress else frame)[12:]
        target = way.target
        if len(due) == 1:
            return ((due[0], target, frame),)
        return [(each, target, frame) for each in due]

    def block(self, source: str, target: str, what: str = "any") -> None:
        """Let no packets of this kind pass from one to another; the other direction is another block."""
        self._blocks.add(self._checked(source, target, what))
        self._apply()

    def unblock(self, source: str, target: str, what: str = "any") -> None:
        self._blocks.discard(self._checked(source, target, what))
        self._apply()

    def partition(self, groups: Iterable[Iterable[str]]) -> None:
        """Cut all between groups, in both directions; whoever is in no group keeps reaching everybody."""
        apart = list(permutations(map(list, groups), 2))
        self._blocks |= {self._checked(a, b, "any") for group, other in apart for a in group for b in other}
        self._apply()

    def heal(self) -> None:
        """Lift every block and partition."""
        self._blocks.clear()
        self._apply()

    def sleep(self, name: str, asleep: bool) -> None:
        """A machine that stands still or is switched off takes and sends nothing."""
        self.port(name).asleep = asleep
        self._apply()

    def set_weather(self, regions: Sequence[str] = (), **changes: object) -> None:
        """Change what happens between regions; of two given ones, in both directions; of one, inside it."""
        for region in regions:
            if region not in self.plan.regions:
                raise SettingsError(f"unknown region {region}; known are {', '.join(self.plan.regions)}")
        for (a, b), path in self.paths.items():
            if {a, b} == set(regions) or (not regions and a != b):
                try:
                    weather = replace(path.weather, **changes)
                    check_weather(weather)
                except TypeError as error:
                    raise SettingsError(f"cannot be set: {error}") from None
                path.set(weather)

    def port(self, name: str) -> Port:
        if name not in self.ports:
            raise SettingsError(f"unknown host {name}; known are {', '.join(self.ports)}")
        return self.ports[name]

    @property
    def blocks(self) -> list[tuple[str, str, str]]:
        return sorted(self._blocks)

    def _broadcast(self, origin: Port, frame: bytes, now: float) -> list[Arrival]:
        """To all in the region; the operator's machine is no part of it."""
        arrivals: list[Arrival] = []
        if not self.plan.broadcast or origin.name == OPERATOR:
            return arrivals
        for name, port in self.ports.items():
            if port is origin or port.region != origin.region or name == OPERATOR:
                continue
            way = origin.ways[port.public]
            if way.blocked and _is_blocked(way, frame):
                self.counts["blocked"] += 1
                continue
            for due in way.path.arrivals(now, len(frame) - IP, self.counts):
                arrivals.append((due, port, EVERYBODY + frame[6:]))
        return arrivals

    def _port(self, number: int, name: str) -> Port:
        plan = self.plan
        public = IPv4Address(plan.address(name)).packed
        private = plan.private_address(name)
        region = plan.operator_region if name == OPERATOR else plan.host(name).region
        return Port(name, region, mac_of(number), IPv4Address(private).packed if private else public, public)

    def _path(self, a: str, b: str) -> Path:
        there, back = self.plan.delay_ms(a, b) / 1000, self.plan.delay_ms(b, a) / 1000
        weather = self.plan.inside if a == b else self.plan.between
        return Path(there, LONGEST_HOLD * (there + back), weather, Random(f"{self.plan.seed} {a} {b}"))

    def _ways_from(self, origin: Port) -> Iterable[tuple[bytes, Way]]:
        for target in self.ports.values():
            path = self.paths[origin.region, target.region]
            translated = Readdress(origin.own, origin.public, target.public, target.own)
            is_plain = origin.own == origin.public and target.own == target.public
            yield target.public, Way(origin, target, path, None if is_plain else translated)
            if origin.own != origin.public and target.own != target.public and origin.region == target.region:
                yield target.own, Way(origin, target, path, None)  # between private addresses of one region

    def _checked(self, source: str, target: str, what: str) -> tuple[str, str, str]:
        if what not in WHAT:
            raise SettingsError(f"cannot block {what}; known are {', '.join(WHAT)}")
        return self.port(source).name, self.port(target).name, what

    def _apply(self) -> None:
        """Tell every way what is blocked on it."""
        for origin in self.ports.values():
            for way in origin.ways.values():
                here = (origin.name, way.target.name)
                blocked = [what for what in WHAT if (*here, what) in self._blocks]
                if origin.asleep or way.target.asleep:
                    blocked.append("any")
                jump = None if way.target.name == OPERATOR else self.plan.host(way.target.name).jump
                if jump not in (None, origin.name):
                    blocked.append("login")
                way.blocked = tuple(blocked)


def _names(plan: Plan) -> list[str]:
    return [OPERATOR, *(host.name for host in plan.hosts)]


def _is_blocked(way: Way, frame: bytes) -> bool:
    protocol = frame[IP + 9]
    for what in way.blocked:
        if what == "any" or NUMBERS.get(what) == protocol:
            return True
        if protocol == TCP and what in ("ssh", "login"):
            source, target = ports_of(frame)
            if target == SSH or (what == "ssh" and source == SSH):
                return True
    return False

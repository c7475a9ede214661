"""Looks, before a run, at whether every host can play its peers and whether UDP gets from every host to every other.

    findings = preflight(remotes, inventory)
    tell(findings)

Every host is checked by a thread of its own. They meet twice: when all listen, so that nobody asks a host that does
not yet, and when all have asked, so that nobody stops listening too early. Who fails, or is late, keeps nobody.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from statistics import median
from threading import Condition
from time import monotonic, time_ns
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.agent.probe import SIZES, TOKEN_BYTES
from deploy.doors import DoorFinding, knock
from deploy.each import on_each
from deploy.host_error import HostError
from deploy.inventory import Host, Inventory
from deploy.remote import Remote

LISTENING_BY, ASKED_BY = 0.5, 0.85  # of the deadline: when hosts that are late are not waited for any longer
CLOCK_TRIES = 5
LITTLE_DISK = 32 << 20  # what the logs of a million deliveries take
USUAL_BYTES = 1372  # of a datagram between machines, where nobody says otherwise
FAR_OFF_S = 1.0  # a wall clock that deserves a word
MOST_TOLD = 5  # of the same kind, in one sentence
MOST_WIDE = 10_000  # columns of a table

Progress = Callable[[str, str], None]  # a host and what it is at; called from any thread


# What is found.


@dataclass(slots=True)
class HostFinding:
    """One host, as far as it could be looked at."""

    host: Host
    trouble: str = ""  # why it could not be, in one sentence that begins with its name
    python: str = ""
    system: str = ""
    disk_free: int | None = None
    clock_offset_s: float | None = None  # of its wall clock from the operator's,
    clock_uncertainty_s: float | None = None  # at most so much more or less
    synchronised: bool | None = None  # None: it does not say
    buffer_asked: int = 0
    buffer_given: int = 0
    ports: dict[int, str] = field(default_factory=dict)  # why a peer cannot listen there, or nothing
    living: tuple[str, ...] = ()  # the lab's own peers that live there, asked where ports are taken
    unresolved: dict[str, str] = field(default_factory=dict)  # hosts whose address it cannot look up, and why
    unreachable: dict[str, str] = field(default_factory=dict)  # hosts to which it cannot even send, and why
    local: tuple[str, ...] = ()  # its own addresses towards others,
    seen_as: tuple[str, ...] = ()  # and those that they see
    ports_change: bool = False  # on the way, so that nobody reaches it unless it has sent before

    @property
    def behind_nat(self) -> bool | None:
        """Whether others see an address that it does not have; None if nobody has seen it."""
        return not set(self.seen_as) <= set(self.local) if self.seen_as else None


@dataclass(slots=True)
class PairFinding:
    """UDP from one host to one port of another."""

    origin: str
    target: str
    port: int
    asked: int = 0  # 0: it was not tried
    arrived: int | None = None  # None: the target did not come to say so
    answered: int = 0
    round_trip_s: float | None = None
    largest: int | None = None  # bytes of a datagram that arrived in one piece
    source: str = ""  # where it came from, as the target sees it

    @property
    def blocked(self) -> bool:
        """Whether it was tried and nothing arrived."""
        return bool(self.asked) and self.arrived == 0 and self.largest is None


@dataclass(slots=True)
class Findings:
    """All of it."""

    lab: str
    hosts: dict[str, HostFinding]
    pairs: list[PairFinding]
    doors: list[DoorFinding] = field(default_factory=list)  # of the control host, where there is one

    @property
    def failures(self) -> list[str]:
        """What keeps a run from going well: a sentence each, which says what to do."""
        return [*(sentence for _, sentence in _failures_of_hosts(self)), *self.failures_between]

    @property
    def failed(self) -> list[str]:
        """Hosts without which a run would have to do,"""
        return list(dict.fromkeys(name for name, _ in _failures_of_hosts(self)))

    @property
    def failures_between(self) -> list[str]:
        """and what keeps the others from each other: they would begin a run, and not end it."""
        return [*_unreachable(self), *_blocked(self), *_too_large(self), *_closed(self)]

    @property
    def warnings(self) -> list[str]:
        """What one should know."""
        return list(_warnings(self))

    def pairs_between(self, origin: str, target: str) -> list[PairFinding]:
        """One for each port of the target."""
        return [pair for pair in self.pairs if (pair.origin, pair.target) == (origin, target)]


# How it is found.


def preflight(remotes: Iterable[Remote], inventory: Inventory, on_progress: Progress | None = None) -> Findings:
    """Check these hosts of an inventory, at once; no longer than its deadline."""
    remotes = list(remotes)
    check = _Check(remotes, inventory, on_progress or (lambda host, phase: None))

    def done(name: str, result: Any) -> None:
        check.meeting.leave(name)
        if isinstance(result, HostError):
            check.findings[name].trouble = str(result)
        check.on_progress(name, "failed" if check.findings[name].trouble else "done")

    reports = on_each(remotes, check.job, inventory.deadline_s, done)
    reports = {name: report for name, report in reports.items() if isinstance(report, dict)}
    reached = [remote for remote in remotes if check.findings[remote.name].python]
    doors = knock(reached, inventory, check.rest_s()) if inventory.control_host else []
    return Findings(inventory.lab, check.findings, _pairs(check, reports), doors)


class _Meeting:
    """Where threads wait for each other: for nobody who has left, and never beyond a given time."""

    def __init__(self, names: Iterable[str]) -> None:
        self.expected = set(names)
        self.brought: dict[str, dict[str, Any]] = defaultdict(dict)
        self.changed = Condition()

    def meet(self, occasion: str, name: str, thing: Any, of: Iterable[str], until: float) -> dict[str, Any]:
        """What those of them who came in time brought along, and whoever else did."""
        awaited = frozenset(of)
        with self.changed:
            brought = self.brought[occasion]
            brought[name] = thing
            self.changed.notify_all()
            self.changed.wait_for(lambda: awaited & self.expected <= brought.keys(), max(0.0, until - monotonic()))
            return dict(brought)

    def leave(self, name: str) -> None:
        with self.changed:
            self.expected.discard(name)
            self.changed.notify_all()


class _Check:
    """One check of all hosts."""

    def __init__(self, remotes: list[Remote], inventory: Inventory, on_progress: Progress) -> None:
        self.on_progress = on_progress
        self.findings = {remote.host.name: HostFinding(remote.host) for remote in remotes}
        self.players = [remote.host for remote in remotes if remote.host.peers]
        self.number = {host.name: place for place, host in enumerate(self.players)}
        self.meeting = _Meeting(self.number)
        self.token = secrets.token_hex(TOKEN_BYTES)
        self.deadline_s, self.began = inventory.deadline_s, monotonic()
        self.asked: dict[str, dict[str, list[int]]] = {}  # by whom, whom, at which ports

    def job(self, remote: Remote) -> dict[str, Any] | None:
        """All that is done with one host; what its probe reports, if it has one."""
        finding = self.findings[remote.host.name]
        self.look(remote, finding)
        if not remote.host.peers:
            return None
        try:
            return self.probe(remote, finding)
        except HostError as error:  # it was looked at all the same
            finding.trouble = str(error)
            return None

    def look(self, remote: Remote, finding: HostFinding) -> None:
        host = remote.host
        self.on_progress(host.name, "looking")
        seen = remote.ask("look", timeout_s=self.rest_s(), bind=host.bind, ports=list(host.ports()))
        finding.python, finding.system, finding.disk_free = seen["python"], seen["system"], seen["disk_free"]
        finding.synchronised = seen["synchronised"]
        finding.buffer_asked, finding.buffer_given = seen["buffer"]["asked"], seen["buffer"]["given"]
        finding.ports = {port: why for port, why in seen["ports"]}
        if "taken" in finding.ports.values():
            peers = remote.ask("status", timeout_s=self.rest_s())["peers"]
            finding.living = tuple(name for name, peer in peers.items() if peer["pid"] is not None)

    def probe(self, remote: Remote, finding: HostFinding) -> dict[str, Any]:
        host, me = remote.host, remote.host.name
        request = {
            "token": self.token,
            "me": self.number[me],
            "bind": host.bind,
            "ports": list(host.ports()),
            "hosts": [each.advertise for each in self.players],
            "silent_s": self.deadline_s,
        }
        with remote.talk("probe", timeout_s=self.rest_s(), limit_s=self.deadline_s, **request) as talk:
            begun = talk.receive(self.rest_s())
            finding.ports |= {port: why for port, why in begun["bound"]}
            finding.unresolved = {self.players[place].name: why for place, why in begun["unresolved"]}
            finding.clock_offset_s, finding.clock_uncertainty_s = _clock_of(talk, self.rest_s)
            listening = [port for port, why in finding.ports.items() if not why]
            self.on_progress(me, "listening")
            late = self.began + LISTENING_BY * self.deadline_s
            others = self.meeting.meet("listening", me, listening, self.number, late)
            asked = {name: ports for name, ports in others.items() if ports and name != me}
            talk.send({"do": "probe", "targets": [[self.number[name], ports] for name, ports in asked.items()]})
            self.on_progress(me, "asking")
            talk.receive(self.rest_s())
            self.asked[me] = asked
            self.meeting.meet("asked", me, True, others, self.began + ASKED_BY * self.deadline_s)
            talk.send({"do": "report"})
            return talk.finish(self.rest_s())

    def rest_s(self) -> float:
        return max(0.1, self.began + self.deadline_s - monotonic())


def _clock_of(talk: Any, rest_s: Callable[[], float]) -> tuple[float, float]:
    """By how much a host's wall clock is ahead of ours, and how far that may be off: half of the quickest exchange."""
    exchanges = []
    for _ in range(CLOCK_TRIES):
        sent, began = time_ns(), monotonic()
        talk.send({"do": "clock"})
        said = talk.receive(rest_s())["wall_ns"]
        round_trip_s = monotonic() - began
        exchanges.append((round_trip_s, (said - sent) / 1e9 - round_trip_s / 2))
    round_trip_s, offset_s = min(exchanges)
    return offset_s, round_trip_s / 2


def _pairs(check: _Check, reports: dict[str, dict[str, Any]]) -> list[PairFinding]:
    """What the reports of all say about each pair; and about each host, what others saw of it."""
    names = [host.name for host in check.players]
    heard = {
        (names[each["from"]], target, each["port"]): each
        for target, report in reports.items()
        for each in report["heard"]
    }
    answered = {
        (origin, names[each["by"]], each["port"]): each
        for origin, report in reports.items()
        for each in report["answered"]
    }
    pairs = []
    for origin in names:
        for target in check.players:
            for port in target.ports() if target.name != origin else ():
                pair = PairFinding(origin, target.name, port)
                pairs.append(pair)
                asked = check.asked.get(origin, {}).get(target.name, ())
                if port in asked and origin in reports and target.name not in check.findings[origin].unresolved:
                    pair.asked = reports[origin]["rounds"]
                if target.name in reports:
                    pair.arrived = 0
                if there := heard.get((origin, target.name, port)):
                    pair.arrived, pair.largest, pair.source = there["count"], there["largest"], there["source"][0]
                if back := answered.get((origin, target.name, port)):
                    pair.answered, pair.round_trip_s = len(back["round_trips_s"]), median(back["round_trips_s"])
    for name, report in reports.items():
        finding = check.findings[name]
        finding.unreachable = {names[place]: why for place, why in report["errors"]}
        finding.local = tuple(sorted({address for _, address in report["local"]}))
        seen = [there["source"] for (origin, _, _), there in heard.items() if origin == name]
        finding.seen_as = tuple(sorted({address for address, _ in seen}))
        finding.ports_change = any(port != report["asked_from"] for _, port in seen)
    return pairs


# What is said of it.


def _failures_of_hosts(findings: Findings) -> Iterator[tuple[str, str]]:
    """Each with the host whose fault it is."""
    for name, finding in findings.hosts.items():
        host = finding.host
        if finding.trouble:
            yield name, finding.trouble
        if finding.disk_free is not None and finding.disk_free < LITTLE_DISK:
            free, least = _bytes(finding.disk_free), _bytes(LITTLE_DISK)
            yield name, f"{name} has {free} of disk left, and logs want at least {least}; make room there"
        by_problem: dict[str, list[int]] = defaultdict(list)
        for port, problem in finding.ports.items():
            if problem:
                by_problem[problem].append(port)
        for problem, ports in by_problem.items():
            if problem != "taken" or not finding.living:
                yield name, _cannot_listen(host, problem, ports)


def _unreachable(findings: Findings) -> Iterator[str]:
    for name, finding in findings.hosts.items():
        for other, why in finding.unresolved.items():
            there = findings.hosts[other].host
            mend = f"give {other} an IPv4 address as `advertise`"
            yield f"{name} cannot look up {there.advertise}, where {other} is to be reached ({why}); {mend}"
        for other, why in finding.unreachable.items():
            address = findings.hosts[other].host.advertise
            yield f"{name} cannot send to {other} at {address}: {why}; mend its routes, or its own firewall"


def _cannot_listen(host: Host, problem: str, ports: list[int]) -> str:
    what = f"UDP {_ports(ports)} of {host.name}"
    if problem == "taken":
        maybe = "peers of another lab, or another program"
        return f"{what} is taken by somebody, maybe {maybe}; end it, or choose another `peer_port`"
    if problem == "no address of this host":
        return f"{host.name} cannot listen on {host.bind}, which is {problem}; `bind: 0.0.0.0` listens on all it has"
    if problem == "not allowed":
        return f"{what} may not be listened on by its user; choose a `peer_port` from 1024 on"
    return f"{what} cannot be listened on: {problem}; choose another `bind` or `peer_port`"


def _blocked(findings: Findings) -> Iterator[str]:
    """A sentence for a target that nobody reaches, and for each pair of the others that do not reach each other."""
    blocked: dict[tuple[str, str], list[int]] = defaultdict(list)
    tried: dict[str, set[str]] = defaultdict(set)
    for pair in findings.pairs:
        if pair.asked and pair.arrived is not None and pair.target not in findings.hosts[pair.origin].unreachable:
            tried[pair.target].add(pair.origin)
            if pair.blocked:
                blocked[pair.origin, pair.target].append(pair.port)
    origins_of = {target: [each for each in findings.hosts if (each, target) in blocked] for target in findings.hosts}
    deaf = [target for target, origins in origins_of.items() if len(origins) > 1 and len(origins) == len(tried[target])]
    for target in deaf:
        ports = sorted({port for origin in origins_of[target] for port in blocked[origin, target]})
        yield f"UDP from nobody reaches {target}; {_rule(findings, origins_of[target], target, ports)}"
    told: set[tuple[str, str]] = set()
    for (origin, target), ports in blocked.items():
        if target in deaf or (origin, target) in told:
            continue
        rule = _rule(findings, [origin], target, ports)
        if (target, origin) in blocked and origin not in deaf:
            told.add((target, origin))
            back = _rule(findings, [target], origin, blocked[target, origin])
            yield f"UDP between {origin} and {target} is blocked both ways; {rule}, and {back}"
        elif (target, origin) in blocked or origin not in tried or target not in tried[origin]:
            yield f"UDP from {origin} does not reach {target}; {rule}"
        else:
            yield f"UDP from {origin} does not reach {target}, though it does the other way; {rule}"


def _closed(findings: Findings) -> Iterator[str]:
    """Ports of the control host that are taken, and for each that is not reached by all, by whom."""
    closed: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for door in findings.doors:
        if not door.origin:
            which = "another `manager_port` or `server_port`"
            yield f"TCP {door.port} of {door.target} cannot be listened on: {door.why}; end who does, or choose {which}"
        elif door.took_s is None:
            closed[door.origin, door.target, door.why].append(door.port)
    alike: dict[tuple[tuple[int, ...], str, str], list[str]] = defaultdict(list)  # hosts that miss the same
    for (origin, target, why), ports in closed.items():
        alike[tuple(sorted(ports)), target, why].append(origin)
    for (ports, target, why), origins in alike.items():
        where = f"TCP {_ports(list(ports))} of {target}, where control is,"
        rule = _rule(findings, origins, target, list(ports), "TCP")
        yield f"{where} is not reached from {_several(origins)}: {why}; {rule}"


def _rule(findings: Findings, origins: list[str], target: str, ports: list[int], protocol: str = "UDP") -> str:
    """What the security group of the target lacks."""
    sources = [source for origin in origins for source in _sources(findings.hosts[origin])]
    return f"allow {protocol} {_ports(ports)} to {target} from {', '.join(dict.fromkeys(sources))}"


def _sources(finding: HostFinding) -> list[str]:
    """Where its datagrams come from: as others have seen, else as it says itself."""
    sources = finding.seen_as or (finding.host.advertise,)
    return [f"{source}/32" if _is_ipv4(source) else source for source in sources]


def _too_large(findings: Findings) -> Iterator[str]:
    small = [pair for pair in findings.pairs if pair.largest is not None and pair.largest < USUAL_BYTES]
    small = [pair for pair in small if pair.largest in SIZES]  # else the large ones were lost, or not tried
    if small:
        least = min(pair.largest for pair in small)
        where = _several([f"from {pair.origin} to {pair.target}" for pair in small])
        yield f"datagrams of more than {least} bytes do not get {where}; run with network.datagram_bytes={least}"


def _warnings(findings: Findings) -> Iterator[str]:
    for name, finding in findings.hosts.items():
        if finding.living and "taken" in finding.ports.values():
            taken = _ports([port for port, problem in finding.ports.items() if problem == "taken"])
            live = f"{_several(finding.living)} of this lab {'lives' if len(finding.living) == 1 else 'live'} there"
            yield f"UDP {taken} of {name} is in use: {live}; `fab stop` first to have the way to it tried as well"
        host = finding.host
        if _is_ipv4(host.advertise) and finding.seen_as and host.advertise not in finding.seen_as:
            seen = ", ".join(finding.seen_as)
            yield f"{name} advertises {host.advertise}, but its datagrams come from {seen}; firewalls must let that in"
        if finding.ports_change:
            ports = _ports(list(host.ports()))
            yield f"a NAT on the way from {name} changes its ports; have it forward {ports} to {name}"
        offset_s, uncertainty_s = finding.clock_offset_s, finding.clock_uncertainty_s
        if offset_s is not None and abs(offset_s) - uncertainty_s > FAR_OFF_S:
            how = "ahead of" if offset_s > 0 else "behind"
            no_matter = "no run depends on it, but times in what its peers say do"
            yield f"the wall clock of {name} is {abs(offset_s):.1f} s {how} yours; {no_matter} (NTP would set it right)"
    by_buffer: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, finding in findings.hosts.items():
        if finding.buffer_given < finding.buffer_asked:
            by_buffer[finding.buffer_given, finding.buffer_asked].append(name)
    for (given, asked), names in by_buffer.items():
        more = f"`sudo sysctl -w net.core.rmem_max={asked}` there gives more"
        yield f"{_several(names)}: receive buffers have {_bytes(given)} of the {_bytes(asked)} asked for; {more}"
    lossy = [pair for pair in findings.pairs if pair.asked and pair.arrived and pair.arrived < pair.asked]
    if lossy:
        lost = [f"{pair.asked - pair.arrived} of {pair.asked} from {pair.origin} to {pair.target}" for pair in lossy]
        yield f"datagrams get lost: {_several(lost)}"


def tell(findings: Findings, console: Console | None = None) -> None:
    """Show it: one line a host, the round trips between them, what is wrong and what would mend it."""
    console = console or Console(highlight=False)
    tables = [_hosts(findings)]
    players = [name for name, finding in findings.hosts.items() if finding.host.peers]
    if any(pair.asked for pair in findings.pairs):
        tables.append(_round_trips(findings, players))
    if findings.doors:
        tables.append(_doors(findings.doors))
    for table in tables:
        # Never narrower than it needs: a pipe has no width, and on a terminal a wrapped line says more than a cut name.
        console.width = max(
            console.width, console.measure(table, options=console.options.update(width=MOST_WIDE)).maximum
        )
        console.print(table)
    if reached := [pair.largest for pair in findings.pairs if pair.largest in SIZES]:
        console.print(f"Datagrams of up to {min(reached)} bytes get through in one piece.")
    failures, warnings = findings.failures, findings.warnings
    for kind, style, sentences in (("error", "red", failures), ("warning", "yellow", warnings)):
        for sentence in sentences:
            console.print(Text.assemble((f"{kind}: ", style), sentence), soft_wrap=True)
    peers = sum(finding.host.peers for finding in findings.hosts.values())
    if not failures:
        console.print(f"Lab {findings.lab} can run: {_many(peers, 'peer')} on {_many(len(findings.hosts), 'host')}.")


def _hosts(findings: Findings) -> Table:
    table = Table(title=f"Hosts of lab {findings.lab}", title_justify="left")
    for column in ("host", "region", "python"):
        table.add_column(column, no_wrap=True)
    for column in ("disk free", "buffer", "clock"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("UDP", "seen as"):
        table.add_column(column, no_wrap=True)
    for name, finding in findings.hosts.items():
        host = finding.host
        row = [name, host.region, finding.python or Text("not checked", "red")]
        if finding.python:
            row += [
                "?" if finding.disk_free is None else _bytes(finding.disk_free),
                _bytes(finding.buffer_given),
                _clock(finding),
                Text("taken or barred", "red") if any(finding.ports.values()) else _ports(list(host.ports())),
                ", ".join(finding.seen_as) + (" (NAT)" if finding.behind_nat else ""),
            ]
        table.add_row(*row)
    return table


def _round_trips(findings: Findings, players: list[str]) -> Table:
    title = "Round trips in ms (from / to)"
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("", no_wrap=True)
    for name in players:
        table.add_column(name, justify="right", no_wrap=True)
    for origin in players:
        table.add_row(origin, *(_cell(findings.pairs_between(origin, target)) for target in players))
    return table


def _doors(doors: list[DoorFinding]) -> Table:
    ports = sorted({door.port for door in doors})
    table = Table(title=f"TCP to {doors[0].target} in ms", title_justify="left")
    table.add_column("from", no_wrap=True)
    for port in ports:
        table.add_column(str(port), justify="right", no_wrap=True)
    took_s = {(door.origin, door.port): door.took_s for door in doors}
    for origin in dict.fromkeys(door.origin for door in doors if door.origin):
        times = [took_s.get((origin, port)) for port in ports]
        table.add_row(origin, *(Text("blocked", "red") if time is None else f"{time * 1000:.1f}" for time in times))
    return table


def _cell(pairs: list[PairFinding]) -> str | Text:
    if not pairs:
        return "-"
    if any(pair.blocked for pair in pairs):
        return Text("blocked", "red")
    if not all(pair.asked and pair.arrived is not None for pair in pairs):
        return Text("not tried", "yellow")
    times = [pair.round_trip_s for pair in pairs if pair.round_trip_s is not None]
    return f"{min(times) * 1000:.1f}" if times else Text("no answer", "yellow")  # it arrived; the way back is blocked


def _clock(finding: HostFinding) -> str:
    kept = {True: "", False: ", not kept by NTP", None: ""}[finding.synchronised]
    if finding.clock_offset_s is None:
        return "?" + kept
    return f"{_seconds(finding.clock_offset_s, '+')} ± {_seconds(finding.clock_uncertainty_s)}{kept}"


def _seconds(value: float, sign: str = "") -> str:
    return f"{value * 1000:{sign}.1f} ms" if abs(value) < 1 else f"{value:{sign}.1f} s"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:.0f} {unit}"
    return f"{count} bytes"


def _ports(ports: list[int]) -> str:
    """Ports as firewalls are told them: 5700, 5700-5702."""
    runs: list[list[int]] = []
    for port in sorted(ports):
        if runs and port == runs[-1][-1] + 1:
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _several(things: Iterable[str]) -> str:
    things = list(things)
    rest = len(things) - MOST_TOLD
    return ", ".join(things[:MOST_TOLD]) + (f" and {rest} more" if rest > 0 else "")


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _is_ipv4(text: str) -> bool:
    try:
        return bool(IPv4Address(text))
    except ValueError:
        return False

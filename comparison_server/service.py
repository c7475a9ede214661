"""The comparison server's side of the network: peers connect, a run is led, its logs are collected.

    with Service(bind, key, manager=...) as service:
        names = service.wait_for_peers(4, timeout_s=60)
        outcome = service.run(settings, agreement, header, folder)
        service.end_all()

One loop, no threads: whatever waits, waits in `poll`, which keeps everything else going.
Between calls somebody has to go on polling, or peers find the server silent and the group
manager forgets it.
"""

from __future__ import annotations

import re
import secrets
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from comparison_server.coordinator import DONE, HANDSHAKE, IDLE, LOST_S, UPLOAD, Coordinator, Found, Member
from comparison_server.delivery_log import Collection, DeliveryLog
from peer.core.commands import (
    REPLACED,
    REPORTS,
    Chunk,
    Command,
    ControlReport,
    Counts,
    Fetch,
    Hello,
    Leaves,
    Sealed,
    Stop,
    from_message,
    to_message,
)
from peer.core.errors import RunError, WireError
from peer.core.settings import RunSettings
from peer.core.shapes import fits
from peer.drivers.contact import Contact
from peer.drivers.control import CHUNK_BYTES, Connection
from peer.drivers.switchboard import BROKEN, Switchboard

PORT = 5678
NAME = "comparison-server"
LONGEST_NAME = 64
POLL_S = 0.05
HEARTBEAT_S = 2.0  # until the group manager says otherwise
MANAGER_SILENT_S = 10.0  # who has not answered for so long is dialled anew
KNOWN_S = 2.0  # after the logs have come, for their peers to say that they know
WRAP_UP_S = 10.0  # after Ctrl-C, for what is still to be collected


@dataclass
class MemberProgress:
    """How far one of its members is, as it said last."""

    name: str
    phase: str  # of its session
    connected: bool
    silent_s: float  # since it last said something
    asked: int
    delivered: int
    resent: int
    waits_for: list[str]
    latency_s: float | None = None  # of its own latest message, until it was delivered to itself


@dataclass
class Progress:
    """How far a run is."""

    phase: str
    elapsed_s: float
    waiting_for: list[str]
    messages: int  # that each peer is to multicast
    members: list[MemberProgress]
    collected_bytes: int
    announced_bytes: int

    @property
    def asked(self) -> int:
        """Messages that all peers together have multicast,"""
        return sum(member.asked for member in self.members)

    @property
    def delivered(self) -> int:
        """and delivered."""
        return sum(member.delivered for member in self.members)


@dataclass
class Outcome:
    """How a run ended."""

    run: str
    folder: Path
    complete: bool
    error: RunError | None
    counts: dict[str, Counts] = field(default_factory=dict)  # by member,
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)  # as are these
    missing: list[str] = field(default_factory=list)  # whose logs are not, or not wholly, in the folder
    remarks: list[str] = field(default_factory=list)  # what happened that did not keep the run from its end


class Carrier(Protocol):
    """Brings logs by another way than the control connections."""

    def bring(self, run: str, member: str, logs: dict[str, DeliveryLog]) -> bool:
        """Begin to bring them, each into its `partial_path`, with `have` telling how far it is; False if it cannot."""

    def came(self) -> list[tuple[str, str, str]]:
        """Of which run whose logs came since the last time; or the sentence that says why they did not."""

    def forget(self, run: str) -> None:
        """This run has ended, with all that was to be brought or without."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, after what could be had was collected."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("interrupted")
        self.outcome = outcome


@dataclass
class Seat:
    """A peer's process that is connected."""

    connection: Connection
    hello: Hello


class Service:
    """The coordinator behind a switchboard."""

    def __init__(
        self,
        bind: tuple[str, int],
        key: bytes,
        *,
        manager: tuple[str, int] | None = None,
        group: str = "",
        advertise: tuple[str, int] | None = None,
        take_over: bool = False,
        lost_s: float = LOST_S,
        carrier: Carrier | None = None,
    ) -> None:
        """`take_over`: lead the group even if another comparison server does.

        `lost_s`: a peer without connection for so long is not waited for any more. `carrier`: brings the logs;
        what it cannot bring, and all where there is none, comes over the control connections.
        """
        self.group, self.carrier = group, carrier
        self._carried = 0  # bytes that the carrier has brought of the present run
        self.coordinator = Coordinator(lost_s)
        self._follows = ""  # whom a peer follows from now on that followed this server
        self._board = Switchboard(bind, key, largest_frame=2 * CHUNK_BYTES)
        self._seats: dict[str, Seat] = {}
        self._names: dict[Connection, str] = {}
        self._collection: Collection | None = None
        self._is_to_close = False  # the present run, though it could go on
        self._manager = Registration(key, group, advertise or self.endpoint, manager, take_over)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where it listens."""
        return self._board.endpoint

    @property
    def peers(self) -> dict[str, Hello]:
        """Who is connected; p2 comes before p10."""
        return {name: self._seats[name].hello for name in sorted(self._seats, key=_natural)}

    @property
    def registered(self) -> bool:
        """Whether the group manager knows this server."""
        return self._manager.registered

    @property
    def taken(self) -> str:
        """Who else leads the group, if somebody does, in a sentence."""
        return self._manager.refusal if self._manager.busy else ""

    @property
    def leads_no_more(self) -> str:
        """Whom its peers follow instead, in a sentence, if they do."""
        return self._manager.refusal if self._manager.replaced else self._follows

    @property
    def trouble(self) -> str:
        """Why the group manager does not know this server, and so no peer does; empty if all is well."""
        return self._manager.trouble

    @property
    def why_nobody_comes(self) -> list[str]:
        """What may keep peers from being here: they do not learn of this server, or were turned away."""
        return [why for why in (self._manager.trouble, self._board.trouble) if why]

    def give_way(self, who: str, operator: str) -> None:
        """Lead no more: it was heard that these follow somebody who came later."""
        self._follows = f"{who} follows {operator}, who came later; a run that goes on is led and kept there"

    def poll(self, timeout_s: float = POLL_S) -> None:
        """Serve everybody, for about this long or until something has happened."""
        self._send_commands()
        for connection, message, tail in self._board.poll(timeout_s):
            self._on_message(connection, message, tail)
            self._send_commands()
        now = monotonic()
        self._manager.serve(now)
        self.coordinator.remarks += self._manager.take_remarks()
        self._hear_the_carrier(now)
        self.coordinator.tick(now)
        self._send_commands()
        if self.leads_no_more:
            self._make_way(now)

    def wait_for_peers(
        self, count: int, timeout_s: float, on_wait: Callable[[list[str], int], None] | None = None
    ) -> list[str]:
        """The names of the first `count` peers, once so many are there; `on_wait` hears who is, and how many lack."""
        until = monotonic() + timeout_s
        while len(self._seats) < count:
            if on_wait is not None:
                on_wait(list(self.peers), count - len(self._seats))
            if monotonic() > until:
                raise RunError("wait", list(self.peers), self._why_not_enough(count, timeout_s))
            self.poll()
        return list(self.peers)[:count]

    def run(
        self,
        settings: RunSettings,
        agreement: bool,
        header: dict[str, Any],
        folder: Path | str,
        on_progress: Callable[[Progress], None] | None = None,
        run: str = "",
    ) -> Outcome:
        """Play one run to its end and collect its logs into this folder. A run that fails has an outcome too.

        `agreement`: does the ordering promise that everybody delivers everything? Ctrl-C closes the run and collects
        what there is, then raises Interrupted; a second Ctrl-C does not wait for that. `run`: its name, if it has one.
        """
        run = run or secrets.token_hex(8)

        def start() -> None:
            self.coordinator.start(run, settings, agreement, header, monotonic(), asdict(settings))

        return self._lead(run, settings, start, Path(folder), on_progress)

    @property
    def found(self) -> list[Found]:
        """Runs that these peers play and that nobody leads: their comparison server is no more."""
        return self.coordinator.known()

    def settled(self, timeout_s: float = 5.0) -> list[Found]:
        """The same, once all who play something have said what; those who do not say it in time are left alone."""
        until = monotonic() + timeout_s
        while self.coordinator.asked_about() and monotonic() < until:
            self.poll()
        return self.found

    def take_up(
        self,
        found: Found,
        agreement: bool,
        folder: Path | str,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Outcome:
        """As `run`, with a run that was found, from where it is."""

        def start() -> None:
            self.coordinator.take_up(found.run, agreement, monotonic())

        return self._lead(found.run, found.settings, start, Path(folder), on_progress)

    def _lead(
        self,
        run: str,
        settings: RunSettings,
        start: Callable[[], None],
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
    ) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        coordinator = self.coordinator
        self._collection = Collection(run, folder, settings.members)
        until: float | None = None
        self._is_to_close = False
        with Interrupts() as interrupts:
            try:
                start()
                while coordinator.phase != DONE:
                    self.poll()
                    now = monotonic()
                    if (interrupts.came or self._is_to_close) and until is None:
                        coordinator.interrupt(now)
                        until = now + WRAP_UP_S
                    if until is not None and now > until:
                        coordinator.give_up(None, now)
                    if on_progress is not None:
                        on_progress(self._progress(now))
            finally:
                if coordinator.phase != DONE:
                    why = f"interrupted in phase {coordinator.phase}"
                    coordinator.give_up(RunError(coordinator.phase, [], why), monotonic())
                    self._send_commands()
                self._collection.close()
                if self.carrier is not None:
                    self.carrier.forget(run)
                outcome = self._outcome(folder)
                self._collection = None
            self._have_them_know()
        if interrupts.came:
            raise Interrupted(outcome)
        return outcome

    def _have_them_know(self) -> None:
        """That their logs are here, before this server may end: else the next one would take up the same run again."""
        until = monotonic() + KNOWN_S
        with suppress(RunError):  # somebody else leads; the next poll says so again
            while self.coordinator.unaware() and monotonic() < until:
                self.poll()

    def interrupt(self) -> None:
        """Close the present run as Ctrl-C does, for somebody who is elsewhere."""
        self._is_to_close = True

    def lose(self, name: str, sentence: str) -> None:
        """Do not wait for this peer in the present run: it is known to be gone."""
        if name in self.coordinator.members:
            self.coordinator.lose(name, sentence, monotonic())

    def end_all(self, timeout_s: float = 20.0) -> list[str]:
        """Tell every peer to end, and wait until they have; who has not."""
        for seat in list(self._seats.values()):
            self._board.send(seat.connection, to_message(Stop("the comparison server ends everything")))
        until = monotonic() + timeout_s
        while self._seats and monotonic() < until:
            self.poll()
        return list(self.peers)

    def end_manager(self, timeout_s: float = 5.0) -> bool:
        """Tell the group manager to end, and wait until it has; whether it did."""
        self._manager.stop()
        until = monotonic() + timeout_s
        while self._manager.stopping and monotonic() < until:
            self.poll()
        return self._manager.stopped

    def close(self) -> None:
        """Serve no more. Peers stay, and try to connect again."""
        self._manager.close()
        self._board.close()

    # What arrives.

    def _on_message(self, connection: Connection, message: Any, tail: bytes) -> None:
        if message is BROKEN:
            self._left(connection)
            return
        try:
            report = from_message(message)
            if not isinstance(report, REPORTS):
                raise WireError("control", f"a peer does not send {type(report).__name__}")
            if type(report) is Hello:
                self._on_hello(connection, report)
            else:
                self._on_report(connection, report, tail)
        except WireError as error:
            self._board.drop(connection, str(error))
            self._left(connection)

    def _on_hello(self, connection: Connection, hello: Hello) -> None:
        if not 0 < len(hello.name) <= LONGEST_NAME or hello.group != self.group:
            raise WireError("hello", f"{hello.name[:LONGEST_NAME]!r} of group {hello.group[:LONGEST_NAME]!r}")
        if self._names.get(connection, hello.name) != hello.name:
            raise WireError("hello", "a peer has one name")
        seat = self._seats.get(hello.name)
        if seat is not None and seat.connection is not connection:
            if seat.hello.incarnation != hello.incarnation:  # the latest counts: it may be the other one, restarted
                why = f"{REPLACED} that is called {hello.name}"
                self._board.send(seat.connection, to_message(Stop(why)))
            self._board.drop(seat.connection)
            self._left(seat.connection)
        self._seats[hello.name] = Seat(connection, hello)
        self._names[connection] = hello.name
        self.coordinator.joined(hello.name, monotonic(), hello.run, hello.phase, hello.incarnation)

    def _on_report(self, connection: Connection, report: ControlReport, tail: bytes) -> None:
        name = self._names.get(connection)
        if name is None:
            raise WireError("control", "a peer begins with Hello")
        now, coordinator = monotonic(), self.coordinator
        if type(report) is Leaves:
            self.give_way(name, report.operator)
            return
        if type(report) is not Chunk:
            coordinator.on_report(name, report, now)
        collection = self._collection
        if collection is None or report.run != collection.run or coordinator.phase != UPLOAD:
            return
        if name not in coordinator.members:
            return
        if type(report) is Sealed:
            self._collect(name, lambda: self._first_fetches(name, report.files), now)
        elif type(report) is Chunk:
            self._collect(name, lambda: collection.on_chunk(name, report, tail), now)
            coordinator.collecting(now)

    def _first_fetches(self, name: str, files: dict[str, Any]) -> list[Fetch]:
        collection = self._collection
        logs = collection.announced(name, files)
        if self.carrier and not collection.whole(name) and self.carrier.bring(collection.run, name, logs):
            return []
        return collection.sealed(name, files)

    def _collect(self, name: str, fetches: Callable[[], list[Fetch]], now: float) -> None:
        """Ask for the next parts of somebody's logs; if there are none, they are all here or on another way."""
        try:
            for fetch in fetches():
                self._send(name, fetch)
        except RunError as error:
            if error.peers:
                self.coordinator.lose(name, str(error), now)
            else:  # it is not the peer that cannot go on, it is this side
                self.coordinator.give_up(error, now)
            return
        if self._collection.whole(name):
            self.coordinator.collected(name, now)

    def _hear_the_carrier(self, now: float) -> None:
        collection = self._collection
        if self.carrier is None or collection is None:
            return
        carried, _ = collection.progress()
        if carried != self._carried:
            self._carried = carried
            self.coordinator.collecting(now)
        for run, name, trouble in self.carrier.came():
            if run != collection.run:
                continue  # one that was given up before
            if trouble:
                self.coordinator.remarks.append(f"{trouble}; the logs of {name} come over its control connection.")
            if name in self.coordinator.members and self.coordinator.phase == UPLOAD:
                self._collect(name, partial(collection.brought, name), now)

    def _left(self, connection: Connection) -> None:
        name = self._names.pop(connection, None)
        if name is not None:
            del self._seats[name]
            self.coordinator.left(name, monotonic())
            if self._collection is not None:
                self._collection.cut(name)

    def _send_commands(self) -> None:
        while commands := self.coordinator.take():
            for name, command in commands:
                self._send(name, command)

    def _send(self, name: str, command: Command) -> None:
        seat = self._seats.get(name)
        if seat is not None:  # else the coordinator says it again when the peer is back
            self._board.send(seat.connection, to_message(command))

    # What is told.

    def _progress(self, now: float) -> Progress:
        coordinator = self.coordinator
        collected, announced = self._collection.progress()
        return Progress(
            coordinator.phase,
            now - coordinator.started,
            coordinator.waiting_for(),
            coordinator.settings.workload.messages,
            [_member_progress(member, now) for member in coordinator.members.values()],
            collected,
            announced,
        )

    def _outcome(self, folder: Path) -> Outcome:
        coordinator = self.coordinator
        members = coordinator.members
        if coordinator.error is not None:
            if coordinator.error.phase == HANDSHAKE and self.trouble:  # who asks for addresses gets none
                coordinator.error = RunError(HANDSHAKE, coordinator.error.peers, f"{coordinator.error}; {self.trouble}")
            coordinator.error.kept = str(folder)
        return Outcome(
            coordinator.run,
            folder,
            coordinator.complete,
            coordinator.error,
            {name: member.counts for name, member in members.items() if member.counts},
            {name: member.sealed.measures for name, member in members.items() if member.sealed},
            [name for name, member in members.items() if not member.collected],
            coordinator.remarks + [remark for name, member in members.items() for remark in _standstills(name, member)],
        )

    def _make_way(self, now: float) -> None:
        """Another comparison server leads the group: a run that is led from here ends here, and goes on there."""
        coordinator = self.coordinator
        error = RunError(coordinator.phase, [], f"this comparison server leads no more: {self.leads_no_more}")
        if coordinator.phase in (IDLE, DONE):
            raise error
        coordinator.abandon(error, now)

    def _why_not_enough(self, count: int, waited_s: float) -> str:
        here = list(self.peers)
        sentence = f"{len(here)} of {count} peers are here ({', '.join(here) or 'none'}) after {waited_s:g} s"
        absent = [name for name in self._manager.peers if name not in self._seats]
        reasons = [f"registered but not connected: {', '.join(absent)}"] if absent else []
        return "; ".join([sentence, *reasons, *self.why_nobody_comes])


class Registration:
    """Keeps the comparison server known to the group manager, and learns from it which peers registered."""

    def __init__(
        self, key: bytes, group: str, endpoint: tuple[str, int], manager: tuple[str, int] | None, take_over: bool
    ) -> None:
        self.registered = self.busy = False  # known there; refused there, because another one leads the group
        self.replaced = False  # another comparison server leads this group now
        self.stopping = self.stopped = False  # the manager was told to end, and did
        self.peers: list[str] = []
        self.refusal = ""
        self._endpoint = endpoint
        self._who = {"name": NAME, "group": group, "incarnation": secrets.token_hex(8)}
        self._led = False  # this server has been the one of its group
        self._take_over = take_over  # until that is done
        self._away_since: float | None = None  # when the group manager was lost
        self._remarks: list[str] = []
        self._contact = Contact("group manager", key, self._register)
        self._contact.endpoint = manager
        self._heartbeat_s, self._due = HEARTBEAT_S, 0.0
        self._heard = 0.0

    @property
    def trouble(self) -> str:
        """Why the group manager does not know this server; empty if it does, or if there is none to know it."""
        if self._contact.endpoint is None or self.registered:
            return ""
        where = "{}:{}".format(*self._contact.endpoint)
        return f"the group manager at {where}: {self.refusal or self._contact.trouble or 'no answer yet'}"

    def serve(self, now: float) -> None:
        """Dial, register, renew, hear."""
        contact = self._contact
        for message, _ in contact.serve(now):
            self._heard = now
            if isinstance(message, dict):
                self._on_reply(message)
        if not contact.open:
            if self.registered:
                self.registered, self._away_since = False, now
            if self.stopping:
                self.stopping, self.stopped = False, True
                contact.close()
        elif now >= self._due:
            self._due = now + self._heartbeat_s
            contact.send({"op": "heartbeat", **self._who})
            contact.send({"op": "list", **self._who})
        if contact.open and now - self._heard > MANAGER_SILENT_S:
            contact.connection.close("the group manager does not answer")

    def take_remarks(self) -> list[str]:
        """What happened to the group manager since the last time."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def stop(self) -> None:
        """Have the group manager end, if it can be told."""
        self.stopping = self._contact.open
        self._contact.send({"op": "stop", **self._who})

    def close(self) -> None:
        """Registered no more."""
        self._contact.send({"op": "unregister", **self._who})
        self._contact.close()

    def _register(self, contact: Contact) -> None:
        self._heard = monotonic()
        host, port = self._endpoint
        if host in ("0.0.0.0", "::"):  # the address by which the manager is reached is likely to be reachable
            host = contact.connection.socket.getsockname()[0]
        request = {"op": "register", "role": "server", "endpoint": [host, port], **self._who}
        contact.send({**request, "take_over": self._take_over})

    def _on_reply(self, reply: dict[str, Any]) -> None:
        if reply.get("ok") is not True:
            self.registered, self.refusal = False, str(reply.get("sentence", "refused"))
            self.busy = reply.get("code") == "busy"
            if self.busy and self.stopping:  # others need it
                self.stopping = False
                return
            if reply.get("code") == "unknown name":
                self._register(self._contact)
            elif self.busy and self._led:
                self.replaced = True
        elif fits(reply.get("members"), list[dict]):
            self.peers = [str(row.get("name")) for row in reply["members"]]
        elif fits(reply.get("heartbeat_s"), float):
            self.registered, self._led, self.busy = True, True, False
            self.refusal, self._take_over = "", False
            if self._away_since is not None:
                self._remarks.append(f"The group manager was away for {monotonic() - self._away_since:.1f} s.")
                self._away_since = None
            self._heartbeat_s = reply["heartbeat_s"]


class Interrupts:
    """Notes Ctrl-C instead of letting it strike in the middle of a message; the second one strikes."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Interrupts:
        self._previous = None
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # neither ignored nor left to the system
                self._previous = previous
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _note(self, *_: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


def _standstills(name: str, member: Member) -> list[str]:
    measured = member.sealed.measures.get("stood_still", []) if member.sealed else []
    if not fits(measured, list[dict[str, float]]) or not all({"at_s", "for_s"} <= set(each) for each in measured):
        return []
    return [f"{name} stood still for {each['for_s']:.1f} s, {each['at_s']:.1f} s after its start." for each in measured]


def _member_progress(member: Member, now: float) -> MemberProgress:
    counts = member.counts or Counts("", HANDSHAKE)
    return MemberProgress(
        member.name,
        counts.phase,
        member.gone_since is None,
        now - member.heard,
        counts.asked,
        counts.delivered,
        counts.resent,
        counts.waits_for,
        counts.latency_s,
    )


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

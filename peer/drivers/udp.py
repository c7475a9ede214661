"""The real world: one UDP socket, timers, control connections and log files around a session.

One loop, no threads. Idle it waits, reads one datagram, takes a turn, flushes and waits
again (awake for a moment, then asleep); under load, when a datagram was there without
waiting, it reads up to 64 into one turn. Where the run has an emulated network, every
datagram is held back until its delay has passed, and how late that was is measured.
"""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from pathlib import Path
from select import select
from time import monotonic, monotonic_ns
from typing import Any

from peer.core.blocks import unpack
from peer.core.commands import (
    REPLACED,
    Chunk,
    Close,
    Command,
    Fetch,
    Hello,
    Rejected,
    Sealed,
    Stop,
    from_message,
    to_message,
)
from peer.core.effects import Ask, CancelTimer, Deliver, Effect, Locate, RecordMulticast, Report, SetTimer, Transmit
from peer.core.errors import BAD_SETTINGS, HELD, UNFINISHED, WireError
from peer.core.events import Answered, Event, Moved, PacketArrived, Started, TimerFired
from peer.core.names import PeerId, is_endpoint
from peer.drivers.chance import stream
from peer.drivers.contact import Contact
from peer.drivers.control import CHUNK_BYTES
from peer.drivers.datagram import ENTRY_BYTES, LARGEST, OVERHEAD_BYTES, Border, Envelope
from peer.drivers.lateness import Lateness
from peer.drivers.link_model import PairModel
from peer.drivers.logs import RunLogs
from peer.drivers.trains import Trains
from peer.session import IDLE, SERVER, Play, Seal, Session

MANAGER = "group_manager"
HERE = ("127.0.0.1", "0.0.0.0", "localhost")
DATAGRAMS_A_TURN = 64
TURNS_A_LOOK = 64  # under load the control connections are looked at after so many turns
COUNTS_EVERY_S = 1.0
STILL_S, MOST_STANDSTILLS = 3.0, 16  # who did nothing for so long stood still; how many of these are told
LINGER_S = 60e-6  # awake before sleeping: to be woken takes as long, and twice that on a virtual machine
SMALL_ROOM = 9000  # datagrams that must be smaller than this come and go in trains, where the system can
BUFFER_BYTES = 8 * 1024 * 1024  # asked for; what was given is reported
CLOCK_TRUST_S = 5.0  # a stamp further from our clock than this is of another clock
MOST_HELD = 16_384  # datagrams whose delay has not passed: half a second of what a peer can read at all

Application = Callable[[PeerId, int, bytes], None]


class Neighbour:
    """What this process knows of the network towards one member in one run."""

    __slots__ = ("endpoint", "heard_at", "heard_stamp", "model", "rtt_s")

    def __init__(self, model: PairModel | None) -> None:
        self.endpoint: tuple[str, int] | None = None
        self.rtt_s: float | None = None
        self.heard_at: float | None = None
        self.heard_stamp = 0
        self.model = model


class UdpPeer:
    """One peer process."""

    def __init__(
        self,
        name: str,
        key: bytes,
        *,
        group: str = "",
        bind: tuple[str, int] = ("0.0.0.0", 0),
        advertise: tuple[str, int] | None = None,
        manager: tuple[str, int] | None = None,
        server: tuple[str, int] | None = None,
        logs: Path = Path(".lab/logs"),
        orphan_s: float = 600.0,
        application: Application | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.name, self.group, self.orphan_s = name, group, orphan_s
        self.advertise, self.application, self.say = advertise, application, say
        self.said: dict[str, str] = {}  # the last trouble told of each contact
        self.exit_code = HELD
        self.session = Session(name)
        self.logs = RunLogs(logs, name)
        self.incarnation = secrets.token_hex(8)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        self.socket.bind(bind)
        self.socket.setblocking(False)
        self.trains = Trains(self.socket)
        self.receive = self.trains.receive(wanted=False)
        self.envelope = Envelope(key, name)
        self.border: Border | None = None  # while a run is played
        self.manager = Contact("group manager", key, self._register)
        self.manager.endpoint = manager
        self.server = Contact("comparison server", key, self._greet)
        self.server.endpoint = server
        self.server_is_given = server is not None
        self.heartbeat_s, self.heartbeat_due = 2.0, 0.0
        self.counts_due = 0.0
        self.asked = 0  # requests to the manager
        self.stopping = ""  # why, once it is time to go
        self.neighbours: list[Neighbour] = []
        self.timers: list[tuple[float, int, str, Any]] = []
        self.timer_of: dict[tuple[str, Any], int] = {}
        self.timer_count = 0
        self.chances: dict[tuple[str, Any], Any] = {}
        self.held: list[tuple[float, int, PeerId, Any]] = []  # datagrams whose delay has not passed
        self.held_count = 0
        self.room = 1372
        self.sealed: Sealed | None = None
        self.buffer = memoryview(bytearray(65536))
        self.only_datagrams = [self.socket.fileno()]
        self.watched = self.only_datagrams  # what to wait for to become readable, as numbers: that is quickest
        self._reset_measures()

    # The loop.

    def run(self) -> None:
        """Serve until stopped."""
        try:
            self._loop()
        finally:
            self._farewell()

    def _loop(self) -> None:
        at_most = 1
        turns = 0
        while not self.stopping:
            turn = self._read(at_most)
            turns += 1  # also where all that was read is dropped: a flood of it keeps nobody from being heard
            if turn:
                at_most = DATAGRAMS_A_TURN
                self._perform(self.session.host.step(turn, monotonic()))
            if self.held or self.timers:
                self._what_is_due()
            if turns >= TURNS_A_LOOK:
                turns = 0
                self._serve_contacts(monotonic())
            if not turn:
                at_most = 1
                self._wait()

    def _wait(self) -> None:
        now = monotonic()
        due = min(self.counts_due, self.heartbeat_due)
        for when in (self.manager.next_due(), self.server.next_due()):
            if when is not None and when < due:
                due = when
        if self.timers and self.timers[0][0] < due:
            due = self.timers[0][0]
        if self.held and self.held[0][0] < due:
            due = self.held[0][0]
        awake_until = min(now + LINGER_S, due)
        while monotonic() < awake_until:
            os.sched_yield()
            if select(self.only_datagrams, (), (), 0)[0]:
                return
        now = monotonic()
        writers = [*self.manager.writers(), *self.server.writers()]
        readable, _, _ = select(self.watched, writers, (), due - now if due > now else 0)
        if readable != self.only_datagrams:
            self._serve_contacts(monotonic())

    def _what_is_due(self) -> None:
        now = monotonic()
        if self.held and self.held[0][0] <= now:
            turn: list[Event] = []
            while self.held and self.held[0][0] <= now and len(turn) < DATAGRAMS_A_TURN:
                due, _, source, opened = heappop(self.held)
                self.lateness.add(now - due)
                self._hand_in(source, opened, now, turn)
            self._perform(self.session.host.step(turn, now))
        timers = self.timers
        while timers and timers[0][0] <= now:
            due, count, layer, key = heappop(timers)
            if self.timer_of.get((layer, key)) == count:
                del self.timer_of[layer, key]
                self.timer_lateness.add(now - due)
                self._perform(self.session.host.step([TimerFired(layer, key)], now))

    # Datagrams in.

    def _read(self, at_most: int) -> list[Event]:
        turn: list[Event] = []
        receive, buffer = self.receive, self.buffer
        for _ in range(at_most):
            try:
                size, endpoint, car_bytes = receive(buffer)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of an earlier datagram; the link takes care
            self.received_bytes += size
            for start in range(0, size or 1, car_bytes or 1):
                self.received += 1
                try:
                    self._arrived(buffer[start : min(start + car_bytes, size)], endpoint, turn)
                except WireError as error:
                    self.dropped[error.reason] += 1
        return turn

    def _arrived(self, datagram: memoryview, endpoint: tuple[str, int], turn: list[Event]) -> None:
        border = self.border
        if border is None:
            raise WireError("no run")
        source, opened = border.admit(datagram)
        neighbour = self.neighbours[source]
        if endpoint != neighbour.endpoint and opened.counter == border.windows[source].highest:
            turn.append(Moved(source, endpoint))  # an older datagram says where it was
        now = monotonic()
        model = neighbour.model
        if model is None:
            self._hand_in(source, opened, now, turn)
            return
        sent = opened.stamp_ns / 1e9
        if not -CLOCK_TRUST_S < now - sent < CLOCK_TRUST_S:
            sent = now
        for delay_s in model.fates():
            due = sent + delay_s
            if due <= now and not self.held:
                self.lateness.add(now - due)
                self._hand_in(source, opened, now, turn)
                continue
            if len(self.held) >= MOST_HELD:
                raise WireError("too many held back")
            self.held_count += 1
            heappush(self.held, (due, self.held_count, source, opened))

    def _hand_in(self, source: PeerId, opened: Any, now: float, turn: list[Event]) -> None:
        neighbour = self.neighbours[source]
        rtt_s = neighbour.rtt_s
        if opened.echo_ns:
            sample = now - opened.echo_ns / 1e9 - opened.held_us / 1e6
            if sample > 0:
                rtt_s = neighbour.rtt_s = sample if rtt_s is None else rtt_s + (sample - rtt_s) / 8
        silence_s = None if neighbour.heard_at is None else now - neighbour.heard_at
        neighbour.heard_at = now
        neighbour.heard_stamp = opened.stamp_ns
        for packet in opened.packets:
            turn.append(PacketArrived(source, packet, rtt_s, silence_s))

    # Effects out.

    def _perform(self, effects: Sequence[Effect | Play | Seal]) -> None:
        outgoing: dict[PeerId, list[Any]] = {}
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                train = outgoing.get(effect.target)
                if train is None:
                    outgoing[effect.target] = [effect.packet]
                else:
                    train.append(effect.packet)
            elif kind is Deliver:
                if self.application is not None:
                    self._hand_over(effect.block)
            elif kind is RecordMulticast:
                self._write_logs()  # on record before it leaves
            elif kind is SetTimer:
                self._set_timer(effect)
            elif kind is CancelTimer:
                self.timer_of.pop((effect.layer, effect.key), None)
            elif kind is Report:
                self._perform(self.session.on_news(effect.news))
            elif kind is Locate:
                self.neighbours[effect.peer].endpoint = _resolved(effect.endpoint)
            elif kind is Ask:
                self._ask(effect)
            elif kind is Play:
                self._play(effect)
            elif kind is Seal:
                self._transmit(outgoing)  # the last words
                outgoing = {}
                self._seal(effect.run)
        if outgoing:
            self._transmit(outgoing)
        if self.logs.is_open and self.session.host.recorder.holds_records():
            self._write_logs()

    def _hand_over(self, block: Any) -> None:
        application, sender = self.application, block.sender
        for number, message in enumerate(unpack(block), block.first):
            application(sender, number, message)

    def _transmit(self, outgoing: dict[PeerId, list[Any]]) -> None:
        bodies: dict[int, tuple[bytes, bytes]] = {}
        entry = self.envelope.entry
        for target, packets in outgoing.items():
            neighbour = self.neighbours[target]
            if neighbour.endpoint is None:
                self.dropped["nowhere to send"] += 1
                continue
            datagrams: list[bytes] = []
            entries: list[tuple[bytes, bytes, bytes]] = []
            size = OVERHEAD_BYTES
            for packet in packets:
                part = entry(packet, bodies)
                part_bytes = ENTRY_BYTES + len(part[0]) + len(part[1])
                if entries and size + part_bytes > self.room:
                    datagrams.append(self._sealed(target, neighbour, entries))
                    entries, size = [], OVERHEAD_BYTES
                entries.append(part)
                size += part_bytes
            datagrams.append(self._sealed(target, neighbour, entries))
            self.packets += len(packets)
            self._send(datagrams, neighbour.endpoint)

    def _sealed(self, target: PeerId, neighbour: Neighbour, entries: list[tuple[bytes, bytes, bytes]]) -> bytes:
        now_ns = monotonic_ns()
        held_us = 0
        if neighbour.heard_stamp:
            held_us = min(0xFFFFFFFF, max(0, int(now_ns / 1e3 - neighbour.heard_at * 1e6)))
        return self.border.seal(target, now_ns, neighbour.heard_stamp, held_us, entries)

    def _send(self, datagrams: list[bytes], endpoint: tuple[str, int]) -> None:
        try:
            self.trains.send(datagrams, endpoint)
        except OSError as error:  # as good as lost on the way
            self.dropped[f"not sent: {error.strerror}"] += len(datagrams)
            return
        except ValueError:  # a name of a host that no network knows
            self.dropped["nowhere to send"] += len(datagrams)
            return
        self.sent += len(datagrams)
        for datagram in datagrams:
            self.sent_bytes += len(datagram)

    def _set_timer(self, effect: SetTimer) -> None:
        wait_s = effect.earliest_s
        name = (effect.layer, effect.key)
        if effect.latest_s > wait_s:
            chance = self.chances.get(name)
            if chance is None:
                seed = self.session.settings.seed
                chance = self.chances[name] = stream(seed, "timer", self.session.me, *name).random
            wait_s += chance() * (effect.latest_s - wait_s)
        self.timer_count += 1
        self.timer_of[name] = self.timer_count
        heappush(self.timers, (monotonic() + wait_s, self.timer_count, effect.layer, effect.key))

    # A run begins and ends.

    def _play(self, play: Play) -> None:
        run, me = play.settings, play.me
        self.border = Border(self.envelope, self.incarnation, play.run, me, run.members, play.incarnations)
        emulated = run.delays_s is not None
        members = range(len(run.members))
        self.neighbours = [Neighbour(PairModel(run, p, me) if emulated and p != me else None) for p in members]
        self.timers.clear()
        self.timer_of.clear()
        self.chances.clear()
        self.held.clear()
        self.room = min(run.network.datagram_bytes, LARGEST)
        self.receive = self.trains.receive(wanted=self.room < SMALL_ROOM)
        self.sealed = None
        self._reset_measures()
        gc.unfreeze()  # the stack of the run before was there when that one began
        gc.collect()
        gc.freeze()  # what is there now stays until the run ends: it need not be looked at again and again
        try:
            self.logs.begin(play.header, run.trace == "everything")
        except OSError as error:
            self._report_disk(error)
            return
        self._perform(self.session.host.step([Started(entropy=secrets.token_bytes(32))], monotonic()))

    def _write_logs(self) -> None:
        try:
            self.logs.write(self.session.host.recorder)
        except OSError as error:
            self._report_disk(error)

    def _report_disk(self, error: OSError) -> None:
        sentence = f"{self.name} cannot write its logs: {error.strerror}"
        self._report(Rejected(self.session.run, "disk", sentence))

    def _seal(self, run: str) -> None:
        self._write_logs()
        self.sealed = Sealed(run, self.logs.seal(), self._measures())
        self.border = None  # nobody waits for what would still be delivered, and nothing would write it down
        self.timers.clear()
        self.timer_of.clear()
        self.held.clear()
        self._report(self.sealed)

    # Control.

    def _serve_contacts(self, now: float) -> None:
        self._account_for_a_standstill(now)
        for message, _ in self.manager.serve(now):
            self._on_manager(message)
        for message, _ in self.server.serve(now):
            try:
                self._on_command(from_message(message))
            except WireError as error:
                self.dropped[f"control: {error.reason}"] += 1
        self.watched = self.only_datagrams + [
            contact.connection.fileno() for contact in (self.manager, self.server) if contact.connection is not None
        ]
        for contact in (self.manager, self.server):
            if contact.trouble and self.said.get(contact.what) != contact.trouble:
                self.said[contact.what] = contact.trouble
                self.say(
                    f"no connection to the {contact.what} at {_words(contact.endpoint)}: {contact.trouble}; trying on"
                )
        if now >= self.heartbeat_due:
            self.heartbeat_due = now + self.heartbeat_s
            self._ask_manager({"op": "heartbeat", "name": self.name, "group": self.group})
        if now >= self.counts_due:
            self.counts_due = now + COUNTS_EVERY_S
            if self.session.phase != IDLE:
                self._report(self.session.counts())
        contacts = (self.manager, self.server)
        if all(contact.lost_at is not None and now - contact.lost_at > self.orphan_s for contact in contacts):
            self._stop(f"no control connection for {self.orphan_s:g} s", UNFINISHED)

    def _account_for_a_standstill(self, now: float) -> None:
        """The contacts are looked after every second at least, unless this whole process stood still."""
        still_s = now - self.looked
        self.looked = now
        if still_s > STILL_S and self.border is not None and len(self.stood_still) < MOST_STANDSTILLS:
            start = self.session.host.recorder.zero_s or self.began  # until it is released
            at_s = max(0.0, now - still_s - start)
            self.stood_still.append({"at_s": at_s, "for_s": still_s})

    def _on_command(self, command: Command) -> None:
        now = monotonic()
        kind = type(command)
        if kind is Fetch:
            self._send_chunk(command)
            return
        if kind is Close and self.sealed is not None and command.run == self.sealed.run:
            self._report(self.sealed)  # it was lost on the way the first time
            return
        self._perform(self.session.on_command(command, now))
        if kind is Stop:
            replaced = command.reason.startswith(REPLACED)
            self._stop(command.reason or "told to stop", UNFINISHED if replaced else HELD)

    def _send_chunk(self, fetch: Fetch) -> None:
        mine = self.sealed is not None and fetch.run == self.sealed.run and 0 < fetch.length <= CHUNK_BYTES
        data = self.logs.part(fetch.file, fetch.offset, fetch.length) if mine else None
        if data is None:
            self._report(Rejected(fetch.run, "no such log", f"{self.name} has no such part of a log"))
            return
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        self.server.send(to_message(Chunk(fetch.run, fetch.file, fetch.offset, digest)), data)

    def _stop(self, why: str, exit_code: int) -> None:
        self.stopping, self.exit_code = why, exit_code
        self.say(f"ends: {why}")

    def _on_manager(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if message.get("code") in ("malformed", "full"):
            self._stop(f"the group manager refused: {message.get('sentence')}", BAD_SETTINGS)
        if "lease_s" in message and self.said.get(MANAGER) != "registered":
            self.said[MANAGER] = "registered"
            self.say(f"registered with the group manager at {_words(self.manager.endpoint)}")
        if message.get("code") == "unknown name":
            self._register(self.manager)
        server = message.get("server")
        if is_endpoint(server) and not self.server_is_given:
            host, port = server
            if host in HERE:  # as the manager sees it: on the manager's machine
                host = self.manager.endpoint[0]
            self.server.redirect((host, port))
        heartbeat_s = message.get("heartbeat_s")
        if isinstance(heartbeat_s, (int, float)) and heartbeat_s > 0:
            self.heartbeat_s = heartbeat_s
        if "endpoints" in message and self.border is not None:
            self._perform(self.session.host.step([Answered(MANAGER, message)], monotonic()))

    def _register(self, contact: Contact) -> None:
        endpoint = self.advertise
        if endpoint is None:
            host, port = self.socket.getsockname()
            if host == "0.0.0.0":
                host = contact.connection.socket.getsockname()[0]
            endpoint = (host, port)
        request = {"op": "register", "name": self.name, "group": self.group, "endpoint": list(endpoint)}
        self._ask_manager({**request, "incarnation": self.incarnation})

    def _greet(self, contact: Contact) -> None:
        session, python = self.session, sys.version.split()[0]
        hello = Hello(self.name, self.group, self.incarnation, python, session.run, session.phase)
        contact.send(to_message(hello))
        self.said.pop(contact.what, None)
        self.say(f"connected to the comparison server at {_words(contact.endpoint)}")
        if self.sealed is not None:
            contact.send(to_message(self.sealed))

    def _ask(self, ask: Ask) -> None:
        if ask.service == SERVER:
            self._report(ask.question)
        else:
            self._ask_manager({**ask.question, "group": self.group})

    def _ask_manager(self, request: dict[str, Any]) -> None:
        self.asked += 1
        self.manager.send({**request, "id": self.asked})

    def _report(self, report: Any) -> None:
        self.server.send(to_message(report))

    def _farewell(self) -> None:
        if self.session.phase != IDLE and self.logs.is_open:
            self._perform(self.session.on_command(Stop(), monotonic()))
        who = {"name": self.name, "group": self.group, "incarnation": self.incarnation}
        self._ask_manager({"op": "unregister", **who})  # itself only: another process may have come under its name
        self.manager.close()
        self.server.close()
        self.socket.close()

    # Measures.

    def _reset_measures(self) -> None:
        self.sent = self.sent_bytes = self.packets = self.received = self.received_bytes = 0
        self.dropped: Counter[str] = Counter()
        self.lateness, self.timer_lateness = Lateness(), Lateness()
        self.began = self.looked = monotonic()  # looked: after the contacts
        self.stood_still: list[dict[str, float]] = []
        self.kernel_drops_before = _kernel_drops(self.socket)

    def _measures(self) -> dict[str, Any]:
        models = [neighbour.model for neighbour in self.neighbours if neighbour.model is not None]
        drops = _kernel_drops(self.socket)
        known = drops is not None and self.kernel_drops_before is not None
        stack = self.session.host.stack
        return {
            "datagrams_sent": self.sent,
            "bytes_sent": self.sent_bytes,
            "packets_sent": self.packets,
            "datagrams_received": self.received,
            "bytes_received": self.received_bytes,
            "dropped": dict(sorted(self.dropped.items())),
            "dropped_by_kernel": drops - self.kernel_drops_before if known else None,
            "lost_by_model": sum(model.lost for model in models),
            "doubled_by_model": sum(model.doubled for model in models),
            "held_by_model": sum(model.held for model in models),
            "resent": stack.total("resent"),
            "duplicates": stack.total("duplicates"),
            "model_lateness": self.lateness.summary(),
            "stood_still": self.stood_still,
            "timer_lateness": self.timer_lateness.summary(),
            "trains": self.trains.can_send and self.trains.can_receive,
            "receive_buffer_bytes": self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            "rtt_s": [neighbour.rtt_s for neighbour in self.neighbours],
            **stack.measures(),
        }


def _resolved(endpoint: tuple[str, int]) -> tuple[str, int]:
    """The same with the address in place of a name, which would be asked for with every datagram; else as it is."""
    try:
        return socket.getaddrinfo(*endpoint, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    except (OSError, ValueError):
        return endpoint


def _words(endpoint: tuple[str, int] | None) -> str:
    return "{}:{}".format(*endpoint) if endpoint else "an unknown address"


def _kernel_drops(sock: socket.socket) -> int | None:
    """How many datagrams the kernel dropped at this socket, where it says so."""
    inode = str(os.fstat(sock.fileno()).st_ino)
    try:
        with open("/proc/net/udp") as table:
            rows = [line.split() for line in table]
    except OSError:
        return None
    return next((int(row[-1]) for row in rows if len(row) > 12 and row[9] == inode), None)

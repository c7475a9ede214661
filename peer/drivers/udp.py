"""The real world: the network, timers, control connections and log files around a session.

One loop, no threads. Idle it reads one datagram, takes a turn, flushes and looks for the
next, awake for a moment, then asleep; under load, when a datagram was there at once, it
reads up to 64 into one turn.
"""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

from peer.core.blocks import unpack
from peer.core.commands import (
    REPLACED,
    Chunk,
    Close,
    Command,
    Fetch,
    Hello,
    Leaves,
    Rejected,
    Release,
    Sealed,
    Stop,
    from_message,
    to_message,
)
from peer.core.effects import Ask, CancelTimer, Deliver, Effect, Locate, RecordMulticast, Report, SetTimer, Transmit
from peer.core.errors import BAD_SETTINGS, HELD, UNFINISHED, WireError
from peer.core.events import Answered, Started, TimerFired
from peer.core.names import PeerId, is_endpoint
from peer.drivers.chance import stream
from peer.drivers.contact import Contact
from peer.drivers.control import CHUNK_BYTES
from peer.drivers.control_file import Control, read_control
from peer.drivers.lateness import Lateness
from peer.drivers.logs import RunLogs
from peer.drivers.network import Network
from peer.drivers.program import archive_digest
from peer.drivers.round_trips import AFTER, DURING
from peer.session import DRAINED, IDLE, READY, SERVER, Play, Seal, Session

MANAGER = "group_manager"
HERE = ("127.0.0.1", "0.0.0.0", "localhost")
DATAGRAMS_A_TURN = 64
LOOK_EVERY_S = 0.005  # the control connections are looked at that often while it does not sleep
COUNTS_EVERY_S = 1.0
STILL_S, MOST_STANDSTILLS = 3.0, 16  # who did nothing for so long stood still; how many of these are told
LINGER_S = 120e-6  # awake before sleeping: to be woken takes half of that, and all of it on a virtual machine

Application = Callable[[PeerId, int, bytes], None]


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
        control: Path | None = None,
        orphan_s: float = 600.0,
        application: Application | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`control`: the file that says where the manager and the server are, now and whenever they are lost."""
        self.name, self.group, self.orphan_s = name, group, orphan_s
        self.advertise, self.application, self.say = advertise, application, say
        self.said: dict[str, str] = {}  # the last trouble told of each contact
        self.exit_code = HELD
        self.session = Session(name)
        self.logs = RunLogs(logs, name)
        self.incarnation, self.archive = secrets.token_hex(8), archive_digest()
        self.network = Network(name, key, self.incarnation, bind)
        self.control_file, self.control = control, None
        self.control_may_differ = False  # somebody said so
        self.greeted = ""  # whose comparison server was connected to last
        found = control is not None
        self.manager = Contact("group manager", key, self._register, self._manager_now if found else None)
        self.manager.endpoint = manager
        self.server = Contact("comparison server", key, self._greet, self._server_now if found else None)
        self.server.endpoint = server
        self.server_is_given = server is not None or found
        self.heartbeat_s, self.heartbeat_due = 2.0, 0.0
        self.counts_due = 0.0
        self.asked = 0  # requests to the manager
        self.stopping = ""  # why, once it is time to go
        self.timers: list[tuple[float, int, str, Any, bool]] = []  # due, its number, whose, which, whether paced
        self.timer_of: dict[tuple[str, Any], int] = {}
        self.timer_count = 0
        self.chances: dict[tuple[str, Any], Any] = {}
        self.sealed: Sealed | None = None
        self.only_datagrams = [self.network.socket.fileno()]
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
        network = self.network
        at_most = 1
        awake_until = 0.0  # once there is nothing to read
        while not self.stopping:
            turn = network.read(at_most)
            if turn:
                at_most = DATAGRAMS_A_TURN
                self._perform(self.session.host.step(turn, monotonic()))
            if network.held or self.timers:
                self._what_is_due()
            now = monotonic()
            if now - self.looked >= LOOK_EVERY_S:
                self._serve_contacts(now)
            if turn:
                awake_until = now + LINGER_S
                continue
            at_most = 1
            if now < awake_until:
                os.sched_yield()
            else:
                self._sleep(now)
                awake_until = monotonic() + LINGER_S

    def _sleep(self, now: float) -> None:
        """Until there is something to do."""
        if self.manager.broken or self.server.broken:
            self._serve_contacts(now)
            return
        due = min(self.counts_due, self.heartbeat_due)
        for when in (self.manager.next_due(), self.server.next_due(), self.network.next_due()):
            if when is not None and when < due:
                due = when
        if self.timers and self.timers[0][0] < due:
            due = self.timers[0][0]
        writers = [*self.manager.writers(), *self.server.writers()]
        readable, _, _ = select(self.watched, writers, (), due - now if due > now else 0)
        if readable != self.only_datagrams:
            self._serve_contacts(monotonic())

    def _what_is_due(self) -> None:
        now = monotonic()
        if turn := self.network.take_due(now):
            self._perform(self.session.host.step(turn, now))
        timers = self.timers
        while timers and timers[0][0] <= now:
            due, count, layer, key, paced = heappop(timers)
            if self.timer_of.get((layer, key)) == count:
                del self.timer_of[layer, key]
                self.timer_lateness.add(now - due)
                late_s = now - due if paced else 0.0  # any other counts from when it fires
                self._perform(self.session.host.step([TimerFired(layer, key)], now, late_s), due)

    # Effects out.

    def _perform(self, effects: Sequence[Effect | Play | Seal], due: float | None = None) -> None:
        """`due`: when the timer was due that fired in this step."""
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
                self._set_timer(effect, due if effect.paced and due is not None else monotonic())
            elif kind is CancelTimer:
                self.timer_of.pop((effect.layer, effect.key), None)
            elif kind is Report:
                self._perform(self.session.on_news(effect.news))
                self._measure_round_trips()
            elif kind is Locate:
                self.network.locate(effect.peer, effect.endpoint)
            elif kind is Ask:
                self._ask(effect)
            elif kind is Play:
                self._play(effect)
            elif kind is Seal:
                self.network.send(outgoing)  # the last words
                outgoing = {}
                self._seal(effect.run)
        if outgoing:
            self.network.send(outgoing)
        if self.logs.is_open and self.session.host.recorder.holds_records():
            self._write_logs()

    def _measure_round_trips(self) -> None:
        """Before a run begins and after it ended little or nothing is sent that would show them."""
        if self.session.phase == DRAINED:
            self.network.enter(AFTER)
        if self.session.phase in (READY, DRAINED):
            self.network.ask_round_trips()

    def _hand_over(self, block: Any) -> None:
        application, sender = self.application, block.sender
        for number, message in enumerate(unpack(block), block.first):
            application(sender, number, message)

    def _set_timer(self, effect: SetTimer, since: float) -> None:
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
        heappush(self.timers, (since + wait_s, self.timer_count, effect.layer, effect.key, effect.paced))

    # A run begins and ends.

    def _play(self, play: Play) -> None:
        self.network.begin(play)
        self.timers.clear()
        self.timer_of.clear()
        self.chances.clear()
        self.sealed = None
        self._reset_measures()
        gc.unfreeze()  # the stack of the run before was there when that one began
        gc.collect()
        gc.freeze()  # what is there now stays until the run ends: it need not be looked at again and again
        try:
            self.logs.begin(play.header, play.settings.trace == "everything")
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
        self.network.end()  # nothing that came now would be written down
        self.timers.clear()
        self.timer_of.clear()
        self._report(self.sealed)

    # Control.

    def look_at_control(self) -> None:
        """The file may say something else than before; to be called at any time, also by a signal."""
        self.control_may_differ = True

    def _follow_control(self) -> None:
        """Of two operators the later one counts, and the earlier one is told."""
        if (control := self._control_now()) is None:
            return
        if self.greeted != control.attached:
            self._report(Leaves(self.session.run, control.operator))
        self.manager.redirect(control.manager)
        self.server.redirect(control.server)

    def _control_now(self) -> Control | None:
        self.control = read_control(self.control_file) or self.control
        return self.control

    def _manager_now(self) -> tuple[str, int] | None:
        return control.manager if (control := self._control_now()) is not None else None

    def _server_now(self) -> tuple[str, int] | None:
        return control.server if (control := self._control_now()) is not None else None

    def _serve_contacts(self, now: float) -> None:
        self._account_for_a_standstill(now)
        if self.control_may_differ:
            self.control_may_differ = False
            self._follow_control()
        for message, _ in self.manager.serve(now):
            self._on_manager(message)
        for message, _ in self.server.serve(now):
            try:
                self._on_command(from_message(message))
            except WireError as error:
                self.network.dropped[f"control: {error.reason}"] += 1
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
                self._report(self.session.counts(now))
            self._measure_round_trips()
        contacts = (self.manager, self.server)
        if all(contact.lost_at is not None and now - contact.lost_at > self.orphan_s for contact in contacts):
            self._stop(f"no control connection for {self.orphan_s:g} s", UNFINISHED)

    def _account_for_a_standstill(self, now: float) -> None:
        """The contacts are looked after every second at least, unless this whole process stood still."""
        still_s = now - self.looked
        self.looked = now
        if still_s > STILL_S and self.network.border is not None and len(self.stood_still) < MOST_STANDSTILLS:
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
        if kind is Release:
            self.network.enter(DURING)
        elif kind is Stop:
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
        if "lease_s" in message and self.said.get(self.manager.what) != "registered":
            self.said[self.manager.what] = "registered"
            self.say(f"registered with the group manager at {_words(self.manager.endpoint)}")
        if message.get("replaces") is True:
            self.say(f"another process was called {self.name} just now; if it lives, one of the two is told to end")
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
        if "endpoints" in message and self.network.border is not None:
            self._perform(self.session.host.step([Answered(MANAGER, message)], monotonic()))

    def _register(self, contact: Contact) -> None:
        endpoint = self.advertise
        if endpoint is None:
            host, port = self.network.endpoint
            if host == "0.0.0.0":
                host = contact.connection.socket.getsockname()[0]
            endpoint = (host, port)
        request = {"op": "register", "name": self.name, "group": self.group, "endpoint": list(endpoint)}
        self._ask_manager({**request, "incarnation": self.incarnation})

    def _greet(self, contact: Contact) -> None:
        session, python = self.session, sys.version.split()[0]
        hello = Hello(self.name, self.group, self.incarnation, python, session.run, session.phase, self.archive)
        contact.send(to_message(hello))
        self.greeted = self.control.attached if self.control is not None else ""
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
        self.network.close()

    # Measures.

    def _reset_measures(self) -> None:
        self.timer_lateness = Lateness()
        self.began = self.looked = monotonic()  # looked: after the contacts
        self.stood_still: list[dict[str, float]] = []

    def _measures(self) -> dict[str, Any]:
        stack = self.session.host.stack
        return {
            **self.network.measures(),
            "resent": stack.total("resent"),
            "duplicates": stack.total("duplicates"),
            "stood_still": self.stood_still,
            "timer_lateness": self.timer_lateness.summary(),
            **stack.measures(),
        }


def _words(endpoint: tuple[str, int] | None) -> str:
    return "{}:{}".format(*endpoint) if endpoint else "an unknown address"

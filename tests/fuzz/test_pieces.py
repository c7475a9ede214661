"""Nonsense for every piece by itself: nothing but a named error comes out, and what is kept stays within its bounds.

`make night` takes a hundred times as much of it. A failure names the seed, and what was said last.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from comparison_server.coordinator import DONE, Coordinator
from comparison_server.delivery_log import Collection
from group_manager.membership import MOST_ENTRIES, Membership
from peer.connection import ready_ack
from peer.connection.ready_ack import HandshakeAck, Ready
from peer.core import wire
from peer.core.blocks import BESIDE_BODY_BYTES, Block
from peer.core.commands import COMMANDS, REPORTS, Close, Counts, Hello, Prepare, Release, from_message
from peer.core.effects import Ask, CancelTimer, Report, SetTimer, Transmit
from peer.core.errors import RunError, WireError
from peer.core.events import Answered, Moved, PacketArrived, Started, TimerFired
from peer.core.layer import freeze
from peer.core.settings import to_json
from peer.drivers import control
from peer.drivers.control import KEY_BYTES, Connection
from peer.links.ack_resend import Ack, AckResend, Data
from peer.ordering import fifo, fixed_sequencer, unordered
from peer.ordering.fixed_sequencer import Numbered
from peer.session import Session
from peer.stacks import ORDERINGS, WORKLOADS
from tests.control_client import until
from tests.fuzz import nonsense
from tests.runs import ORDERINGS_AND_VARIANTS, run_settings

NAMES = ("p0", "p1", "p2")
ENDPOINTS = {name: ["10.0.0.1", 7 + place] for place, name in enumerate(NAMES)}
NIGHT = 100

many = pytest.mark.parametrize("times", [1, pytest.param(NIGHT, marks=pytest.mark.slow)])


@contextmanager
def told(seed: object, said: list[Any]) -> Iterator[None]:
    """Whatever goes wrong, say of which seed and after which words."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"seed {seed!r}; last said: {said[-3:]!r}") from error


# -- a whole stack, and members that talk nonsense

# Bounds so near that nonsense comes up against them.
MOST_BYTES, MOST_ACKED, WINDOW, HELD, EARLY = 10_000, 20, 64, 40, 30
LINK = {"window": WINDOW, "most_bytes": MOST_BYTES}


@pytest.fixture(autouse=True)
def near_bounds(monkeypatch):
    for module in (fifo, fixed_sequencer, unordered):
        monkeypatch.setattr(module, "HELD_AT_MOST", HELD)
    monkeypatch.setattr(ready_ack, "HELD_AT_MOST", EARLY)


class Victim:
    """One of three members: a session, its timers, and the two others, who have its attention."""

    def __init__(self, ordering: str, variant: str | None, workload: str, seed: str, link_name: str = "ack_resend"):
        options = {"most_bytes": MOST_BYTES} if ordering == "lamport_all_ack" else {}
        options |= {"most_acked": MOST_ACKED} if variant == "textbook" else {}
        link = LINK if link_name == "ack_resend" else None
        run = run_settings(ordering, variant, workload=workload, link=link, link_name=link_name, messages=50)
        stack = replace(run.stack, allow_unmet=True)
        stack = replace(stack, ordering=replace(stack.ordering, options=stack.ordering.options | options))
        self.chance, self.said, self.timers = Random(seed), [], {}
        self.overfull = False
        self.me = self.chance.randrange(2)
        self.others = [member for member in range(3) if member != self.me]
        self.speaking = self.others[self.chance.randrange(2) :]  # where one says nothing, much has to be kept
        self.places = [0, 0, 0]
        self.session = Session(NAMES[self.me])
        self.session.on_command(Prepare("r1", self.me, json.loads(to_json(replace(run, stack=stack)))), 0.0)
        self.link, self.ordering = map(self.session.host.stack.layer, (link_name, ordering))
        self.now = 0.0
        self.step(Started(entropy=bytes(32)))
        self.step(Answered("group_manager", {"endpoints": ENDPOINTS}))

    def step(self, *turn: Any) -> None:
        self.now += 0.001
        self.perform(self.session.host.step(turn, self.now))

    def perform(self, effects: list[Any]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                assert len(wire.encode(effect.packet)) == wire.size_of(effect.packet)
                if type(effect.packet) is Ready:
                    self.greet(effect.target, effect.packet)
            elif kind is SetTimer:
                self.timers[effect.layer, effect.key] = None
            elif kind is CancelTimer:
                self.timers.pop((effect.layer, effect.key), None)
            elif kind is Report:
                self.perform(self.session.on_news(effect.news))
            elif kind is Ask:
                json.dumps(vars_of(effect.question))
                self.overfull = self.overfull or getattr(effect.question, "code", "") == "overfull"
        self.session.host.recorder.take()

    def greet(self, member: int, ready: Ready) -> None:
        """The others shake hands as they should, some time."""
        if self.chance.random() < 0.05:
            self.said += [HandshakeAck(ready.nonce, ready.digest), Ready(1, ready.digest)]
            self.step(*[PacketArrived(member, packet) for packet in self.said[-2:]])

    def hears(self, cases: int) -> None:
        """So many packets, some in one turn, and whatever timers are set fire in between."""
        chance = self.chance
        while cases > 0:
            turn: list[Any] = []
            for _ in range(chance.choice((1, 1, 2, 8))):
                source = chance.choice(self.speaking)
                raw = wire.encode(self.likely(source, nonsense.packet(chance)))
                if chance.random() < 0.1:
                    raw = nonsense.mutated(chance, raw, [raw])
                cases -= 1
                try:
                    packet = wire.decode(raw)
                except WireError:
                    continue
                self.said.append(packet)
                turn.append(PacketArrived(source, packet, chance.choice((None, 0.001, 9e9)), 0.1))
            if chance.random() < 0.02:
                turn.append(Moved(self.others[0], ("10.0.0.9", chance.randrange(1, 65536))))
            self.step(*turn)
            if self.timers and chance.random() < 0.3:
                name = chance.choice(list(self.timers))
                del self.timers[name]
                self.step(TimerFired(*name))
            del self.said[:-8]

    def likely(self, source: int, packet: Any) -> Any:
        """Most of the time what says who it is from, is its sender's next, and comes as the link's next."""
        chance = self.chance
        block = packet.block if type(packet) is Numbered else packet
        if type(block) is Block and block.count <= 100 and chance.random() < 0.8:
            sender = source if block is packet else chance.randrange(3)
            gap = chance.choice((0, 0, 0, 0, 0, 1, 5))
            block = replace(block, sender=sender, first=self.places[sender] + gap)
            self.places[sender] = block.following
            if type(packet) is Numbered:
                due = getattr(self.ordering, "delivered", 0)
                packet = replace(packet, number=due + chance.choice((0, 0, 0, 1, chance.randrange(500))), block=block)
            else:
                packet = block
        if (
            type(self.link) is AckResend
            and type(packet) not in (Data, Ack, Ready, HandshakeAck)
            and chance.random() < 0.9
        ):
            pair = self.link.pairs[source]
            number = pair.expected + chance.choice((0, 0, 0, 0, 0, 1, 2, WINDOW - 1, WINDOW, -1))
            said = (*[pair.lowest] * 9, pair.next, pair.next - 1, pair.next + 1)
            packet = Data(max(0, number), max(0, chance.choice(said)), chance.choice((0, 0, 0, 1, 6, 2**63)), packet)
        return packet


def vars_of(question: Any) -> Any:
    return question if isinstance(question, dict) else {f: getattr(question, f) for f in question.__slots__}


def amount(frozen: Any) -> int:
    """How many values a frozen layer holds."""
    return sum(map(amount, frozen)) if type(frozen) is tuple else 1


def bytes_in(frozen: Any) -> int:
    if type(frozen) is tuple:
        return sum(map(bytes_in, frozen))
    return len(frozen) if type(frozen) is bytes else 0


# A block or packet that is held is at most twenty values, and its body, here, at most 1,300 bytes or one joined of
# pieces. An ordering holds back of each sender, a link beyond a gap and unacknowledged of each of the two others, the
# handshake of both together; what is bounded by bytes is bounded by bytes beside the packets.
MOST_HELD = 3 * HELD + 2 * 3 * WINDOW + EARLY + 2 * (2 * MOST_BYTES // BESIDE_BODY_BYTES) + 2 * MOST_ACKED


def assert_bounded(victim: Victim) -> None:
    layers = victim.session.host.stack.layers
    frozen = [freeze(layer) for layer in layers]
    assert sum(map(amount, frozen)) < 20 * MOST_HELD + 2000, "2,000: what a stack is that holds nothing"
    assert sum(map(bytes_in, frozen)) < 1300 * MOST_HELD
    for layer in layers:
        assert all(len(back) <= HELD for back in getattr(layer, "back", ()))
        ahead = getattr(layer, "ahead", ())
        assert all(len(each) <= HELD for each in ahead) if isinstance(ahead, list) else len(ahead) <= HELD
        for pair in getattr(layer, "pairs", ()):
            assert len(pair.ahead) <= WINDOW and len(pair.unacked) <= WINDOW and pair.waiting_bytes <= MOST_BYTES
            assert len(pair.joining) <= (1 if layer.order == "fifo" else WINDOW)
        assert getattr(layer, "queued_bytes", 0) <= MOST_BYTES + 50 * 400, "own blocks are within the window"
        assert len(getattr(layer, "ackers", ())) <= MOST_ACKED + 100, "and so are acks of what is in the queue"
        assert len(getattr(layer, "early", ())) <= EARLY


@many
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("ordering, variant", ORDERINGS_AND_VARIANTS)
def test_a_member_that_talks_nonsense_stops_nobody(ordering, variant, workload, times):
    victim = Victim(ordering, variant, workload, seed := f"{ordering} {variant} {workload}")
    with told(seed, victim.said):
        victim.hears(300)
        victim.perform(victim.session.on_command(Release("r1"), victim.now))
        victim.hears(1500 * times)
        assert_bounded(victim)
        victim.perform(victim.session.on_command(Close("r1"), victim.now))


@many
@pytest.mark.parametrize("ordering, variant", ORDERINGS_AND_VARIANTS)
def test_nor_does_it_over_a_link_that_promises_nothing(ordering, variant, times):
    victim = Victim(ordering, variant, "steady", seed := f"direct {ordering} {variant}", link_name="direct")
    with told(seed, victim.said):
        victim.perform(victim.session.on_command(Release("r1"), victim.now))
        victim.hears(2000 * times)
        assert_bounded(victim)


# -- commands, reports, requests


def framed(said: Any) -> Any:
    """What a message says after its way over a control connection, or None if that ends the connection."""
    try:
        return control.message_of(json.dumps(said).encode())
    except (WireError, RecursionError):
        return None


def heard(said: Any) -> Any:
    """The command or report that a message is, or None."""
    try:
        return from_message(framed(said))
    except WireError:
        return None


def spoiled(chance: Random, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of which something, somewhere, is another value, missing or too much."""
    copy = json.loads(json.dumps(settings))
    if chance.random() < 0.3:
        options = copy["stack"][chance.choice(("link", "ordering"))]["options"]
        value = chance.choice((0, -1, 1, 2, 99, 10**19, 0.5, "x", "none", None, True, [], {}))
        options[chance.choice(("window", "order", "piece_bytes", "most_bytes", "sequencer", "variant"))] = value
        return copy
    place = copy
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.8:
            place = inner
            continue
        kind = chance.randrange(8)
        if kind == 0:
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[chance.choice(("window", "order", "variant", "x"))] = nonsense.rubbish(chance)
        elif kind < 5:
            place[key] = chance.choice(
                (0, 1, 2, -1, 0.5, 255, 256, "", "none", *ORDERINGS, *WORKLOADS, [], {}, None, True)
            )
        else:
            place[key] = nonsense.rubbish(chance)
        return copy


@many
def test_whatever_a_session_is_commanded_it_does_or_rejects(times):
    chance, session, said, played = Random("session"), Session("p0"), [], 0
    rights = [json.loads(to_json(run_settings(ordering, messages=5))) for ordering in ORDERINGS]
    with told("session", said):
        for now in range(4000 * times):
            if now % 3:
                said.append(nonsense.control(chance, kinds=COMMANDS))
            else:
                said.append(
                    {"op": "Prepare", "run": "r1", "me": now % 4, "settings": spoiled(chance, chance.choice(rights))}
                )
            command = heard(said[-1])
            if not isinstance(command, COMMANDS):
                continue
            effects = session.on_command(command, float(now))
            for effect in effects:
                if type(effect) is Ask:
                    json.dumps(vars_of(effect.question))
            if type(command) is Prepare and session.prepare is command:
                played += 1
                reply = {"endpoints": nonsense.rubbish(chance)} if now % 2 else {"endpoints": ENDPOINTS}
                effects = session.host.step([Started(entropy=bytes(32)), Answered("group_manager", reply)], float(now))
                effects += session.on_command(Release(session.run), float(now))
                while effects:
                    for effect in effects:
                        assert type(effect) is not Transmit or wire.encode(effect.packet)
                    timers = [TimerFired(each.layer, each.key) for each in effects if type(each) is SetTimer]
                    effects = session.host.step(timers, float(now)) if chance.random() < 0.8 else []
                session.counts()
            del said[:-3]
    assert played > 50


@many
def test_whatever_sessions_report_a_run_comes_to_its_end(times):
    chance, said = Random("coordinator"), []
    coordinator, now, ends = Coordinator(), 0.0, set()
    settings = run_settings()
    with told("coordinator", said):
        for number in range(60 * times):
            coordinator.start("r1", settings, number % 2 == 0, {}, now, {})
            until = now + 2000.0
            while coordinator.phase != DONE:
                assert now < until, f"in phase {coordinator.phase} for ever"
                now += chance.choice((0.0, 0.1, 1.0, 5.0))
                coordinator.tick(now)
                for _ in range(chance.randrange(4)):
                    said.append(nonsense.control(chance, kinds=REPORTS + 12 * (Counts,)))
                    report, name = heard(said[-1]), chance.choice((*NAMES, "mallory"))
                    if isinstance(report, Hello):
                        coordinator.joined(name, now, report.run, report.phase, report.incarnation)
                    elif isinstance(report, REPORTS) and hasattr(report, "run"):
                        coordinator.on_report(name, report, now)
                    if chance.random() < 0.05 and name in NAMES:
                        chance.choice((coordinator.left, coordinator.collected))(name, now)
                coordinator.take()
                del said[:-8]
            ends.add(str(coordinator.error)[:20])
            assert coordinator.error is None or isinstance(coordinator.error, RunError)
            assert len(coordinator.found) <= 64 and len(coordinator.present) <= 8
    assert len(ends) > 3, "they come to different ends"


@many
def test_whatever_the_group_manager_is_asked_it_replies(times):
    chance, said, membership = Random("membership"), [], Membership()
    names = (*NAMES, "", "p 9", "x" * 65, "server", "a/b")
    kinds = set()
    with told("membership", said):
        for number in range(15_000 * times):
            name = f"p{number}" if chance.random() < 0.1 else chance.choice(names)
            said.append(framed(nonsense.request(chance, (name,))))
            reply = membership.handle(said[-1], number / 1000)
            assert isinstance(reply["ok"], bool) and len(membership.entries) <= MOST_ENTRIES
            kinds.add(reply.get("code", "ok"))
            del said[:-3]
    assert kinds >= {"ok", "malformed", "unknown op", "unknown name", "busy"}, kinds


@many
def test_whatever_logs_are_announced_and_sent_the_collection_names_who_did_it(tmp_path, times):
    chance, said = Random("collection"), []
    collection = Collection("r1", tmp_path, NAMES)
    with told("collection", said):
        for _ in range(1500 * times):
            said.append(nonsense.control(chance, kinds=REPORTS))
            report, name = heard(said[-1]), chance.choice(NAMES)
            try:
                if hasattr(report, "files"):
                    collection.sealed(name, report.files)
                elif hasattr(report, "offset"):
                    collection.on_chunk(name, report, chance.randbytes(chance.randrange(100)))
            except RunError as error:
                assert error.peers == [name]
            del said[:-3]
    collection.close()


# -- bytes


@many
def test_whatever_bytes_are_decoded_are_a_packet_or_refused(times):
    chance, said, seen = Random("wire"), [], set()
    right = [wire.encode(nonsense.packet(chance)) for _ in range(200)]
    with told("wire", said):
        for _ in range(30_000 * times):
            said.append(nonsense.mutated(chance, chance.choice(right), right))
            try:
                packet = wire.decode(said[-1])
                assert wire.encode(packet) == said[-1], "what is let in has one form only"
            except WireError as error:
                seen.add(error.reason)
            del said[:-2]
    assert seen >= {"cut", "kind", "empty", "overlong", "block", "stamp"}, seen


@many
def test_whatever_bytes_come_over_a_control_connection_are_messages_or_end_it(times):
    key, chance, said, ends = bytes(KEY_BYTES), Random("control"), [], set()
    with told("control", said), socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(300 * times):
            there = socket.create_connection(listener.getsockname())
            here, _ = listener.accept()
            server = Connection(here, key, accepted=True, largest_frame=200_000)
            client = Connection(there, key, accepted=False)
            server.write()
            until(lambda: client._nonce is not None, lambda: list(client.read()))
            for _ in range(8):
                message = nonsense.control(chance)
                try:
                    client.send(message)
                except RecursionError:
                    continue
                said.append(message)
            frame = chance.randbytes(chance.randrange(1, 100))
            said.append(frame)
            there.setblocking(True)
            try:
                there.sendall(frame if chance.random() < 0.5 else bytes(4) + frame)
                there.shutdown(1)
            except OSError:
                pass  # the server has had enough
            until(lambda: server.closed, lambda: list(server.read()))
            ends.add(server.closed.split(":")[0])
            server.close()
            client.close()
            del said[:-9]
    assert {"frame", "json"} <= ends, ends

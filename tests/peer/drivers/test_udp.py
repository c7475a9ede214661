"""The real world around a session: bytes from anywhere, timers, logs, and the socket."""

from __future__ import annotations

import gc
import random
import socket
import struct
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from peer.connection.ready_ack import Ready
from peer.core.commands import Close, Prepare, Release, Sealed
from peer.core.effects import CancelTimer, SetTimer, Transmit
from peer.core.events import Answered, TimerFired
from peer.core.trace import read_header
from peer.drivers.control import Connection
from peer.drivers.lateness import Lateness
from peer.drivers.udp import UdpPeer
from tests.runs import run_settings

RUN = "ab" * 8
KEY = bytes(32)


class Group:
    """Peers on loopback in one thread, each taking a turn when asked."""

    def __init__(self, folder: Path, ordering: str = "lamport_all_ack", **settings: object) -> None:
        self.settings = replace(run_settings(ordering, peers=3, **settings), delays_s=None)
        self.peers = [UdpPeer(name, KEY, bind=("127.0.0.1", 0), logs=folder / name) for name in self.settings.members]
        self.deadline = time.monotonic() + 20

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self.peers:
            peer.network.close()
            peer.logs.close()

    def prepare(self, host="127.0.0.1") -> None:
        endpoints = {peer.name: [host, peer.network.endpoint[1]] for peer in self.peers}
        for me, peer in enumerate(self.peers):
            peer._on_command(Prepare(RUN, me, asdict(self.settings)))
            peer._perform(peer.session.host.step([Answered("group_manager", {"endpoints": endpoints})], 0.0))

    def until(self, reached) -> None:
        while not all(reached(peer) for peer in self.peers):
            assert time.monotonic() < self.deadline, [peer.session.counts() for peer in self.peers]
            for peer in self.peers:
                turn = peer.network.read(64)
                if turn:
                    peer._perform(peer.session.host.step(turn, time.monotonic()))
                peer._what_is_due()

    def run(self) -> None:
        self.prepare()
        self.until(lambda peer: peer.session.phase == "ready")
        for peer in self.peers:
            peer._on_command(Release(RUN))

    def finish(self) -> list[Sealed]:
        self.until(lambda peer: peer.session.phase == "drained")
        for peer in self.peers:
            peer._on_command(Close(RUN))
        return [peer.sealed for peer in self.peers]


def test_a_run_over_real_sockets(tmp_path):
    with Group(tmp_path, messages=20, gap_ms=(1, 2)) as group:
        group.run()
        sealed = group.finish()
    logs = [(tmp_path / f"p{me}" / f"p{me}-trace.bin").read_bytes() for me in range(3)]
    assert [len(log) for log in logs] == [each.files["trace"][0] for each in sealed]
    header, _ = read_header(tmp_path / "p0" / "p0-trace.bin")
    assert (header["peer"], header["run"]) == (0, RUN)


def test_a_connection_that_breaks_while_something_is_sent_is_dialled_again(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = UdpPeer("p0", KEY, bind=("127.0.0.1", 0), server=listener.getsockname(), logs=tmp_path)
        contact, deadline = peer.server, time.monotonic() + 10

        def serve_until(reached) -> None:
            while not reached():
                assert time.monotonic() < deadline, contact.trouble
                peer._sleep(time.monotonic())

        serve_until(lambda: contact.open)
        there = Connection(listener.accept()[0], KEY, accepted=True)
        there.write()
        serve_until(lambda: list(there.read()))  # its greeting was heard, and answered
        there.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()  # as if its process was killed: the connection is reset
        while not contact.broken:
            contact.send({"words": "x" * 100_000})
        assert contact.writers(), "not all of it was sent"
        peer._sleep(time.monotonic())
        assert not contact.open and contact.trouble
        serve_until(lambda: contact.open)
        peer.network.close()
        peer.manager.close()
        peer.server.close()


def test_noise_is_counted_and_changes_nothing(tmp_path):
    chance = random.Random(1)
    with (
        Group(tmp_path, messages=20, gap_ms=(1, 2)) as group,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise,
    ):
        group.run()
        sent = 0
        while not all(peer.session.phase == "drained" for peer in group.peers):
            for peer in group.peers:
                noise.sendto(chance.randbytes(chance.randrange(1, 1500)), peer.network.endpoint)
            sent += 1
            group.until(lambda peer: True)
            for peer in group.peers:
                turn = peer.network.read(64)
                if turn:
                    peer._perform(peer.session.host.step(turn, time.monotonic()))
                peer._what_is_due()
        for each in group.finish():
            assert 0 < sum(each.measures["dropped"].values()) <= sent
            assert set(each.measures["dropped"]) <= {"short", "version", "key"}


def test_what_was_recorded_is_refused_when_it_comes_again(tmp_path):
    with Group(tmp_path, messages=5, gap_ms=(1, 2)) as group:
        group.run()
        victim = group.peers[0]
        envelope, taken = victim.network.envelope, []
        original = envelope.open
        envelope.open = lambda data: (taken.append(bytes(data)), original(data))[1]
        group.until(lambda peer: peer.session.phase == "drained")
        del envelope.open
        while victim.network.read(64):
            pass  # an acknowledgement that nobody waited for was still on its way
        before = victim.session.counts()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as recorder:
            for datagram in taken:
                recorder.sendto(datagram, victim.network.endpoint)
            while victim.network.dropped["replayed"] < len(taken):
                assert time.monotonic() < group.deadline, victim.network.dropped
                assert victim.network.read(64) == []
        assert victim.session.counts() == before


def test_a_member_known_by_the_name_of_its_host_is_asked_for_once(tmp_path, monkeypatch):
    with Group(tmp_path, messages=2, gap_ms=(0, 0)) as group:
        ask, asked = socket.getaddrinfo, []
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: asked.append(host) or ask(host, *rest))
        group.prepare(host="localhost")
        assert [each.endpoint[0] for each in group.peers[0].network.neighbours[1:]] == ["127.0.0.1", "127.0.0.1"]
        assert asked == ["localhost"] * 6, "each of three, for two others"
        group.until(lambda peer: peer.session.phase == "ready")


def test_a_name_that_nobody_knows_is_no_end_of_a_peer(tmp_path):
    with Group(tmp_path) as group:
        group.prepare(host="no.such.host.invalid")
        peer = group.peers[0]
        peer._perform([Transmit(1, Ready(1, 2))])
        assert sum(peer.network.dropped.values()) > 0 and not peer.stopping


def test_datagrams_of_another_run_and_of_strangers_are_refused(tmp_path):
    with Group(tmp_path, messages=5) as group:
        group.prepare()
        victim, other = group.peers[0], group.peers[1]
        there = other.network.neighbours[0]
        other.network.border.run += 1
        other.network._send([other.network._sealed(0, there, [])], there)
        other.network.border.run, other.network.border.sender = victim.network.border.run, 12345
        other.network._send([other.network._sealed(0, there, [])], there)
        while sum(victim.network.dropped.values()) < 2:
            assert time.monotonic() < group.deadline, victim.network.dropped
            victim.network.read(64)
        assert victim.network.dropped == {"other run": 1, "stranger": 1}


def test_a_timer_that_was_replaced_or_cancelled_never_fires(tmp_path):
    fired = []

    class Session:
        class host:
            @staticmethod
            def step(turn, now, late_s):
                fired.extend(event.key for event in turn if type(event) is TimerFired)
                return []

    with Group(tmp_path) as group:
        peer = group.peers[0]
        peer.session = Session()
        for name, wait_s in (("cancelled", 0.0), ("replaced", 0.0), ("replaced", 0.02), ("kept", 0.01)):
            peer._perform([SetTimer("layer", name, wait_s, wait_s)])
        peer._perform([CancelTimer("layer", "cancelled")])
        while len(fired) < 2:
            assert time.monotonic() < group.deadline
            peer._what_is_due()
        assert fired == ["kept", "replaced"] and not peer.timers


def test_a_peer_that_was_held_up_makes_up_for_it_and_says_how_late_it_was(tmp_path):
    """A timer that keeps its pace counts from when it was due, any other from when it fired."""
    fired = []

    class Session:
        class host:
            @staticmethod
            def step(turn, now, late_s):
                (event,) = turn
                fired.append((event.key, late_s))
                return [SetTimer("layer", event.key, 0.04, 0.04, paced=event.key == "paced")]

    with Group(tmp_path) as group:
        peer = group.peers[0]
        peer.session = Session()
        began = time.monotonic() - 0.15  # since when it was held up
        peer._perform([SetTimer("layer", "paced", 0.04, 0.04, paced=True)], began)
        peer._perform([SetTimer("layer", "other", 0.0, 0.0)])
        peer._what_is_due()
        late = [late_s for key, late_s in fired if key == "paced"]
        assert {late_s for key, late_s in fired if key == "other"} == {0.0}
        times = int((time.monotonic() - began) / 0.04)
        assert 2 <= len(late) <= times and [key for key, _ in fired].count("other") == 1
        assert [earlier - later for earlier, later in zip(late, late[1:])] == pytest.approx([0.04] * (len(late) - 1))
        assert late[0] >= 0.11 and 0 <= late[-1] < 0.04


def test_logs_that_cannot_be_written_are_said_and_the_peer_goes_on(tmp_path):
    (tmp_path / "p0").write_text("a file where the folder of logs should be")
    with Group(tmp_path) as group:
        said = []
        group.peers[0]._report = said.append
        group.peers[0]._on_command(Prepare(RUN, 0, asdict(group.settings)))
        assert [(report.code, "p0 cannot write its logs" in report.sentence) for report in said] == [("disk", True)]


@pytest.mark.parametrize(("values", "median"), [([0.0], 0.0), ([1e-4] * 9 + [1.0], 0.000128)])
def test_lateness_in_powers_of_two(values, median):
    lateness = Lateness()
    for value in values:
        lateness.add(value)
    summary = lateness.summary()
    assert summary["p50_s"] == median and summary["worst_s"] == max(values)


def test_what_comes_after_the_end_of_a_run_is_dropped(tmp_path):
    with Group(tmp_path, messages=5, gap_ms=(1, 2)) as group:
        group.run()
        victim, other = group.peers[0], group.peers[1]
        late = other.network.border.seal(0, 0, 0, 0, [])
        sealed = group.finish()[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(late, victim.network.endpoint)
        while not victim.network.dropped["no run"]:
            assert time.monotonic() < group.deadline
            assert victim.network.read(64) == []
        assert (victim.session.phase, victim.sealed, victim.timers, victim.network.held) == ("closed", sealed, [], [])


def test_a_flood_of_noise_keeps_nobody_from_being_heard(tmp_path, monkeypatch):
    with Group(tmp_path) as group:
        peer = group.peers[0]

        def read(at_most):
            assert time.monotonic() < group.deadline, "nothing but noise was looked at"
            return []

        monkeypatch.setattr(peer.network, "read", read)
        monkeypatch.setattr(peer, "_sleep", lambda now: None)  # which ends at once: there is always something to read
        monkeypatch.setattr(peer, "_serve_contacts", lambda now: setattr(peer, "stopping", "it was heard"))
        peer._loop()


def test_a_standstill_before_the_release_is_told_as_of_the_beginning_of_the_run(tmp_path):
    with Group(tmp_path) as group:
        group.prepare()
        peer = group.peers[0]
        peer._account_for_a_standstill(peer.began + 5.0)
        (told,) = peer.stood_still
        assert told["at_s"] < 1.0 and 4.0 < told["for_s"] <= 5.0


def test_a_run_leaves_nothing_in_memory_when_the_next_begins(tmp_path):
    with Group(tmp_path) as group:
        peer, kept = group.peers[0], []
        try:
            for run in range(6):
                peer._on_command(Prepare(f"r{run}", 0, asdict(group.settings)))
                kept.append(gc.get_freeze_count())
                peer._on_command(Close(f"r{run}"))
        finally:
            gc.unfreeze()
    assert kept[5] - kept[2] < 30, "objects that are never looked at again"


@pytest.mark.parametrize(
    "message",
    [
        {"server": ["127.0.0.1", 70000]},
        {"server": ["\u2603", 1]},
        {"server": [1, 2]},
        {"heartbeat_s": "soon"},
        {"heartbeat_s": None},
        {"heartbeat_s": -1},
        {"endpoints": [1]},
        {"endpoints": {"p1": ["127.0.0.1", 0], "p2": "here"}},
        {"endpoints": None},
        [],
        "code",
    ],
    ids=str,
)
def test_a_group_manager_that_talks_nonsense_is_not_believed(tmp_path, message):
    with Group(tmp_path) as group:
        peer = group.peers[0]
        peer._on_command(Prepare(RUN, 0, asdict(group.settings)))
        peer._on_manager(message)
        assert peer.server.endpoint is None and peer.heartbeat_s == 2.0
        assert [neighbour.endpoint for neighbour in peer.network.neighbours] == [None] * 3

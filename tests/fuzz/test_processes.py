"""A hundred thousand things that nobody should send, for real processes during real runs; ten times as many at night.

Mallory is a member: a peer in this process that keeps to every rule, beside which a stranger sends what he made up,
spoiled, recorded or redirected. In the first runs nothing of that has a right tag, and nothing of it may leave a trace.
Then Mallory herself begins to talk nonsense, with the key, and the runs may be spoiled, but end as runs end.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from random import Random
from select import select
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from comparison_server.run_folder import load_run
from comparison_server.service import Outcome
from comparison_server.verdict import judge
from experiments.local import LocalCluster
from peer.connection.ready_ack import Ready
from peer.core.commands import REPORTS, Hello
from peer.core.errors import LabError, RunError
from peer.core.settings import DeadlineSettings, RunSettings
from peer.drivers.control import Connection, dial
from peer.drivers.datagram import Border, Envelope
from peer.drivers.udp import UdpPeer
from peer.session import FREE
from peer.stacks import promised
from tests.fuzz import nonsense
from tests.runs import run_settings

SEED, KEY = 1, bytes(range(32))
HONEST = ("p0", "p1", "p2")
MEMBERS = (*HONEST, "mallory")
BATCH = 24  # cases between two looks at the honest side of Mallory's life
LAST = 40  # things said that are told after a failure
END_S = 300.0  # for all runs of one kind, per hundred thousand cases
# What a process may have grown by. What comes without a right tag is never kept: 4 MB are what the allocator and the
# logs of a dozen runs make of it. What comes with one is kept within a run at most, a kilobyte a case. This process,
# which holds the comparison server, also makes all that is said and judges a hundred runs.
GROWTH_MB, MEMBERS_GROWTH_MB, GROWTH_HERE_MB = 4, 12, 24


class Tapped:
    """A border that remembers what was sealed."""

    def __init__(self, border: Border) -> None:
        self.border = border
        self.sent: deque[tuple[int, bytes]] = deque(maxlen=500)  # target, datagram

    def seal(self, target: int, *rest: Any) -> bytes:
        data = self.border.seal(target, *rest)
        self.sent.append((target, data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.border, name)


class Mallory:
    """A member, and the stranger beside her."""

    def __init__(self, cluster: LocalCluster, key: bytes, logs: Path) -> None:
        self.manager, self.server = cluster.service._manager._contact.endpoint, cluster.service.endpoint
        services = {"manager": self.manager, "server": self.server}
        self.peer = UdpPeer("mallory", key, bind=("127.0.0.1", 0), logs=logs, **services)
        self.chance, self.key = Random(SEED), key
        self.left = 0  # cases
        self.share = 0.0  # of them that have a right tag
        self.words: deque[tuple[str, Any]] = deque(maxlen=LAST)
        self.cases: Counter[str] = Counter()
        self.earlier: deque[bytes] = deque(maxlen=500)  # what was sent in earlier runs
        self.stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lines: dict[str, Connection] = {}
        self.failure: BaseException | None = None
        self.thread = Thread(target=self._live, daemon=True)

    def _live(self) -> None:
        peer, network = self.peer, self.peer.network
        try:
            while not peer.stopping:
                turn = network.read(64)
                if turn:
                    peer._perform(peer.session.host.step(turn, monotonic()))
                peer._what_is_due()
                border = network.border
                peer._serve_contacts(monotonic())
                if type(border) is Tapped and network.border is not border:
                    self.earlier.extend(data for _, data in border.sent)
                if type(network.border) is Border:
                    network.border = Tapped(network.border)
                playing = network.border is not None and peer.session.phase not in FREE
                known = all(neighbour.endpoint for neighbour in network.neighbours[: len(HONEST)])
                if playing and known and self.left > 0:
                    self._be_a_nuisance()
                select([network.socket], [], [], 0.0005)
        except BaseException as error:
            self.failure = error

    def _be_a_nuisance(self) -> None:
        chance = self.chance
        for _ in range(min(BATCH, self.left)):
            self.left -= 1
            authentic = chance.random() < self.share
            if chance.random() < 0.02:
                self._say_on_a_line(chance.choice(("manager", "server")), authentic)
            else:
                self._send_anything(chance.randrange(len(HONEST)), authentic)

    # Datagrams.

    def _send_anything(self, target: int, authentic: bool) -> None:
        chance = self.chance
        sound = self._sealed(self.peer.network.border.border, target)
        if authentic:
            data = sound
            self.cases["datagrams with the key"] += 1
        else:
            kind = chance.choice(("made up", "another key", "replayed", "redirected", "earlier", *["mutated"] * 5))
            if kind in ("replayed", "redirected", "earlier"):
                data = chance.choice(self._recorded(kind, target) or [sound[:-1]])
            elif kind == "made up":
                data = chance.randbytes(chance.choice((0, 1, 60, 90, 1300, 9000)))
            elif kind == "another key":
                session = self.peer.session
                envelope = Envelope(bytes(32), "mallory")
                other = Border(envelope, self.peer.incarnation, session.run, session.me, session.settings.members, {})
                data = self._sealed(other, target)
            else:
                data = nonsense.mutated(chance, sound, [sound, bytes(200)])
                if data == sound:
                    data = sound[:-1]
            self.cases[kind] += 1
        self.words.append((HONEST[target], data))
        self.stranger.sendto(data, self.peer.network.neighbours[target].endpoint)

    def _recorded(self, kind: str, target: int) -> list[bytes]:
        """What really was sent: to this target, to another one, in an earlier run."""
        if kind == "earlier":
            return list(self.earlier)
        return [data for to, data in self.peer.network.border.sent if (to == target) == (kind == "replayed")]

    def _sealed(self, border: Border, target: int) -> bytes:
        chance, bodies = self.chance, {}
        packets = [nonsense.packet(chance) for _ in range(chance.choice((1, 1, 2, 5)))]
        if chance.random() < 0.999:  # who is told of another run says so, and nothing more comes of this one
            digest = int.from_bytes(self.peer.session.settings.digest(), "little")
            packets = [replace(each, digest=digest) if type(each) is Ready else each for each in packets]
        stamps = [nonsense.number(chance, bits) for bits in (64, 64, 32)]
        return border.seal(target, *stamps, [border.envelope.entry(packet, bodies) for packet in packets])

    # Frames.

    def _say_on_a_line(self, which: str, authentic: bool) -> None:
        chance = self.chance
        line = self.lines.get(which)
        if line is None or line.closed:
            try:
                line = self.lines[which] = dial(getattr(self, which), self.key)
            except LabError:
                return
            select([line], [], [], 1.0)
        list(line.read())
        if authentic:
            message = self._message(which)
            self.words.append((which, message))
            self.cases["frames with the key"] += 1
            try:
                line.send(message)
            except RecursionError:
                pass
        else:
            data = chance.randbytes(chance.choice((1, 4, 24, 300))) + bytes(chance.choice((0, 4)))
            self.words.append((which, data))
            self.cases["frames"] += 1
            try:
                line.socket.send(data)
            except OSError:
                line.close()

    def _message(self, which: str) -> Any:
        """What is no nonsense but a lie in another's name, such as that a peer is gone, would simply be believed."""
        chance = self.chance
        if which == "manager":
            request = nonsense.request(chance, ("eve", "eve 2", ""))
            if isinstance(request, dict) and "server" in (request.get("role"), request.get("op")):
                request["group"] = "other"
            return request
        report = nonsense.control(chance, run=self.peer.session.run, kinds=REPORTS)
        if isinstance(report, dict) and report.get("op") == Hello.__name__ and report.get("name") in MEMBERS:
            report["name"] = "eve"
        return report


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


class Nuisance:
    """Mallory in a cluster, and what is to be said after a failure."""

    def __init__(self, cluster: LocalCluster, key: bytes, folder: Path) -> None:
        self.cluster, self.folder, self.runs = cluster, folder, 0
        self.mallory = Mallory(cluster, key, folder / "mallory")

    def __enter__(self) -> Nuisance:
        self.mallory.thread.start()
        self.cluster.service.wait_for_peers(len(MEMBERS), 20.0)
        return self

    def __exit__(self, *failed: Any) -> None:
        self.mallory.peer.stopping = "enough"
        self.mallory.thread.join(10)
        self.mallory.peer._farewell()
        if failed[0] is not None:
            print(f"Mallory: {self.mallory.failure!r}", file=sys.stderr)
            print(f"seed {SEED}; {self.mallory.left} cases were left; the last things said:", file=sys.stderr)
            for to, what in self.mallory.words:
                print(f"  to {to}: {what.hex() if isinstance(what, bytes) else what!r}", file=sys.stderr)

    def play(self, settings: RunSettings) -> tuple[Outcome, Path]:
        self.runs += 1
        folder = self.folder / str(self.runs)
        outcome = self.cluster.run(settings, "agreement" in promised(settings), {"world": "local"}, folder)
        if self.mallory.failure is not None:
            raise self.mallory.failure
        return outcome, folder

    def memory(self) -> dict[str, float]:
        """Of every process by name, in MB, once each is there; this process is the comparison server's."""
        return {name: memory_mb(pid) for name, pid in {**self.cluster.pids, "here": os.getpid()}.items()}

    def assert_unharmed(self) -> None:
        for child in self.cluster._children():
            assert child.death() == ""
            assert "Traceback" not in child.said.read_text(errors="replace")


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("hundred_thousands", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_real_processes_survive_what_nobody_should_send(tmp_path, hundred_thousands):
    cases = 100_000 * hundred_thousands
    settings = run_settings("lamport_all_ack", peers=4, messages=60, gap_ms=(10.0, 50.0))
    settings = replace(settings, members=MEMBERS, delays_s=None)
    soon = DeadlineSettings(handshake_s=5.0, send_s=4.0, drain_s=2.0, upload_s=5.0, deadline_s=20.0)
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(KEY.hex())
    with LocalCluster(len(HONEST), key=file) as cluster, Nuisance(cluster, KEY, tmp_path) as nuisance:
        mallory = nuisance.mallory
        until = monotonic() + END_S * hundred_thousands
        dropped: Counter[str] = Counter()
        nuisance.play(settings)  # so that everything is loaded
        before = nuisance.memory()
        mallory.left = cases * 8 // 10
        while mallory.left > 0:
            assert monotonic() < until
            outcome, folder = nuisance.play(settings)
            assert outcome.error is None and outcome.complete, outcome.error
            verdict = judge(load_run(folder), promised(settings))
            assert verdict.violated() == [] and verdict.rounds.rounds == 4 * 60
            for name in HONEST:
                dropped.update(outcome.measures[name]["dropped"])
        nuisance.assert_unharmed()
        between = nuisance.memory()
        mallory.left, mallory.share = cases * 2 // 10, 0.5
        ends: Counter[str] = Counter()
        while mallory.left > 0:
            assert monotonic() < until
            outcome, _ = nuisance.play(replace(settings, deadlines=soon))
            assert outcome.error is None or isinstance(outcome.error, RunError)
            ends[" ".join(str(outcome.error).split()[:6])] += 1
        nuisance.assert_unharmed()
        after = nuisance.memory()
        mallory.share = 0.0
        outcome, _ = nuisance.play(settings)
        assert outcome.error is None and outcome.complete, "and when it is over, all is as it was"
    print(dict(mallory.cases), dict(dropped), dict(ends), nuisance.runs, before, between, after)
    assert sum(mallory.cases.values()) > 0.95 * cases
    assert set(dropped) >= {"short", "version", "key", "tag", "replayed", "other run"}
    assert sum(dropped.values()) > 0.9 * cases * 8 // 10, "a few may be lost on the way"
    for name in (*HONEST, "group manager"):
        assert between[name] - before[name] < GROWTH_MB, f"{name}: {before[name]:.1f} -> {between[name]:.1f} MB"
        assert after[name] - between[name] < MEMBERS_GROWTH_MB, f"{name}: {between[name]:.1f} -> {after[name]:.1f} MB"
    assert after["here"] - before["here"] < GROWTH_HERE_MB

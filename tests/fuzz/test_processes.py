"""A hundred thousand things that nobody should send, for real processes during real runs; ten times as many at night.

Mallory is a member: a peer in this process that keeps to every rule, beside which a stranger sends what he made up,
spoiled, recorded or redirected. In the first runs nothing of that has a right tag, and nothing of it may leave a trace.
Then Mallory herself begins to talk nonsense, with the key, and the runs may be spoiled, but end as runs end.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections import Counter, deque
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
from dataclasses import replace
from experiments.local import LocalCluster
from peer.core.commands import REPORTS, Hello
from peer.core.errors import LabError, RunError
from peer.core.settings import DeadlineSettings, RunSettings
from peer.drivers.control import Connection, dial, read_key
from peer.drivers.datagram import Border, Envelope
from peer.drivers.udp import UdpPeer
from peer.session import FREE
from peer.stacks import promised
from tests.fuzz import nonsense
from tests.runs import run_settings

SEED = 1
HONEST = ("p0", "p1", "p2")
MEMBERS = (*HONEST, "mallory")
BATCH = 24  # cases between two looks at the honest side of Mallory's life
LAST = 40  # things said that are told after a failure
END_S = 90.0  # for all runs of one kind, per hundred thousand cases
# What a process may have grown by. What comes without a right tag is never kept: 6 MB are what the allocator and the
# logs of a dozen runs make of it. What comes with one is kept within a run at most, a few kilobytes a case.
GROWTH_MB, MEMBERS_GROWTH_MB = 6, 24


class Mallory(UdpPeer):
    """A member, and the stranger beside her."""

    def __init__(self, cluster: LocalCluster, logs: Path) -> None:
        key = read_key(Path(cluster._folder.name) / "key")
        services = {"manager": cluster.service._manager._contact.endpoint, "server": cluster.service.endpoint}
        super().__init__("mallory", key, bind=("127.0.0.1", 0), logs=logs, **services)
        self.chance = Random(SEED)
        self.key = key
        self.left = 0  # cases
        self.share = 0.0  # of them that have a right tag
        self.said: deque[tuple[str, Any]] = deque(maxlen=LAST)
        self.cases: Counter[str] = Counter()
        self.recorded: deque[tuple[int, bytes]] = deque(maxlen=500)  # what was sent to whom
        self.earlier: deque[bytes] = deque(maxlen=500)  # the same, of earlier runs
        self.stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lines: dict[str, Connection] = {}
        self.failure: BaseException | None = None
        self.thread = Thread(target=self._live, daemon=True)

    def _live(self) -> None:
        try:
            while not self.stopping:
                turn = self._read(64)
                if turn:
                    self._perform(self.session.host.step(turn, monotonic()))
                self._what_is_due()
                self._serve_contacts(monotonic())
                playing = self.border is not None and self.session.phase not in FREE
                ready = playing and all(self.neighbours[place].endpoint for place in range(len(HONEST)))
                if ready and self.left > 0:
                    self._be_a_nuisance()
                select([self.socket], [], [], 0.0005)
        except BaseException as error:
            self.failure = error

    def _play(self, play: Any) -> None:
        self.earlier.extend(data for _, data in self.recorded)
        self.recorded.clear()
        super()._play(play)

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
        sound = self._sealed(self.border, target)
        if authentic:
            data = sound
            self.cases["datagrams with the key"] += 1
        else:
            kind = chance.choice(("made up", "another key", "replayed", "redirected", "earlier", *["mutated"] * 5))
            if kind == "replayed":
                data = self._of(kind, [data for to, data in self.recorded if to == target][-20:], sound)
            elif kind == "redirected":
                data = self._of(kind, [data for to, data in self.recorded if to != target][-20:], sound)
            elif kind == "earlier":
                data = self._of(kind, list(self.earlier)[-20:], sound)
            elif kind == "made up":
                data = chance.randbytes(chance.choice((0, 1, 60, 90, 1300, 9000)))
            elif kind == "another key":
                run, me, members = self.session.run, self.session.me, self.session.settings.members
                other = Border(Envelope(bytes(32), self.name), self.incarnation, run, me, members, {})
                data = self._sealed(other, target)
            else:
                data = nonsense.mutated(chance, sound, [sound, bytes(200)])
                if data == sound:
                    data = sound[:-1]
            self.cases[kind] += 1
        self.said.append((HONEST[target], data))
        self.stranger.sendto(data, self.neighbours[target].endpoint)

    def _of(self, kind: str, known: list[bytes], sound: bytes) -> bytes:
        return self.chance.choice(known) if known else sound[:-1]

    def _sealed(self, border: Border, target: int) -> bytes:
        chance, bodies = self.chance, {}
        packets = [nonsense.packet(chance) for _ in range(chance.choice((1, 1, 2, 5)))]
        stamps = [nonsense.number(chance, bits) for bits in (64, 64, 32)]
        return border.seal(target, *stamps, [border.envelope.entry(packet, bodies) for packet in packets])

    def _send(self, target: int, entries: list[Any]) -> None:
        seal = self.border.seal

        def recording(*arguments: Any) -> bytes:
            data = seal(*arguments)
            self.recorded.append((target, data))
            return data

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Border, "seal", lambda border, *arguments: Border_seal(border, *arguments))
            del recording
            super()._send(target, entries)

    # Frames.

    def _say_on_a_line(self, which: str, authentic: bool) -> None:
        chance = self.chance
        line = self.lines.get(which)
        if line is None or line.closed:
            endpoint = self.manager.endpoint if which == "manager" else self.server.endpoint
            try:
                line = self.lines[which] = dial(endpoint, self.key)
            except LabError:
                return
            select([line], [], [], 1.0)
        list(line.read())
        if authentic:
            message = self._message(which)
            self.said.append((which, message))
            self.cases["frames with the key"] += 1
            try:
                line.send(message)
            except RecursionError:
                pass
        else:
            data = chance.randbytes(chance.choice((1, 4, 24, 300))) + bytes(chance.choice((0, 4)))
            self.said.append((which, data))
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
        report = nonsense.control(chance, run=self.session.run, kinds=REPORTS)
        if isinstance(report, dict) and report.get("op") == Hello.__name__ and report.get("name") in MEMBERS:
            report["name"] = "eve"
        return report


Border_seal = Border.seal


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

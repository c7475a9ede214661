"""The whole lab in one process: group manager, comparison server and peers over real sockets, each peer in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from comparison_server.run_folder import load_run
from comparison_server.service import Outcome, Progress, Service
from comparison_server.verdict import Verdict, judge
from group_manager.service import Service as Manager
from peer.drivers.network import Neighbour
from peer.drivers.udp import UdpPeer
from peer.stacks import promised
from tests.control_client import Client, until
from tests.runs import run_settings

KEY = bytes(range(32))
LOOPBACK = ("127.0.0.1", 0)
WAIT_S = 20.0


class Lab:
    """A group manager and a comparison server, and peers as they are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peers: list[UdpPeer] = []
        self.threads: list[Thread] = []
        self.failures: list[BaseException] = []
        self.runs = 0

    def __enter__(self) -> Lab:
        self.manager = Manager(LOOPBACK, KEY)
        self._closing = Event()
        self._manager_thread = self._thread(self._serve_manager)
        self.server = Service(LOOPBACK, KEY, manager=self.manager.endpoint)
        until(lambda: self.server.registered, self.poll)
        return self

    def __exit__(self, *error: object) -> None:
        self.server.end_all(WAIT_S)
        self.server.close()
        for peer in self.peers:
            peer.stopping = peer.stopping or "the test is over"
        for thread in self.threads:
            thread.join(WAIT_S)
        self._closing.set()
        self._manager_thread.join(WAIT_S)
        self.manager.close()
        assert error != (None, None, None) or not self.failures, self.failures
        assert not any(thread.is_alive() for thread in self.threads)

    def start(self, *names: str, kind: type[UdpPeer] = UdpPeer, **options: Any) -> list[UdpPeer]:
        """Peers, once they are all connected."""
        options = {"bind": LOOPBACK, "manager": self.manager.endpoint, "logs": self.folder / "logs", **options}
        started = [kind(name, KEY, **options) for name in names]
        self.peers += started
        self.threads += [self._thread(peer.run) for peer in started]
        until(lambda: all(self._is_here(peer) for peer in started), self.poll)
        return started

    def listed(self) -> list[dict[str, Any]]:
        """Who is registered, as the group manager tells anybody."""
        return self.client().ask({"op": "list"})["members"]

    def client(self) -> Client:
        """A connection to the group manager."""
        return Client(self.manager.endpoint, KEY, self.poll)

    def poll(self, at_most_s: float = 0.005) -> None:
        """What a test does while it waits: the comparison server goes on."""
        self.server.poll(min(at_most_s, 0.005))

    def run(
        self,
        ordering: str = "lamport_all_ack",
        on_progress: Callable[[Progress], None] | None = None,
        members: tuple[str, ...] = (),
        **options: Any,
    ) -> tuple[Outcome, Verdict]:
        """A run of those who are here, over the real network of this machine, and what the judge says of it."""
        names = members or tuple(self.server.peers)
        options = {"gap_ms": (0.0, 4.0), **options}
        run = replace(run_settings(ordering, peers=len(names), **options), members=names, delays_s=None)
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        outcome = self.server.run(run, "agreement" in promised(run), {"world": "local"}, folder, on_progress)
        return outcome, judge(load_run(folder), promised(run))

    def _is_here(self, peer: UdpPeer) -> bool:
        hello = self.server.peers.get(peer.name)
        return hello is not None and hello.incarnation == peer.incarnation

    def _serve_manager(self) -> None:
        while not self._closing.is_set():
            self.manager.poll(0.02)

    def _thread(self, live: Callable[[], None]) -> Thread:
        def watched() -> None:
            try:
                live()
            except BaseException as error:
                self.failures.append(error)

        thread = Thread(target=watched, daemon=True)
        thread.start()
        return thread


def assert_flawless(outcome: Outcome, verdict: Verdict, messages: int) -> None:
    """Everybody delivered everything, and every promise was kept."""
    assert outcome.error is None and outcome.complete, outcome.error
    assert verdict.violated() == [] and verdict.complete, verdict.findings
    assert verdict.rounds.rounds == messages and verdict.rounds.short == 0


@contextmanager
def eavesdropping(*peers: UdpPeer) -> Iterator[list[tuple[UdpPeer, bytes, tuple[str, int]]]]:
    """All that these peers send meanwhile: (peer, datagram, endpoint)."""
    heard: list[tuple[UdpPeer, bytes, tuple[str, int]]] = []

    def overheard(peer: UdpPeer, send: Callable[..., None]) -> Callable[..., None]:
        def send_and_tell(datagrams: list[bytes], neighbour: Neighbour) -> None:
            heard.extend((peer, datagram, neighbour.endpoint) for datagram in datagrams)
            send(datagrams, neighbour)

        return send_and_tell

    for peer in peers:
        peer.network._send = overheard(peer, peer.network._send)
    try:
        yield heard
    finally:
        for peer in peers:
            del peer.network._send

"""One peer's side of the network: datagrams in and out, who is let in, and what an emulated network does to them.

Where the run has an emulated network, every datagram is held back until its delay has
passed, counted from the stamp of its sender, and how late it was handed in is measured.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from heapq import heappop, heappush
from time import monotonic, monotonic_ns
from typing import Any

from peer.core.errors import WireError
from peer.core.events import Event, Moved, PacketArrived
from peer.core.names import PeerId
from peer.drivers.datagram import LARGEST, OVERHEAD_BYTES, Border, Entry, Envelope
from peer.drivers.lateness import Lateness
from peer.drivers.link_model import PairModel
from peer.drivers.round_trips import BEFORE, PHASES, RoundTrips
from peer.drivers.traffic import Traffic
from peer.drivers.trains import Trains
from peer.session import Play

MOST_AT_ONCE = 64  # datagrams whose delays have passed that are handed in together
SMALL_ROOM = 9000  # datagrams that must be smaller than this come and go in trains, where the system can
BUFFER_BYTES = 8 * 1024 * 1024  # asked for; what was given is reported
CLOCK_TRUST_S = 5.0  # a stamp further from our clock than this is of another clock
MOST_HELD_US = 0xFFFF_FFFF  # it is told in 32 bits how long a stamp was held before it is sent back
MOST_HELD = 16_384  # datagrams whose delay has not passed: half a second of what a peer can read at all


class Neighbour:
    """What this process knows of the network towards one member in one run."""

    __slots__ = (
        "endpoint", "heard_at", "heard_stamp", "model", "rtt_s", "trips", "trips_by_phase", "datagrams", "bytes",
    )  # fmt: skip

    def __init__(self, model: PairModel | None) -> None:
        self.endpoint: tuple[str, int] | None = None
        self.rtt_s: float | None = None
        self.trips_by_phase = {phase: RoundTrips() for phase in PHASES}
        self.trips = self.trips_by_phase[BEFORE]  # where the round trips of the present phase are kept
        self.heard_at: float | None = None
        self.heard_stamp = 0
        self.model = model
        self.datagrams = self.bytes = 0  # sent to it


class Network:
    """A UDP socket, and what is known in a run of those at its other ends."""

    def __init__(self, name: str, key: bytes, incarnation: str, bind: tuple[str, int]) -> None:
        self.incarnation = incarnation
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        self.socket.bind(bind)
        self.socket.setblocking(False)
        self.trains = Trains(self.socket)
        self.receive = self.trains.receive(wanted=False)
        self.envelope = Envelope(key, name)
        self.border: Border | None = None  # while a run is played
        self.neighbours: list[Neighbour] = []
        self.held: list[tuple[float, int, PeerId, Any]] = []  # datagrams whose delay has not passed
        self.held_count = 0
        self.room = 1372
        self.buffer = memoryview(bytearray(65536))
        self._reset_measures()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where it listens."""
        return self.socket.getsockname()

    @property
    def sent(self) -> int:
        """How many datagrams have left in this run."""
        return sum(neighbour.datagrams for neighbour in self.neighbours)

    def begin(self, play: Play) -> None:
        """A run begins: nothing of the one before counts."""
        run, me = play.settings, play.me
        self.border = Border(self.envelope, self.incarnation, play.run, me, run.members, play.incarnations)
        emulated = run.delays_s is not None
        members = range(len(run.members))
        self.neighbours = [Neighbour(PairModel(run, p, me) if emulated and p != me else None) for p in members]
        self.held.clear()
        self.room = min(run.network.datagram_bytes, LARGEST)
        self.receive = self.trains.receive(wanted=self.room < SMALL_ROOM)
        self._reset_measures()

    def enter(self, phase: str) -> None:
        """Round trips count for this phase from now on."""
        for neighbour in self.neighbours:
            neighbour.trips = neighbour.trips_by_phase[phase]

    def ask_round_trips(self) -> None:
        """Say a datagram without packets and without echo to everybody, which is answered by one with an echo."""
        for target, neighbour in enumerate(self.neighbours):
            if neighbour.endpoint is not None and self.border is not None:
                self._send([self.border.seal(target, monotonic_ns(), 0, 0, [])], neighbour)

    def end(self) -> None:
        """The run is over here: nobody waits for what would still arrive."""
        self.border = None
        self.held.clear()

    def locate(self, peer: PeerId, endpoint: tuple[str, int]) -> None:
        """From now on this member is there."""
        self.neighbours[peer].endpoint = _resolved(endpoint)

    def close(self) -> None:
        """No more."""
        self.socket.close()

    # In.

    def read(self, at_most: int) -> list[Event]:
        """What has arrived, of at most so many datagrams (or trains of them)."""
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

    def next_due(self) -> float | None:
        """When the delay of the next datagram that is held back will have passed."""
        return self.held[0][0] if self.held else None

    def take_due(self, now: float) -> list[Event]:
        """What arrives now that was held back."""
        turn: list[Event] = []
        held = self.held
        while held and held[0][0] <= now and len(turn) < MOST_AT_ONCE:
            due, _, source, opened = heappop(held)
            self.lateness.add(now - due)
            self._hand_in(source, opened, now, turn)
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
        rtt_s, trips = neighbour.rtt_s, neighbour.trips
        ahead_s = opened.stamp_ns / 1e9 - now
        if ahead_s > trips.ahead_s:
            trips.ahead_s = ahead_s
        if opened.echo_ns:
            sample = now - opened.echo_ns / 1e9 - opened.held_us / 1e6
            if sample > 0:
                trips.add(sample)
                rtt_s = neighbour.rtt_s = sample if rtt_s is None else rtt_s + (sample - rtt_s) / 8
        silence_s = None if neighbour.heard_at is None else now - neighbour.heard_at
        neighbour.heard_at = now
        neighbour.heard_stamp = opened.stamp_ns
        for packet in opened.packets:
            turn.append(PacketArrived(source, packet, rtt_s, silence_s))
        if not opened.packets and not opened.echo_ns and neighbour.endpoint is not None:
            self._send([self._sealed(source, neighbour, [])], neighbour)

    # Out.

    def send(self, outgoing: dict[PeerId, list[Any]]) -> None:
        """The packets of one turn, by target: as few datagrams as they fit into."""
        bodies: dict[int, tuple[bytes, bytes]] = {}
        entry = self.envelope.entry
        for target, packets in outgoing.items():
            neighbour = self.neighbours[target]
            if neighbour.endpoint is None:
                self.dropped["nowhere to send"] += 1
                continue
            datagrams: list[bytes] = []
            entries: list[Entry] = []
            size = OVERHEAD_BYTES
            for packet in packets:
                part = entry(packet, bodies)
                part_bytes = len(part[0]) + len(part[1])
                if entries and size + part_bytes > self.room:
                    datagrams.append(self._sealed(target, neighbour, entries))
                    entries, size = [], OVERHEAD_BYTES
                entries.append(part)
                size += part_bytes
            datagrams.append(self._sealed(target, neighbour, entries))
            self.traffic.count(packets)
            self._send(datagrams, neighbour)

    def _sealed(self, target: PeerId, neighbour: Neighbour, entries: list[Entry]) -> bytes:
        now_ns = monotonic_ns()
        held_us = int(now_ns / 1e3 - neighbour.heard_at * 1e6) if neighbour.heard_stamp else 0
        if not 0 <= held_us <= MOST_HELD_US:
            held_us = 0 if held_us < 0 else MOST_HELD_US
        return self.border.seal(target, now_ns, neighbour.heard_stamp, held_us, entries)

    def _send(self, datagrams: list[bytes], neighbour: Neighbour) -> None:
        try:
            self.trains.send(datagrams, neighbour.endpoint)
        except OSError as error:  # as good as lost on the way
            self.dropped[f"not sent: {error.strerror}"] += len(datagrams)
            return
        except ValueError:  # a name of a host that no network knows
            self.dropped["nowhere to send"] += len(datagrams)
            return
        neighbour.datagrams += len(datagrams)
        for datagram in datagrams:
            neighbour.bytes += len(datagram)

    # Measures.

    def _reset_measures(self) -> None:
        self.received = self.received_bytes = 0
        self.traffic = Traffic()
        self.dropped: Counter[str] = Counter()
        self.lateness = Lateness()
        self.dropped_by_kernel_before = _dropped_by_kernel(self.socket)

    def measures(self) -> dict[str, Any]:
        """What was counted in this run."""
        models = [neighbour.model for neighbour in self.neighbours if neighbour.model is not None]
        dropped = _dropped_by_kernel(self.socket)
        known = dropped is not None and self.dropped_by_kernel_before is not None
        return {
            "datagrams_sent": self.sent,
            "bytes_sent": sum(neighbour.bytes for neighbour in self.neighbours),
            **self.traffic.measures(),
            "datagrams_to": [neighbour.datagrams for neighbour in self.neighbours],
            "bytes_to": [neighbour.bytes for neighbour in self.neighbours],
            "datagrams_received": self.received,
            "bytes_received": self.received_bytes,
            "dropped": dict(sorted(self.dropped.items())),
            "dropped_by_kernel": dropped - self.dropped_by_kernel_before if known else None,
            "lost_by_model": sum(model.lost for model in models),
            "doubled_by_model": sum(model.doubled for model in models),
            "held_by_model": sum(model.held for model in models),
            "model_lateness": self.lateness.summary(),
            "trains": self.trains.can_send and self.trains.can_receive,
            "receive_buffer_bytes": self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            "round_trips": [
                {phase: trips.summary() for phase, trips in neighbour.trips_by_phase.items()}
                for neighbour in self.neighbours
            ],
            "clocks_ahead_s": [
                {phase: trips.clock_ahead_s() for phase, trips in neighbour.trips_by_phase.items()}
                for neighbour in self.neighbours
            ],
        }


def _resolved(endpoint: tuple[str, int]) -> tuple[str, int]:
    """The same with the address in place of a name, which would be asked for with every datagram; else as it is."""
    try:
        return socket.getaddrinfo(*endpoint, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    except (OSError, ValueError):
        return endpoint


def _dropped_by_kernel(sock: socket.socket) -> int | None:
    """How many datagrams the system dropped at this socket, where it says so."""
    inode = str(os.fstat(sock.fileno()).st_ino)
    try:
        with open("/proc/net/udp") as table:
            rows = [line.split() for line in table]
    except OSError:
        return None
    return next((int(row[-1]) for row in rows if len(row) > 12 and row[9] == inode), None)

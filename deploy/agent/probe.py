"""Looks at a host before peers are put on it, and asks over UDP which other hosts it can reach and who reaches it.

    operator                             probe of each host
    request: token, targets, ports  ->   listens where the peers will, looks up the targets' names
                                    <-   {"bound": ..., "unresolved": ...}
    {"do": "clock"}                 ->   {"wall_ns": ...}                       as often as asked
    {"do": "probe", "targets": ...} ->   asks those at these ports, {"probed": true} when the last answer is due
    {"do": "report"}                ->   what it heard, and who answered; the end

It answers questions from the moment it says `bound` until it is told to report, so that it does not matter who
begins when. A question leaves from a port of its own: a firewall that lets the answers of its own traffic in would
let in, from the peer's port, what it will block as soon as nobody has sent for a while.
"""

from __future__ import annotations

import errno
import math
import os
import platform
import select
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns, time_ns
from typing import Any

from deploy.agent.place import Failed
from peer.drivers.network import BUFFER_BYTES

ROUNDS, GAP_S = 8, 0.1  # questions to each port of each target, and from one round to the next
ANSWER_S = 1.5  # for the last answer to come
SILENT_S = 60.0  # an operator who says nothing for so long is gone, where the request does not allow more
LOOK_UP_S = 5.0  # for the names of all targets together
# Datagrams as they fit into IPv4 packets of 576, 1260 (tunnels), 1400, 1460 (GCP), 1500, 8896 (GCP) and 9001 (EC2)
# bytes, and as large as the lab's are where nobody says otherwise.
SIZES = (548, 1232, 1372, 1432, 1472, 8868, 8973)
SIZE_TRIES = 3

MAGIC = b"lab?"
TOKEN_BYTES = 16
QUESTION, ANSWER = 1, 2
# magic, token, kind, who asks, who is asked, at which port, number of the question, when it was asked (asker's clock)
HEADER = struct.Struct("!4s16sBHHHHQ")
SEEN_AS = struct.Struct("!4sH")  # in an answer: where the question came from
SMALLEST = HEADER.size + SEEN_AS.size  # of a question, so that no answer is larger than it

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # Linux: do not fragment, whatever the path is believed to take
STA_UNSYNC, TIME_ERROR = 0x40, 5


def look(request: dict[str, Any]) -> dict[str, Any]:
    """What can be said of a host without its network."""
    synchronised, clock_error_s = _clock()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "disk_free": _disk_free(),
        "wall_ns": time_ns(),
        "synchronised": synchronised,
        "clock_error_s": clock_error_s,
        "buffer": _buffer(request.get("buffer_bytes", BUFFER_BYTES)),
        "ports": [[port, _why_not(request["bind"], port)] for port in request["ports"]],
    }


def run(
    request: dict[str, Any], receive: Callable[[float], Any], send: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Serve one operator; what was heard and who answered. `receive` has a `fileno`."""
    probe = _Probe(request)
    try:
        probe.look_up(monotonic() + LOOK_UP_S)
        probe.bind()
        send(
            {"bound": [[port, why] for port, why in probe.bound.items()], "unresolved": list(probe.unresolved.items())}
        )
        return probe.serve(receive, send)
    finally:
        probe.close()


@dataclass
class _Heard:
    """The questions of one host that arrived at one port."""

    numbers: set[int] = field(default_factory=set)
    source: tuple[str, int] = ("", 0)
    largest: int = 0


@dataclass
class _Answered:
    """The answers of one port of a target."""

    round_trips_s: dict[int, float] = field(default_factory=dict)  # by number
    seen_as: tuple[str, int] = ("", 0)


class _Probe:
    """The sockets of one check, and what came in."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.token = bytes.fromhex(request["token"])
        if len(self.token) != TOKEN_BYTES:
            raise Failed("fault", f"a token has {TOKEN_BYTES} bytes")
        self.me: int = request["me"]
        self.bind_address: str = request["bind"]
        self.ports: list[int] = request["ports"]
        self.hosts: list[str] = request["hosts"]  # the address of each, by number
        self.silent_s: float = request.get("silent_s", SILENT_S)
        self.rounds: int = request.get("rounds", ROUNDS)
        self.gap_s: float = request.get("gap_s", GAP_S)
        self.answer_s: float = request.get("answer_s", ANSWER_S)
        self.addresses: dict[int, str] = {}
        self.unresolved: dict[int, str] = {}  # why those have none
        self.bound: dict[int, str] = {}  # port: why it is not, or nothing
        self.listeners: dict[socket.socket, int] = {}
        self.asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.unfragmented = _do_not_fragment(self.asker)
        self.heard: dict[tuple[int, int], _Heard] = {}
        self.answered: dict[tuple[int, int], _Answered] = {}
        self.errors: dict[int, str] = {}  # by target
        self.local: dict[int, str] = {}  # which of its addresses this host uses towards a target
        self.plan: list[tuple[float, int, int, int, int]] = []  # due, target, port, number, size; the next one last
        self.ends_at = math.inf  # when the last answer is due, once questions were asked

    # Before.

    def look_up(self, until: float) -> None:
        """The addresses of all targets; a system that asks for one name for long does not keep the others waiting."""

        found: dict[int, str] = {}
        why: dict[int, str] = {}

        def ask(place: int) -> None:
            try:
                found[place] = socket.getaddrinfo(self.hosts[place], None, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
            except (OSError, ValueError) as error:
                why[place] = getattr(error, "strerror", None) or str(error)

        others = [place for place in range(len(self.hosts)) if place != self.me]
        askers = [threading.Thread(target=ask, args=(place,), daemon=True) for place in others]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(max(0.0, until - monotonic()))
        self.addresses = dict(found)  # what is found later is too late
        late = [place for place in others if place not in self.addresses]
        self.unresolved = {place: why.get(place, f"no answer within {LOOK_UP_S:g} s") for place in late}

    def bind(self) -> None:
        for port in self.ports:
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                listener.bind((self.bind_address, port))
            except OSError as error:
                self.bound[port] = _why(error)
                listener.close()
                continue
            listener.setblocking(False)
            self.bound[port] = ""
            self.listeners[listener] = port
        try:
            self.asker.bind((self.bind_address, 0))
        except OSError:
            self.bind_address = ""  # what is the matter is said of the ports
            self.asker.bind(("", 0))
        self.asker.setblocking(False)

    # The conversation.

    def serve(self, receive: Callable[[float], Any], send: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        heard_at = monotonic()
        while True:
            try:
                asked = receive(0)
            except TimeoutError:
                pass
            else:
                heard_at = monotonic()
                if asked is None:
                    raise EOFError
                if asked["do"] == "clock":
                    send({"wall_ns": time_ns()})
                elif asked["do"] == "probe":
                    self.begin(asked["targets"])
                elif asked["do"] == "report":
                    return self.report()
                continue
            now = monotonic()
            if now - heard_at > self.silent_s:
                raise Failed("silent", f"the operator said nothing for {self.silent_s:g} s")
            self.ask_what_is_due(now)
            if now >= self.ends_at:
                self.ends_at = math.inf
                send({"probed": True})
            next_due = self.plan[-1][0] if self.plan else min(self.ends_at, heard_at + self.silent_s + GAP_S)
            wait_s = max(0.0, next_due - monotonic())
            readable, _, _ = select.select([receive, self.asker, *self.listeners], [], [], wait_s)
            for each in readable:
                if each is self.asker:
                    self.take_answers()
                elif each is not receive:
                    self.answer(each)

    def begin(self, targets: list[tuple[int, list[int]]]) -> None:
        """Plan the questions: all targets a round, and the large ones behind the small ones."""
        targets = [(target, ports) for target, ports in targets if target in self.addresses]
        for target, _ in targets:
            self.find_local(target)
        due, number = monotonic(), 0
        plan = []
        for number in range(self.rounds):
            plan += [(due, target, port, number, SMALLEST) for target, ports in targets for port in ports]
            due += self.gap_s
        for size in SIZES * SIZE_TRIES:
            number += 1
            plan += [(due, target, ports[0], number, size) for target, ports in targets if ports]
            due += self.gap_s / 4
        self.plan = plan[::-1]
        self.ends_at = due + self.answer_s

    def find_local(self, target: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            try:
                towards.bind((self.bind_address, 0))
                towards.connect((self.addresses[target], 9))  # which sends nothing
                self.local[target] = towards.getsockname()[0]
            except OSError as error:
                self.errors[target] = _why(error)

    # Datagrams.

    def ask_what_is_due(self, now: float) -> None:
        while self.plan and self.plan[-1][0] <= now:
            _, target, port, number, size = self.plan.pop()
            header = HEADER.pack(MAGIC, self.token, QUESTION, self.me, target, port, number, monotonic_ns())
            try:
                self.asker.sendto(header.ljust(size, b"\0"), (self.addresses[target], port))
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.EAGAIN, errno.ENOBUFS):  # as good as lost on the way
                    self.errors[target] = _why(error)

    def answer(self, listener: socket.socket) -> None:
        for datagram, source, kind, origin, target, port, number, stamp in self.arrived(listener):
            if kind != QUESTION or target != self.me or len(datagram) < SMALLEST or origin >= len(self.hosts):
                continue
            heard = self.heard.setdefault((origin, self.listeners[listener]), _Heard())
            heard.source = source
            heard.largest = max(heard.largest, len(datagram))
            if number < self.rounds:
                heard.numbers.add(number)
                header = HEADER.pack(MAGIC, self.token, ANSWER, self.me, origin, port, number, stamp)
                try:
                    listener.sendto(header + SEEN_AS.pack(socket.inet_aton(source[0]), source[1]), source)
                except OSError:
                    pass  # the one who asked will say that there was no answer

    def take_answers(self) -> None:
        for datagram, _, kind, origin, target, port, number, stamp in self.arrived(self.asker):
            round_trip_s = (monotonic_ns() - stamp) / 1e9
            if kind != ANSWER or target != self.me or len(datagram) < SMALLEST or round_trip_s < 0:
                continue
            answered = self.answered.setdefault((origin, port), _Answered())
            answered.round_trips_s.setdefault(number, round_trip_s)
            address, seen_port = SEEN_AS.unpack_from(datagram, HEADER.size)
            answered.seen_as = (socket.inet_ntoa(address), seen_port)

    def arrived(self, sock: socket.socket):
        """The datagrams of this very check."""
        while True:
            try:
                datagram, source = sock.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of something that was sent
            if len(datagram) < HEADER.size:
                continue
            magic, token, *rest = HEADER.unpack_from(datagram)
            if magic == MAGIC and token == self.token:
                yield datagram, source, *rest

    # After.

    def report(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "heard": [
                {
                    "from": origin,
                    "port": port,
                    "count": len(heard.numbers),
                    "source": heard.source,
                    "largest": heard.largest,
                }
                for (origin, port), heard in sorted(self.heard.items())
            ],
            "answered": [
                {
                    "by": target,
                    "port": port,
                    "round_trips_s": sorted(each.round_trips_s.values()),
                    "seen_as": each.seen_as,
                }
                for (target, port), each in sorted(self.answered.items())
            ],
            "errors": list(self.errors.items()),
            "local": list(self.local.items()),
            "asked_from": self.asker.getsockname()[1],
            "unfragmented": self.unfragmented,
        }

    def close(self) -> None:
        for each in (self.asker, *self.listeners):
            each.close()


def _why_not(bind: str, port: int) -> str:
    """Why a peer cannot listen there; empty if it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((bind, port))
        except OSError as error:
            return _why(error)
    return ""


def _why(error: OSError) -> str:
    known = {errno.EADDRINUSE: "taken", errno.EADDRNOTAVAIL: "no address of this host", errno.EACCES: "not allowed"}
    return known.get(error.errno or 0) or error.strerror or str(error)


def _disk_free() -> int | None:
    try:
        return shutil.disk_usage(os.path.expanduser("~")).free
    except OSError:
        return None


def _buffer(asked: int) -> dict[str, Any]:
    """The receive buffer that a socket gets which asks for so much."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
        given = tried.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if sys.platform.startswith("linux"):
        given //= 2  # it tells twice as much, as it takes what it needs itself from the buffer
    return {"asked": asked, "given": given}


def _do_not_fragment(sock: socket.socket) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    except OSError:
        return False
    return True


def _clock() -> tuple[bool | None, float | None]:
    """Whether something keeps the wall clock right, and by how much it may be wrong; None where nobody says so."""
    try:
        import ctypes

        class Timex(ctypes.Structure):
            _fields_ = (
                ("modes", ctypes.c_uint),
                *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
                ("status", ctypes.c_int),
                ("rest", ctypes.c_byte * 256),
            )

        timex = Timex()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (ImportError, OSError, AttributeError, TypeError):
        return None, None
    if state < 0:  # the sandbox it runs in does not allow it
        return None, None
    if state == TIME_ERROR or timex.status & STA_UNSYNC:
        return False, None
    return True, timex.maxerror / 1e6

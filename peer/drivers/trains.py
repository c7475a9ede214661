"""Trains: several datagrams in one system call, where the system can.

Linux cuts one send into datagrams of equal size, of which the last may be shorter
(UDP_SEGMENT), and hands over equal ones that arrived together as one (UDP_GRO). That pays
where a datagram must fit the path of a real network: most of what a small datagram costs
is the call. Where the system cannot, every datagram goes by itself.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Names and numbers of Linux; Python does not have them all.
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
MOST_CARS = 64  # datagrams that the system cuts one send into,
MOST_BYTES = 65_000  # and how large that may be
UNSUPPORTED = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)  # this path has no room for trains

Receive = Callable[[memoryview], tuple[int, Any, int]]  # into a buffer: how much, from whom, in cars of which size

_SIZE, _CAR = struct.Struct("@H"), struct.Struct("@i")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_CAR.size) if hasattr(socket, "CMSG_SPACE") else 0


class Trains:
    """One socket's way of sending and receiving several datagrams at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.can_send = self.possible = _is_possible(sock)
        self.can_receive = False

    def receive(self, wanted: bool) -> Receive:
        """How to receive: a train at a time if wanted and possible, else a datagram at a time, which is quicker."""
        if self.possible and wanted != self.can_receive:
            self.socket.setsockopt(SOL_UDP, UDP_GRO, wanted)
            self.can_receive = wanted
        receive_into, receive_message = self.socket.recvfrom_into, self.socket.recvmsg_into

        def datagram(buffer: memoryview) -> tuple[int, Any, int]:
            size, endpoint = receive_into(buffer)
            return size, endpoint, size

        def train(buffer: memoryview) -> tuple[int, Any, int]:
            size, ancillary, _, endpoint = receive_message([buffer], _ANCILLARY_BYTES)
            for level, kind, data in ancillary:
                if level == SOL_UDP and kind == UDP_GRO:
                    return size, endpoint, _CAR.unpack(data[: _CAR.size])[0]
            return size, endpoint, size

        return train if self.can_receive else datagram

    def send(self, datagrams: Sequence[bytes], endpoint: Any) -> None:
        """Send all of them, in their order; OSError where the system refuses one."""
        if len(datagrams) == 1 or not self.can_send:
            for datagram in datagrams:
                self.socket.sendto(datagram, endpoint)
            return
        for train in _coupled(datagrams):
            if len(train) == 1:
                self.socket.sendto(train[0], endpoint)
                continue
            try:
                cut = (SOL_UDP, UDP_SEGMENT, _SIZE.pack(len(train[0])))
                self.socket.sendmsg(train, [cut], 0, endpoint)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self.can_send = False
                self.send(train, endpoint)


def _coupled(datagrams: Sequence[bytes]) -> list[list[bytes]]:
    """Trains in their order: cars of equal size, but for a shorter last one."""
    trains: list[list[bytes]] = []
    size = room = 0  # of a car of the last train, and how many more it takes
    for datagram in datagrams:
        if room and len(datagram) <= size:
            trains[-1].append(datagram)
            room = room - 1 if len(datagram) == size else 0
        else:
            trains.append([datagram])
            size = len(datagram)
            room = max(1, min(MOST_CARS, MOST_BYTES // size)) - 1
    return trains


def _is_possible(sock: socket.socket) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.getsockopt(SOL_UDP, UDP_SEGMENT)
        sock.setsockopt(SOL_UDP, UDP_GRO, 0)
    except OSError:
        return False
    return True

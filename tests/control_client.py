"""The other end of a control connection, for tests of whoever accepts it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any

from peer.drivers.control import Connection, dial

WAIT_S = 10.0


class Client:
    """A dialled connection; while it waits, `serve` has the service under test go on."""

    def __init__(self, endpoint: tuple[str, int], key: bytes, serve: Callable[[float], Any]) -> None:
        self.connection: Connection = dial(endpoint, key)
        self.serve = serve
        self.inbox: list[tuple[Any, bytes]] = []

    def ask(self, message: Any) -> Any:
        """Send, and the next message that comes."""
        self.connection.send(message)
        return self.hear()

    def hear(self) -> Any:
        """The next message; fails if none comes."""
        until(lambda: self.inbox or self.connection.closed, self._step)
        assert self.inbox, f"no message, but: {self.connection.closed}"
        return self.inbox.pop(0)[0]

    def is_closed(self) -> str:
        """Why the other side ended the connection; fails if it does not."""
        until(lambda: self.connection.closed, self._step)
        return self.connection.closed

    def greeted(self) -> Client:
        """Once the greeting is here, so that what is sent next is sent at once."""
        until(lambda: self.connection._nonce is not None, self._step)
        return self

    def _step(self) -> None:
        self.serve(0.01)
        self.inbox.extend(self.connection.read())


def reads_little(sock: socket.socket) -> None:
    """Has the system keep little of what arrives, and not, as it may, many megabytes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def raw(endpoint: tuple[str, int]) -> socket.socket:
    """A connection of something that knows nothing of frames."""
    return socket.create_connection(endpoint, timeout=WAIT_S)


def ends(sock: socket.socket, serve: Callable[[float], Any]) -> bool:
    """Whether the other side ends this connection, whatever it says before."""
    sock.setblocking(False)

    def ended() -> bool:
        try:
            return sock.recv(65536) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    until(ended, lambda: serve(0.01))
    return True


def frame_length(length: int) -> bytes:
    """How a frame of this length begins."""
    return struct.pack("<I", length)


def until(true: Callable[[], Any], step: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    """Take steps until something is true; fails if it does not become so."""
    deadline = monotonic() + timeout_s
    while not true():
        assert monotonic() < deadline, "it did not happen in time"
        step()

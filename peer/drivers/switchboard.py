"""A switchboard: accepts control connections, keeps them within bounds, and hands over what arrives on them.

Who connects has a few seconds to send one frame that is tagged with the lab's key. When
all places are taken, the oldest connection that has not done so makes room for the next.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from peer.core.errors import SettingsError
from peer.drivers.control import LARGEST_FRAME, Connection

MOST_CONNECTIONS = 512
MOST_BACKLOG_BYTES = 8 * 1024 * 1024  # who reads so little that more than this waits for it is dropped
PROOF_S = 5.0  # for the first frame with a right tag
DEAF_S = 0.25  # how long nobody is accepted after the system had no room for another connection

BROKEN: Any = object()  # in place of a message: this connection is no more


@dataclass
class _Line:
    """What is known of one connection."""

    since: float
    proven: bool = False  # a frame with a right tag has come
    writing: bool = False  # bytes wait for room


class Switchboard:
    """The accepting side of control connections."""

    def __init__(
        self,
        bind: tuple[str, int],
        key: bytes,
        *,
        largest_frame: int = LARGEST_FRAME,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.key, self.largest_frame, self.most_connections = key, largest_frame, most_connections
        self.trouble = ""  # who was turned away last, and why
        self._lines: dict[Connection, _Line] = {}  # in order of arrival
        self._broken: list[Connection] = []  # while something was sent; to be told by the next poll
        self._listener = _listen(bind)
        self._deaf_until: float | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.getsockname()[:2]

    def poll(self, timeout_s: float) -> Iterator[tuple[Connection, Any, bytes]]:
        """What arrives within this time; the message BROKEN says that a connection broke."""
        now = monotonic()
        self._drop_unproven(now)
        if self._deaf_until is not None and now >= self._deaf_until:
            self._deaf_until = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        knocked = False
        for key, events in self._selector.select(0 if self._broken else timeout_s):
            if key.fileobj is self._listener:
                knocked = True
            elif key.fileobj in self._lines:
                yield from self._serve(key.fileobj, events)
        if knocked:  # last, so that no new connection gets the descriptor of one that is still to be served
            self._accept()
        broken, self._broken = self._broken, []
        for connection in broken:
            yield connection, BROKEN, b""

    def send(self, connection: Connection, message: Any, tail: bytes = b"") -> None:
        """Send, or queue what the other side has no room for."""
        if connection in self._lines:
            connection.send(message, tail)
            if connection.backlog > MOST_BACKLOG_BYTES:
                connection.close("the other side does not read")
            self._look_after(connection)

    def drop(self, connection: Connection, why: str = "closed") -> None:
        """Close a connection and forget it."""
        if self._lines.pop(connection, None) is not None:
            self._selector.unregister(connection)
            connection.close(why)

    def close(self) -> None:
        """End all connections; what the other sides still have room for is sent."""
        for connection in list(self._lines):
            connection.write()
            self.drop(connection)
        self._selector.close()
        self._listener.close()

    def flushed(self) -> bool:
        """Whether nothing waits to be sent."""
        return not any(line.writing for line in self._lines.values())

    def _serve(self, connection: Connection, events: int) -> Iterator[tuple[Connection, Any, bytes]]:
        if events & selectors.EVENT_WRITE:
            connection.write()
        if events & selectors.EVENT_READ:
            for message, tail in connection.read():
                self._lines[connection].proven = True
                yield connection, message, tail
                if connection not in self._lines:  # dropped because of this message
                    return
        self._look_after(connection)

    def _look_after(self, connection: Connection) -> None:
        """Forget it if it broke; else wait for room to write only while there is something to write."""
        line = self._lines[connection]
        if connection.closed:
            del self._lines[connection]
            self._selector.unregister(connection)
            self._broken.append(connection)
            if not line.proven:
                self.trouble = f"a connection was turned away: {connection.closed}"
        elif line.writing != connection.wants_to_write:
            line.writing = connection.wants_to_write
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.writing else 0)
            self._selector.modify(connection, events)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # out of descriptors or memory
                self._make_room()
                self._selector.unregister(self._listener)
                self._deaf_until = monotonic() + DEAF_S
                return
            if len(self._lines) >= self.most_connections and not self._make_room():
                sock.close()
                continue
            try:
                connection = Connection(sock, self.key, accepted=True, largest_frame=self.largest_frame)
            except OSError:  # already gone again
                sock.close()
                continue
            self._lines[connection] = _Line(monotonic())
            self._selector.register(connection, selectors.EVENT_READ)
            connection.write()  # the greeting
            self._look_after(connection)

    def _make_room(self) -> bool:
        for connection, line in self._lines.items():
            if not line.proven:
                self.drop(connection, "others wait")
                return True
        return False

    def _drop_unproven(self, now: float) -> None:
        late = [each for each, line in self._lines.items() if not line.proven and now - line.since > PROOF_S]
        for connection in late:
            self.drop(connection, "it said nothing in time")


def _listen(bind: tuple[str, int]) -> socket.socket:
    """A listening socket at this address, of which another process may take the port once this one is gone."""
    where = f"{bind[0]}:{bind[1]}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(*bind, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except ValueError:
        raise SettingsError(f"cannot listen on {where}: that is no name of a host") from None
    except OSError as error:
        raise SettingsError(f"cannot listen on {where}: {error.strerror}") from None
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {where}: {error.strerror}") from None
    listener.setblocking(False)
    return listener

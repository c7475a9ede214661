"""A control connection that is dialled again whenever it is lost, without ever blocking."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from peer.drivers.control import Connection

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 5.0
FOUND_BACKOFF_S = (0.5, 10.0)  # the same where the endpoint has to be found out first: it may be long before it is back
CONNECT_S = 5.0
AT_ONCE_S = 2.0  # who ends a connection so soon, without a word, may not have liked our first one


class Contact:
    """Dials `endpoint` (once it is known) and keeps trying; `on_open` speaks first on every new connection."""

    def __init__(
        self,
        what: str,
        key: bytes,
        on_open: Callable[[Contact], None],
        where: Callable[[], tuple[str, int] | None] | None = None,
    ) -> None:
        """`where`: asked before each attempt, as the answer may change; without it the endpoint is what it is."""
        self.what, self.key, self.on_open, self.where = what, key, on_open, where
        self.endpoint: tuple[str, int] | None = None
        self.connection: Connection | None = None
        self.trouble = ""  # why the last attempt failed
        self.lost_at: float | None = None  # since when there is none
        self._dialling: socket.socket | None = None
        self._next_try = 0.0
        self._shortest_s, self._longest_s = (FIRST_BACKOFF_S, LONGEST_BACKOFF_S) if where is None else FOUND_BACKOFF_S
        self._backoff_s = self._shortest_s
        self._heard = False  # anything, over the present connection,
        self._opened = 0.0  # which was made then

    @property
    def open(self) -> bool:
        """Whether messages can be sent now."""
        return self.connection is not None

    @property
    def broken(self) -> bool:
        """Whether the connection broke while something was sent; there is nothing to wait for, but much for `serve`."""
        return self.connection is not None and bool(self.connection.closed)

    def send(self, message: Any, tail: bytes = b"") -> None:
        """Send, if connected; what cannot be sent now is said again after the next connect, by `on_open`."""
        if self.connection is not None:
            self.connection.send(message, tail)

    def writers(self) -> list[Any]:
        """What to wait for to become writable; its connection, if there is one, is to be read from."""
        if self._dialling is not None:
            return [self._dialling]
        return [self.connection] if self.connection is not None and self.connection.wants_to_write else []

    def next_due(self) -> float | None:
        """When `serve` wants to be called even if nothing happens on the sockets."""
        return self._next_try if self.connection is None and self._knows_where else None

    def serve(self, now: float) -> Iterator[tuple[Any, bytes]]:
        """Dial, write, read; the messages that came."""
        if self.connection is None:
            if self.lost_at is None:
                self.lost_at = now
            if self._dialling is not None:
                self._finish_dialling(now)
            elif self._knows_where and now >= self._next_try:
                self._dial(now)
            if self.connection is None:
                return
        connection = self.connection
        connection.write()
        for message in connection.read():
            self._heard = True
            yield message
        if connection.closed:
            at_once = not self._heard and now - self._opened < AT_ONCE_S
            self.trouble = connection.closed + ("; does it have the same key?" if at_once else "")
            self.connection = None
            self.lost_at = now
            self._next_try = now + self._backoff_s

    def redirect(self, endpoint: tuple[str, int]) -> None:
        """From now on it is there."""
        if endpoint != self.endpoint:
            self.endpoint, self._next_try = endpoint, 0.0
            if self._dialling is not None:
                self._dialling.close()
                self._dialling = None
            if self.connection is not None:
                self.connection.close("it is somewhere else now")

    def close(self) -> None:
        """No more."""
        if self.connection is not None:
            self.connection.write()
            self.connection.close()
        if self._dialling is not None:
            self._dialling.close()
        self.connection = self._dialling = self.endpoint = self.where = None

    @property
    def _knows_where(self) -> bool:
        return self.endpoint is not None or self.where is not None

    def _dial(self, now: float) -> None:
        if self.where is not None:
            self.endpoint = self.where()
            if self.endpoint is None:
                self._failed(now, "nobody has said where it is")
                return
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(*self.endpoint, type=socket.SOCK_STREAM)[0]
            self._dialling = socket.socket(family, kind, protocol)
        except ValueError:
            self._failed(now, "that is no name of a host")
            return
        except OSError as error:
            self._failed(now, error.strerror or str(error))
            return
        self._dialling.setblocking(False)
        code = self._dialling.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._failed(now, os.strerror(code))
        else:
            self._next_try = now + CONNECT_S

    def _finish_dialling(self, now: float) -> None:
        code = self._dialling.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed(now, os.strerror(code))
            return
        try:
            self._dialling.getpeername()
        except OSError:
            if now >= self._next_try:
                self._failed(now, "no answer")
            return
        self.connection = Connection(self._dialling, self.key, accepted=False)
        self._dialling = None
        self._backoff_s = self._shortest_s
        self.lost_at, self.trouble, self._heard, self._opened = None, "", False, now
        self.on_open(self)

    def _failed(self, now: float, why: str) -> None:
        if self._dialling is not None:
            self._dialling.close()
        self._dialling = None
        self.trouble = why
        self._next_try = now + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, self._longest_s)

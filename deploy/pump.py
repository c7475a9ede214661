"""Carries connections that peers make on a host to where control is, over the ssh connection to that host."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from paramiko import Channel, SSHException

CONNECT_S = 10.0
GLANCE_S = 2.0  # between looks at whether the other direction is broken, where nothing comes or goes
AT_ONCE = 64 * 1024


class Pump:
    """The forwarded connections of one host."""

    def __init__(self) -> None:
        self.targets: dict[int, tuple[str, int]] = {}  # by the port on the host
        self._carried: list[_Carried] = []
        self._lock, self._closed = Lock(), False

    @property
    def carried(self) -> int:
        """How many connections there are."""
        return len(self._carried)

    def accept(self, channel: Channel, _: tuple[str, int], there: tuple[str, int]) -> None:
        """A peer has connected. This is the transport's own thread, which must not be kept waiting."""
        _in_thread(self._carry, channel, self.targets.get(there[1]))

    def close(self) -> None:
        """Carry nothing more."""
        with self._lock:
            self._closed = True
            carried = list(self._carried)
        for each in carried:
            each.break_off()

    def _carry(self, channel: Channel, target: tuple[str, int] | None) -> None:
        try:
            if target is not None:
                with socket.create_connection(target, timeout=CONNECT_S) as local:
                    self._between(_Carried(channel, local))
        except OSError:
            pass  # nobody is there: closing the channel says so
        finally:
            with suppress(OSError, EOFError, SSHException):
                channel.close()

    def _between(self, carried: _Carried) -> None:
        with self._lock:
            if self._closed:
                return
            self._carried.append(carried)
        carried.run()
        with self._lock:
            self._carried.remove(carried)


class _Carried:
    """One connection: two threads, one for each direction.

    Each blocks by itself, so a slow reader at one end slows the writer at the other and nothing piles up in between. An
    end of one direction is passed on, and the other goes on; if one breaks, so does the other. The channel is closed
    when both have ended: what is sent on it while another thread closes it would reach the next one of its number.
    """

    def __init__(self, channel: Channel, local: socket.socket) -> None:
        self._channel, self._local, self._broken = channel, local, Event()
        channel.settimeout(GLANCE_S)
        local.settimeout(None)
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Until both directions have ended."""
        inward = _in_thread(self._until_broken, self._to_here)
        self._until_broken(self._from_here)
        inward.join()

    def break_off(self) -> None:
        """Whoever waits for this end is woken, and looks."""
        self._broken.set()
        with suppress(OSError):
            self._local.shutdown(socket.SHUT_RDWR)

    def _until_broken(self, carry: Callable[[], None]) -> None:
        try:
            carry()
        except (OSError, EOFError, SSHException):
            self.break_off()

    def _to_here(self) -> None:
        while not self._broken.is_set():
            try:
                data = self._channel.recv(AT_ONCE)
            except TimeoutError:
                continue
            if data:
                self._local.sendall(data)
            elif self._channel.closed:  # it takes nothing any more either
                raise EOFError
            else:
                self._local.shutdown(socket.SHUT_WR)
                return

    def _from_here(self) -> None:
        while data := self._local.recv(AT_ONCE):
            while data and not self._broken.is_set():
                with suppress(TimeoutError):
                    sent = self._channel.send(data)
                    if not sent:  # as paramiko says that it is closed
                        raise EOFError
                    data = data[sent:]
        self._channel.shutdown_write()


def _in_thread(run: Callable[..., None], *arguments: object) -> Thread:
    thread = Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread

"""A relay before the comparison server, which breaks a peer's control connection while its logs pass through."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from select import select

HEAD = struct.Struct("<I16xI")  # of a frame: its length, a tag, and how much of it is JSON; the rest is log


class Relay:
    """Passes on what one peer and the server say, whenever the peer connects.

    Each of `cuts` says after how many bytes of logs, counted from the first, the connection breaks: in the middle of a
    part, as a rule, of which the server then has the beginning only. What passed before the break does arrive.
    """

    def __init__(self, server: tuple[str, int], cuts: Sequence[int]) -> None:
        self.passed = 0  # bytes of logs
        self.cuts = list(cuts)  # still to come
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.getsockname()

    def end(self) -> None:
        """Pass on nothing more."""
        self._ending.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._listener.close()

    def _live(self) -> None:
        while not self._ending.is_set():
            if select([self._listener], [], [], 0.05)[0]:
                near, _ = self._listener.accept()
                with near, socket.create_connection(self._server) as far:
                    try:
                        self._pass_on(near, far)
                    except OSError:
                        pass  # one of them is gone, so the other is left too

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        waiting = bytearray()  # what the peer said, and was not passed on yet
        while not self._ending.is_set():
            for source in select([near, far], [], [], 0.05)[0]:
                data = source.recv(1 << 20)
                if not data:
                    return
                if source is far:
                    near.sendall(data)
                    continue
                waiting += data
                while (share := self._share(waiting)) is not None:
                    length, log_bytes, breaks = share
                    if len(waiting) < length:
                        break
                    far.sendall(waiting[:length])
                    del waiting[:length]
                    self.passed += log_bytes
                    if breaks:
                        del self.cuts[0]
                        near.close()
                        _hang_up(far)
                        return

    def _share(self, frames: bytearray) -> tuple[int, int, bool] | None:
        """How many bytes to pass on next (a frame, or its part before a cut), how many are log, and whether to cut."""
        if len(frames) < HEAD.size:
            return None
        length, json_bytes = HEAD.unpack_from(frames)
        length += 4
        log_bytes = length - HEAD.size - json_bytes
        if self.cuts and self.passed + log_bytes >= self.cuts[0]:
            allowed = self.cuts[0] - self.passed
            return HEAD.size + json_bytes + allowed, allowed, True
        return length, log_bytes, False


def _hang_up(far: socket.socket) -> None:
    """Say nothing more, and wait until the server has heard all and hangs up itself."""
    far.shutdown(socket.SHUT_WR)
    far.settimeout(10)
    while far.recv(1 << 20):
        pass

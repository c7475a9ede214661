"""The group manager as a TCP service: requests come in over control connections, replies go out."""

from __future__ import annotations

from time import monotonic
from typing import Any

from group_manager.membership import Membership
from peer.drivers.control import Connection
from peer.drivers.switchboard import BROKEN, Switchboard

PORT = 5680
LARGEST_REQUEST = 64 * 1024
POLL_S = 0.5
FAREWELL_S = 2.0  # for the last replies to leave


class Service:
    """The membership behind a switchboard. A request may carry an `id`, which its reply repeats."""

    def __init__(self, bind: tuple[str, int], key: bytes) -> None:
        self.membership = Membership()
        self._servers: dict[Connection, dict[str, Any]] = {}  # what ends the registration of a comparison server
        self._board = Switchboard(bind, key, largest_frame=LARGEST_REQUEST)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where it listens."""
        return self._board.endpoint

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to end."""
        return self.membership.stopped

    def poll(self, timeout_s: float = POLL_S) -> None:
        """Answer what arrives within this time."""
        for connection, request, _ in self._board.poll(timeout_s):
            if request is BROKEN:
                self._release(connection)
                continue
            reply = self.membership.handle(request, monotonic())
            if isinstance(request, dict) and request.get("role") == "server" and reply["ok"]:
                self._servers[connection] = {**request, "op": "unregister"}
            self._board.send(connection, _labelled(reply, request))

    def _release(self, connection: Connection) -> None:
        """A peer's registration outlives its connection by the lease; a comparison server that died makes way."""
        if request := self._servers.pop(connection, None):
            self.membership.handle(request, monotonic())

    def close(self) -> None:
        """Let the last replies leave, and end."""
        until = monotonic() + FAREWELL_S
        while not self._board.flushed() and monotonic() < until:
            self.poll(0.05)
        self._board.close()


def _labelled(reply: dict[str, Any], request: Any) -> dict[str, Any]:
    return {**reply, "id": request["id"]} if isinstance(request, dict) and "id" in request else reply

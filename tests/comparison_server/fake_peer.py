"""A peer that plays nothing: it speaks over a real control connection as a peer does, and misbehaves where told to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from select import select
from typing import Any

from peer.core.commands import (
    Chunk,
    Close,
    Collected,
    Command,
    Counts,
    Describe,
    Described,
    Fetch,
    Hello,
    Prepare,
    Reached,
    Rejected,
    Release,
    Sealed,
    Stop,
    from_message,
    to_message,
)
from peer.core.errors import LabError
from peer.drivers.control import Connection, dial


@dataclass
class FakePeer:
    """Runs in a thread of its own from `start` until it is told to stop, or until `end`."""

    name: str
    endpoint: tuple[str, int]
    key: bytes
    files: dict[str, bytes] = field(default_factory=lambda: {"trace": b"trace", "sends": b"sends"})
    group: str = ""
    incarnation: str = "1"
    deaf_to: tuple[type, ...] = ()  # commands that it does not act upon
    rejects: tuple[str, str] | None = None  # code and sentence: its answer to Prepare
    cut_before: tuple[type, ...] = ()  # the connection breaks instead of the answer to these, once each
    cut_every: int = 0  # the connection breaks after so many chunks,
    spoil: Callable[[int, bytes], bytes] = lambda number, data: data  # which are sent like this
    heard: list[Command] = field(default_factory=list)
    run: str = ""
    phase: str = "idle"
    told: Prepare | None = None
    chunks: int = 0
    connections: int = 0
    stopped: str | None = None  # the reason it was given

    def start(self) -> FakePeer:
        self._ending = threading.Event()
        self._cut: set[type] = set()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        return self

    def end(self) -> None:
        """As if its process was killed."""
        self._ending.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _live(self) -> None:
        while self.stopped is None and not self._ending.is_set():
            try:
                connection = dial(self.endpoint, self.key)
            except LabError:  # the server is away
                self._ending.wait(0.02)
                continue
            self.connections += 1
            self._say(connection, Hello(self.name, self.group, self.incarnation, "3.11", self.run, self.phase))
            if self.phase == "closed":
                self._seal(connection)
            while not connection.closed and self.stopped is None and not self._ending.is_set():
                select([connection], [connection] if connection.wants_to_write else [], [], 0.02)
                connection.write()
                for message, _ in connection.read():
                    self._hear(connection, from_message(message))
                    if connection.closed:
                        break
            connection.close()

    def _hear(self, connection: Connection, command: Command) -> None:
        self.heard.append(command)
        kind = type(command)
        if kind in self.cut_before and kind not in self._cut:
            self._cut.add(kind)
            connection.close()
        elif kind not in self.deaf_to:
            {
                Prepare: self._prepare,
                Release: self._release,
                Close: self._close,
                Describe: self._describe,
                Collected: self._collected,
                Fetch: self._fetch,
                Stop: self._stop,
            }[kind](connection, command)

    def _prepare(self, connection: Connection, command: Prepare) -> None:
        if self.rejects:
            self._say(connection, Rejected(command.run, *self.rejects))
            return
        self.run, self.phase, self.told = command.run, "ready", command
        self._say(connection, Counts(self.run, "handshake"))
        self._say(connection, Reached(self.run))

    def _release(self, connection: Connection, command: Release) -> None:
        self.phase = "drained"
        self._say(connection, self._counts())

    def _close(self, connection: Connection, command: Close) -> None:
        if command.run != self.run:
            self._say(connection, Rejected(command.run, "unknown run", f"{self.name} does not play run {command.run}"))
            return
        self.phase = "closed"
        self._seal(connection)

    def _seal(self, connection: Connection) -> None:
        files: dict[str, Any] = {kind: [len(data), _digest(data)] for kind, data in self.files.items()}
        self._say(connection, Sealed(self.run, files, {"datagrams_sent": 42}))

    def _describe(self, connection: Connection, command: Describe) -> None:
        told = self.told
        self._say(connection, Described(told.run, told.me, told.settings, told.header))
        self._say(connection, self._counts())

    def _collected(self, connection: Connection, command: Collected) -> None:
        if self.phase == "closed":
            self.phase = "collected"
            self._say(connection, self._counts())

    def _counts(self) -> Counts:
        done = self.phase in ("drained", "closed", "collected")
        return Counts(self.run, self.phase, asked=7, delivered=21 if done else 0, ended=done, drained=done)

    def _fetch(self, connection: Connection, command: Fetch) -> None:
        data = self.files[command.file][command.offset : command.offset + command.length]
        self.chunks += 1
        chunk = Chunk(command.run, command.file, command.offset, _digest(data))
        connection.send(to_message(chunk), self.spoil(self.chunks, data))
        if self.cut_every and self.chunks % self.cut_every == 0:
            connection.close()

    def _stop(self, connection: Connection, command: Stop) -> None:
        self.stopped = command.reason

    def _say(self, connection: Connection, report: Any) -> None:
        connection.send(to_message(report))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()

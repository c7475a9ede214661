"""The logs of a run on their way from the peers into a folder: in checked parts, resumed where they were cut.

A peer announces its sealed logs with their sizes and hashes. They are fetched one after the
other, several parts ahead. A part that is not what its hash says is fetched again, and so is
a whole log, a few times. A log bears its name only once it is whole; until then it ends in
`.part`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from peer.core.commands import Chunk, Fetch
from peer.core.errors import RunError
from peer.core.shapes import fits
from peer.drivers.control import CHUNK_BYTES

UPLOAD = "upload"
HASH_BYTES = 16
PART = ".part"  # so a log is named until it is whole
PARTS_AHEAD = 8  # asked for and not here yet, of each peer
MOST_TRIES = 3  # of a part, and of a whole log
MOST_LOG_BYTES = 1 << 36  # more is announced by nobody who means it

NAMES = {"trace": "trace-{}.bin", "sends": "sends-{}.bin", "steps": "steps-{}.jsonl"}
ALWAYS = ("trace", "sends")


@dataclass
class DeliveryLog:
    """One log of one peer. It grows only by verified parts, so its length is where to go on."""

    path: Path
    size: int
    hash: str
    have: int = 0  # bytes that are here and verified
    asked: int = 0  # bytes that are here or on their way
    bad_parts: int = 0
    bad_wholes: int = 0
    whole: bool = False  # nothing is missing, and it bears its name
    file: BinaryIO | None = None
    digest: Any = None  # of what is here, while the file is open

    def add(self, data: bytes) -> None:
        """The next verified part."""
        self.file.write(data)
        self.digest.update(data)
        self.have += len(data)

    def begin(self) -> None:
        """Start with nothing, or start anew."""
        self.close()
        self.file = open(self.partial_path, "wb")
        self.digest = hashlib.blake2b(digest_size=HASH_BYTES)
        self.have = self.asked = 0

    def finish(self) -> bool:
        """All bytes are here: give the log its name, if they are the right ones."""
        self.close()
        if self.digest.hexdigest() != self.hash:
            return False
        self.partial_path.replace(self.path)
        self.whole = True
        return True

    def recognise(self) -> None:
        """Somebody else has brought it; if these are the right bytes, it gets its name."""
        self.digest = hashlib.blake2b(digest_size=HASH_BYTES)
        try:
            with open(self.partial_path, "rb") as file:
                while part := file.read(CHUNK_BYTES):
                    self.digest.update(part)
            self.finish()
        except OSError:
            pass  # it is not there: it will be asked for

    @property
    def partial_path(self) -> Path:
        return self.path.with_name(self.path.name + PART)

    def close(self) -> None:
        """Write out what is here."""
        if self.file is not None:
            self.file.close()
            self.file = None


class Collection:
    """The logs of all members of one run."""

    def __init__(self, run: str, folder: Path, members: Iterable[str]) -> None:
        self.run, self.folder = run, folder
        self._place = {name: place for place, name in enumerate(members)}
        self._logs: dict[str, dict[str, DeliveryLog]] = {}  # by member, then by kind, in the order of fetching

    def sealed(self, member: str, files: dict[str, Any]) -> list[Fetch]:
        """A member announces its logs, for the first time or again; what to ask it for now."""
        self.announced(member, files)
        return self._next(member)

    def announced(self, member: str, files: dict[str, Any]) -> dict[str, DeliveryLog]:
        """The logs that a member announces, by kind: it is not asked for them, somebody else brings them."""
        known = self._logs.setdefault(member, {})
        for kind in ALWAYS:
            if kind not in files:
                raise RunError(UPLOAD, [member], f"{member} has no log {kind!r}")
        for kind in (kind for kind in NAMES if kind in files):
            size, digest = _announced(member, kind, files[kind])
            log = known.get(kind)
            if log is None or (log.size, log.hash) != (size, digest):
                if log is not None:
                    log.close()
                known[kind] = DeliveryLog(self.folder / NAMES[kind].format(self._place[member]), size, digest)
        return known

    def brought(self, member: str) -> list[Fetch]:
        """Somebody has brought the logs of this member, or has not: what is not whole is to be asked for now."""
        for log in self._logs[member].values():
            if not log.whole:
                log.recognise()
        return self._next(member)

    def on_chunk(self, member: str, chunk: Chunk, data: bytes) -> list[Fetch]:
        """A part of a log has come; what to ask for now."""
        log = self._logs.get(member, {}).get(chunk.file)
        if log is None or log.file is None or chunk.offset != log.have or log.asked <= log.have:
            return []  # nobody waits for it: it was asked for twice, or before a bad part
        expected = min(CHUNK_BYTES, log.size - log.have)
        if len(data) != expected or hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest() != chunk.hash:
            log.bad_parts += 1
            if log.bad_parts >= MOST_TRIES:
                raise RunError(UPLOAD, [member], f"{member} sent a part of {log.path.name} damaged {MOST_TRIES} times")
            log.asked = log.have
            return self._next(member)
        log.bad_parts = 0
        try:
            log.add(data)
        except OSError as error:
            raise _unwritable(log.path, error) from None
        return self._next(member)

    def cut(self, member: str) -> None:
        """The connection is gone, and with it all that was on its way."""
        for log in self._logs.get(member, {}).values():
            log.asked = log.have

    def whole(self, member: str) -> bool:
        """Whether all logs of this member are here."""
        logs = self._logs.get(member)
        return bool(logs) and all(log.whole for log in logs.values())

    def progress(self) -> tuple[int, int]:
        """How many bytes are here, of how many announced so far."""
        logs = [log for logs in self._logs.values() for log in logs.values()]
        return sum(log.have for log in logs), sum(log.size for log in logs)

    def close(self) -> None:
        """No more will come."""
        for logs in self._logs.values():
            for log in logs.values():
                try:
                    log.close()
                except OSError:
                    pass  # of a log that is not whole anyway

    def _next(self, member: str) -> list[Fetch]:
        """What to ask for so that enough is on its way; on the way there, logs that are complete get their names."""
        for kind, log in self._logs[member].items():
            if log.whole:
                continue
            try:
                if self._goes_on(member, log):
                    return self._fetches(kind, log)
            except OSError as error:
                raise _unwritable(log.path, error) from None
        return []

    def _goes_on(self, member: str, log: DeliveryLog) -> bool:
        """Whether more of this log is to be fetched."""
        if log.file is None:
            log.begin()
        if log.have < log.size:
            return True
        if log.finish():
            return False
        log.bad_wholes += 1
        if log.bad_wholes >= MOST_TRIES:
            raise RunError(UPLOAD, [member], f"{log.path.name} came from {member} damaged {MOST_TRIES} times")
        log.begin()
        return True

    def _fetches(self, kind: str, log: DeliveryLog) -> list[Fetch]:
        fetches = []
        while log.asked < log.size and log.asked < log.have + PARTS_AHEAD * CHUNK_BYTES:
            length = min(CHUNK_BYTES, log.size - log.asked)
            fetches.append(Fetch(self.run, kind, log.asked, length))
            log.asked += length
        return fetches


def _announced(member: str, kind: str, value: Any) -> tuple[int, str]:
    if fits(value, tuple[int, str]) and 0 <= value[0] <= MOST_LOG_BYTES:
        return value[0], value[1]
    raise RunError(UPLOAD, [member], f"{member} announced its log {kind!r} as {str(value)[:80]}, not as [size, hash]")


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(UPLOAD, [], f"cannot write {path}: {error.strerror}")

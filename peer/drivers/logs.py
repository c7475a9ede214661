"""The logs of the present run as files: written while it goes on, sealed, handed out in parts, kept until the next."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

from peer.core.trace import Recorder, pack_header

KINDS = ("trace", "sends", "steps")  # deliveries, multicasts; and where everything is recorded, each step
HASHED_AT_ONCE = 1 << 20


class RunLogs:
    """`<name>-<kind>.bin` in a folder that several peers may share."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.sizes: dict[str, int] = {}  # of the sealed ones
        self._open: dict[str, BinaryIO] = {}
        self._kinds: tuple[str, ...] = ()  # of the present run

    @property
    def is_open(self) -> bool:
        """Whether there is something to write to."""
        return bool(self._open)

    def begin(self, header: dict[str, Any], everything: bool) -> None:
        """Forget the run before, and open the logs of this one; OSError if that cannot be."""
        self.close()
        self.sizes = {}
        self._kinds = KINDS if everything else KINDS[:2]
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            self.path(kind).unlink(missing_ok=True)
        for kind in self._kinds:
            self._open[kind] = open(self.path(kind), "wb", buffering=0)
        self._write("trace", pack_header({**header, "records": "deliveries"}))
        self._write("sends", pack_header({**header, "records": "sends"}))

    def write(self, recorder: Recorder) -> None:
        """What was recorded since the last time. OSError if it cannot be written; what is there is kept then."""
        if not self._open:
            return
        if recorder.sends:
            self._write("sends", recorder.sends)
            recorder.sends.clear()
        if recorder.deliveries:
            self._write("trace", recorder.deliveries)
            recorder.deliveries.clear()
        if recorder.steps:
            self._write("steps", "".join(line + "\n" for line in recorder.steps).encode())
            recorder.steps.clear()

    def close(self) -> None:
        """Write no more."""
        for file in self._open.values():
            file.close()
        self._open = {}

    def seal(self) -> dict[str, list]:
        """Write no more, and say of each log how large it is, and its hash."""
        self.close()
        sealed: dict[str, list] = {}
        for kind in self._kinds:
            digest, size = hashlib.blake2b(digest_size=16), 0
            try:
                with open(self.path(kind), "rb") as file:
                    while part := file.read(HASHED_AT_ONCE):
                        digest.update(part)
                        size += len(part)
            except OSError:  # it could not even be begun
                continue
            sealed[kind], self.sizes[kind] = [size, digest.hexdigest()], size
        return sealed

    def part(self, kind: str, offset: int, length: int) -> bytes | None:
        """A part of a sealed log; None if there is no such part, or no such file any more."""
        if not 0 <= offset < self.sizes.get(kind, 0):
            return None
        try:
            with open(self.path(kind), "rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError:
            return None

    def path(self, kind: str) -> Path:
        """Where this log is."""
        return self.folder / f"{self.name}-{kind}.bin"

    def _write(self, kind: str, data: bytes | bytearray) -> None:
        try:
            written = self._open[kind].write(data)
            while written < len(data):  # a disk that is filling up takes a part of it first
                written += self._open[kind].write(memoryview(data)[written:])
        except OSError:
            self.close()
            raise

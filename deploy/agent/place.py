"""Where a lab lives on a host: a folder in its user's home, written so that no crash leaves half a file in it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from peer.core.errors import LabError

ROOT = ".ordering-lab"
LAB = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}", re.ASCII)
DRAFT = ".draft-"
HASH_BYTES, HASHED_AT_ONCE = 16, 1 << 20
LOOK_S = 0.02  # between two looks at what another process will change
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


class Failed(LabError):
    """What was asked for cannot be done here: a kind for programs, a sentence for people."""

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class Place:
    """The folder of one lab, and what is where in it."""

    def __init__(self, lab: str) -> None:
        if not LAB.fullmatch(lab):
            raise Failed("fault", f"{lab!r} is no name of a lab")
        self.lab = lab
        self.home = Path("~").expanduser()
        self.root = self.home / ROOT
        self.folder = self.root / lab
        self.archive, self.key = self.folder / "lab.pyz", self.folder / "key"
        self.settings, self.control = self.folder / "settings.json", self.folder / "control.json"
        self.peers, self.logs = self.folder / "peers", self.folder / "logs"
        self.services, self.desk = self.folder / "services", self.folder / "desk"  # where control is direct

    def make(self) -> None:
        """Have the folder, for its owner only."""
        for folder in (self.root, self.folder, self.peers, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)

    def write(self, file: Path, data: bytes, mode: int = 0o600) -> bool:
        """Make the file say this, all at once or not at all; whether it said something else before.

        Only who holds the lab writes, so other drafts are of processes that were ended in the middle.
        """
        if read(file) == data:
            file.chmod(mode)
            return False
        self.sweep()
        draft = self.folder / f"{DRAFT}{secrets.token_hex(8)}"
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())  # else a machine that loses its power may keep the name and not what it names
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)
        return True

    def sweep(self) -> None:
        """Remove what others left half written."""
        for draft in self.folder.glob(f"{DRAFT}*"):
            draft.unlink(missing_ok=True)

    @contextmanager
    def held(self, timeout_s: float, *, make: bool = False, shared: bool = False) -> Iterator[bool]:
        """Nobody else changes the lab meanwhile. False, and nothing is held, where there is no lab."""
        until = monotonic() + timeout_s
        while True:
            if make:
                self.make()
            try:
                folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                if make:
                    continue  # it was removed in this very moment
                yield False
                return
            try:
                self._lock(folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, until)
                if self._is_still(folder):
                    yield True
                    return
            finally:
                os.close(folder)

    def _lock(self, folder: int, how: int, until: float) -> None:
        while True:
            try:
                fcntl.flock(folder, how | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if monotonic() > until:
                    sentence = f"another request has been at work on lab {self.lab} for too long; try again"
                    raise Failed("busy", sentence) from None
                sleep(LOOK_S)

    def _is_still(self, folder: int) -> bool:
        """Whether what was locked is the lab, and not one that was removed while its lock was waited for."""
        try:
            return os.path.samestat(os.fstat(folder), os.stat(self.folder))
        except FileNotFoundError:
            return False

    def remove(self) -> bool:
        """Leave nothing; whether there was something."""
        if not self.folder.exists():
            return False
        shutil.rmtree(self.folder)
        try:
            self.root.rmdir()
        except OSError:
            pass  # there are other labs
        return True

    def free_bytes(self) -> int | None:
        """What the disk has room for; None if that cannot be known."""
        for folder in (self.folder, self.home):
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                continue
        return None

    def trouble(self, error: OSError) -> Failed:
        """Why something cannot be done here, as its user is told it."""
        if error.errno in FULL:
            free = self.free_bytes()
            left = "" if free is None else f" ({free >> 10} kB are free)"
            return Failed("disk full", f"the disk that holds {self.root} is full{left}; make room there")
        if error.errno == errno.ENOENT and not self.home.is_dir():
            return Failed("no home", f"the home of its user, {self.home}, is not there; make it, or take another user")
        if error.errno in NOT_OURS:
            where = error.filename or self.root
            return Failed(
                "no home", f"its user may not write to {where} ({error.strerror}); mend that, or take another user"
            )
        where = f" ({error.filename})" if error.filename else ""
        return Failed("system", f"{error.strerror or error}{where}")


def read(file: Path) -> bytes | None:
    """What a file says; None if it is not there."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def described(file: Path) -> dict[str, Any]:
    """What others are told of a file, by which they know whether they have it."""
    digest, size = hashlib.blake2b(digest_size=HASH_BYTES), 0
    with open(file, "rb") as opened:
        while part := opened.read(HASHED_AT_ONCE):
            digest.update(part)
            size += len(part)
    return {"name": file.name, "path": str(file), "size": size, "hash": digest.hexdigest()}


def tail(file: Path, most_bytes: int, since: int = 0) -> str:
    """The end of what a program has said."""
    try:
        with open(file, "rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(since, size - most_bytes))
            return opened.read(most_bytes).decode(errors="replace")
    except FileNotFoundError:
        return ""


def last_line(text: str) -> str:
    """The last one that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""

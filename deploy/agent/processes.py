"""The peers that live on a host: started so that they outlast the request, found by their locks, ended in order.

Under `peers/` each has NAME.pid, which it locks for as long as it lives and which holds its process id once it is
ready; NAME.json, how it was started; NAME.txt, what it has said. A process id alone says nothing: it may be another's.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from deploy.agent.place import LOOK_S, Place, last_line, read, tail

READY_S = 15.0  # for peers that were started at once to be ready
KILLED_S = 5.0  # for the system to end a process that was killed
MOST_SAID, KEPT_SAID = 1 << 20, 1 << 16  # bytes of NAME.txt before it is cut, and after
LAST_LINE = 4096  # bytes in which the last line will be


@dataclass(frozen=True)
class Peer:
    """One peer by its files."""

    place: Place
    name: str

    @property
    def folder(self) -> Path:
        return self.place.peers

    @property
    def program(self) -> str:
        return "peer"

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def said(self) -> Path:
        return self.folder / f"{self.name}.txt"

    def lives(self) -> bool:
        """Whether somebody holds its lock. To be asked by who holds the lab: a peer that starts wants that lock too."""
        try:
            file = os.open(self.pid_file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(file)

    def pid(self) -> int | None:
        """Its process id, once it has said so."""
        text = read(self.pid_file) or b""
        return int(text) if text.strip().isdigit() else None

    def signal(self, number: int) -> None:
        """To it, if it lives and has said who it is."""
        pid = self.pid()
        if pid and self.lives():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it has ended in this very moment


@dataclass(frozen=True)
class Service(Peer):
    """One of the programs that run on the control host; it lives and dies like a peer."""

    @property
    def folder(self) -> Path:
        return self.place.services

    @property
    def program(self) -> str:
        return self.name


def known(place: Place) -> list[Peer]:
    """All that were started here and not cleaned away since."""
    return [Peer(place, file.stem) for file in sorted(place.peers.glob("*.pid"))]


def services(place: Place) -> list[Service]:
    """The same of what runs on a control host."""
    return [Service(place, file.stem) for file in sorted(place.services.glob("*.pid"))]


def living(place: Place) -> list[Peer]:
    """Those of them that live."""
    return [peer for peer in known(place) if peer.lives()]


def options_of(place: Place, group: str, wanted: dict[str, Any], digest: str) -> dict[str, Any]:
    """How a peer is started; one that was started otherwise is not the one that is wanted."""
    options = {"--name": wanted["name"], "--group": group, "--bind": wanted["bind"], "--advertise": wanted["advertise"]}
    files = {"--key": place.key, "--logs": place.logs, "--control": place.control}
    return {"archive": digest, **options, **{option: str(file) for option, file in files.items()}}


def is_as(peer: Peer, options: dict[str, Any]) -> bool:
    """Whether it was started with exactly these."""
    return read(peer.record) == _written(options)


def start(place: Place, wanted: dict[str, dict[str, Any]], kind: type[Peer] = Peer) -> dict[str, str]:
    """Start peers, by name, and wait until each is ready or has ended; why those that are not ready are not."""
    processes = {}
    for name, options in wanted.items():
        peer = kind(place, name)
        peer.pid_file.unlink(missing_ok=True)  # so that what it says is said by the new one
        place.write(peer.record, _written(options))
        _trim(place, peer)
        before = peer.said.stat().st_size if peer.said.exists() else 0
        processes[peer] = (_spawn(place, peer, options), before)
    until = monotonic() + READY_S
    failed: dict[str, str] = {}
    while processes:
        for peer, (process, before) in list(processes.items()):
            if process.poll() is not None:
                failed[peer.name] = _death(process.returncode, last_line(tail(peer.said, LAST_LINE, before)))
            elif peer.pid() == process.pid:
                pass  # it is ready
            elif monotonic() > until:
                process.kill()
                process.wait(KILLED_S)
                failed[peer.name] = f"was not ready within {READY_S:g} s"
            else:
                continue
            del processes[peer]
        if processes:
            sleep(LOOK_S)
    return failed


def stop(peers: list[Peer], patience_s: float) -> dict[str, list[str]]:
    """End peers: told first, killed if they do not; which of them it took what for."""
    ended: dict[str, list[str]] = {"ended": [], "killed": [], "stuck": []}
    rest = [peer for peer in peers if peer.lives()]
    for how, number, wait_s in (("ended", signal.SIGTERM, patience_s), ("killed", signal.SIGKILL, KILLED_S)):
        until = monotonic() + wait_s
        told: set[Peer] = set()
        while True:
            for peer in [peer for peer in rest if peer not in told and peer.pid()]:
                peer.signal(number)
                told.add(peer)
            ended[how] += [peer.name for peer in rest if not peer.lives()]
            rest = [peer for peer in rest if peer.name not in ended[how]]
            if not rest or monotonic() > until:
                break
            sleep(LOOK_S)
    ended["stuck"] = [peer.name for peer in rest]
    return ended


def _spawn(place: Place, peer: Peer, options: dict[str, Any]) -> subprocess.Popen:
    """A process of its own session, none of whose streams are the request's.

    That is all it takes to outlast the session of ssh: without a terminal nobody is hung up on when it ends, and sshd
    waits for nothing but the streams. systemd-run would be needed only where logind kills what its users leave behind
    (KillUserProcesses), which systems for servers do not have it do; and where it exists it may have no bus to talk to.
    """
    arguments = [text for option, value in options.items() if option != "archive" for text in (option, value)]
    with open(peer.said, "ab") as said:
        return subprocess.Popen(
            # Isolated from PYTHON* variables and from what else is installed; in UTF-8, as there may be no locale.
            [sys.executable, "-I", "-X", "utf8", place.archive, peer.program, *arguments, "--pid-file", peer.pid_file],
            cwd=place.folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _written(options: dict[str, Any]) -> bytes:
    return json.dumps(options, sort_keys=True).encode() + b"\n"


def _trim(place: Place, peer: Peer) -> None:
    """What it said in former lives is kept, but not without end."""
    if peer.said.exists() and peer.said.stat().st_size > MOST_SAID:
        place.write(peer.said, tail(peer.said, KEPT_SAID).encode())


def _death(code: int, last: str) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{how}: {last}" if last else how

"""A cluster on this machine: a group manager and peers as processes, and the comparison server that leads them.

    with LocalCluster(4) as cluster:
        outcome = cluster.run(settings, agreement, header, folder)

Whatever happens, no process is left behind: they end in order when the block is left, are
killed if they do not, and follow this process if it is killed itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from comparison_server.service import Interrupts, Outcome, Progress, Service
from experiments import bugs
from experiments.following import follow_parent
from experiments.play import Ended, Planned, World, ended, header_of
from experiments.room import check_room
from peer.core.errors import RunError
from peer.core.settings import RunSettings
from peer.drivers.control import KEY_BYTES, parse_endpoint, read_key
from peer.stacks import promised

LOOPBACK = ("127.0.0.1", 0)  # any free port
PROGRAM = Path(__file__).resolve().parent.parent  # where `python -m peer` finds the sources of this very program
START_S, START_PEER_S = 20.0, 1.0  # for a cluster to come up, and so much more for each of its peers
ORPHAN_S = 5.0  # a peer without any control connection for so long ends
END_S = 5.0  # for processes that were told to end
FOLDER = "ordering-lab-"
ABANDONED_S = 60.0  # a folder so old was locked by its owner, if that still lives


@dataclass
class Child:
    """A process of the cluster, and the file that holds what it said."""

    name: str
    process: subprocess.Popen
    said: Path

    def death(self) -> str:
        """How it ended, in one sentence; empty while it lives."""
        code = self.process.poll()
        if code is None:
            return ""
        lines = [line.strip() for line in self.words().splitlines() if line.strip()]
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}" + (f": {lines[-1].removeprefix('error: ')}" if lines and code > 0 else "")

    def words(self) -> str:
        """All that it said, its traceback if it died of a bug."""
        return self.said.read_text(errors="replace")


class _Folder:
    """What a cluster keeps while it is up: locked, so that it can be told from one whose owner was killed."""

    def __init__(self) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # the system lifts it when this process ends, however it ends

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_abandoned(place: Path) -> None:
    """Folders of clusters whose owner was killed before it could remove them."""
    for path in place.glob(f"{FOLDER}*"):
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # somebody else's
            continue
        try:
            status = os.fstat(folder)
            if status.st_uid == os.getuid() and time() - status.st_mtime > ABANDONED_S:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # its owner lives
        finally:
            os.close(folder)


class LocalCluster:
    """As many peers as asked for, called p0, p1, ..., connected and waiting for a run."""

    def __init__(
        self,
        peers: int,
        *,
        key: str | Path | None = None,
        bind: tuple[str, int] = LOOPBACK,
        manager_bind: tuple[str, int] = LOOPBACK,
        python: str = sys.executable,
        peer_module: str = "peer",
    ) -> None:
        """`key`: the file that holds it, by default a fresh one. `python`: what the processes are run with.

        `peer_module`: what the peers run, if they are more than peers (an application on top, in benchmarks).
        """
        self.names = [f"p{place}" for place in range(peers)]
        self.manager = manager_bind  # where the group manager listens
        self.service: Service | None = None  # while the cluster is up,
        self._key, self._bind, self._python = key, bind, python
        self._peer_module = peer_module
        self._folder: _Folder | None = None  # as is this
        self._manager: Child | None = None
        self._peers: list[Child] = []

    def __enter__(self) -> LocalCluster:
        check_room(len(self.names))
        self._folder = _Folder()
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def deaths(self) -> dict[str, str]:
        """The peers that are gone for good, and how each of them ended."""
        return {child.name: death for child in self._peers if (death := child.death())}

    @property
    def pids(self) -> dict[str, int]:
        """The process of each peer, and of the group manager."""
        return {child.name: child.process.pid for child in self._children()}

    def run(
        self,
        settings: RunSettings,
        agreement: bool,
        header: dict[str, Any],
        folder: Path | str,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Outcome:
        """As `Service.run`; who has died is not waited for."""

        def look(progress: Progress) -> None:
            for child in self._peers:
                if death := child.death():
                    self.service.lose(child.name, death)
            if on_progress is not None:
                on_progress(progress)

        return self.service.run(settings, agreement, header, folder, look)

    def keep_bugs(self, folder: Path) -> None:
        """What those said who ended by themselves, and not in order, is kept in this folder."""
        for child in self._peers:
            if (child.process.poll() or 0) > 0:
                bugs.keep_of(child.name, child.words(), folder)

    def wait_for_peers(
        self, count: int, timeout_s: float, on_wait: Callable[[list[str], int], None] | None = None
    ) -> list[str]:
        """As `Service.wait_for_peers`; RunError at once if too few of them live for that."""
        self.service.poll(0)  # so that nobody is counted who died before

        def look(here: list[str], lacking: int) -> None:
            if manager_death := self._manager.death():
                raise RunError("wait", [], manager_death)
            deaths = self.deaths
            if len(self.names) - len(deaths) < count:
                raise RunError("wait", list(deaths), "; ".join(deaths.values()))
            if on_wait is not None:
                on_wait(here, lacking)

        return self.service.wait_for_peers(count, timeout_s, look)

    def replace_dead(self) -> None:
        """Start those peers anew that have died: one run's end is no fate of the next."""
        dead = [child for child in self._peers if child.death()]
        with _in_one_go():
            for child in dead:
                self._peers[self._peers.index(child)] = self._start_peer(child.name)
        if dead:
            self.wait_for_peers(len(self.names), START_S)

    # Start and end.

    def _start(self) -> None:
        key = self._key_file()
        if not self._key:
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(KEY_BYTES) + "\n")
        secret = read_key(key)  # before anything is started that could only say that it is none
        arguments = ["--bind", "{}:{}".format(*self.manager), "--child-of", str(os.getpid()), "--key", str(key)]
        with _in_one_go():
            self._manager = self._spawn("group manager", "group_manager", arguments)
        self.manager = self._listening(self._manager)
        self.service = Service(self._bind, secret, manager=self.manager)
        until = monotonic() + START_S
        while not self.service.registered:
            if death := self._manager.death():
                raise RunError("start", [], death)
            if monotonic() > until:
                raise RunError("start", [], f"the group manager did not answer within {START_S:g} s")
            self.service.poll()
        with _in_one_go():
            for name in self.names:
                self._peers.append(self._start_peer(name))
        # A peer that has connected has registered: from the reply to that it knows where the server is.
        self.wait_for_peers(len(self.names), START_S + START_PEER_S * len(self.names))

    def _start_peer(self, name: str) -> Child:
        folder = self._folder.path
        where = ["--manager", "{}:{}".format(*self.manager), "--bind", "127.0.0.1:0", "--logs", str(folder / "logs")]
        about = ["--name", name, "--orphan-s", str(ORPHAN_S), "--key", str(self._key_file())]
        return self._spawn(name, self._peer_module, where + about)

    def _key_file(self) -> Path:
        return Path(self._key).resolve() if self._key else self._folder.path / "key"

    def _end(self) -> None:
        try:
            if self.service is not None:
                told = self.service.peers
                self.service.end_all(END_S)
                for child in self._peers:
                    if child.name not in told:  # it has not come so far yet
                        child.process.terminate()
                self.service.end_manager(END_S)
                self.service.close()
            _reap(self._children(), END_S)
        finally:
            for child in self._children():
                if child.process.poll() is None:
                    child.process.kill()
                child.process.wait()
                if child.process.stdout is not None:
                    child.process.stdout.close()
            self._folder.remove()

    def _children(self) -> list[Child]:
        return self._peers + ([self._manager] if self._manager else [])

    def _spawn(self, name: str, module: str, arguments: list[str]) -> Child:
        said = self._folder.path / f"{name}.txt"
        with open(said, "wb") as file:
            process = subprocess.Popen(
                [self._python, "-m", module, *arguments],
                cwd=PROGRAM,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if module == "group_manager" else file,
                stderr=file,
                start_new_session=True,  # Ctrl-C on the terminal is for this process; it ends the others in order
                preexec_fn=follow_parent(),
            )
        return Child(name, process, said)

    def _listening(self, manager: Child) -> tuple[str, int]:
        """Where the group manager listens, as it says in its first line."""
        readable, _, _ = select.select([manager.process.stdout], [], [], START_S)
        line = manager.process.stdout.readline().decode() if readable else ""
        if not line.strip():
            if readable:
                manager.process.wait(END_S)
            raise RunError("start", [], manager.death() or f"the group manager said nothing within {START_S:g} s")
        return parse_endpoint(line.split()[-1])


@contextmanager
def _in_one_go() -> Iterator[None]:
    """Ctrl-C strikes after this: while a process is started it can be lost, or the process be forgotten."""
    with Interrupts() as interrupts:
        yield
    if interrupts.came:
        raise KeyboardInterrupt


@contextmanager
def in_local(peers: int, key: Path | None = None, show: Callable[[Progress], None] | None = None) -> Iterator[World]:
    """The world `local`: processes that stay for all runs of a command; `show` hears how far each run is."""
    with LocalCluster(peers, key=key) as cluster:

        def world(planned: Planned, folder: Path) -> Ended:
            cluster.replace_dead()
            settings = planned.settings
            outcome = cluster.run(settings, "agreement" in promised(settings), header_of(planned), folder, show)
            cluster.keep_bugs(folder)
            return ended(outcome)

        yield world


def _reap(children: list[Child], timeout_s: float) -> None:
    """Wait for processes that were told to end; remind those that do not."""
    until = monotonic() + timeout_s
    for child in children:
        try:
            child.process.wait(max(0.0, until - monotonic()))
        except subprocess.TimeoutExpired:
            child.process.terminate()
    until = monotonic() + timeout_s
    for child in children:
        try:
            child.process.wait(max(0.0, until - monotonic()))
        except subprocess.TimeoutExpired:
            pass  # it will be killed

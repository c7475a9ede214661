"""The process that a cloud hangs on: it starts the hosts and the network between them, and takes them down with it.

    python -m deploy.rehearsal.supervisor FOLDER LOCK [stay]

FOLDER holds plan.json and the key that may log in, LOCK is the open file that says that the folder is in use. Without
`stay` the cloud ends when standard input does. The first line on standard output says that all is up, or what failed.
Every host is a child that the system kills when this process ends, however it ends, and all inside with it.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from deploy.rehearsal import namespaces
from deploy.rehearsal.host import START_S, Machine, live, make_key
from deploy.rehearsal.plan import OPERATOR, Plan, plan_from
from deploy.rehearsal.switchboard import REQUEST_BYTES, carry
from peer.core.errors import LabError

SOCKET = "control"  # in the folder
ANSWER_S = 5.0  # for the network process; and for whoever asks something, to say what
ROUNDS = 100  # of stopping processes, until no new ones appear
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OF_A_USER = ("home", "tmp", "var-tmp")  # on a disk


@dataclass
class Running:
    """A host, as the supervisor knows it."""

    machine: Machine
    state: str = "off"
    pid: int = 0
    channel: socket.socket | None = field(default=None, repr=False)

    def words(self) -> str:
        """The last that its sshd said."""
        with suppress(OSError):
            lines = self.machine.said.read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


class Supervisor:
    """Starts, asks, and ends."""

    def __init__(self, plan: Plan, folder: Path, stay: bool) -> None:
        self.plan, self.folder, self.stay = plan, folder, stay
        authorized, has_shim = (folder / "client_key.pub").read_text(), (folder / "clock.so").exists()
        self.hosts = {host.name: Running(Machine(host, plan.user, folder, authorized, has_shim)) for host in plan.hosts}
        self.ending = False
        self._network: socket.socket | None = None  # to the process that carries frames,
        self._network_pid = 0  # which is this
        self._do: dict[str, Callable[..., Any]] = {
            "status": self.status, "boot": self.boot, "kill": self.kill, "pause": self.pause, "resume": self.resume,
            "clock": self.set_clock, "rekey": self.rekey, "disk": self.set_disk, "processes": self.processes,
            "files": self.files, "down": self.end,
        }  # fmt: skip

    def start(self) -> None:
        """Bring everything up."""
        namespaces.unshare(namespaces.NEW_NETWORK | namespaces.NEW_MOUNTS)  # the network becomes the operator's
        namespaces.make_mounts_private()
        for folder in ("root", "disks", "keys", "said", "clocks"):
            (self.folder / folder).mkdir()
        for name, running in self.hosts.items():
            disk = running.machine.disk
            disk.mkdir()
            options = f"mode=755,size={running.machine.plan.disk_kb}k"
            namespaces.mount("tmpfs", str(disk), "tmpfs", namespaces.NO_SUID | namespaces.NO_DEVICES, options)
            self.set_clock(name, running.machine.plan.clock_offset_s)
        self._network, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._network_pid = _fork(lambda: carry(self.plan, theirs), keep=[theirs.fileno()])
        theirs.close()
        self.boot(*self.hosts)
        self._write_known_hosts()

    def serve(self, listener: socket.socket, woken: int) -> None:
        """Until it is told to end, or whoever wanted the cloud is gone."""
        wanted = [listener.fileno(), woken, *([] if self.stay else [0])]
        while not self.ending:
            readable, _, _ = select.select(wanted, (), ())
            if 0 in readable and not os.read(0, 1024):
                return
            if woken in readable:
                os.read(woken, 1024)
                self._reap()
            if listener.fileno() in readable:
                connection, _ = listener.accept()
                with connection, suppress(OSError):  # whoever asked may be gone
                    self._answer(connection)

    def close(self) -> None:
        """End all processes; the folder goes too."""
        for name, running in self.hosts.items():
            if running.pid:
                self.kill(name, unplug=False)
        if self._network is not None:
            self._network.close()
            with suppress(ProcessLookupError):
                os.kill(self._network_pid, signal.SIGKILL)
                os.waitpid(self._network_pid, 0)
        for running in self.hosts.values():
            with suppress(OSError):
                namespaces.unmount(str(running.machine.disk))
        shutil.rmtree(self.folder, ignore_errors=True)

    # What can be asked for.

    def status(self) -> dict[str, Any]:
        """Who is there, and what the network has done so far."""
        hosts = {}
        for name, running in self.hosts.items():
            plan = running.machine.plan
            hosts[name] = {"region": plan.region, "state": running.state, "pid": running.pid}
            hosts[name] |= {"address": self.plan.address(name), "private": self.plan.private_address(name)}
        about = {"pid": os.getpid(), "operator": self.plan.address(OPERATOR), "hosts": hosts}
        return about | self._ask_network("network status")

    def boot(self, *names: str, host: str = "") -> None:
        """Switch hosts on; all their sshds answer when this returns."""
        starting = [self._host(name) for name in (*names, *filter(None, [host]))]
        for running in starting:
            if running.state != "off":
                raise LabError(f"{running.machine.plan.name} is {running.state} already")
        until = monotonic() + START_S
        for running in starting:
            self._begin(running)
        for running in starting:
            self._hear(running, until, b"there")
            self._ask_network("plug", name=running.machine.plan.name, pid=running.pid)
            running.channel.send(b"go")
        for running in starting:
            self._hear(running, until, b"up")
            running.state = "up"

    def kill(self, host: str, unplug: bool = True) -> None:
        """Pull the plug: all its processes are gone at once, its disk stays."""
        running = self._host(host)
        if running.pid:
            with suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)  # only when all in its namespace are gone
            self._has_ended(running, unplug)

    def pause(self, host: str) -> None:
        """All its processes stand still, and so does its card."""
        running = self._up(host, "up")
        self._ask_network("sleep", name=host, asleep=True)
        for _ in range(ROUNDS):
            moving = [pid for pid in self._pids(running) if _state(pid) not in "TtZX"]
            if not moving:
                break
            _signal(moving, signal.SIGSTOP)
        running.state = "paused"

    def resume(self, host: str) -> None:
        """Go on after a pause."""
        running = self._up(host, "paused")
        _signal(self._pids(running), signal.SIGCONT)
        self._ask_network("sleep", name=host, asleep=False)
        running.state = "up"

    def set_clock(self, host: str, offset_s: float) -> None:
        """Set the wall clock of a host so far from this machine's."""
        clock = self._host(host).machine.clock
        file = os.open(clock, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(file, struct.pack("=q", round(offset_s * 1e9)), 0)
        os.close(file)

    def rekey(self, host: str) -> None:
        """Give a host another key, as a machine has that was made anew under the same address."""
        running = self._up(host, "up")
        key = running.machine.host_key
        fresh = key.with_name(f"{host}.new")
        make_key(fresh)
        for suffix in ("", ".pub"):  # into the files that the host sees
            made = Path(f"{fresh}{suffix}")
            Path(f"{key}{suffix}").write_bytes(made.read_bytes())
            made.unlink()
        _signal([pid for pid in self._pids(running) if "[listener]" in _command(pid)], signal.SIGKILL)
        self._hear(running, monotonic() + START_S, b"up")

    def set_disk(self, host: str, free_kb: int) -> None:
        """Let so much of its disk be free."""
        disk = str(self._host(host).machine.disk)
        there = os.statvfs(disk)
        used_kb = (there.f_blocks - there.f_bfree) * there.f_frsize // 1024
        flags = namespaces.REMOUNT | namespaces.NO_SUID | namespaces.NO_DEVICES
        namespaces.mount("tmpfs", disk, "tmpfs", flags, f"size={max(4, used_kb + free_kb)}k")

    def processes(self, host: str) -> dict[str, str]:
        """Process ids and command lines, as the host sees them, of all but its first process and its sshds."""
        running = self._host(host)
        found = {}
        for entry in Path(f"/proc/{running.pid}/root/proc").iterdir() if running.pid else ():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0") if entry.name.isdigit() else []
                line = b" ".join(words).decode(errors="replace")
                if line and entry.name != "1" and not line.startswith(("sshd:", "/usr/sbin/sshd")):
                    found[entry.name] = line
        return found

    def files(self, host: str) -> dict[str, int]:
        """Every file and folder that a user can have made, and its size."""
        running = self._host(host)
        places = {f"/{name.replace('-', '/')}": running.machine.disk / name for name in OF_A_USER}
        if running.pid:
            places["/dev/shm"] = Path(f"/proc/{running.pid}/root/dev/shm")
        found = {}
        for shown, place in places.items():
            for folder, folders, files in os.walk(place):
                for name in (*folders, *files):
                    path = Path(folder) / name
                    with suppress(OSError):
                        status = path.lstat()
                        found[f"{shown}/{path.relative_to(place)}"] = 0 if name in folders else status.st_size
        return found

    def end(self) -> None:
        self.ending = True

    # How.

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_S)
        line = connection.makefile("rb").readline(REQUEST_BYTES)
        reply: dict[str, Any]
        try:
            arguments = json.loads(line)
            op = arguments.pop("op", "nothing")
            done = self._do[op](**arguments) if op in self._do else self._ask_network(op, **arguments)
            reply = {"done": done}
        except (LabError, OSError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
            reply = {"failed": str(error)}
        connection.sendall(json.dumps(reply).encode() + b"\n")

    def _ask_network(self, op: str, **arguments: Any) -> Any:
        self._network.settimeout(ANSWER_S)
        try:
            self._network.send(json.dumps({"op": op, **arguments}).encode())
            reply = json.loads(self._network.recv(REQUEST_BYTES) or b'{"failed": "the network has ended"}')
        except (TimeoutError, ConnectionError) as error:
            raise LabError(f"the network between the hosts does not answer: {error}") from None
        if "failed" in reply:
            raise LabError(reply["failed"])
        return reply["done"]

    def _host(self, name: str) -> Running:
        self.plan.host(name)
        return self.hosts[name]

    def _up(self, name: str, state: str) -> Running:
        running = self._host(name)
        if running.state != state:
            raise LabError(f"{name} is {running.state}, not {state}")
        return running

    def _begin(self, running: Running) -> None:
        """Fork what becomes the first process of a host."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        namespaces.unshare(namespaces.NEW_PIDS)
        try:
            running.pid = _fork(lambda: live(running.machine, theirs), keep=[theirs.fileno()])
        finally:
            namespaces.enter(home, namespaces.NEW_PIDS)
            os.close(home)
        theirs.close()
        running.channel, running.state = ours, "starting"

    def _hear(self, running: Running, until: float, wanted: bytes) -> None:
        """Wait for a word of a host that is starting."""
        running.channel.settimeout(max(0.01, until - monotonic()))
        try:
            said = running.channel.recv(1000)
        except TimeoutError:
            said = f"it was not {wanted.decode()} within {START_S:g} s".encode()
        if said != wanted:
            why = said.decode(errors="replace").removeprefix("failed: ") or "it ended"
            words = running.words()
            name = running.machine.plan.name
            raise LabError(f"{name} could not be started: {why}" + (f"; its sshd says: {words}" if words else ""))

    def _reap(self) -> None:
        """Look which children have ended by themselves."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self._network_pid:
                self.ending = True
            for running in self.hosts.values():
                if running.pid == pid:
                    self._has_ended(running)

    def _has_ended(self, running: Running, unplug: bool = True) -> None:
        running.pid, running.state = 0, "off"
        running.channel.close()
        if unplug:
            self._ask_network("unplug", name=running.machine.plan.name)

    def _pids(self, running: Running) -> list[int]:
        """All processes of a host but the first, which only waits, as this machine numbers them."""
        theirs = os.readlink(f"/proc/{running.pid}/ns/pid")
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == theirs and int(name) != running.pid:
                    found.append(int(name))
        return found

    def _write_known_hosts(self) -> None:
        lines = []
        for name, running in self.hosts.items():
            kind, key = Path(f"{running.machine.host_key}.pub").read_text().split()[:2]
            lines.append(f"{self.plan.address(name)} {kind} {key}\n")
        (self.folder / "known_hosts").write_text("".join(lines))


def main(folder: Path, lock: int, stay: bool) -> int:
    """The whole life of a cloud."""
    namespaces.be_called("rehearsal")
    os.umask(0o022)  # users of hosts are to see what is made for them
    os.set_inheritable(lock, False)
    plan = plan_from(json.loads((folder / "plan.json").read_text()))
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in ENDING:
        signal.signal(number, lambda *_: sys.exit(1))
    supervisor = Supervisor(plan, folder, stay)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.chdir(folder)  # so that the name of the socket is short, wherever that is
            listener.bind(SOCKET)
            listener.listen(16)
            try:
                supervisor.start()
            except (LabError, OSError) as error:
                print(json.dumps({"failed": str(error)}), flush=True)
                return 1
            print(json.dumps({"up": os.getpid()}), flush=True)
            supervisor.serve(listener, woken)
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        supervisor.close()
    return 0


def _fork(live_on: Callable[[], None], keep: Iterable[int]) -> int:
    """A child that does only this, holds only these files, and dies with this process."""
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        namespaces.die_with_parent()
        if os.getppid() not in (parent, 0):  # 0: it is the first of a namespace, and cannot see its parent
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *ENDING):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        begin = 3
        for file in sorted(keep):
            os.closerange(begin, file)
            begin = file + 1
        os.closerange(begin, 65_536)
        live_on()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _state(pid: int) -> str:
    """One letter; X for who is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), "stay" in sys.argv[3:]))

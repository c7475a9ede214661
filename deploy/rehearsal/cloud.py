"""A cloud on this machine: hosts with an sshd each, in regions with real delays between them.

    with Rehearsal(plain(4, ["frankfurt", "tokyo"], one_way_ms=90)) as cloud:
        cloud.run(["fab", "--inventory", cloud.inventory, "check"])
        cloud.control("partition", groups=[["h0"], ["h1", "h2", "h3"]])

Its addresses exist only inside namespaces of its own: what is to reach a host must run in the operator's. Needs Linux,
root, an sshd and ssh-keygen; nothing is changed on the machine, and whatever happens nothing is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

from deploy.rehearsal import namespaces
from deploy.rehearsal.host import KEYGEN, OFFSET, SSHD, START_S
from deploy.rehearsal.plan import PEER_PORT, Plan, plan_from
from deploy.rehearsal.supervisor import SOCKET
from peer.core.errors import LabError

PROGRAM = Path(__file__).resolve().parents[2]  # where `python -m deploy.rehearsal.supervisor` finds the sources
FOLDER = "ordering-rehearsal-"
UP_S = START_S + 10.0  # for all hosts, and the supervisor itself
DOWN_S = 20.0
CONTROL_S = 60.0
LOOK_S = 0.02  # between two looks at somebody else's supervisor


class RehearsalError(LabError):
    """The cloud cannot be had, or refused something."""


def lacking() -> str:
    """Why there can be no such cloud here, in a few words; empty where there can."""
    missing = [program for program in (SSHD, KEYGEN) if not os.access(program, os.X_OK)]
    return namespaces.can_be_had() or (f"{missing[0]} is missing (install openssh-server)" if missing else "")


class Rehearsal:
    """A cloud, from `up` to `down`."""

    def __init__(self, plan: Plan, folder: Path | str | None = None, *, stays: bool = False) -> None:
        """`folder`: a place of its own, by default a temporary one. `stays`: it outlives this process, until `down`."""
        self.plan, self._wanted, self._stays = plan, folder, stays
        self.folder = Path(folder).resolve() if folder else Path()
        self._supervisor: subprocess.Popen | None = None

    @classmethod
    def at(cls, folder: Path | str) -> Rehearsal:
        """The cloud that is up in a folder."""
        try:
            plan = plan_from(json.loads((Path(folder) / "plan.json").read_text()))
        except FileNotFoundError:
            raise RehearsalError(f"no rehearsal cloud is up in {folder}") from None
        cloud = cls(plan, folder, stays=True)
        cloud.control("status")
        return cloud

    def __enter__(self) -> Rehearsal:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def inventory(self) -> Path:
        """The inventory that fab uses."""
        return self.folder / "lab.yml"

    @property
    def ssh_config(self) -> Path:
        """For plain ssh: `ssh -F FILE HOST`; it knows the hosts' keys."""
        return self.folder / "ssh_config"

    def up(self) -> None:
        """Start everything; all sshds answer when this returns."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            raise RehearsalError(f"a rehearsal cloud is up already in {self.folder}")
        if problem := lacking():
            raise RehearsalError(f"no rehearsal cloud can be made here: {problem}")
        self.folder, lock = _take(self.folder) if self._wanted else _take_new()
        try:
            try:
                self._prepare()
                self._start(lock)
            finally:
                os.close(lock)  # the supervisor has it now, or nobody
        except BaseException:
            self._end()
            raise

    def down(self) -> None:
        """End everything; nothing of it is left when this returns. That there is nothing any more is fine."""
        if self.folder == Path():
            return
        with suppress(RehearsalError, ProcessLookupError):
            supervisor = os.pidfd_open(self.control("status")["pid"])
            try:
                self.control("down")
                select.select([supervisor], [], [], DOWN_S)
            finally:
                os.close(supervisor)
        self._end()

    def control(self, op: str, **arguments: Any) -> Any:
        """Have something done to the cloud, or ask it something. What there is:

        status; lateness [reset]; processes host; files host
        partition groups; block source target [what]; unblock source target [what]; heal    (`operator` is a host too)
        network [regions] loss=... jitter_ms=... or whatever else a `Weather` has
        pause host; resume host; kill host; boot host; rekey host; clock host offset_s; disk host free_kb
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(CONTROL_S)
            try:
                folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    asked.connect(f"/proc/self/fd/{folder}/{SOCKET}")  # short, wherever the folder is
                finally:
                    os.close(folder)
                asked.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
                line = asked.makefile("rb").readline()
            except TimeoutError:
                raise RehearsalError(f"the rehearsal cloud did not answer within {CONTROL_S:g} s") from None
            except OSError as error:
                raise RehearsalError(f"no rehearsal cloud is up in {self.folder}: {error.strerror}") from None
        reply = json.loads(line or b'{"failed": "the rehearsal cloud ended"}')
        if "failed" in reply:
            raise RehearsalError(reply["failed"])
        return reply["done"]

    # Being the operator.

    def inside(self) -> Callable[[], None]:
        """What a child does between fork and exec (`preexec_fn`) to be on the operator's machine."""
        network = self._network()
        return lambda: namespaces.enter(network, namespaces.NEW_NETWORK)

    def popen(self, argv: list[str | os.PathLike], **options: Any) -> subprocess.Popen:
        """As subprocess.Popen, on the operator's machine."""
        return subprocess.Popen(list(map(os.fspath, argv)), preexec_fn=self.inside(), **options)

    def run(self, argv: list[str | os.PathLike], **options: Any) -> subprocess.CompletedProcess:
        """As subprocess.run, on the operator's machine."""
        return subprocess.run(list(map(os.fspath, argv)), preexec_fn=self.inside(), **options)

    def ssh(self, host: str, command: str, **options: Any) -> subprocess.CompletedProcess:
        """Run a command on a host with the plain ssh client; text in, text out."""
        argv = ["ssh", "-F", self.ssh_config, host, command]
        return self.run(argv, **{"text": True, "capture_output": True, "timeout": CONTROL_S, **options})

    def enter(self) -> None:
        """Move this very process, more exactly this thread and those it starts, to the operator's machine."""
        namespaces.enter(self._network(), namespaces.NEW_NETWORK)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be on the operator's machine for a while: this thread, and whatever it starts meanwhile."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            yield
        finally:
            namespaces.enter(home, namespaces.NEW_NETWORK)
            os.close(home)

    # What is on a host.

    def processes(self, host: str) -> dict[str, str]:
        """Process ids and command lines, as the host sees them, of all but its first process and its sshds."""
        return self.control("processes", host=host)

    def files(self, host: str) -> dict[str, int]:
        """Every file and folder that a user can have made there, and its size."""
        return self.control("files", host=host)

    def _network(self) -> str:
        return f"/proc/{self.control('status')['pid']}/ns/net"

    def _prepare(self) -> None:
        """Write what the supervisor and the operator need."""
        folder, plan = self.folder, self.plan
        folder.chmod(0o755)  # hosts look into it with other eyes than root's
        (folder / "plan.json").write_text(json.dumps(asdict(plan)))
        key = folder / "client_key"
        _run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", key])
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler:
            shim, source = folder / "clock.so", Path(__file__).with_name("shim.c")
            _run([compiler, "-O1", "-shared", "-fPIC", f'-DOFFSET_FILE="{OFFSET}"', "-o", shim, source])
            shim.chmod(0o755)
        elif any(host.clock_offset_s for host in plan.hosts):
            raise RehearsalError("clocks cannot be set apart: there is no C compiler here (cc)")
        self.inventory.write_text(_inventory(plan, key))
        self.ssh_config.write_text(_ssh_config(plan, folder))

    def _start(self, lock: int) -> None:
        stays = ["stay"] if self._stays else []
        with open(self.folder / "supervisor.txt", "wb") as said:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "deploy.rehearsal.supervisor", self.folder, str(lock), *stays],
                cwd=PROGRAM,
                stdin=subprocess.DEVNULL if self._stays else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C is for this process, which ends it in order
            )
        readable, _, _ = select.select([self._supervisor.stdout], [], [], UP_S)
        line = self._supervisor.stdout.readline() if readable else b""
        self._supervisor.stdout.close()
        if not line:
            words = (self.folder / "supervisor.txt").read_text(errors="replace").strip().split("\n")[-1]
            raise RehearsalError(words or f"the rehearsal cloud was not up within {UP_S:g} s")
        if "failed" in (reply := json.loads(line)):
            raise RehearsalError(reply["failed"])

    def _end(self) -> None:
        if self._supervisor is not None:
            if self._supervisor.stdin is not None:
                self._supervisor.stdin.close()  # it ends with that
            self._supervisor.terminate()  # also where it is still starting
            try:
                self._supervisor.wait(DOWN_S)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
                self._supervisor.wait()
            self._supervisor = None
        if not remove(self.folder, DOWN_S):
            raise RehearsalError(f"the rehearsal cloud in {self.folder} did not end within {DOWN_S:g} s")
        if not self._wanted:
            self.folder = Path()


def _take(folder: Path) -> tuple[Path, int]:
    """A folder for a new cloud, empty and locked; who holds the lock has the folder."""
    until = monotonic() + DOWN_S
    while monotonic() < until:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), folder.stat()):
                foreign = [path for path in folder.iterdir() if not (folder / "plan.json").exists()]
                if foreign:
                    raise RehearsalError(f"{folder} holds something else; give a folder of its own")
                for path in folder.iterdir():  # of a cloud that was killed
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                return folder, lock
        except BlockingIOError:
            os.close(lock)
            raise RehearsalError(f"a rehearsal cloud is up already in {folder}") from None
        except FileNotFoundError:  # removed in this very moment by whoever held it
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise RehearsalError(f"{folder} could not be had within {DOWN_S:g} s")


def _take_new() -> tuple[Path, int]:
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        remove(path)
    return _take(Path(tempfile.mkdtemp(prefix=FOLDER)))


def remove(folder: Path, wait_s: float = 0.0) -> bool:
    """Remove the folder of a cloud that has ended or was killed, or ends within this time; whether that was so."""
    until = monotonic() + wait_s
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # it has gone already
        return True
    try:
        if os.fstat(lock).st_uid != os.getuid():
            return False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                return True
            except BlockingIOError:
                if monotonic() >= until:
                    return False
            sleep(LOOK_S)
    finally:
        os.close(lock)


def _inventory(plan: Plan, key: Path) -> str:
    hosts = {}
    for host in plan.hosts:
        hosts[host.name] = {"region": host.region, "address": plan.address(host.name)}
        if host.nat:
            hosts[host.name] |= {"bind": "0.0.0.0", "advertise": plan.address(host.name)}
        if host.jump:
            hosts[host.name]["jump"] = host.jump
        if host.peers > 1:
            hosts[host.name]["peers"] = host.peers
    defaults = {"user": plan.user, "key": str(key), "port": 22, "peer_port": PEER_PORT}
    return yaml.safe_dump({"lab": plan.lab, "defaults": defaults, "hosts": hosts}, sort_keys=False)


def _ssh_config(plan: Plan, folder: Path) -> str:
    lines = []
    for host in plan.hosts:
        lines += [f"Host {host.name}", f"  HostName {plan.address(host.name)}"]
        lines += [f"  ProxyJump {host.jump}"] if host.jump else []
    lines += ["Host *", f"  User {plan.user}", f"  IdentityFile {folder / 'client_key'}", "  IdentitiesOnly yes"]
    lines += [f"  UserKnownHostsFile {folder / 'known_hosts'}", "  StrictHostKeyChecking yes", "  BatchMode yes"]
    return "\n".join(lines) + "\n"


def _run(argv: list[str | os.PathLike]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr.strip() or f"exit code {done.returncode}").split("\n")[0]
        raise RehearsalError(f"{Path(argv[0]).name} failed: {words}")

"""The first process of a host: makes the place where its users find themselves, and keeps its sshd going."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import NoReturn

from deploy.rehearsal import namespaces
from deploy.rehearsal.plan import HostPlan

USER_ID = 61_000  # nobody's on the machine, so that no limits are shared
START_S = 10.0  # for a host and its sshd
LOOK_S = 0.005  # between two looks whether sshd answers already
SSHD, KEYGEN = "/usr/sbin/sshd", "/usr/bin/ssh-keygen"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
PATH = "/usr/local/bin:/usr/bin:/bin"
SHIM, OFFSET = "/etc/rehearsal/clock.so", "/etc/rehearsal/clock-offset"

FOLDERS = (
    "usr", "etc/ssh", "etc/rehearsal", "proc", "sys", "dev/pts", "dev/shm", "home", "tmp", "var/tmp", "var/log",
    "run/sshd", "root",
)  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
OF_THE_MACHINE = (  # what of its /etc programs cannot do without
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "protocols", "services", "bash.bashrc",
    "profile", "terminfo",
)  # fmt: skip

OLD_PYTHON = """#!/usr/bin/python3
# Says that it is Python 3.8, and runs what it is given.
import collections, runpy, sys
Version = collections.namedtuple("version_info", "major minor micro releaselevel serial")
sys.version_info = Version(3, 8, 10, "final", 0)
sys.version = "3.8.10 (default, Mar 15 2022, 12:22:08)"
sys.hexversion = 0x03080AF0
given = sys.argv[1:]
while given and given[0] in ("-u", "-B", "-E", "-I", "-s", "-S"):
    given.pop(0)
if given and given[0] in ("-V", "--version"):
    print("Python 3.8.10")
elif given and given[0] == "-c":
    sys.argv = ["-c"] + given[2:]
    import __main__
    exec(compile(given[1], "<string>", "exec"), __main__.__dict__)
elif given and given[0] == "-":
    sys.argv = given
    import __main__
    exec(compile(sys.stdin.read(), "<stdin>", "exec"), __main__.__dict__)
elif given:
    sys.argv = given
    runpy.run_path(given[0], run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a host is made from."""

    plan: HostPlan
    user: str
    folder: Path  # of the cloud
    authorized: str  # the public keys that may log in
    has_shim: bool

    @property
    def disk(self) -> Path:
        """Where what survives a restart is kept."""
        return self.folder / "disks" / self.plan.name

    @property
    def host_key(self) -> Path:
        return self.folder / "keys" / self.plan.name

    @property
    def said(self) -> Path:
        """What its sshd said."""
        return self.folder / "said" / f"{self.plan.name}.txt"

    @property
    def clock(self) -> Path:
        return self.folder / "clocks" / self.plan.name


def live(machine: Machine, channel: socket.socket) -> NoReturn:
    """The life of a host, in a process that is the first of a new namespace of processes.

    It says "there" when its network card can be plugged in, waits for a word, and says "up" when sshd answers, also
    when that was killed and started again.
    """
    kinds = namespaces.NEW_MOUNTS | namespaces.NEW_NETWORK | namespaces.NEW_NAME | namespaces.NEW_IPC
    namespaces.be_called("rehearsal-host")
    try:
        namespaces.unshare(kinds)
        channel.send(b"there")
        if not channel.recv(16):
            os._exit(1)  # the supervisor has gone
        if not machine.host_key.exists():
            make_key(machine.host_key)
        with open(machine.said, "ab") as said:
            _make_place(machine)
            socket.sethostname(machine.plan.name)
            _set_uptime(machine.plan.uptime_s)
            while True:
                sshd = _start_sshd(said.fileno())
                _wait_for_sshd(sshd)
                channel.send(b"up")
                while os.wait()[0] != sshd:  # who is orphaned here becomes a child of this process
                    pass
    except Exception as error:
        channel.send(f"failed: {error}".encode())
    os._exit(1)


def make_key(path: Path) -> None:
    """A key by which a host is known."""
    command = [KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def sshd_settings(machine: Machine) -> str:
    """What its sshd is told."""
    plan = machine.plan
    sftp = next(filter(os.path.exists, SFTP_SERVERS), "internal-sftp")
    lines = [
        "Port 22", "ListenAddress 0.0.0.0", "HostKey /etc/ssh/host_key", "PidFile none", "UsePAM no", "UseDNS no",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin no",
        "AuthorizedKeysFile /etc/ssh/authorized_keys", "AllowTcpForwarding yes", "GatewayPorts no", "PrintMotd no",
        "PrintLastLog no", "X11Forwarding no", f"SetEnv PATH={PATH}", f"MaxStartups {plan.max_startups}",
        f"MaxSessions {plan.max_sessions}",
    ]  # fmt: skip
    if plan.sftp:
        lines.append(f"Subsystem sftp {sftp}")
    return "\n".join(lines) + "\n"


def _make_place(machine: Machine) -> None:
    """A small root of its own: the machine's programs read-only, everything else new."""
    namespaces.make_mounts_private()
    root = machine.folder / "root"
    namespaces.mount("tmpfs", str(root), "tmpfs", namespaces.NO_SUID, "mode=755,size=16m")
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    (root / "var/run").symlink_to("/run")
    _show_programs(root, machine.plan.python)
    _make_devices(root / "dev")
    _write_etc(machine, root / "etc")
    _show_disk(machine, root)
    namespaces.mount("proc", str(root / "proc"), "proc")
    namespaces.mount("sysfs", str(root / "sys"), "sysfs", namespaces.READ_ONLY)
    namespaces.change_root(str(root))


def _show_programs(root: Path, python: str) -> None:
    namespaces.bind("/usr", str(root / "usr"))
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        there = Path("/") / name
        if there.is_symlink():
            (root / name).symlink_to(os.readlink(there))
        elif there.is_dir():
            (root / name).mkdir()
            namespaces.bind(str(there), str(root / name))
    if Path("/usr/local").is_dir():  # what was installed on this very machine by hand
        namespaces.mount("tmpfs", str(root / "usr/local"), "tmpfs", 0, "mode=755,size=1m")
    if python == "old":
        _write(root / "usr/local/bin/python3", OLD_PYTHON, 0o755)
    elif python == "none":
        programs = sorted(os.listdir("/usr/bin"))
        (root / "opt/bin").mkdir(parents=True)
        namespaces.bind("/usr/bin", str(root / "opt/bin"))
        namespaces.mount("tmpfs", str(root / "usr/bin"), "tmpfs", 0, "mode=755,size=16m")
        for name in programs:
            if not name.startswith("python"):
                (root / "usr/bin" / name).symlink_to(f"/opt/bin/{name}")


def _make_devices(dev: Path) -> None:
    for name in DEVICES:
        (dev / name).touch()
        namespaces.bind(f"/dev/{name}", str(dev / name), read_only=False)
    namespaces.mount("devpts", str(dev / "pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=620,gid=5")
    namespaces.mount("tmpfs", str(dev / "shm"), "tmpfs", namespaces.NO_SUID, "mode=1777,size=64m")
    for name, target in {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1"}.items():
        (dev / name).symlink_to(target)
    (dev / "stderr").symlink_to("fd/2")


def _write_etc(machine: Machine, etc: Path) -> None:
    name, user = machine.plan.name, machine.user
    people = [
        "root:*:0:0::/root:/bin/bash",
        "sshd:*:74:65534::/run/sshd:/usr/sbin/nologin",
        "nobody:*:65534:65534::/nonexistent:/usr/sbin/nologin",
        f"{user}:*:{USER_ID}:{USER_ID}::/home/{user}:/bin/bash",
    ]
    _write(etc / "passwd", "\n".join(people) + "\n")
    _write(etc / "group", f"root:*:0:\ntty:*:5:\nnogroup:*:65534:\n{user}:*:{USER_ID}:\n")
    _write(etc / "hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    _write(etc / "hostname", name + "\n")
    _write(etc / "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    _write(etc / "resolv.conf", "")
    _write(etc / "ssh/sshd_config", sshd_settings(machine))
    _write(etc / "ssh/authorized_keys", machine.authorized)
    (etc / "ssh/host_key").touch(0o600)
    namespaces.bind(str(machine.host_key), str(etc / "ssh/host_key"))
    for each in (*OF_THE_MACHINE, *(name for name in os.listdir("/etc") if name.startswith("python3"))):
        there = Path("/etc") / each
        if there.is_dir():
            (etc / each).mkdir()
        elif there.is_file():
            (etc / each).touch()
        else:
            continue
        namespaces.bind(str(there), str(etc / each))
    if machine.has_shim:
        for where, what in {SHIM: machine.folder / "clock.so", OFFSET: machine.clock}.items():
            (etc / Path(where).relative_to("/etc")).touch()
            namespaces.bind(str(what), str(etc / Path(where).relative_to("/etc")))
        _write(etc / "ld.so.preload", SHIM + "\n")


def _show_disk(machine: Machine, root: Path) -> None:
    """Home and temporary files: on the disk, which the supervisor keeps while a host is off."""
    shutil.rmtree(machine.disk / "tmp", ignore_errors=True)  # as most systems do when they start
    for name, mode in {"home": 0o755, "tmp": 0o1777, "var-tmp": 0o1777}.items():
        (machine.disk / name).mkdir(exist_ok=True)
        (machine.disk / name).chmod(mode)
        namespaces.bind(str(machine.disk / name), str(root / name.replace("-", "/")), read_only=False)
    home = root / "home" / machine.user
    if not home.exists():
        home.mkdir(mode=0o700)
        if machine.plan.noisy:
            _write(home / ".bashrc", 'echo "Welcome to $(hostname)!"\n')
        for path in (home, *home.iterdir()):
            os.chown(path, USER_ID, USER_ID)


def _set_uptime(seconds: int) -> None:
    """Children see a monotonic clock that is so far ahead."""
    if seconds:
        namespaces.unshare(namespaces.NEW_TIME)
        Path("/proc/self/timens_offsets").write_text(f"monotonic {seconds} 0\nboottime {seconds} 0\n")


def _start_sshd(said: int) -> int:
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for file, stream in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(file, stream)
        os.execve(SSHD, [SSHD, "-D", "-e"], {"PATH": PATH})
    finally:
        os._exit(127)


def _wait_for_sshd(sshd: int) -> None:
    until = monotonic() + START_S
    while monotonic() < until:
        if os.waitpid(sshd, os.WNOHANG)[0]:
            raise OSError("its sshd ended at once")
        try:
            with socket.socket() as asked:  # create_connection would import more, and that is out of reach here
                asked.settimeout(START_S)
                asked.connect(("127.0.0.1", 22))
                if asked.recv(4) == b"SSH-":
                    return
        except OSError:  # it does not listen yet
            sleep(LOOK_S)
    raise OSError(f"its sshd did not answer within {START_S:g} s")


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)

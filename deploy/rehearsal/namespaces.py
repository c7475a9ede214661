"""The few calls of Linux that Python 3.11 does not offer: namespaces, mounts, dying with the parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal

NEW_TIME, NEW_MOUNTS, NEW_NAME, NEW_IPC, NEW_PIDS, NEW_NETWORK = (
    0x80, 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000,
)  # fmt: skip
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_TIMERSLACK = 1, 15, 29
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # the C library has no function for it

_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def can_be_had() -> str:
    """Why namespaces cannot be made here, in a few words; empty where they can."""
    if not hasattr(_libc, "unshare") or platform.machine() not in PIVOT_ROOT:
        return f"namespaces are a matter of Linux on {' or '.join(PIVOT_ROOT)}"
    if os.geteuid() != 0:
        return "only root may make namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return ""


def unshare(kinds: int) -> None:
    """Leave the namespaces of these kinds for new ones (of processes and time: the children do)."""
    _check("unshare", _libc.unshare(kinds))


def enter(namespace: int | str, kind: int) -> None:
    """Move this thread into a namespace, given as an open file or as its path."""
    file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC) if isinstance(namespace, str) else namespace
    try:
        _check("setns", _libc.setns(file, kind))
    finally:
        if isinstance(namespace, str):
            os.close(file)


def mount(what: str, where: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    done = _libc.mount(what.encode(), where.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode())
    _check(f"mount {what} on {where}", done)


def bind(what: str, where: str, *, read_only: bool = True) -> None:
    """Show a file or folder at another place."""
    mount(what, where, flags=BIND | RECURSIVE)
    if read_only:
        mount(what, where, flags=BIND | REMOUNT | READ_ONLY)


def unmount(where: str) -> None:
    """Take a mount away; what still uses it may go on."""
    _check(f"umount {where}", _libc.umount2(where.encode(), DETACH))


def make_mounts_private() -> None:
    """What is mounted from here on is seen in this namespace only."""
    mount("none", "/", flags=RECURSIVE | PRIVATE)


def change_root(folder: str) -> None:
    """Make a folder, which must be a mount of its own, the root; the old one is out of reach."""
    os.chdir(folder)
    _check("pivot_root", _libc.syscall(PIVOT_ROOT[platform.machine()], b".", b"."))
    _check("umount", _libc.umount2(b".", DETACH))
    os.chdir("/")


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends, however it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def be_called(name: str) -> None:
    """The name of this process in the list of processes."""
    _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def wake_on_time() -> None:
    """Sleep no longer than asked: by default Linux allows itself 50 µs more."""
    _libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def _check(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

"""Whether this machine has room for so many peers, which is said before any of them is started."""

from __future__ import annotations

import socket

from peer.core.errors import SettingsError
from peer.drivers.network import BUFFER_BYTES

try:
    import resource
except ImportError:  # not a system with limits of this kind
    resource = None

OWN_DESCRIPTORS = 64  # of the process that leads, whatever it leads
DESCRIPTORS_A_PEER = 4  # its connection, and the logs that are collected from it
DATAGRAMS_AT_ONCE = 8  # that a peer must be able to keep of every other one until it reads them,
CHARGED_BYTES = 832  # and what the system takes for the smallest one


def check_room(peers: int) -> None:
    """SettingsError if so many peers cannot run here; the limit of descriptors is raised where that is allowed."""
    _check_descriptors(peers)
    needed, given = (peers - 1) * DATAGRAMS_AT_ONCE * CHARGED_BYTES, _receive_buffer_bytes()
    if given < needed:
        raise SettingsError(
            f"{peers} peers need receive buffers of {needed:,} bytes, and this system gives {given:,}; start fewer, or "
            f"let it give more (Linux: sysctl -w net.core.rmem_max={needed})",
            path="peers",
        )


def _check_descriptors(peers: int) -> None:
    if resource is None:
        return
    needed = OWN_DESCRIPTORS + DESCRIPTORS_A_PEER * peers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"{peers} peers need {needed} open files at once, and this process may have {hard}; start fewer, or let it "
            f"have more (ulimit -n {needed})",
            path="peers",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _receive_buffer_bytes() -> int:
    """What a socket gets that asks for as much as a peer does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

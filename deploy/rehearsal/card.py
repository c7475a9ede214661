"""Network cards: a TAP device in another network namespace, whose other end is a file of this process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from deploy.rehearsal import namespaces
from deploy.rehearsal.router import Port

CARD = "eth0"
NETWORKS = ("198.18.0.0/15", "10.18.0.0/16")  # all that can be reached: no machine has a default route
WAITING = 10_000  # frames that may wait at a card to be read

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFHWADDR, SIOCSIFTXQLEN, SIOCADDRT = (
    0x8914, 0x8916, 0x891C, 0x8924, 0x8943, 0x890B,
)  # fmt: skip
IFF_UP, RTF_UP, RTF_GATEWAY, RTF_HOST, ARPHRD_ETHER = 1, 1, 2, 4, 1

_CARD_NAME = ctypes.create_string_buffer(CARD.encode())


def plug(port: Port, pid: int | None = None) -> int:
    """Give the network namespace of a process (by default this one's) its card; the file that is the other end.

    Nothing else may run in this process meanwhile. The device goes when the file is closed.
    """
    if pid is None:
        return _make(port)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.enter(f"/proc/{pid}/ns/net", namespaces.NEW_NETWORK)
        try:
            return _make(port)
        finally:
            namespaces.enter(home, namespaces.NEW_NETWORK)
    finally:
        os.close(home)


def _make(port: Port) -> int:
    for each in ("all", "default"):  # only IPv4 is spoken here
        setting = Path(f"/proc/sys/net/ipv6/conf/{each}/disable_ipv6")
        if setting.exists():
            setting.write_text("1")
    card = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # No offers are made to the kernel (TUNSETOFFLOAD), so it splits and sums up by itself what it sends.
        fcntl.ioctl(card, TUNSETIFF, struct.pack("16sH22x", CARD.encode(), IFF_TAP | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            for request, argument in _settings(port):
                fcntl.ioctl(asked, request, argument)
    except BaseException:
        os.close(card)
        raise
    return card


def _settings(port: Port) -> Iterable[tuple[int, bytes]]:
    name = CARD.encode()
    yield SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP)
    yield SIOCSIFHWADDR, struct.pack("16sH6s16x", name, ARPHRD_ETHER, port.mac)
    yield SIOCSIFTXQLEN, struct.pack("16si20x", name, WAITING)
    yield SIOCSIFADDR, struct.pack("16s16s8x", name, _address(port.own))
    yield SIOCSIFNETMASK, struct.pack("16s16s8x", name, _address(b"\xff\xff\xff\0"))
    yield SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP)
    gateway = port.own[:3] + b"\x01"
    for network in map(IPv4Network, NETWORKS):
        yield SIOCADDRT, _route(network.network_address.packed, network.netmask.packed, gateway)
    yield SIOCADDRT, _route(b"\xff" * 4, b"\xff" * 4)  # broadcasts, for which there is a default route elsewhere


def _route(target: bytes, mask: bytes, gateway: bytes = bytes(4)) -> bytes:
    """A struct rtentry."""
    flags = RTF_UP | (RTF_GATEWAY if any(gateway) else RTF_HOST)
    addresses = _address(target) + _address(gateway) + _address(mask)
    return struct.pack("@L48sHhLPhPLLH6x", 0, addresses, flags, 0, 0, 0, 0, ctypes.addressof(_CARD_NAME), 0, 0, 0)


def _address(packed: bytes) -> bytes:
    """As the kernel wants it: a sockaddr_in."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, packed)

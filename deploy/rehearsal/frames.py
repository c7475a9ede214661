"""Ethernet frames as bytes: what stands where, the answer to ARP, and new addresses with mended checksums."""

from __future__ import annotations

import struct
from dataclasses import dataclass

IPV4, ARP = b"\x08\x00", b"\x08\x06"
EVERYBODY = b"\xff" * 6
IP = 14  # where the IP header begins, after two MAC addresses and the kind
LEAST = IP + 20
ICMP, TCP, UDP = 1, 6, 17
SSH = 22
CHECKSUM_AT = {TCP: 16, UDP: 6}  # in the header of what IP carries
ICMP_ERRORS = (3, 4, 5, 11, 12)  # these quote the packet that they are about

_ARP = struct.Struct("!6s6s2s8s6s4s6s4s")
_ASKS, _ANSWERS = b"\x00\x01\x08\x00\x06\x04\x00\x01", b"\x00\x01\x08\x00\x06\x04\x00\x02"


def mac_of(number: int) -> bytes:
    """A locally administered address."""
    return b"\x02\x00" + number.to_bytes(4, "big")


def arp_answer(frame: bytes, mac: bytes) -> bytes | None:
    """`mac` as the answer to whoever asks who has an address, but to those that only announce their own."""
    if len(frame) < _ARP.size:
        return None
    _, sender, _, what, asking, own, _, wanted = _ARP.unpack_from(frame)
    if what != _ASKS or wanted == own:
        return None
    return _ARP.pack(sender, mac, ARP, _ANSWERS, mac, wanted, asking, own)


def ports_of(frame: bytes) -> tuple[int, int]:
    """The ports of a TCP or UDP packet; of a later fragment, which has none, zeros."""
    start = IP + (frame[IP] & 15) * 4
    if _is_later_fragment(frame) or len(frame) < start + 4:
        return 0, 0
    return int.from_bytes(frame[start : start + 2], "big"), int.from_bytes(frame[start + 2 : start + 4], "big")


@dataclass(frozen=True, slots=True)
class Readdress:
    """Replaces the source, the destination, or both, as a NAT does."""

    old_source: bytes
    new_source: bytes
    old_target: bytes
    new_target: bytes

    def __call__(self, frame: bytes) -> bytes:
        """The frame with new addresses; all its checksums hold if they did."""
        made = bytearray(frame)
        made[26:34] = self.new_source + self.new_target
        change = self._change()
        _mend(made, IP + 10, change)
        start = IP + (frame[IP] & 15) * 4
        protocol = frame[IP + 9]
        if _is_later_fragment(frame):
            return bytes(made)
        if protocol in CHECKSUM_AT:
            at = start + CHECKSUM_AT[protocol]
            if len(made) >= at + 2 and not (protocol == UDP and made[at : at + 2] == b"\0\0"):  # UDP may go without one
                _mend(made, at, change, never_zero=protocol == UDP)
        elif protocol == ICMP and len(made) >= start + 28 and made[start] in ICMP_ERRORS:
            self._readdress_quote(made, start + 8)
        return bytes(made)

    def _readdress_quote(self, made: bytearray, at: int) -> None:
        """The packet that an error is about went the other way; the sum over the whole error stays what it was."""
        if made[at + 12 : at + 16] == self.old_target and made[at + 16 : at + 20] == self.old_source:
            made[at + 12 : at + 20] = self.new_target + self.new_source
            _mend(made, at + 10, self._change())

    def _change(self) -> int:
        """What the new addresses add to a sum of 16-bit words (RFC 1624)."""
        old, new = self.old_source + self.old_target, self.new_source + self.new_target
        return sum(struct.unpack("!4H", new)) + sum(word ^ 0xFFFF for word in struct.unpack("!4H", old))


def checksum(data: bytes) -> int:
    """The internet checksum of these bytes."""
    data += b"\0" * (len(data) % 2)
    return _folded(sum(struct.unpack(f"!{len(data) // 2}H", data))) ^ 0xFFFF


def _mend(made: bytearray, at: int, change: int, never_zero: bool = False) -> None:
    old = int.from_bytes(made[at : at + 2], "big")
    new = _folded((old ^ 0xFFFF) + change) ^ 0xFFFF
    made[at : at + 2] = (new or 0xFFFF * never_zero).to_bytes(2, "big")


def _folded(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _is_later_fragment(frame: bytes) -> bool:
    return bool((frame[IP + 6] & 0x1F) | frame[IP + 7])

"""A datagram: one header, one tag, and the packets of one turn for one target.

    datagram = header | tag | (length u32, packet) ...

The header says which run, which sender in which incarnation, a counter, when it was
sent, the last stamp heard from the target and for how long that was held (from which
the target computes the round trip). The tag is a keyed BLAKE2b over all of it, where a
large body is represented by its own digest: a body that goes to everybody is encoded and
hashed once.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any

from peer.core.errors import WireError
from peer.core.wire import codec_of, codec_of_kind, decode, encode

VERSION = 1
TAG_BYTES = 16
LARGEST = 65_507
SMALL_BODY_BYTES = 512  # up to here a body is tagged as it is: hashing it anew costs less than a digest of its own

# version, key id, run, sender, incarnation, counter, stamp (ns), echo (ns, 0: none), held (us)
HEADER = struct.Struct("<BIQQQQQQI")
_LENGTH = struct.Struct("<I")
OVERHEAD_BYTES = HEADER.size + TAG_BYTES
ENTRY_BYTES = _LENGTH.size


@dataclass(slots=True)
class Opened:
    """What an authentic datagram says."""

    run: int
    sender: int
    incarnation: int
    counter: int
    stamp_ns: int
    echo_ns: int
    held_us: int
    packets: list[Any]


def short_hash(text: str) -> int:
    """64 bits that stand for a name."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Envelope:
    """Seals and opens datagrams with one key."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.key_id = int.from_bytes(hashlib.blake2b(key, digest_size=4, person=b"key id").digest(), "little")
        self._keyed = hashlib.blake2b(key=key, digest_size=TAG_BYTES)

    def _digest(self, data: Any) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(data)
        return keyed.digest()

    def _stands_for(self, body: Any) -> Any:
        return body if len(body) <= SMALL_BODY_BYTES else self._digest(body)

    def entry(self, packet: Any, bodies: dict[int, tuple[bytes, bytes]]) -> tuple[bytes, bytes, bytes]:
        """A packet's bytes before its body, the body, and what of it is tagged; `bodies` remembers by identity."""
        codec = codec_of(packet)
        if not codec.tail_is_packet:
            return encode(packet), b"", b""
        body = codec.get_tail(packet)
        known = bodies.get(id(body))
        if known is None:
            raw = encode(body)
            known = bodies[id(body)] = (raw, self._stands_for(raw))
        return codec.encode_own(packet), known[0], known[1]

    def seal(self, header: tuple, entries: list[tuple[bytes, bytes, bytes]]) -> bytes:
        """The datagram."""
        head = HEADER.pack(VERSION, self.key_id, *header)
        pack = _LENGTH.pack
        tagged, sent = [head], [head, b""]
        for own, body, digest in entries:
            length = pack(len(own) + len(body))
            tagged += (length, own, digest)
            sent += (length, own, body)
        sent[1] = self._digest(b"".join(tagged))
        return b"".join(sent)

    def open(self, data: memoryview) -> Opened:
        """What these bytes say; WireError unless they are whole and authentic."""
        if len(data) < OVERHEAD_BYTES:
            raise WireError("short")
        version, key_id, run, sender, incarnation, counter, stamp_ns, echo_ns, held_us = HEADER.unpack_from(data)
        if version != VERSION:
            raise WireError("version", str(version))
        if key_id != self.key_id:
            raise WireError("key")
        tagged = [data[: HEADER.size]]
        entries = []
        at, end = OVERHEAD_BYTES, len(data)
        while at < end:
            start = at + ENTRY_BYTES
            if start >= end:
                raise WireError("cut")
            (length,) = _LENGTH.unpack_from(data, at)
            stop = start + length
            if not length or stop > end:
                raise WireError("cut")
            codec = codec_of_kind(data[start])
            if codec is not None and codec.tail_is_packet and length >= codec.head_bytes:
                own = start + codec.head_bytes
                tagged.append(data[at:own])
                tagged.append(self._stands_for(data[own:stop]))
            else:
                tagged.append(data[at:stop])
            entries.append(data[start:stop])
            at = stop
        tag = self._digest(b"".join(tagged))
        if not hmac.compare_digest(tag, bytes(data[HEADER.size : OVERHEAD_BYTES])):
            raise WireError("tag")
        packets = [decode(entry) for entry in entries]
        return Opened(run, sender, incarnation, counter, stamp_ns, echo_ns, held_us, packets)


class ReplayWindow:
    """Which of the last 1,024 counters of one sender were seen."""

    __slots__ = ("highest", "seen")
    WIDTH = 1024

    def __init__(self) -> None:
        self.highest = -1
        self.seen = 0  # bit i: highest - i

    def is_new(self, counter: int) -> bool:
        """Whether this counter comes for the first time; it counts as seen from now on."""
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & _WINDOW_BITS if ahead < self.WIDTH else 1
            self.highest = counter
            return True
        if ahead <= -self.WIDTH or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


_WINDOW_BITS = (1 << ReplayWindow.WIDTH) - 1

"""A datagram: one header, one tag, and the packets of one turn for one target.

    datagram = header | tag | (length u32, packet) ...

The header says which run, which sender in which incarnation, a counter, when it was
sent, the last stamp heard from the target and for how long that was held (from which
the target computes the round trip). The tag is a keyed BLAKE2b over all of it, where a
large body is represented by its own digest: a body that goes to everybody is encoded and
hashed once. The tag begins with the target's name, which does not travel: a datagram that
is sent on to somebody else, or back to its sender, is as good as forged.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import Any

from peer.core.errors import WireError
from peer.core.names import PeerId
from peer.core.wire import codec_of, codec_of_kind, decode, encode

VERSION = 2
TAG_BYTES = 16
LARGEST = 65_507
SMALL_BYTES = 512  # a body of up to so many bytes is tagged as it is: that costs less than a digest of it

# version, key id, run, sender, incarnation, counter, stamp (ns), echo (ns, 0: none), held (us)
HEADER = struct.Struct("<BIQQQQQQI")
_LENGTH, _NAME = struct.Struct("<I"), struct.Struct("<Q")
OVERHEAD_BYTES = HEADER.size + TAG_BYTES
ENTRY_BYTES = _LENGTH.size

Entry = tuple[bytes, bytes, bytes]  # a packet with its length, without a large body; that body; its digest


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
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class Envelope:
    """Seals datagrams with one key, and opens those that are meant for `name`."""

    def __init__(self, key: bytes, name: str) -> None:
        self.key_id = int.from_bytes(blake2b(key, digest_size=4, person=b"key id").digest(), "little")
        self._keyed = blake2b(key=key, digest_size=TAG_BYTES)  # copied for every digest: half the time of a new one
        self._for_me = self.addressed(name)

    def addressed(self, name: str) -> Any:
        """What the tag of every datagram for this target begins with."""
        begun = self._keyed.copy()
        begun.update(_NAME.pack(short_hash(name)))
        return begun

    def entry(self, packet: Any, bodies: dict[int, tuple[bytes, bytes]]) -> Entry:
        """A packet as it travels; `bodies` remembers what bodies that go to several targets are, by identity."""
        codec = codec_of(packet)
        if not codec.tail_is_packet:
            own = encode(packet)
            return _LENGTH.pack(len(own)) + own, b"", b""
        body = codec.get_tail(packet)
        known = bodies.get(id(body))
        if known is None:
            raw = encode(body)
            known = bodies[id(body)] = (raw, _digest_of(raw) if len(raw) > SMALL_BYTES else b"")
        own, (raw, digest) = codec.encode_own(packet), known
        length = _LENGTH.pack(len(own) + len(raw))
        return (length + own, raw, digest) if digest else (length + own + raw, b"", b"")

    def seal(self, addressed: Any, header: tuple, entries: Sequence[Entry]) -> bytes:
        """The datagram, for whom `addressed` was made."""
        head = HEADER.pack(VERSION, self.key_id, *header)
        sent, tagged = [head, b""], [head]
        for front, body, digest in entries:
            sent.append(front)
            tagged.append(front)
            if body:
                sent.append(body)
                tagged.append(digest)
        sent[1] = _tag(addressed, b"".join(tagged))
        return b"".join(sent)

    def open(self, data: memoryview) -> Opened:
        """What these bytes say; WireError unless they are whole and authentic."""
        raw = bytes(data)
        size = len(raw)
        if size < OVERHEAD_BYTES:
            raise WireError("short")
        version, key_id, *header = HEADER.unpack_from(raw)
        if version != VERSION:
            raise WireError("version", str(version))
        if key_id != self.key_id:
            raise WireError("key")
        entries = []
        tagged, untagged = [raw[: HEADER.size]], OVERHEAD_BYTES  # untagged: where what is not yet in it begins
        at = OVERHEAD_BYTES
        while at < size:
            start = at + ENTRY_BYTES
            if start >= size:
                raise WireError("cut")
            at = start + _LENGTH.unpack_from(raw, start - ENTRY_BYTES)[0]
            if at == start or at > size:
                raise WireError("cut")
            entries.append((start, at))
            if at - start > SMALL_BYTES and at - (body := _start_of_body(raw, start, at)) > SMALL_BYTES:
                tagged += (raw[untagged:body], _digest_of(data[body:at]))
                untagged = at
        tagged.append(raw[untagged:])
        if not compare_digest(_tag(self._for_me, b"".join(tagged)), raw[HEADER.size : OVERHEAD_BYTES]):
            raise WireError("tag")
        return Opened(*header, [decode(raw, start, stop) for start, stop in entries])


def _start_of_body(raw: bytes, start: int, stop: int) -> int:
    """Where the body of the packet between these begins, or `stop` if it has none."""
    codec = codec_of_kind(raw[start])
    return start + codec.head_bytes if codec is not None and codec.tail_is_packet else stop


def _digest_of(body: Any) -> bytes:
    return sha256(body).digest()


def _tag(addressed: Any, tagged: bytes) -> bytes:
    tag = addressed.copy()
    tag.update(tagged)
    return tag.digest()


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


class Border:
    """One member's border in one run: what leaves is sealed for its target, what comes is let in once, or refused.

    Let in is what is authentic, for this member, of this run, of another member's process that
    belongs to the run, and not seen before. Which process that is, the comparison server says;
    of a member whose process it did not know yet, the first one that is heard.
    """

    __slots__ = ("envelope", "run", "sender", "incarnation", "counter", "addressed", "sources", "processes", "windows")

    def __init__(
        self,
        envelope: Envelope,
        incarnation: str,
        run: str,
        me: PeerId,
        members: Sequence[str],
        incarnations: Mapping[str, str],
    ) -> None:
        """`incarnations`: by name, of those members whose process is known."""
        self.envelope = envelope
        self.run, self.sender, self.incarnation = short_hash(run), short_hash(members[me]), short_hash(incarnation)
        self.counter = 0
        self.addressed = [envelope.addressed(name) for name in members]
        self.sources = {short_hash(name): peer for peer, name in enumerate(members) if peer != me}
        self.processes = [short_hash(incarnations[name]) if name in incarnations else None for name in members]
        self.windows = [ReplayWindow() for _ in members]

    def seal(
        self, target: PeerId, stamp_ns: int, echo_ns: int, held_us: int, entries: Sequence[Entry]
    ) -> bytes:
        """The next datagram that leaves."""
        self.counter += 1
        header = (self.run, self.sender, self.incarnation, self.counter, stamp_ns, echo_ns, held_us)
        return self.envelope.seal(self.addressed[target], header, entries)

    def admit(self, data: memoryview) -> tuple[PeerId, Opened]:
        """Whose datagram this is, and what it says; WireError if it is not let in."""
        opened = self.envelope.open(data)
        if opened.run != self.run:
            raise WireError("other run")
        source = self.sources.get(opened.sender)
        if source is None:
            raise WireError("stranger")
        process = self.processes[source]
        if process is None:
            process = self.processes[source] = opened.incarnation
        if opened.incarnation != process:
            raise WireError("incarnation")
        if not self.windows[source].is_new(opened.counter):
            raise WireError("replayed")
        return source, opened

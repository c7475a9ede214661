"""The block: one or more consecutive messages of one sender, the unit that is multicast, ordered, acked and resent."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from peer.core.errors import WireError
from peer.core.wire import U8, U32, U64, Packet, register

HIGHEST_STAMP = 1 << 56  # no honest clock comes near it, and there is room to count on from it
HIGHEST_PLACE = (1 << 32) - 1
HELD_AT_MOST = 4096  # blocks of one sender that an ordering holds back for a gap; what is beyond is lost to it
BESIDE_BODY_BYTES = 256  # what a packet takes in memory beside its body, about


@dataclass(slots=True)
class Block(Packet):
    """Messages first .. first + count - 1 of `sender`; count 0 is the END after `first` messages.

    A block's place among its sender's blocks is `first`, so the next one's is `following`.
    `size` is the size of every message, or 0 where `body` opens with a table of
    lengths. `stamp` is the sender's Lamport clock.
    """

    clock_bytes = 8

    sender: U8
    first: U32
    count: U32
    size: U32
    stamp: U64
    body: bytes

    @property
    def following(self) -> int:
        """The place of the sender's next block; an END takes one place, like a message."""
        return self.first + (self.count or 1)

    def check(self) -> None:
        """What the wire brought: raise WireError unless stamp and body are what a block can have."""
        if self.stamp > HIGHEST_STAMP:
            raise WireError("stamp", str(self.stamp))
        if self.first + self.count >= HIGHEST_PLACE:
            raise WireError("block", "its place is none of 32 bits")
        if self.size or not self.count:
            expected = self.count * self.size
        else:
            table = 4 * self.count
            if len(self.body) < table:
                raise WireError("block", "the table of lengths is cut")
            expected = table + sum(struct.unpack_from(f"<{self.count}I", self.body))
        if len(self.body) != expected:
            raise WireError("block", f"{len(self.body)} bytes instead of {expected}")


register(1, Block)


def pack(messages: list[bytes]) -> tuple[int, bytes]:
    """The size and the body of a block that holds these messages."""
    size = len(messages[0])
    if size and all(len(message) == size for message in messages):
        return size, b"".join(messages)
    return 0, struct.pack(f"<{len(messages)}I", *map(len, messages)) + b"".join(messages)


def unpack(block: Block) -> list[bytes]:
    """The messages of a block, in order."""
    body, size, count = block.body, block.size, block.count
    if size:
        return [body[at : at + size] for at in range(0, count * size, size)]
    messages, at = [], 4 * count
    for length in struct.unpack_from(f"<{count}I", body):
        messages.append(body[at : at + length])
        at += length
    return messages

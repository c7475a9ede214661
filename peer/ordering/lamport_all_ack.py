"""Ordering `lamport_all_ack`: one total order by Lamport stamps, delivered once everybody is known to hold it.

Rule: a block's stamp is the sender's clock + 1; receiving a block sets the clock to at
least its stamp. Blocks wait in a queue sorted by (stamp, sender). The head is delivered
once it is known that nothing can come before it, and that is what the variants know in
different ways:

explicit   every member tells every other up to where it holds each sender's blocks; the
           head is delivered once every member holds it. All that a member stamped lower
           left before it said so, so over FIFO links it is here.
promise    every member tells every other a stamp at or below which it will never stamp
           again; a block of its own promises as much. Under load nothing but blocks is
           sent, but the head may be delivered before everybody holds it.
textbook   an ack for every block to everybody at once, clock + 1 on every receipt.

Right only over reliable FIFO links: where an ack can overtake a block of the same
member, the head is delivered too early. Acks and promises move no clock (but for
textbook), else they would answer each other for ever.

Needs reliable FIFO links. Packets per block: n - 1 data and (n - 1)(n - 1) acks or
promises, fewer when several blocks are acked at once.
L. Lamport, Time, clocks, and the ordering of events in a distributed system, 1978.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import BESIDE_BODY_BYTES, HIGHEST_STAMP, Block
from peer.core.clocks import LamportClock
from peer.core.errors import WireError
from peer.core.events import PacketArrived
from peer.core.guarantees import (
    AGREEMENT,
    CAUSAL,
    FIFO,
    FIFO_LINKS,
    INTEGRITY,
    PREFIX,
    RELIABLE,
    TOTAL,
    UNIFORM_AGREEMENT,
    UNIFORM_TOTAL,
    VALIDITY,
)
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import Overfull
from peer.core.requests import MulticastBlock, SendAll
from peer.core.settings import MOST_HELD_BYTES
from peer.core.wire import U8, U32, U64, Packet, register


@dataclass(slots=True)
class Holds(Packet):
    """Of each of `senders` I hold everything before the place in `upto`."""

    acknowledges = "ordering"

    senders: tuple[U8, ...]
    upto: tuple[U32, ...]


@dataclass(slots=True)
class Promise(Packet):
    """I shall never stamp at or below this again."""

    acknowledges = "ordering"
    clock_bytes = 8

    stamp: U64


@dataclass(slots=True)
class BlockAck(Packet):
    """I hold the block of `sender` at `place`; stamped like everything that is sent."""

    acknowledges = "ordering"
    clock_bytes = 8

    sender: U8
    place: U32
    stamp: U64

    def check(self) -> None:
        """What the wire brought: raise WireError unless the stamp is one that a clock can have."""
        if self.stamp > HIGHEST_STAMP:
            raise WireError("stamp", str(self.stamp))


MOST_ACKED = 1 << 20  # blocks of which acks are kept, by `textbook`

register(30, Holds)
register(31, Promise)
register(32, BlockAck)


def key(block: Block) -> int:
    """The place of a block in the total order: by stamp, ties by sender."""
    return block.stamp << 8 | block.sender


@dataclass(slots=True)
class LamportAllAck(Layer):
    """The queue that all variants share; each adds how it becomes sure of the head."""

    name = "lamport_all_ack"
    variants = ("explicit", "promise", "textbook")
    needs = frozenset({RELIABLE, FIFO_LINKS})
    promises = frozenset({VALIDITY, INTEGRITY, AGREEMENT, FIFO, CAUSAL, TOTAL, PREFIX})
    promises_if = {}
    requests = (MulticastBlock,)

    members: int
    clock: LamportClock = field(default_factory=LamportClock)
    queue: list[tuple[int, Block]] = field(default_factory=list)  # sorted by key; honest members' windows bound it
    queued_bytes: int = 0  # of the blocks in it,
    most_bytes: int = MOST_HELD_BYTES  # and for those of members that keep to no window

    @staticmethod
    def variant(name: str) -> type[LamportAllAck]:
        """The class of a variant."""
        return {"explicit": Explicit, "promise": Promised, "textbook": Textbook}[name]

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> LamportAllAck:
        return cls(members=len(run.members), **{"most_bytes": run.most_held_bytes(), **options})

    def on_request(self, request: MulticastBlock, out: Out) -> None:
        block = request.block(out.me, self.clock.stamp())
        self.queue.append((key(block), block))  # its stamp is above all that is queued
        self.queued_bytes += BESIDE_BODY_BYTES + len(block.body)
        self.holds(out.me, block)
        out.down(SendAll(block, own=True))
        if self.members == 1:
            self.on_turn(out)  # nothing will arrive that could make it surer

    def enqueue(self, block: Block, out: Out) -> bool:
        """A block arrived: its place follows from its stamp, not from when it came. Is there room for it?"""
        entry = (key(block), block)
        queue = self.queue
        queued_bytes = self.queued_bytes + BESIDE_BODY_BYTES + len(block.body)
        if queued_bytes > self.most_bytes:
            out.tell(Overfull(f"{len(queue)} blocks wait in its queue, and peer {block.sender} sends more"))
            return False
        self.queued_bytes = queued_bytes
        if not queue or entry[0] > queue[-1][0]:
            queue.append(entry)
        else:
            queue.insert(bisect_left(queue, (entry[0] + 1,)), entry)  # not insort: blocks do not compare
        return True

    def on_turn(self, out: Out) -> None:
        queue = self.queue
        if not queue or not self.is_sure(queue[0][1]):
            return
        sure = 1
        while sure < len(queue) and self.is_sure(queue[sure][1]):
            sure += 1
        for _, block in queue[:sure]:
            self.queued_bytes -= BESIDE_BODY_BYTES + len(block.body)
            out.deliver(block)
        del queue[:sure]

    def holds(self, member: PeerId, block: Block) -> None:
        """`member` is known to hold this block."""

    def is_sure(self, block: Block) -> bool:
        """Whether nothing can come before this block, if it is the head."""
        raise AssertionError("each variant has its own")

    def waits_for(self, out: Out) -> list[PeerId]:
        return self.unsure_of(self.queue[0][1]) if self.queue else []

    def unsure_of(self, block: Block) -> list[PeerId]:
        """Who keeps the head from being sure."""
        raise AssertionError("each variant has its own")

    def held(self) -> dict[str, int]:
        return {"in the queue": len(self.queue)}


@dataclass(slots=True)
class Explicit(LamportAllAck):
    """Sure once every member is known to hold the block."""

    promises = LamportAllAck.promises | {UNIFORM_AGREEMENT, UNIFORM_TOTAL}
    packets = (Block, Holds)

    upto: list[list[int]] = field(default_factory=list)  # [sender][member]: how far it holds the sender's blocks
    stable: list[int] = field(default_factory=list)  # [sender]: every member holds all before it
    behind: list[int] = field(default_factory=list)  # [sender]: how many members are known to hold no more than that
    untold: list[PeerId] = field(default_factory=list)  # senders whose blocks arrived since the last ack

    def __post_init__(self) -> None:
        if not self.upto:
            self.upto = [[0] * self.members for _ in range(self.members)]
            self.stable = [0] * self.members
            self.behind = [self.members] * self.members

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet, source = arrival.packet, arrival.source
        if type(packet) is Holds:
            for sender, upto in zip(packet.senders, packet.upto):
                if sender < self.members:
                    self._rises(sender, source, upto)
        elif packet.sender == source:
            self.clock.receive(packet.stamp)
            if not self.enqueue(packet, out):
                return
            upto = packet.following
            self._rises(source, source, upto)
            self._rises(source, out.me, upto)
            if source not in self.untold:
                self.untold.append(source)

    def holds(self, member: PeerId, block: Block) -> None:
        self._rises(block.sender, member, block.following)

    def _rises(self, sender: PeerId, member: PeerId, upto: int) -> None:
        row = self.upto[sender]
        before = row[member]
        if upto <= before:
            return
        row[member] = upto
        if before == self.stable[sender]:
            self.behind[sender] -= 1
            if not self.behind[sender]:
                self.stable[sender] = stable = min(row)
                self.behind[sender] = row.count(stable)

    def is_sure(self, block: Block) -> bool:
        return block.following <= self.stable[block.sender]

    def unsure_of(self, block: Block) -> list[PeerId]:
        return [member for member, upto in enumerate(self.upto[block.sender]) if upto < block.following]

    def on_flush(self, out: Out) -> None:
        if self.untold:
            senders = sorted(self.untold)  # the order in which they arrived says nothing
            out.down(SendAll(Holds((*senders,), (*[self.upto[sender][out.me] for sender in senders],))))
            self.untold.clear()


@dataclass(slots=True)
class Promised(LamportAllAck):
    """Sure once no member can stamp at or below the block's stamp any more."""

    packets = (Block, Promise)

    stamps: list[int] = field(default_factory=list)  # [member]: it will not stamp at or below this
    least: int = 0  # of all of them
    behind: int = 0  # how many have promised no more than that
    told: int = 0  # what the others were told that this member has promised

    def __post_init__(self) -> None:
        if not self.stamps:
            self.stamps = [0] * self.members
            self.behind = self.members

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet, source = arrival.packet, arrival.source
        if type(packet) is Block:
            if packet.sender != source:
                return
            self.clock.receive(packet.stamp)
            if not self.enqueue(packet, out):
                return
            self._promises(out.me, self.clock.time)  # here that is known at once, there with the next flush
        self._promises(source, packet.stamp)

    def holds(self, member: PeerId, block: Block) -> None:
        self.told = block.stamp
        self._promises(member, block.stamp)

    def _promises(self, member: PeerId, stamp: int) -> None:
        before = self.stamps[member]
        if stamp <= before:
            return
        self.stamps[member] = stamp
        if before == self.least:
            self.behind -= 1
            if not self.behind:
                self.least = min(self.stamps)
                self.behind = self.stamps.count(self.least)

    def is_sure(self, block: Block) -> bool:
        return block.stamp <= self.least

    def unsure_of(self, block: Block) -> list[PeerId]:
        return [member for member, stamp in enumerate(self.stamps) if stamp < block.stamp]

    def on_flush(self, out: Out) -> None:
        if self.clock.time > self.told:
            self.told = self.clock.time
            out.down(SendAll(Promise(self.told)))


@dataclass(slots=True)
class Textbook(LamportAllAck):
    """Sure once an ack of every member was counted, distinct members, one ack a block."""

    promises = LamportAllAck.promises | {UNIFORM_AGREEMENT, UNIFORM_TOTAL}
    packets = (Block, BlockAck)

    ackers: dict[tuple[PeerId, int], int] = field(default_factory=dict)  # (sender, place) -> a bit for each member
    most_acked: int = MOST_ACKED

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet, source = arrival.packet, arrival.source
        if packet.sender >= self.members or type(packet) is Block and packet.sender != source:
            return
        self.clock.receive(packet.stamp)
        self.clock.time += 1
        if type(packet) is Block:
            if not self.enqueue(packet, out):
                return
            self.holds(source, packet)
            self.holds(out.me, packet)
            out.down(SendAll(BlockAck(packet.sender, packet.first, self.clock.time)))
        elif len(self.ackers) < self.most_acked or (packet.sender, packet.place) in self.ackers:
            self._acks(source, (packet.sender, packet.place))
        else:
            out.tell(Overfull(f"{len(self.ackers)} blocks were acknowledged that are not delivered"))

    def holds(self, member: PeerId, block: Block) -> None:
        self._acks(member, (block.sender, block.first))

    def _acks(self, member: PeerId, block: tuple[PeerId, int]) -> None:
        self.ackers[block] = self.ackers.get(block, 0) | 1 << member

    def is_sure(self, block: Block) -> bool:
        place = (block.sender, block.first)
        if self.ackers.get(place, 0) != (1 << self.members) - 1:
            return False
        del self.ackers[place]
        return True

    def unsure_of(self, block: Block) -> list[PeerId]:
        ackers = self.ackers.get((block.sender, block.first), 0)
        return [member for member in range(self.members) if not ackers >> member & 1]

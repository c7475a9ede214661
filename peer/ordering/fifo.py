"""Ordering `fifo`: every sender's messages in the order it multicast them.

Rule: deliver a sender's block when it is the next of that sender; hold back what is
beyond a gap.
Needs nothing; a gap that no link repairs is never closed. Packets per block: n - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import HELD_AT_MOST, Block
from peer.core.clocks import LamportClock
from peer.core.events import PacketArrived
from peer.core.guarantees import AGREEMENT, FIFO, INTEGRITY, RELIABLE, VALIDITY
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.requests import MulticastBlock, SendAll


@dataclass(slots=True)
class Fifo(Layer):
    """One sequence a sender."""

    name = "fifo"
    variants = ("plain",)
    promises = frozenset({VALIDITY, INTEGRITY, FIFO})
    promises_if = {RELIABLE: frozenset({AGREEMENT})}
    packets = (Block,)
    requests = (MulticastBlock,)

    members: int
    clock: LamportClock = field(default_factory=LamportClock)
    next: list[int] = field(default_factory=list)  # by sender: the place of its next block
    back: list[dict[int, Block]] = field(default_factory=list)  # by sender: at most HELD_AT_MOST held back, by place

    def __post_init__(self) -> None:
        if not self.next:
            self.next = [0] * self.members
            self.back = [{} for _ in range(self.members)]

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Fifo:
        return cls(members=len(run.members), **options)

    def on_request(self, request: MulticastBlock, out: Out) -> None:
        block = request.block(out.me, self.clock.stamp())
        out.down(SendAll(block, own=True))
        out.deliver(block)

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        block = arrival.packet
        if block.sender != arrival.source:
            return
        self.clock.receive(block.stamp)
        sender = block.sender
        back = self.back[sender]
        if block.first > self.next[sender]:
            if len(back) < HELD_AT_MOST:
                back[block.first] = block
            return
        if block.first < self.next[sender]:
            return  # a duplicate
        while block is not None:
            self.next[sender] = block.following
            out.deliver(block)
            block = back.pop(self.next[sender], None)

    def held(self) -> dict[str, int]:
        return {"held back": sum(map(len, self.back))}

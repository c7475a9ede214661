"""Ordering `unordered`: deliver on arrival.

Rule: whatever arrives is delivered at once, duplicates aside; the links below may hand
it over in any order. Of each sender it remembers a bounded number of places beyond the first
gap; where links lose, the oldest gaps are given up then, and what comes for them later.
Needs nothing. Packets per block: n - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import HELD_AT_MOST, Block
from peer.core.clocks import LamportClock
from peer.core.events import PacketArrived
from peer.core.guarantees import AGREEMENT, INTEGRITY, RELIABLE, VALIDITY
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.requests import MulticastBlock, SendAll


@dataclass(slots=True)
class Unordered(Layer):
    """No order at all: the problem that all others solve."""

    name = "unordered"
    variants = ("plain",)
    promises = frozenset({VALIDITY, INTEGRITY})
    promises_if = {RELIABLE: frozenset({AGREEMENT})}
    packets = (Block,)
    requests = (MulticastBlock,)

    members: int
    clock: LamportClock = field(default_factory=LamportClock)
    next: list[int] = field(default_factory=list)  # by sender: everything before this place was delivered,
    ahead: list[dict[int, int]] = field(default_factory=list)  # and these HELD_AT_MOST, place -> the one that follows

    def __post_init__(self) -> None:
        if not self.next:
            self.next = [0] * self.members
            self.ahead = [{} for _ in range(self.members)]

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Unordered:
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
        sender, first = block.sender, block.first
        ahead = self.ahead[sender]
        if first < self.next[sender] or first in ahead:
            return  # a duplicate
        ahead[first] = block.following
        if len(ahead) > HELD_AT_MOST:
            self.next[sender] = min(ahead)
        while self.next[sender] in ahead:
            self.next[sender] = ahead.pop(self.next[sender])
        out.deliver(block)

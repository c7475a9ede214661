"""Ordering `fixed_sequencer`: one member numbers everybody's blocks.

Rule (variant `ub`, unicast then broadcast): a block goes to the sequencer, which gives
it the next number and multicasts it with that number; everybody delivers by number. The
sequencer takes from a sender only that sender's next block, so FIFO order and
once-only hold whatever was sent twice.

Needs reliable FIFO links. Packets per block: 1 + (n - 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import HELD_AT_MOST, Block
from peer.core.clocks import LamportClock
from peer.core.errors import SettingsError
from peer.core.events import PacketArrived
from peer.core.guarantees import AGREEMENT, CAUSAL, FIFO, FIFO_LINKS, INTEGRITY, PREFIX, RELIABLE, TOTAL, VALIDITY
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import Settled
from peer.core.requests import MulticastBlock, SendAll, SendTo
from peer.core.wire import U32, Packet, register


@dataclass(slots=True)
class Numbered(Packet):
    """A block and its place in the total order."""

    clock_bytes = Block.clock_bytes

    number: U32
    block: Block


register(40, Numbered)


@dataclass(slots=True)
class FixedSequencer(Layer):
    """Whoever is the sequencer decides; by default the smallest id."""

    name = "fixed_sequencer"
    variants = ("ub",)
    needs = frozenset({RELIABLE, FIFO_LINKS})
    promises = frozenset({VALIDITY, INTEGRITY, AGREEMENT, FIFO, CAUSAL, TOTAL, PREFIX})
    promises_if = {}
    packets = (Block, Numbered)
    requests = (MulticastBlock,)

    members: int
    sequencer: PeerId = 0
    clock: LamportClock = field(default_factory=LamportClock)
    numbers: int = 0  # how many the sequencer has given
    next: list[int] = field(default_factory=list)  # [sender]: the place of the next block the sequencer takes from it
    back: list[dict[int, Block]] = field(default_factory=list)  # [sender]: HELD_AT_MOST that came too early, by place
    delivered: int = 0  # everything numbered below it was delivered
    ahead: dict[int, Block] = field(default_factory=dict)  # number -> block: HELD_AT_MOST that came too early

    def __post_init__(self) -> None:
        if not self.next:
            self.next = [0] * self.members
            self.back = [{} for _ in range(self.members)]

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> FixedSequencer:
        sequencer = options.get("sequencer", 0)
        if not 0 <= sequencer < len(run.members):
            problem = f"expected a peer, 0 to {len(run.members) - 1}, found {sequencer}"
            raise SettingsError(problem, path="ordering_options.sequencer")
        return cls(members=len(run.members), **options)

    def on_request(self, request: MulticastBlock, out: Out) -> None:
        block = request.block(out.me, self.clock.stamp())
        if out.me == self.sequencer:
            self._number(block, out)
        else:
            out.down(SendTo(self.sequencer, block))

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet = arrival.packet
        if type(packet) is Block:
            if packet.sender == arrival.source and out.me == self.sequencer:
                self.clock.receive(packet.stamp)
                self._offered(packet, out)
        elif arrival.source == self.sequencer and packet.block.sender < self.members:
            self.clock.receive(packet.block.stamp)
            self._numbered(packet.number, packet.block, out)

    def _offered(self, block: Block, out: Out) -> None:
        sender = block.sender
        back = self.back[sender]
        if block.first < self.next[sender]:
            return  # it has its number
        if len(back) >= HELD_AT_MOST and block.first > self.next[sender]:
            return
        back[block.first] = block
        while self.next[sender] in back:
            block = back.pop(self.next[sender])
            self.next[sender] = block.following
            self._number(block, out)

    def _number(self, block: Block, out: Out) -> None:
        number = self.numbers
        self.numbers = number + 1
        out.down(SendAll(Numbered(number, block), own=block.sender == out.me))
        self._numbered(number, block, out)

    def _numbered(self, number: int, block: Any, out: Out) -> None:
        if number < self.delivered:
            return  # a duplicate
        if len(self.ahead) >= HELD_AT_MOST and number > self.delivered:
            return
        self.ahead[number] = block
        while self.delivered in self.ahead:
            block = self.ahead.pop(self.delivered)
            self.delivered += 1
            out.deliver(block)
            if block.sender == out.me != self.sequencer:
                out.tell(Settled(1))  # no link of ours sends it to everybody

    def held(self) -> dict[str, int]:
        return {"held back": len(self.ahead) + sum(map(len, self.back))}

"""What all workloads share: forming blocks, the window, the END, and knowing when all is delivered.

The application asks for messages; they wait here until the window has room and leave as
one block. At a low rate that is one message at once, under load a block grows to what
had to wait. A block is in flight until it was delivered here and, where its sender
itself sends it to all, until every member's link acknowledged it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import Block
from peer.core.commands import Release
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import Drained, Settled
from peer.core.requests import MulticastBlock


@dataclass(slots=True)
class Sender(Layer):
    """The top layer: asks by its own rule (`on_release`, `on_timer`), sends by the window's."""

    news = (Settled,)
    sized = True  # whether messages are as long as the settings say

    members: int
    messages: int
    size_bytes: int
    window_blocks: int
    window_bytes: int
    block_bytes: int  # what fits one datagram of the path
    filler: bytes = b""  # what messages say: a function of (seed, peer)
    asked: int = 0  # messages the application asked for
    sent: int = 0  # of these, messages that left in a block
    blocks: int = 0  # blocks that left, the END included;
    own_delivered: int = 0  # of these, delivered here
    settled: int = 0  # of these, settled
    in_flight: deque = field(default_factory=deque)  # the sizes of those that are not both delivered and settled,
    bytes_in_flight: int = 0  # and how much that is
    released: bool = False
    ending: bool = False  # nothing more will be asked for
    ended: bool = False  # the END left
    delivered: list[int] = field(default_factory=list)  # [sender]: messages delivered here
    ends: dict[PeerId, int] = field(default_factory=dict)  # sender -> how many messages its END announced
    drained: bool = False

    def __post_init__(self) -> None:
        if not self.delivered:
            self.delivered = [0] * self.members

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Sender:
        seed = hashlib.blake2b(f"{run.seed} words {me}".encode()).digest()
        size = run.workload.size_bytes
        return cls(
            members=len(run.members),
            messages=run.workload.messages,
            size_bytes=size,
            window_blocks=run.window.blocks,
            window_bytes=run.window.bytes,
            block_bytes=run.block_bytes(),
            filler=(seed * (size // len(seed) + 1))[:size],
            **options,
        )

    def on_release(self, out: Out) -> None:
        """The run begins."""
        raise AssertionError("each workload has its own")

    def on_command(self, command: Any, out: Out) -> None:
        if type(command) is Release and not self.released:
            self.released = True
            self.on_release(out)

    def ask(self, count: int, out: Out) -> None:
        """The application asks for so many messages now."""
        out.record_multicast(self.asked, count)
        self.asked += count

    def room(self) -> int:
        """How many more blocks may be in flight; the last one may take more than the bytes that are left."""
        left = self.window_bytes - self.bytes_in_flight
        return min(self.window_blocks - len(self.in_flight), -(-left // self.block_bytes))

    def per_block(self) -> int:
        """How many messages one block can hold."""
        return max(1, self.block_bytes // self.size_bytes)

    def says(self, first: int, count: int) -> tuple[int, bytes]:
        """The size of each of these messages, and the body of a block that holds them."""
        return self.size_bytes, self.filler * count

    def on_flush(self, out: Out) -> None:
        if self.sent == self.asked and (self.ended or not self.ending):
            return
        room = self.room()
        while room > 0 and self.sent < self.asked:
            count = min(self.asked - self.sent, self.per_block())
            self._leave(count, *self.says(self.sent, count), out)
            room -= 1
        if room > 0 and self.ending and not self.ended and self.sent == self.asked:
            self.ended = True
            self._leave(0, 0, b"", out)

    def _leave(self, count: int, size: int, body: bytes, out: Out) -> None:
        out.down(MulticastBlock(self.sent, count, size, body))
        self.sent += count
        self.blocks += 1
        self.in_flight.append(len(body))
        self.bytes_in_flight += len(body)

    def on_news(self, news: Settled, out: Out) -> None:
        self.settled += news.blocks
        self._window_moved(out)

    def on_delivery(self, block: Block, out: Out) -> None:
        sender = block.sender
        if block.count:
            self.delivered[sender] += block.count
            out.deliver(block)
        else:
            self.ends[sender] = block.first
        if sender == out.me:
            self.own_delivered += 1
            self._window_moved(out)
        if len(self.ends) == self.members:
            self._check_drained(out)

    def _window_moved(self, out: Out) -> None:
        in_flight = self.blocks - min(self.own_delivered, self.settled)
        while len(self.in_flight) > in_flight:
            self.bytes_in_flight -= self.in_flight.popleft()
        if out.flushing and self.wants_to_send() and self.room() > 0:
            out.set_timer("more", 0.0)  # this turn's blocks are gone already

    def wants_to_send(self) -> bool:
        """Whether there is anything that only the window holds back."""
        return self.sent < self.asked or self.ending and not self.ended

    def _check_drained(self, out: Out) -> None:
        if not self.drained and all(self.delivered[sender] == total for sender, total in self.ends.items()):
            self.drained = True
            out.tell(Drained(sum(self.delivered)))

    def held(self) -> dict[str, int]:
        return {"waiting for the window": self.asked - self.sent}

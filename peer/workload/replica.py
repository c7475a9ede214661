"""What the workloads with a meaning share: messages that say something, and a replica of what all of them come to.

What a message says is a function of (seed, peer, number), never drawn while it runs. A
member applies what it was sent, not what it could work out itself; the operator's side
works it out again, from the logs and with these same functions, and compares.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from peer.core.blocks import Block, pack, unpack
from peer.core.errors import SettingsError
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.settings import WorkloadSettings
from peer.workload.steady import Steady

LENGTH_BYTES = 4  # of each message's entry in a block's table of lengths


@dataclass(slots=True)
class Replica:
    """What one member has made of the messages delivered to it, in their order."""

    applied: int = 0  # messages
    skipped: int = 0  # messages that say nothing we know: their sender runs another program

    def take(self, sender: PeerId, number: int, message: bytes) -> str | None:
        """Do what a message says, and tell in words what came of it; None if it says nothing we know."""
        try:
            outcome = self.apply(sender, number, message)
        except ValueError:
            self.skipped += 1
            return None
        self.applied += 1
        return outcome

    def apply(self, sender: PeerId, number: int, message: bytes) -> str:
        """As `take`; ValueError, and nothing is done, unless it is what a member can say."""
        raise AssertionError("each workload has its own")

    def state(self) -> str:
        """What it has come to, in at most a line."""
        raise AssertionError("each workload has its own")

    def digest(self) -> str:
        """Equal where two members have seen the same."""
        raise AssertionError("each workload has its own")

    def summary(self) -> dict[str, Any]:
        """What a member reports of it when the run is over."""
        return {
            "state": self.state(),
            "digest": self.digest(),
            "applied": self.applied,
            "skipped": self.skipped,
        }


@dataclass(slots=True)
class Replicated(Steady):
    """Multicasts as `steady` does, but says something, and applies what is delivered to its replica."""

    sized = False
    replicates = Replica  # the class of the replica
    longest = 0  # bytes of the longest message

    seed: str = ""
    me: PeerId = 0
    replica: Replica = field(default_factory=Replica)

    @staticmethod
    def say(seed: str, members: int, peer: PeerId, number: int) -> bytes:
        """What this message of this peer says."""
        raise AssertionError("each workload has its own")

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> Layer:
        if run.workload.size_bytes != WorkloadSettings().size_bytes:
            problem = f"what {cls.name} says is as long as it is; leave the size out"
            raise SettingsError(problem, path="workload.size_bytes")
        return super(Replicated, cls).make(
            run, me, {"seed": run.seed, "me": me, "replica": cls.replicates(), **options}
        )

    def per_block(self) -> int:
        return max(1, self.block_bytes // (self.longest + LENGTH_BYTES))

    def says(self, first: int, count: int) -> tuple[int, bytes]:
        return pack([self.say(self.seed, self.members, self.me, number) for number in range(first, first + count)])

    def on_delivery(self, block: Block, out: Out) -> None:
        super(Replicated, self).on_delivery(block, out)
        if block.count:
            for number, message in enumerate(unpack(block), block.first):
                if self.replica.take(block.sender, number, message) is None:
                    out.note("skipped", sender=block.sender, number=number)

    def measures(self) -> dict[str, Any]:
        return {"replica": self.replica.summary()}


def drawn(*of: object) -> int:
    """64 bits of chance: of the same always the same."""
    return int.from_bytes(hashed(" ".join(map(str, of)).encode()), "little")


def hashed(data: bytes) -> bytes:
    """Eight bytes that differ where the data do."""
    return hashlib.blake2b(data, digest_size=8).digest()

"""Workload `text`: a conversation, of which everybody keeps what it read, in the order in which it read it.

Rule: the lines of a small script are dealt out in turn, whose turn is the first being a matter
of the seed; a message is one line behind its place in the script. A script that is too short
begins again, and the places go on. Nobody waits for a line before its own: like all workloads
with a meaning, this one multicasts when `steady` would. So a total order makes everybody read
the same conversation, not the one that was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from peer.core.names import PeerId
from peer.workload.replica import Replica, Replicated, drawn, hashed

SCRIPT = (
    "Good evening. Is the bridge safe?",
    "Yes. I crossed it twice today.",
    "And the soup?",
    "No! Two cooks have fainted.",
    "Shall I serve it to the mayor?",
    "Never!",
    "Shall I ask the mayor to dance?",
    "At once, with pleasure.",
    "The orchestra wants to be paid.",
    "Tomorrow, in coins.",
    "The pirates want to be paid.",
    "Not one button.",
    "Who locked the cellar?",
    "I did, to keep the goat inside.",
    "Who is singing up on the roof?",
    "The bishop. He lost a bet.",
    "May the goat come out?",
    "Only after the speeches.",
    "May the bishop come down?",
    "Whenever he likes, poor man.",
    "What is in the golden box?",
    "A cheese from my grandmother.",
    "What is it that smells so?",
    "I think that is the drains.",
    "Did the duke propose to Clara?",
    "He did, on both knees.",
    "What did she answer him?",
    "She laughed, and said yes.",
    "Did the duke pay for the boat?",
    "Not in a hundred years.",
    "Will you marry the baker?",
    "I would sooner eat my hat.",
    "Will you take one more pancake?",
    "Yes, yes, a thousand times yes!",
    "Then all is settled. Good night.",
    "Good night, and mind the goat.",
)
MESSAGE = re.compile(rb"[1-9]\d{0,12}\. [ -~]{1,60}")


@dataclass(slots=True)
class Transcript(Replica):
    """What one member read. The lines are handed on as they come; what stays is a hash over all, and the last."""

    read: bytes = b""
    last: str = ""

    def apply(self, sender: PeerId, number: int, message: bytes) -> str:
        if MESSAGE.fullmatch(message) is None:
            raise ValueError("no line of a script")
        self.read = hashed(self.read + b"%d:" % sender + message)
        self.last = message.decode()
        return self.last

    def state(self) -> str:
        return self.last

    def digest(self) -> str:
        return self.read.hex()


@dataclass(slots=True)
class Text(Replicated):
    """Speaks its lines in their order."""

    name = "text"
    replicates = Transcript
    longest = 13 + len(". ") + 60

    replica: Transcript = field(default_factory=Transcript)

    @staticmethod
    def say(seed: str, members: int, peer: PeerId, number: int) -> bytes:
        turn = number * members + (peer + drawn(seed, "text")) % members
        return f"{turn + 1}. {SCRIPT[turn % len(SCRIPT)]}".encode()

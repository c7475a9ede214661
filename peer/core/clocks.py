"""Logical clocks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LamportClock:
    """Lamport's clock: moved by own multicasts and by what is received."""

    time: int = 0

    def stamp(self) -> int:
        """The stamp of the next own block."""
        self.time += 1
        return self.time

    def receive(self, stamp: int) -> None:
        """What was stamped there happened before whatever is stamped here from now on."""
        if stamp > self.time:
            self.time = stamp

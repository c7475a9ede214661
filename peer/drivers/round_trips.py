"""The round trips to one member and its clock, as the datagrams of a run show them: before it began, during it, after.

A datagram's stamp less the clock here when it comes in is by how much the member's clock is ahead, less the time the
datagram took. So the largest of all is a lower bound; that the other end has such a bound, too, pins the clocks down.
"""

from __future__ import annotations

from statistics import median

PHASES = BEFORE, DURING, AFTER = "before", "during", "after"
NEVER_HEARD = float("-inf")
MOST_KEPT = 512  # of one phase; of more every second one goes, and from then on only every second one comes in


class RoundTrips:
    """An even sample of what was measured, in little memory."""

    __slots__ = ("ahead_s", "count", "every", "kept", "least_s")

    def __init__(self) -> None:
        self.count, self.every, self.least_s = 0, 1, float("inf")
        self.ahead_s = NEVER_HEARD  # how far the member's clock is ahead of the one here, at least
        self.kept: list[float] = []

    def add(self, trip_s: float) -> None:
        if trip_s < self.least_s:
            self.least_s = trip_s
        if self.count % self.every == 0:
            self.kept.append(trip_s)
            if len(self.kept) > MOST_KEPT:
                del self.kept[1::2]
                self.every *= 2
        self.count += 1

    def clock_ahead_s(self) -> float | None:
        """By how much the member's clock is ahead at least; None if it was not heard."""
        return None if self.ahead_s == NEVER_HEARD else self.ahead_s

    def summary(self) -> dict[str, float] | None:
        """How many there were, the shortest and the median; None if there were none."""
        if not self.count:
            return None
        return {"count": self.count, "least_s": self.least_s, "p50_s": median(self.kept)}

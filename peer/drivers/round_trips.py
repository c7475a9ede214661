"""The round trips to one member, as the datagrams of a run show them: before it began, during it, and after."""

from __future__ import annotations

from statistics import median

PHASES = BEFORE, DURING, AFTER = "before", "during", "after"
MOST_KEPT = 512  # of one phase; of more every second one goes, and from then on only every second one comes in


class RoundTrips:
    """An even sample of what was measured, in little memory."""

    __slots__ = ("count", "every", "kept", "least_s")

    def __init__(self) -> None:
        self.count, self.every, self.least_s = 0, 1, float("inf")
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

    def summary(self) -> dict[str, float] | None:
        """How many there were, the shortest and the median; None if there were none."""
        if not self.count:
            return None
        return {"count": self.count, "least_s": self.least_s, "p50_s": median(self.kept)}

"""How late things happen that were to happen at a certain time, in little memory."""

from __future__ import annotations


class Lateness:
    """How late timers and held-back datagrams were, in powers of two of a microsecond."""

    __slots__ = ("counts", "worst_s")

    def __init__(self) -> None:
        self.counts = [0] * 32
        self.worst_s = 0.0

    def add(self, late_s: float) -> None:
        self.counts[min(31, int(late_s * 1e6).bit_length())] += 1
        if late_s > self.worst_s:
            self.worst_s = late_s

    def summary(self) -> dict[str, float]:
        """Upper ends of the buckets in which the median and the 99th percentile lie."""
        return {"p50_s": self._quantile(0.5), "p99_s": self._quantile(0.99), "worst_s": self.worst_s}

    def _quantile(self, share: float) -> float:
        wanted = share * sum(self.counts)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min((1 << bucket) / 1e6, self.worst_s)
        return 0.0

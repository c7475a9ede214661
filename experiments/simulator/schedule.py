"""What is to happen in virtual time, in the order of time, and of asking where times are equal."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any


class Schedule:
    """A heap of (time, count, action, arguments)."""

    __slots__ = ("now", "heap", "count")

    def __init__(self) -> None:
        self.now = 0.0
        self.heap: list[tuple] = []
        self.count = 0

    def at(self, time_s: float, action: Callable[..., None], arguments: tuple) -> None:
        """Do this then."""
        self.count = count = self.count + 1
        heappush(self.heap, (time_s, count, action, arguments))

    def after(self, wait_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do this after a while."""
        self.at(self.now + wait_s, action, arguments)

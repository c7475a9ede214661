"""What is to happen in virtual time, in the order of time, and of asking where times are equal."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Due = list[tuple[Callable[..., None], tuple]]  # actions and their arguments


class Schedule:
    """The moments at which something is due, and what: what is sent to many at once arrives at few moments."""

    __slots__ = ("now", "count", "over", "_moments", "_due")

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0  # of all that was ever asked for
        self.over = False  # nothing more is to be done, due or not
        self._moments: list[float] = []  # a heap
        self._due: dict[float, Due] = {}

    def at(self, time_s: float, action: Callable[..., None], arguments: tuple) -> None:
        """Do this then."""
        self.count += 1
        due = self._due.get(time_s)
        if due is None:
            self._due[time_s] = [(action, arguments)]
            heappush(self._moments, time_s)
        else:
            due.append((action, arguments))

    def after(self, wait_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do this after a while."""
        self.at(self.now + wait_s, action, arguments)

    def play(self, limit_s: float) -> None:
        """Do all of it, what is asked for meanwhile included, until it is over."""
        moments, all_due = self._moments, self._due
        while moments and not self.over:
            self.now = now = moments[0]
            assert now < limit_s, f"no end after {limit_s} simulated seconds"
            for action, arguments in all_due[now]:  # it grows by what is asked for at this very moment
                action(*arguments)
                if self.over:
                    break
            del all_due[heappop(moments)]

"""Progress of a sweep on a terminal: how many runs are done, and how long the rest will take."""

from __future__ import annotations

from time import monotonic

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from comparison_server.live import REDRAWN_S, LiveRun


class SweepShown(LiveRun):
    """A bar over all runs of a plan; under it, where a world tells, the peers of the present one."""

    def __init__(self, name: str, done: int, total: int) -> None:
        words = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}")
        times = TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()
        self._bar = Progress(*words, *times)
        self._task = self._bar.add_task(name, completed=done, total=total, failed="")
        self._counted = 0.0
        super().__init__(self._bar)

    def count(self, done: int, failed: int) -> None:
        """So many runs are done, and so many failed."""
        self._bar.update(self._task, completed=done + failed, failed=f"{failed} failed" if failed else "")
        if monotonic() - self._counted >= REDRAWN_S:
            self.between_runs()
            self._counted = monotonic()

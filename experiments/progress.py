"""Progress of runs on a terminal: which of them is being played, and how far it is; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.live.board import Board
from comparison_server.live import LiveRun
from experiments.play import Planned, Played


class Shown(LiveRun):
    """A bar over all runs; under it, where the world tells, the peers of the present one."""

    def __init__(self, planned: Sequence[Planned], page: Board | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._planned, self._bar = planned, Progress(*columns)
        self._task = self._bar.add_task(planned[0].title if planned else "", total=len(planned))
        super().__init__(self._bar, page and page.show)

    def told(self, played: Iterable[Played]) -> Iterator[Played]:
        """Pass on what was played."""
        for number, run in enumerate(played, 1):
            following = self._planned[number].title if number < len(self._planned) else ""
            self._bar.update(self._task, completed=number, description=following)
            self.between_runs()
            yield run

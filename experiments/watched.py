"""Runs that are played while a page in the browser shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from analysis.live.board import Board
from experiments.play import Ended, Planned, Played, World, play


def play_watched(
    planned: Sequence[Planned], world: World, out: Path, page: Board | None, runs: Iterable[Planned] | None = None
) -> Iterator[Played]:
    """As `play`, and the page is told what is played and what came of it.

    `runs`: what is planned, as it is known when its turn comes.
    """
    if page is None:
        yield from play(runs or planned, world, out)
        return

    def begun(run: Planned, folder: Path) -> Ended:
        settings = run.settings
        page.begin(run.title, settings.members, settings.regions, settings.workload.messages)
        return world(run, folder)

    page.plan([run.title for run in planned])
    try:
        for run in play(runs or planned, begun, out):
            page.end(run.verdict, str(run.error or ""), str(run.folder))
            yield run
    finally:
        page.leave()

"""Progress of runs on a terminal; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.play import Planned, Played


def told(planned: Sequence[Planned], played: Iterable[Played]) -> Iterator[Played]:
    """Pass on what was played, and show how far it is and what is being played now."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(planned[0].title if planned else "", total=len(planned))
        for number, run in enumerate(played, 1):
            following = planned[number].title if number < len(planned) else ""
            progress.update(task, completed=number, description=following)
            yield run

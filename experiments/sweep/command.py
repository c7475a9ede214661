"""The command `sweep`: plays all runs of a plan, beside each other, and goes on where it was interrupted."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from comparison_server.face import say
from experiments.play import FULL, Planned
from experiments.sweep.folder import FAILED, FRAMES, SweepFolder, broken, opened, set_aside
from experiments.sweep.plan import Loaded, load_plan
from experiments.sweep.playing import Result, play_here
from experiments.sweep.pool import play_beside
from experiments.sweep.progress import SweepShown
from peer.core.errors import HELD, UNFINISHED, VIOLATED, RunError, SettingsError

MOST_TOLD = 10  # failed runs, and violated ones
COUNTED = ("runs", "held", "violated", "failed")


def sweep(
    plan: Annotated[str, typer.Argument(help="a standard plan (demo, first, whole, ...) or a YAML file")],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="processes beside each other (one a core)")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="of a Dask cluster that plays simulated runs")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="insist that there is something to be gone on with")] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="move runs of another plan or version aside, instead of refusing to mix them")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="where the folder of the sweep is made")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> int:
    """Play all runs of a plan: a grid of orderings, places, peers and losses, each point several times.

    Called again it goes on where it was interrupted, and tries again what failed; no finished run is played twice.

    Example: python -m experiments sweep demo
    """
    if scheduler is not None and workers is not None:
        raise SettingsError("a Dask cluster has its own workers; leave this out, or --scheduler", path="--workers")
    loaded = load_plan(plan)
    command = shlex.join(["python", "-m", "experiments", "sweep", plan])
    if anew and (aside := set_aside(loaded, out)):
        say(f"the runs of another plan or version are in {aside} now", kind="remark")
    with opened(loaded, out, command, resume) as folder:
        going = Going.on(loaded, folder)
        try:
            going.play(scheduler, workers or cores())
            going.tabulate()
        except KeyboardInterrupt:
            say(f"{going.count()}; the same command goes on from there", kind="remark")
            raise
        except OSError as error:
            if error.errno not in FULL:
                raise
            problem = f"{folder.path} cannot be written: {error.strerror}; {going.count()}; make room, then go on"
            raise RunError("write", [], problem) from None
        finally:
            going.tell(as_json)
    return going.exit_code


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Going:
    """A sweep that is gone on with."""

    loaded: Loaded
    folder: SweepFolder
    done: dict[str, list[str]] = field(default_factory=dict)  # the promised properties that each run broke
    found: int = 0  # so many of these were there before

    @staticmethod
    def on(loaded: Loaded, folder: SweepFolder) -> Going:
        """With what is there."""
        there = {planned.name: folder.outcome_of(planned.name) for planned in loaded.runs}
        done = {name: broken for name, broken in there.items() if broken is not None}
        return Going(loaded, folder, done, len(done))

    @property
    def exit_code(self) -> int:
        """Of the worst run."""
        if len(self.done) < len(self.loaded.runs):
            return UNFINISHED
        return VIOLATED if any(self.done.values()) else HELD

    def count(self) -> str:
        """How far it is, in words."""
        return f"{len(self.done):,} of {len(self.loaded.runs):,} runs are done"

    def play(self, scheduler: str | None, workers: int) -> None:
        """Play what is not done yet."""
        waiting = [planned for planned in self.loaded.runs if planned.name not in self.done]
        if waiting:
            self.folder.forget_frames()
        simulated = [planned for planned in waiting if planned.world == "sim"]
        others = [planned for planned in waiting if planned.world != "sim"]
        with SweepShown(self.loaded.plan.name, len(self.done), len(self.loaded.runs)) as shown:
            with closing(self._simulated(simulated, scheduler, workers)) as results:
                self._keep(results, shown)
            with closing(play_here(others, self.folder.being_written.resolve(), shown.show)) as results:
                self._keep(results, shown)

    def _simulated(
        self, runs: Sequence[Planned], scheduler: str | None, workers: int
    ) -> Iterator[tuple[Planned, Result]]:
        if scheduler is not None and runs:
            from experiments.sweep.on_dask import play_on_dask  # Dask takes a while to import

            return play_on_dask(runs, scheduler)
        return play_beside(runs, workers, self.folder.being_written.resolve(), self.folder.lock)

    def _keep(self, results: Iterator[tuple[Planned, Result]], shown: SweepShown) -> None:
        for planned, result in results:
            self.folder.keep(planned.name, result)
            if not result.failure:
                self.done[planned.name] = broken(json.loads(result.files["verdict.json"]))
            shown.count(len(self.done), len(self.folder.failed))

    def tabulate(self) -> None:
        """All runs as tables, if they are not there yet."""
        if not self.folder.has_frames:
            self.folder.write_frames()

    def tell(self, as_json: bool) -> None:
        """What came of it."""
        folder, failed = self.folder, self.folder.failed
        violated = {name: properties for name, properties in self.done.items() if properties}
        if as_json:
            document = {
                "plan": self.loaded.plan.name,
                "folder": str(folder.path),
                "runs": len(self.loaded.runs),
                "done": len(self.done),
                "found": self.found,
                "violated": violated,
                "failed": failed,
                "frames": str(folder.path / FRAMES) if folder.has_frames else None,
            }
            print(json.dumps(document, ensure_ascii=False), flush=True)
            return
        if self.done or failed:
            Console().print(self._table())
        for name, properties in islice(violated.items(), MOST_TOLD):
            print(f"{name} broke what it promised: {', '.join(properties)}")
        for name, reason in islice(failed.items(), MOST_TOLD):
            say(f"{name}: {reason}")
        if len(failed) > MOST_TOLD:
            say(f"and {len(failed) - MOST_TOLD:,} more, in {folder.path / FAILED}")
        before = f", {self.found:,} of them before" if self.found else ""
        print(f"Sweep: {self.count()}{before}, in {folder.path}", flush=True)

    def _table(self) -> Table:
        """A line for each ordering in each world."""
        rows: dict[tuple[str, str], Counter[str]] = {}
        for planned in self.loaded.runs:
            title = f"{planned.ordering}:{planned.variant}" if planned.variant else planned.ordering
            row = rows.setdefault((title, planned.world), Counter())
            row["runs"] += 1
            if planned.name in self.done:
                row["violated" if self.done[planned.name] else "held"] += 1
            elif planned.name in self.folder.failed:
                row["failed"] += 1
        table = Table()
        for column in ("ordering", "world"):
            table.add_column(column)
        for column in COUNTED:
            table.add_column(column, justify="right")
        for (title, world), row in rows.items():
            table.add_row(title, world, *(f"{row[column]:,}" for column in COUNTED))
        return table

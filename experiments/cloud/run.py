"""Runs on the hosts of an inventory: what `fab run`, `fab collect` and `python -m experiments cloud` do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from analysis.live.board import Board
from comparison_server.prompt import answers, ask, named
from comparison_server.service import Interrupted
from experiments.cloud.cluster import CloudCluster
from experiments.play import Planned, Played, World, planned_as
from experiments.progress import Shown
from experiments.scenario import Scenario, override
from experiments.telling import tell
from experiments.watched import play_watched
from experiments.written import most_messages
from peer.core.errors import HELD, UNFINISHED, LabError, RunError
from peer.drivers.program import say as say_error


@dataclass(frozen=True)
class Wanted:
    """What is to be played, and where it is to be kept."""

    scenario: Scenario
    orderings: Sequence[tuple[str, str | None]]
    messages: int | None = None  # of each peer; None: that is asked, and again after each run
    repeats: int = 1
    out: Path = Path("runs")
    report: Path | None = None
    as_json: bool = False
    also: Sequence[Path] = ()  # what the report tells of beside what is played


def run(cluster: CloudCluster, wanted: Wanted, page: Board | None = None) -> int:
    """Bring a cluster up, play what is wanted, tell what came of it, have the peers end; the worst run's exit code.

    `page` is told of the runs too.
    """
    with ExitStack() as stack:
        with Console(stderr=True).status(f"starting the peers on {len(cluster.hosts)} hosts"):
            stack.enter_context(cluster)
        return _run(Lead(cluster, wanted, page))


def _run(lead: Lead) -> int:
    cluster, wanted = lead.cluster, lead.wanted
    try:
        lead.wait()
        if lead.take_up() and not wanted.as_json:  # of that there is to be one object only
            lead.tell()
        if wanted.messages is None:
            lead.ask_and_play()
        else:
            lead.play(wanted.messages)
    finally:
        lead.tell()
        if not cluster.service.leads_no_more:
            cluster.end()
    return lead.exit_code


@dataclass
class Lead:
    """Leads a cluster through what is wanted."""

    cluster: CloudCluster
    wanted: Wanted
    page: Board | None = None
    played: list[Played] = field(default_factory=list)
    told: int = 0  # so many of these
    failed: bool = False  # to bring something home

    @property
    def exit_code(self) -> int:
        """Of the worst run."""
        return max([UNFINISHED if self.failed else HELD, *(run.exit_code for run in self.played)])

    def wait(self) -> None:
        """Until the peers are here."""
        with Console(stderr=True).status("waiting for the peers") as status:

            def tell(here: list[str], missing: list[str]) -> None:
                status.update(escape(f"{len(here)} peers are here ({named(here)}), {named(missing)} missing"))

            self.cluster.wait_for_all(self.cluster.inventory.deadline_s, tell)

    def take_up(self) -> bool:
        """What the peers play already, begun from elsewhere, is led to its end; whether there was something."""
        service = self.cluster.service
        found = service.settled()
        for each in found:
            planned = planned_as(each)
            where = sys.stderr if self.wanted.as_json else sys.stdout
            print(self.cluster.how_found(each, planned.title), file=where, flush=True)
            try:
                self._play([planned], partial(self.cluster.take_up, each))
            except RunError as error:  # there is nothing of it to be judged; what is wanted now is another matter
                if service.leads_no_more:
                    raise
                say_error(str(error))
                self.failed = True
        return bool(found)

    def ask_and_play(self) -> None:
        """Ask and play until the answer is 0. A run that ends before its time ends alone: more can be asked for."""
        lines = answers()
        while True:
            print(f"\nPeers: {named(list(self.cluster.service.peers))}", flush=True)
            messages = ask(lines, self.cluster.service, lambda: most_messages(len(self.cluster.service.peers)))
            if not messages:
                return
            try:
                self.play(messages)
            except Interrupted:
                pass  # what there is of it is kept, and told
            except LabError as error:
                if self.cluster.service.leads_no_more:
                    raise
                say_error(str(error))
            self.tell()

    def play(self, messages: int) -> None:
        """One run of each ordering, as often as wanted; each with the peers that are there when it begins."""
        scenario = override(self.wanted.scenario, messages=messages)

        def plan() -> list[Planned]:
            self.cluster.wait_for_all(self.cluster.inventory.deadline_s)
            return self.cluster.plan(scenario, self.wanted.orderings, self.wanted.repeats)

        self.wait()
        planned = plan()
        self._play(planned, self.cluster.world, (plan()[place] for place in range(len(planned))))

    def tell(self) -> None:
        """What came of the runs that were not told yet."""
        fresh, self.told = self.played[self.told :], len(self.played)
        if fresh or self.wanted.as_json:
            tell(fresh, as_json=self.wanted.as_json, report=self.wanted.report, also=self.wanted.also)

    def _play(self, planned: Sequence[Planned], world: World, runs: Iterable[Planned] | None = None) -> None:
        """`runs`: what is planned, as it is known when its turn comes."""
        with Shown(planned, self.page) as shown:
            world = partial(world, show=shown.show)
            for run in shown.told(play_watched(planned, world, self.wanted.out, self.page, runs)):
                self.played.append(run)  # one by one: what was played before an interruption is told too

"""The command line of experiments: play scenarios in one world or another, search, replay, measure."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis import output
from analysis.load import load as load_run
from analysis.report import report as sections_of
from analysis.tables import comparison, show
from comparison_server import face, replicas
from comparison_server.service import Progress
from experiments.bench.command import bench
from experiments.explorer.command import explore
from experiments.local import in_local
from experiments.play import Played, World, in_simulator, plan, play
from experiments.progress import Shown
from experiments.replay import replay
from experiments.scenario import Scenario, check_names, load, orderings, override
from peer.core.errors import HELD
from peer.stacks import ORDERINGS, PLACES, WORKLOADS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

ScenarioArgument = Annotated[
    str, typer.Argument(help="a standard scenario (lan, demo, wan-3-sites, ...) or a YAML file")
]
OrderingOption = Annotated[str | None, typer.Option("--ordering", help="NAME[:VARIANT],... or all or all:variants")]
PeersOption = Annotated[int | None, typer.Option("--peers", help="how many peers")]
MessagesOption = Annotated[int | None, typer.Option("--messages", help="messages that each peer multicasts")]
PlanetOption = Annotated[str | None, typer.Option("--planet", help="where the regions and their round trips come from")]
RegionsOption = Annotated[
    str | None, typer.Option("--regions", help="regions, with commas between; peers are dealt out")
]
LossOption = Annotated[float | None, typer.Option("--loss", help="share of datagrams that are lost")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="the same seed, the same chance")]
RepeatOption = Annotated[
    int, typer.Option("--repeat", min=1, help="play each ordering so often, each time with its own chance")
]
TraceOption = Annotated[str | None, typer.Option("--trace", help="deliveries, or everything (needed by replay)")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="any other setting of a scenario file")
]
OutOption = Annotated[Path, typer.Option("--out", help="where run folders are made")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="write a report that compares the runs to this file")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")]
KeyOption = Annotated[Path | None, typer.Option("--key", help="the lab's key (.lab/key, made on first use)")]


@app.callback(invoke_without_command=True)
def experiments(context: typer.Context) -> int:
    """Experiments with multicast orderings: the same protocols simulated, on this machine, and searched.

    Example: python -m experiments sim wan-3-sites --ordering all
    """
    return face.help_unless_command(context)


@contextmanager
def in_sim(peers: int, key: Path | None, show: Callable[[Progress], None]) -> Iterator[World]:
    """The simulator, opened like any other world."""
    yield in_simulator


# Opens a world for so many peers; a run that goes on is shown, where that takes its time.
Opened = Callable[[int, Path | None, Callable[[Progress], None]], AbstractContextManager[World]]

# name -> what it says of itself, and what opens it
WORLDS: Mapping[str, tuple[str, Opened]] = {
    "sim": (
        "Play a scenario in virtual time: fast, and byte for byte the same for the same seed.\n\n"
        "Example: python -m experiments sim wan-3-sites --ordering unordered,lamport_all_ack --repeat 5",
        in_sim,
    ),
    "local": (
        "Play a scenario with real processes and real UDP on this machine; each peer emulates its region.\n\n"
        "Example: python -m experiments local demo --ordering unordered,lamport_all_ack,fixed_sequencer",
        in_local,
    ),
}


def command_for(world: str) -> Callable[..., int]:
    """The command that plays scenarios in this world."""
    about, opened = WORLDS[world]

    def command(
        scenario: ScenarioArgument = "lan",
        ordering: OrderingOption = None,
        peers: PeersOption = None,
        messages: MessagesOption = None,
        planet: PlanetOption = None,
        regions: RegionsOption = None,
        loss: LossOption = None,
        seed: SeedOption = None,
        repeat: RepeatOption = 1,
        trace: TraceOption = None,
        set_: SetOption = None,
        out: OutOption = Path("runs"),
        report: ReportOption = None,
        as_json: JsonOption = False,
        key: KeyOption = None,
    ) -> int:
        wanted = None if ordering is None else orderings(ordering, ORDERINGS)
        said = {"ordering": ordering, "peers": peers, "messages": messages, "planet": planet, "regions": regions}
        chosen = override(load(scenario), set_ or (), **said, loss=loss, seed=seed, trace=trace)
        check_names(chosen, {**PLACES, "workload": WORKLOADS}, chosen.name)
        runs = plan(chosen, wanted or _own_ordering(chosen), repeat, world)
        played: list[Played] = []
        try:
            with Shown(runs) as shown, opened(chosen.peers, key, shown.show) as open_world:
                for run in shown.told(play(runs, open_world, out)):
                    played.append(run)  # kept one by one: what was played before an interruption is told too
        finally:
            _tell(played, as_json, report)
        return max((run.exit_code for run in played), default=HELD)

    command.__doc__ = about
    return command


for name in WORLDS:
    app.command(name)(command_for(name))
app.command()(explore)
app.command()(replay)
app.command()(bench)


def _own_ordering(scenario: Scenario) -> list[tuple[str, str | None]]:
    own = scenario.stack.ordering
    return [(own.name, own.options.get("variant"))]


def _tell(played: Sequence[Played], as_json: bool, report: Path | None) -> None:
    verdicts = [run.as_dict() for run in played]
    if as_json:
        print(json.dumps({"runs": verdicts}, ensure_ascii=False))
    elif verdicts:
        _show(played, verdicts)
    if report is not None and played:
        report.parent.mkdir(parents=True, exist_ok=True)
        sections = sections_of([load_run(run.folder, partial=True) for run in played])
        output.write([part.encode() for part in sections], report)
        if not as_json:
            print(f"Report: {report}")


def _show(played: Sequence[Played], verdicts: Sequence[dict[str, Any]]) -> None:
    show(comparison(verdicts, [run.measures for run in played]))
    for run in played:
        if run.error is not None:
            face.say(f"{run.planned.title}: {run.error}; what there is of it is in {run.folder}")
        for remark in run.remarks:
            print(f"{run.planned.title}: {remark}")
        for name in run.verdict.violated():
            print(f"{run.planned.title}: {run.verdict.findings[name].sentence}")
        if run.verdict.replicas is not None:
            _tell_replicas(run)
    print("Runs: " + ", ".join(str(run.folder) for run in played))


def _tell_replicas(run: Played) -> None:
    """What the members' replicas came to; of repetitions only the first is told at length."""
    summary = run.verdict.replicas
    if run.planned.repeat and not summary["faults"]:
        print(f"{run.planned.title}: {summary['sentence']}")
        return
    parts = [replicas.describe(summary), replicas.details_in_words(run.measures["replicas"])]
    print(f"{run.planned.title}: " + "\n".join(filter(None, parts)) + "\n")


if __name__ == "__main__":
    sys.exit(face.run(app))

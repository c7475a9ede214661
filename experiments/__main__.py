"""The command line of experiments: play scenarios in one world or another, search, replay, measure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from analysis.tables import comparison, show
from comparison_server import face
from experiments.bench.command import bench
from experiments.explorer.command import explore
from experiments.local import in_local
from experiments.play import Planned, Played, World, in_simulator, plan, play
from experiments.progress import told
from experiments.replay import replay
from experiments.scenario import Scenario, check_names, load, orderings, override
from peer.core.errors import HELD
from peer.stacks import ORDERINGS, PLACES, WORKLOADS

app = typer.Typer(
    help="Experiments with multicast orderings: the same protocols simulated, on this machine, and searched.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")]
KeyOption = Annotated[Path | None, typer.Option("--key", help="the lab's key (.lab/key, made on first use)")]


@app.command()
def sim(
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
    as_json: JsonOption = False,
) -> int:
    """Play a scenario in virtual time: fast, and byte for byte the same for the same seed.

    Example: python -m experiments sim wan-3-sites --ordering unordered,lamport_all_ack --repeat 5
    """
    chosen = _scenario(scenario, set_, ordering, peers, messages, planet, regions, loss, seed, trace)
    runs = plan(chosen, _orderings(chosen, ordering), repeat, "sim")
    return _play_and_tell(runs, in_simulator, out, as_json)


@app.command()
def local(
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
    as_json: JsonOption = False,
    key: KeyOption = None,
) -> int:
    """Play a scenario with real processes and real UDP on this machine; regions are emulated by each peer.

    Example: python -m experiments local demo --ordering unordered,lamport_all_ack,fixed_sequencer
    """
    chosen = _scenario(scenario, set_, ordering, peers, messages, planet, regions, loss, seed, trace)
    runs = plan(chosen, _orderings(chosen, ordering), repeat, "local")
    with in_local(chosen.peers, key) as world:
        return _play_and_tell(runs, world, out, as_json)


app.command()(explore)
app.command()(replay)
app.command()(bench)


def _scenario(name: str, assignments: list[str] | None, ordering: str | None, *options: object) -> Scenario:
    peers, messages, planet, regions, loss, seed, trace = options
    scenario = override(
        load(name),
        assignments or (),
        ordering=ordering,
        peers=peers,
        messages=messages,
        planet=planet,
        regions=regions,
        loss=loss,
        seed=seed,
        trace=trace,
    )
    check_names(scenario, {**PLACES, "workload": WORKLOADS}, scenario.name)
    return scenario


def _orderings(scenario: Scenario, text: str | None) -> list[tuple[str, str | None]]:
    if text is not None:
        return orderings(text, ORDERINGS)
    own = scenario.stack.ordering
    return [(own.name, own.options.get("variant"))]


def _play_and_tell(runs: list[Planned], world: World, out: Path, as_json: bool) -> int:
    played: list[Played] = []
    try:
        for run in told(runs, play(runs, world, out)):
            played.append(run)
    finally:  # what was played before an interruption is told too
        _tell(played, as_json)
    return max((run.exit_code for run in played), default=HELD)


def _tell(played: Iterable[Played], as_json: bool) -> None:
    verdicts = [run.as_dict() for run in played]
    if as_json:
        print(json.dumps({"runs": verdicts}, ensure_ascii=False))
        return
    if not verdicts:
        return
    show(comparison(verdicts, [run.measures for run in played]))
    for run in played:
        if run.error is not None:
            face.say(f"{run.planned.title}: {run.error}; what there is of it is in {run.folder}")
        for name in run.verdict.violated():
            print(f"{run.planned.title}: {run.verdict.findings[name].sentence}")
    print("Runs are in " + ", ".join(str(run.folder) for run in played))


if __name__ == "__main__":
    sys.exit(face.run(app))

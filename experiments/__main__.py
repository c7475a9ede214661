"""The command line of experiments: play scenarios in one world or another, search, replay, measure."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.live.serving import live_page
from comparison_server import face
from comparison_server.service import Progress
from experiments.bench.command import bench
from experiments.explorer.command import explore
from experiments.local import in_local
from experiments.play import Played, World, in_simulator, plan
from experiments.progress import Shown
from experiments.rehearsal import rehearsal as rehearsal_commands
from experiments.replay import replay
from experiments.scenario import Scenario, check_names, json_schema, load, orderings, override
from experiments.sweep.command import sweep
from experiments.sweep.plan import json_schema as plan_schema
from experiments.telling import check_report, tell
from experiments.watched import play_watched
from experiments.yaml_files import unknown
from peer.core.errors import HELD, RunError, SettingsError
from peer.drivers.program import say
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
RepetitionOption = Annotated[
    int | None, typer.Option("--repetition", min=0, help="play only this one of the repetitions, counted from 0")
]
TraceOption = Annotated[str | None, typer.Option("--trace", help="deliveries, or everything (needed by replay)")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="any other setting of a scenario file")
]
OutOption = Annotated[Path, typer.Option("--out", help="where run folders are made")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="write a report that compares the runs to this file")
]
AlsoOption = Annotated[
    list[Path] | None, typer.Option("--also", help="a run or a sweep that the report tells of as well")
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
        repetition: RepetitionOption = None,
        trace: TraceOption = None,
        set_: SetOption = None,
        out: OutOption = Path("runs"),
        report: ReportOption = None,
        also: AlsoOption = None,
        as_json: JsonOption = False,
        key: KeyOption = None,
        live: face.LiveOption = None,
    ) -> int:
        wanted = None if ordering is None else orderings(ordering, ORDERINGS)
        said = {"ordering": ordering, "peers": peers, "messages": messages, "planet": planet, "regions": regions}
        chosen = _chosen(scenario, set_, **said, loss=loss, seed=seed, trace=trace)
        check_report(report, also)
        if live is not None and world == "sim":
            say("simulated runs are soon over, and the page with them; local plays in real time", kind="remark")
        runs = plan(chosen, wanted or _own_ordering(chosen), repeat, world, repetition)
        played: list[Played] = []
        try:
            with live_page(live, f"{world} {chosen.name}") as page, Shown(runs, page) as shown:
                with opened(chosen.peers, key, shown.show) as open_world:
                    for run in shown.told(play_watched(runs, open_world, out, page)):
                        played.append(run)  # kept one by one: what was played before an interruption is told too
        except RunError as error:
            rest = f"; what there is of it is in {error.kept}" if error.kept else ""
            raise RunError(error.phase, error.peers, f"{error}{rest}", kept=error.kept) from None
        finally:
            tell(played, as_json=as_json, report=report, also=also or ())
        return max((run.exit_code for run in played), default=HELD)

    command.__doc__ = about
    return command


for name in WORLDS:
    app.command(name)(command_for(name))


@app.command()
def cloud(
    scenario: ScenarioArgument = "lan",
    inventory: Annotated[Path, typer.Option(help="the hosts, as fab takes them")] = Path("lab.yml"),
    rehearsal: Annotated[bool, typer.Option("--rehearsal", help="in a cloud on this machine (Linux, root)")] = False,
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
    also: AlsoOption = None,
    as_json: JsonOption = False,
    key: KeyOption = None,
    live: face.LiveOption = None,
) -> int:
    """Play a scenario on hosts in the cloud, as fab run does: who the peers are and where is the inventory's to say.

    With --rehearsal it is played in the cloud that `rehearsal up` made, or in one that is made as the scenario says.

    Example: python -m experiments cloud wan-3-sites --rehearsal --ordering unordered,lamport_all_ack
    """
    from experiments.cloud.command import in_rehearsal, on_hosts  # Fabric takes a while to import,
    from experiments.cloud.run import Wanted  # and no other command needs it
    from experiments.cloud.run import run as run_on_hosts

    said = {"ordering": ordering, "peers": peers, "messages": messages, "planet": planet, "regions": regions}
    chosen = _chosen(scenario, set_, **said, loss=loss, seed=seed, trace=trace)
    check_report(report, also)
    wanted = None if ordering is None else orderings(ordering, ORDERINGS)
    count = chosen.workload.messages
    what = Wanted(chosen, wanted or _own_ordering(chosen), count, repeat, out, report, as_json, tuple(also or ()))
    remark = partial(say, kind="remark")
    opened = in_rehearsal(chosen, key, remark) if rehearsal else on_hosts(inventory, key, remark)
    with live_page(live, f"cloud {chosen.name}") as page, opened as cluster:  # the page stays outside a rehearsal
        return run_on_hosts(cluster, what, page)


@app.command()
def schema(
    of: Annotated[str, typer.Argument(metavar="scenario|plan|inventory", help="which kind of file")] = "scenario",
) -> int:
    """Print the JSON schema of a scenario file, of a plan or of an inventory, for editors that complete and check YAML.

    Example: python -m experiments schema inventory > lab.schema.json
    """
    from deploy.inventory import inventory_schema  # inventories are of no other use here

    schemas = {"scenario": json_schema, "plan": plan_schema, "inventory": inventory_schema}
    if of not in schemas:
        raise SettingsError(unknown("kind of file", of, schemas))
    print(json.dumps(schemas[of](), indent=1))
    return HELD


app.add_typer(rehearsal_commands, name="rehearsal")
app.command()(sweep)
app.command()(explore)
app.command()(replay)
app.command()(bench)


def _chosen(scenario: str, assignments: list[str] | None, **said: Any) -> Scenario:
    """The scenario with what the command line says; names that nobody knows are refused."""
    chosen = override(load(scenario), assignments or (), **said)
    check_names(chosen, {**PLACES, "workload": WORKLOADS}, chosen.name)
    return chosen


def _own_ordering(scenario: Scenario) -> list[tuple[str, str | None]]:
    own = scenario.stack.ordering
    return [(own.name, own.options.get("variant"))]


if __name__ == "__main__":
    sys.exit(face.run(app))

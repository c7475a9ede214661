"""The commands `rehearsal ...`: a cloud on this machine that stays until it is taken down."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from comparison_server import face
from deploy.rehearsal.cloud import Rehearsal, RehearsalError, remove
from deploy.rehearsal.plan import HostPlan, Plan, Weather
from deploy.rehearsal.router import WHAT
from experiments.planet import load_planet
from experiments.validation import validated
from experiments.yaml_files import parse, read, shown, unknown
from peer.core.errors import BAD_SETTINGS, HELD, SettingsError

FOLDER = Path(".lab/rehearsal")
PLANET, REGIONS = "aws-2020-06-05", ("eu-central-1", "eu-west-2", "ap-southeast-1")  # 7, 85 and 89 ms one way
HOSTS, LOSS = 6, 0.01

FAULTS = {  # and what each needs
    **dict.fromkeys(("kill", "boot", "pause", "resume", "rekey"), ("host",)),
    **dict.fromkeys(("block", "unblock"), ("source", "target")),
    "partition": ("groups",), "heal": (), "network": (), "clock": ("host", "offset_s"), "disk": ("host", "free_kb"),
}  # fmt: skip
MAY_HAVE = {
    **dict.fromkeys(("block", "unblock"), ("what",)),
    "network": ("regions", *(each.name for each in fields(Weather))),
}
TEXTS, LISTS, NUMBERS = ("host", "source", "target", "what"), ("groups", "regions"), (int, float)

rehearsal = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

FolderOption = Annotated[Path, typer.Option("--folder", help="where the cloud keeps what it needs")]


@dataclass(frozen=True, slots=True)
class Written:
    """A plan as a person writes it; hosts are a number, or `name: {region: ...}`."""

    __pydantic_config__ = {"extra": "forbid"}

    hosts: int | dict[str, dict[str, Any]] = HOSTS
    planet: str = PLANET
    regions: tuple[str, ...] = REGIONS
    one_way_ms: dict[str, dict[str, float]] | None = None  # instead of a planet: between two regions, and inside one
    between: Weather = field(default_factory=lambda: Weather(loss=LOSS))
    inside: Weather = field(default_factory=Weather)
    broadcast: bool = True
    operator: str = ""
    lab: str = "rehearsal"
    user: str = "lab"
    seed: int = 1


@rehearsal.callback(invoke_without_command=True)
def about(context: typer.Context) -> int:
    """A cloud on this machine: hosts with an sshd each, in regions with real delays between them (Linux, root).

    Example: python -m experiments rehearsal up
    """
    return face.help_unless_command(context)


@rehearsal.command()
def up(
    plan: Annotated[Path | None, typer.Option("--plan", help="a YAML file that says it all")] = None,
    hosts: Annotated[int | None, typer.Option("--hosts", min=1, help="how many, dealt out to the regions")] = None,
    planet: Annotated[str | None, typer.Option("--planet", help="where regions and delays come from")] = None,
    regions: Annotated[str | None, typer.Option("--regions", help="regions, with commas between")] = None,
    loss: Annotated[float | None, typer.Option("--loss", help="share of packets lost between regions")] = None,
    folder: FolderOption = FOLDER,
) -> int:
    """Start the cloud; it stays until `rehearsal down`.

    Example: python -m experiments rehearsal up --hosts 6 --loss 0.01
    """
    given = {"hosts": hosts, "planet": planet, "loss": loss}
    given["regions"] = None if regions is None else [name.strip() for name in regions.split(",")]
    made = read_plan(plan, **given)
    cloud = Rehearsal(made, folder, stays=True)
    with Console(stderr=True).status(f"{len(made.hosts)} hosts are starting"):
        cloud.up()
    inventory = os.path.relpath(cloud.inventory)
    print(f"up: {', '.join(host.name for host in made.hosts)} in {', '.join(made.regions)}; inventory: {inventory}")
    print(f"Try: python -m experiments rehearsal exec -- fab check --inventory {inventory}")
    return HELD


@rehearsal.command()
def down(folder: FolderOption = FOLDER) -> int:
    """Take the cloud down; nothing of it is left.

    Example: python -m experiments rehearsal down
    """
    try:
        Rehearsal.at(folder).down()
        print("down")
    except RehearsalError:
        killed = (folder / "plan.json").exists() and remove(folder)
        print("down (it had been killed)" if killed else f"no rehearsal cloud was up in {folder}")
    return HELD


@rehearsal.command()
def status(
    folder: FolderOption = FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> int:
    """Tell which hosts there are, and how late the network between them is.

    Example: python -m experiments rehearsal status
    """
    found = Rehearsal.at(folder).control("status")
    if as_json:
        print(json.dumps(found))
    else:
        _tell(found)
    return HELD


@rehearsal.command()
def fault(
    what: Annotated[str, typer.Argument(metavar="FAULT", help=", ".join(FAULTS))],
    details: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="what it needs")] = None,
    folder: FolderOption = FOLDER,
) -> int:
    """Make something go wrong in the cloud, or mend it.

    kill host=h4 and boot host=h4; pause host=h1 and resume host=h1; block source=h0 target=h3 what=udp and unblock (the
    same; what is any, udp, tcp, icmp or ssh);
    partition groups=[[h0],[h1,h2]]; heal; network loss=0.1; clock host=h2 offset_s=5; disk host=h1 free_kb=0;
    rekey host=h1. The operator's machine is the host called operator.

    Example: python -m experiments rehearsal fault block source=h0 target=h3 what=udp
    """
    if what not in FAULTS:
        raise SettingsError(unknown("fault", what, FAULTS))
    given: dict[str, Any] = {}
    for detail in details or ():
        name, equals, value = detail.partition("=")
        if not equals:
            raise SettingsError(f"expected NAME=VALUE, found {detail!r}", path="fault")
        given[name] = parse(value, path=name)
    _check_details(what, given)
    Rehearsal.at(folder).control(what, **given)
    print(f"done: {what} {' '.join(details or ())}".rstrip())
    return HELD


@rehearsal.command(name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def execute(context: typer.Context, folder: FolderOption = FOLDER) -> int:
    """Run a command on the operator's machine of the cloud, from where the hosts can be reached.

    Example: python -m experiments rehearsal exec -- ssh -F .lab/rehearsal/ssh_config h0 hostname
    """
    if not context.args:
        face.say("which command? (rehearsal exec -- COMMAND)")
        return BAD_SETTINGS
    Rehearsal.at(folder).enter()
    try:
        os.execvp(context.args[0], context.args)
    except OSError as error:
        raise SettingsError(f"{context.args[0]} cannot be run: {error.strerror}") from None


def read_plan(file: Path | None = None, **said: Any) -> Plan:
    """The plan in a file, or the usual one; `said` replaces hosts, planet, regions or the loss between regions."""
    written = read(file) if file is not None else {}
    loss = said.pop("loss", None)
    written |= {key: value for key, value in said.items() if value is not None}
    try:
        plan = planned(validated(Written, written, str(file or "")), str(file or ""))
        return plan if loss is None else replace(plan, between=replace(plan.between, loss=loss))
    except SettingsError as error:  # the plan knows of no file
        raise SettingsError(error.problem, path=error.path, file=str(file or "")) from None


def planned(written: Written, file: str = "") -> Plan:
    """The plan with all that is left open filled in."""
    regions, rows = written.regions, _delays(written, file)
    if isinstance(written.hosts, int):
        hosts = [HostPlan(f"h{place}", regions[place % len(regions)]) for place in range(written.hosts)]
    else:
        hosts = [_host(name, about, file) for name, about in written.hosts.items()]
    about = {name: getattr(written, name) for name in ("broadcast", "operator", "lab", "user", "seed")}
    return Plan(tuple(hosts), regions, rows, written.between, written.inside, **about)


def _host(name: str, about: dict[str, Any], file: str) -> HostPlan:
    try:
        return validated(HostPlan, {"name": name, **about}, file)
    except SettingsError as error:
        raise SettingsError(error.problem, path=f"hosts.{name}.{error.path}".rstrip(".")) from None


def _delays(written: Written, file: str) -> tuple[tuple[float, ...], ...]:
    regions, table = written.regions, written.one_way_ms
    if table is None:
        planet = load_planet(written.planet)
        return tuple(tuple(planet.one_way_s(a, b) * 1000 for b in regions) for a in regions)

    def delay(a: str, b: str) -> float:
        found = table.get(a, {}).get(b, table.get(b, {}).get(a))  # one direction may stand for both
        if found is None:
            raise SettingsError(f"nothing is said about {a} to {b}: {shown(table)}", path="one_way_ms", file=file)
        return found

    return tuple(tuple(delay(a, b) for b in regions) for a in regions)


def _check_details(fault: str, given: dict[str, Any]) -> None:
    """SettingsError if these are not what a fault needs."""
    needed, known = FAULTS[fault], (*FAULTS[fault], *MAY_HAVE.get(fault, ()))
    if set(needed) - set(given) or set(given) - set(known):
        takes = ", ".join(f"{name}=..." if name in needed else f"[{name}=...]" for name in known) or "nothing"
        raise SettingsError(f"takes {takes}; found {', '.join(given) or 'nothing'}", path=f"fault {fault}")
    for name, value in given.items():
        usual = (list, "a list") if name in LISTS else (NUMBERS, "a number")
        kinds, words = (str, "a name") if name in TEXTS else usual
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise SettingsError(f"expected {words}, found {shown(value)}", path=f"fault {fault}: {name}")
    if given.get("what", "any") not in WHAT:
        raise SettingsError(unknown("kind of packets", given["what"], WHAT), path=f"fault {fault}: what")


def _tell(found: dict[str, Any]) -> None:
    table = Table("host", "region", "state", "address", "private")
    for name, host in found["hosts"].items():
        table.add_row(name, host["region"], host["state"], host["address"], host["private"] or "")
    Console().print(table)
    late = found["lateness"]
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(found["frames"].items())) or "none lost"
    print(f"The operator is {found['operator']}. {late['frames']:,} frames were handed over ({counts}),")
    print(f"half of them within {late['p50_ms']} ms of when they were due, 99 of 100 within {late['p99_ms']} ms.")
    for source, target, what in found["blocks"]:
        print(f"Blocked: {what} from {source} to {target}")

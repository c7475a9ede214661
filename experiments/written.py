"""What a person writes about an experiment, as frozen dataclasses, and what makes no sense in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from typing import Any, Literal, NoReturn

from comparison_server.run_folder import MOST_MESSAGES
from experiments.planet import load_planet
from experiments.yaml_files import shown, unknown
from peer.core.errors import SettingsError
from peer.core.settings import BOUNDS as RUN_BOUNDS
from peer.core.settings import (
    LONGEST_GAP_MS,
    MOST_MEMBERS,
    DeadlineSettings,
    NetworkSettings,
    StackSettings,
    WindowSettings,
    WorkloadSettings,
)

Refuse = Callable[[str, str], NoReturn]  # the dotted path, the problem


@dataclass(frozen=True, slots=True)
class Network(NetworkSettings):
    """The network of a scenario; None: datagrams as large as the world's are."""

    __pydantic_config__ = {"extra": "forbid"}

    datagram_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Deadlines(DeadlineSettings):
    """The deadlines of a scenario; None: as long as the kind of connection needs."""

    __pydantic_config__ = {"extra": "forbid"}

    handshake_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong on purpose: one peer crashes, or groups of peers lose each other for a while or for good."""

    __pydantic_config__ = {"extra": "forbid"}

    at_s: float
    crash: int | None = None
    partition: tuple[tuple[int, ...], ...] | None = None
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """An experiment as it was written; what it leaves open is filled in for each of its runs."""

    __pydantic_config__ = {"extra": "forbid"}

    name: str = "scenario"
    peers: int = 3
    planet: str = "lan"
    regions: tuple[str, ...] | dict[str, int] = ()  # dealt out in turn, or how many peers each gets; empty: all in turn
    stack: StackSettings = field(default_factory=StackSettings)
    ordering_options: dict[str, dict[str, Any]] = field(default_factory=dict)  # by ordering
    workload: WorkloadSettings = field(default_factory=WorkloadSettings)
    network: Network = field(default_factory=Network)
    faults: tuple[Fault, ...] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)
    on_failure: Literal["stop", "continue"] = "stop"
    seed: int = 1
    trace: Literal["deliveries", "everything"] = "deliveries"
    window: WindowSettings = field(default_factory=WindowSettings)
    nodes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # which peers share a machine

    def placed(self) -> tuple[str, ...]:
        """The region of each peer."""
        if isinstance(self.regions, dict):
            return tuple(chain.from_iterable([region] * count for region, count in self.regions.items()))
        return tuple(islice(cycle(self.regions or load_planet(self.planet).regions), self.peers))


# The lowest and the highest value of each number: those of every run, and of what only a scenario says.
BOUNDS: dict[str, tuple[float, float]] = {
    "peers": (1, MOST_MEMBERS),
    "seed": (0, 2**63 - 1),
    **RUN_BOUNDS,
}


def most_messages(peers: int) -> int:
    """What each of so many may multicast: the log of one holds what all of them did."""
    return MOST_MESSAGES // max(1, peers)


def check(scenario: Scenario, file: str) -> None:
    """Refuses what has the right types and still makes no sense."""

    def refuse(path: str, problem: str) -> NoReturn:
        raise SettingsError(problem, path=path, file=file)

    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", scenario.name, re.ASCII):  # it becomes part of a folder's name
        refuse("name", f"expected letters, digits, dots, dashes and underscores, found {shown(scenario.name)}")
    messages, most = scenario.workload.messages, most_messages(scenario.peers)
    if not 0 <= messages <= most:
        many = f"{scenario.peers} peer{'' if scenario.peers == 1 else 's'}"
        refuse("workload.messages", f"expected 0 to {most:,} for {many}, found {messages:,}")
    for path, (low, high) in BOUNDS.items():
        value: Any = scenario
        for step in path.split("."):
            value = getattr(value, step)
        if value is not None and not low <= value <= high:
            refuse(path, f"expected {low:,} to {high:,}, found {value:,}")
    if scenario.network.loss == 1:
        refuse("network.loss", "expected less than 1: a network that loses everything delivers nothing")
    shortest, longest = scenario.workload.gap_ms
    if not 0 <= shortest <= longest <= LONGEST_GAP_MS:
        refuse("workload.gap_ms", f"expected [shortest, longest] in ms, found [{shortest:g}, {longest:g}]")
    for ordering, options in scenario.ordering_options.items():
        if not isinstance(options.get("variant", ""), str):
            path = f"ordering_options.{ordering}.variant"
            refuse(path, f"expected the name of a variant, found {shown(options['variant'])}")
    _check_regions(scenario, refuse)
    on_nodes = sorted(chain.from_iterable(scenario.nodes.values()))
    if scenario.nodes and on_nodes != list(range(scenario.peers)):
        refuse("nodes", f"expected each of the peers 0 to {scenario.peers - 1} on one node, found {shown(on_nodes)}")
    for number, fault in enumerate(scenario.faults):
        _check_fault(fault, scenario.peers, f"faults.{number}", refuse)
    check_on_failure(scenario.on_failure, scenario.stack, file)


def check_on_failure(on_failure: str, stack: StackSettings, file: str) -> None:
    """Refuses to go on after a failure with a stack that cannot."""
    membership = stack.membership.name if stack.membership else "no membership"
    survives = membership == "views" or (stack.ordering.name == "raft_log" and membership == "static")
    if on_failure == "continue" and not survives:
        problem = f"expected membership views, or raft_log over static; found {stack.ordering.name} over {membership}"
        raise SettingsError(f"cannot continue: {problem}", path="on_failure", file=file)


def _check_regions(scenario: Scenario, refuse: Refuse) -> None:
    try:
        planet = load_planet(scenario.planet)
    except SettingsError as error:
        refuse("planet", str(error))
    for region in scenario.regions:
        if region not in planet.regions:
            refuse("regions", f"{unknown('region', region, planet.regions)} (planet {scenario.planet})")
    if isinstance(scenario.regions, dict):
        for region, count in scenario.regions.items():
            if count < 0:
                refuse(f"regions.{region}", f"expected how many peers are there, found {count}")
        if (placed := sum(scenario.regions.values())) != scenario.peers:
            refuse("regions", f"{placed} peers have a region here, but `peers` is {scenario.peers}")


def _check_fault(fault: Fault, peers: int, path: str, refuse: Refuse) -> None:
    if (fault.crash is None) == (fault.partition is None):
        refuse(path, "expected either `crash: PEER` or `partition: [[PEER, ...], [PEER, ...]]`")
    if not 0 <= fault.at_s <= 1e6:
        refuse(f"{path}.at_s", f"expected seconds since the start, found {fault.at_s:g}")
    if fault.for_s is not None and not 0 < fault.for_s <= 1e6:
        refuse(f"{path}.for_s", f"expected seconds, more than 0, found {fault.for_s:g}")
    if fault.crash is not None:
        if not 0 <= fault.crash < peers:
            refuse(f"{path}.crash", f"expected a peer, 0 to {peers - 1}, found {fault.crash}")
        if fault.for_s is not None:
            refuse(f"{path}.for_s", "a crash is for good; only a partition ends")
    if fault.partition is not None:
        everybody = sorted(chain.from_iterable(fault.partition))
        if everybody != list(range(peers)) or len(fault.partition) < 2 or not all(fault.partition):
            wanted = f"expected each of the peers 0 to {peers - 1} in one of two groups or more"
            refuse(f"{path}.partition", f"{wanted}, found {shown([list(group) for group in fault.partition])}")

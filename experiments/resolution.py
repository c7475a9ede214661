"""Makes a run out of a scenario: one ordering of it, with everything filled in that a person may leave open."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal, get_args

from experiments.planet import Planet, load_planet
from experiments.written import Scenario, check_on_failure
from experiments.yaml_files import unknown
from peer.core.errors import SettingsError
from peer.core.settings import DeadlineSettings, LayerSettings, NetworkSettings, RunSettings, StackSettings

World = Literal["local", "sim", "cloud", "rehearsal"]
EMULATED = ("local", "sim")  # the worlds in which the delays are made; in the others they are there

DATAGRAM_BYTES = {"local": 60_000, "sim": 60_000, "cloud": 1_372, "rehearsal": 1_372}  # loopback; a path with MTU 1,500
PATIENT_CONNECTIONS = ("synchronize", "ready_to_receive")  # their timers are in seconds
DISORDERED = ("unordered", "causal")  # over fifo links they would never meet the disorder they are there for


def seed_text(seed: int, repeat: int = 0) -> str:
    """What a run draws all its chance from: repeat r of a scenario draws from (seed, r)."""
    return f"{seed}/{repeat}" if repeat else str(seed)


def resolve(scenario: Scenario, ordering: str, variant: str | None, seed: str, world: World) -> RunSettings:
    """One run of the scenario, complete, as its peers will be told it."""
    file = f"scenario {scenario.name}"
    if world not in get_args(World):
        raise SettingsError(unknown("world", world, get_args(World)), file=file)
    if scenario.faults:
        raise SettingsError("no world can make faults yet", file=file, path="faults")
    own = scenario.stack.ordering
    options = (own.options if own.name == ordering else {}) | scenario.ordering_options.get(ordering, {})
    if variant is not None:
        options["variant"] = variant
    stack = _filled(scenario, LayerSettings(ordering, options))
    check_on_failure(scenario.on_failure, stack, file)
    patient = stack.connection is not None and stack.connection.name in PATIENT_CONNECTIONS
    regions = scenario.placed()
    return RunSettings(
        members=tuple(f"p{peer}" for peer in range(scenario.peers)),
        regions=regions,
        stack=stack,
        workload=scenario.workload,
        network=_settled(NetworkSettings, scenario.network, datagram_bytes=DATAGRAM_BYTES[world]),
        window=scenario.window,
        deadlines=_settled(DeadlineSettings, scenario.deadlines, handshake_s=120.0 if patient else 30.0),
        delays_s=delays_s(load_planet(scenario.planet), regions) if world in EMULATED else None,
        seed=seed,
        trace=scenario.trace,
    )


def delays_s(planet: Planet, regions: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    """One-way delays between peers, [from][to], of which the first is in the first region, and so on."""
    return tuple(
        tuple(0.0 if a == b else planet.one_way_s(origin, target) for b, target in enumerate(regions))
        for a, origin in enumerate(regions)
    )


def _filled(scenario: Scenario, ordering: LayerSettings) -> StackSettings:
    stack = replace(scenario.stack, ordering=ordering)
    if stack.link is not None and stack.link.name == "ack_resend":
        order = "none" if ordering.name in DISORDERED else "fifo"
        stack = replace(stack, link=_with_defaults(stack.link, order=order))
    if stack.election is None and ordering.name == "raft_log":
        stack = replace(stack, election=LayerSettings("raft"))
    if stack.discovery is not None and stack.discovery.name == "leaders":
        stack = replace(stack, discovery=_with_defaults(stack.discovery, nodes=_nodes(scenario)))
    return stack


def _with_defaults(layer: LayerSettings, **options: Any) -> LayerSettings:
    return LayerSettings(layer.name, options | layer.options)


def _nodes(scenario: Scenario) -> list[list[int]]:
    """Who shares a machine: as the scenario says, or the peers of a region; where there is one region, two by two."""
    if scenario.nodes:
        return [sorted(node) for node in scenario.nodes.values()]
    placed, peers = scenario.placed(), range(scenario.peers)
    regions = list(dict.fromkeys(placed))
    if len(regions) == 1:
        return [list(peers[first : first + 2]) for first in peers[::2]]
    return [[peer for peer in peers if placed[peer] == region] for region in regions]


def _settled(cls: type, written: Any, **left_open: Any) -> Any:
    """The peers' class of a group of settings, with a value for what was left open."""
    given = {each.name: getattr(written, each.name) for each in fields(cls)}
    return cls(**given | {name: value for name, value in left_open.items() if given[name] is None})

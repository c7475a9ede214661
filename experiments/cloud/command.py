"""Where the command `cloud` plays: on the hosts of an inventory, or in a cloud on this machine, to rehearse that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.inventory import load_inventory
from deploy.rehearsal.cloud import Rehearsal
from deploy.rehearsal.plan import HostPlan, Plan, Weather
from experiments.cloud.cluster import CloudCluster, Say, known_hosts_of
from experiments.cloud.direct import cluster_of
from experiments.planet import load_planet
from experiments.rehearsal import FOLDER
from experiments.scenario import Scenario


@contextmanager
def on_hosts(inventory: Path, key: Path | None, say: Say) -> Iterator[CloudCluster]:
    """The hosts of an inventory."""
    yield cluster_of(load_inventory(inventory), key=key, known_hosts=known_hosts_of(inventory), say=say)


@contextmanager
def in_rehearsal(scenario: Scenario, key: Path | None, say: Say) -> Iterator[CloudCluster]:
    """The rehearsal cloud that stays, if one is up; else one that is as the scenario says, for this time only."""
    with ExitStack() as stack:
        if (FOLDER / "lab.yml").is_file():
            cloud = Rehearsal.at(FOLDER)
        else:
            cloud = stack.enter_context(Rehearsal(plan_of(scenario)))
        stack.enter_context(cloud.entered())  # before there are threads that would stay outside

        def lateness() -> dict:
            return {"router_lateness": cloud.control("lateness", reset=True)}

        hosts, known_hosts = load_inventory(cloud.inventory), known_hosts_of(cloud.inventory)
        yield CloudCluster(hosts, key=key, known_hosts=known_hosts, world="rehearsal", measure=lateness, say=say)


def plan_of(scenario: Scenario) -> Plan:
    """A cloud with a host for each peer of a scenario, in its region, and the network that the scenario describes."""
    placed, planet, network = scenario.placed(), load_planet(scenario.planet), scenario.network
    regions = tuple(dict.fromkeys(placed))
    weather = Weather(network.loss, network.duplicate, network.reorder, network.jitter_ms)
    return Plan(
        hosts=tuple(HostPlan(f"p{place}", region) for place, region in enumerate(placed)),
        regions=regions,
        one_way_ms=tuple(tuple(planet.one_way_s(a, b) * 1000 for b in regions) for a in regions),
        between=weather,
        inside=weather,
        seed=scenario.seed,
    )

"""Plans: a grid of scenarios, orderings and worlds in a YAML file, and the runs that it comes to.

    load_plan -> Loaded    what the file says, checked, and a run for each point of the grid and each repetition

A plan may have several grids. Its runs come repetition by repetition, so that what there is of an interrupted sweep
covers all of its points alike; within a repetition in the order of the grids, and the orderings of a point together.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

from experiments.play import Planned
from experiments.scenario import (
    SCENARIOS,
    Scenario,
    as_written,
    asks_for_several,
    check_names,
    load,
    orderings,
    override,
    resolve,
    seed_text,
)
from experiments.validation import adapter, validated
from experiments.yaml_files import find, in_one_line, read, shown, standard_names
from peer.core.errors import SettingsError
from peer.core.settings import to_json
from peer.stacks import ORDERINGS, PLACES, WORKLOADS, check_orderings, promised

PLANS = Path(__file__).parent.parent / "plans"
MOST_RUNS = 100_000
LONGEST_PLACE = 48  # in the name of a run
LONGEST_NAME = 100  # of a plan
DIGEST_BYTES = 4
# What a command line would call it -> what a grid calls it.
AXIS_OF = {
    "--ordering": "ordering",
    "--peers": "peers",
    "--planet": "planet",
    "--regions": "planet",
    "--loss": "loss",
    "--set workload.gap_ms": "gap_ms",
    "--set workload.size_bytes": "size_bytes",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the peers are: regions of a planet, or of the scenario's; `name`: what it is called in names of runs."""

    __pydantic_config__ = {"extra": "forbid"}

    planet: str | None = None
    regions: tuple[str, ...] | dict[str, int] = ()  # as in a scenario; empty: all of the planet
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Values that are combined with each other; what is left open is as the scenario says."""

    __pydantic_config__ = {"extra": "forbid"}

    world: tuple[Literal["sim", "local"], ...] | None = None
    planet: tuple[Place, ...] | None = None
    peers: tuple[int, ...] | None = None
    loss: tuple[float, ...] | None = None
    gap_ms: tuple[tuple[float, float], ...] | None = None
    size_bytes: tuple[int, ...] | None = None
    ordering: tuple[str, ...] | None = None
    repeat: int | None = None  # instead of the plan's


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was written."""

    __pydantic_config__ = {"extra": "forbid"}

    grid: tuple[Grid, ...]
    name: str = "plan"
    scenario: str = "lan"
    set: dict[str, Any] = field(default_factory=dict)  # dotted path -> value, laid over the scenario
    repeat: int = 1
    seed: int | None = None  # None: the scenario's


AXES = tuple(each.name for each in fields(Grid) if each.name != "repeat")  # the last one turns fastest


@dataclass(frozen=True)
class Loaded:
    """A plan, the scenario that it varies, and its runs in order, each with its name."""

    plan: Plan
    scenario: Scenario
    runs: list[Planned]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "plan": json.loads(adapter(Plan).dump_json(self.plan)),
            "scenario": as_written(self.scenario),
            "points": [_row(planned) for planned in self.runs],
        }


def plan_names() -> list[str]:
    """The plans that come with the lab."""
    return standard_names(PLANS)


def load_plan(name: str | Path) -> Loaded:
    """A standard plan by its name, or the one in a YAML file; what cannot be played is refused."""
    check_orderings()  # else the plan would be blamed
    path = find("plan", str(name), PLANS)
    file = str(path)
    plan = _checked({"name": path.stem, **read(path)}, file)
    scenario = _scenario_of(plan, path)
    return Loaded(plan, scenario, _named(list(_runs(plan, scenario, file))))


def json_schema() -> dict[str, Any]:
    """The JSON schema of a plan, for editors."""
    schema = adapter(Plan).json_schema()
    grid, (place, _) = schema["properties"]["grid"], schema["$defs"]["Grid"]["properties"]["planet"]["anyOf"]
    schema["properties"]["grid"] = {"anyOf": [grid["items"], grid]}
    place["items"] = {"anyOf": [{"type": "string"}, place["items"]]}
    schema["$defs"]["Grid"]["properties"]["ordering"]["anyOf"].append({"type": "string"})
    return schema


def _checked(written: Mapping[str, Any], file: str) -> Plan:
    said = written.get("grid")
    grids = said if isinstance(said, list) else [said] if isinstance(said, dict) else []
    if grids:
        written = {**written, "grid": [_spelt_out(grid) for grid in grids]}
    expected = {f"grid.{at}.{axis}": "a list of values" for at in range(len(grids)) for axis in AXES}
    expected["grid"] = "what is varied, as in `loss: [0, 0.1]`, or a list of such grids"
    try:
        plan = validated(Plan, written, file, expected=expected)
    except SettingsError as error:
        path = error.path.replace("grid.0", "grid", 1) if len(grids) == 1 else error.path
        raise SettingsError(error.problem, path=path, file=file) from None

    def refuse(path: str, problem: str) -> None:
        raise SettingsError(problem, path=path, file=file)

    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", plan.name, re.ASCII):  # it becomes the name of a folder
        refuse("name", f"expected letters, digits, dots, dashes and underscores, found {shown(plan.name)}")
    if len(plan.name) > LONGEST_NAME:
        refuse("name", f"expected at most {LONGEST_NAME} characters, found {len(plan.name)}")
    if not plan.grid:
        refuse("grid", "expected at least one grid, found []")
    runs = 0
    for where, grid in _grids(plan):
        given = {axis: values for axis in AXES if (values := getattr(grid, axis)) is not None}
        if not given:
            refuse(where, f"expected values of {', '.join(AXES)}, found nothing that is varied")
        for axis, values in given.items():
            if not values:
                refuse(f"{where}.{axis}", "expected at least one value, found []")
        for at, place in enumerate(grid.planet or ()):
            name = place.name
            if name is not None and not re.fullmatch(rf"[\w.+-]{{1,{LONGEST_PLACE}}}", name, re.ASCII):
                problem = f"expected at most {LONGEST_PLACE} letters, digits, dots and dashes, found {shown(name)}"
                refuse(f"{where}.planet.{at}.name", problem)
        path, repeat = ("repeat", plan.repeat) if grid.repeat is None else (f"{where}.repeat", grid.repeat)
        if not 1 <= repeat <= MOST_RUNS:
            refuse(path, f"expected 1 to {MOST_RUNS:,}, found {repeat:,}")
        runs += repeat * prod(map(len, given.values()))
    if runs > MOST_RUNS:
        refuse("grid", f"expected at most {MOST_RUNS:,} runs in all, found {runs:,}")
    return plan


def _spelt_out(grid: Any) -> Any:
    """A grid with its orderings as a list (`all` alone is one) and its places as `Place` is built (so is a planet)."""
    if not isinstance(grid, dict):
        return grid
    if isinstance(names := grid.get("ordering"), str):
        grid = grid | {"ordering": [names]}
    if isinstance(places := grid.get("planet"), list):
        grid = grid | {"planet": [{"planet": place} if isinstance(place, str) else place for place in places]}
    return grid


def _grids(plan: Plan) -> list[tuple[str, Grid]]:
    """The grids, and where each of them stands in the file."""
    return [("grid" if len(plan.grid) == 1 else f"grid.{at}", grid) for at, grid in enumerate(plan.grid)]


def _scenario_of(plan: Plan, path: Path) -> Scenario:
    """The scenario that the grids vary."""
    file = str(path)
    start = load(find("scenario", plan.scenario, SCENARIOS, path.parent, file=file, path="scenario"))
    named = ",".join(dict.fromkeys(name for grid in plan.grid for name in grid.ordering or ()))
    several = named if asks_for_several(named) else None  # options of an ordering must say then whose they are
    in_turn = sorted(plan.set, key=lambda path: (path != "planet", path.count(".")))  # a planet takes its regions along
    assignments = [f"{path}={in_one_line(plan.set[path])}" for path in in_turn]
    with _said_in(file):
        scenario = override(start, assignments, ordering=several, seed=plan.seed)
        check_names(scenario, {**PLACES, "workload": WORKLOADS})
    return scenario


def _runs(plan: Plan, start: Scenario, file: str) -> Iterator[tuple[Planned, str, str]]:
    """The runs in order, each with what its place is called and with its digest; each of them once."""
    points = list(_points(plan, start, file))
    seen = set()
    for repeat in range(max(repeats for _, repeats, _ in points)):
        for first, repeats, place in points:
            if repeat < repeats:
                settings = replace(first.settings, seed=seed_text(first.scenario.seed, repeat))
                planned = replace(first, settings=settings, repeat=repeat if repeats > 1 else None)
                if (digest := digest_of(planned)) not in seen:
                    seen.add(digest)
                    yield planned, place, digest


def _points(plan: Plan, start: Scenario, file: str) -> Iterator[tuple[Planned, int, str]]:
    """For each point of each grid its first run, how often it is repeated, and what its place is called."""
    own = start.stack.ordering.name
    for where, grid in _grids(plan):
        with _said_in(file, where):
            chosen = orderings(",".join(grid.ordering), ORDERINGS) if grid.ordering else [(own, None)]
        axes = [getattr(grid, axis) or (None,) for axis in AXES if axis != "ordering"]
        for world, place, peers, loss, gap_ms, size_bytes in product(*axes):
            workload = {"gap_ms": gap_ms and list(gap_ms), "size_bytes": size_bytes}
            assignments = [f"workload.{name}={in_one_line(value)}" for name, value in workload.items() if value]
            for name, variant in chosen:
                with _said_in(file, where):
                    scenario = override(
                        start,
                        assignments,
                        ordering=f"{name}:{variant}" if variant else name,
                        peers=peers,
                        planet=place and place.planet,
                        regions=place and place.regions,
                        loss=loss,
                    )
                    settings = resolve(scenario, name, variant, seed_text(scenario.seed), world or "sim")
                    promised(settings)  # a stack that does not fit together is refused
                variant = settings.stack.ordering.options.get("variant")
                planned = Planned(scenario, name, variant, None, world or "sim", settings)
                yield planned, grid.repeat or plan.repeat, _place_name(place, scenario)


@contextmanager
def _said_in(file: str, grid: str = "") -> Iterator[None]:
    """Problems are told with the place in the plan that says what a command line would say by an option."""
    try:
        yield
    except SettingsError as error:
        if grid and error.path in AXIS_OF:
            path = f"{grid}.{AXIS_OF[error.path]}"
        else:
            path = error.path.replace("--set ", "set.").replace("--seed", "seed") or grid
        raise SettingsError(error.problem, file=file, path=path) from None


def _row(planned: Planned) -> dict[str, Any]:
    """A run in plan.json: its name, and where on the grid it lies, in the words of the frame of runs."""
    scenario, settings = planned.scenario, planned.settings
    shortest, longest = scenario.workload.gap_ms
    return {
        "run": planned.name,
        "digest": planned.name.rpartition("-")[2],
        "title": f"{planned.ordering}:{planned.variant}" if planned.variant else planned.ordering,
        "ordering": planned.ordering,
        "variant": planned.variant or "",
        "world": planned.world,
        "scenario": scenario.name,
        "planet": scenario.planet,
        "regions": ",".join(dict.fromkeys(settings.regions)),
        "places": ",".join(settings.regions),
        "peers": scenario.peers,
        "messages": scenario.workload.messages,
        "workload": scenario.workload.kind,
        "gap_min_ms": shortest,
        "gap_max_ms": longest,
        "size_bytes": scenario.workload.size_bytes,
        "loss": scenario.network.loss,
        "duplicate": scenario.network.duplicate,
        "reorder": scenario.network.reorder,
        "jitter_ms": scenario.network.jitter_ms,
        "seed": scenario.seed,
        "repeat": planned.repeat or 0,
        "chance": settings.seed,
    }


def digest_of(planned: Planned) -> str:
    """Of the world and the resolved settings of a run: two runs that are alike in these are one."""
    text = planned.world + to_json(planned.settings)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _named(runs: list[tuple[Planned, str, str]]) -> list[Planned]:
    """Each run under the name of its folder: its ordering, then what differs within the plan, then its digest."""
    labels = [_labels(planned, place) for planned, place, _ in runs]
    differing = [axis for axis in labels[0] if axis == "ordering" or len({each[axis] for each in labels}) > 1]
    return [
        replace(planned, name="-".join([*filter(None, map(label.get, differing)), digest]))
        for (planned, _, digest), label in zip(runs, labels)
    ]


def _labels(planned: Planned, place: str) -> dict[str, str]:
    scenario = planned.scenario
    shortest, longest = scenario.workload.gap_ms
    return {
        "ordering": f"{planned.ordering}-{planned.variant}" if planned.variant else planned.ordering,
        "world": planned.world,
        "place": place,
        "peers": f"{scenario.peers}p",
        "loss": f"loss{scenario.network.loss:g}",
        "gap_ms": f"gap{shortest:g}-{longest:g}",
        "size_bytes": f"{scenario.workload.size_bytes}b",
        "repeat": "" if planned.repeat is None else f"r{planned.repeat}",
    }


def _place_name(place: Place | None, scenario: Scenario) -> str:
    if place is not None and place.name:
        return place.name
    planet, regions = Path(scenario.planet).stem, "+".join(scenario.regions)
    if len(regions) > LONGEST_PLACE:
        regions = f"{planet}-{len(scenario.regions)}"
    return re.sub(r"[^\w.+-]", "_", regions or planet, flags=re.ASCII)[:LONGEST_PLACE]

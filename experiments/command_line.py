"""The command line that plays one run again: what differs from a standard scenario, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from experiments.scenario import OPTIONS, Scenario, as_written, load, scenario_names
from experiments.yaml_files import in_one_line
from peer.core.settings import RunSettings

PLAINEST = "lan"  # what every other standard scenario is a change of
GROUPS = ("stack", "workload", "network", "window", "deadlines")  # whose settings are said one by one
OF_THE_RUN = ("stack.ordering", "ordering_options")  # said as the run has them: of its ordering alone


def command_of(scenario: Scenario, settings: RunSettings, world: str, repeat: int = 0) -> str:
    """What plays the run with these settings again: it needs no file, but that of a planet that is somebody's own."""
    start = scenario.name if scenario.name in scenario_names() else PLAINEST
    options, assignments = _changes(_standard(start), as_written(scenario))
    ordering = settings.stack.ordering
    variant = ordering.options.get("variant")
    options["--ordering"] = f"{ordering.name}:{variant}" if variant else ordering.name
    for option, value in ordering.options.items():
        if option != "variant":
            assignments[f"ordering_options.{ordering.name}.{option}"] = value
    on_hosts = world in ("cloud", "rehearsal")
    words = ["cloud", start, "--rehearsal"] if world == "rehearsal" else [world, start]
    for option in OPTIONS.values():
        if option in options:
            words += [option, options[option]]
    for path, value in assignments.items():
        words += ["--set", f"{path}={in_one_line(value)}"]
    if repeat:
        words += ["--repeat", str(repeat + 1)] if on_hosts else ["--repetition", str(repeat)]
    return shlex.join(["python", "-m", "experiments", *words])


@lru_cache
def _standard(name: str) -> dict[str, Any]:
    return as_written(load(name))


def _changes(start: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """What makes one scenario of another: options of the command line, and what it has no option for by its path."""
    if wanted["planet"] != start["planet"]:
        start = {**start, "regions": []}  # as it is when another planet is asked for
    options, assignments = {}, {}
    for path, value in _differing(start, wanted):
        if path == "regions" and isinstance(value, list):
            options["--regions"] = ",".join(value)
        elif path in OPTIONS and path != "regions":
            options[OPTIONS[path]] = str(value)
        elif path not in OF_THE_RUN:
            assignments[path] = value
    return options, assignments


def _differing(start: Mapping[str, Any], wanted: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        if not above and key in GROUPS:
            yield from _differing(start[key], value, f"{key}.")
        elif value != start[key]:
            yield above + key, value

"""The command `bench`: what the lab costs in time and packets, measured, never asserted in a test."""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig
import timeit
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from analysis.tables import show
from experiments.bench.row import LESS_IS_BETTER, Lacking, Row
from peer.core.errors import SettingsError

# name -> the module whose `run` measures it; imported when asked for
BENCHES: Mapping[str, str] = {
    "throughput": "experiments.bench.throughput",
    "latency": "experiments.bench.latency",
    "zeromq": "experiments.bench.zeromq",
    "verdict": "experiments.bench.to_the_verdict",
    "packets": "experiments.bench.packets",
    "deploy": "experiments.bench.deploying",
    "simulator": "experiments.bench.simulating",
    "explorer": "experiments.bench.exploring",
    "judge": "experiments.bench.judging",
    "reporting": "experiments.bench.reporting",
}

LOOP = 5_000_000  # additions, whose time says how quick the machine is


def bench(
    name: Annotated[str, typer.Argument(help="one of " + ", ".join(BENCHES) + "; all unless told")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> int:
    """Measure. Machines are noisy: the figures are medians, and ratios hold better than absolute values.

    Some figures have a floor; the ratio says how many times as good as that they are.

    Example: python -m experiments bench throughput
    """
    if name != "all" and name not in BENCHES:
        raise SettingsError(f"unknown benchmark {name!r}; known are all, {', '.join(BENCHES)}")
    machine = {"python": python(), "cores": cores(), "loop_s": loop_s()}
    if not as_json:
        print("{python}, {cores} cores; a loop of {loop:,} additions takes {loop_s:.2f} s".format(loop=LOOP, **machine))
    measured: dict[str, list[Row]] = {}
    with Console(stderr=True).status("") as status:
        for each in BENCHES if name == "all" else [name]:
            status.update(each)
            run = import_module(BENCHES[each]).run
            try:
                measured[each] = run(lambda what, each=each: status.update(f"{each}: {what}"))
            except Lacking as lacking:
                print(f"{each}: {lacking}", file=sys.stderr)
                continue
            if not as_json:
                show(_table(each, measured[each]))
    if as_json:
        benches = {each: [row.as_dict() for row in rows] for each, rows in measured.items()}
        print(json.dumps({**machine, "benches": benches}))
    return 0


def python() -> str:
    """Which Python measured, and whether it says that it was built with a profile, which makes a tenth to a fifth."""
    said = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    version = f"{platform.python_implementation()} {platform.python_version()} ({platform.python_build()[1]})"
    return f"{version}, built {'with' if said else 'without'} --enable-optimizations"


def loop_s() -> float:
    """How quick this machine is at the moment: shared ones are not always the same."""
    return min(timeit.repeat("for number in range(LOOP): total += number", "total = 0", number=1, globals=globals()))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _table(name: str, rows: list[Row]) -> Table:
    table = Table(title=name, title_justify="left")
    table.add_column("what")
    for column in ("median", "floor", "ratio"):
        table.add_column(column, justify="right")
        if column == "median":
            table.add_column("unit")
    for row in rows:
        table.add_row(row.name, _figure(row.value), row.unit, _floor(row), f"{row.ratio:.2f}" if row.floor else "")
    return table


def _floor(row: Row) -> str:
    if row.floor is None:
        return ""
    return ("at most " if row.unit in LESS_IS_BETTER else "") + _figure(row.floor)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

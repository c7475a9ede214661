"""The command `bench`: what the lab costs in time and packets, measured, never asserted in a test."""

from __future__ import annotations

import json
import platform
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.table import Table

from analysis.tables import show
from peer.core.errors import SettingsError

Rows = list[dict[str, Any]]

# name -> the module whose `run` measures it; imported when asked for
BENCHES: Mapping[str, str] = {
    "throughput": "experiments.bench.throughput",
    "latency": "experiments.bench.latency",
    "packets": "experiments.bench.packets",
    "simulator": "experiments.bench.simulating",
    "explorer": "experiments.bench.exploring",
    "judge": "experiments.bench.judging",
}


def bench(
    name: Annotated[str, typer.Argument(help="one of " + ", ".join(BENCHES) + "; all unless told")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> int:
    """Measure. Machines are noisy: the figures are medians, and ratios hold better than absolute values.

    Example: python -m experiments bench throughput
    """
    if name != "all" and name not in BENCHES:
        raise SettingsError(f"unknown benchmark {name!r}; known are all, {', '.join(BENCHES)}")
    measured = {}
    for each, run in _chosen(name):
        measured[each] = run()
        if not as_json:
            show(_table(each, measured[each]))
    if as_json:
        print(json.dumps({"python": python(), "benches": measured}))
    return 0


def python() -> str:
    """Which Python measured; one built with a profile is a fifth faster than one without."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{platform.python_implementation()} {platform.python_version()}{' with' if optimised else ' without'} PGO"


def _chosen(name: str) -> Iterator[tuple[str, Callable[[], Rows]]]:
    for each, module in BENCHES.items():
        if name in ("all", each):
            yield each, import_module(module).run


def _table(name: str, rows: Rows) -> Table:
    table = Table(title=f"{name} ({python()})", title_justify="left")
    table.add_column("what")
    table.add_column("median", justify="right")
    table.add_column("unit")
    for row in rows:
        value = row["value"]
        table.add_row(row["name"], f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}", row["unit"])
    return table

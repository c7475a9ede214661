"""How many steps a second the simulator takes, with the whole stack."""

from __future__ import annotations

import gc
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

from experiments.scenario import load, override, resolve
from experiments.simulator.world import simulate

TIMES = 5


def run() -> list[dict[str, Any]]:
    """Steps a second at 4 and at 64 peers, each variant of the all-ack ordering at 4."""
    rows = [_row("explicit", 4, 400), _row("promise", 4, 400), _row("textbook", 4, 400), _row("explicit", 64, 3)]
    return rows


def _row(variant: str, peers: int, messages: int) -> dict[str, Any]:
    scenario = override(load("wan-3-sites"), peers=peers, messages=messages)
    settings = replace(resolve(scenario, "lamport_all_ack", variant, "1", "sim"))
    rates = []
    for _ in range(TIMES):
        gc.collect()
        gc.freeze()
        began = perf_counter()
        done = simulate(settings, run_id="0" * 16, agreement=True)
        rates.append(done.turns / (perf_counter() - began))
        assert done.coordinator.complete
    name = f"simulator steps a second, {peers} peers, lamport_all_ack:{variant}, {done.turns} steps"
    return {"name": name, "value": median(rates), "unit": "1/s"}

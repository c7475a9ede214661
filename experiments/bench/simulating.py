"""How many steps a second the simulator takes, with the whole stack."""

from __future__ import annotations

import gc
from statistics import median
from time import perf_counter

from experiments.bench.row import Row, Say
from experiments.scenario import load, override, resolve
from experiments.simulator.world import simulate

TIMES = 3
CASES = {
    # variant, peers, messages of each: floor
    ("explicit", 4, 400): 220_000,
    ("promise", 4, 400): None,
    ("textbook", 4, 400): None,
    ("explicit", 64, 2): 150_000,
}


def run(say: Say) -> list[Row]:
    """Steps a second at 4 and at 64 peers, each variant of the all-ack ordering at 4."""
    rates: dict[tuple[str, int, int], list[float]] = {case: [] for case in CASES}
    for _ in range(TIMES):
        for case in CASES:
            say(f"{case[1]} peers, {case[0]}")
            rates[case].append(_steps_a_second(*case))
    return [
        Row(f"{peers} peers, lamport_all_ack:{variant}", median(rates[variant, peers, messages]), "steps/s", floor)
        for (variant, peers, messages), floor in CASES.items()
    ]


def _steps_a_second(variant: str, peers: int, messages: int) -> float:
    scenario = override(load("wan-3-sites"), peers=peers, messages=messages)
    settings = resolve(scenario, "lamport_all_ack", variant, "1", "sim")
    gc.collect()
    began = perf_counter()
    done = simulate(settings, run_id="0" * 16, agreement=True)
    assert done.coordinator.complete
    return done.turns / (perf_counter() - began)

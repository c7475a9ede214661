"""What every ordering puts on the network for each message delivered anywhere; simulated, so exact."""

from __future__ import annotations

from experiments.bench.row import Row, Say
from experiments.scenario import load, override, resolve
from experiments.simulator.world import simulate
from peer.stacks import ORDERINGS, promised


def run(say: Say) -> list[Row]:
    """Datagrams and bytes per delivery at a low rate and in a burst, 6 peers at 3 sites."""
    rows = []
    for kind, messages in (("steady", 50), ("burst", 2000)):
        scenario = override(load("wan-3-sites"), [f"workload={{kind: {kind}, messages: {messages}}}"], peers=6)
        for ordering, cls in ORDERINGS.items():
            for variant in cls.variants:
                say(f"{kind}, {ordering}:{variant}")
                settings = resolve(scenario, ordering, variant, "1", "sim")
                done = simulate(settings, run_id="0" * 16, agreement="agreement" in promised(settings))
                assert done.coordinator.complete
                deliveries = messages * len(settings.members) ** 2
                for what in ("datagrams_sent", "bytes_sent"):
                    value = sum(measures[what] for measures in done.measures) / deliveries
                    unit = what.removesuffix("_sent") + " per delivery"
                    rows.append(Row(f"{kind}, {ordering}:{variant}", value, unit))
    return rows

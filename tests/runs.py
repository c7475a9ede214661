"""Small runs for tests: their settings, playing them in virtual time, and what the judge says of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from comparison_server.evidence import Evidence, PeerLog, Sends, message_ids
from comparison_server.verdict import Verdict, judge
from experiments.scenario import load, override, resolve
from experiments.simulator.world import Simulated, simulate
from peer.core.settings import DeadlineSettings, LayerSettings, RunSettings
from peer.core.trace import DELIVERED, DELIVERY_RECORD, MAGIC, SEAL, SEND_RECORD
from peer.stacks import ORDERINGS, promised

# Every ordering in every variant, as pytest parameters.
ORDERINGS_AND_VARIANTS = [(name, variant) for name, ordering in ORDERINGS.items() for variant in ordering.variants]
NAMED = {"argvalues": ORDERINGS_AND_VARIANTS, "ids": [f"{name}-{variant}" for name, variant in ORDERINGS_AND_VARIANTS]}


def run_settings(
    ordering: str = "lamport_all_ack",
    variant: str | None = None,
    *,
    peers: int = 3,
    messages: int = 20,
    workload: str = "steady",
    delay_s: float = 0.02,
    seed: int = 1,
    link: dict[str, Any] | None = None,
    link_name: str = "ack_resend",
    allow_unmet: bool = False,
    trace: str = "deliveries",
    size_bytes: int = 64,
    gap_ms: tuple[float, float] = (10.0, 99.0),
    deadlines: DeadlineSettings | None = None,
    **network: Any,
) -> RunSettings:
    """A run as peers are told it: every pair another delay, `network` as in NetworkSettings."""
    scenario = override(load("lan"), ["window.blocks=16"], peers=peers, messages=messages, seed=seed, trace=trace)
    run = resolve(scenario, ordering, variant, str(seed), "sim")
    given = run.stack.link.options if link_name == "ack_resend" else {}
    apart = [[0.0 if a == b else delay_s * (1 + (7 * a + 3 * b) % 5 / 10) for b in range(peers)] for a in range(peers)]
    return replace(
        run,
        stack=replace(run.stack, link=LayerSettings(link_name, given | (link or {})), allow_unmet=allow_unmet),
        workload=replace(run.workload, kind=workload, size_bytes=size_bytes, gap_ms=gap_ms),
        network=replace(run.network, **network),
        deadlines=deadlines or run.deadlines,
        delays_s=tuple(map(tuple, apart)),
    )


def faulty(loss: float) -> dict[str, float]:
    """A network that loses so much, and doubles and holds back packets as well."""
    return {"loss": loss, "duplicate": loss and 0.05, "reorder": 0.1, "jitter_ms": 5.0}


@dataclass
class Played:
    """A run that was simulated."""

    run: RunSettings
    simulated: Simulated

    @property
    def coordinator(self) -> Any:
        return self.simulated.coordinator

    @cached_property
    def evidence(self) -> Evidence:
        return evidence_of(self.simulated)

    @cached_property
    def verdict(self) -> Verdict:
        return judge(self.evidence, promised(self.run))

    def assert_flawless(self) -> None:
        """It came to its end, everybody delivered everything, and every promise was kept."""
        assert self.coordinator.error is None and self.coordinator.complete, self.coordinator.error
        assert self.verdict.violated() == [], self.verdict.findings
        total = len(self.run.members) * self.run.workload.messages
        assert [len(log.ids) for log in self.evidence.logs] == [total] * len(self.run.members)
        assert self.verdict.complete is True

    def caught(self) -> set[str]:
        """What gives this run away: promised properties that do not hold, and the phase that ran out of time."""
        error = self.coordinator.error
        assert error is None or "did not end in time" in str(error) or "deadline passed" in str(error), error
        return set(self.verdict.violated()) | ({error.phase} if error else set())


def play(run: RunSettings) -> Played:
    """Simulates a run to its end."""
    return Played(run, simulate(run, run_id="test", agreement="agreement" in promised(run)))


def records(file: bytes, record: struct.Struct) -> list[tuple]:
    """The records of a trace file, between its header and its seal."""
    assert file.startswith(MAGIC)
    rows = list(record.iter_unpack(file[file.index(b"\n", len(MAGIC)) + 1 :]))
    assert rows and rows[-1][0] == SEAL and rows[-1][4] == len(rows) - 1, "not sealed"
    return rows[:-1]


def evidence_of(simulated: Simulated) -> Evidence:
    """The logs of a simulated run, as the judge wants them."""
    logs = []
    for peer, (trace, sends) in enumerate(zip(simulated.traces, simulated.sends)):
        ids = [
            message_ids(sender, np.arange(first, first + count))
            for kind, sender, first, count, _, _ in records(trace, DELIVERY_RECORD)
            if kind == DELIVERED
        ]
        asked = [(first, count, after) for _, first, count, _, after, _ in records(sends, SEND_RECORD)]
        numbers = [number for first, count, _ in asked for number in range(first, first + count)]
        after = [after for _, count, after in asked for _ in range(count)]
        all_ids = np.concatenate(ids) if ids else np.empty(0, np.uint64)
        logs.append(PeerLog(f"p{peer}", all_ids, peer, Sends(numbers, after)))
    return Evidence(logs, [log.label for log in logs])

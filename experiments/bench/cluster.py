"""Runs for benchmarks: played by real processes on loopback, measured from their own logs."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from comparison_server.run_folder import load_run
from experiments.local import LocalCluster
from experiments.scenario import load, override, resolve
from peer.core.errors import RunError
from peer.core.settings import RunSettings
from peer.stacks import promised

COUNTING_PEER = "experiments.bench.counting_peer"


@dataclass(frozen=True)
class Timed:
    """What the logs of one run say about time; shared clock, seconds."""

    deliveries: int  # at each peer
    took_s: float  # from the first multicast to the last delivery anywhere
    own_s: np.ndarray  # latencies at the sender itself
    across_s: np.ndarray  # latencies at the others
    measures: dict


def loopback(ordering: str, variant: str | None, peers: int, *assignments: str) -> RunSettings:
    """A run over plain loopback, nothing emulated but the loss that is asked for."""
    settings = resolve(override(load("lan"), assignments, peers=peers), ordering, variant, "1", "local")
    return replace(settings, delays_s=((0.0,) * peers,) * peers if settings.network.loss else None)


def pin(cluster: LocalCluster) -> None:
    """Each peer to a processor of its own, as far as there are enough, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        for place, name in enumerate(cluster.names):
            os.sched_setaffinity(cluster.pids[name], {processors[place % len(processors)]})


def timed(cluster: LocalCluster, settings: RunSettings) -> Timed:
    """Play a run and read the times from its logs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        outcome = cluster.run(settings, "agreement" in promised(settings), {}, Path(folder))
        if outcome.error is not None:
            raise outcome.error
        if not outcome.complete:
            raise RunError("drain", [], "the run of the benchmark is not complete")
        logs = load_run(folder, times=True).logs
        asked = [log.sends.times_s + log.zero_s for log in logs]
        own, across = [], []
        for log in logs:
            senders, numbers = log.ids >> np.uint64(32), (log.ids & np.uint64(0xFFFFFFFF)).astype(np.int64)
            delivered = log.times_s + log.zero_s
            for sender, times in enumerate(asked):
                mine = senders == sender
                (own if sender == log.sender else across).append(delivered[mine] - times[numbers[mine]])
        first = min(times.min() for times in asked)
        last = max((log.times_s + log.zero_s).max() for log in logs)
        return Timed(len(logs[0].ids), last - first, np.concatenate(own), np.concatenate(across), outcome.measures)

"""Totally ordered messages a second at each of 4 peers, all of them flooding, one callback a message."""

from __future__ import annotations

from statistics import median
from typing import Any

from experiments.bench.cluster import COUNTING_PEER, loopback, timed
from experiments.local import LocalCluster
from peer.stacks import ORDERINGS

PEERS = 4
TIMES = 3
MESSAGES = {64: 300_000, 1024: 40_000}  # of each peer, by size


def run() -> list[dict[str, Any]]:
    """Every variant of the all-ack ordering and the sequencer, small and large messages, loopback's large datagrams."""
    rows = []
    with LocalCluster(PEERS, peer_module=COUNTING_PEER) as cluster:
        for size, messages in MESSAGES.items():
            for ordering in ("lamport_all_ack", "fixed_sequencer"):
                for variant in ORDERINGS[ordering].variants:
                    workload = f"workload={{kind: burst, messages: {messages}, size_bytes: {size}}}"
                    settings = loopback(ordering, variant, PEERS, workload)
                    runs = [timed(cluster, settings) for _ in range(TIMES)]
                    rate = median(each.deliveries / each.took_s for each in runs)
                    rows.append({"name": f"{size} B, {ordering}:{variant}", "value": rate, "unit": "messages/s"})
    return rows

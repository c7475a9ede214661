"""How long a message takes while nothing else is going on, on loopback."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.bench.cluster import loopback, timed
from experiments.local import LocalCluster
from peer.stacks import ORDERINGS

PEERS = 4
MESSAGES = 150  # of each peer, one in the group at a time


def run() -> list[dict[str, Any]]:
    """p50 and p99 from the multicast to the delivery at the others, for every ordering and variant."""
    rows = []
    with LocalCluster(PEERS) as cluster:
        for ordering, cls in ORDERINGS.items():
            for variant in cls.variants:
                workload = f"workload={{kind: single, messages: {MESSAGES}, gap_ms: [2, 4]}}"
                result = timed(cluster, loopback(ordering, variant, PEERS, workload))
                for share in (50, 99):
                    value = float(np.percentile(result.across_s, share)) * 1e6
                    rows.append({"name": f"p{share}, {ordering}:{variant}", "value": value, "unit": "us"})
    return rows

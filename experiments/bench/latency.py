"""How long a message takes on loopback, one in the group at a time.

Without a pause the next one is multicast as soon as its sender delivered the one before;
with a pause everybody has fallen asleep in between, and waking up is measured too.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from experiments.bench.cluster import loopback, timed
from experiments.local import LocalCluster
from peer.stacks import ORDERINGS

PEERS = 4
MESSAGES = 500  # of each peer
PAUSES_MS = (0, 3)


def run() -> list[dict[str, Any]]:
    """p50 and p99 from the multicast to the delivery at the others, for every ordering and variant."""
    rows = []
    with LocalCluster(PEERS) as cluster:
        for pause, (ordering, cls) in product(PAUSES_MS, ORDERINGS.items()):
            for variant in cls.variants:
                workload = f"workload={{kind: single, messages: {MESSAGES}, gap_ms: [{pause}, {pause}]}}"
                result = timed(cluster, loopback(ordering, variant, PEERS, workload))
                for share in (50, 99):
                    value = float(np.percentile(result.across_s, share)) * 1e6
                    name = f"p{share}, {ordering}:{variant}" + (f", after {pause} ms of silence" if pause else "")
                    rows.append({"name": name, "value": value, "unit": "us"})
    return rows

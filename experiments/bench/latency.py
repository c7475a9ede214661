"""How long a message takes on loopback, one in the group at a time, each peer pinned to a processor.

Without a pause the next one is multicast as soon as its sender delivered the one before;
with a pause everybody has fallen asleep in between, and waking up is measured too.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from experiments.bench.cluster import loopback, pin, timed
from experiments.bench.row import Row, Say
from experiments.local import LocalCluster
from peer.stacks import ORDERINGS

PEERS = 4
PAUSES_MS = {0: (3, 500), 3: (1, 150)}  # pause -> how often, messages of each peer
SHARES = (50, 99)
FLOORS_US = {("lamport_all_ack", "explicit", 0, 50): 150.0, ("lamport_all_ack", "promise", 0, 50): 150.0}


def run(say: Say) -> list[Row]:
    """p50 and p99 from the multicast to the delivery at the others, for every ordering and variant."""
    rows = []
    with LocalCluster(PEERS) as cluster:
        pin(cluster)
        for pause, (times, messages) in PAUSES_MS.items():
            workload = f"workload={{kind: single, messages: {messages}, gap_ms: [{pause}, {pause}]}}"
            kinds = [(name, variant) for name, ordering in ORDERINGS.items() for variant in ordering.variants]
            found: dict[tuple, list[float]] = {(*kind, share): [] for kind in kinds for share in SHARES}
            for _ in range(times):
                for kind in kinds:
                    say(f"{':'.join(kind)}, {pause} ms of silence")
                    across_s = timed(cluster, loopback(*kind, PEERS, workload)).across_s
                    for share in SHARES:
                        found[(*kind, share)].append(float(np.percentile(across_s, share)) * 1e6)
            for (ordering, variant, share), values in found.items():
                name = f"p{share}, {ordering}:{variant}" + (f", after {pause} ms of silence" if pause else "")
                rows.append(Row(name, median(values), "us", FLOORS_US.get((ordering, variant, pause, share))))
    return rows

"""Ordered messages a second at each of 4 peers, all of them flooding, with keys, one callback a message."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from experiments.bench.cluster import COUNTING_PEER, loopback, timed
from experiments.bench.row import Row, Say
from experiments.local import LocalCluster
from peer.stacks import ORDERINGS

PEERS = 4
TIMES = 3
MTU = "network.datagram_bytes=1372"  # else datagrams are as large as loopback takes them


@dataclass(frozen=True)
class Case:
    """What floods."""

    name: str
    ordering: str
    variant: str
    messages: int = 300_000  # of each peer
    size_bytes: int = 64
    floor: float | None = None
    more: tuple[str, ...] = ()


LOSSLESS = Case("64 B", "lamport_all_ack", "explicit", floor=600_000)
LOSSY = Case(
    "64 B, 5 % loss (floor: half of without)", "lamport_all_ack", "explicit", 600_000, more=("network.loss=0.05",)
)
CASES = [
    LOSSLESS,
    LOSSY,
    Case("64 B, datagrams of 1372 B", "lamport_all_ack", "explicit", floor=400_000, more=(MTU,)),
    Case("64 B", "lamport_all_ack", "promise", floor=800_000),
    Case("64 B, datagrams of 1372 B", "lamport_all_ack", "promise", floor=500_000, more=(MTU,)),
    Case("64 B", "lamport_all_ack", "textbook"),
    *(Case("64 B", "fixed_sequencer", variant) for variant in ORDERINGS["fixed_sequencer"].variants),
    Case("1 KiB", "lamport_all_ack", "explicit", 60_000, 1024, 200_000),
    Case("1 KiB", "lamport_all_ack", "promise", 60_000, 1024),
    Case("64 B, blocks of one", "lamport_all_ack", "explicit", 30_000, floor=60_000, more=("window.block_bytes=64",)),
]


def run(say: Say) -> list[Row]:
    """The cases take turns, so that a slow minute of the machine strikes all of them."""
    rates: dict[Case, list[float]] = {case: [] for case in CASES}
    with LocalCluster(PEERS, peer_module=COUNTING_PEER) as cluster:
        for time in range(TIMES):
            for case in CASES:
                say(f"{time + 1} of {TIMES}: {case.name}, {case.ordering}:{case.variant}")
                rates[case].append(flood(cluster, case))
    rows = {
        case: Row(f"{case.name}, {case.ordering}:{case.variant}", median(rates[case]), "messages/s", case.floor)
        for case in CASES
    }
    rows[LOSSY].floor = rows[LOSSLESS].value / 2
    return list(rows.values())


def flood(cluster: LocalCluster, case: Case) -> float:
    """Deliveries a second at each peer in one run."""
    workload = f"workload={{kind: burst, messages: {case.messages}, size_bytes: {case.size_bytes}}}"
    result = timed(cluster, loopback(case.ordering, case.variant, PEERS, workload, *case.more))
    return result.deliveries / result.took_s

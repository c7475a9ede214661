"""How many states a second the explorer looks at, where it looks at all of them and where it is cut off.

States are those between turns; each search runs in a process of its own, so that its peak of memory is its own too.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from experiments.bench.memory import peak_mb
from experiments.bench.row import Row, Say
from experiments.explorer.search import explore

REPEAT = 3
SEARCHES = [
    # ordering, variant, links, peers, messages of each, states at most
    ("lamport_all_ack", "explicit", "fifo", 3, 1, 2_000_000),
    ("lamport_all_ack", "textbook", "fifo", 3, 1, 2_000_000),
    ("lamport_all_ack", "promise", "fifo", 3, 2, 1_000_000),
    ("fixed_sequencer", "ub", "fifo", 3, 2, 2_000_000),
    ("fifo", "plain", "reliable", 3, 2, 2_000_000),
]


def run(say: Say) -> list[Row]:
    """States, states a second and memory."""
    rows = []
    for number, (ordering, variant, network, peers, messages, most) in enumerate(SEARCHES):
        name = f"{ordering}:{variant} over {network} links, {peers} peers x {messages}"
        say(name)
        measured = [_measure_apart(number) for _ in range(REPEAT)]
        states, _, exhausted, peak_mb = measured[0]
        rate = statistics.median(states / seconds for states, seconds, _, _ in measured)
        rows += [
            Row(f"{name}: {'all' if exhausted else 'the first'} states", states, "states"),
            Row(f"{name}: rate", rate, "states/s"),
            Row(f"{name}: peak memory", peak_mb, "MB"),
        ]
    return rows


def _measure_apart(number: int) -> list:
    command = [sys.executable, "-m", __spec__.name, str(number)]
    root = Path(__file__).parents[2]
    return json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=300).stdout)


def _main(number: int) -> None:
    begin = time.perf_counter()
    explored = explore(*SEARCHES[number])
    seconds = time.perf_counter() - begin
    assert explored.violation is None, explored.violation
    print(json.dumps([explored.states, seconds, explored.exhausted, peak_mb()]))


if __name__ == "__main__":
    _main(int(sys.argv[1]))

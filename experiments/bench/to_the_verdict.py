"""How long a person waits from the command to the verdict: 4 peers x 1,000 messages without gaps, played here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from experiments.bench.row import Row, Say

TIMES = 5
COMMAND = ["local", "lan", "--peers", "4", "--messages", "1000", "--set", "workload.gap_ms=[0,0]"]


def run(say: Say) -> list[Row]:
    """The whole command: Python, processes, the run, the logs, the judge."""
    root, took_s = Path(__file__).parents[2], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for time in range(TIMES):
            say(f"{time + 1} of {TIMES}")
            began = perf_counter()
            command = [sys.executable, "-m", "experiments", *COMMAND, "--ordering", "lamport_all_ack", "--out", folder]
            subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
            took_s.append(perf_counter() - began)
    return [Row("from command to verdict, 4 peers x 1,000 without gaps", median(took_s), "s", 2.5)]

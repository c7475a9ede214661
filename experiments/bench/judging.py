"""How long it takes to judge sixteen logs of a million deliveries each, equal and with two in a hundred displaced."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from comparison_server.evidence import Evidence, PeerLog
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES
from comparison_server.rounds import compare
from comparison_server.run_folder import load_run
from experiments.bench.logs import write_logs
from experiments.bench.memory import peak_mb
from experiments.bench.row import Row, Say

PEERS = 16
DELIVERIES = 1_000_000
TIMES = 3
KINDS = {"equal": 0.0, "2 % displaced": 0.02}
FLOORS = {
    # what: seconds, and seconds where all logs are equal, and megabytes
    "rounds from ids": (0.3, 0.3, 250.0),
    "rounds from a run folder": (1.5, 1.5, None),
    "all properties": (5.0, 1.0, 1000.0),
}


def run(say: Say) -> list[Row]:
    """Seconds and memory, from ids that are there as arrays and from the files of a run."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for kind, displaced in KINDS.items():
            say(f"{kind}: writing logs")
            write_logs(folder, PEERS, DELIVERIES, displaced)
            for log in load_run(folder).logs:
                np.save(folder / f"ids-{log.label}.npy", log.ids)
            for what, (floor_s, equal_s, floor_mb) in FLOORS.items():
                say(f"{kind}: {what}")
                measured = [_measure_apart(what, folder) for _ in range(TIMES)]
                seconds, peaks = zip(*measured)
                title = f"{what} of {PEERS} x {DELIVERIES:,}, {kind}"
                rows.append(Row(title, median(seconds), "s", floor_s if displaced else equal_s))
                rows.append(Row(f"{title}: peak memory", max(peaks), "MB", floor_mb))
    return rows


def _measure_apart(what: str, folder: Path) -> list[float]:
    """Measures in a process of its own, so that the peak of its memory is its own too."""
    command = [sys.executable, "-m", __spec__.name, what, str(folder)]
    root = Path(__file__).parents[2]
    return json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=300).stdout)


def _ids(folder: Path) -> Evidence:
    """The expanded ids of each log, mapped into memory."""
    return Evidence([PeerLog(str(peer), np.load(folder / f"ids-{peer}.npy", mmap_mode="r")) for peer in range(PEERS)])


def _rounds(evidence: Evidence) -> None:
    compare([(log.ids, log.start) for log in evidence.logs])


def _properties(evidence: Evidence) -> None:
    positions = Positions(evidence)
    for judge in PROPERTIES.values():
        judge(positions)


def _main(what: str, folder: Path) -> None:
    evidence = load_run(folder) if what == "all properties" else None
    begin = time.perf_counter()
    if evidence is not None:
        _properties(evidence)
    else:
        _rounds(_ids(folder) if what == "rounds from ids" else load_run(folder))
    print(json.dumps([time.perf_counter() - begin, peak_mb()]))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))

"""How long it takes to judge sixteen logs of a million deliveries each, equal and with two in a hundred displaced."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from comparison_server.evidence import Evidence, PeerLog, Sends, message_ids
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES
from comparison_server.rounds import compare
from experiments.bench.memory import peak_mb

PEERS = 16
DELIVERIES = 1_000_000
DISPLACED = 0.02
DISTANCE = 20
SEED = 1


def run() -> list[dict]:
    """Rows of name, value and unit."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, displaced in (("equal", 0.0), (f"{DISPLACED:.0%} displaced", DISPLACED)):
            _write_logs(Path(folder), displaced)
            for what in MEASURES:
                seconds, peak_mb = _measure_apart(what, folder)
                name = f"{what} of {PEERS} x {DELIVERIES:,}, {kind}"
                rows.append({"name": name, "value": round(seconds, 4), "unit": "s"})
                rows.append({"name": f"{name}: peak memory", "value": round(peak_mb), "unit": "MB"})
    return rows


def _measure_apart(what: str, folder: str) -> list[float]:
    """Measures in a process of its own, so that the peak of its memory is its own too."""
    command = [sys.executable, "-m", __spec__.name, what, folder]
    root = Path(__file__).parents[2]
    return json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=300).stdout)


def _write_logs(folder: Path, displaced: float) -> None:
    """Everybody multicasts in turn; a displaced message is delivered up to DISTANCE places too early or too late."""
    chance = np.random.default_rng(SEED)
    places = np.arange(DELIVERIES)
    ids = message_ids(places % PEERS, places // PEERS)
    for peer in range(PEERS):
        moved = chance.random(DELIVERIES) < displaced
        keys = places + np.where(moved, chance.integers(-DISTANCE, DISTANCE + 1, DELIVERIES), 0)
        np.save(folder / f"{peer}.npy", ids[np.argsort(keys, kind="stable")])


def _load(folder: str) -> Evidence:
    """The logs mapped into memory; each process had delivered what was multicast a hundred messages before."""
    logs = []
    for peer in range(PEERS):
        ids = np.load(Path(folder) / f"{peer}.npy", mmap_mode="r")
        numbers = np.arange((DELIVERIES - peer + PEERS - 1) // PEERS)
        sends = Sends(numbers, np.maximum(numbers * PEERS + peer - 100, 0))
        logs.append(PeerLog(str(peer), ids, sender=peer, sends=sends))
    return Evidence(logs)


def _rounds(evidence: Evidence) -> None:
    compare([(log.ids, log.start) for log in evidence.logs])


def _properties(evidence: Evidence) -> None:
    positions = Positions(evidence)
    for judge in PROPERTIES.values():
        judge(positions)


MEASURES = {"rounds": _rounds, "all properties": _properties}


def _main(what: str, folder: str) -> None:
    evidence = _load(folder)
    begin = time.perf_counter()
    MEASURES[what](evidence)
    print(json.dumps([time.perf_counter() - begin, peak_mb()]))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""How long it takes to turn sixteen logs of a million deliveries each into tables, a report and other forms."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import analysis
from analysis import exporters, summaries
from analysis.frames import FRAMES, Frames
from analysis.page.page import page
from comparison_server.run_folder import load_run
from comparison_server.verdict import judge
from experiments.bench.judging import DELIVERIES, PEERS
from experiments.bench.logs import write_logs
from experiments.bench.memory import peak_mb
from experiments.bench.row import Row, Say
from experiments.play import totals
from experiments.run_folder import write_scenario
from experiments.scenario import load, override, resolve
from peer.stacks import promised

DISPLACED = 0.02
MEMORY_MB = 2000.0
PAGE_MB = 10.0


def run(say: Say) -> list[Row]:
    """Seconds and memory, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name) / "run"
        say("writing a run")
        write_run(folder, PEERS, DELIVERIES)
        for what, (_, floor_s) in MEASURED.items():
            say(what)
            seconds, megabytes, made_mb = _measure_apart(what, folder)
            title = f"{what} of {PEERS} x {DELIVERIES:,}"
            rows.append(Row(title, seconds, "s", floor_s))
            rows.append(Row(f"{title}: peak memory", megabytes, "MB", MEMORY_MB))
            if made_mb:
                rows.append(Row(f"{title}: size", made_mb, "MB", PAGE_MB if what == REPORT else None))
    return rows


def write_run(folder: Path, peers: int, deliveries: int) -> None:
    """The folder of a run that nobody played: logs of which some messages are displaced, judged, and made-up costs."""
    folder.mkdir(parents=True)
    scenario = override(load("wan-3-sites"), peers=peers, messages=deliveries // peers, ordering="unordered")
    settings = resolve(scenario, "unordered", None, "1", "sim")
    write_scenario(folder, scenario, settings, "sim", "shared")
    write_logs(folder, peers, deliveries, DISPLACED)
    facts = {"ordering": "unordered", "world": "sim", "messages_per_peer": deliveries // peers}
    verdict = judge(load_run(folder), promised(settings), facts).as_dict() | {"error": None, "remarks": []}
    counts = {what: deliveries for what in ("datagrams_sent", "packets_sent", "bytes_sent", "resent", "duplicates")}
    counted = {name: counts for name in settings.members}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    (folder / "measures.json").write_text(json.dumps({"totals": totals(counted, peers * deliveries), "peers": counted}))


def _measure_apart(what: str, folder: Path) -> tuple[float, float, float]:
    """Measures in a process of its own, so that the peak of its memory is its own too."""
    command = [sys.executable, "-m", __spec__.name, what, str(folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=900)
    return tuple(json.loads(done.stdout))


def _tables(lab: Frames) -> int:
    assert len(lab.deliveries)
    return 0


def _summaries(lab: Frames) -> int:
    for summary in ("comparison", "cdf", "region_latencies", "against_bound", "blocked", "gap"):
        getattr(summaries, summary)(lab)
    assert len(lab.rounds)
    return 0


def _page(lab: Frames) -> int:
    return len(page(lab))


def _exported(form: str) -> Callable[[Frames], int]:
    def export(lab: Frames) -> int:
        return sum(len(part) for name in FRAMES for part in exporters.FRAME_FORMS[form](name, lab.stream(name)))

    return export


REPORT = "the report"
# what is measured -> how, which says how many bytes it made, and how many seconds it may take
MEASURED: dict[str, tuple[Callable[[Frames], int], float | None]] = {
    "loading": (_tables, 3.0),
    "summaries": (_summaries, None),
    REPORT: (_page, 30.0),
    "all tables as Parquet": (_exported("parquet"), None),
    "all tables as CSV": (_exported("csv"), None),
}


def _main(what: str, folder: Path) -> None:
    begin = time.perf_counter()
    made = MEASURED[what][0](analysis.load(folder))
    print(json.dumps([time.perf_counter() - begin, peak_mb(), made / 1e6]))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))

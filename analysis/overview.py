"""Many runs in plain text: point by point the orderings side by side, medians over repetitions with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analysis import summaries
from analysis.frames import Frames
from analysis.statistics import LEAST_REPEATS
from analysis.text import heading, in_columns, in_digits

MOST_TOLD = 20  # failed runs
COLUMNS = {  # measure -> its title, its decimals
    "out_of_order_percent": ("out of order, %", 1),
    "own_p50_ms": ("own p50_ms", 3),
    "others_p50_ms": ("others p50_ms", 3),
    "others_p99_ms": ("others p99_ms", 3),
    "bound_ratio": ("times the bound", 2),
    "datagrams_per_delivery": ("datagrams", 2),
}


def overview(frames: Frames) -> Iterator[str]:
    """A section at a time."""
    runs = frames.runs
    yield heading(f"{len(runs)} runs of multicast orderings", "=")
    yield from _not_played(frames)
    table = summaries.comparison(frames)
    for end in ("", "_low", "_high"):
        table[f"out_of_order_percent{end}"] = table[f"out_of_order_share{end}"] * 100
    for (world, point), part in table.groupby(["world", "point"], sort=False):
        titles = ["ordering", "runs", *(title for title, _ in COLUMNS.values()), "promises"]
        yield f"{world}, {point}\n\n{in_columns(titles, map(_row, part.to_dict('records')))}\n"
    if table.empty:
        yield "No run was played to its end, so there is nothing to compare.\n"
        return
    some = next((name for name in frames.names if (frames.path(name) / "scenario.json").is_file()), None)
    yield (
        "Medians over the runs, in brackets where they lie with about 95 % confidence; of fewer than"
        f" {LEAST_REPEATS} repetitions\nthere is no interval, for their range says little. Latencies from the multicast"
        " to the delivery, at the sender's own\nsite and at the others, in the median and at the 99th percentile;"
        " datagrams a delivery. With charts and diagrams, and\neach run: --out FILE.html."
    )
    yield f" One run at length:\npython -m analysis report {frames.path(some)}\n" if some else "\n"


def _not_played(frames: Frames) -> Iterator[str]:
    failed = frames.runs[frames.runs["outcome"].isin(["failed", "unfinished"])]
    if len(failed):
        told = "".join(f"  {row.run}: {row.error}\n" for row in failed.head(MOST_TOLD).itertuples())
        more = f"  and {len(failed) - MOST_TOLD} more\n" if len(failed) > MOST_TOLD else ""
        yield f"{len(failed)} runs did not come to an end\n\n{told}{more}\n"


def _row(row: dict[str, Any]) -> list[str]:
    cells = [row["title"], str(row["repeats"])]
    for measure, (_, decimals) in COLUMNS.items():
        middle, low, high = (in_digits(row[f"{measure}{end}"], decimals) for end in ("", "_low", "_high"))
        cells.append(middle if low == high else f"{middle} ({low} to {high})")
    return [*cells, _promises(row["promised"], row["promised_held"], row["promised_broken"])]


def _promises(promised: int, held: int, broken: int) -> str:
    if broken:
        return f"broken in {broken}"
    if held < promised or not promised:
        return f"{held} of {promised} held, no evidence for {promised - held}" if promised else "not judged"
    return "kept"

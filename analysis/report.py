"""The report of one or several runs in plain text: what ran, who saw what in which order, how long it took, its cost.

    heading, comparison, latency and cost of all runs side by side; then for each run its verdict in words, the logs
    where they part, latencies by regions beside their floors, and how far the emulated network can be trusted
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.text import Text

from analysis import measures
from analysis.load import Peer, Run
from analysis.tables import comparison
from comparison_server.finding import Finding
from comparison_server.rounds import Rounds
from comparison_server.verdict import Verdict, describe

SHOWN_BEFORE, SHOWN_AFTER = 2, 6  # positions around the first at which the logs part
MOST_COLUMNS = 8  # of logs side by side
MOST_REGION_PAIRS = 40
TOO_LATE = 0.1  # an emulated delay is not to be trusted where lateness is a larger share of it

Row = Sequence[str]


def report(runs: Sequence[Run]) -> Iterator[str]:
    """The report, a section at a time."""
    yield _title("Runs of multicast orderings" if len(runs) > 1 else f"A run of {runs[0].title}", "=")
    yield _heading(runs)
    judged = [(number, run) for number, run in enumerate(runs, 1) if run.verdict]
    if judged:
        yield _comparison(judged)
    tables = [measures.pairs_with_floors(run) for run in runs]
    yield _latency_side_by_side(runs, tables)
    yield _costs(runs)
    for number, (run, pairs) in enumerate(zip(runs, tables), 1):
        yield _title(f"Run {number}: {run.title}", "-")
        yield _verdict(run)
        yield _divergence(run)
        yield _latency_by_regions(run, pairs)
        yield _lateness(run)


# What ran


def _heading(runs: Sequence[Run]) -> str:
    """What all runs have in common, and a table of the rest."""
    facts = [_facts(run) for run in runs]
    same = [name for name in facts[0] if len({each[name] for each in facts}) == 1]
    lines = [f"{name + ':':<12}{facts[0][name]}" for name in same if facts[0][name] and len(runs) > 1 or name in same]
    lines = [line for line in lines if not line.endswith(":")]
    if len(runs) == 1:
        return _paragraph(lines)
    differ = [name for name in facts[0] if name not in same]
    rows = [[str(number), *(each[name] for name in differ)] for number, each in enumerate(facts, 1)]
    return _paragraph(lines) + _table(["run", *differ], rows)

"""The report of one or several runs in plain text: what ran, who saw what in which order, how long it took, its cost.

    all runs side by side: what ran, how disordered it was, how long messages took, what they cost
    then of each run: its verdict in words, the logs where they part, latencies by regions beside their bounds, and
    how far the emulated network is to be trusted
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.text import Text

from analysis import measures
from analysis.run import Peer, Run
from analysis.tables import comparison
from analysis.text import UNKNOWN, heading, in_columns, in_digits
from comparison_server.finding import Finding
from comparison_server.rounds import Rounds
from comparison_server.verdict import Verdict, describe
from peer.stacks import WORKLOADS

SHOWN_BEFORE, SHOWN_AFTER = 2, 7  # positions around the first one at which the logs part
MOST_COLUMNS = 8  # of logs side by side
MOST_REGION_PAIRS = 40
TOO_LATE = 0.1  # an emulated delay is not to be trusted where lateness is a larger share of it


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long the messages of one run took."""

    sites: pd.DataFrame  # at the sender itself, and at the others
    regions: pd.DataFrame  # the same by regions


def report(runs: Sequence[Run]) -> Iterator[str]:
    """The report, a section at a time."""
    latencies = [_latencies(run) for run in runs]
    yield heading(f"A run of {runs[0].title}" if len(runs) == 1 else f"{len(runs)} runs of multicast orderings", "=")
    yield _what_ran(runs)
    yield from _comparison(runs)
    yield _latency_side_by_side(runs, latencies)
    yield _costs(runs)
    for number, (run, of_run) in enumerate(zip(runs, latencies), 1):
        yield heading(f"Run {number}: {run.title}" if len(runs) > 1 else "In words", "-")
        yield _verdict(run)
        yield _befell(run)
        yield _parting(run)
        yield _latency_by_regions(run, of_run)
        yield _lateness(run)


# All runs side by side


def _what_ran(runs: Sequence[Run]) -> str:
    """What all runs have in common, and a table of where they differ."""
    facts = [_facts(run) for run in runs]
    same = [name for name in facts[0] if len({each[name] for each in facts}) == 1]
    differ = [name for name in facts[0] if name not in same]
    text = "".join(f"{name:<12}{facts[0][name]}\n" for name in same)
    if differ:
        text += "\n" + in_columns(["run", *differ], [[n, *map(each.get, differ)] for n, each in enumerate(facts, 1)])
    return text + "\n"


def _facts(run: Run) -> dict[str, str]:
    """What a person wants to know of a run before anything else."""
    scenario, settings = run.scenario.get("scenario") or {}, run.settings
    workload, network, versions = settings.workload, settings.network, run.scenario.get("versions") or {}
    chances = {"loss": network.loss, "duplicates": network.duplicate, "reordering": network.reorder}
    faults = [f"{share * 100:g} % {what}" for what, share in chances.items() if share]
    if network.jitter_ms:
        faults.append(f"jitter up to {network.jitter_ms:g} ms")
    where = dict.fromkeys(settings.regions)
    sized = getattr(WORKLOADS.get(workload.kind), "sized", True)
    size = f" of {workload.size_bytes} bytes" if sized else ""
    return {
        "ordering": run.title,
        "scenario": str(scenario.get("name", UNKNOWN)),
        "world": str(run.scenario.get("world", UNKNOWN)),
        "seed": settings.seed,
        "peers": f"{len(run.peers)} in {', '.join(where)}",
        "workload": f"{workload.kind}, {workload.messages} messages{size} each",
        "network": _network(scenario.get("planet", UNKNOWN), faults, real=settings.delays_s is None),
        "commit": str(run.scenario.get("commit") or UNKNOWN)[:12],
        "python": f"{versions.get('python', UNKNOWN)} on {versions.get('platform', UNKNOWN)}",
        "folder": str(run.folder),
    }


def _comparison(runs: Sequence[Run]) -> Iterator[str]:
    judged = [(number, run) for number, run in enumerate(runs, 1) if run.verdict]
    if judged:
        table = comparison([run.verdict for _, run in judged], [run.measures for _, run in judged])
        columns = [[Text.from_markup(str(cell)).plain for cell in column.cells] for column in table.columns]
        rows = [[number, *row] for (number, _), row in zip(judged, zip(*columns))]
        yield f"{table.title}\n\n" + in_columns(["run", *(str(column.header) for column in table.columns)], rows) + "\n"


def _latency_side_by_side(runs: Sequence[Run], latencies: Sequence[Latencies]) -> str:
    rows = []
    for number, (run, of_run) in enumerate(zip(runs, latencies), 1):
        for row in of_run.sites.itertuples():
            rows.append([number, run.title, "at the sender" if row.own else "at the others", *_numbers(row)])
    titles = ["run", "ordering", "where", *NUMBERS]
    return "How long did a message take, from the multicast to the delivery?\n\n" + in_columns(titles, rows) + "\n"


def _costs(runs: Sequence[Run]) -> str:
    rows = []
    for number, run in enumerate(runs, 1):
        spent = [in_digits(amount, 2) for amount in measures.cost(run).values()]
        rate = measures.throughput(run)["deliveries_per_s"].min()
        rows.append([number, run.title, *spent, in_digits(rate, 0)])
    titles = ["run", "ordering", "datagrams", "packets", "bytes", "resends", "deliveries_per_s"]
    says = "What did a delivery cost, handshakes and ends included, and how many did the slowest peer make?"
    return f"{says}\n\n{in_columns(titles, rows)}\n"


# One run


def _verdict(run: Run) -> str:
    text = f"Where the peers were: {_places(run.peers)}.\n"
    if run.partial:
        why = (run.verdict.get("error") or {}).get("sentence", "nothing says why")
        text += f"This run did not come to its end: {why}.\n"
    verdict = describe(_verdict_of(run.verdict)) if run.verdict else "It was cut before it was judged."
    return f"{text}{_logs(run)}\n{verdict}\n\n"


def _befell(run: Run) -> str:
    """What happened to the run, and to its datagrams, beside what it was to show."""
    lines = list((run.verdict or {}).get("remarks", []))
    if astray := measures.astray(run):
        counts = ", ".join(f"{count:,} {words}" for words, count in astray.items())
        lines.append(f"Of {measures.sent(run):,} datagrams: {counts}.")
    return "".join(f"{line}\n" for line in lines) + ("\n" if lines else "")


def _logs(run: Run) -> str:
    """Which logs are not what was multicast, each message once."""
    logs = measures.logs(run)
    wrong = logs[logs[["missing", "repeated", "unexpected"]].any(axis=1)]
    if wrong.empty and not logs["delivered"].any():
        return "No log holds a message.\n"
    if wrong.empty:
        return f"Every log holds each of the {logs['delivered'].max()} messages once.\n"
    return f"Logs that do not hold each message once\n\n{in_columns(list(wrong), wrong.values.tolist())}"


def _places(peers: Iterable[Peer]) -> str:
    places: dict[str, list[str]] = {}
    for peer in peers:
        places.setdefault(peer.region or "an unknown region", []).append(str(peer.number))
    return "; ".join(f"{', '.join(numbers)} in {region}" for region, numbers in places.items())


def _verdict_of(document: Mapping[str, Any]) -> Verdict:
    """The verdict that `verdict.json` was written from."""
    on_time, messages = document["on_time"], document["messages_per_peer"]
    return Verdict(
        ordering=":".join(filter(None, (document["ordering"], document.get("variant")))),
        world=document["world"],
        peers=document["peers"],
        messages_per_peer=messages,
        rounds=_rounds(document),
        up_rounds=document["up"] and _rounds(document["up"]),
        complete=document["complete"],
        inversions=document["inversions"],
        first_divergence=document["first_divergence"],
        on_time=on_time,
        promised=frozenset(name for name, each in document["properties"].items() if each["promised"]),
        findings={
            name: Finding(*(each[part] for part in ("holds", "violations", "witness", "sentence")))
            for name, each in document["properties"].items()
        },
        sorted_at_the_end=[label for label, share in on_time.items() if share == 0 and (messages or 0) > 1],
        replicas=document.get("replicas"),
    )


def _rounds(counts: Mapping[str, Any]) -> Rounds | None:
    if counts["rounds"] is None:
        return None
    names = ("rounds", "out_of_order_rounds", "short_rounds", "disordered_rounds")
    return Rounds(*(counts[name] for name in names), first=None, first_disordered=None)


def _parting(run: Run) -> str:
    """The logs side by side around the first position at which they do not all hold the same."""
    parting = run.verdict.get("first_divergence")
    if parting is None:
        return ""
    first = parting["position"]
    end = max(peer.start + peer.delivered for peer in run.peers)
    shown = range(max(0, first - SHOWN_BEFORE), min(end, first + SHOWN_AFTER + 1))
    alike: dict[tuple[str, ...], list[str]] = {}  # peers whose logs hold the same there share a column
    for peer in run.peers:
        alike.setdefault(_held(run, peer, shown), []).append(str(peer.number))
    columns = list(alike)[:MOST_COLUMNS]
    marks = ["" if len(set(held) - {""}) == 1 else "<" for held in zip(*alike)]
    titles = ["position", *(_few(alike[column]) for column in columns), ""]
    text = f"Where the logs part (sender:number; {UNKNOWN} has ended; < marks positions that differ)\n\n"
    more = f"Logs of another {len(alike) - len(columns)} kinds are not shown.\n" if len(alike) > len(columns) else ""
    return f"{text}{in_columns(titles, zip(shown, *columns, marks))}{more}\n"


def _held(run: Run, peer: Peer, shown: range) -> tuple[str, ...]:
    """What a peer's log holds at some positions of the group's order."""
    table = run.deliveries_of(peer)
    table = table.iloc[max(0, shown.start - peer.start) : max(0, shown.stop - peer.start)]
    there = {peer.start + row.position: f"{row.sender}:{row.number}" for row in table.itertuples()}
    return tuple(there.get(position, UNKNOWN if position >= peer.start else "") for position in shown)


def _few(peers: Sequence[str]) -> str:
    if len(peers) == 1:
        return f"peer {peers[0]}"
    return "peers " + (", ".join(peers) if len(peers) <= 4 else f"{', '.join(peers[:3])} and {len(peers) - 3} more")


def _network(planet: str, faults: list[str], real: bool) -> str:
    return "real: nothing of it was emulated by the peers" if real else ", ".join([planet, *faults])


def _latency_by_regions(run: Run, latencies: Latencies) -> str:
    regions = latencies.regions
    if not len(regions):
        return "No latencies are known: no delivery goes with a recorded multicast.\n\n"
    shown = regions.nlargest(MOST_REGION_PAIRS, "p50_s").sort_index()
    rows = [
        [row.origin, "the sender itself" if row.own else row.target, row.deliveries, *_numbers(row)]
        for row in shown.itertuples()
    ]
    text = "Latencies by regions, from the sender's to the receiver's\n\n"
    text += in_columns(["from", "to", "deliveries", *NUMBERS], rows)
    if len(shown) < len(regions):
        text += f"Of {len(regions)} rows these are the {len(shown)} with the longest p50.\n"
    return f"{text}{_about_bounds(run)}\n"


def _about_bounds(run: Run) -> str:
    floor, alone = measures.floor_s(run), measures.alone_s(run)
    if not run.shared_clock:
        text = "The peers have clocks of their own, so only what a sender delivered itself can be timed.\n"
    elif floor is None:
        text = "No bounds are known for this ordering over this network.\n"
    else:
        text = ""
    if floor is not None:
        text += (
            f"The bound is what the one-way delays leave of {run.title}, at any load: {floor.mean() * 1000:.1f} ms in"
            f" the mean of all pairs; a message alone in the group takes {alone.mean() * 1000:.1f} ms.\n"
        )
    return text


def _lateness(run: Run) -> str:
    late = measures.lateness(run)
    if run.settings.delays_s is None or not len(late):
        return ""
    p99_s, worst_s = late["p99_s"].max(), late["worst_s"].max()
    delays = [delay for a, row in enumerate(run.settings.delays_s) for b, delay in enumerate(row) if a != b]
    close = [delay for delay in delays if delay * TOO_LATE < p99_s]
    text = (
        f"The emulated network handed datagrams in late by {late['p50_s'].max() * 1000:.3f} ms (p50),"
        f" {p99_s * 1000:.3f} ms (p99) and {worst_s * 1000:.3f} ms at worst, at the peer where it was latest.\n"
    )
    if close:
        text += (
            f"WARNING: for {len(close)} of {len(delays)} pairs, those up to {max(close) * 1000:.3f} ms apart, that p99"
            f" is more than {TOO_LATE:.0%} of the delay: do not trust their latencies.\n"
        )
    return f"{text}\n"


# Latencies as rows

NUMBERS = ["p50_ms", "p99_ms", "max_ms", "bound_ms", "p50/bound"]


def _latencies(run: Run) -> Latencies:
    """Own deliveries first; a site's own from those between two peers of one region."""
    table = measures.latencies(run)
    table["own"] = table["sender"] == table["receiver"]
    regions = list(dict.fromkeys(peer.region for peer in run.peers))
    region_of = np.array([regions.index(peer.region) for peer in run.peers])
    for end, peer in (("origin", "sender"), ("target", "receiver")):
        table[end] = pd.Categorical.from_codes(region_of[table[peer]], regions)
    sites, by_regions = (measures.summary(table, by) for by in (["own"], ["own", "origin", "target"]))
    pairs = measures.summary(table, ["own", "sender", "receiver"])
    sites["ratio"] = sites["own"].map(_ratio(pairs).groupby(pairs["own"]).median())
    by_regions["ratio"] = _ratio(by_regions)
    return Latencies(_own_first(sites), _own_first(by_regions))


def _ratio(table: pd.DataFrame) -> pd.Series:
    """How many times its bound each median is."""
    return table["p50_s"] / table["floor_s"].where(table["floor_s"] > 0)


def _own_first(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["deliveries"] > 0].sort_values("own", ascending=False, kind="stable", ignore_index=True)


def _numbers(row: Any) -> list[str]:
    times = (row.p50_s, row.p99_s, row.max_s, row.floor_s)
    return [*(in_digits(value * 1000, 3) for value in times), in_digits(row.ratio, 2)]

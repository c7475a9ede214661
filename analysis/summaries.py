"""What the frames of runs come to: small tables, of which pages and texts take their numbers.

A **point** is a cell of a grid: everything that was set but the world, the ordering and the chance. Runs of one point,
world and ordering are repetitions; their figures are medians with bootstrap intervals (analysis/statistics.py). Runs
of one point, world and chance differ by their ordering alone, so they are compared pair by pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.frames import Frames
from analysis.statistics import median_with_interval, quantiles_of_groups
from analysis.tidy import stretches_of_runs, waits
from peer.core.errors import SettingsError

LEVELS = np.linspace(0.0, 1.0, 101)
OF_POINT = [
    "scenario", "planet", "regions", "places", "peers", "workload", "messages", "gap_min_ms", "gap_max_ms",
    "size_bytes", "loss", "duplicate", "reorder", "jitter_ms",
]  # fmt: skip
PER_DELIVERY = {  # measure -> what of `costs` it is the sum of
    "datagrams_per_delivery": "datagrams_sent",
    "packets_per_delivery": "packets_sent",
    "bytes_per_delivery": "bytes_sent",
    "link_acks_per_delivery": "link_acks",
    "link_ack_bytes_per_delivery": "link_ack_bytes",
    "ordering_acks_per_delivery": "ordering_acks",
    "resent_per_delivery": "resent",
    "clock_bytes_per_delivery": "clock_bytes",
}
IN_MS = {f"{which}_ms": f"{which}_s" for which in ("own_p50", "own_p99", "others_p50", "others_p99")}
AS_THEY_ARE = ("inversion_share", "displacement_mean", "bound_ratio", "deliveries_per_s")
MEASURES = (  # of one run, in this order
    "out_of_order_share", "out_of_order_rounds", "inversion_share", "displacement_mean", *IN_MS, "bound_ratio",
    "deliveries_per_s", *PER_DELIVERY, "egress_gb_per_million",
)  # fmt: skip
LOAD_AND_LOSS = "load and loss"  # what was waited for beyond the farthest member's word


# Runs


def measured(frames: Frames) -> pd.DataFrame:
    """A row a run: world, title, point, what the point is, chance, and every one of MEASURES.

    `promised` counts the promised properties, `promised_held` those of them that hold, `promised_broken` those that
    do not; `complete` is 1 or 0. Of a run that was not judged they are 0.
    """
    runs = frames.runs
    table = runs[["run", "world", "title", "chance", "outcome", *OF_POINT]].copy()
    table.insert(3, "point", points(runs))
    table["out_of_order_rounds"] = runs["out_of_order_rounds"].astype(float)
    table["out_of_order_share"] = table["out_of_order_rounds"] / runs["rounds"].astype(float).where(runs["rounds"] > 0)
    for measure, column in IN_MS.items():
        table[measure] = runs[column] * 1000
    for measure in AS_THEY_ARE:
        table[measure] = runs[measure]
    costs = frames.costs.groupby("run", observed=False, sort=False)
    delivered = runs["delivered"].astype(float).where(runs["delivered"] > 0)
    for measure, column in PER_DELIVERY.items():
        table[measure] = _sum_of(costs[column], runs) / delivered
    multicast = runs["multicast"].astype(float).where(runs["multicast"] > 0)
    table["egress_gb_per_million"] = _sum_of(costs["egress_bytes"], runs) / multicast * 1e6 / 1e9
    for count in ("promised", "promised_held"):
        table[count] = runs[count].fillna(0).astype(float)
    broken = frames.violations.query("promised").groupby("run", observed=False).size()
    table["promised_broken"] = broken.reindex(runs["run"].astype(str)).fillna(0).to_numpy(float)
    table["complete"] = runs["complete"].astype(float)
    return table


def points(runs: pd.DataFrame) -> list[str]:
    """What the point of each run is called."""
    return [_point(row) for row in runs.itertuples()]


def _point(row) -> str:
    gap = f" every {row.gap_min_ms:g}-{row.gap_max_ms:g} ms" if row.workload == "steady" else ""
    faults = {"loss": row.loss, "duplicates": row.duplicate, "reordering": row.reorder}
    told = [f"{share * 100:g} % {what}" for what, share in faults.items() if share]
    if row.jitter_ms:
        told.append(f"jitter {row.jitter_ms:g} ms")
    counts = Counter(row.places.split(","))
    where = ", ".join(region if count == 1 else f"{region} x {count}" for region, count in counts.items())
    return ", ".join(
        [
            f"{row.scenario}: {row.peers} peers",
            f"{row.planet} ({where})",
            f"{row.workload} {row.messages} x {row.size_bytes} B{gap}",
            *told,
        ]
    )


def _sum_of(groups, runs: pd.DataFrame) -> np.ndarray:
    """By run, not a number where somebody did not count."""
    sums, known = groups.sum(min_count=1), groups.apply(lambda part: part.notna().all())
    sums = sums.astype(float).where(known.astype(bool))
    return sums.reindex(runs["run"].astype(str)).to_numpy(float)


def comparison(frames: Frames) -> pd.DataFrame:
    """A row a world, ordering and point: how many repetitions, and of every measure its median and interval.

    Columns are world, title, point, what the point is, repeats, and of each measure `measure`, `measure_low` and
    `measure_high`; `promised_broken` and `complete` are numbers of runs, `promised_held` is that of the run in which
    the fewest of the `promised` properties held. Runs of which nothing is there do not count.
    """
    rows = []
    for (world, title, point), part in _there(measured(frames)).groupby(["world", "title", "point"], sort=False):
        row = {"world": world, "title": title, "point": point, **part.iloc[0][OF_POINT].to_dict(), "repeats": len(part)}
        for measure in MEASURES:
            row[measure], row[f"{measure}_low"], row[f"{measure}_high"] = median_with_interval(part[measure])
        row["promised"], row["promised_held"] = int(part["promised"].max()), int(part["promised_held"].min())
        row["promised_broken"] = int((part["promised_broken"] > 0).sum())
        row["complete"] = int((part["complete"] == 1).sum())
        rows.append(row)
    measures = [name + end for name in MEASURES for end in ("", "_low", "_high")]
    promises = ["promised", "promised_held", "promised_broken"]
    columns = ["world", "title", "point", *OF_POINT, "repeats", *measures, *promises, "complete"]
    return pd.DataFrame(rows, columns=columns)


def paired(frames: Frames, measure: str) -> pd.DataFrame:
    """For every two orderings of a world and point: how one differs from the other under the same chance.

    world, point, one, other, pairs, difference (the median of one less other), low, high, lower (the share of
    the pairs in which one is lower).
    """
    if measure not in MEASURES:
        raise SettingsError(f"there is no measure {measure!r}; there are {', '.join(MEASURES)}")
    rows = []
    for (world, point), part in _there(measured(frames)).groupby(["world", "point"], sort=False):
        once = part.drop_duplicates(["chance", "title"])
        by_chance = once.pivot(index="chance", columns="title", values=measure)[list(dict.fromkeys(part["title"]))]
        for one, other in combinations(by_chance.columns, 2):
            apart = (by_chance[one] - by_chance[other]).dropna()
            middle, low, high = median_with_interval(apart)
            lower = (apart < 0).mean() if len(apart) else np.nan
            rows.append((world, point, one, other, len(apart), middle, low, high, lower))
    columns = ["world", "point", "one", "other", "pairs", "difference", "low", "high", "lower"]
    return pd.DataFrame(rows, columns=columns)


def _there(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["outcome"] != "failed"]


# Latencies


def cdf(frames: Frames, by: Sequence[str] = ("world", "title", "own")) -> pd.DataFrame:
    """The latencies of every group at 101 levels from 0 to 1: `by`, level, latency_ms.

    `by` may name columns of runs, point, own (at the sender itself), sender, receiver, origin and target (regions).
    """
    groups, starts, codes = _groups(frames, by)
    table = quantiles_of_groups(frames.latencies["latency_s"].to_numpy(), starts, codes, len(groups), LEVELS)
    known = ~np.isnan(table[:, 0])
    long = groups[known].loc[np.repeat(groups.index[known], len(LEVELS))].reset_index(drop=True)
    return long.assign(level=np.tile(LEVELS, known.sum()), latency_ms=table[known].ravel() * 1000)


def region_latencies(frames: Frames, by: Sequence[str] = ("world", "title")) -> pd.DataFrame:
    """By regions of the sender and the receiver, and whether that is the sender itself.

    `by`, origin, target, own, deliveries, p50_ms, p90_ms, p99_ms, max_ms, bound_ms, alone_ms, ratio (of p50 to bound),
    uncertain_ms (the largest).
    """
    keys = [*by, "origin", "target", "own"]
    groups, starts, codes = _groups(frames, keys)
    values = frames.latencies["latency_s"].to_numpy()
    table = groups.copy()
    known = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64) if len(starts) else starts
    table["deliveries"] = np.bincount(codes, known, len(groups)).astype(np.int64)
    shares = quantiles_of_groups(values, starts, codes, len(groups), (0.5, 0.9, 0.99, 1.0))
    for name, values_s in zip(("p50", "p90", "p99", "max"), shares.T):
        table[f"{name}_ms"] = values_s * 1000
    ways = _ways(frames, keys, starts)
    table = table.merge(ways, how="left", on=keys)
    table["ratio"] = table["p50_ms"] / table["bound_ms"].where(table["bound_ms"] > 0)
    figures = ["deliveries", "p50_ms", "p90_ms", "p99_ms", "max_ms", "bound_ms", "alone_ms", "ratio", "uncertain_ms"]
    return table.loc[table["deliveries"] > 0, [*keys, *figures]].reset_index(drop=True)


def against_bound(frames: Frames) -> pd.DataFrame:
    """What was measured beside what the distances allow: world, title, point, origin, target, own, deliveries, p50_ms,
    bound_ms (no message can be faster, at any load), alone_ms (the mean of a message that has the group to itself),
    least_ms (which of the two holds for that workload: with `single` every message has the group to itself)."""
    table = region_latencies(frames, ("world", "title", "point", "workload"))
    table["least_ms"] = table["alone_ms"].where(table["workload"] == "single", table["bound_ms"])
    figures = ["deliveries", "p50_ms", "bound_ms", "alone_ms", "least_ms"]
    columns = ["world", "title", "point", "origin", "target", "own", *figures]
    return table.loc[table["bound_ms"].notna(), columns].reset_index(drop=True)


def blocked(frames: Frames) -> pd.DataFrame:
    """On whom everybody waited: world, title, region, blocked_s, share (of the time blocked of that ordering).

    As much as a message waits that has the group to itself is due to the member whose word comes last, and counts for
    its region; the rest is due to load and loss.
    """
    runs = frames.runs.set_index("run")
    rows = []
    for run, part in stretches_of_runs(frames.latencies):
        about = runs.loc[run]
        places = about["places"].split(",")
        for each in waits(part):
            explained = each.explained_s if each.through >= 0 else 0.0
            if explained:
                rows.append((about["world"], about["title"], places[each.through], explained))
            rows.append((about["world"], about["title"], LOAD_AND_LOSS, each.blocked_s - explained))
    table = pd.DataFrame(rows, columns=["world", "title", "region", "blocked_s"])
    table = table.groupby(["world", "title", "region"], sort=False, as_index=False).sum()
    whole = table.groupby(["world", "title"])["blocked_s"].transform("sum")
    table["share"] = table["blocked_s"] / whole.where(whole > 0)
    return table


def gap(frames: Frames) -> pd.DataFrame:
    """Where one ordering ran at one point in two worlds: how far these are apart.

    title, point (as the first of the two worlds has it: a real network has no planet), measure, one_world, other_world,
    one, other, gap_percent (of other above one). The measures are those of `comparison`, and latencies at more shares;
    what is 0 in one world has no gap in percent.
    """
    table = _there(measured(frames))
    same = ["title", *(column for column in OF_POINT if column not in ("planet", "regions"))]
    latencies = _latencies_at_levels(frames, ["world", *same])
    rows = []
    for key, part in table.groupby(same, sort=False):
        points = dict(zip(part["world"][::-1], part["point"][::-1]))
        worlds = list(dict.fromkeys(part["world"]))
        figures = {}
        for world in worlds:
            medians = part.loc[part["world"] == world, list(MEASURES)].median()
            figures[world] = medians.to_dict() | latencies.get((world, *key), {})
        for one, other in combinations(worlds, 2):
            for measure, first in figures[one].items():
                second = figures[other].get(measure, np.nan)
                if not (np.isnan(first) or np.isnan(second)):
                    percent = (second - first) / first * 100 if first else np.nan
                    rows.append((key[0], points[one], measure, one, other, first, second, percent))
    columns = ["title", "point", "measure", "one_world", "other_world", "one", "other", "gap_percent"]
    return pd.DataFrame(rows, columns=columns)


GAP_LEVELS = (0.05, 0.25, 0.75, 0.9)  # beside the median and the 99th percentile


def _latencies_at_levels(frames: Frames, keys: list[str]) -> dict[tuple, dict[str, float]]:
    """By these keys, the latencies at more levels, in ms."""
    groups, starts, codes = _groups(frames, [*keys, "own"])
    values = frames.latencies["latency_s"].to_numpy()
    table = quantiles_of_groups(values, starts, codes, len(groups), GAP_LEVELS) * 1000
    found: dict[tuple, dict[str, float]] = {}
    for (*key, own), row in zip(groups.itertuples(index=False, name=None), table):
        where = "own" if own else "others"
        figures = {f"{where}_p{share * 100:.0f}_ms": value for share, value in zip(GAP_LEVELS, row)}
        found.setdefault(tuple(key), {}).update(figures)
    return found


# Costs


def egress_price(frames: Frames, price_per_gb: float) -> pd.DataFrame:
    """What a million messages would cost in traffic between regions, at a price per GB that is the reader's assumption:
    world, title, point, egress_gb_per_million, price_per_million."""
    table = comparison(frames)[["world", "title", "point", "egress_gb_per_million"]]
    return table.assign(price_per_million=table["egress_gb_per_million"] * price_per_gb)


# Groups


def _pairs(frames: Frames) -> pd.DataFrame:
    """Every pair of peers of every run, run by run, sender by sender, with what is known of the run."""
    runs = frames.runs
    peers = runs["peers"].to_numpy(np.int64)
    row = np.repeat(np.arange(len(runs)), peers**2)
    inside = np.arange(len(row)) - np.repeat(np.cumsum(peers**2) - peers**2, peers**2)
    sender, receiver = inside // peers[row], inside % peers[row]
    region = np.array([place for places in runs["places"] for place in places.split(",")][: int(peers.sum())], object)
    first = np.cumsum(peers) - peers
    table = runs.assign(point=points(runs)).iloc[row].reset_index(drop=True)
    origin, target = region[first[row] + sender], region[first[row] + receiver]
    return table.assign(sender=sender, receiver=receiver, own=sender == receiver, origin=origin, target=target)


def _groups(frames: Frames, by: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The groups; where in the latencies those of another pair begin; and in which group each of these is."""
    pairs = _pairs(frames)
    of_pair = pairs.groupby(list(by), sort=False, observed=True).ngroup().to_numpy()
    groups = pairs.loc[~pd.Series(of_pair).duplicated(), list(by)].reset_index(drop=True)
    starts = frames.starts_of_pairs
    return groups, starts, of_pair[_places_in_pairs(frames, starts)]


def _places_in_pairs(frames: Frames, rows: np.ndarray) -> np.ndarray:
    """Where the pairs of these rows of the latencies stand in `_pairs`."""
    peers = frames.runs["peers"].to_numpy(np.int64)
    run, sender, receiver = (
        column.iloc[rows].to_numpy(np.int64)
        for column in (frames.latencies["run"].cat.codes, frames.latencies["sender"], frames.latencies["receiver"])
    )
    return (np.cumsum(peers**2) - peers**2)[run] + sender * peers[run] + receiver


def _ways(frames: Frames, by: Sequence[str], starts: np.ndarray) -> pd.DataFrame:
    """By group: bound_ms and alone_ms of its pairs in the median, uncertain_ms at most."""
    first = frames.latencies.iloc[starts]  # they are the same for all of a pair
    keys = _pairs(frames).iloc[_places_in_pairs(frames, starts)][list(by)].reset_index(drop=True)
    for name in ("bound", "alone", "uncertain"):
        keys[f"{name}_ms"] = first[f"{name}_s"].to_numpy(float) * 1000
    return keys.groupby(list(by), sort=False, observed=True, as_index=False).agg(
        bound_ms=("bound_ms", "median"), alone_ms=("alone_ms", "median"), uncertain_ms=("uncertain_ms", "max")
    )

"""What one run adds to each of the frames; analysis/columns.py says what stands in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import classroom, disorder, measures
from analysis.clocks import Clocks, clocks, released_s
from analysis.columns import FRAMES
from analysis.run import Peer, Run
from analysis.statistics import median, quantiles
from comparison_server.evidence import NUMBER_BITS, NUMBERS, Evidence, PeerLog, Sends, message_ids
from comparison_server.positions import Positions

CHUNK = 1 << 16  # records whose columns are copied together, so that they stay in the cache
ROUNDING_S = 1e-6  # less than that is what single precision leaves of a difference that is none
HEADERS_BYTES = 28  # of IPv4 and UDP, around every datagram

Columns = Mapping[str, Any]  # of a frame, all but `run`: arrays, or lists where there are few rows


class Tidy:
    """A run whose logs are read once, for all of its frames."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def frame(self, name: str) -> Columns:
        """What this run adds to a frame."""
        return self.latencies if name == "latencies" else MAKERS[name](self)

    # What several frames are made of

    @cached_property
    def evidence(self) -> Evidence:
        return self.run.evidence()

    @cached_property
    def disorder(self) -> dict[str, float]:
        positions = Positions(self.evidence)  # as large as the logs, and needed here only
        inversions, share = disorder.inversions(positions)
        mean, most = disorder.displacement(positions)
        return {
            "inversions": inversions,
            "inversion_share": share,
            "displacement_mean": mean,
            "displacement_max": most,
        }

    @cached_property
    def clocks(self) -> Clocks:
        return clocks(self.run)

    @cached_property
    def released_s(self) -> np.ndarray:
        return released_s(self.run, self.clocks)

    @cached_property
    def latencies(self) -> dict[str, np.ndarray]:
        return latencies(self)


def failed(reason: str, told: Mapping[str, Any]) -> Columns:
    """The row of a run of which there is nothing but the reason; `told`: what is known of it all the same."""
    row = {column: told.get(column, _NOTHING[kind]) for column, (kind, _) in FRAMES["runs"].items()}
    return _columns([row | {"outcome": "failed", "error": reason}], "runs")


def together(name: str, parts: Sequence[Columns]) -> dict[str, Any]:
    """Parts of a frame after each other: its columns, all but `run`, in their order and of their types."""
    types = {column: kind for column, (kind, _) in FRAMES[name].items() if column != "run"}
    return {column: _column([part[column] for part in parts], kind) for column, kind in types.items()}


def rows_of(part: Columns) -> int:
    """How many rows a part of a frame has."""
    return len(next(iter(part.values())))


def _column(parts: Sequence[Any], kind: str) -> Any:
    """One array of this type; where it is of it already, the same one."""
    if len(parts) == 1 and not isinstance(parts[0], list):
        return np.asarray(parts[0], kind)
    if parts and not isinstance(parts[0], list):
        return np.concatenate(parts, dtype=kind, casting="unsafe")
    values = list(chain.from_iterable(parts))
    if kind in ("str", "boolean") or kind[0] == "I":  # types of pandas, which may hold nothing
        return pd.array(values, dtype=kind)
    return np.array(values, kind)


def _columns(rows: list[dict[str, Any]], name: str) -> dict[str, list[Any]]:
    """Rows of a frame as its columns."""
    return {column: [row[column] for row in rows] for column in FRAMES[name] if column != "run"}


_NOTHING = {
    "category": "", "str": "", "bool": False, "boolean": pd.NA, "int32": 0, "int64": 0, "Int64": pd.NA,
    "float64": np.nan,
}  # fmt: skip


# Runs


def runs(tidy: Tidy) -> Columns:
    """One row."""
    run = tidy.run
    settings, scenario, verdict = run.settings, run.scenario, run.verdict
    workload, network = settings.workload, settings.network
    written = scenario.get("scenario") or {}
    ordering = settings.stack.ordering
    rates = measures.rates(run, tidy.evidence.logs)
    trips_ms = _round_trips_ms(run)
    classroom_rounds, classroom_of = classroom.count([log.ids for log in tidy.evidence.logs], workload.messages)
    row = {
        "title": run.title,
        "ordering": ordering.name,
        "variant": ordering.options.get("variant") or "",
        "world": str(scenario.get("world") or ""),
        "scenario": str(written.get("name") or ""),
        "planet": "real" if settings.delays_s is None else str(written.get("planet") or ""),
        "regions": ",".join(dict.fromkeys(settings.regions)),
        "places": ",".join(settings.regions),
        "peers": len(run.peers),
        "messages": workload.messages,
        "workload": workload.kind,
        "gap_min_ms": workload.gap_ms[0],
        "gap_max_ms": workload.gap_ms[1],
        "size_bytes": workload.size_bytes,
        "loss": network.loss,
        "duplicate": network.duplicate,
        "reorder": network.reorder,
        "jitter_ms": network.jitter_ms,
        "seed": int(scenario.get("seed") or 0),
        "repeat": int(scenario.get("repeat") or 0),
        "chance": settings.seed,
        "shared_clock": run.shared_clock,
        "commit": str(scenario.get("commit") or ""),
        "outcome": _outcome(run),
        "error": (verdict.get("error") or {}).get("sentence", ""),
        **_promises(run),
        **{name: verdict.get(name) for name in _COUNTS},
        "classroom_rounds": classroom_rounds,
        "classroom_of": classroom_of,
        **tidy.disorder,
        "first_divergence": (verdict.get("first_divergence") or {}).get("position"),
        "complete": verdict.get("complete"),
        "delivered": sum(peer.delivered for peer in run.peers),
        "multicast": sum(peer.multicast for peer in run.peers),
        "took_s": _known(max, [took_s for _, _, took_s, _ in rates]),
        "deliveries_per_s": _known(min, [per_s for *_, per_s in rates]),
        "rtt_max_ms": np.nan if trips_ms is None else trips_ms.max(initial=0.0),
        "rtt_mean_ms": np.nan if trips_ms is None or not len(trips_ms) else trips_ms.mean(),
        **_latency_figures(tidy.latencies),
    }
    return _columns([row], "runs")


_COUNTS = ("rounds", "out_of_order_rounds", "short_rounds", "disordered_rounds")


def _outcome(run: Run) -> str:
    properties = (run.verdict.get("properties") or {}).values()
    if any(each["promised"] and each["holds"] is False for each in properties):
        return "violated"
    return "unfinished" if run.partial or not run.verdict or run.verdict.get("error") else "held"


def _promises(run: Run) -> dict[str, int | None]:
    """How many properties were promised, and how many of them held."""
    if not run.verdict:
        return {"promised": None, "promised_held": None}
    found = [each["holds"] for each in run.verdict["properties"].values() if each["promised"]]
    return {"promised": len(found), "promised_held": found.count(True)}


def _known(which: Callable[[list[float]], float], values: list[float]) -> float:
    """The largest or the smallest of those that are numbers."""
    numbers = [value for value in values if value == value]
    return which(numbers) if numbers else np.nan


def _round_trips_ms(run: Run) -> np.ndarray | None:
    """Of all pairs of different peers."""
    delays = measures.delays_s(run)
    if delays is None:
        return None
    return (delays + delays.T)[~np.eye(len(delays), dtype=bool)] * 1000


def _latency_figures(table: Columns | pd.DataFrame) -> dict[str, float]:
    """Of one run; what is not a number is left out."""
    latency_s, bound_s, senders, receivers = (
        np.asarray(table[name]) for name in ("latency_s", "bound_s", "sender", "receiver")
    )
    starts = starts_of_pairs(table)
    pairs = list(zip(starts, [*starts[1:], len(latency_s)]))
    own = [senders[begin] == receivers[begin] for begin, _ in pairs]
    figures = {}
    for where, wanted in (("own", True), ("others", False)):
        parts = [latency_s[begin:end] for (begin, end), each in zip(pairs, own) if each == wanted]
        p50, p99 = quantiles(np.concatenate(parts) if parts else np.empty(0), (0.5, 0.99))
        figures |= {f"{where}_p50_s": p50, f"{where}_p99_s": p99}
    ratios = [median(latency_s[begin:end]) / bound_s[begin] for begin, end in pairs if bound_s[begin] > 0]
    return figures | {"bound_ratio": median(np.array(ratios))}


def stretches_of_runs(latencies: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each run that has any, which are together."""
    codes = latencies["run"].cat.codes.to_numpy()
    ends = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    for begin, end in pairwise([0, *ends, len(codes)]):
        if begin < end:
            yield latencies["run"].cat.categories[codes[begin]], latencies.iloc[begin:end]


def starts_of_pairs(latencies: Columns | pd.DataFrame) -> np.ndarray:
    """Where in a frame of latencies the rows of another run, receiver or sender begin: a pair's are together."""
    columns = [np.asarray(latencies[name]) for name in ("receiver", "sender")]
    if "run" in latencies:
        columns.append(latencies["run"].cat.codes.to_numpy())
    begins = np.zeros(len(columns[0]), bool)
    begins[:1] = True
    for column in columns:
        begins[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(begins)


def with_latency_figures(runs: pd.DataFrame, latencies: pd.DataFrame) -> pd.DataFrame:
    """The frame of runs with the figures of these latencies."""
    parts, none = dict(stretches_of_runs(latencies)), latencies.iloc[:0]
    figures = pd.DataFrame([_latency_figures(parts.get(name, none)) for name in runs["run"]], index=runs.index)
    return runs.assign(**dict(figures.items()))


# Logs


def deliveries(tidy: Tidy) -> dict[str, np.ndarray]:
    """Peer after peer."""
    run = tidy.run
    parts = (part for peer in run.peers for part in run.delivery_columns(peer, CHUNK))
    return _gathered("deliveries", parts, sum(peer.delivered for peer in run.peers))


def sends(tidy: Tidy) -> dict[str, np.ndarray]:
    """Peer after peer."""
    run = tidy.run
    parts = (run.send_columns(peer) for peer in run.peers)
    return _gathered("sends", parts, sum(peer.multicast for peer in run.peers))


def _gathered(name: str, parts: Iterable[Mapping[str, np.ndarray]], rows: int) -> dict[str, np.ndarray]:
    """The columns of a frame, of at most so many rows, from parts that are there one after the other."""
    columns = {column: np.empty(rows, kind) for column, (kind, _) in FRAMES[name].items() if column != "run"}
    end = 0
    for part in parts:
        begin, end = end, end + len(part["number"])
        for column, whole in columns.items():
            whole[begin:end] = part[column]
    return {column: whole[:end] for column, whole in columns.items()}


def rounds(tidy: Tidy) -> Columns:
    """All of them."""
    return disorder.rounds(tidy.evidence)


# Verdict


def violations(tidy: Tidy) -> Columns:
    """Every property that does not hold, promised or not."""
    rows = []
    for name, finding in (tidy.run.verdict.get("properties") or {}).items():
        if finding["holds"] is False:
            number = str(finding["violations"])
            rows.append(
                {
                    "property": name,
                    "promised": finding["promised"],
                    "violations": int(number.removeprefix("at least ")),
                    "at_least": number.startswith("at least"),
                    "sentence": finding["sentence"],
                    "witness": json.dumps(finding["witness"], ensure_ascii=False, separators=(",", ":")),
                }
            )
    return _columns(rows, "violations")


# Latencies


@dataclass(frozen=True, slots=True)
class Asked:
    """Every message that was recorded to have been multicast, sender by sender in the order of numbers."""

    senders: np.ndarray
    numbers: np.ndarray
    since_s: np.ndarray  # when it was due, since its sender was released
    after: np.ndarray  # how many deliveries its sender had made by then
    bases: np.ndarray  # by sender: where its messages begin; one more for the end
    dense: bool  # whether everybody's numbers go from 0 without a gap

    @classmethod
    def of(cls, sends: Sequence[Sends | None]) -> Asked:
        """What each peer recorded."""
        numbers, since_s, after = [], [], []
        for told in sends:
            told = told or Sends([], [], due_s=np.empty(0))
            mine, due_s, before = told.numbers, told.due_s, told.after
            if not np.array_equal(mine, np.arange(len(mine), dtype=np.uint64)):
                mine, firsts = np.unique(mine, return_index=True)  # of a number asked for twice the first counts
                due_s, before = due_s[firsts], before[firsts]
            numbers.append(mine)
            since_s.append(due_s)
            after.append(before)
        counts = [len(mine) for mine in numbers]
        dense = all(len(mine) == 0 or mine[-1] == len(mine) - 1 for mine in numbers)
        senders = np.repeat(np.arange(len(sends), dtype=np.int16), counts)
        together, since, before = (np.concatenate(parts) for parts in (numbers, since_s, after))
        return cls(senders, together.astype(np.uint32), since, before, np.cumsum([0, *counts]), dense)

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Where each message stands, -1 for what nobody recorded."""
        if not self.dense:
            known = message_ids(self.senders, self.numbers)
            at = np.searchsorted(known, ids)
            return np.where((np.append(known, 0)[at] == ids) & (at < len(known)), at, -1)
        senders = (ids >> np.uint64(NUMBER_BITS)).astype(np.int64)
        numbers = (ids & np.uint64(NUMBERS - 1)).astype(np.int64)
        strange = senders >= len(self.bases) - 1
        senders[strange] = 0
        at = self.bases[senders] + numbers
        at[strange | (at >= self.bases[senders + 1])] = -1
        return at

    def first_delivered_s(self, log: PeerLog) -> np.ndarray:
        """When a log first holds each of them, not a number where it never does, or has no times."""
        delivered_s = np.full(len(self.numbers), np.nan)
        for low in reversed(range(0, len(log.ids), CHUNK)):  # backwards: of several the first is written last
            at, times_s = self.find(log.ids[low : low + CHUNK]), log.times_s[low : low + CHUNK]
            if (unknown := at < 0).any():
                at, times_s = at[~unknown], times_s[~unknown]
            delivered_s[at[::-1]] = times_s[::-1]
        return delivered_s


def latencies(tidy: Tidy) -> dict[str, np.ndarray]:
    """A row for each message and each peer that delivered it: receiver by receiver, sender by sender, by number."""
    logs, peers = tidy.evidence.logs, tidy.run.peers
    asked = Asked.of([log.sends for log in logs])
    parts = latency_parts(tidy.run, tidy.clocks, asked, lambda peer: logs[peer.number])
    return _gathered("latencies", parts, sum(min(peer.delivered, len(asked.numbers)) for peer in peers))


def latency_parts(
    run: Run, clocks: Clocks, asked: Asked, log_of: Callable[[Peer], PeerLog]
) -> Iterator[dict[str, np.ndarray]]:
    """The latencies at each receiver."""
    zeros = np.array([np.nan if peer.zero_s is None else peer.zero_s for peer in run.peers])
    line = released_s(run, clocks)
    asked_s = asked.since_s + (np.zeros(len(line)) if np.isnan(line).any() else line)[asked.senders]
    ways = _ways(run)
    for receiver in run.peers:
        here = receiver.number
        delivered_s = asked.first_delivered_s(log_of(receiver))
        there = ~np.isnan(delivered_s)
        rows = slice(None) if there.all() else np.flatnonzero(there)
        senders = asked.senders[rows]
        counts = np.bincount(senders, minlength=len(run.peers))  # they stand one after the other
        apart_s = zeros[here] - zeros - clocks.ahead_s[:, here]  # from each sender's release to this one's
        latency_s = delivered_s[rows] - asked.since_s[rows]
        latency_s += np.repeat(apart_s, counts)
        yield {
            "sender": senders,
            "receiver": np.full(len(senders), here, np.int16),
            "number": asked.numbers[rows],
            "asked_s": asked_s[rows],
            "latency_s": latency_s,
            "bound_s": np.repeat(ways.bound_s[:, here].astype(np.float32), counts),
            "alone_s": np.repeat(ways.alone_s[:, here].astype(np.float32), counts),
            "blocked_s": np.maximum(latency_s - np.repeat(ways.delay_s[:, here], counts), 0.0),
            "through": np.repeat(ways.through[:, here].astype(np.int16), counts),
            "uncertain_s": np.repeat(clocks.uncertain_s[:, here].astype(np.float32), counts),
        }


@dataclass(frozen=True, slots=True)
class Ways:
    """[sender][receiver]: what the distances say of every pair; not a number, or -1, where they are not known."""

    delay_s: np.ndarray
    bound_s: np.ndarray
    alone_s: np.ndarray
    through: np.ndarray


def _ways(run: Run) -> Ways:
    nothing = np.full((len(run.peers),) * 2, np.nan)
    matrices = [
        nothing if matrix is None else matrix
        for matrix in (measures.delays_s(run), measures.floor_s(run), measures.alone_s(run))
    ]
    through = measures.through(run)
    return Ways(*matrices, np.full(nothing.shape, -1) if through is None else through)


# Costs

_COUNTED = ("datagrams_sent", "packets_sent", "bytes_sent", "resent", "duplicates", "link_acks", "link_ack_bytes",
            "ordering_acks", "clock_bytes", "lost_by_model")  # fmt: skip


def costs(tidy: Tidy) -> Columns:
    """One row a peer."""
    run = tidy.run
    waited = waits(tidy.latencies)
    rows = []
    for peer in run.peers:
        counted = (run.measures.get("peers") or {}).get(peer.name) or {}
        rows.append(
            {
                "peer": peer.number,
                "name": peer.name,
                "region": peer.region,
                "released_s": tidy.released_s[peer.number],
                "delivered": peer.delivered,
                "multicast": peer.multicast,
                "on_time": (run.verdict.get("on_time") or {}).get(str(peer.number)),
                **{what: counted.get(what) for what in _COUNTED},
                "egress_bytes": egress_bytes(run, peer, counted),
                "dropped": _dropped(counted),
                "timers_late_s": (counted.get("timer_lateness") or {}).get("p99_s", np.nan),
                **_blocked(waited, peer.number),
            }
        )
    return _columns(rows, "costs")


def with_blocked(costs: pd.DataFrame, latencies: pd.DataFrame) -> pd.DataFrame:
    """The frame of costs with the time blocked of these latencies."""
    parts = {name: waits(part) for name, part in stretches_of_runs(latencies)}
    rows = [_blocked(parts.get(name, []), peer) for name, peer in zip(costs["run"], costs["peer"])]
    blocked = pd.DataFrame(rows, index=costs.index)
    return costs.assign(blocked_s=blocked["blocked_s"], blocked_on=blocked["blocked_on"].astype("Int16"))


def _blocked(waited: Sequence[Waits], peer: int) -> dict[str, Any]:
    """How long a peer was blocked, and by whom most."""
    mine = [each for each in waited if each.receiver == peer]
    for_others = [each for each in mine if each.through >= 0 and each.explained_s > 0]
    return {
        "blocked_s": sum(each.blocked_s for each in mine) if mine else np.nan,
        "blocked_on": max(for_others, key=lambda each: each.explained_s).through if for_others else pd.NA,
    }


class Waits(NamedTuple):
    """For how long a receiver was blocked, in all, by messages whose way goes through a member (-1: through nobody),
    and how much of that the way explains."""

    receiver: int
    through: int
    blocked_s: float
    explained_s: float


def waits(table: Columns | pd.DataFrame) -> list[Waits]:
    """Of the latencies of one run; of whom nothing is known there is nothing.

    A message that has the group to itself waits for the word of one member, the farthest one; as much of the time
    blocked is that member's. What goes beyond is due to load and loss, and nobody's.
    """
    columns = [np.asarray(table[name]) for name in ("receiver", "through", "latency_s", "blocked_s", "alone_s")]
    receivers, throughs, *_ = columns
    width = int(throughs.max(initial=-1)) + 2
    size = (int(receivers.max(initial=-1)) + 1) * width
    count, blocked_s, explained_s = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    for low in range(0, len(receivers), CHUNK):
        receiver, through, took_s, blocking_s, alone_s = (column[low : low + CHUNK] for column in columns)
        known = ~np.isnan(blocking_s)
        code = (receiver.astype(np.int32) * width + through + 1)[known]
        took_s, blocking_s, alone_s = (each[known].astype(float) for each in (took_s, blocking_s, alone_s))
        explains_s = np.minimum(took_s, alone_s) - (took_s - blocking_s)
        explains_s = np.where(explains_s > ROUNDING_S, explains_s, 0.0)  # also where nobody knows
        count += np.bincount(code, minlength=size)
        blocked_s += np.bincount(code, blocking_s, size)
        explained_s += np.bincount(code, explains_s, size)
    there = np.flatnonzero(count)
    found = there // width, there % width - 1, blocked_s[there], explained_s[there]
    return [Waits(*row) for row in zip(*(each.tolist() for each in found))]


def egress_bytes(run: Run, peer: Peer, counted: dict[str, Any]) -> int | None:
    """What left for members in other regions, headers of IP and UDP included; None where nobody counted."""
    elsewhere = [other.number for other in run.peers if other.region != peer.region]
    to, datagrams = counted.get("bytes_to"), counted.get("datagrams_to")
    if isinstance(to, list) and isinstance(datagrams, list) and len(to) == len(datagrams) == len(run.peers):
        return sum(to[other] + HEADERS_BYTES * datagrams[other] for other in elsewhere)
    if counted.get("bytes_sent") is None or len(run.peers) < 2:
        return None
    everything = counted["bytes_sent"] + HEADERS_BYTES * (counted.get("datagrams_sent") or 0)
    return round(everything * len(elsewhere) / (len(run.peers) - 1))  # by an older version, which did not say to whom


def _dropped(counted: dict[str, Any]) -> int | None:
    if not isinstance(counted.get("dropped"), dict):
        return None
    return sum(counted["dropped"].values()) + (counted.get("dropped_by_kernel") or 0)


MAKERS: dict[str, Callable[[Tidy], Columns]] = {
    "runs": runs,
    "deliveries": deliveries,
    "sends": sends,
    "rounds": rounds,
    "violations": violations,
    "costs": costs,
}  # of `latencies` more than one frame is made, so that they are kept


def _deliveries_in_pieces(run: Run) -> Iterator[Columns]:
    for peer in run.peers:
        yield from run.delivery_columns(peer)


def _sends_in_pieces(run: Run) -> Iterator[Columns]:
    yield from map(run.send_columns, run.peers)


def _latencies_in_pieces(run: Run) -> Iterator[Columns]:
    asked = Asked.of([run.log_of(peer).sends for peer in run.peers])
    yield from latency_parts(run, clocks(run), asked, run.log_of)


# frames of long logs that nobody needs to hold as a whole
IN_PIECES: dict[str, Callable[[Run], Iterator[Columns]]] = {
    "deliveries": _deliveries_in_pieces,
    "sends": _sends_in_pieces,
    "latencies": _latencies_in_pieces,
}

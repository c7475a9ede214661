"""What the tables of a run add up to: latencies beside their floors, throughput, cost, and how late the emulation was.

A latency goes from the moment at which the application was to ask for a multicast to the delivery at one peer: a peer
that is held up does not make its messages look quicker. At the sender itself that is one clock; across peers it can
only be told where they share a clock, and the moments at which each was released line them up. A percentile that falls
between two values lies between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import floors
from analysis.round_trips import between_peers_s
from analysis.run import Peer, Run
from comparison_server.evidence import PeerLog, message_ids

COSTS = ("datagrams_sent", "packets_sent", "bytes_sent", "resent")
# What a peer counts of datagrams that did not arrive as they were sent, in words.
ASTRAY = {
    "lost_by_model": "lost by the emulated network",
    "doubled_by_model": "doubled by it",
    "held_by_model": "held back by it",
    "dropped_by_kernel": "dropped by the system, whose buffers were full",
}


# Latency


def pair_latencies(run: Run) -> pd.DataFrame:
    """The latencies of each (sender, receiver) pair, summed up; only senders' own where clocks are not shared."""
    return summary(latencies(run), ["sender", "receiver"])


def latencies(run: Run) -> pd.DataFrame:
    """sender, receiver, latency_s, floor_s: one row for each message and each peer that delivered it.

    Without a shared clock the receiver is always the sender. What was delivered twice counts the first time; what no
    send record tells of is left out. Where no floor is known it is not a number.
    """
    asked = {peer.number: run.sends_of(peer).sort_values("number", kind="stable") for peer in run.peers}
    table = pd.concat([_latencies_at(run, peer, asked) for peer in run.peers], ignore_index=True)
    floor = floor_s(run)
    table["floor_s"] = np.nan if floor is None else floor[table["sender"], table["receiver"]]
    return table


def summary(latencies: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """deliveries, min_s, mean_s, p50_s, p99_s, max_s and the median floor_s of each group."""
    groups = latencies.groupby(list(by), sort=True)
    table = groups["latency_s"].agg(deliveries="count", min_s="min", mean_s="mean", p50_s="median", max_s="max")
    table.insert(4, "p99_s", groups["latency_s"].quantile(0.99))
    table["floor_s"] = groups["floor_s"].median()
    return table.reset_index()


def _latencies_at(run: Run, receiver: Peer, asked: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    delivered = run.deliveries_of(receiver).drop_duplicates(["sender", "number"])
    parts = []
    for sender in run.peers if run.shared_clock else [receiver]:
        mine = delivered[delivered["sender"] == sender.number]
        numbers, asked_s = (asked[sender.number][column].to_numpy() for column in ("number", "due_s"))
        at = np.searchsorted(numbers, mine["number"])
        known = at < len(numbers)
        known[known] = numbers[at[known]] == mine["number"].to_numpy()[known]
        apart_s = 0.0 if sender is receiver else _zero_s(receiver) - _zero_s(sender)
        latency_s = mine["time_s"].to_numpy()[known] + apart_s - asked_s[at[known]]
        pair = {"sender": np.int32(sender.number), "receiver": np.int32(receiver.number)}
        parts.append(pd.DataFrame({**pair, "latency_s": latency_s}, index=range(len(latency_s))))
    table = pd.concat(parts, ignore_index=True)
    return table[table["latency_s"].notna()]


def _zero_s(peer: Peer) -> float:
    return np.nan if peer.zero_s is None else peer.zero_s


# Floors


def delays_s(run: Run) -> np.ndarray | None:
    """One-way delays between peers: those that were emulated, or half of the round trips that peers measured.

    None where they are not known of every pair, or where datagrams did not go straight from peer to peer.
    """
    overlay = run.settings.stack.overlay
    if overlay is None or overlay.name != "full_mesh":
        return None
    if run.settings.delays_s is not None:
        return np.array(run.settings.delays_s)
    delays = between_peers_s(run.measures.get("peers") or {}, [peer.name for peer in run.peers]) / 2
    return None if np.isnan(delays).any() else delays


def floor_s(run: Run) -> np.ndarray | None:
    """[sender][receiver]: no delivery can be faster, at any load; None where that is not known."""
    return _floor(run, floors.bound)


def alone_s(run: Run) -> np.ndarray | None:
    """[sender][receiver]: the mean of messages that have the group to themselves; None where that is not known."""
    return _floor(run, floors.expected)


def through(run: Run) -> np.ndarray | None:
    """[sender][receiver]: the member that a message waits for which has the group to itself; None likewise."""
    return _floor(run, floors.critical)


def _floor(run: Run, floor: Callable[..., np.ndarray]) -> np.ndarray | None:
    delays = delays_s(run)
    ordering = run.settings.stack.ordering
    variants = floors.BOUNDS.get(ordering.name, {})
    variant = ordering.options.get("variant")
    if delays is None or not variants or variant is not None and variant not in variants:
        return None
    return floor(ordering.name, variant, delays, ordering.options)


# Everything else


def logs(run: Run) -> pd.DataFrame:
    """peer, delivered, missing, repeated, unexpected: each log against all that was recorded to have been multicast.

    Missing is a message that the peer never delivered, repeated a delivery of one that it had delivered before,
    unexpected a message that nobody recorded.
    """
    asked = pd.unique(np.concatenate([message_ids(peer.number, run.sends_of(peer)["number"]) for peer in run.peers]))
    known = pd.Index(asked)
    rows = []
    for peer in run.peers:
        table = run.deliveries_of(peer)
        ids = message_ids(table["sender"], table["number"])
        distinct = pd.unique(ids)
        expected = (known.get_indexer(distinct) >= 0).sum()
        rows.append((peer.number, len(ids), len(asked) - expected, len(ids) - len(distinct), len(distinct) - expected))
    return pd.DataFrame(rows, columns=["peer", "delivered", "missing", "repeated", "unexpected"])


def throughput(run: Run, logs: Sequence[PeerLog] | None = None) -> pd.DataFrame:
    """peer, deliveries, took_s, deliveries_per_s: from a peer's first multicast or delivery to its last delivery.

    `logs`: those of all peers, where they have been read already.
    """
    return pd.DataFrame(rates(run, logs), columns=["peer", "deliveries", "took_s", "deliveries_per_s"])


def rates(run: Run, logs: Sequence[PeerLog] | None = None) -> list[tuple[int, int, float, float]]:
    """The same as rows."""
    rows = []
    for peer in run.peers:
        log = run.log_of(peer) if logs is None else logs[peer.number]
        asked_s = np.empty(0) if log.sends is None else log.sends.times_s
        took_s = _most(log.times_s) - float(np.fmin(_least(log.times_s), _least(asked_s)))
        rows.append((peer.number, len(log.ids), took_s, len(log.ids) / took_s if took_s > 0 else np.nan))
    return rows


def _least(times_s: np.ndarray) -> float:
    return float(np.fmin.reduce(times_s, initial=np.nan))


def _most(times_s: np.ndarray) -> float:
    return float(np.fmax.reduce(times_s, initial=np.nan))


def cost(run: Run) -> dict[str, float | None]:
    """What was sent for each message delivered anywhere, handshakes and ends included; None where nobody counted."""
    delivered = sum(peer.delivered for peer in run.peers)
    costs: dict[str, float | None] = {}
    for what in COSTS:
        amounts = [_measured(run, peer).get(what) for peer in run.peers]
        known = delivered > 0 and None not in amounts
        costs[f"{what}_per_delivery"] = sum(amounts) / delivered if known else None
    return costs


def sent(run: Run) -> int:
    """How many datagrams all peers sent."""
    return sum(_measured(run, peer).get("datagrams_sent") or 0 for peer in run.peers)


def astray(run: Run) -> dict[str, int]:
    """Datagrams that did not arrive as they were sent, or were not let in, by what became of them."""
    counts: Counter[str] = Counter()
    for peer in run.peers:
        measured = _measured(run, peer)
        for what, words in ASTRAY.items():
            counts[words] += measured.get(what) or 0
        for reason, count in (measured.get("dropped") or {}).items():
            counts[f"refused ({reason})"] += count
    return {words: count for words, count in counts.items() if count}


def lateness(run: Run) -> pd.DataFrame:
    """peer, p50_s, p99_s, worst_s: how late the emulated network handed datagrams in; empty in virtual time."""
    late = [(peer.number, _measured(run, peer).get("model_lateness")) for peer in run.peers]
    rows = [{"peer": number, **each} for number, each in late if each]
    return pd.DataFrame(rows, columns=["peer", "p50_s", "p99_s", "worst_s"])


def _measured(run: Run, peer: Peer) -> Mapping[str, Any]:
    """What a peer counted."""
    return (run.measures.get("peers") or {}).get(peer.name) or {}

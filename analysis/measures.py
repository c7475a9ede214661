"""What the tables of a run add up to: latencies beside their floors, throughput, cost, and how late the emulation was.

A latency goes from the moment the application asked for a multicast to the delivery at one peer. At the sender itself
that is one clock; across peers it can only be told where they share a clock, and the moments at which each was
released line them up. A percentile lies between two values where it falls between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis import floors
from analysis.load import Peer, Run

COSTS = ("datagrams_sent", "packets_sent", "bytes_sent", "resent")


def latencies(run: Run) -> pd.DataFrame:
    """sender, receiver, latency_s: one row for each message and each peer that delivered it.

    Without a shared clock the receiver is always the sender. What was delivered twice counts the first time; what no
    send record tells of is left out.
    """
    asked = {peer.number: run.sends_of(peer).sort_values("number", kind="stable") for peer in run.peers}
    parts = [_latencies_at(run, peer, asked) for peer in run.peers]
    return pd.concat(parts, ignore_index=True)


def _latencies_at(run: Run, receiver: Peer, asked: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Those at one receiver."""
    delivered = run.deliveries_of(receiver).drop_duplicates(["sender", "number"])
    parts = []
    for sender in run.peers if run.shared_clock else [receiver]:
        mine = delivered[delivered["sender"] == sender.number]
        sends = asked[sender.number]
        at = np.searchsorted(sends["number"], mine["number"])
        known = at < len(sends)
        known[known] = sends["number"].to_numpy()[at[known]] == mine["number"].to_numpy()[known]
        mine, at = mine[known], at[known]
        apart_s = 0.0 if sender is receiver else _zero_s(receiver) - _zero_s(sender)
        parts.append(
            pd.DataFrame(
                {
                    "sender": np.full(len(mine), sender.number, np.int32),
                    "receiver": np.full(len(mine), receiver.number, np.int32),
                    "latency_s": mine["time_s"].to_numpy() + apart_s - sends["time_s"].to_numpy()[at],
                }
            )
        )
    latencies = pd.concat(parts, ignore_index=True)
    return latencies[latencies["latency_s"].notna()]


def _zero_s(peer: Peer) -> float:
    return np.nan if peer.zero_s is None else peer.zero_s


def summary(latencies: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """deliveries, min_s, mean_s, p50_s, p99_s, max_s of each group."""
    groups = latencies.groupby(by, sort=True)["latency_s"]
    table = groups.agg(deliveries="count", min_s="min", mean_s="mean", p50_s="median", max_s="max")
    table.insert(4, "p99_s", groups.quantile(0.99))
    return table.reset_index()


def pair_latencies(run: Run) -> pd.DataFrame:
    """The latencies of each (sender, receiver) pair, summed up; only senders' own where clocks are not shared."""
    return summary(latencies(run), ["sender", "receiver"])


# Floors


def delays_s(run: Run) -> np.ndarray | None:
    """One-way delays between peers: those that were emulated, or half of the round trips that peers measured.

    None where neither is known of every pair, or where datagrams did not go straight from peer to peer.
    """
    overlay = run.settings.stack.overlay
    if overlay is None or overlay.name != "full_mesh":
        return None
    if run.settings.delays_s is not None:
        return np.array(run.settings.delays_s)
    of_peers = run.measures.get("peers") or {}
    rows = [of_peers.get(peer.name, {}).get("rtt_s") or [None] * len(run.peers) for peer in run.peers]
    delays = np.array(rows, float) / 2
    np.fill_diagonal(delays, 0.0)
    return None if np.isnan(delays).any() else delays


def floor_s(run: Run) -> np.ndarray | None:
    """[sender][receiver]: no delivery can be faster, at any load; None where that is not known."""
    return _floor(run, floors.bound)


def alone_s(run: Run) -> np.ndarray | None:
    """[sender][receiver]: the mean of messages that have the group to themselves; None where that is not known."""
    return _floor(run, floors.expected)


def _floor(run: Run, floor: Any) -> np.ndarray | None:
    delays = delays_s(run)
    ordering = run.settings.stack.ordering
    variants = floors.BOUNDS.get(ordering.name, {})
    variant = ordering.options.get("variant")
    if delays is None or not variants or (variant is not None and variant not in variants):
        return None
    return floor(ordering.name, variant, delays, ordering.options)


def pairs_with_floors(run: Run) -> pd.DataFrame:
    """`pair_latencies`, and floor_s and alone_s of each pair where they are known."""
    pairs = pair_latencies(run)
    for name, matrix in (("floor_s", floor_s(run)), ("alone_s", alone_s(run))):
        if matrix is not None:
            pairs[name] = matrix[pairs["sender"], pairs["receiver"]]
    return pairs


# Everything else


def throughput(run: Run) -> pd.DataFrame:
    """peer, deliveries, took_s, deliveries_per_s: from a peer's first multicast or delivery to its last delivery."""
    rows = []
    for peer in run.peers:
        delivered, sent = run.deliveries_of(peer)["time_s"], run.sends_of(peer)["time_s"]
        took_s = delivered.max() - min(delivered.min(), sent.min() if len(sent) else np.inf)
        rows.append((peer.number, len(delivered), took_s))
    table = pd.DataFrame(rows, columns=["peer", "deliveries", "took_s"])
    table["deliveries_per_s"] = table["deliveries"] / table["took_s"].where(table["took_s"] > 0)
    return table


def cost(run: Run) -> dict[str, float | None]:
    """What was sent for each message delivered anywhere, handshakes and ends included; None where nobody counted."""
    delivered = sum(peer.delivered for peer in run.peers)
    counted = list((run.measures.get("peers") or {}).values())
    costs = {}
    for what in COSTS:
        amounts = [of_peer[what] for of_peer in counted if of_peer.get(what) is not None]
        known = delivered and len(amounts) == len(run.peers)
        costs[f"{what}_per_delivery"] = sum(amounts) / delivered if known else None
    return costs


def lateness(run: Run) -> pd.DataFrame:
    """peer, p50_s, p99_s, worst_s: how late the emulated network handed datagrams in; empty in virtual time."""
    rows = [
        {"peer": peer.number, **of_peer["model_lateness"]}
        for peer in run.peers
        if (of_peer := (run.measures.get("peers") or {}).get(peer.name)) and of_peer.get("model_lateness")
    ]
    return pd.DataFrame(rows, columns=["peer", "p50_s", "p99_s", "worst_s"])

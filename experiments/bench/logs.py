"""Logs of runs that nobody played: as large as wanted, in blocks of one message, in one order or almost.

All peers share a clock and were released at its zero; a message is multicast every GAP_S by one of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from comparison_server.run_folder import DELIVERY, SEND
from peer.core.trace import RELEASED, SEAL, pack_header

SEED = 1
DISTANCE = 20  # how many places too early or too late a displaced message is delivered, at most
UNDER_WAY = 100  # how many messages were multicast before a message and are delivered after its multicast
GAP_S = 20e-6
SLOWEST_S = 0.004  # a message takes so long at most, and at least what is under way before it
AT_ONCE = 1 << 20  # records made and written at once


def write_logs(folder: Path, peers: int, deliveries: int, displaced: float = 0.0) -> None:
    """Everybody multicasts in turn; each peer delivers this share of the messages out of their place."""
    chance = np.random.default_rng(SEED)
    for peer in range(peers):
        with open(folder / f"trace-{peer}.bin", "wb") as trace:
            trace.write(pack_header({"peer": peer}))
            released = np.zeros(1, DELIVERY)
            released["kind"] = RELEASED
            trace.write(released)
            for low in range(0, deliveries, AT_ONCE):
                messages = np.arange(low, min(low + AT_ONCE, deliveries))
                if displaced:
                    messages = _displaced(messages, displaced, chance)
                records = np.zeros(len(messages), DELIVERY)
                records["sender"], records["first"] = messages % peers, messages // peers
                records["count"], records["stamp"] = 1, messages + 1
                least_s = UNDER_WAY * GAP_S
                records["time_s"] = messages * GAP_S + chance.uniform(least_s, SLOWEST_S, len(messages))
                trace.write(records)
            trace.write(_seal(DELIVERY, "stamp", deliveries + 1))
        own = range(peer, deliveries, peers)
        with open(folder / f"sends-{peer}.bin", "wb") as sends:
            sends.write(pack_header({"peer": peer}))
            for low in range(0, len(own), AT_ONCE):
                messages = np.array(own[low : low + AT_ONCE])
                records = np.zeros(len(messages), SEND)
                records["first"], records["count"] = messages // peers, 1
                records["after"] = np.maximum(messages - UNDER_WAY, 0)
                records["time_s"] = messages * GAP_S
                sends.write(records)
            sends.write(_seal(SEND, "after", len(own)))


def _displaced(messages: np.ndarray, share: float, chance: np.random.Generator) -> np.ndarray:
    moved = chance.random(len(messages)) < share
    places = messages + np.where(moved, chance.integers(-DISTANCE, DISTANCE + 1, len(messages)), 0)
    return messages[np.argsort(places, kind="stable")]


def _seal(record: np.dtype, count: str, records: int) -> np.ndarray:
    seal = np.zeros(1, record)
    seal["kind"], seal[count] = SEAL, records
    return seal

"""The round trips between peers that a run measured itself, before it began, during it and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from peer.core.shapes import fits

Measured = Mapping[str, Mapping[str, Any]]  # by name of a peer, what it counted


def between_peers_s(peers: Measured, names: Sequence[str]) -> np.ndarray:
    """[peer][other]: the median that the peer measured, or else the other one; not a number where nobody did."""
    table = np.full((len(names), len(names)), np.nan)
    for place, name in enumerate(names):
        told = peers.get(name, {}).get("round_trips")
        if fits(told, list[dict]) and len(told) == len(names):
            table[place] = [_of_all_phases(phases) for phases in told]
    table = np.where(np.isnan(table), table.T, table)
    np.fill_diagonal(table, 0.0)
    return table


def _of_all_phases(phases: Mapping[str, Any]) -> float:
    """The median of the phases' medians: a phase with much traffic is not to drown a quiet one."""
    told = [phase.get("p50_s") for phase in phases.values() if isinstance(phase, dict)]
    medians = [median_s for median_s in told if fits(median_s, float)]
    return median(medians) if medians else np.nan

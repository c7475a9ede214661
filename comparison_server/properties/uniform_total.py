"""Uniform total order: one order of all messages agrees with every log, those of crashed processes included.

Smallest witness: as in total order.
"""

from __future__ import annotations

from comparison_server.finding import Finding, no_evidence
from comparison_server.positions import Positions
from comparison_server.properties.total import judge


def uniform_total(positions: Positions) -> Finding:
    if len(positions.logs) < 2:
        return no_evidence("There are fewer than two logs.")
    return judge(positions, positions.everybody, "One order agrees with all logs.")

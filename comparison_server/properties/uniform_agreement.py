"""Uniform agreement: whatever anyone delivered, crashed or not, all that are up delivered.

Smallest witness: as in agreement, the smallest position in any log at all.
"""

from __future__ import annotations

from comparison_server.finding import Finding, no_evidence
from comparison_server.positions import Positions
from comparison_server.properties.agreement import judge


def uniform_agreement(positions: Positions) -> Finding:
    if not positions.up or len(positions.logs) < 2:
        return no_evidence("There is no process that is up to compare with another.")
    return judge(positions, positions.everybody, "Whatever anyone delivered, all that are up delivered.")

"""Validity: who is up delivered all that it multicast.

Smallest witness: the message that comes first in its sender's record of multicasts; of several such, the first peer's.
"""

from __future__ import annotations

import numpy as np

from comparison_server.finding import Finding, broken, held, no_evidence
from comparison_server.positions import Positions


def validity(positions: Positions) -> Finding:
    if not positions.evidence.self_delivery:
        return no_evidence("These programs do not deliver their own messages.")
    if not positions.up:
        return no_evidence("No process is up.")
    violations, smallest, unrecorded = 0, None, []
    for log in positions.up:
        multicasts = positions.multicasts[log]
        if multicasts is None:
            unrecorded.append(log)
            continue
        lacked = np.flatnonzero(positions.order(log).place[multicasts.messages] < 0)
        violations += len(lacked)
        if len(lacked) and (smallest is None or lacked[0] < smallest[0]):
            smallest = int(lacked[0]), log
    if smallest is not None:
        record, log = smallest
        message = int(positions.multicasts[log].messages[record])  # type: ignore[union-attr]
        return broken(
            violations,
            positions.witness([message], [log]),
            f"{positions.peer(log)} multicast {positions.name(message)} and never delivered it.",
        )
    if unrecorded:
        return no_evidence(f"There are no send records of {positions.peers(unrecorded)}.")
    return held("Who is up delivered all that it multicast.")

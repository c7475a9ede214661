"""How the classroom program counted, so that its published figures and ours can stand side by side.

It takes the first log that arrived as its reference and looks at the positions 0 to n - 2, where n is what one peer
multicasts, though every log holds n messages of each peer. A position counts once if a later log differs from the
reference there. The last log to arrive is never compared, so of three logs two are, and of two none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Without any order, 100 messages a peer and gaps of 10 to 99 ms: from the lowest to the highest of ten runs in cloud
# zones, of 99 positions, by the number of peers. Which zones these were, and which log came last, is not said.
PUBLISHED: Mapping[int, tuple[int, int]] = {3: (82, 89), 4: (96, 99), 6: (96, 99), 8: (98, 99)}
PUBLISHED_OF = 99
PUBLISHED_AS = {"ordering": "unordered", "messages": 100, "gap_min_ms": 10.0, "gap_max_ms": 99.0}
# A recorded run in a classroom, of six peers: what the program said, and what its logs come to.
RECORDED = {"peers": 6, "said": 99, "of": 99, "out_of_order_rounds": 594, "rounds": 600}


def count(logs: Sequence[np.ndarray], messages: int, arrival: Sequence[int] | None = None) -> tuple[int, int]:
    """What it counted, and out of how many: the ids of each peer's log, and how many messages each peer multicast.

    `arrival`: the logs' numbers in the order in which they arrived; by default that of the peers, since no run keeps
    it: then the last peer's log is the one left out. Where a log has already ended it holds nothing, which differs
    from any message; the program itself broke off there.
    """
    positions = max(0, messages - 1)
    arrived = [logs[number] for number in (range(len(logs)) if arrival is None else arrival)]
    differs = np.zeros(positions, bool)
    for log in arrived[1:-1]:
        differs |= _differs(arrived[0], log, positions)
    return int(np.count_nonzero(differs)), positions


def _differs(reference: np.ndarray, log: np.ndarray, positions: int) -> np.ndarray:
    """At which of the first positions two logs do not hold the same message; both having ended is the same."""
    shorter, longer = sorted(min(len(each), positions) for each in (reference, log))
    differs = np.zeros(positions, bool)
    differs[:shorter] = reference[:shorter] != log[:shorter]
    differs[shorter:longer] = True
    return differs

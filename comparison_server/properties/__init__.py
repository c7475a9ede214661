"""The properties a run is judged by; one file each, and this table of them.

A property takes the index of a run's evidence and returns a finding. It knows nothing of protocols or worlds, and
judges by what is true of the logs alone. Of several proofs that it is broken the witness is the smallest; what that
means is said in each file. A property holds only where the logs could have broken it: for order somebody has to have
delivered two messages, for all else one.
"""

from __future__ import annotations

from collections.abc import Callable

from comparison_server.finding import Finding, no_evidence
from comparison_server.positions import Positions
from comparison_server.properties.agreement import agreement
from comparison_server.properties.causal import causal
from comparison_server.properties.fifo import fifo
from comparison_server.properties.integrity import integrity
from comparison_server.properties.prefix import prefix
from comparison_server.properties.same_view import same_view
from comparison_server.properties.total import total
from comparison_server.properties.uniform_agreement import uniform_agreement
from comparison_server.properties.uniform_total import uniform_total
from comparison_server.properties.validity import validity


def _of_delivered(judge: Callable[[Positions], Finding], least: int, sentence: str) -> Callable[[Positions], Finding]:
    """What a property finds, if somebody delivered so many messages or it is broken all the same."""

    def judged(positions: Positions) -> Finding:
        finding = judge(positions)
        most = max((len(order.messages) for order in positions.orders), default=0)
        return no_evidence(sentence) if finding.holds and most < least else finding

    return judged


def _of_any(judge: Callable[[Positions], Finding]) -> Callable[[Positions], Finding]:
    return _of_delivered(judge, 1, "Nobody delivered a message.")


def _of_order(judge: Callable[[Positions], Finding]) -> Callable[[Positions], Finding]:
    return _of_delivered(judge, 2, "Nobody delivered two messages, so there is no order to be judged.")


PROPERTIES: dict[str, Callable[[Positions], Finding]] = {
    "validity": _of_any(validity),
    "integrity": _of_any(integrity),
    "agreement": _of_any(agreement),
    "uniform_agreement": _of_any(uniform_agreement),
    "fifo": _of_order(fifo),
    "causal": _of_order(causal),
    "total": _of_order(total),
    "uniform_total": _of_order(uniform_total),
    "prefix": _of_order(prefix),
    "same_view": _of_any(same_view),
}

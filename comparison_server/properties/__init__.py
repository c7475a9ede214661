"""The properties a run is judged by; one file each, and this table of them.

A property takes the index of a run's evidence and returns a finding. It knows nothing of protocols or worlds, and
judges by what is true of the logs alone. Of several proofs that it is broken the witness is the smallest; what that
means is said in each file.
"""

from __future__ import annotations

from collections.abc import Callable

from comparison_server.finding import Finding
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

PROPERTIES: dict[str, Callable[[Positions], Finding]] = {
    "validity": validity,
    "integrity": integrity,
    "agreement": agreement,
    "uniform_agreement": uniform_agreement,
    "fifo": fifo,
    "causal": causal,
    "total": total,
    "uniform_total": uniform_total,
    "prefix": prefix,
    "same_view": same_view,
}

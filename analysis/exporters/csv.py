"""Export `csv`: a row for each delivery, and in a second file one for each multicast; what `judge` reads.

Rows are `peer,position,sender,number,time_s` and `peer,number,time_s,after`. Peers and senders are numbers, positions
begin at 0, times are seconds since the peer's release, to the nanosecond.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.exporters.lines import lines
from analysis.run import Run
from comparison_server.text_logs import DELIVERIES, SENDS


def deliveries(run: Run) -> Iterator[bytes]:
    """What everybody delivered, peer after peer."""
    yield (",".join(DELIVERIES) + "\n").encode()
    for peer in run.peers:
        yield from lines(run.deliveries_of(peer)[DELIVERIES], "%d,%d,%d,%d,%.9f\n")


def sends(run: Run) -> Iterator[bytes]:
    """What everybody multicast, peer after peer."""
    yield (",".join(SENDS) + "\n").encode()
    for peer in run.peers:
        yield from lines(run.sends_of(peer)[SENDS], "%d,%d,%.9f,%d\n")

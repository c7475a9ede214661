"""Export `csv`: a row for each delivery, and in a second file one for each multicast; what `judge` reads.

Rows are `peer,position,sender,number,time_s` and `peer,number,time_s,after`. Peers and senders are numbers, positions
begin at 0, times are in seconds since the peer's release, to the nanosecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from analysis.load import Run
from comparison_server.text_logs import DELIVERIES, SENDS

ROWS_AT_ONCE = 1 << 16


def deliveries(run: Run) -> Iterator[bytes]:
    """What everybody delivered, peer after peer."""
    return _rows((run.deliveries_of(peer) for peer in run.peers), DELIVERIES)


def sends(run: Run) -> Iterator[bytes]:
    """What everybody multicast, peer after peer."""
    return _rows((run.sends_of(peer) for peer in run.peers), SENDS)


def _rows(tables: Iterable[pd.DataFrame], titles: list[str]) -> Iterator[bytes]:
    yield (",".join(titles) + "\n").encode()
    for table in tables:
        table["time_s"] = table["time_s"].round(9)
        for begin in range(0, len(table), ROWS_AT_ONCE):
            rows = table.iloc[begin : begin + ROWS_AT_ONCE]
            yield rows.to_csv(columns=titles, header=False, index=False, lineterminator="\n").encode()

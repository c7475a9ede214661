"""Export `csv`: a row for each delivery, and in a second file one for each multicast; what `judge` reads.

Rows are `peer,position,sender,number,time_s` and `peer,number,time_s,after`. Peers and senders are numbers, positions
begin at 0, times are seconds since the peer's release, to the nanosecond. A frame has all its columns, floats with all
their digits, and nothing where nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import pandas as pd

from analysis.columns import FRAMES
from analysis.exporters.lines import LINES_AT_ONCE, lines
from analysis.parquet import arrow
from analysis.run import Run
from comparison_server.text_logs import DELIVERIES, SENDS


def deliveries(run: Run) -> Iterator[bytes]:
    """What everybody delivered, peer after peer."""
    yield (",".join(DELIVERIES) + "\n").encode()
    for peer in run.peers:
        for part in run.deliveries_in_parts(peer):
            yield from lines(part[DELIVERIES], "%d,%d,%d,%d,%.9f\n")


def sends(run: Run) -> Iterator[bytes]:
    """What everybody multicast, peer after peer."""
    yield (",".join(SENDS) + "\n").encode()
    for peer in run.peers:
        yield from lines(run.sends_of(peer)[SENDS], "%d,%d,%.9f,%d\n")


def frame(name: str, pieces: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    """A frame, with a line of titles."""
    from pyarrow.csv import WriteOptions, write_csv  # which is ten times as fast as lines of ours

    yield (",".join(FRAMES[name]) + "\n").encode()
    options = WriteOptions(include_header=False, quoting_style="needed")
    for piece in pieces:
        for begin in range(0, len(piece), LINES_AT_ONCE):
            part = BytesIO()
            write_csv(arrow(piece.iloc[begin : begin + LINES_AT_ONCE], FRAMES[name]), part, options)
            yield part.getvalue()

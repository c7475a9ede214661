"""Tables as lines of text, made a part at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

LINES_AT_ONCE = 1 << 16


def lines(table: pd.DataFrame, line: str) -> Iterator[bytes]:
    """Every row put into `line`, which has a %-conversion for each column."""
    for begin in range(0, len(table), LINES_AT_ONCE):
        part = table.iloc[begin : begin + LINES_AT_ONCE]
        yield "".join(map(line.__mod__, zip(*(part[column].tolist() for column in part)))).encode()

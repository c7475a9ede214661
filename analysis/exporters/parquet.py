"""Export `parquet`: what everybody delivered, or a frame, as a file for other tools; equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from analysis.columns import FRAMES, Column
from analysis.parquet import Groups
from analysis.run import Run


def deliveries(run: Run) -> Iterator[bytes]:
    """What everybody delivered, peer after peer: peer, position, sender, number, time_s, stamp."""
    columns = {name: column for name, column in FRAMES["deliveries"].items() if name != "run"}
    return _file(columns, (part for peer in run.peers for part in run.deliveries_in_parts(peer)))


def frame(name: str, pieces: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    """A frame."""
    return _file(FRAMES[name], pieces)


class _Sink:
    """A file that gives away what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self.written.append(bytes(data))
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held."""

    def take(self) -> bytes:
        written = b"".join(self.written)
        self.written.clear()
        return written


def _file(columns: Mapping[str, Column], pieces: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    sink = _Sink()
    groups = Groups(sink, columns)
    for piece in pieces:
        groups.add(piece)
        yield sink.take()
    groups.end()
    yield sink.take()

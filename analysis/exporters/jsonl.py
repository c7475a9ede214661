"""Export `jsonl`: one JSON object a line for each delivery, or for each row of a frame; null where nothing is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from analysis.exporters.lines import LINES_AT_ONCE
from analysis.run import Run

DECIMALS = 15  # the most that pandas writes


def deliveries(run: Run) -> Iterator[bytes]:
    """What everybody delivered, peer after peer: peer, position, sender, number, time_s, stamp."""
    return _objects(part for peer in run.peers for part in run.deliveries_in_parts(peer))


def frame(name: str, pieces: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    """A frame."""
    return _objects(pieces)


def _objects(pieces: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    for piece in pieces:
        for begin in range(0, len(piece), LINES_AT_ONCE):
            part = piece.iloc[begin : begin + LINES_AT_ONCE]
            yield part.to_json(orient="records", lines=True, double_precision=DECIMALS, force_ascii=False).encode()

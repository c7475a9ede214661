"""Export `text`: for people to read, peer by peer, a line a delivery with its Lamport stamp."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from analysis.exporters.lines import lines
from analysis.run import Peer, Run

TITLES = ["position", "sender", "number", "stamp", "time_s"]
TIME_WIDTH = 14


def deliveries(run: Run) -> Iterator[bytes]:
    """A section for each peer."""
    for peer in run.peers:
        table = run.deliveries_of(peer)[TITLES]
        widths = [_width(table[title]) for title in TITLES[:-1]]
        titles = "  ".join(f"{title:>{width}}" for title, width in zip(TITLES, [*widths, TIME_WIDTH]))
        yield f"{_heading(peer)}\n{titles}\n".encode()
        yield from lines(table, "  ".join(f"%{width}d" for width in widths) + f"  %{TIME_WIDTH}.6f\n")
        yield b"\n"


def _heading(peer: Peer) -> str:
    called = ", ".join(filter(None, (peer.name, peer.region)))
    return f"peer {peer.number} ({called}): {peer.delivered} deliveries" + ("" if peer.sealed else ", and cut there")


def _width(column: pd.Series) -> int:
    """As wide as the title and the widest number."""
    return max(len(column.name), len(str(column.max())) if len(column) else 0)

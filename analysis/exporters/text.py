"""Export `text`: for people to read, peer by peer, a line a delivery with its Lamport stamp."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.load import Peer, Run

TITLES = ("position", "sender", "number", "stamp", "time_s")
LINES_AT_ONCE = 1 << 16


def deliveries(run: Run) -> Iterator[bytes]:
    """A section for each peer; columns as wide as what is in them."""
    for peer in run.peers:
        yield _heading(peer).encode()
        table = run.deliveries_of(peer)[list(TITLES)]
        widths = [max(len(title), *map(len, map(str, (table[title].max(), 0)))) for title in TITLES[:-1]]
        line = "  ".join(f"%{width}d" for width in widths) + "  %12.6f\n"
        yield ("  ".join(f"{title:>{width}}" for title, width in zip(TITLES, [*widths, 12])) + "\n").encode()
        for begin in range(0, len(table), LINES_AT_ONCE):
            columns = [column.tolist() for _, column in table.iloc[begin : begin + LINES_AT_ONCE].items()]
            yield "".join(map(line.__mod__, zip(*columns))).encode()
        yield b"\n"


def _heading(peer: Peer) -> str:
    called = ", ".join(filter(None, (peer.name, peer.region)))
    cut = "" if peer.sealed else "; its log is cut here"
    return f"peer {peer.number} ({called}): {peer.delivered} deliveries{cut}\n"

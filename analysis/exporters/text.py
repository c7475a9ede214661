"""Export `text`: for people to read, peer by peer, a line a delivery with its Lamport stamp."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.exporters.lines import lines
from analysis.run import Peer, Run

TITLES = ["position", "sender", "number", "stamp", "time_s"]
TIME_WIDTH = 14


def deliveries(run: Run) -> Iterator[bytes]:
    """A section for each peer."""
    for peer in run.peers:
        widths = [_width(run, peer, title) for title in TITLES[:-1]]
        titles = "  ".join(f"{title:>{width}}" for title, width in zip(TITLES, [*widths, TIME_WIDTH]))
        yield f"{_heading(peer)}\n{titles}\n".encode()
        line = "  ".join(f"%{width}d" for width in widths) + f"  %{TIME_WIDTH}.6f\n"
        for part in run.deliveries_in_parts(peer):
            yield from lines(part[TITLES], line)
        yield b"\n"


def _heading(peer: Peer) -> str:
    called = ", ".join(filter(None, (peer.name, peer.region)))
    return f"peer {peer.number} ({called}): {peer.delivered} deliveries" + ("" if peer.sealed else ", and cut there")


def _width(run: Run, peer: Peer, title: str) -> int:
    """As wide as the title and the widest number."""
    widest = max((part[title].max() for part in run.deliveries_in_parts(peer) if len(part)), default=0)
    return max(len(title), len(str(widest)))

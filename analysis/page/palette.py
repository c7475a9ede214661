"""One colour an ordering, the same everywhere, on a light ground and on a dark one.

Each has a contrast of 3 at least against both, and the first four differ for every kind of colour blindness. Where many
meet, a dash and a shape tell them apart too, so that nothing depends on colour alone: also not on paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

COLOURS: Mapping[str, str] = {
    "unordered": "#7a828e",
    "fifo": "#d9730d",
    "lamport_all_ack": "#2f6fe0",
    "fixed_sequencer": "#0ea36b",
    "causal": "#8f7d00",
    "moving_sequencer": "#0891b2",
    "token_ring": "#b04ad8",
    "skeen": "#e0457b",
    "raft_log": "#a6683f",
}
OTHERS = "#7f7f7f"  # an ordering that has no colour yet
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 2, 1, 2])
WIDTHS, SIZES = (4.4, 2.3, 1.8, 1.5), (130.0, 70.0, 50.0, 40.0)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


@dataclass(frozen=True, slots=True)
class Look:
    """How one ordering looks in every chart of a page."""

    colour: str
    dash: list[int]
    shape: str
    width: float  # of lines; what is drawn later is narrower, so that what it covers still shows
    size: float  # of marks, likewise


def looks(titles: Iterable[str]) -> dict[str, Look]:
    """A look for each title; variants of one ordering have its colour and differ in dash and shape."""
    found: dict[str, Look] = {}
    for place, title in enumerate(dict.fromkeys(titles)):
        dash, shape = DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)]
        width, size = (each[min(place, len(each) - 1)] for each in (WIDTHS, SIZES))
        found[title] = Look(colour(title), dash, shape, width, size)
    return found


def colour(title: str) -> str:
    """The colour of an ordering, whatever its variant."""
    return COLOURS.get(title.partition(":")[0], OTHERS)

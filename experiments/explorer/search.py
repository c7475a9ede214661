"""The search: every state that the peers can come to, breadth first, and the shortest way to a broken promise.

A state is one integer, and a turn adds to it: what becomes of the peer that takes it, and of the inboxes that it
sends to. Both are looked up (state.py), so the shipped layers run a few thousand times for millions of states.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from experiments.explorer.judging import AT_THE_END, PROPERTIES, Judge, Violation, recorded
from experiments.explorer.model import Model
from experiments.explorer.state import MULTICAST, Full, Space
from experiments.explorer.witness import Arrival, Firing, Multicast, Step, TurnEnd
from experiments.yaml_files import unknown
from peer.core.errors import SettingsError
from peer.core.events import PacketArrived
from peer.core.guarantees import RELIABLE

MAX_STATES = 2_000_000
TELL_EVERY = 20_000  # states looked at between two words of progress


@dataclass(frozen=True, slots=True)
class Explored:
    """What a search found. All numbers are the same whenever and wherever it is run."""

    model: Model
    checked: tuple[str, ...]
    exhausted: bool  # every state within the bounds was looked at
    states: int  # in which no peer is in the middle of a turn
    transitions: int  # turns taken from them
    depth: int  # turns, on the shortest way to the farthest state
    stopped: str  # why the search ended before it was exhausted, in words
    violation: Violation | None = None
    witness: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is."""

    states: int
    depth: int
    waiting: int  # states found and not looked at

"""How far the clocks of a run's peers are apart, and with it one time line for all of them.

Where peers have clocks of their own, each tells by how much each other's clock seemed to be ahead when a datagram of
it came in: its stamp less the own clock. No datagram takes less than no time, so the largest of these is a lower
bound of how far that clock is ahead, and what the other end tells is an upper one. That is what NTP has from the four
stamps of one exchange, but with the quickest datagram of each direction. The estimate is the middle; it is wrong by
half of the rest at most, if neither clock gained on the other meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.run import Run
from peer.core.shapes import fits
from peer.drivers.round_trips import PHASES


@dataclass(frozen=True, slots=True)
class Clocks:
    """[a][b]: how far the clock of b is ahead of that of a, and by how much that may be wrong; NaN: nobody knows."""

    ahead_s: np.ndarray
    uncertain_s: np.ndarray


def clocks(run: Run) -> Clocks:
    """What is known of the clocks of a run."""
    peers = len(run.peers)
    if run.shared_clock:
        return Clocks(np.zeros((peers, peers)), np.zeros((peers, peers)))
    told = np.stack([_told(run, peer.name) for peer in run.peers])  # [peer][of whom][phase]
    least, most = told, -told.transpose(1, 0, 2)
    least_s, most_s = np.fmax.reduce(least, axis=2), np.fmin.reduce(most, axis=2)
    contrary = least_s > most_s  # one clock gained on the other from phase to phase: then what each phase says counts
    least_s = np.where(contrary, np.fmin.reduce(np.fmin(least, most), axis=2), least_s)
    most_s = np.where(contrary, np.fmax.reduce(np.fmax(least, most), axis=2), most_s)
    ahead_s, uncertain_s = (least_s + most_s) / 2, (most_s - least_s) / 2
    for matrix in (ahead_s, uncertain_s):
        np.fill_diagonal(matrix, 0.0)
    return Clocks(ahead_s, uncertain_s)


def released_s(run: Run, known: Clocks) -> np.ndarray:
    """When each peer was released since the first one was; not a number where that is not known of all."""
    zeros = np.array([np.nan if peer.zero_s is None else peer.zero_s for peer in run.peers])
    line = zeros - known.ahead_s[0]  # as the clock of peer 0 would have told it
    return line - np.nanmin(line) if not np.isnan(line).all() else line


def _told(run: Run, name: str) -> np.ndarray:
    """[of whom][phase]: by how much its clock was seen to be ahead, at least."""
    table = np.full((len(run.peers), len(PHASES)), np.nan)
    told = ((run.measures.get("peers") or {}).get(name) or {}).get("clocks_ahead_s")
    if fits(told, list[dict]) and len(told) == len(run.peers):
        for whom, by_phase in enumerate(told):
            for place, phase in enumerate(PHASES):
                if fits(by_phase.get(phase), float):
                    table[whom, place] = by_phase[phase]
    return table

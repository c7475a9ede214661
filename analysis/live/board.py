"""What there is to be shown of runs that go on: told by the thread that plays them, read by the one that serves pages.

To tell costs next to nothing: what is told is kept, and becomes text only where somebody looks. Readers get what holds
at that moment, so a slow one misses what lay between, and nothing piles up for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.live.places import places_of
from analysis.page.palette import colour
from comparison_server.service import Progress
from comparison_server.verdict import Verdict

PLANNED, PLAYING, HELD, VIOLATED, UNFINISHED = "planned", "playing", "held", "violated", "unfinished"
MOST_RUNS = 200  # in the list; of more, those that ended first are only counted


@dataclass(frozen=True)
class Run:
    """A line of the list of runs."""

    title: str
    colour: str
    state: str = PLANNED
    rounds: int | None = None
    out_of_order: int | None = None
    promised: int = 0
    unknown: int = 0  # of these, for how many there is no evidence
    violated: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()  # that were not promised
    error: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Listed:
    """All runs of one program."""

    runs: tuple[Run, ...] = ()
    earlier: int = 0  # that have left the list
    present: int | None = None  # the one that is played, or was played last: its place in the list
    over: bool = False  # nothing more will be told


@dataclass(frozen=True)
class Present:
    """The run that is played, or was played last."""

    members: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    messages: int = 0  # that each of them is to multicast
    progress: Progress | None = None


class Board:
    """What is told is replaced as a whole, never changed, so that no reader finds it half told."""

    def __init__(self, name: str) -> None:
        """`name`: of what is played."""
        self.name = name
        self.listed, self.now = Listed(), Present()
        self._texts: dict[str, tuple[Any, str]] = {}

    def plan(self, titles: Sequence[str]) -> None:
        """These are to be played next."""
        listed = self.listed
        runs = [*listed.runs, *(Run(title, colour(title)) for title in titles)]
        ended = sum(run.state not in (PLANNED, PLAYING) for run in runs)
        gone = max(0, min(ended, len(runs) - MOST_RUNS))
        present = None if listed.present is None or listed.present < gone else listed.present - gone
        self.listed = replace(listed, runs=tuple(runs[gone:]), earlier=listed.earlier + gone, present=present)

    def begin(self, title: str, members: Sequence[str], regions: Sequence[str], messages: int) -> None:
        """The next one begins."""
        self.now = Present(tuple(members), tuple(regions), messages)
        place = next(place for place, run in enumerate(self.listed.runs) if run.state == PLANNED)
        self.listed = replace(self.listed, present=place)
        self._say(title=title, state=PLAYING)

    def show(self, progress: Progress) -> None:
        """How far it is."""
        if not progress.members and self.now.progress is not None:  # logs come home, and nobody tells how the peers are
            progress = replace(progress, members=self.now.progress.members)
        self.now = replace(self.now, progress=progress)

    def end(self, verdict: Verdict, error: str, folder: str) -> None:
        """It has ended, and was judged."""
        rounds, violated = verdict.rounds, tuple(verdict.violated())
        broken = (name for name, finding in verdict.findings.items() if finding.holds is False)
        self._say(
            state=VIOLATED if violated else UNFINISHED if error else HELD,
            rounds=rounds and rounds.rounds,
            out_of_order=rounds and rounds.out_of_order,
            promised=len(verdict.promised),
            unknown=sum(verdict.findings[name].holds is None for name in verdict.promised),
            violated=violated,
            broken=tuple(name for name in broken if name not in violated),
            error=error,
            folder=folder,
        )

    def leave(self) -> None:
        """Nothing more comes of what was planned: what is played was not judged, what follows is not played."""
        runs = [run for run in self.listed.runs if run.state != PLANNED]
        error = "it was given up before it could be judged"
        runs = [replace(run, state=UNFINISHED, error=error) if run.state == PLAYING else run for run in runs]
        self.listed = replace(self.listed, runs=tuple(runs))

    def conclude(self) -> None:
        """The program ends."""
        self.listed = replace(self.listed, over=True)

    def parts(self) -> dict[str, str]:
        """Everything as text, in parts that change at their own pace; for one thread only."""
        listed = self.listed  # first, so that what is told of the present run is no older
        return {"present": self._text("present", self.now), "runs": self._text("runs", listed)}

    def _say(self, **about: Any) -> None:
        """Of the present run."""
        runs, place = list(self.listed.runs), self.listed.present
        runs[place] = replace(runs[place], **about)
        self.listed = replace(self.listed, runs=tuple(runs))

    def _text(self, part: str, told: Listed | Present) -> str:
        before, text = self._texts.get(part, (None, ""))
        if before is not told:
            more = {"name": self.name} if part == "runs" else {"places": places_of(told.regions)}
            text = json.dumps({**asdict(told), **more}, separators=(",", ":"))
            self._texts[part] = told, text
        return text

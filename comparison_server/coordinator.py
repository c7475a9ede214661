"""The life of a run as the comparison server leads it: who is there, prepare, release, drain, close, collect.

Pure: what sessions report and the time go in, commands to sessions come out. Every wait
ends with the event it waits for or with a named timeout that says who is missing.

    idle -> handshake -> send -> drain -> upload -> done

A run that cannot finish is still closed and collected; its error is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from peer import session
from peer.core.commands import Close, Command, ControlReport, Counts, Prepare, Reached, Rejected, Release, Sealed
from peer.core.errors import RunError
from peer.core.settings import RunSettings

LEAST_QUIET_S = 2.0  # nothing moved for so long, or for ten round trips: it has come to rest
LOST_S = 10.0  # a session without connection for so long is lost
NOTHING_TO_COLLECT = ("unknown run", "no such log")  # with these a session refuses to seal or to send its logs

IDLE, HANDSHAKE, SEND, DRAIN, UPLOAD, DONE = "idle", "handshake", "send", "drain", "upload", "done"


@dataclass
class Member:
    """What the coordinator knows of one session."""

    name: str
    prepare: Prepare
    reached: bool = False
    counts: Counts | None = None
    sealed: Sealed | None = None
    collected: bool = False
    gone_since: float | None = None
    lost: bool = False


@dataclass
class Coordinator:
    """Leads one run after another over the sessions that are there."""

    present: dict[str, None] = field(default_factory=dict)  # names of connected sessions, in order of arrival
    phase: str = IDLE
    run: str = ""
    settings: RunSettings | None = None
    agreement: bool = False  # whether the ordering promises that everybody delivers everything
    members: dict[str, Member] = field(default_factory=dict)
    began: float = 0.0  # when the phase began,
    started: float = 0.0  # and the run
    moved: float = 0.0  # when a count last changed
    complete: bool = False
    error: RunError | None = None
    outbox: list[tuple[str, Command]] = field(default_factory=list)

    # Who is there.

    def joined(self, name: str, now: float, run: str = "", phase: str = session.IDLE) -> None:
        """A session connected, for the first time or again, and says what it is playing.

        What it missed while it was away is said again. A run that nobody leads any more is closed.
        """
        self.present[name] = None
        member = self.members.get(name) if self.phase not in (IDLE, DONE) else None
        if (member is None or run != self.run) and phase not in (session.IDLE, session.CLOSED):
            self.outbox.append((name, Close(run)))
        if member is None:
            return
        member.gone_since = None
        if run != self.run:
            self._knows_nothing(member, now)
            return
        member.lost = False
        member.reached = member.reached or phase != session.HANDSHAKE
        if self.phase == UPLOAD and phase != session.CLOSED:
            self.outbox.append((name, Close(run)))
        elif self.phase in (SEND, DRAIN) and phase in (session.HANDSHAKE, session.READY):
            self.outbox.append((name, Release(run)))
        self._advance(now)

    def left(self, name: str, now: float) -> None:
        """A session's connection is gone."""
        self.present.pop(name, None)
        if name in self.members:
            self.members[name].gone_since = now

    # The run.

    def start(
        self, run: str, settings: RunSettings, agreement: bool, header: dict[str, Any], now: float, wire: Any
    ) -> None:
        """Freeze the members and have everybody prepare. `wire` is the settings as the peers get them."""
        assert self.phase in (IDLE, DONE), f"a run is in phase {self.phase}"
        self.run, self.settings, self.agreement = run, settings, agreement
        self.members = {
            name: Member(name, Prepare(run, me, wire, header), gone_since=None if name in self.present else now)
            for me, name in enumerate(settings.members)
        }
        self.error, self.complete = None, False
        self.started = now
        self._enter(HANDSHAKE, now)
        self.outbox.extend((name, member.prepare) for name, member in self.members.items())

    def on_report(self, name: str, report: ControlReport, now: float) -> None:
        """A session says something."""
        member = self.members.get(name)
        if member is None or getattr(report, "run", "") != self.run:
            return
        kind = type(report)
        if kind is Reached:
            member.reached = True
        elif kind is Counts:
            if report != member.counts and self.phase != UPLOAD:
                self.moved = now
            member.counts = report
        elif kind is Sealed:
            if member.sealed is None:
                self.moved = now
            member.sealed = report
        elif kind is Rejected and self.phase in (HANDSHAKE, SEND, DRAIN):
            self._fail(RunError(self.phase, [name], report.sentence), now)
        elif kind is Rejected and report.code in NOTHING_TO_COLLECT:
            self.lose(name, report.sentence, now)
        self._advance(now)

    def collecting(self, now: float) -> None:
        """A part of some log has come."""
        self.moved = now

    def collected(self, name: str, now: float) -> None:
        """The logs of this session are all here."""
        self.members[name].collected = True
        self.moved = now
        self._advance(now)

    def lose(self, name: str, sentence: str, now: float) -> None:
        """Nothing more is to be expected from this session, because of what the sentence says."""
        member = self.members[name]
        if member.lost or member.collected or self.phase in (IDLE, DONE):
            return
        member.lost, self.complete = True, False
        error = RunError(self.phase, [name], sentence)
        if self.phase == UPLOAD:
            self.error = self.error or error
            self._advance(now)
        else:
            self._fail(error, now)

    def tick(self, now: float) -> None:
        """Time passed."""
        for member in self.members.values():
            if member.gone_since is not None and now - member.gone_since > LOST_S:
                why = f"no connection for {LOST_S:g} s"
                self.lose(member.name, f"{member.name} was lost in phase {self.phase}: {why}", now)
        self._advance(now)
        if self.phase in (HANDSHAKE, SEND, DRAIN, UPLOAD):
            self._check_time(now)

    def interrupt(self, now: float) -> None:
        """The operator has had enough: close and collect what there is."""
        if self.phase in (HANDSHAKE, SEND, DRAIN):
            self._fail(RunError(self.phase, [], f"interrupted in phase {self.phase}"), now)

    def give_up(self, error: RunError | None, now: float) -> None:
        """End the run with what there is, by default because the logs did not come in time."""
        if self.phase in (HANDSHAKE, SEND, DRAIN):
            self._command_all(Close(self.run))
        names = self.waiting_for()
        late = RunError(UPLOAD, names, f"the logs of {', '.join(names)} did not come in time")
        self.error = self.error or error or late
        self.complete = False
        self._enter(DONE, now)

    def take(self) -> list[tuple[str, Command]]:
        """The commands to be sent now."""
        commands, self.outbox = self.outbox, []
        return commands

    def waiting_for(self) -> list[str]:
        """Whom the present phase waits for."""
        waits = {
            HANDSHAKE: lambda member: not member.reached,
            SEND: lambda member: not (member.counts and member.counts.ended),
            DRAIN: lambda member: not (member.counts and member.counts.drained),
            UPLOAD: lambda member: not member.collected,
        }.get(self.phase)
        return [member.name for member in self._up() if waits(member)] if waits else []

    # How one phase leads to the next.

    def _advance(self, now: float) -> None:
        if self.phase == HANDSHAKE and not self.waiting_for():
            self._command_all(Release(self.run))
            self._enter(SEND, now)
        if self.phase == SEND and not self.waiting_for():
            self._enter(DRAIN, now)
        if self.phase == DRAIN:
            if not self.waiting_for():
                self.complete = not any(member.lost for member in self.members.values())
                self._close(now)
            elif not self.agreement and self._is_quiet(now):
                self._close(now)
        if self.phase == UPLOAD and not self.waiting_for():
            self._enter(DONE, now)

    def _is_quiet(self, now: float) -> bool:
        quiet_s = max(LEAST_QUIET_S, 10 * self.settings.longest_round_trip_s())
        if any(member.counts.held for member in self._up()):
            quiet_s = max(quiet_s, self.settings.deadlines.drain_s)  # something is held that may never be released
        return now - self.moved > quiet_s

    def _check_time(self, now: float) -> None:
        deadlines = self.settings.deadlines
        if self.phase == HANDSHAKE:
            late = now - self.began > deadlines.handshake_s
        elif self.phase == SEND:
            late = deadlines.send_s is not None and now - self.began > deadlines.send_s
        elif self.phase == DRAIN:
            late = now - self.moved > deadlines.drain_s
        else:
            late = now - max(self.began, self.moved) > deadlines.upload_s
        if self.phase == UPLOAD:
            if late:
                self.give_up(None, now)
        elif late or now - self.started > deadlines.deadline_s:
            self._fail(self._timeout(late), now)

    def _timeout(self, late: bool) -> RunError:
        names = self.waiting_for()
        what = f"the {self.phase} did not end in time" if late else f"the deadline passed in phase {self.phase}"
        return RunError(self.phase, names, f"{what}: " + "; ".join(self._lacking(self.members[name]) for name in names))

    def _lacking(self, member: Member) -> str:
        counts = member.counts
        if counts is None:
            return f"{member.name} has reported nothing"
        if self.phase == HANDSHAKE:
            return f"{member.name} has not reached {', '.join(counts.waits_for) or 'everybody'}"
        sent = sum(other.counts.asked for other in self.members.values() if other.counts)
        held = ", ".join(f"{amount} {what}" for what, amount in counts.held.items())
        waits = ", ".join(name for name in counts.waits_for if name != member.name)
        return (
            f"{member.name} delivered {counts.delivered} of {sent}"
            + (f" ({held})" if held else "")
            + (f" and waits for {waits}" if waits else "")
        )

    def _fail(self, error: RunError, now: float) -> None:
        self.error = self.error or error
        self._close(now)

    def _close(self, now: float) -> None:
        self._command_all(Close(self.run))
        self._enter(UPLOAD, now)

    def _knows_nothing(self, member: Member, now: float) -> None:
        """A session that plays another run or none: it came late, or its process was started anew."""
        if self.phase == HANDSHAKE:
            member.reached = False
            self.outbox.append((member.name, member.prepare))
        else:
            self.lose(member.name, f"{member.name} was started anew in phase {self.phase}", now)

    def _enter(self, phase: str, now: float) -> None:
        self.phase = phase
        self.began = self.moved = now

    def _command_all(self, command: Command) -> None:
        self.outbox.extend((member.name, command) for member in self._up())

    def _up(self) -> Sequence[Member]:
        return [member for member in self.members.values() if not member.lost]

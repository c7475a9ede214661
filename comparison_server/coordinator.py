"""The life of a run as the comparison server leads it: who is there, prepare, release, drain, close, collect.

Pure: what sessions report and the time go in, commands to sessions come out. Every wait
ends with the event it waits for or with a named timeout that says who is missing.

    idle -> handshake -> send -> drain -> upload -> done

A run that cannot finish is still closed and collected; its error is kept beside it. Nothing
about a run exists only here: one that was begun by a server that is no more is found by what
its sessions tell, and can be taken up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from peer import session
from peer.core.commands import (
    Close,
    Collected,
    Command,
    ControlReport,
    Counts,
    Describe,
    Described,
    Prepare,
    Reached,
    Rejected,
    Release,
    Sealed,
)
from peer.core.errors import LabError, RunError
from peer.core.settings import RunSettings, from_json

LEAST_QUIET_S = 2.0  # nothing moved for so long, or for ten round trips: it has come to rest
LOST_S = 10.0  # a session without connection for so long is lost, unless the way to it is known to be a shaky one
NOTED_S = 1.0  # who was away for no longer is not worth a remark
STILL_S = 3.0  # who has not looked at the time for so long stood still itself, and must not blame others
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
    knows: bool = False  # it has said that it knows that
    gone_since: float | None = None
    heard: float = 0.0  # when it last said something
    lost: bool = False


@dataclass
class Found:
    """A run that is not led from here, as its sessions describe it."""

    run: str
    settings: RunSettings
    header: dict[str, Any]
    wire: dict[str, Any]  # the settings as the peers got them
    counts: dict[str, Counts] = field(default_factory=dict)  # by name of a session that plays it


@dataclass
class Coordinator:
    """Leads one run after another over the sessions that are there."""

    lost_s: float = LOST_S
    present: dict[str, str] = field(default_factory=dict)  # connected sessions in order of arrival: name -> incarnation
    playing: dict[str, str] = field(default_factory=dict)  # what they said they played when they connected
    asked: dict[str, str] = field(default_factory=dict)  # what they were asked to describe
    found: dict[str, Found] = field(default_factory=dict)  # runs that are not led from here, by run
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
    remarks: list[str] = field(default_factory=list)  # what happened that did not keep the run from its end
    looked: float | None = None  # at the time
    outbox: list[tuple[str, Command]] = field(default_factory=list)

    # Who is there.

    def joined(self, name: str, now: float, run: str = "", phase: str = session.IDLE, incarnation: str = "") -> None:
        """A session connected, for the first time or again, and says what it is playing.

        What it missed while it was away is said again. Of a run that is not led from here it is to say more.
        """
        self.present[name], self.playing[name] = incarnation, run
        member = self.members.get(name) if self.phase not in (IDLE, DONE) else None
        if phase not in session.FREE and (run == self.run) == (member is None):
            self.outbox.append((name, Close(run)))  # this run is over, or another one is in the way
        elif member is None and run != self.run and phase not in (session.IDLE, session.COLLECTED):
            self.asked[name] = run
            self.outbox.append((name, Describe(run)))
        if member is None:
            return
        member.heard = now
        if member.gone_since is not None and run == self.run and now - member.gone_since > NOTED_S:
            self.remarks.append(f"{name} was without connection for {now - member.gone_since:.1f} s.")
        member.gone_since = None
        if run != self.run:
            self._knows_nothing(member, incarnation, now)
            return
        member.lost = False
        member.reached = member.reached or phase != session.HANDSHAKE
        if self.phase == UPLOAD and phase not in session.FREE:
            self.outbox.append((name, Close(run)))
        elif self.phase in (SEND, DRAIN) and phase in (session.HANDSHAKE, session.READY):
            self.outbox.append((name, Release(run)))
        self._advance(now)

    def left(self, name: str, now: float) -> None:
        """A session's connection is gone."""
        self.present.pop(name, None)
        self.playing.pop(name, None)
        self.asked.pop(name, None)
        if name in self.members:
            heard = self.members[name].heard  # it may take long until a broken connection is noticed here
            self.members[name].gone_since = heard if now - heard > STILL_S else now
        for found in self.found.values():
            found.counts.pop(name, None)

    # A run.

    def start(
        self, run: str, settings: RunSettings, agreement: bool, header: dict[str, Any], now: float, wire: Any
    ) -> None:
        """Freeze the members and have everybody prepare. `wire` is the settings as the peers get them.

        A run that was found and not taken up is closed: it would be in the way.
        """
        self._lead(run, settings, agreement, header, now, wire)
        self.outbox.extend((name, Close(found.run)) for found in self.found.values() for name in found.counts)
        self.found.clear()
        self.outbox.extend((name, member.prepare) for name, member in self.members.items())

    def known(self) -> list[Found]:
        """The runs that were found of which all who are here and play them have said how far they are."""
        return [
            found
            for found in self.found.values()
            if found.counts and all(name in found.counts for name in self.present if self.playing[name] == found.run)
        ]

    def asked_about(self) -> list[str]:
        """Sessions that play what is not led from here, and were asked what that is, but have not said so yet."""
        runs = {name: run for name, run in self.asked.items() if name in self.present}
        return [name for name, run in runs.items() if run not in self.found or name not in self.found[run].counts]

    def take_up(self, run: str, agreement: bool, now: float) -> None:
        """Lead a run that was found from where it is."""
        found = self.found.pop(run)
        self._lead(run, found.settings, agreement, found.header, now, found.wire)
        for name, counts in found.counts.items():
            if name in self.members:
                member = self.members[name]
                member.counts, member.reached = counts, counts.phase != session.HANDSHAKE
        phases = {counts.phase for counts in found.counts.values()}
        self.remarks.append("The run was taken up from another comparison server.")
        if phases & {session.CLOSED, session.COLLECTED}:
            self.complete = all(counts.drained for counts in found.counts.values())
            if not self.complete:
                self.error = RunError(UPLOAD, [], "the run had been closed before everybody was done")
            self._close(now)
        elif phases & {session.RUNNING, session.DRAINED}:
            self._release(now)
        for member in self.members.values():
            if member.name in self.present and self.playing[member.name] != run:
                self._knows_nothing(member, self.present[member.name], now)
        self._advance(now)

    def _lead(
        self, run: str, settings: RunSettings, agreement: bool, header: dict[str, Any], now: float, wire: Any
    ) -> None:
        assert self.phase in (IDLE, DONE), f"a run is in phase {self.phase}"
        self.run, self.settings, self.agreement = run, settings, agreement
        known = {name: self.present[name] for name in settings.members if self.present.get(name)}
        self.members = {
            name: Member(
                name,
                Prepare(run, me, wire, header, known),
                gone_since=None if name in self.present else now,
                heard=now,
            )
            for me, name in enumerate(settings.members)
        }
        self.error, self.complete, self.remarks = None, False, []
        self.started = self.looked = now
        self._enter(HANDSHAKE, now)

    def on_report(self, name: str, report: ControlReport, now: float) -> None:
        """A session says something."""
        member = self.members.get(name)
        if member is not None and type(report) is Counts and report.run == self.run:
            member.knows = member.knows or report.phase == session.COLLECTED
        if member is None or report.run != self.run or self.phase in (IDLE, DONE):
            self._on_other_run(name, report)
            return
        member.heard = now
        kind = type(report)
        if kind is Reached:
            member.reached = True
        elif kind is Counts:
            if self.phase != UPLOAD and _tells_more(report, member.counts):
                self.moved = now
            member.counts = report
            member.reached = member.reached or report.phase != session.HANDSHAKE
        elif kind is Sealed:
            if member.sealed is None:
                self.moved = now
            member.sealed = report
        elif kind is Rejected and self.phase in (HANDSHAKE, SEND, DRAIN):
            undone = "" if self.phase == HANDSHAKE else f", in phase {self.phase}, {self._unfinished(member)}"
            self._fail(RunError(self.phase, [name], report.sentence + undone), now)
        elif kind is Rejected and report.code in NOTHING_TO_COLLECT:
            self.lose(name, report.sentence, now)
        self._advance(now)

    def collecting(self, now: float) -> None:
        """A part of some log has come."""
        self.moved = now

    def collected(self, name: str, now: float) -> None:
        """The logs of this session are all here."""
        self.members[name].collected = True
        self.outbox.append((name, Collected(self.run)))
        self.moved = now
        self._advance(now)

    def unaware(self) -> list[str]:
        """Sessions that are here and have not said that they know that their logs are."""
        return [
            name
            for name, member in self.members.items()
            if member.collected and not member.knows and name in self.present
        ]

    def lose(self, name: str, sentence: str, now: float) -> None:
        """Nothing more is to be expected from this session, because of what the sentence says."""
        member = self.members[name]
        if member.lost or member.collected or self.phase in (IDLE, DONE):
            return
        member.lost, self.complete = True, False
        error = RunError(self.phase, [name], f"{sentence}, in phase {self.phase}, {self._unfinished(member)}")
        if self.phase == UPLOAD:
            self.error = self.error or error
            self._advance(now)
        else:
            self._fail(error, now)

    def tick(self, now: float) -> None:
        """Time passed."""
        self._account_for_a_standstill(now)
        for member in self.members.values():
            if member.gone_since is not None and now - member.gone_since > self.lost_s:
                self.lose(member.name, f"{member.name} has had no connection for {self.lost_s:g} s", now)
            elif member.gone_since is None and self.phase in (SEND, DRAIN):
                silent_s = self.settings.deadlines.drain_s
                if now - member.heard > silent_s:
                    self.lose(member.name, f"{member.name} is connected, but has said nothing for {silent_s:g} s", now)
        self._advance(now)
        if self.phase in (HANDSHAKE, SEND, DRAIN, UPLOAD):
            self._check_time(now)

    def _account_for_a_standstill(self, now: float) -> None:
        """Who did not look at the time cannot say that others were late."""
        still_s = 0.0 if self.looked is None else now - self.looked
        self.looked = now
        if still_s > STILL_S and self.phase not in (IDLE, DONE):
            self.remarks.append(f"The comparison server stood still for {still_s:.1f} s.")
            self.began += still_s
            self.started += still_s
            self.moved += still_s
            for member in self.members.values():
                member.heard += still_s
                if member.gone_since is not None:
                    member.gone_since += still_s

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

    def abandon(self, error: RunError, now: float) -> None:
        """Somebody else leads this run from now on: say nothing more about it."""
        self.outbox.clear()
        self.error, self.complete = self.error or error, False
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
            self._release(now)
        if self.phase == SEND and not self.waiting_for():
            self._enter(DRAIN, now)
        if self.phase == DRAIN:
            if not self.waiting_for() and now - self.moved >= self._rest_s():
                self.complete = not any(member.lost for member in self.members.values())
                self._close(now)
            elif self.waiting_for() and not self.agreement and self._is_quiet(now):
                self._close(now)
        if self.phase == UPLOAD and not self.waiting_for():
            self._enter(DONE, now)

    def _rest_s(self) -> float:
        """How long all stay who are done: a real network is measured once more before they leave."""
        return self.settings.longest_round_trip_s() if self.settings.delays_s is None else 0.0

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
        heard = "" if self.phase == HANDSHAKE else "; when last heard"  # by now there may be more
        lacking = "; ".join(self._lacking(self.members[name]) for name in names)
        return RunError(self.phase, names, f"{what}{heard}: {lacking}")

    def _unfinished(self, member: Member) -> str:
        """What a session leaves undone that is lost in the present phase."""
        if self.phase == UPLOAD:
            return "before its logs were here"
        if self.phase == HANDSHAKE:
            return "before everybody had reached everybody"
        delivered = member.counts.delivered if member.counts else 0
        return f"with {delivered:,} of {self._to_come():,} messages delivered"

    def _to_come(self) -> int:
        """How many messages each is to deliver in all."""
        return len(self.members) * self.settings.workload.messages

    def _lacking(self, member: Member) -> str:
        counts = member.counts
        if counts is None:
            return f"{member.name} has reported nothing"
        if self.phase == HANDSHAKE:
            return f"{member.name} has not reached {', '.join(counts.waits_for) or 'everybody'}"
        held = ", ".join(f"{amount} {what}" for what, amount in counts.held.items())
        waits = ", ".join(name for name in counts.waits_for if name != member.name)
        return (
            f"{member.name} delivered {counts.delivered:,} of {self._to_come():,}"
            + (" to come" if self.phase == SEND else "")
            + (f" ({held})" if held else "")
            + (f" and waits for {waits}" if waits else "")
        )

    def _release(self, now: float) -> None:
        self._command_all(Release(self.run))
        self._enter(SEND, now)

    def _fail(self, error: RunError, now: float) -> None:
        self.error = self.error or error
        self._close(now)

    def _close(self, now: float) -> None:
        self._command_all(Close(self.run))
        self._enter(UPLOAD, now)

    def _on_other_run(self, name: str, report: ControlReport) -> None:
        """A session speaks of a run that is not led from here."""
        kind = type(report)
        if kind is Described and self.playing.get(name) == report.run:
            try:
                settings = from_json(RunSettings, report.settings)
                settings.check()
            except (LabError, TypeError):
                return  # of another version of this program; a new run will close it
            self.found.setdefault(report.run, Found(report.run, settings, report.header, report.settings))
        elif kind is Counts and report.run in self.found:
            self.found[report.run].counts[name] = report

    def _knows_nothing(self, member: Member, incarnation: str, now: float) -> None:
        """A session that plays another run or none: it came late, or its process was started anew.

        The others were told which process belongs to the run, and let no other one in.
        """
        if self.phase == HANDSHAKE and member.prepare.incarnations.get(member.name, incarnation) == incarnation:
            member.reached = False
            self.outbox.append((member.name, member.prepare))
        else:
            self.lose(member.name, f"{member.name} was started anew", now)

    def _enter(self, phase: str, now: float) -> None:
        self.phase = phase
        self.began = self.moved = now

    def _command_all(self, command: Command) -> None:
        self.outbox.extend((member.name, command) for member in self._up())

    def _up(self) -> Sequence[Member]:
        return [member for member in self.members.values() if not member.lost]


def _tells_more(report: Counts, before: Counts | None) -> bool:
    """Whether anything moved since; what is only sent again, perhaps in vain, or takes longer, is no movement."""
    return before is None or replace(report, resent=before.resent, latency_s=before.latency_s) != before

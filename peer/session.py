"""One process's life as the comparison server sees it: idle, shaking hands, ready, running, drained, closed, collected.

Pure: commands go in, effects come out. A session plays one stack a run; nothing of an
earlier run but the process goes into the next one. It reports how far it is, and stays,
acknowledging and resending, until it is told to close.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.commands import (
    Close,
    Collected,
    Command,
    Counts,
    Describe,
    Described,
    Prepare,
    Reached,
    Rejected,
    Release,
    Stop,
)
from peer.core.effects import Ask, Effect
from peer.core.errors import LabError, SettingsError
from peer.core.events import Commanded
from peer.core.host import Host
from peer.core.news import Drained, GroupReady, Overfull, PairRefused
from peer.core.settings import RunSettings, from_json
from peer.core.trace import Recorder
from peer.stacks import build_stack

SERVER = "comparison_server"
IDLE, HANDSHAKE, READY, RUNNING, DRAINED = "idle", "handshake", "ready", "running", "drained"
CLOSED, COLLECTED = "closed", "collected"  # the logs are kept here; the server has them too
FREE = (IDLE, CLOSED, COLLECTED)  # a new run may be prepared


@dataclass(slots=True)
class Play:
    """To the world: forget the last run, open the logs of this one, and start its stack."""

    run: str
    me: int
    settings: RunSettings
    header: dict[str, Any]  # of its logs
    incarnations: dict[str, str] = field(default_factory=dict)  # by name: which processes belong to it


@dataclass(slots=True)
class Seal:
    """To the world: the run is over here; complete its logs and report them."""

    run: str


class Session:
    """What a peer is doing for the comparison server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.phase = IDLE
        self.run = ""
        self.prepare: Prepare | None = None  # what was said about the present run
        self.me = 0
        self.settings: RunSettings | None = None
        self.host: Host | None = None
        self.gave_up = False

    def on_command(self, command: Command, time_s: float) -> list[Effect | Play | Seal]:
        """The server wants something."""
        kind = type(command)
        if kind is Prepare:
            return self._prepare(command)
        if kind is Stop:
            return self._seal(time_s) if self.phase not in FREE else []
        if command.run != self.run or self.host is None:
            return [self._tell(Rejected(command.run, "unknown run", f"{self.name} does not play run {command.run}"))]
        if kind is Release and self.phase in (HANDSHAKE, READY):
            self.phase = RUNNING
            self.host.recorder.released(time_s)
            return self.host.step([Commanded(command)], time_s)
        if kind is Close and self.phase not in FREE:
            return self._seal(time_s)
        if kind is Describe:
            told = self.prepare
            described = Described(self.run, told.me, told.settings, told.header)
            return [self._tell(described), self._tell(self.counts(time_s))]
        if kind is Collected and self.phase == CLOSED:
            self.phase = COLLECTED
            return [self._tell(self.counts(time_s))]
        return []

    def on_news(self, news: Any) -> list[Effect]:
        """What left the stack through its top."""
        kind = type(news)
        if kind is GroupReady:
            if self.phase == HANDSHAKE:
                self.phase = READY
            return [self._tell(Reached(self.run))]
        if kind is Drained:
            if self.phase == RUNNING:
                self.phase = DRAINED
            return [self._tell(self.counts())]
        if kind is PairRefused:
            sentence = f"{self.name} and {self.settings.members[news.peer]} differ: {news.sentence}"
            return [self._tell(Rejected(self.run, "other settings", sentence))]
        if kind is Overfull and not self.gave_up:
            self.gave_up = True  # once is enough, however often the layers say so
            return [self._tell(Rejected(self.run, "overfull", f"{self.name} cannot go on: {news.sentence}"))]
        return []

    def counts(self, time_s: float | None = None) -> Counts:
        """How far this session is, by now."""
        if self.host is None:
            return Counts(self.run, self.phase)
        stack = self.host.stack
        workload = stack.layers[-1]
        held = {what: amount for what, amount in stack.held().items() if amount}
        return Counts(
            self.run,
            self.phase,
            asked=workload.asked,
            delivered=sum(workload.delivered),
            resent=stack.total("resent"),
            ended=workload.ended,
            drained=workload.drained,
            held=held,
            waits_for=[self.settings.members[peer] for peer in stack.waits_for()],
            latency_s=self.host.recorder.latency_s(time_s),
        )

    def _prepare(self, command: Prepare) -> list[Effect | Play]:
        if self.phase not in FREE:
            return [self._tell(Rejected(command.run, "busy", f"{self.name} is busy with run {self.run}"))]
        try:
            settings = from_json(RunSettings, command.settings)
            settings.check()
            if not 0 <= command.me < len(settings.members):
                raise SettingsError(f"it has no member {command.me}")
            stack = build_stack(settings, command.me)
        except (LabError, TypeError) as error:
            return [self._tell(Rejected(command.run, "settings", f"{self.name} cannot play this run: {error}"))]
        self.run, self.me, self.settings, self.phase = command.run, command.me, settings, HANDSHAKE
        self.prepare, self.gave_up = command, False
        self.host = Host(stack, Recorder(settings.trace, command.me))
        header = {**command.header, "peer": command.me, "run": command.run, "settings": command.settings}
        return [Play(command.run, command.me, settings, header, command.incarnations)]

    def _seal(self, time_s: float) -> list[Effect | Seal]:
        effects = self.host.step([Commanded(Close(self.run))], time_s)
        self.phase = CLOSED
        self.host.recorder.seal()
        return [*effects, Seal(self.run)]

    def _tell(self, report: Any) -> Ask:
        return Ask(SERVER, report)

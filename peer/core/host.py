"""The door: the only way into a stack, and therefore the one place that writes its trace."""

from __future__ import annotations

from collections.abc import Sequence

from peer.core.effects import Effect
from peer.core.events import Event
from peer.core.stack import Stack
from peer.core.trace import Recorder


class Host:
    """A stack and its recorder."""

    __slots__ = ("stack", "recorder", "_feed", "_sweep", "_record", "_every_step")

    def __init__(self, stack: Stack, recorder: Recorder) -> None:
        self.stack, self.recorder = stack, recorder
        self._feed, self._sweep, self._record = stack.feed, stack.sweep, recorder.record
        self._every_step = recorder.steps is not None

    def step(self, turn: Sequence[Event], time_s: float, late_s: float = 0.0) -> list[Effect]:
        """A turn goes in, the effects to be performed come out, both are on record; `late_s`: when it was due."""
        self._feed(turn)
        effects = self._sweep()
        if effects or self._every_step:
            self._record(turn, effects, time_s, late_s)
        return effects

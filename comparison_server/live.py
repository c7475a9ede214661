"""A run as a terminal shows it while it goes on: how far it is, and a line for each peer."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from comparison_server.coordinator import UPLOAD
from comparison_server.prompt import named
from comparison_server.service import MemberProgress, Progress

REDRAWN_S = 0.125
SILENT_S = 2.0  # a peer speaks every second
BAR_WIDTH = 30
LOCAL_MODES = 3  # their place among what termios tells of a terminal
LEAST_NAME, LONGEST_NAME = 8, 20  # how much of it is told where the terminal is narrow, and where it is wide
MOST_WAITED_FOR = 4  # names in one line
AROUND = 4  # lines that are not peers: the bar, the titles, those that are summed up, and one for the cursor


@contextmanager
def typing_unseen() -> Iterator[None]:
    """Keys that are pressed meanwhile do not shift what is shown; they are there for who reads next, and Ctrl-C works.

    Only in the foreground: in the background the terminal is somebody else's.
    """
    try:
        before = termios.tcgetattr(sys.stderr)
        ours = _in_foreground()
    except (OSError, ValueError, TypeError, termios.error):  # none, or it only looks like one
        ours = False
    if not ours:
        yield
        return
    unseen = [*before]
    unseen[LOCAL_MODES] &= ~termios.ECHO
    try:
        termios.tcsetattr(sys.stderr, termios.TCSANOW, unseen)
        yield
    finally:
        with suppress(OSError, termios.error):  # the terminal has gone
            if _in_foreground():
                termios.tcsetattr(sys.stderr, termios.TCSANOW, before)


def _in_foreground() -> bool:
    return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()


class LiveRun:
    """What stands at the bottom of the terminal while runs go on, and vanishes after; nothing where nobody looks."""

    def __init__(self, heading: RenderableType | None = None, also: Callable[[Progress], None] | None = None) -> None:
        """`heading`: what stands above it all, also between runs. `also` hears what is shown, terminal or not."""
        console = Console(stderr=True)
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self._heading: list[RenderableType] = [] if heading is None else [heading]
        self._drawn, self._also = 0.0, also
        self._stack = ExitStack()

    def __enter__(self) -> LiveRun:
        if self._live is not None:
            self._stack.enter_context(typing_unseen())
            self._live.start()
            self.between_runs()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._live is not None:
                self._live.stop()

    def show(self, progress: Progress) -> None:
        """How far the run is now; drawn a few times a second."""
        if self._also is not None:
            self._also(progress)
        if self._live is not None and monotonic() - self._drawn >= REDRAWN_S:
            console = self._live.console
            room = console.height - AROUND - len(self._heading)
            self._live.update(Group(*self._heading, shown(progress, room)), refresh=True)
            self._drawn = monotonic()

    def between_runs(self) -> None:
        """No run goes on just now; the heading may have changed."""
        if self._live is not None:
            self._live.update(Group(*self._heading), refresh=True)
            self._drawn = 0.0


def shown(progress: Progress, lines: int) -> RenderableType:
    """The bar, and the peers in at most so many lines: where there are more, those that keep the run, latest first."""
    members = progress.members
    told, rest = members, []
    if len(members) > (most := max(1, lines)):
        late = set(progress.waiting_for)
        by_need = sorted(members, key=lambda member: (member.connected, member.name not in late, member.delivered))
        told, rest = by_need[:most], by_need[most:]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    least = min(LEAST_NAME, max((len(member.name) for member in members), default=0))
    table.add_column("peer", no_wrap=True, overflow="ellipsis", min_width=least, max_width=LONGEST_NAME)
    table.add_column("phase", no_wrap=True)
    for title in ("sent", "delivered", "resent", "latency"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for member in told:
        table.add_row(
            Text(member.name),
            member.phase,
            f"{member.asked:,} of {progress.messages:,}",
            f"{member.delivered:,} of {len(members) * progress.messages:,}",
            f"{member.resent:,}",
            _in_words(member.latency_s),
            _trouble(member),
        )
    return Group(_bar(progress), table, *([_summed_up(rest, progress)] if rest else []))


def _bar(progress: Progress) -> RenderableType:
    if progress.phase == UPLOAD:
        done, total, what = progress.collected_bytes, progress.announced_bytes, "bytes of logs"
    else:
        done, total, what = progress.delivered, len(progress.members) ** 2 * progress.messages, "deliveries"
    waits = f", waits for {named(progress.waiting_for, MOST_WAITED_FOR)}" if progress.waiting_for else ""
    words = f"{progress.phase} {progress.elapsed_s:.0f} s, {done:,} of {total:,} {what}{waits}"
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(ProgressBar(max(1, total), done, width=BAR_WIDTH), Text(words, no_wrap=True, overflow="ellipsis"))
    return row


def _in_words(latency_s: float | None) -> str:
    if latency_s is None:
        return ""
    if latency_s >= 1:
        return f"{latency_s:.1f} s"
    return f"{latency_s * 1000:.{1 if 0 < latency_s < 0.01 else 0}f} ms"


def _trouble(member: MemberProgress) -> Text:
    """What keeps it: it cannot be reached, it is silent, it waits for others."""
    if not member.connected:
        return Text(f"no connection for {member.silent_s:.0f} s", style="red")
    words = []
    if member.silent_s > SILENT_S:
        words.append(f"silent for {member.silent_s:.0f} s")
    if waits := [name for name in member.waits_for if name != member.name]:
        words.append(f"waits for {named(waits, MOST_WAITED_FOR)}")
    return Text(", ".join(words), style="yellow")


def _summed_up(rest: list[MemberProgress], progress: Progress) -> RenderableType:
    least, most = (f"{pick(member.delivered for member in rest):,}" for pick in (min, max))
    sent, resent = sum(member.asked for member in rest), sum(member.resent for member in rest)
    between = least if least == most else f"{least} to {most}"
    words = f"and {len(rest)} more: sent {sent:,} of {len(rest) * progress.messages:,}, "
    return Text(words + f"each delivered {between}, {resent:,} resent", no_wrap=True, overflow="ellipsis")

"""Asks the person in front of the terminal how many messages to multicast; the service goes on while they think."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from comparison_server.service import POLL_S

PROMPT = "Messages per peer (0 ends everything): "
HISTORY = Path(".lab/history")
MOST_HISTORY = 100  # answers that are remembered
MOST_NAMES = 8  # that are told where there may be many


class Served(Protocol):
    """What goes on while somebody thinks."""

    @property
    def peers(self) -> Collection[str]:
        """Who is here."""

    def poll(self, timeout_s: float = ...) -> None:
        """Serve everybody for a moment."""


def ask(lines: Lines | Terminal, service: Served, most: Callable[[], int]) -> int:
    """A number of messages; 0 also if nobody is there to answer. Anything else is told what is expected.

    `most`: how many each may multicast, for as many peers as there are when the answer comes.
    """
    while (answer := lines.line(service)) is not None:
        found = answer.strip()
        try:
            messages = int(found)
        except ValueError:
            messages = -1
        if 0 <= messages <= most():
            lines.remember(found)
            return messages
        print(f"Expected a whole number from 0 to {most():,}, found {found[:40]!r}.", flush=True)
    print()
    return 0


def answers() -> Lines | Terminal:
    """Where answers come from: a terminal with editing and history, or plain lines of whatever standard input is."""
    dumb = os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")
    return Lines() if dumb or not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()) else Terminal()


def named(names: list[str], most: int = MOST_NAMES) -> str:
    """Some names in a sentence; of many the first."""
    if not names:
        return "none"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


class Lines:
    """Lines from standard input, as a pipe or a plain terminal gives them."""

    def __init__(self) -> None:
        self._read = b""

    def line(self, service: Served) -> str | None:
        """The next line; None after the last."""
        print(PROMPT, end="", flush=True)
        while b"\n" not in self._read:
            service.poll()
            try:
                if not select.select([0], [], [], 0)[0]:
                    continue
                data = os.read(0, 4096)
            except OSError:  # there is no standard input
                data = b""
            if not data:
                rest, self._read = self._read, b""
                return rest.decode(errors="replace") or None
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode(errors="replace")

    def remember(self, answer: str) -> None:
        """Nobody can press an arrow key here."""


class Terminal:
    """Lines that are typed, with arrow keys, and with the answers of earlier times; beside them, how many are here."""

    def __init__(self) -> None:
        # Only here: it takes a while to import, and most commands ask nothing.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.output.vt100 import Vt100_Output

        output = Vt100_Output.from_pty(sys.stdout, term=os.environ["TERM"])
        output.enable_cpr = False  # where the cursor is; the answer may come when nobody reads it any more
        history = InMemoryHistory(_remembered())
        self._session: PromptSession[str] = PromptSession(
            history=history, output=output, interrupt_exception=_CtrlC, eof_exception=EOFError
        )

    def line(self, service: Served) -> str | None:
        """What is typed; None for Ctrl-D on an empty line. Ctrl-C is a KeyboardInterrupt."""
        try:
            return asyncio.run(self._line(service))
        except EOFError:
            return None
        except _CtrlC:
            raise KeyboardInterrupt from None

    def remember(self, answer: str) -> None:
        """For the next time, if it can be written."""
        with suppress(OSError):
            HISTORY.parent.mkdir(exist_ok=True)
            with open(HISTORY, "a", encoding="utf-8") as file:
                file.write(answer + "\n")

    async def _line(self, service: Served) -> str:
        """One loop, no threads: the service is served between the keys."""

        def here() -> str:  # which may change while somebody thinks
            count = len(service.peers)
            return f"{count} peer{' is' if count == 1 else 's are'} here"

        typed = asyncio.create_task(self._session.prompt_async(PROMPT, rprompt=here, refresh_interval=0.5))
        try:
            while not typed.done():
                service.poll(0)
                await asyncio.wait([typed], timeout=POLL_S)
            return typed.result()
        finally:  # the service cannot go on, or this process is to end: the terminal gets its manners back
            typed.cancel()
            await asyncio.wait([typed])


class _CtrlC(Exception):
    """As a KeyboardInterrupt it would strike through the loop instead of ending the typing in order."""


def _remembered() -> list[str]:
    try:
        return HISTORY.read_text(encoding="utf-8", errors="replace").splitlines()[-MOST_HISTORY:]
    except OSError:
        return []

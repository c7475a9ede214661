"""The desk on the control host: a folder over which operators, who come and go, and the collector, who stays, speak.

    progress.json             who is here, and how far the present run is; written anew about twice a second
    words/                    what the collector is to do now, each once: close a run, not wait for a peer, end
    runs/RUN/order.json       a run that is to be led: its settings, its header, who ordered it
             begun            it is, or was, led
             trace-0.bin ...  its logs
             outcome.json     how it ended
             home             somebody has brought it home

Whatever is read is written all at once or not at all. An order without an outcome is open.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

RUN = re.compile(r"[0-9a-f]{16}")
WAITING, LED, ENDED, HOME = "waiting", "led", "ended", "home"  # what becomes of an order
RESERVE_BYTES = 1 << 20  # kept free for saying that the disk is full


class Desk:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress, self.reserve = folder / "progress.json", folder / "reserve"
        self.words, self.runs = folder / "words", folder / "runs"

    def make(self) -> None:
        """Have the folders, for their owner only."""
        for folder in (self.folder, self.words, self.runs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def run(self, run: str) -> Path:
        """The folder of a run."""
        assert RUN.fullmatch(run), f"{run!r} is no run"
        return self.runs / run

    def order(self, run: str) -> Path:
        return self.run(run) / "order.json"

    def begun(self, run: str) -> Path:
        return self.run(run) / "begun"

    def outcome(self, run: str) -> Path:
        return self.run(run) / "outcome.json"

    def home(self, run: str) -> Path:
        return self.run(run) / "home"

    def orders(self) -> dict[str, str]:
        """What became of each order, in the order in which they were laid here."""
        laid = []
        for folder in self.runs.glob("*"):
            if RUN.fullmatch(folder.name):
                try:
                    laid.append(((folder / "order.json").stat().st_mtime_ns, folder.name))
                except FileNotFoundError:
                    continue  # it is being laid, or removed
        return {run: self._state(run) for _, run in sorted(laid)}

    def open_orders(self) -> list[str]:
        """Those that are to be led, the first one first."""
        return [run for run, state in self.orders().items() if state in (WAITING, LED)]

    def forget(self) -> None:
        """Make room: of what was brought home only the last stays, as somebody else may just be fetching it."""
        for run in [run for run, state in self.orders().items() if state == HOME][:-1]:
            shutil.rmtree(self.run(run), ignore_errors=True)

    def take_words(self) -> list[dict[str, Any]]:
        """What was said since the last time."""
        said = []
        for file in sorted(self.words.glob("[!.]*.json")):
            word = read(file)
            file.unlink(missing_ok=True)
            if word is not None:
                said.append(word)
        return said

    def _state(self, run: str) -> str:
        if not self.outcome(run).exists():
            return LED if self.begun(run).exists() else WAITING
        return HOME if self.home(run).exists() else ENDED


def read(file: Path) -> dict[str, Any] | None:
    """What a file says; None if it is not there, or is not what it should be."""
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def write(file: Path, value: dict[str, Any]) -> None:
    """Have a file say this."""
    draft = file.with_name(f".{file.name}.draft")  # each has one who writes it
    try:
        draft.write_text(json.dumps(value), encoding="utf-8")
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)

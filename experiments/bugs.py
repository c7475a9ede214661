"""Faults of the program's own, most often in an ordering that is being written: told in a sentence, and kept whole."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comparison_server.run_folder import PARTIAL
from peer.core.errors import LabError, RunError
from peer.drivers.program import bug

TRACEBACK = "bug.txt"  # in a run folder; bug-NAME.txt where it is that of a peer's process


@contextmanager
def told(phase: str) -> Iterator[None]:
    """A bug becomes a RunError that says where it is."""
    try:
        yield
    except (LabError, OSError):
        raise
    except Exception as error:
        raise RunError(phase, [], bug(error)) from error


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """What ends a run before there is anything to be judged stays in its folder."""
    try:
        with told("play"):
            yield
    except RunError as error:
        if error.__cause__ is not None:
            text = "".join(traceback.format_exception(error.__cause__))
            (folder / TRACEBACK).write_text(text, encoding="utf-8", errors="replace")
        (folder / PARTIAL).write_text(f"This run has not come to its end: {error}\n", encoding="utf-8")
        error.kept = str(folder)
        raise


def keep_of(name: str, said: str, folder: Path) -> None:
    """What a peer's process said before it died."""
    (folder / f"bug-{name}.txt").write_text(said, encoding="utf-8")

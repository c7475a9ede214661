"""Where a report or an export goes: standard output, or a file that is replaced as a whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from peer.core.errors import SettingsError

STDOUT = Path("-")  # as a name on a command line


def write(parts: Iterable[bytes], out: Path | None) -> None:
    """Write the parts of a file one after the other; None or `-`: to standard output, while somebody reads it."""
    if out is None or out == STDOUT:
        _print(parts)
        return
    check(out)
    if out.exists() and not out.is_file():  # a pipe or a device has nothing to be replaced
        with open(out, "wb") as file:
            file.writelines(parts)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        _replace(out.resolve(), parts)


def check(out: Path) -> None:
    """Refuses a name under which nothing is to be written."""
    if out.is_dir():
        raise SettingsError("expected a file, found a folder", file=str(out))
    if (out.parent / "scenario.json").exists():
        raise SettingsError(f"{out.parent} is the folder of a run, and what is in it stays as it is", file=str(out))


def _print(parts: Iterable[bytes]) -> None:
    try:
        sys.stdout.buffer.writelines(parts)
        sys.stdout.flush()
    except BrokenPipeError:  # `head` has seen enough; nothing is to be flushed at the end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")  # in the same folder, so that renaming is one step
    try:
        with open(beside, "wb") as file:
            for part in parts:
                file.write(part)
        beside.replace(path)
    except OSError as error:
        if error.filename in (None, str(beside)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        beside.unlink(missing_ok=True)

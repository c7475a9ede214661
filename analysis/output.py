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


def check(out: Path | None) -> None:
    """Refuses a name under which nothing is to be written, or can be."""
    if out is None or out == STDOUT:
        return
    if out.is_dir():
        raise SettingsError("expected a file, found a folder", file=str(out))
    if (out.parent / "scenario.json").exists():
        raise SettingsError(f"{out.parent} is the folder of a run, and what is in it stays as it is", file=str(out))
    try:
        in_the_way = _in_the_way_of(out)
    except OSError as error:
        in_the_way = error.strerror
    if in_the_way:
        raise SettingsError(f"cannot be written: {in_the_way}; name another file", file=str(out))


def _in_the_way_of(out: Path) -> str:
    """Why this file cannot be written, as far as that can be told without writing."""
    if out.exists() and not out.is_file():  # a pipe or a device
        return "" if _may(out, os.W_OK) else f"{out} may not be written to"
    place = next(folder for folder in out.resolve().parents if folder.exists())  # those that are lacking are made
    if not place.is_dir():
        return f"{place} is a file, and no folder"
    return "" if _may(place, os.W_OK | os.X_OK) else f"{place} may not be written to"


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


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

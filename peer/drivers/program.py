"""What all programs of the lab do alike at their edges: Ctrl-C while they load, options, errors, who they are."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn, TextIO

from peer.core.errors import BAD_SETTINGS, INTERRUPTED, SettingsError

ARCHIVE_DIGEST_BYTES = 16
# What layers call: where a bug shows there, who called is told too.
CALLED = (Path(__file__).resolve().parent.parent / "core", Path(os.__file__).resolve().parent)


def loading() -> None:
    """Called before anything slow is imported: Ctrl-C ends the program at once, where it would show a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, and stays so
        signal.signal(signal.SIGINT, _end_at_once)


def loaded() -> None:
    """Called when the program proper begins: Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say(sentence: str, kind: str = "error") -> None:
    """Tell the person in front of the terminal, beside whatever goes to standard output."""
    _print_at_once(f"{kind}: {sentence}", sys.stderr)


def announce(sentence: str) -> None:
    """Print a line at once."""
    _print_at_once(sentence, sys.stdout)


def bug(error: Exception) -> str:
    """What went wrong inside the program, in one sentence with its place, so that whoever wrote it finds it."""
    places = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    told = [places[-1], *(place for place in reversed(places) if not any(map(place[0].is_relative_to, CALLED)))][:2]
    where = ", called in ".join(dict.fromkeys(f"{file.name}, line {line}" for file, line in told))
    what = " ".join(str(error).split())
    return f"{type(error).__name__} in {where}" + (f": {what}" if what else "")


def nobody_reads(stream: TextIO | None = None) -> None:
    """Whoever read the standard output, or this stream, has gone: what is still to be printed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _print_at_once(sentence: str, stream: TextIO) -> None:
    """That nobody reads it, or that it goes to a full disk, is no reason to end."""
    try:
        print(sentence, file=stream, flush=True)
    except OSError:
        nobody_reads(stream)


class Options(argparse.ArgumentParser):
    """The options of a program; what cannot be understood is told in one line."""

    def error(self, message: str) -> NoReturn:
        say(f"{message} (--help shows what is known)")
        sys.exit(BAD_SETTINGS)


def seconds(text: str) -> float:
    """The value of an option that says how long."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:  # nan neither
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, found {text!r}")
    return value


def name_of(text: str) -> str:
    """The value of an option that others are told."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes that are no text
        raise argparse.ArgumentTypeError(f"expected a name in UTF-8, found {text!r}")
    return text


class PidFile:
    """Says that a process lives, and which: its lock is held as long, its number is in it once the process listens.

    Whoever wants to know looks at the lock: a number alone may be that of another process by now.
    """

    def __init__(self, path: Path) -> None:
        """SettingsError if another process holds it."""
        import fcntl  # not everywhere, and only deployed processes need it

        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
        except BlockingIOError:
            raise SettingsError("another process holds it, and lives", file=str(path)) from None
        except OSError as error:
            raise SettingsError(f"cannot be written: {error.strerror}", file=str(path)) from None

    def say_ready(self) -> None:
        """From now on this process listens, and understands signals."""
        os.write(self._file, b"%d\n" % os.getpid())


def archive_digest() -> str:
    """Of the archive that this program runs from; empty where it runs from its sources."""
    archive = getattr(globals().get("__loader__"), "archive", None)
    if archive is None:
        return ""
    with open(archive, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=ARCHIVE_DIGEST_BYTES).hexdigest()


def _end_at_once(*_: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)  # nothing has begun that would have to be ended in order

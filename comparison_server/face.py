"""What all commands of the operator's side do alike: exit codes, errors in one sentence, Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from peer.core.errors import BAD_SETTINGS, HELD, INTERRUPTED, UNFINISHED, LabError
from peer.drivers.program import loaded, nobody_reads, say

LIVE = "--live"
LiveOption = Annotated[
    int | None,
    typer.Option(LIVE, metavar="[PORT]", min=0, max=65535, help="show the runs in a browser of this machine (8642)"),
]


def run(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command line; its exit code. What went wrong is told in one sentence, without a traceback."""
    loaded()
    for name in ("SIGTERM", "SIGHUP"):  # ended from outside: clean up as after Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        code = app(list(_with_ports(sys.argv[1:] if arguments is None else arguments)), standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except TyperException as error:
        say(f"{error.format_message()} (--help shows what is known)")
        return BAD_SETTINGS
    except LabError as error:
        say(str(error))
        return error.exit_code
    except (BrokenPipeError, SystemExit):  # `head` has seen enough; SystemExit is how rich and typer say that
        nobody_reads()
        return HELD
    except OSError as error:  # a full disk, a folder that may not be written
        say(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        return UNFINISHED
    if code == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _with_ports(arguments: Sequence[str]) -> Iterator[str]:
    """The usual port where --live names none: typer has no option whose value may be left out."""
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        yield argument
        if argument == LIVE and not following.isdecimal():
            yield "0"


def help_unless_command(context: typer.Context) -> int:
    """What a program with commands does when it is given none: it shows which there are."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        return BAD_SETTINGS
    return HELD

"""Start the group manager from its arguments."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import argparse
import os
import signal
import sys
from pathlib import Path

from group_manager.service import PORT, Service
from peer.core.errors import BAD_SETTINGS, INTERRUPTED, LabError
from peer.drivers.control import parse_endpoint, read_key
from peer.drivers.program import Options, PidFile, announce, loaded, say

EXAMPLE = """example:
  python -m group_manager --bind 192.0.2.7:5680

Peers and the comparison server register here and find each other. It runs until Ctrl-C, or
until the comparison server ends everything. Traffic is authenticated with the key, not
encrypted."""


def main(arguments: list[str] | None = None) -> int:
    """Run the group manager; its exit code."""
    loaded()
    if sys.version_info < (3, 10):
        say("this needs Python 3.10 or later")
        return BAD_SETTINGS
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        held = PidFile(Path(options.pid_file)) if options.pid_file else None
        service = Service(parse_endpoint(options.bind, port=PORT, path="--bind"), read_key(options.key))
    except LabError as error:
        say(str(error))
        return error.exit_code
    try:
        if held is not None:
            held.say_ready()
        announce("the group manager listens on {}:{}".format(*service.endpoint))
        while not service.stopped and options.child_of in (None, os.getppid()):
            service.poll()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        service.close()
    return 0


def _parser() -> Options:
    parser = Options(
        prog="python -m group_manager",
        description="Keeps who is there: the peers of each group, and where they and their comparison server are.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--bind", metavar="HOST:PORT", default=f"0.0.0.0:{PORT}", help="TCP address to listen on (%(default)s)")
    add("--key", metavar="FILE", help="the lab's key (.lab/key, made on first use)")
    add("--child-of", metavar="PID", type=int, help="end when this process, which started it, has ended")
    add("--pid-file", metavar="FILE", help="locked while it lives; holds its process id once it listens")
    return parser


def _end(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

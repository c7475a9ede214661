"""Start the group manager from its arguments."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from group_manager.service import PORT, Service
from peer.core.errors import BAD_SETTINGS, INTERRUPTED, LabError
from peer.drivers.control import parse_endpoint, read_key

EXAMPLE = """example:
  python -m group_manager --bind 192.0.2.7:5680

Peers and the comparison server register here and find each other. It runs until Ctrl-C, or
until the comparison server ends everything. Traffic is authenticated with the key, not
encrypted."""


def main(arguments: list[str] | None = None) -> int:
    """Run the group manager; its exit code."""
    if sys.version_info < (3, 10):
        print("group_manager: this needs Python 3.10 or later", file=sys.stderr)
        return BAD_SETTINGS
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        service = Service(parse_endpoint(options.bind, port=PORT), read_key(options.key))
    except LabError as error:
        print(f"group_manager: {error}", file=sys.stderr)
        return error.exit_code
    try:
        print("the group manager listens on {}:{}".format(*service.endpoint), flush=True)
        while not service.stopped and options.child_of in (None, os.getppid()):
            service.poll()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        service.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m group_manager",
        description="Keeps who is there: the peers of each group, and where they and their comparison server are.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--bind", metavar="HOST:PORT", default=f"0.0.0.0:{PORT}", help="TCP address to listen on (%(default)s)")
    add("--key", metavar="FILE", help="the lab's key (.lab/key, made on first use)")
    add("--child-of", metavar="PID", type=int, help="end when this process, which started it, has ended")
    return parser


def _end(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

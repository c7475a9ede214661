"""Start one peer process from its arguments."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import argparse
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from peer.core.errors import BAD_SETTINGS, INTERRUPTED, UNFINISHED, LabError, SettingsError
from peer.drivers.control import parse_endpoint, read_key
from peer.drivers.program import Options, PidFile, bug, loaded, name_of, say, seconds
from peer.drivers.udp import Application, UdpPeer

MANAGER_PORT, SERVER_PORT = 5680, 5678

EXAMPLE = """example:
  python -m peer --manager 192.0.2.7:5680 --name alice

The peer registers with the group manager, connects to the comparison server (the one the
manager knows, unless --server is given), and plays one run after another until it is told
to stop. Traffic is authenticated with the key, not encrypted."""


def main(arguments: list[str] | None = None, application: Application | None = None) -> int:
    """Run a peer; its exit code."""
    loaded()
    if sys.version_info < (3, 10):
        say("this needs Python 3.10 or later")
        return BAD_SETTINGS
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        held = PidFile(Path(options.pid_file)) if options.pid_file else None
        peer = UdpPeer(
            options.name,
            read_key(options.key),
            group=options.group,
            bind=parse_endpoint(options.bind, port=0, path="--bind"),
            advertise=parse_endpoint(options.advertise, path="--advertise") if options.advertise else None,
            manager=None if options.control else parse_endpoint(options.manager, port=MANAGER_PORT, path="--manager"),
            server=parse_endpoint(options.server, port=SERVER_PORT, path="--server") if options.server else None,
            logs=Path(options.logs),
            control=Path(options.control) if options.control else None,
            orphan_s=options.orphan_s,
            application=application,
            say=lambda sentence: say(sentence, f"peer {options.name}"),
        )
    except SettingsError as error:
        say(str(error))
        return BAD_SETTINGS
    except OSError as error:
        say(f"cannot listen on {options.bind}: {error.strerror}")
        return BAD_SETTINGS
    if options.control:
        signal.signal(signal.SIGHUP, lambda *_: peer.look_at_control())
    try:
        if held is not None:
            held.say_ready()
        peer.run()
    except KeyboardInterrupt:
        return INTERRUPTED
    except LabError as error:
        say(str(error))
        return error.exit_code
    except Exception as error:  # a fault of the program's own, such as one in a layer
        traceback.print_exc()
        say(bug(error))
        return UNFINISHED
    return peer.exit_code


def _parser() -> Options:
    parser = Options(
        prog="python -m peer",
        description="One peer of the multicast ordering lab.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--manager", metavar="HOST:PORT", default=f"127.0.0.1:{MANAGER_PORT}", help="group manager (%(default)s)")
    add("--server", metavar="HOST:PORT", help="comparison server (the one that the group manager knows)")
    named = f"{socket.gethostname()}-{os.getpid()}"[:64]
    add("--name", type=name_of, default=named, help="unique in its group (host name and pid)")
    add("--group", type=name_of, default="", help="peers of different groups do not see each other")
    add("--bind", metavar="HOST:PORT", default="0.0.0.0:0", help="UDP address to listen on (any free port)")
    add("--advertise", metavar="HOST:PORT", help="address under which others reach this peer, where it differs")
    add("--key", metavar="FILE", help="the lab's key (.lab/key, made on first use)")
    add("--logs", metavar="DIR", default=".lab/logs", help="where the logs of the present run are kept (%(default)s)")
    about = "a file that says where they are, in place of both; read again whenever they are lost, and on SIGHUP"
    add("--control", metavar="FILE", help=about)
    add("--pid-file", metavar="FILE", help="locked while the peer lives; holds its process id once it listens")
    about = "exit after so long without any control connection (%(default)g)"
    add("--orphan-s", metavar="SECONDS", type=seconds, default=600.0, help=about)
    return parser


def _end(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""The page at an address of this machine, served by a thread of its own for as long as a program plays runs."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import Any

from analysis.live.board import Board
from peer.core.errors import SettingsError
from peer.drivers.program import say

LOOPBACK = "127.0.0.1"
PORT, PORTS = 8642, 20  # where it is unless somebody says where, or is there already; after so many any will do
MOST_CONNECTIONS = 64
LAST_WORDS_S = 1.0  # for browsers to hear how it ended,
END_S = 1  # for what is still being sent after that
JOIN_S = 5.0  # and for the thread to end


@contextmanager
def live_page(port: int | None, name: str) -> Iterator[Board | None]:
    """A board that browsers see as long as the block lasts, by `name`; its address is told. No port, no page.

    `port`: 0 for the usual one, or another where that is taken.
    """
    if port is None:
        yield None
        return
    with _listening(port) as listener, _served(Board(name), listener) as board:
        say("http://{}:{}/".format(*listener.getsockname()), "live page")
        yield board


def _listening(port: int) -> socket.socket:
    wanted = [port] if port else [*range(PORT, PORT + PORTS), 0]
    for each in wanted:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, each))
            listener.listen()
        except OSError as error:
            listener.close()
            if port or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                problem = f"cannot listen on port {each}: {error.strerror}; without a port, one that is free is taken"
                raise SettingsError(problem, path="--live") from None
            continue
        if not port and each != PORT:
            say(f"port {PORT} is taken, so the live page has another", "remark")
        return listener
    raise AssertionError("the system always has some port")


@contextmanager
def _served(board: Board, listener: socket.socket) -> Iterator[Board]:
    from uvicorn import Config, Server  # takes a while to import, and few want a page

    from analysis.live.application import application

    about = {"lifespan": "off", "ws": "none", "http": "h11", "loop": "asyncio", "server_header": False}
    limits = {"limit_concurrency": MOST_CONNECTIONS, "timeout_graceful_shutdown": END_S}
    quiet = {"log_config": None, "log_level": "critical", "access_log": False}
    server = Server(Config(application(board), **about, **limits, **quiet))
    thread = Thread(target=lambda: asyncio.run(_serve(server, listener)), name="live page", daemon=True)
    thread.start()
    try:
        yield board
    finally:
        board.conclude()
        until = monotonic() + LAST_WORDS_S
        while server.server_state.tasks and monotonic() < until:
            sleep(0.02)
        server.should_exit = True
        thread.join(JOIN_S)


async def _serve(server: Any, listener: socket.socket) -> None:
    await server.serve([listener])
    for connection in list(server.server_state.connections):  # of who does not read
        connection.transport.abort()
    await asyncio.sleep(0)  # while which they are closed

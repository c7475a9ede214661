"""One host's part of the look whether TCP gets to the control host: to be knocked at, or to knock."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from threading import Thread
from time import monotonic
from typing import Any

KNOCK_S = 5.0  # for a door to be opened
SILENT_S = 120.0  # an operator who says nothing for so long is gone


def listen(request: dict[str, Any], receive: Callable, send: Callable) -> dict[str, Any]:
    """Open the doors that nobody has opened yet, until the operator says that all have knocked."""
    doors, taken = [], {}
    try:
        for port in request["ports"]:
            try:
                doors.append(_door(request["bind"], port))
            except OSError as error:
                taken[port] = os.strerror(error.errno) if error.errno else str(error)
        send({"taken": [[port, why] for port, why in taken.items()]})
        until = monotonic() + SILENT_S
        while monotonic() < until:
            try:
                if receive(0) is None:
                    raise EOFError
                break
            except TimeoutError:
                pass
            readable, _, _ = select.select([receive, *doors], [], [], until - monotonic())
            for door in readable:
                if door is not receive:
                    door.accept()[0].close()
        return {}
    finally:
        for door in doors:
            door.close()


def dial(request: dict[str, Any]) -> dict[str, Any]:
    """Knock at all of them at once: how long each took to open, or why it did not."""
    knocked: dict[int, Any] = {}

    def knock(port: int) -> None:
        began = monotonic()
        try:
            socket.create_connection((request["address"], port), KNOCK_S).close()
            knocked[port] = monotonic() - began
        except TimeoutError:
            knocked[port] = "no answer"
        except OSError as error:
            knocked[port] = error.strerror or str(error)

    threads = [Thread(target=knock, args=(port,), daemon=True) for port in request["ports"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * KNOCK_S)  # to look up a name may take longer than it should
    return {"knocked": [[port, knocked.get(port, "no answer")] for port in request["ports"]]}


def _door(bind: str, port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((bind, port))
        door.listen(64)
    except OSError:
        door.close()
        raise
    return door

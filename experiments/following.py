"""Processes that follow the one that started them, if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from threading import Thread
from time import sleep

PR_SET_PDEATHSIG = 1
LOOKED_AFTER_S = 0.5


def follow(parent: int) -> None:
    """What a child calls that Python itself made, so that it does not outlive this parent."""
    at_once = follow_parent(parent)
    if at_once is not None:
        at_once()
    else:
        Thread(target=_look_after, args=(parent,), daemon=True).start()


def follow_parent(parent: int | None = None) -> Callable[[], None] | None:
    """What a child does before anything else, so that it dies with the thread that started it; `parent`: this process.

    None where that cannot be had: a child has to notice by itself then that its parent has gone.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None
    parent = os.getpid() if parent is None else parent

    def at_once() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in the meantime
            os._exit(1)

    return at_once


def _look_after(parent: int) -> None:
    while os.getppid() == parent:
        sleep(LOOKED_AFTER_S)
    os._exit(1)

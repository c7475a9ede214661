"""The same for many hosts at once: a thread for each, one deadline for all that it does, no thread is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from deploy import host_error
from deploy.host_error import HostError
from deploy.remote import Remote
from peer.core.errors import LabError

T = TypeVar("T")


def on_each(
    remotes: Iterable[Remote],
    job: Callable[[Remote], T],
    deadline_s: float,
    on_done: Callable[[str, T | HostError], None] | None = None,
) -> dict[str, T | HostError]:
    """What the job came to on each host, by its name and in the given order; `on_done` hears of each as it ends.

    A host that is not done at the deadline is closed, so that whatever waits for it ends; the same happens to all on
    Ctrl-C. The threads are left to themselves then: nothing of theirs can keep the program from ending.
    """
    waited = {remote.name: remote for remote in remotes}
    results: dict[str, Any] = dict.fromkeys(waited)
    ended: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    until = time.monotonic() + deadline_s
    try:
        for remote in waited.values():
            remote.resume()
            Thread(target=_do, args=(remote, job, ended), daemon=True).start()
        while waited:
            try:
                name, result = ended.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                name, remote = next(iter(waited.items()))
                result = host_error.of_deadline(name, remote.doing, deadline_s)
                remote.stop()
            if waited.pop(name, None) is None:
                continue  # it was given up before
            if isinstance(result, BaseException) and not isinstance(result, HostError):
                raise result
            results[name] = result
            if on_done is not None:
                on_done(name, result)
    except BaseException:
        for remote in waited.values():
            remote.stop()
        raise
    return results


def _do(remote: Remote, job: Callable[[Remote], Any], ended: SimpleQueue) -> None:
    try:
        result = job(remote)
    except BaseException as error:  # it is told to who waits, whatever it is
        result = error
        if isinstance(error, LabError) and not isinstance(error, HostError):
            result = HostError(remote.name, "failed", str(error))
    ended.put((remote.name, result))

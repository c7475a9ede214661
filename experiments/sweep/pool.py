"""Processes of this machine that play simulated runs beside each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from experiments.following import follow
from experiments.play import Planned
from experiments.sweep.playing import Result, play_simulated

# A fork has imported everything already; on other systems it is not safe.
HOW = "fork" if sys.platform.startswith("linux") else "spawn"
END_S = 5.0  # for a process whose connection has broken


@dataclass
class Worker:
    """A process that plays one run after another, and the one that it plays now."""

    process: BaseProcess
    connection: Connection
    planned: Planned

    def answer(self) -> Result:
        """What came of the run; a process that died with it is why it failed."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(END_S)
            self.process.kill()  # if it only closed its end
            self.process.join()
            code = self.process.exitcode
            how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
            return Result({}, f"the process that played it {how}")


def play_beside(runs: Sequence[Planned], workers: int, place: Path, lock: int) -> Iterator[tuple[Planned, Result]]:
    """Play runs in so many processes; each as soon as it is done, with what came of it.

    `place`: a folder for what they write on the way. `lock`: an open file that they must not keep.
    """
    context = multiprocessing.get_context(HOW)
    waiting = iter(runs)
    at_work: dict[Connection, Worker] = {}

    def begin(planned: Planned) -> None:
        ours, theirs = context.Pipe()
        arguments = (theirs, place, os.getpid(), lock if HOW == "fork" else None)
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        at_work[ours] = worker = Worker(process, ours, planned)
        _ask(worker, planned)

    try:
        for planned in islice(waiting, workers):
            begin(planned)
        while at_work:
            for connection in wait(list(at_work)):
                worker = at_work[connection]
                planned, result = worker.planned, worker.answer()
                following = next(waiting, None)
                if worker.process.exitcode is not None or following is None:
                    del at_work[connection]
                    _end(worker)
                    if following is not None:
                        begin(following)
                else:
                    _ask(worker, following)
                yield planned, result
    finally:
        for worker in at_work.values():
            _end(worker)


def _ask(worker: Worker, planned: Planned) -> None:
    worker.planned = planned
    try:
        worker.connection.send(planned)
    except OSError:  # it is dead; its answer will say so
        pass


def _end(worker: Worker) -> None:
    worker.process.kill()  # what it plays is not kept, and it keeps nothing itself
    worker.process.join()
    worker.connection.close()


def _work(connection: Connection, place: Path, parent: int, lock: int | None) -> None:
    """What a worker does until its parent ends it."""
    follow(parent)
    if lock is not None:
        os.close(lock)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on the terminal is for the parent
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    while True:
        connection.send(play_simulated(connection.recv(), place))

"""Simulated runs on a Dask cluster: its workers play them, and their files come here."""

from __future__ import annotations

import asyncio
import logging
import platform
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from dask import config
from distributed import Client, Future, get_worker

from experiments.play import Planned
from experiments.sweep.playing import Result, play_simulated
from experiments.sweep.sources import digest_of_sources
from peer.core.errors import RunError, SettingsError
from peer.drivers.program import say

ADDRESS = re.compile(r"(tcp://)?[^\s/:]+:[0-9]+|(tcp://)?\[[0-9a-fA-F:]+\]:[0-9]+")
START = "python -m dask worker"  # unlike `dask worker` it finds the lab's sources in the folder where it is started
CONNECT_S = 10.0
WORKERS_S = 10.0  # for the first worker to be there
WITHOUT_S = 60.0  # and for the next one, once all have gone
LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
LOOKED_AFTER_S = 1.0
ANSWER_S = 60.0  # for what a worker has to say, and for the files of a run
RETRIES = 2  # of a run whose result was lost on its way
IN_FLIGHT = 3  # runs for each thread of the cluster: one that is played, and what keeps it from waiting

Lost = (OSError, TimeoutError, asyncio.TimeoutError, asyncio.CancelledError)


def play_on_dask(runs: Sequence[Planned], address: str) -> Iterator[tuple[Planned, Result]]:
    """Play runs on the cluster of this scheduler; each as soon as it is done, with what came of it."""
    with connected(address) as client:
        threads = _same_program(client, address)
        done: SimpleQueue[Future] = SimpleQueue()
        waiting = iter(runs)
        in_flight: dict[str, tuple[Planned, Future]] = {}

        def submit(planned: Planned) -> None:
            future = client.submit(
                play_there, planned, digest_of_sources(), key=f"run-{planned.name}", pure=False, retries=RETRIES
            )
            in_flight[future.key] = planned, future
            future.add_done_callback(done.put)

        for planned in islice(waiting, IN_FLIGHT * threads):
            submit(planned)
        while in_flight:
            future = _next(client, address, done)
            planned, _ = in_flight.pop(future.key)
            result = _result(future, address)
            if following := next(waiting, None):
                submit(following)
            yield planned, result


def play_there(planned: Planned, sources: str) -> Result:
    """What a worker of the cluster does; one that came late may have other sources."""
    if digest_of_sources() != sources:
        return Result({}, f"the worker on {platform.node()} has another version of the lab's sources")
    return play_simulated(planned, Path(get_worker().local_directory))


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler; RunError in one sentence if it is not there."""
    if not ADDRESS.fullmatch(address):
        problem = f"expected the address of a Dask scheduler, as in tcp://192.0.2.7:8786, found {address}"
        raise SettingsError(problem, path="--scheduler")
    for name in LOGGERS:  # what is to be said is said here, in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with config.set({"distributed.comm.timeouts.connect": CONNECT_S}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except Lost:
            problem = f"no Dask scheduler answered at {address} within {CONNECT_S:g} s; is it up, and is that where?"
            raise RunError("connect", [], problem) from None
        try:
            yield client
        finally:
            client.close(timeout=CONNECT_S)


def _same_program(client: Client, address: str) -> int:
    """How many runs the workers can play at once; RunError if there are none, or if they would play something else."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
        threads = sum(client.nthreads().values())
        told = client.run(about, on_error="return")
    except Lost as error:
        why = "" if isinstance(error, (TimeoutError, asyncio.TimeoutError)) else f" ({error})"
        problem = f"the scheduler at {address} has no workers{why}; start some in the lab's folder: {START} {address}"
        raise RunError("connect", [], problem) from None
    ours = about()
    for worker, theirs in told.items():
        _check_worker(worker, theirs, ours)
    return threads


def _check_worker(worker: str, theirs: Any, ours: Mapping[str, str]) -> None:
    if not isinstance(theirs, dict):
        problem = f"the worker {worker} cannot play: {theirs}; start it in the lab's folder: {START} ..."
        raise RunError("connect", [], problem)
    if theirs["sources"] != ours["sources"]:
        problem = f"the worker {worker} has another version of the lab's sources; give all machines the same ones"
        raise RunError("connect", [], problem)
    for what in ("python", "numpy"):
        if theirs[what] != ours[what]:
            say(f"the worker {worker} plays with {what} {theirs[what]}, and here it is {ours[what]}", kind="remark")


def about() -> dict[str, str]:
    """What a worker plays with."""
    import numpy

    return {"sources": digest_of_sources(), "python": platform.python_version(), "numpy": numpy.__version__}


def _next(client: Client, address: str, done: SimpleQueue[Future]) -> Future:
    """The next run that came to an end; RunError if nothing will."""
    without_since: float | None = None
    while True:
        try:
            return done.get(timeout=LOOKED_AFTER_S)
        except Empty:
            _check_connected(client, address)
        try:
            there = client.nthreads()
        except Lost:
            _check_connected(client, address)
            continue
        without_since = None if there else without_since or monotonic()
        if without_since is not None and monotonic() - without_since > WITHOUT_S:
            problem = f"the scheduler at {address} has had no workers for {WITHOUT_S:g} s; start some and go on"
            raise RunError("play", [], problem)


def _check_connected(client: Client, address: str) -> None:
    if client.status != "running":
        raise _lost(address)


def _lost(address: str) -> RunError:
    return RunError("play", [], f"the connection to the Dask scheduler at {address} is lost; go on once it is up again")


def _result(future: Future, address: str) -> Result:
    """What came of a run."""
    if future.cancelled():
        raise _lost(address)
    try:
        return future.result(timeout=ANSWER_S)
    except Lost:
        if future.cancelled():
            raise _lost(address) from None
        return Result({}, f"its files did not come from the cluster within {ANSWER_S:g} s")
    except Exception as error:  # whatever the cluster has to say: its workers died with it, or cannot play
        return Result({}, f"{type(error).__name__}: {error}")

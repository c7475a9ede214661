"""The all-ack ordering beside ZeroMQ: four members whose messages a forwarder puts in one order, and sends to all.

In two rows ZeroMQ's application batches its messages by hand, and unpacks nothing at the other end; the lab batches by
itself and calls the application for every message. Both take turns, so that a slow minute of the machine strikes both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, monotonic_ns
from typing import Any

import numpy as np

from experiments.bench.cluster import COUNTING_PEER, loopback, pin, timed
from experiments.bench.counting_peer import count
from experiments.bench.row import Lacking, Row, Say
from experiments.bench.throughput import Case, flood
from experiments.local import LocalCluster

try:
    import zmq
except ImportError:
    zmq = None

MEMBERS = 4
TIMES = 3
HERE = "tcp://127.0.0.1"
FLOODS = {
    # what: messages of each, of how many bytes, how many in a batch
    "64 B": (60_000, 64, 1),
    "64 B, batched by hand": (1_000_000, 64, 1024),
    "1 KiB": (20_000, 1024, 1),
    "1 KiB, batched by hand": (60_000, 1024, 64),
}
OURS = {"64 B": Case("", "lamport_all_ack", "explicit"), "1 KiB": Case("", "lamport_all_ack", "explicit", 60_000, 1024)}
SINGLES = 1500
SINGLE = f"workload={{kind: single, messages: {SINGLES // MEMBERS}, gap_ms: [0, 0]}}"
HELLO, GO = b"hello", b"go"
END_S = 60.0  # for the members to have received everything
AT_ONCE = 64  # sent before what has come is looked at


def run(say: Say) -> list[Row]:
    """Messages a second and p50 of both, and how many times as good the lab's are."""
    if zmq is None:
        raise Lacking("pyzmq is not installed (requirements-dev.txt), so there is nothing to compare with")
    theirs: dict[str, list[float]] = {what: [] for what in FLOODS}
    ours: dict[str, list[float]] = {what: [] for what in OURS}
    with LocalCluster(MEMBERS, peer_module=COUNTING_PEER) as cluster:
        for time in range(TIMES):
            for what, case in OURS.items():
                say(f"{time + 1} of {TIMES}: {what}")
                ours[what].append(flood(cluster, case))
            for what, (messages, size, batch) in FLOODS.items():
                say(f"{time + 1} of {TIMES}: {what}, ZeroMQ")
                theirs[what].append(_flood(messages, size, batch))
    their_p50, our_p50 = [], []
    with LocalCluster(MEMBERS) as cluster:
        pin(cluster)
        for time in range(TIMES):
            say(f"{time + 1} of {TIMES}: one at a time")
            result = timed(cluster, loopback("lamport_all_ack", "explicit", MEMBERS, SINGLE))
            our_p50.append(float(np.median(result.across_s)) * 1e6)
            their_p50.append(float(np.median(np.concatenate(_play(_single)))) * 1e6)
    rows = []
    for what in FLOODS:
        if what in ours:
            rows.append(Row(f"{what}: lamport_all_ack:explicit", median(ours[what]), "messages/s"))
        rows.append(Row(f"{what}: ZeroMQ", median(theirs[what]), "messages/s"))
        ratio = median(ours[what.split(",")[0]]) / median(theirs[what])
        rows.append(Row(f"{what}: the lab to ZeroMQ", ratio, "times"))
    rows += [Row("p50: lamport_all_ack:explicit", median(our_p50), "us"), Row("p50: ZeroMQ", median(their_p50), "us")]
    return [*rows, Row("p50: the lab to ZeroMQ", median(their_p50) / median(our_p50), "times")]


# On this side: the forwarder, and members as processes.


def _flood(messages: int, size: int, batch: int) -> float:
    began, ended = zip(*_play(_flooding, messages, size, batch))
    return MEMBERS * messages / (max(ended) - min(began))


def _play(what: Callable[..., Any], *arguments: int) -> list[Any]:
    """What each member says after it did this."""
    with _forwarder() as (context, ports), ExitStack() as stack:
        members = [stack.enter_context(_member(place, ports, what.__name__, arguments)) for place in range(MEMBERS)]
        for member in members:
            assert member.stdout.readline() == b"ready\n", "a member of the run of ZeroMQ did not come up"
        with context.socket(zmq.PUSH) as push:
            push.connect(f"{HERE}:{ports[0]}")
            push.send(GO)
        return [json.loads(member.communicate(timeout=END_S)[0]) for member in members]


@contextmanager
def _forwarder() -> Iterator[tuple[Any, list[int]]]:
    """Hands on in one order what is pushed to its first port to all who subscribe at its second."""
    context = zmq.Context()
    inward, outward = context.socket(zmq.PULL), context.socket(zmq.PUB)
    outward.set_hwm(0)  # else it drops what a subscriber is too slow for
    ports = [end.bind_to_random_port(HERE) for end in (inward, outward)]

    def forward() -> None:
        try:
            zmq.proxy(inward, outward)
        except zmq.ContextTerminated:
            inward.close(0)
            outward.close(0)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        yield context, ports
    finally:
        context.term()
        thread.join()


@contextmanager
def _member(place: int, ports: list[int], what: str, arguments: tuple[int, ...]) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", __spec__.name, what, *map(str, (place, *ports, *arguments))]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# On a member's side.


def _flooding(push: Any, subscription: Any, place: int, messages: int, size: int, batch: int) -> list[float]:
    """Send all that is to be sent, receive all that anybody sent; when that began and ended."""
    payload, left = bytes(size * batch), messages // batch
    expected = MEMBERS * left
    began = monotonic()
    while expected:
        try:
            for _ in range(min(AT_ONCE, left)):
                push.send(payload, zmq.NOBLOCK)
                left -= 1
        except zmq.Again:
            pass  # the forwarder is not as fast
        try:
            while True:
                count(place, expected, subscription.recv(zmq.NOBLOCK))
                expected -= 1
        except zmq.Again:
            if expected:
                subscription.poll(1)
    return [began, monotonic()]


def _single(push: Any, subscription: Any, place: int) -> list[float]:
    """The first member sends, each time it has received the one before; how long that took at the others."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[place % len(processors)]})
    took_s = []
    for _ in range(SINGLES):
        if place == 0:
            push.send(monotonic_ns().to_bytes(8, "little") + bytes(56))
        sent_ns = int.from_bytes(subscription.recv()[:8], "little")
        took_s.append((monotonic_ns() - sent_ns) / 1e9)
    return took_s if place else []


def _main(what: str, place: int, push_port: int, subscribe_port: int, *arguments: int) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.SUB) as subscription:
        subscription.set_hwm(0)
        subscription.subscribe(b"")
        subscription.connect(f"{HERE}:{subscribe_port}")
        push.connect(f"{HERE}:{push_port}")
        while not subscription.poll(10):  # until its subscription has reached the forwarder
            push.send(HELLO)
        print("ready", flush=True)
        while subscription.recv() != GO:
            pass
        print(json.dumps({"_flooding": _flooding, "_single": _single}[what](push, subscription, place, *arguments)))


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))

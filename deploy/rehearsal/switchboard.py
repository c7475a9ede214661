"""The process that carries frames from card to card, each when its time has come, and says how late it was."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from time import monotonic
from typing import Any

from deploy.rehearsal import card, namespaces
from deploy.rehearsal.plan import OPERATOR, Plan
from deploy.rehearsal.router import Port, Router
from peer.core.errors import LabError, SettingsError

AT_ONCE = 32  # frames that are read from one card before another has its turn
LONGEST_FRAME = 65_600
AWAKE_S = 80e-6  # rather than sleep for less, stay awake: being woken takes about as long
BUCKET_S, BUCKETS = 10e-6, 10_000  # lateness is counted in steps of 10 µs, up to 0.1 s
REQUEST_BYTES = 1 << 20


class Lateness:
    """How much later than due frames were handed over."""

    def __init__(self) -> None:
        self.counts, self.frames, self.worst_s = [0] * BUCKETS, 0, 0.0

    def count(self, late_s: float) -> None:
        self.frames += 1
        bucket = int(late_s / BUCKET_S)
        self.counts[bucket if bucket < BUCKETS else -1] += 1
        if late_s > self.worst_s:
            self.worst_s = late_s

    def as_dict(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "p50_ms": self._ms(0.5),
            "p99_ms": self._ms(0.99),
            "max_ms": round(self.worst_s * 1000, 3),
        }

    def _ms(self, share: float) -> float:
        left = share * self.frames
        for bucket, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return round((bucket + 1) * BUCKET_S * 1000, 3) if self.frames else 0.0
        return round(self.worst_s * 1000, 3)


class Switchboard:
    """Reads cards, asks the router, keeps what is on its way."""

    def __init__(self, plan: Plan, requests: socket.socket) -> None:
        self.router = Router(plan)
        self.requests = requests  # from the supervisor
        self.lateness = Lateness()
        self.cards: dict[int, Port] = {}  # by file
        self.files: dict[str, int] = {}  # by name
        self.on_the_way: list[tuple[float, int, Port, bytes]] = []
        self._sent = 0
        self._do: dict[str, Callable[..., Any]] = {
            "plug": self.plug,
            "unplug": self.unplug,
            "sleep": self.router.sleep,
            "partition": self.router.partition,
            "block": self.router.block,
            "unblock": self.router.unblock,
            "heal": self.router.heal,
            "network": self.router.set_weather,
            "lateness": self.tell_lateness,
            "network status": self.status,
        }
        self.plug(OPERATOR)  # this process lives in the operator's network namespace

    def run(self) -> None:
        """Until the supervisor is gone."""
        asked = self.requests.fileno()
        while True:
            files = [asked, *self.cards]
            wait_s = self.on_the_way[0][0] - monotonic() if self.on_the_way else 10.0
            readable, _, _ = select.select(files, (), (), wait_s if wait_s > AWAKE_S else 0)
            now = monotonic()  # what is read now may have come at any time since: no later than this
            for file in readable:
                if file == asked:
                    if not self._serve():
                        return
                elif port := self.cards.get(file):  # it may have been unplugged just now
                    self._read(file, port, now)
            self._hand_over()

    def plug(self, name: str, pid: int | None = None) -> None:
        """Give a machine its card."""
        self.unplug(name)
        port = self.router.port(name)
        file = card.plug(port, pid)
        self.files[name], self.cards[file] = file, port
        self.router.sleep(name, False)

    def unplug(self, name: str) -> None:
        """The machine is off: its card is gone."""
        self.router.sleep(name, True)
        if (file := self.files.pop(name, None)) is not None:
            del self.cards[file]
            os.close(file)

    def tell_lateness(self, reset: bool = False) -> dict[str, Any]:
        """Of the frames handed over since the start, or since it was last reset."""
        told = self.lateness.as_dict()
        if reset:
            self.lateness = Lateness()
        return told

    def status(self) -> dict[str, Any]:
        return {
            "lateness": self.lateness.as_dict(),
            "frames": dict(self.router.counts),
            "on_the_way": len(self.on_the_way),
            "blocks": self.router.blocks,
        }

    def _read(self, file: int, port: Port, now: float) -> None:
        arrive, waiting = self.router.arrive, self.on_the_way
        for _ in range(AT_ONCE):
            try:
                frame = os.read(file, LONGEST_FRAME)
            except OSError:  # nothing more for now, or the machine has just gone
                return
            for due, target, made in arrive(port, frame, now):
                self._sent += 1  # so that of those due at one time the first sent is the first to arrive
                heappush(waiting, (due, self._sent, target, made))

    def _hand_over(self) -> None:
        waiting, now, files, count = self.on_the_way, monotonic(), self.files, self.lateness.count
        while waiting and waiting[0][0] <= now:
            due, _, target, frame = heappop(waiting)
            if target.asleep:
                continue
            with suppress(OSError):  # the machine has just gone
                os.write(files[target.name], frame)
            now = monotonic()
            count(now - due)

    def _serve(self) -> bool:
        """Do what the supervisor asks; whether it is still there."""
        request = self.requests.recv(REQUEST_BYTES)
        if not request:
            return False
        arguments = json.loads(request)
        op = arguments.pop("op")
        try:
            if op not in self._do:
                raise SettingsError(f"a rehearsal cloud cannot be asked for {op}")
            reply = {"done": self._do[op](**arguments)}
        except (LabError, OSError, TypeError, ValueError, AttributeError) as error:
            reply = {"failed": str(error)}
        self.requests.send(json.dumps(reply).encode())
        return True


def carry(plan: Plan, requests: socket.socket) -> None:
    """The life of this process."""
    namespaces.be_called("rehearsal-net")
    namespaces.wake_on_time()
    with suppress(OSError):  # ahead of whatever else the machine does: it stands for cables, which are never busy
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    switchboard = Switchboard(plan, requests)
    gc.collect()
    gc.freeze()
    gc.disable()  # frames make no circles
    switchboard.run()

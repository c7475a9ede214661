"""The collecting half of the comparison server on the control host, led from here: by orders, at times not at all.

It has the face of a `Service`. A thread hears over ssh what lies on the desk there; while that cannot be heard a run
goes on all the same, and is brought home afterwards, by this operator or by another one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from comparison_server.collector import CLOSE, END, LOSE, outcome_from, progress_from
from comparison_server.coordinator import UPLOAD, Found
from comparison_server.delivery_log import PART
from comparison_server.desk import ENDED, HOME
from comparison_server.service import POLL_S, Interrupted, Interrupts, Outcome, Progress
from deploy.host_error import HostError
from deploy.remote import Remote
from experiments.cloud.fetching import OnBytes, hash_of, in_pieces
from experiments.play import planned_as
from peer.core.errors import LabError, RunError
from peer.core.settings import RunSettings, from_json

T = TypeVar("T")

ASK_S = 20.0  # for what is asked of the control host
SILENT_S = 10.0  # of a desk that is said anew every few seconds: the way to it is broken
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # between attempts to reach it again
CLOSED_S = 30.0  # after Ctrl-C, for a run to be closed and collected
GONE_S = 3.0  # a collector that does not live for so long has ended; a run that is not on the desk was cleaned away
GLANCE_S = 0.5  # between attempts to fetch something
LOST = ("unreachable", "refused", "busy", "timeout", "lost", "no answer")  # errors that trying again may mend
HASH_S = 300.0  # for large logs to be hashed there
COLLECTOR = "collector"


class Distant:
    """What runs on the control host."""

    def __init__(self, remote: Remote, operator: dict[str, str], lost_s: float) -> None:
        """`operator`: who orders, `id` and `name`. `lost_s`: how long the host may be out of reach."""
        self.leads_no_more = ""
        self.needed = ""  # why the peers and the services live on though this operator has them end
        self.runs: dict[str, dict[str, Any]] = {}  # those that were found: who ordered each, and what became of it
        self._remote, self._operator, self._lost_s = remote, operator, lost_s
        self._desk: dict[str, Any] = {"orders": {}, "progress": None, "lives": [], "ended": {}}
        self._heard = self._there = monotonic()  # when the desk was heard of last, and the run on it
        self._dead_since: float | None = None  # since when it is known that there is no collector
        self._is_served = False  # there is to be a collector
        self._is_told = threading.Event()  # something
        self._ending = threading.Event()
        self._lost: set[tuple[str, str]] = set()  # runs and those of their peers of which it is known that they ended

    def begin(self, is_served: bool) -> None:
        """Hear from there from now on. `is_served`: the services live; else what is there only lies there."""
        self._is_served, self._heard = is_served, monotonic()
        threading.Thread(target=self._hear, name=f"watch of {self._remote.name}", daemon=True).start()

    @property
    def peers(self) -> dict[str, None]:
        """Who is connected there, as far as is known here."""
        progress = self._desk["progress"]
        return dict.fromkeys(progress["peers"] if progress and COLLECTOR in self._desk["lives"] else [])

    def poll(self, timeout_s: float = POLL_S) -> None:
        """Wait for about this long, or until something has happened; RunError if there is no collector any more."""
        self._is_told.wait(timeout_s)
        self._is_told.clear()
        dead_since = self._dead_since
        if self._is_served and dead_since is not None and monotonic() - dead_since > GONE_S:
            said = self._desk["ended"].get(COLLECTOR) or "it said nothing"
            how = "starts it again, and brings home what it left"
            raise RunError(UPLOAD, [], f"the collector on {self._remote.name} has ended: {said}; `fab collect` {how}")

    def settled(self, timeout_s: float = ASK_S) -> list[Found]:
        """The runs that go on there or have ended there, and that nobody has brought home yet."""
        found = []
        for run, state in self._persist(lambda: self._remote.ask("status", timeout_s=timeout_s))["orders"].items():
            if state == HOME:
                continue
            order = self._told_of(run, logs=False)["order"] or {}
            with suppress(LabError):  # of another version of this program; it stays there
                settings = from_json(RunSettings, order.get("settings"))
                each = Found(run, settings, order.get("header") or {}, order["settings"])
                planned_as(each)
                found.append(each)
                self.runs[run] = {"operator": order.get("operator", ""), "state": state}
        return found

    def run(
        self,
        settings: RunSettings,
        agreement: bool,
        header: dict[str, Any],
        folder: Path,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Outcome:
        """Order a run, follow it to its end, and bring its logs into this folder."""
        run, by = secrets.token_hex(8), self._operator["name"]
        order = {"settings": asdict(settings), "agreement": agreement, "header": header, "operator": by}
        laid = self._persist(lambda: self._remote.ask("order", run=run, order=order, timeout_s=ASK_S))
        self._desk = {**self._desk, "orders": laid["orders"]}
        return self._follow(run, folder, on_progress)

    def take_up(
        self,
        found: Found,
        agreement: bool,
        folder: Path,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Outcome:
        """The same with a run that was ordered before."""
        self._desk = {**self._desk, "orders": {found.run: self.runs[found.run]["state"], **self._desk["orders"]}}
        return self._follow(found.run, folder, on_progress)

    def lose(self, name: str, sentence: str) -> None:
        """Do not wait for this peer in the present run: it is known to be gone."""
        run = (self._desk["progress"] or {}).get("run", "")
        if run and (run, name) not in self._lost:
            self._lost.add((run, name))
            word = {"do": LOSE, "run": run, "name": name, "sentence": sentence}
            threading.Thread(target=self._try_to_say, args=(word,), daemon=True).start()

    def give_way(self, host: str, operator: str) -> None:
        """The control host leads, whoever orders; if others lead now, that shows in what becomes of a run."""

    def end_all(self, timeout_s: float) -> list[str]:
        """Have the peers and the services end once nothing is left to be led; who has not ended in time.

        That is for the operator who came last; another one is told who that is.
        """
        try:
            said = self._remote.ask("word", word={"do": END}, operator=self._operator["id"], timeout_s=ASK_S)
        except HostError as error:
            self.needed = f"{error}; the peers were not told to end: fab stop"
            return []
        if not said["said"]:
            self.needed = f"the peers live on: {said['last']} has come since, and ends them"
            return []
        if any(state not in (ENDED, HOME) for state in said["orders"].values()):
            self.needed = "the peers live on: a run goes on there, and they end after that"
            return []
        self._is_served = False
        until = monotonic() + timeout_s
        while COLLECTOR in self._desk["lives"] and monotonic() < until:
            self.poll()
        return list(self.peers)

    def close(self) -> None:
        """Hear no more from there."""
        self._ending.set()

    # While a run goes on.

    def _follow(self, run: str, folder: Path, on_progress: Callable[[Progress], None] | None) -> Outcome:
        until: float | None = None
        self._heard = self._there = monotonic()
        with Interrupts() as interrupts:
            while self._desk["orders"].get(run) not in (ENDED, HOME):
                self.poll()
                now = monotonic()
                if interrupts.came and until is None:
                    until = now + CLOSED_S
                    threading.Thread(target=self._try_to_say, args=({"do": CLOSE, "run": run},), daemon=True).start()
                if until is not None and now > until:
                    raise self._gone("could not be told to close the run")
                self._check(run, now)
                progress = self._desk["progress"]
                if on_progress is not None and progress and progress["run"] == run and progress["progress"]:
                    on_progress(progress_from(progress["progress"]))
            outcome = self._bring(run, folder, on_progress)
        if interrupts.came:
            raise Interrupted(outcome)
        return outcome

    def _check(self, run: str, now: float) -> None:
        """Whether there is still something to wait for."""
        if now - self._heard > self._lost_s:
            raise self._gone(f"has not been reached for {self._lost_s:g} s")
        if run in self._desk["orders"]:
            self._there = now
        elif now - self._there > GONE_S:  # what was heard last may be older than the order
            raise RunError(
                UPLOAD, [], f"the run is not on {self._remote.name} any more: somebody has cleaned the lab there"
            )

    def _gone(self, why: str) -> RunError:
        return RunError(
            UPLOAD, [], f"{self._remote.name} {why}; the run goes on there, and `fab collect` brings it home"
        )

    def _bring(self, run: str, folder: Path, on_progress: Callable[[Progress], None] | None) -> Outcome:
        """All there is of a run into this folder."""
        told = self._told_of(run, logs=True)
        outcome, files = outcome_from(told["outcome"], folder), told["files"]
        settings = from_json(RunSettings, told["order"]["settings"])
        total, done, began = sum(file["size"] for file in files), 0, monotonic()
        for file in files:

            def shown(have: int, size: int, done: int = done) -> None:
                if on_progress is not None:
                    messages = settings.workload.messages
                    on_progress(Progress(UPLOAD, monotonic() - began, [], messages, [], done + have, total))

            self._fetch(run, file, folder, shown)
            done += file["size"]
        self._persist(lambda: self._remote.ask("home", run=run, timeout_s=ASK_S))
        return outcome

    def _fetch(self, run: str, file: dict[str, Any], folder: Path, on_bytes: OnBytes) -> None:
        part = folder / f"{file['name']}{PART}"

        def ask(begin: int) -> dict[str, Any]:
            about = {"run": run, "name": file["name"], "begin": begin}
            return self._persist(lambda: self._remote.ask("piece", **about, timeout_s=ASK_S))

        while True:
            had = part.stat().st_size if part.exists() else 0
            try:
                self._persist(lambda: self._remote.fetch(file["path"], part, on_bytes))
                break
            except HostError as error:
                if error.kind == "sftp":
                    in_pieces(self._remote.name, part, file["size"], ask, on_bytes)
                    break
                if error.kind not in LOST or not part.exists() or part.stat().st_size == had:
                    raise
        if hash_of(part) != file["hash"]:
            part.unlink()
            raise RunError(
                UPLOAD, [], f"{file['name']} came from {self._remote.name} damaged; fetch it again: fab collect"
            )
        part.replace(folder / file["name"])

    def _told_of(self, run: str, logs: bool) -> dict[str, Any]:
        timeout_s = HASH_S if logs else ASK_S
        return self._persist(lambda: self._remote.ask("brought", run=run, logs=logs, timeout_s=timeout_s))

    def _persist(self, ask: Callable[[], T]) -> T:
        """What came of asking; if the way breaks, it is asked again, for as long as the host may be out of reach."""
        until = monotonic() + self._lost_s
        while True:
            try:
                return ask()
            except HostError as error:
                if error.kind not in LOST or monotonic() > until:
                    raise
                sleep(GLANCE_S)

    def _try_to_say(self, word: dict[str, Any]) -> None:
        with suppress(HostError):  # a run that is not told of it goes on, and finds out by itself
            self._persist(lambda: self._remote.ask("word", word=word, operator=self._operator["id"], timeout_s=ASK_S))

    # What is heard.

    def _hear(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while not self._ending.is_set():
            try:
                with self._remote.talk("watch", timeout_s=ASK_S) as talk:
                    while not self._ending.is_set():
                        self._on_desk(talk.receive(SILENT_S)["desk"])
                        pause_s = SHORTEST_PAUSE_S
            except HostError:
                self._ending.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _on_desk(self, desk: dict[str, Any]) -> None:
        if COLLECTOR in desk["lives"]:
            self._dead_since = None
        elif self._dead_since is None:
            self._dead_since = monotonic()
        self._desk, self._heard = desk, monotonic()
        self._is_told.set()

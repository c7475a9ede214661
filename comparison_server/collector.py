"""The half of the comparison server that collects, as a program of its own on the control host: it leads by orders.

Operators lay orders on a desk and come back for what became of them; meanwhile nobody need be there. What is led or
has ended is on the desk, and what goes on is known to the peers: a collector that was killed, and is started again,
leads on what they play.
"""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from comparison_server.coordinator import HANDSHAKE, UPLOAD, Found
from comparison_server.delivery_log import PART
from comparison_server.desk import LED, RESERVE_BYTES, RUN, WAITING, Desk, read, write
from comparison_server.service import PORT, MemberProgress, Outcome, Progress, Service
from peer.core.commands import Counts
from peer.core.errors import BAD_SETTINGS, HELD, INTERRUPTED, LabError, RunError
from peer.core.settings import RunSettings, from_json
from peer.drivers.control import parse_endpoint, read_key
from peer.drivers.program import Options, PidFile, loaded, say, seconds
from peer.stacks import promised

TOLD_EVERY_S = 0.5
RETURN_S = 20.0  # they try at least every ten seconds
CLOSE, LOSE, END = "close", "lose", "end"  # what it can be told


class Collector:
    """Leads one order after the other until it is told to end."""

    def __init__(
        self, desk: Desk, service: Service, return_s: float, tell: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """`return_s`: for peers to come back to a collector that was started again."""
        self.desk, self.service, self._return_s, self._tell = desk, service, return_s, tell
        self._ending = False
        self._began, self._told = monotonic(), 0.0
        self._leads = ""  # which run
        self._owed: dict[str, dict[str, Any]] = {}  # outcomes for which the disk had no room
        desk.take_words()  # which were said to another

    def serve(self) -> None:
        """Until it was told to end, and nothing is left to be led."""
        while True:
            self.service.poll()
            self._look(None)
            if lead := self._next():
                lead()
            elif self._ending:
                break
        self._tell("an operator has it end")
        self.service.end_all()
        self.service.end_manager()

    # What is to be led.

    def _next(self) -> Callable[[], None] | None:
        """The run whose turn it is: first those that are played already."""
        returned = monotonic() - self._began > self._return_s
        orders = self.desk.orders()
        found = [each for each in self.service.found if self._is_new(each.run)]
        for each in found:
            if returned or all(name in self.service.peers for name in each.settings.members):
                return partial(self._take_up, each)
        begun = [run for run, state in orders.items() if state == LED and run not in self._owed]
        if begun and returned:
            return partial(self._give_up, begun[0])
        if begun or found:
            return None  # its peers may come back
        waiting = [run for run, state in orders.items() if state == WAITING and run not in self._owed]
        return partial(self._lead, waiting[0]) if waiting else None

    def _is_new(self, run: str) -> bool:
        return bool(RUN.fullmatch(run)) and run not in self._owed and not self.desk.outcome(run).exists()

    def _lead(self, run: str) -> None:
        order = read(self.desk.order(run)) or {}
        try:
            settings = from_json(RunSettings, order.get("settings"))
            settings.check()
        except LabError as error:
            self._conclude(failed(run, RunError(HANDSHAKE, [], f"the order cannot be understood: {error}")))
            return
        agreement, header = bool(order.get("agreement")), dict(order.get("header") or {})
        folder = self.desk.run(run)
        self._play(run, lambda: self.service.run(settings, agreement, header, folder, self._look, run=run))

    def _take_up(self, found: Found) -> None:
        folder = self.desk.run(found.run)
        if not self.desk.order(found.run).exists():  # it was begun from elsewhere
            order = {"settings": found.wire, "header": found.header, "operator": ""}
            with suppress(OSError):  # a full disk is said when it is led
                folder.mkdir(mode=0o700, exist_ok=True)
                write(self.desk.order(found.run), order)
        agreement = "agreement" in promised(found.settings)
        self._play(found.run, lambda: self.service.take_up(found, agreement, folder, self._look))

    def _give_up(self, run: str) -> None:
        sentence = "the collector ended while it led the run, and no peer plays it any more"
        self._conclude(failed(run, RunError(UPLOAD, [], sentence)))

    def _play(self, run: str, lead: Callable[[], Outcome]) -> None:
        self._tell(f"leads run {run}")
        try:
            self.desk.forget()
            self._keep_reserve()
            self.desk.begun(run).touch()
        except OSError as error:
            self._conclude(failed(run, RunError(HANDSHAKE, [], f"the control host cannot keep logs: {error.strerror}")))
            return
        self._leads = run
        try:
            self._conclude(lead())
        except KeyboardInterrupt:  # it was ended in order; the peers were told that the run is closed
            self._conclude(failed(run, RunError(UPLOAD, [], "the collector was ended while it led the run")))
            raise
        finally:
            self._leads = ""

    # What became of it.

    def _conclude(self, outcome: Outcome) -> None:
        self._tell(f"run {outcome.run} has ended: {outcome.error or 'nothing is missing'}")
        self._owed[outcome.run] = as_written(outcome)
        self._pay()

    def _pay(self) -> None:
        """Write down how runs ended. If the disk is full, what was kept for that goes, and logs that are not whole."""
        for run, written in list(self._owed.items()):
            for make_room in (lambda: None, self._use_reserve, partial(self._drop_parts, run)):
                make_room()
                try:
                    write(self.desk.outcome(run), written)
                    del self._owed[run]
                    break
                except OSError:
                    continue  # what there is of it is kept in mind, and tried again

    def _keep_reserve(self) -> None:
        if not self.desk.reserve.exists():
            try:
                self.desk.reserve.write_bytes(bytes(RESERVE_BYTES))
            except OSError:
                self.desk.reserve.unlink(missing_ok=True)
                raise

    def _use_reserve(self) -> None:
        self.desk.reserve.unlink(missing_ok=True)

    def _drop_parts(self, run: str) -> None:
        for part in self.desk.run(run).glob(f"*{PART}"):
            part.unlink(missing_ok=True)

    # What is said and heard, also while a run goes on.

    def _look(self, progress: Progress | None) -> None:
        now = monotonic()
        if now - self._told < TOLD_EVERY_S:
            return
        self._told = now
        for word in self.desk.take_words():
            self._obey(word)
        if not self._leads:
            self._pay()
        said = {
            "peers": list(self.service.peers),
            "trouble": self.service.trouble,
            "run": self._leads,
            "progress": asdict(progress) if progress is not None else None,
        }
        try:
            write(self.desk.progress, said)
        except OSError:
            pass  # a full disk: how the run ends will say so

    def _obey(self, word: dict[str, Any]) -> None:
        what, run = word.get("do"), str(word.get("run", ""))
        if what == END:
            self._ending = True
        elif what == CLOSE and run == self._leads:
            self.service.interrupt()
        elif what == CLOSE and run in self.desk.open_orders() and not self.desk.begun(run).exists():
            self._conclude(failed(run, RunError(HANDSHAKE, [], "interrupted before it began")))
        elif what == LOSE and run == self._leads:
            self.service.lose(str(word.get("name")), str(word.get("sentence")))


def failed(run: str, error: RunError) -> Outcome:
    """How a run ended that was not led to any end."""
    return Outcome(run, Path(), False, error)


def as_written(outcome: Outcome) -> dict[str, Any]:
    """How a run ended, as JSON can say it."""
    written = {name: getattr(outcome, name) for name in ("run", "complete", "measures", "missing", "remarks")}
    error = outcome.error
    return {
        **written,
        "counts": {name: asdict(counts) for name, counts in outcome.counts.items()},
        "error": error and {"phase": error.phase, "peers": error.peers, "sentence": str(error)},
    }


def outcome_from(written: dict[str, Any], folder: Path) -> Outcome:
    """The same again, of a run whose logs are in this folder."""
    told = written["error"]
    error = told and RunError(told["phase"], told["peers"], told["sentence"], kept=str(folder))
    return Outcome(
        written["run"],
        folder,
        written["complete"],
        error,
        {name: Counts(**counts) for name, counts in written["counts"].items()},
        written["measures"],
        written["missing"],
        written["remarks"],
    )


def progress_from(written: dict[str, Any]) -> Progress:
    """How far a run is, as the desk says it."""
    return Progress(**{**written, "members": [MemberProgress(**member) for member in written["members"]]})


EXAMPLE = """example:
  python3 lab.pyz collector --desk desk --manager 127.0.0.1:5680 --group demo

Leads the runs that are ordered on the desk, one after the other, and keeps their logs there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the collector; its exit code."""
    loaded()
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    desk = Desk(Path(options.desk))
    try:
        held = PidFile(Path(options.pid_file)) if options.pid_file else None
        desk.make()
        service = Service(
            parse_endpoint(options.bind, port=PORT, path="--bind"),
            read_key(options.key),
            manager=parse_endpoint(options.manager, path="--manager"),
            group=options.group,
            lost_s=options.lost_s,
        )
    except LabError as error:
        say(str(error))
        return error.exit_code
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")
        return BAD_SETTINGS
    with service:
        try:
            if held is not None:
                held.say_ready()
            Collector(desk, service, options.return_s, lambda sentence: say(sentence, "collector")).serve()
        except KeyboardInterrupt:
            return INTERRUPTED
        except LabError as error:  # the peers follow another comparison server
            say(str(error))
            return error.exit_code
        finally:
            desk.progress.unlink(missing_ok=True)
    return HELD


def _parser() -> Options:
    parser = Options(
        prog="python3 lab.pyz collector",
        description="Leads runs by orders, and collects their logs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--desk", metavar="DIR", required=True, help="where orders are laid, and what becomes of them is found")
    add("--bind", metavar="HOST:PORT", default=f"0.0.0.0:{PORT}", help="TCP address to listen on (%(default)s)")
    add("--manager", metavar="HOST:PORT", default="127.0.0.1:5680", help="group manager (%(default)s)")
    add("--group", default="", help="lead the peers of this group")
    add("--key", metavar="FILE", help="the lab's key (.lab/key, made on first use)")
    about = "a peer without connection for so long is not waited for any more (%(default)g)"
    add("--lost-s", metavar="SECONDS", type=seconds, default=60.0, help=about)
    about = "how long peers may take to come back to a collector that was started again (%(default)g)"
    add("--return-s", metavar="SECONDS", type=seconds, default=RETURN_S, help=about)
    add("--pid-file", metavar="FILE", help="locked while this lives; holds its process id once it listens")
    return parser


def _end(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

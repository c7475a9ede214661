"""The command line of the comparison server: interactive runs, and the judge of logs that any program wrote."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from analysis.live.board import Board
from analysis.live.serving import live_page
from comparison_server import face
from comparison_server.coordinator import Found
from comparison_server.judge import judge
from comparison_server.live import LiveRun, typing_unseen
from comparison_server.prompt import answers, ask, named
from comparison_server.service import PORT, Interrupted, Progress, Service
from comparison_server.verdict import describe
from experiments.local import LOOPBACK, LocalCluster
from experiments.play import Ended, Planned, World, ended, header_of, planned_as
from experiments.scenario import Scenario, load, orderings, override, resolve, seed_text
from experiments.watched import play_watched
from experiments.written import most_messages
from group_manager.service import PORT as MANAGER_PORT
from peer.core.errors import HELD, INTERRUPTED, UNFINISHED, LabError, RunError, SettingsError
from peer.core.settings import MOST_MEMBERS
from peer.drivers.control import parse_endpoint, read_key
from peer.drivers.program import say
from peer.stacks import ORDERINGS, promised

FEWEST_PEERS = 2  # to wait for where nobody says how many
HOW_TO_END = "[dim]Ctrl-C ends this run; pressed again, it ends everything[/]"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(judge)


@app.callback(invoke_without_command=True)
def interactive(
    context: typer.Context,
    peers: Annotated[
        int | None, typer.Option(min=1, max=MOST_MEMBERS, help="wait for so many peers (as many as --spawn, or 2)")
    ] = None,
    spawn: Annotated[
        int | None, typer.Option(min=1, max=MOST_MEMBERS, help="start a group manager and so many peers here")
    ] = None,
    ordering: Annotated[str, typer.Option(metavar="NAME[:VARIANT]", help=", ".join(ORDERINGS))] = "unordered",
    messages: Annotated[int | None, typer.Option(min=0, help="answer the question once and end after that run")] = None,
    manager: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="group manager (127.0.0.1:5680); with --spawn: where it is to listen"),
    ] = "",
    bind: Annotated[str, typer.Option(metavar="HOST:PORT", help="TCP address to listen on (0.0.0.0:5678)")] = "",
    advertise: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="address under which peers reach this server, where it differs")
    ] = "",
    group: Annotated[str, typer.Option(help="lead the peers of this group")] = "",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="lead the group even if another comparison server does")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="the lab's key (.lab/key, made on first use)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed, the same chance")] = 1,
    wait_s: Annotated[float, typer.Option(min=0, help="how long to wait for peers")] = 600.0,
    out: Annotated[Path, typer.Option(help="where run folders are made")] = Path("runs"),
    live: face.LiveOption = None,
) -> int:
    """Lead runs of the peers that connect, and compare in which order each of them delivered.

    Waits for the peers, asks how many messages each of them is to multicast, runs, tells how many rounds were out of
    order and what the verdict is, and asks again. With --spawn the peers are processes on this machine, dealt over
    three emulated regions. Traffic is authenticated with the key, not encrypted.

    A run whose comparison server was killed is found at its peers by the next one, which leads it to its end.

    Example: python -m comparison_server --spawn 6 --ordering lamport_all_ack
    """
    if context.invoked_subcommand is not None:
        return HELD
    if spawn is not None and peers not in (None, spawn):
        raise SettingsError(f"--spawn {spawn} starts all the peers that there are, but --peers says {peers}")
    expected = peers or spawn or FEWEST_PEERS
    if messages is not None and messages > (most := most_messages(expected)):
        raise SettingsError(f"expected 0 to {most:,}, found {messages:,}", path="--messages")
    plan = Plan(
        *orderings(ordering, ORDERINGS, several=False)[0],
        load("lan" if spawn is None else "wan-3-sites"),
        seed,
        spawn is not None,
    )
    plan.next(expected, messages or 0)  # what cannot be run is said before anything starts
    with ExitStack() as stack:
        page = stack.enter_context(live_page(live, "interactive"))
        server = stack.enter_context(_served(spawn, manager, bind, advertise, group, key, take_over))
        lead = Lead(server, plan, peers or spawn, wait_s, out, page)
        code = lead.wait()
        if messages is None:
            return max(code, lead.ask_and_run())
        return max(code, lead.run(messages) if messages else lead.end())


@dataclass
class Plan:
    """What is run, one time after the other."""

    ordering: str
    variant: str | None
    scenario: Scenario
    seed: int
    here: bool  # on this machine, with emulated regions
    runs: int = 0

    def next(self, peers: int, messages: int) -> Planned:
        """The next run: the same again, with other chance."""
        scenario = replace(override(self.scenario, peers=peers, messages=messages, seed=self.seed), name="interactive")
        world = "local" if self.here else "cloud"
        settings = resolve(scenario, self.ordering, self.variant, seed_text(self.seed, self.runs), world)
        promised(settings)  # refuses a stack that does not fit together
        return Planned(scenario, self.ordering, self.variant, self.runs or None, world, settings)


class TooFew(RunError):
    """Of the peers that were started here too few are left for another run."""


class _RunFound(Exception):
    """While peers were waited for: some of them play a run that nobody leads."""

    def __init__(self, found: Found) -> None:
        self.found = found


@dataclass
class Lead:
    """Leads the peers through runs, as the operator asks for them."""

    server: Service | LocalCluster
    plan: Plan
    peers: int | None  # how many are wanted; None: all that are here
    wait_s: float
    out: Path
    page: Board | None = None
    gone: dict[str, str] = field(default_factory=dict)  # of the peers started here: how they ended
    last: tuple[str, ...] = ()  # who took part in the last run
    pressed: bool = False  # Ctrl-C, while a run went on

    @property
    def service(self) -> Service:
        """Where the peers are connected."""
        return self.server if isinstance(self.server, Service) else self.server.service

    def ask_and_run(self) -> int:
        """Ask and run until the answer is 0; the exit code of the worst run. Ctrl-C ends everything too."""
        lines, worst = answers(), HELD
        try:
            while True:
                self._wanted()  # tells who is gone
                print(f"\nPeers: {named(list(self.service.peers))}", flush=True)
                if self.service.trouble:
                    print(f"No run can begin, because peers ask it for addresses: {self.service.trouble}", flush=True)
                messages = ask(lines, self.service, lambda: most_messages(len(self.service.peers)))
                if not messages:
                    break
                worst = max(worst, self._wait_and_run(messages))
        except TooFew as error:
            say(str(error))
            worst = max(worst, error.exit_code)
        except KeyboardInterrupt:
            worst = INTERRUPTED
        self.end()
        return worst

    def wait(self) -> int:
        """Until as many peers are here as are wanted; the exit code of the worst run that was taken up meanwhile."""
        worst = HELD
        while True:
            try:
                self._wait()
                return worst
            except _RunFound as news:
                worst = max(worst, self.take_up(news.found))

    def _wait(self) -> None:
        with typing_unseen(), Console(stderr=True).status("waiting for peers") as status:

            def tell(here: list[str], lacking: int) -> None:
                if self.service.taken:
                    raise SettingsError(f"{self.service.taken}; --take-over leads it from here", path="--group")
                if found := self.service.found:
                    raise _RunFound(found[0])
                missing = [name for name in self.last if name not in here]
                who = f": {named(missing)}" if missing else ""
                so_far = f"{len(here)} of {count} peers are here ({named(here)}), {lacking} missing{who}"
                so_far = "; ".join([so_far, *self.service.why_nobody_comes])
                status.update(f"{escape(so_far)}; Ctrl-C ends the waiting")

            while True:
                count, gone = self._wanted(), self.gone
                try:
                    tell(self.server.wait_for_peers(count, self.wait_s, tell), 0)
                    return
                except RunError:
                    self._wanted()
                    if self.gone == gone:  # else it is now known who will not come back
                        raise

    def run(self, messages: int) -> int:
        """One run of the peers that are here; its exit code."""
        self.last, self.pressed = tuple(self.service.peers)[: self.peers], False
        planned = self.plan.next(len(self.last), messages)
        planned = replace(planned, settings=replace(planned.settings, members=self.last))
        self.plan.runs += 1
        return self._play(planned, self._world)

    def take_up(self, found: Found) -> int:
        """Lead a run to its end that was begun by a comparison server that is no more; its exit code."""
        planned, self.last, self.pressed = planned_as(found), found.settings.members, False
        print(
            f"{named(found.settings.members)} play a run that is not led from here ({planned.title}): it is taken up.",
            flush=True,
        )

        def world(planned: Planned, folder: Path) -> Ended:
            with self._watched() as show:
                return ended(self.service.take_up(found, "agreement" in promised(found.settings), folder, show))

        return self._play(planned, world)

    def _play(self, planned: Planned, world: World) -> int:
        code = HELD
        for played in play_watched([planned], world, self.out, self.page):
            print(describe(played.verdict))
            for remark in played.remarks:
                print(remark)
            if self.last != tuple(f"p{number}" for number in range(len(self.last))):
                known_as = ", ".join(f"{number} is {name}" for number, name in enumerate(self.last))
                print(f"The verdict calls the peers by their numbers: {known_as}.")
            print(f"The run is in {played.folder}", flush=True)
            if played.error is not None:
                say(str(played.error))
            code = played.exit_code
        return code

    def end(self) -> int:
        """Peers first, then the group manager; this server comes last."""
        here = list(self.service.peers)
        left = self.service.end_all()
        print(f"The peers have ended: {named([name for name in here if name not in left])}.", flush=True)
        if left:
            say(f"told to end, and still here: {named(left)}")
        if self.service.end_manager():
            print("The group manager has ended.")
        elif self.service.taken:
            print(f"The group manager stays: {self.service.taken}.")
        else:
            print("There is no group manager that could be told to end.")
        print("The comparison server ends.", flush=True)
        return HELD

    def _wait_and_run(self, messages: int) -> int:
        """A run that ends before its time ends alone: more can be asked for."""
        try:
            self.wait()
        except TooFew:
            raise
        except RunError as error:
            say(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            print("No more waiting, and no run.")
            return HELD
        try:
            return self.run(messages)
        except Interrupted:
            return UNFINISHED
        except KeyboardInterrupt:
            if self.pressed:  # for the second time
                raise
            print("Interrupted before the run was judged; what there is of it is kept.")
            return UNFINISHED
        except LabError as error:
            say(str(error))
            return error.exit_code
        except BrokenPipeError:  # nobody reads the answers any more
            raise
        except OSError as error:  # a full disk
            say(f"the run cannot be kept: {error.filename or self.out}: {error.strerror}")
            return UNFINISHED

    def _wanted(self) -> int:
        """How many peers a run is to have. Who of those started here has died is told once, and will not come back."""
        if isinstance(self.server, Service):
            return self.peers or FEWEST_PEERS
        deaths, all_of_them = self.server.deaths, len(self.server.names)
        left = all_of_them - len(deaths)
        for name in [name for name in deaths if name not in self.gone]:
            print(f"{deaths[name]}; it is gone for good, and {left} of {all_of_them} peers are left.", flush=True)
        self.gone = deaths
        if left < (least := min(FEWEST_PEERS, all_of_them)):
            raise TooFew("wait", list(deaths), f"{left} of {all_of_them} peers are left, and a run needs {least}")
        return left

    def _world(self, planned: Planned, folder: Path) -> Ended:
        settings = planned.settings
        with self._watched() as show:
            return ended(self.server.run(settings, "agreement" in promised(settings), header_of(planned), folder, show))

    @contextmanager
    def _watched(self) -> Iterator[Callable[[Progress], None]]:
        """Shows how far a run is, and notes whether Ctrl-C was pressed in it."""
        try:
            with LiveRun(HOW_TO_END, self.page and self.page.show) as live:
                yield live.show
        except KeyboardInterrupt:
            self.pressed = True
            raise


@contextmanager
def _served(
    spawn: int | None, manager: str, bind: str, advertise: str, group: str, key: Path | None, take_over: bool
) -> Iterator[Service | LocalCluster]:
    """The server, with a cluster of its own or at a group manager that is there."""
    if spawn is not None:
        if advertise or group or take_over:
            raise SettingsError("--advertise, --group and --take-over are for peers from elsewhere, not for --spawn")
        listen = parse_endpoint(bind, port=PORT, path="--bind") if bind else LOOPBACK
        at = parse_endpoint(manager, port=MANAGER_PORT, path="--manager") if manager else LOOPBACK
        with ExitStack() as stack:
            with Console(stderr=True).status(f"starting {spawn} peers"):
                cluster = stack.enter_context(LocalCluster(spawn, key=key, bind=listen, manager_bind=at))
            if manager:
                print("The group manager listens on {}:{}".format(*cluster.manager), flush=True)
            _announce(cluster.service)
            yield cluster
        return
    listen = parse_endpoint(bind or "0.0.0.0", port=PORT, path="--bind")
    at = parse_endpoint(manager or "127.0.0.1", port=MANAGER_PORT, path="--manager")
    seen_as = parse_endpoint(advertise, port=PORT, path="--advertise") if advertise else None
    with Service(listen, read_key(key), manager=at, group=group, advertise=seen_as, take_over=take_over) as service:
        _announce(service)
        yield service


def _announce(service: Service) -> None:
    print("The comparison server listens on {}:{}".format(*service.endpoint), flush=True)


if __name__ == "__main__":
    sys.exit(face.run(app))

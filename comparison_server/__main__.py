"""The command line of the comparison server: interactive runs, and the judge of logs that any program wrote."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from comparison_server import face
from comparison_server.judge import judge
from comparison_server.run_folder import MOST_MESSAGES
from comparison_server.service import PORT, Progress, Service
from comparison_server.verdict import describe
from experiments.local import LOOPBACK, LocalCluster
from experiments.play import Ended, Planned, header_of, play
from experiments.scenario import Scenario, load, orderings, override, resolve, seed_text
from group_manager.service import PORT as MANAGER_PORT
from peer.core.errors import HELD, SettingsError
from peer.drivers.control import parse_endpoint, read_key
from peer.stacks import ORDERINGS, promised

PROMPT = "Messages per peer (0 ends everything): "
FEWEST_PEERS = 2  # to wait for where nobody says how many

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(judge)


@app.callback(invoke_without_command=True)
def interactive(
    context: typer.Context,
    peers: Annotated[int | None, typer.Option(min=1, help="wait for so many peers (as many as --spawn, or 2)")] = None,
    spawn: Annotated[int | None, typer.Option(min=1, help="start a group manager and so many peers here")] = None,
    ordering: Annotated[str, typer.Option(metavar="NAME[:VARIANT]", help=", ".join(ORDERINGS))] = "unordered",
    messages: Annotated[int | None, typer.Option(min=0, help="answer the question once and end after that run")] = None,
    manager: Annotated[str, typer.Option(metavar="HOST:PORT", help="group manager (port 5680)")] = "",
    bind: Annotated[str, typer.Option(metavar="HOST:PORT", help="TCP address to listen on (0.0.0.0:5678)")] = "",
    advertise: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="address under which peers reach this server, where it differs")
    ] = "",
    group: Annotated[str, typer.Option(help="lead the peers of this group")] = "",
    key: Annotated[Path | None, typer.Option(help="the lab's key (.lab/key, made on first use)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed, the same chance")] = 1,
    wait_s: Annotated[float, typer.Option(help="how long to wait for peers")] = 600.0,
    out: Annotated[Path, typer.Option(help="where run folders are made")] = Path("runs"),
) -> int:
    """Lead runs of the peers that connect, and compare in which order each of them delivered.

    Waits for the peers, asks how many messages each of them is to multicast, runs, tells how many rounds were out of
    order and what the verdict is, and asks again. With --spawn the peers are processes on this machine, dealt over
    three emulated regions. Traffic is authenticated with the key, not encrypted.

    Example: python -m comparison_server --spawn 6 --ordering lamport_all_ack
    """
    if context.invoked_subcommand is not None:
        return HELD
    if spawn is not None and peers not in (None, spawn):
        raise SettingsError(f"--spawn {spawn} starts all the peers that there are, but --peers says {peers}")
    expected = peers or spawn or FEWEST_PEERS
    if messages is not None and messages > (most := _most_messages(expected)):
        raise SettingsError(f"expected 0 to {most:,}, found {messages:,}", path="--messages")
    plan = Plan(*_one(ordering), load("lan" if spawn is None else "wan-3-sites"), seed, spawn is not None)
    plan.next(expected, messages or 0)  # what cannot be run is said before anything starts
    with _served(spawn, manager, bind, advertise, group, key) as server:
        lead = Lead(server, plan, peers or spawn, wait_s, out)
        lead.wait()
        if messages is None:
            return lead.ask_and_run()
        return lead.run(messages) if messages else lead.end()


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


@dataclass
class Lead:
    """Leads the peers through runs, as the operator asks for them."""

    server: Service | LocalCluster
    plan: Plan
    peers: int | None  # how many are wanted; None: all that are here
    wait_s: float
    out: Path

    @property
    def service(self) -> Service:
        """Where the peers are connected."""
        return self.server if isinstance(self.server, Service) else self.server.service

    def wait(self) -> None:
        """Until enough peers are here."""
        count = self.peers or FEWEST_PEERS
        with Console(stderr=True).status("waiting for peers") as status:

            def tell(here: list[str], lacking: int) -> None:
                status.update(f"{len(here)} of {count} peers are here ({', '.join(here) or 'none'}), {lacking} missing")

            self.server.wait_for_peers(count, self.wait_s, tell)

    def ask_and_run(self) -> int:
        """Ask and run until the answer is 0; the exit code of the worst run."""
        answers, worst = Answers(self.service), HELD
        while messages := self._ask(answers):
            self.wait()
            worst = max(worst, self.run(messages))
        return max(worst, self.end())

    def run(self, messages: int) -> int:
        """One run of the peers that are here; its exit code."""
        names = tuple(self.service.peers)[: self.peers]
        planned = self.plan.next(len(names), messages)
        planned = replace(planned, settings=replace(planned.settings, members=names))
        self.plan.runs += 1
        code = HELD
        for played in play([planned], self._world, self.out):
            print(describe(played.verdict))
            print(f"The run is in {played.folder}", flush=True)
            if played.error is not None:
                face.say(str(played.error))
            code = played.exit_code
        return code

    def end(self) -> int:
        """Peers first, then the group manager; this server comes last."""
        if left := self.service.end_all():
            face.say(f"told to end, and still here: {', '.join(left)}")
        self.service.end_manager()
        return HELD

    def _ask(self, answers: Answers) -> int:
        """A number of messages; 0 also if nobody is there to answer."""
        print(f"\nPeers: {', '.join(self.service.peers) or 'none'}")
        while True:
            print(PROMPT, end="", flush=True)
            answer = answers.line()
            if answer is None:
                print()
                return 0
            found, most = answer.strip()[:40], _most_messages(len(self.service.peers))
            try:
                messages = int(answer)
            except ValueError:
                print(f"Expected a whole number, found {found!r}.")
                continue
            if 0 <= messages <= most:
                return messages
            print(f"Expected 0 to {most:,}, found {found}.")

    def _world(self, planned: Planned, folder: Path) -> Ended:
        settings = planned.settings
        agreement = "agreement" in promised(settings)
        with _bar(len(settings.members) ** 2 * settings.workload.messages) as show:
            outcome = self.server.run(settings, agreement, header_of(planned), folder, show)
        return Ended(outcome.error, {"peers": outcome.measures})


class Answers:
    """Lines from standard input; the service goes on while they are waited for."""

    def __init__(self, service: Service) -> None:
        self._service, self._read = service, b""

    def line(self) -> str | None:
        """The next line; None after the last."""
        while b"\n" not in self._read:
            self._service.poll()
            try:
                if not select.select([0], [], [], 0)[0]:
                    continue
                data = os.read(0, 4096)
            except OSError:  # there is no standard input
                data = b""
            if not data:
                rest, self._read = self._read, b""
                return rest.decode(errors="replace") or None
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode(errors="replace")


@contextmanager
def _served(
    spawn: int | None, manager: str, bind: str, advertise: str, group: str, key: Path | None
) -> Iterator[Service | LocalCluster]:
    """The server, with a cluster of its own or at a group manager that is there."""
    if spawn is not None:
        if advertise or group:
            raise SettingsError("--advertise and --group are for peers that come from elsewhere, not for --spawn")
        ends = [parse_endpoint(end) if end else LOOPBACK for end in (bind, manager)]
        with LocalCluster(spawn, key=key, bind=ends[0], manager_bind=ends[1]) as cluster:
            _announce(cluster.service)
            yield cluster
        return
    listen = parse_endpoint(bind or "0.0.0.0", port=PORT)
    at = parse_endpoint(manager or "127.0.0.1", port=MANAGER_PORT)
    seen_as = parse_endpoint(advertise, port=PORT) if advertise else None
    with Service(listen, read_key(key), manager=at, group=group, advertise=seen_as) as service:
        _announce(service)
        yield service


def _announce(service: Service) -> None:
    print("The comparison server listens on {}:{}".format(*service.endpoint), flush=True)


@contextmanager
def _bar(deliveries: int) -> Iterator[Callable[[Progress], None]]:
    """Shows on a terminal how far a run is."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("handshake", total=deliveries)

        def show(progress: Progress) -> None:
            waits = f", waiting for {', '.join(progress.waiting_for)}" if progress.waiting_for else ""
            bar.update(task, completed=progress.delivered, description=progress.phase + waits)

        yield show


def _most_messages(peers: int) -> int:
    """What each of so many may multicast: the log of one holds what all of them did."""
    return MOST_MESSAGES // max(1, peers)


def _one(text: str) -> tuple[str, str | None]:
    """The ordering and the variant that --ordering names."""
    chosen = orderings(text, ORDERINGS)
    if len(chosen) != 1:
        raise SettingsError(f"--ordering: one ordering at a time, found {len(chosen)}")
    return chosen[0]


if __name__ == "__main__":
    sys.exit(face.run(app))

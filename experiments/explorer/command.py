"""The command `explore`: exhaustive search of orderings in the small, and counterexamples that a person can read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from experiments import bugs
from experiments.explorer.judging import PROPERTIES
from experiments.explorer.minimise import minimise
from experiments.explorer.network import NETWORKS
from experiments.explorer.search import MAX_STATES, Explored, Progress
from experiments.explorer.search import explore as search
from experiments.explorer.witness import Witness
from experiments.scenario import orderings
from peer.core.errors import HELD, UNFINISHED, VIOLATED
from peer.drivers.program import say
from peer.stacks import ORDERINGS

SILENT_S = 1.0  # a search shorter than this shows no progress


def explore(
    ordering: Annotated[str, typer.Option("--ordering", help="NAME[:VARIANT],... or all or all:variants")] = "all",
    link: Annotated[
        str | None, typer.Option("--link", help=f"{', '.join(NETWORKS)}; by default just what the ordering needs")
    ] = None,
    peers: Annotated[int, typer.Option("--peers", help="how many peers")] = 3,
    messages: Annotated[int, typer.Option("--messages", help="messages that each peer multicasts")] = 1,
    max_states: Annotated[int, typer.Option("--max-states", min=1, help="where a search gives up")] = MAX_STATES,
    duplicates: Annotated[
        int | None, typer.Option("--duplicates", min=0, help="datagrams that may arrive twice at each peer (1)")
    ] = None,
    check: Annotated[
        str | None, typer.Option("--check", help=f"properties instead of those promised: {', '.join(PROPERTIES)}")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="where counterexamples are kept")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> int:
    """Search every order in which packets can arrive and turns can end, for a promise that an ordering breaks.

    Example: python -m experiments explore --ordering lamport_all_ack --link datagrams --peers 2 --messages 2

    Exit codes: 0 nothing that is promised is broken; 1 something is, be it over a link that gives less than the
    ordering needs, as in the example; 3 nothing was found, but not everything was looked at.
    """
    properties = None if check is None else [name.strip() for name in check.split(",")]
    done: list[dict[str, Any]] = []
    code = HELD
    try:
        for name, variant in orderings(ordering, ORDERINGS):
            begin = time.perf_counter()
            title = f"{name}:{variant}" if variant else name
            with _Shown(title) as progress, bugs.told("search"):
                explored = search(
                    name, variant, link, peers, messages, max_states, check=properties, duplicates=duplicates,
                    progress=progress,
                )  # fmt: skip
                witness = minimise(explored) if explored.violation else None
            seconds = time.perf_counter() - begin
            done.append(as_dict(explored, witness, None))
            if witness is not None and witness.violation.property in explored.model.promised:
                code = VIOLATED
            if witness is None and not explored.exhausted:
                code = code or UNFINISHED
            if not as_json:
                print("\n".join(_told(explored, witness, seconds, max_states)), flush=True)
            if witness is not None:
                if (file := _kept(witness, out)) is None:
                    code = code or UNFINISHED
                else:
                    done[-1] = as_dict(explored, witness, file)
                    if not as_json:
                        print(f"  kept in {file}; played again by: python -m experiments replay {quote(str(file))}")
    finally:  # what was found before an interruption is told too
        if as_json:
            print(json.dumps({"runs": done}, ensure_ascii=False))
    return code


def as_dict(explored: Explored, witness: Witness | None, file: Path | None) -> dict[str, Any]:
    """What a search found, as JSON can hold it."""
    model = explored.model
    promised = witness is not None and witness.violation.property in model.promised
    return {
        "ordering": model.ordering,
        "variant": model.variant,
        "link": model.network.name,
        "unmet": list(model.unmet),
        "peers": model.peers,
        "messages_per_peer": model.messages,
        "bounds": explored.bounds,
        "checked": list(explored.checked),
        "exhausted": explored.exhausted,
        "stopped": explored.stopped,
        "states": explored.states,
        "transitions": explored.transitions,
        "depth": explored.depth,
        "violation": None
        if witness is None
        else {"promised": promised, "file": file and str(file), **witness.as_dict()},
    }


def _told(explored: Explored, witness: Witness | None, seconds: float, most: int) -> list[str]:
    model = explored.model
    name = model.ordering + (f":{model.variant}" if model.variant else "")
    size = f"{explored.states:,} states, {explored.transitions:,} turns, {seconds:.1f} s"
    lines = [f"{name}: {explored.bounds}"]
    if witness is None:
        hint = "raise --max-states" if explored.states > most else "take fewer --peers or --messages"
        end = "exhausted, nothing was found"
        if not explored.exhausted:
            end = f"nothing was found so far, {explored.stopped}; {hint}"
        return [*lines, f"  {end}: {', '.join(explored.checked) or 'nothing was asked'} ({size})"]
    promised = "promised" if witness.violation.property in model.promised else "not promised"
    if model.unmet and promised == "promised":
        promised += f" over {' and '.join(model.unmet)} only (here: {model.network.name})"
    lines.append(f"  {witness.violation.property}, which is {promised}, is broken ({size}):")
    return lines + [f"  {number:3}  {line}" for number, line in enumerate(witness.conversation(), 1)]


def _kept(witness: Witness, out: Path) -> Path | None:
    """Where a counterexample is kept now; None, and the reason is told, if it cannot be."""
    try:
        return witness.save(out)
    except OSError as error:
        say(f"the counterexample is not kept: {error.filename or out}: {error.strerror}")
        return None


class _Shown:
    """Progress on a terminal, of searches that take their time."""

    def __init__(self, title: str) -> None:
        self.title, self.begin = title, time.monotonic()
        console = Console(stderr=True)
        self._status: Status | None = console.status(title) if console.is_terminal else None
        self._started = False

    def __enter__(self) -> _Shown:
        return self

    def __call__(self, progress: Progress) -> None:
        if self._status is None or time.monotonic() - self.begin < SILENT_S:
            return
        if not self._started:
            self._started = True
            self._status.start()
        found = f"{progress.states:,} states, {progress.waiting:,} of them to be looked at, {progress.depth} turns deep"
        self._status.update(f"{self.title}: {found}")

    def __exit__(self, *error: object) -> None:
        if self._started and self._status is not None:
            self._status.stop()

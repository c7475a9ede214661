"""The command line of analysis: a report of runs, and a run in other forms."""

from __future__ import annotations

if __name__ == "__main__":
    from peer.drivers.program import loading

    loading()

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from analysis import exporters, output
from analysis.run import load_run
from analysis.report import report as sections_of
from comparison_server import face
from peer.core.errors import HELD, SettingsError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

OutOption = Annotated[
    Path | None, typer.Option("--out", help="file to write or replace (default, or -: standard output)")
]
PartialOption = Annotated[bool, typer.Option("--partial", help="take a run that did not come to its end, too")]


@app.callback(invoke_without_command=True)
def analysis(context: typer.Context) -> int:
    """What runs left in their folders: a report of them, and their logs in other forms.

    Example: python -m analysis report runs/demo-local-*
    """
    return face.help_unless_command(context)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of runs")],
    out: OutOption = None,
    partial: PartialOption = False,
) -> int:
    """Tell what ran, who saw what in which order, how long it took and what it cost; compare several runs.

    Example: python -m analysis report runs/demo-sim-* --out report.txt
    """
    with Console(stderr=True).status("reading"):
        runs = [load_run(folder, partial=partial) for folder in folders]
        text = "".join(sections_of(runs))
    output.write([text.encode()], out)
    return HELD


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run")],
    to: Annotated[str, typer.Option("--to", help="one of " + ", ".join(exporters.EXPORTERS))],
    out: OutOption = None,
    sends: Annotated[Path | None, typer.Option("--sends", help="a second file, for what the peers multicast")] = None,
    partial: PartialOption = False,
) -> int:
    """Write what everybody delivered, for other programs or for people.

    csv has rows peer,position,sender,number,time_s and, in the file that --sends names, peer,number,time_s,after; times
    are in seconds on each peer's own clock since its release. text has a line a delivery with its Lamport stamp.

    Example: python -m analysis export runs/demo-sim-fifo-7 --to csv --out deliveries.csv --sends sends.csv
    """
    if to not in exporters.EXPORTERS:
        raise SettingsError(f"unknown form {to!r}; known are {', '.join(exporters.EXPORTERS)}", path="--to")
    if sends is not None and to not in exporters.SENDS:
        raise SettingsError(f"{to} has no second file; {', '.join(exporters.SENDS)} has one", path="--sends")
    if sends is not None and (out or output.STDOUT).resolve() == sends.resolve():
        raise SettingsError("one file cannot hold both; name another than --out", file=str(sends), path="--sends")
    run = load_run(folder, partial=partial)
    quiet = out in (None, output.STDOUT) and sys.stdout.isatty()  # then the lines themselves show how far it is
    output.write(_told(exporters.EXPORTERS[to](run), sum(peer.delivered for peer in run.peers), quiet), out)
    if sends is not None:
        output.write(exporters.SENDS[to](run), sends)
    return HELD


def _told(parts: Iterable[bytes], lines: int, quiet: bool) -> Iterator[bytes]:
    """Show on a terminal how many of the lines have been written."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("deliveries", total=lines)
        for part in parts:
            yield part
            progress.advance(task, part.count(b"\n"))


if __name__ == "__main__":
    sys.exit(face.run(app))

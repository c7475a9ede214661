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

from analysis import diagram, exporters, load, output
from analysis.columns import FRAMES
from analysis.exporters import shiviz
from analysis.reports import as_text, is_page
from analysis.run import load_run
from comparison_server import face
from peer.core.errors import HELD, SettingsError
from peer.drivers.program import say

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
    folders: Annotated[list[Path], typer.Argument(metavar="RUN|SWEEP...", help="folders of runs and of sweeps")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="file to write or replace: .html is a page with charts and diagrams, else text"),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="a folder for charts and tables of the page, as papers need them")
    ] = None,
    warm_up_s: Annotated[
        float, typer.Option("--warm-up", metavar="SECONDS", min=0, help="leave out latencies of what was asked before")
    ] = 0.0,
    partial: PartialOption = False,
) -> int:
    """Tell what ran, who saw what in which order, how long it took and what it cost; compare several runs.

    Example: python -m analysis report runs/demo-sim-* --out report.html
    """
    if warm_up_s and not is_page(out) and (figures is None or out is not None):
        raise SettingsError("the text does not know it; --out FILE.html makes a page", path="--warm-up")
    output.check(out)
    with Console(stderr=True).status("reading"):
        frames = load(*folders, partial=partial)
        if not is_page(out) and figures is None:
            parts = list(as_text(frames))
        else:
            from analysis.page.page import Page  # Altair takes a while to import, and the text has no need of it

            page = Page(frames.after(warm_up_s) if warm_up_s else frames)
            parts = [page.html()] if is_page(out) else as_text(frames) if out is not None else []
    if parts:
        output.write(parts, out)
    if figures is not None:
        say(f"{page.write_figures(figures)} files for papers are in {figures}", kind="remark")
    elif out is None and sys.stdout.isatty():
        say("--out FILE.html makes a page of it, with charts and diagrams", kind="remark")
    return HELD


@app.command()
def export(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folder of a run; with --frames, of more")],
    to: Annotated[str, typer.Option("--to", help="one of " + ", ".join(exporters.EXPORTERS))],
    out: OutOption = None,
    sends: Annotated[Path | None, typer.Option("--sends", help="a second file, for what the peers multicast")] = None,
    frames: Annotated[Path | None, typer.Option("--frames", metavar="DIR", help="a folder for all tables")] = None,
    partial: PartialOption = False,
) -> int:
    """Write what everybody delivered, for other programs or for people.

    csv has rows peer,position,sender,number,time_s and, in the file that --sends names, peer,number,time_s,after; times
    are in seconds on each peer's own clock since its release. text has a line a delivery with its Lamport stamp, jsonl
    an object, parquet a row. shiviz has all events with vector clocks. With --frames all tables of any number of runs
    or of a sweep are written, a file each: runs, deliveries, sends, rounds, violations, latencies, costs.

    Example: python -m analysis export runs/demo-sim-fifo-7 --to csv --out deliveries.csv --sends sends.csv

    Example: python -m analysis export runs/first-sweep --to parquet --frames tables
    """
    if to not in exporters.EXPORTERS:
        raise SettingsError(f"unknown form {to!r}; known are {', '.join(exporters.EXPORTERS)}", path="--to")
    if frames is not None:
        return _export_frames(folders, to, frames, partial, (out, sends))
    if len(folders) > 1:
        raise SettingsError(f"of {len(folders)} runs only tables can be written; say --frames DIR", path="RUN...")
    if sends is not None and to not in exporters.SENDS:
        raise SettingsError(f"{to} has no second file; {', '.join(exporters.SENDS)} has one", path="--sends")
    if sends is not None and (out or output.STDOUT).resolve() == sends.resolve():
        raise SettingsError("one file cannot hold both; name another than --out", file=str(sends), path="--sends")
    for file in (out, sends):
        output.check(file)
    run = load_run(folders[0], partial=partial)
    to_terminal = out in (None, output.STDOUT) and sys.stdout.isatty()
    if to == "parquet" and to_terminal:
        raise SettingsError("a terminal cannot show it; name a file", path="--out")
    delivered, events = sum(peer.delivered for peer in run.peers), shiviz.count(run)
    if to == "shiviz" and events > shiviz.MANY_EVENTS:
        print(f"note: {events:,} events; ShiViz draws some thousands, so export a shorter run for it", file=sys.stderr)
    lines = {"parquet": None, "shiviz": events}.get(to, delivered)
    parts = exporters.EXPORTERS[to](run)
    output.write(_told(parts, lines, quiet=to_terminal), out)  # there the lines themselves show how far it is
    if sends is not None:
        output.write(exporters.SENDS[to](run), sends)
    return HELD


def _export_frames(paths: list[Path], to: str, folder: Path, partial: bool, files: tuple[Path | None, ...]) -> int:
    """All frames of these runs, a file each."""
    if to not in exporters.FRAME_FORMS:
        known = ", ".join(exporters.FRAME_FORMS)
        raise SettingsError(f"tables cannot be written as {to!r}; they can as {known}", path="--to")
    if any(files):
        raise SettingsError("tables go into the folder of --frames; leave out --out and --sends", path="--frames")
    lab = load(*paths, partial=partial)
    if folder.exists() and not folder.is_dir():
        raise SettingsError("expected a folder, found a file", file=str(folder), path="--frames")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FRAMES:
        with Console(stderr=True).status(name):
            output.write(exporters.FRAME_FORMS[to](name, lab.stream(name)), folder / f"{name}.{to}")
    return HELD


@app.command("diagram")
def draw(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run")],
    from_s: Annotated[float | None, typer.Option("--from", metavar="T", help="where it begins, in seconds")] = None,
    to_s: Annotated[float | None, typer.Option("--to", metavar="T", help="where it ends")] = None,
    violation: Annotated[
        str | None, typer.Option("--around", metavar="PROPERTY", help="what shows this violation, as in total or fifo")
    ] = None,
    peers: Annotated[str | None, typer.Option("--peers", metavar="A,B", help="only these, by name or number")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="file to write or replace: .svg, or .html that can be zoomed")
    ] = None,
    partial: PartialOption = False,
) -> int:
    """Draw who sent and delivered what when, as a space-time diagram: a violation, or any stretch of time.

    Without --from, --to and --around it shows the first promise that was broken, else whatever else does not hold, else
    the first moments. Times count from the earliest release; where each peer has a clock of its own, from its release.

    Example: python -m analysis diagram runs/demo-sim-unordered-7 --around total --out total.html
    """
    forms = {".svg": diagram.picture, ".html": diagram.page}
    if out not in (None, output.STDOUT) and out.suffix.lower() not in forms:
        raise SettingsError(f"a diagram ends in {' or '.join(forms)}", file=str(out), path="--out")
    if violation is not None and (from_s, to_s) != (None, None):
        raise SettingsError("a violation says by itself where it is; leave out --from and --to", path="--around")
    output.check(out)
    run = load_run(folder, partial=partial)
    named = None if peers is None else [name.strip() for name in peers.split(",") if name.strip()]
    if from_s is None and to_s is None and violation is None:
        violation = next(iter(diagram.violated(run)), None)
    if violation is not None:
        window, shows = diagram.around(run, violation, named), f"{violation} does not hold"
    else:
        window, shows = diagram.stretch(run, from_s, to_s, named), "who sent and delivered what"
    form = forms[".svg" if out in (None, output.STDOUT) else out.suffix.lower()]
    output.write([form(window, f"{run.title} in {folder.resolve().name}: {shows}").encode()], out)
    return HELD


def _told(parts: Iterable[bytes], lines: int | None, quiet: bool) -> Iterator[bytes]:
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

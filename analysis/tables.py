"""Tables for the terminal: several runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COST = "datagrams per delivery"


def comparison(verdicts: Iterable[Mapping[str, Any]], measures: Iterable[Mapping[str, Any]]) -> Table:
    """One row a run: how disordered it was, whether it kept its promises, what it cost."""
    table = Table(title="In what order did everybody see the messages?", title_justify="left")
    verdicts = list(verdicts)
    repeated = any(verdict.get("repeat") is not None for verdict in verdicts)
    table.add_column("ordering", no_wrap=True, min_width=max(map(len, map(_title, verdicts)), default=0))
    if repeated:
        table.add_column("repeat", justify="right")
    table.add_column("out-of-order rounds", justify="right")
    table.add_column("complete", justify="center")
    table.add_column("promised properties", overflow="fold")
    table.add_column("not promised, and broken", overflow="fold")
    table.add_column(COST, justify="right")
    for verdict, measure in zip(verdicts, measures):
        per = measure.get("totals", {}).get("datagrams_sent_per_delivery")
        table.add_row(
            _title(verdict),
            *([str(verdict.get("repeat") or 0)] if repeated else []),
            _rounds(verdict),
            {True: "yes", False: "[red]no[/]", None: "?"}[verdict["complete"]],
            _promised(verdict),
            ", ".join(_names(verdict, promised=False, holds=False)) or "-",
            "-" if per is None else f"{per:.2f}",
        )
    return table


def show(table: Table) -> None:
    """Print a table; wide enough for all of its columns where nobody looks."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)


def _title(verdict: Mapping[str, Any]) -> str:
    return verdict["ordering"] + (f":{verdict['variant']}" if verdict.get("variant") else "")


def _rounds(verdict: Mapping[str, Any]) -> str:
    rounds, wrong = verdict["rounds"], verdict["out_of_order_rounds"]
    if rounds is None:
        return "not counted"
    cut = verdict.get("short_rounds") if not verdict["complete"] else 0  # nobody can be in order with what is missing
    short = f" ({cut} cut short)" if cut else ""
    return f"[red]{wrong}[/] of {rounds}{short}" if wrong else f"[green]{wrong}[/] of {rounds}"


def _promised(verdict: Mapping[str, Any]) -> str:
    broken = _names(verdict, promised=True, holds=False)
    if broken:
        return f"[red]VIOLATED: {', '.join(broken)}[/]"
    held, unknown = _names(verdict, promised=True, holds=True), _names(verdict, promised=True, holds=None)
    if unknown:
        return f"{len(held)} of {len(held) + len(unknown)} held; no evidence: {', '.join(unknown) if held else 'all'}"
    return f"[green]all {len(held)} held[/]"


def _names(verdict: Mapping[str, Any], *, promised: bool, holds: bool | None) -> list[str]:
    return [
        name
        for name, finding in verdict["properties"].items()
        if finding["promised"] is promised and finding["holds"] is holds
    ]

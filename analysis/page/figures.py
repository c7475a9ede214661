"""The charts and tables of a page as files for papers: SVG, PNG and PDF; CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import vl_convert

from analysis import output
from analysis.page.charts import for_papers
from analysis.page.parts import Chart, Interval, Number, Section, Table
from peer.core.errors import SettingsError

VEGA_LITE = "6.4"  # that Altair writes
MOST_CHOICES = 3  # of which a chart has a file; the page saves any other
PIXELS = 2.0  # of a PNG, for each one of the page
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
})  # fmt: skip


def write(sections: Sequence[Section], folder: Path) -> int:
    """Every chart and table of these sections, in each of their forms; how many files that are."""
    if folder.exists() and not folder.is_dir():
        raise SettingsError("expected a folder, found a file", file=str(folder), path="--figures")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, content in _files(sections):
        output.write([content], folder / name)
        count += 1
    return count


def _files(sections: Sequence[Section]) -> Iterator[tuple[str, bytes]]:
    for section in sections:
        for part in section.parts:
            if isinstance(part, Chart):
                for chosen, still in islice(for_papers(part.spec, part.choices), MOST_CHOICES):
                    name = "-".join(filter(None, [part.name, _slug(chosen)]))
                    for ending, convert in CHARTS.items():
                        yield f"{name}.{ending}", convert(still)
            elif isinstance(part, Table):
                for ending, write_table in TABLES.items():
                    yield f"{part.name}.{ending}", write_table(part).encode()


def _slug(text: str) -> str:
    """As a part of a file's name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


# Charts

CHARTS: Mapping[str, Callable[[dict[str, Any]], bytes]] = {
    "svg": lambda spec: vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode(),
    "png": lambda spec: vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=PIXELS),
    "pdf": lambda spec: vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE),
}


# Tables


def _csv(table: Table) -> str:
    """Numbers in full; an interval has three columns."""
    spread = [any(isinstance(row.cells[at], Interval) for row in table.rows) for at in range(len(table.columns))]
    grouped = any(row.group is not None for row in table.rows)
    titles = ["group"] if grouped else []
    for column, wide in zip(table.columns, spread):
        titles += [str(column), f"{column}, low", f"{column}, high"] if wide else [str(column)]
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(titles)
    for row in table.rows:
        values = [str(row.group or "")] if grouped else []
        for cell, wide in zip(row.cells, spread):
            interval = cell if isinstance(cell, Interval) else Interval(cell)
            values += [_full(interval.middle), _full(interval.low), _full(interval.high)][: 3 if wide else 1]
        rows.writerow(values)
    return file.getvalue()


def _full(cell: Any) -> Any:
    if isinstance(cell, Number):
        return cell.value
    return "" if cell is None else str(cell)


def _markdown(table: Table) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"

    head = line(table.columns) + line(["---"] * len(table.columns))
    parts = [f"{table.caption}\n"]
    for heading, rows in table.groups:
        parts.append(("\n" + (f"{heading}\n\n" if heading else "")) + head + "".join(line(row.cells) for row in rows))
    return "".join(parts)


def _latex(table: Table) -> str:
    """For the package booktabs."""

    def line(cells: Sequence[Any]) -> str:
        return " & ".join(str(cell).translate(LATEX) for cell in cells) + " \\\\\n"

    width = len(table.columns)
    parts = [f"% {table.caption}\n\\begin{{tabular}}{{{'l' + 'r' * (width - 1)}}}\n\\toprule\n", line(table.columns)]
    for heading, rows in table.groups:
        parts.append("\\midrule\n")
        if heading:
            parts.append(f"\\multicolumn{{{width}}}{{l}}{{{str(heading).translate(LATEX)}}} \\\\\n")
        parts += [line(row.cells) for row in rows]
    return "".join([*parts, "\\bottomrule\n\\end{tabular}\n"])


TABLES: Mapping[str, Callable[[Table], str]] = {"csv": _csv, "md": _markdown, "tex": _latex}

"""What a section of the page is made of; each part knows how it is written in HTML and in plain text.

Every number is a `Number`: the page holds it as `<data data-key value>`, so that each one can be found and worked out
anew. What has digits but counts nothing (a name, a setting, a command) is a `Name`, a `Setting` or a `Code`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

UNKNOWN = "–"
DIGITS = 3  # that are shown of what is no whole number
MOST_DECIMALS = 4


# In a sentence or a cell


@dataclass(frozen=True, slots=True)
class Number:
    """A number, and what it is: the name of a table, then what leads to one of its cells."""

    key: tuple[str, ...]
    value: int | float

    def __str__(self) -> str:
        return written(self.value)

    def __html__(self) -> str:
        key = json.dumps(self.key, ensure_ascii=False, separators=(",", ":"))
        return f'<data data-key="{escape(key)}" value="{self.value!r}">{self}</data>'


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, and between which two it lies but for chance; None where too few runs say nothing of chance."""

    middle: Number | Name
    low: Number | None = None
    high: Number | None = None

    def __str__(self) -> str:
        return str(self.middle) if self.low is None else f"{self.middle} ({self.low} to {self.high})"

    def __html__(self) -> str:
        if self.low is None or self.high is None or str(self.low) == str(self.middle) == str(self.high):
            return self.middle.__html__()
        low, high = f"<span>({self.low.__html__()}</span>", f"<span>to {self.high.__html__()})</span>"
        return f'<span class="interval">{self.middle.__html__()} <small>{low} {high}</small></span>'


@dataclass(frozen=True, slots=True)
class Name:
    """What something is called; it may hold digits."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f'<span class="name">{escape(self.text)}</span>'


@dataclass(frozen=True, slots=True)
class Setting:
    """What somebody chose: a seed, a share of loss, how many peers."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f'<span class="setting">{escape(self.text)}</span>'


@dataclass(frozen=True, slots=True)
class Code:
    """What is typed, or stands in a file."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f"<code>{escape(self.text)}</code>"


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence of the judge, or of a run that failed, word for word."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f"<q>{escape(self.text)}</q>"


@dataclass(frozen=True, slots=True)
class Title:
    """What an ordering is called, beside its colour."""

    text: str
    colour: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        swatch = f'<span class="swatch" style="background:{self.colour}"></span>'
        first, *rest = re.split("(?<=[_:])", escape(self.text))  # where it may go on in the next line
        parts = [f'<span class="first">{swatch}{first}</span>', *rest]
        return f'<span class="title name">{"<wbr>".join(parts)}</span>'


@dataclass(frozen=True, slots=True)
class Mark:
    """A word that is good or bad news."""

    text: str
    good: bool

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f'<span class="{"good" if self.good else "bad"}">{escape(self.text)}</span>'


@dataclass(frozen=True, slots=True)
class Words:
    """Words and other parts, one after the other."""

    parts: tuple[Any, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def __html__(self) -> str:
        return "".join(as_html(part) for part in self.parts)


def words(*parts: Any) -> Words:
    """A sentence, or what stands in a cell."""
    return Words(parts)


def listed(parts: Sequence[Any], last: str = " and ", comma: str = ", ") -> Words:
    """One, two and three."""
    joined: list[Any] = []
    for place, part in enumerate(parts):
        between = last if place == len(parts) - 1 else comma
        joined += [part] if not place else [between, part]
    return Words(tuple(joined))


def number(value: Any, *key: Any) -> Number | Name:
    """The number, or that it is not known."""
    if value is None or value != value or str(value) == "<NA>":
        return Name(UNKNOWN)
    plain = value.item() if hasattr(value, "item") else value
    return Number(tuple(map(str, key)), plain if isinstance(plain, int) else float(plain))


def known(part: Any) -> bool:
    """Whether there is a number."""
    return isinstance(part, Number) or isinstance(part, Interval) and isinstance(part.middle, Number)


def written(value: int | float) -> str:
    """As people read it: whole numbers as they are, others with three digits that say something."""
    rounded = abs(float(f"{value:.{DIGITS}g}"))
    if isinstance(value, int) or not rounded or rounded >= 10 ** (DIGITS - 1):
        return f"{value:,.0f}"
    decimals = DIGITS - 1 - math.floor(math.log10(rounded))
    return f"{value:,.{min(decimals, MOST_DECIMALS)}f}"


def as_html(part: Any) -> str:
    """Any part, or text that has to be escaped."""
    return part.__html__() if hasattr(part, "__html__") else escape(str(part))


# In a section


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words that stand alone; `kind` may be good, bad or quiet."""

    words: Words
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells under the columns of a table; rows of one group follow each other under its heading."""

    cells: Sequence[Any]
    group: Words | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the name of its files, what it shows, and its rows. The first column names what the row is about."""

    name: str
    caption: Words
    columns: Sequence[Any]
    rows: Sequence[Row]
    folded: bool = False  # shown when it is asked for

    @property
    def groups(self) -> list[tuple[Words | None, list[Row]]]:
        """The rows by the heading they stand under."""
        groups: list[tuple[Words | None, list[Row]]] = []
        for row in self.rows:
            if not groups or str(groups[-1][0]) != str(row.group):
                groups.append((row.group, []))
            groups[-1][1].append(row)
        return groups


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: the name of its files, its heading, what it shows, its Vega-Lite, and what can be chosen in it."""

    name: str
    heading: str
    about: Words
    spec: Mapping[str, Any]
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name of a parameter -> what it may be
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A space-time diagram that opens when it is asked for, or what to type where the page had no room for it."""

    name: str
    heading: Words
    about: Words
    svg: str
    command: Code
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Diagrams:
    """A list of diagrams."""

    heading: str
    drawn: Sequence[Drawn]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading of its own; one without parts says in `lacks` what would fill it."""

    name: str
    heading: str
    lead: Words
    parts: Sequence[Any] = ()
    lacks: Words | None = None

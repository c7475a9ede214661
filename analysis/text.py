"""Plain text: headings, numbers, and columns that stand under each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

UNKNOWN = "-"
NUMERIC = re.compile(r"[\d,.]+( of [\d,]+| \([\d,.]+ to [\d,.]+\))?|-|")
BEYOND = 4  # decimals more than are shown, to which what calculating left over is rounded off first


def heading(text: str, line: str) -> str:
    """A heading, underlined."""
    return f"{text}\n{line * len(text)}\n\n"


def in_digits(value: float | None, decimals: int) -> str:
    """A number of so many decimals, or that it is not known."""
    return UNKNOWN if value is None or pd.isna(value) else f"{round(value, decimals + BEYOND):,.{decimals}f}"


def in_columns(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns of text to the left, columns of numbers to the right."""
    cells = [list(titles), *([str(cell) for cell in row] for row in rows)]
    across = list(zip(*cells))
    widths = [max(map(len, column)) for column in across]
    right = [all(map(NUMERIC.fullmatch, column[1:])) for column in across]
    lines = (
        "  ".join(f"{cell:{'>' if to_right else '<'}{width}}" for cell, width, to_right in zip(row, widths, right))
        for row in cells
    )
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)

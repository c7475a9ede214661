"""What a diagram is written with: signs, numbers as short as they may be, words that no name can break out of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

SHAPES = ("circle", "square", "diamond", "triangle")
NO_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML may hold


def fixed(x: float, y: float, inside: str) -> str:
    """Something that keeps its shape when the plane is stretched."""
    return f'<g class="fix" transform="translate({num(x)} {num(y)})">{inside}</g>'


def outline(place: int, radius: float) -> str:
    """The outline, around 0 0, of the sign that belongs to the witness's message at this place."""
    shape = SHAPES[place % len(SHAPES)]
    if shape == "circle":
        r, d = num(radius), num(2 * radius)
        return f"M-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z"
    if shape == "square":
        half, side = num(0.88 * radius), num(2 * 0.88 * radius)
        return f"M-{half}-{half}h{side}v{side}h-{side}z"
    if shape == "diamond":
        half = num(1.25 * radius)
        return f"M0-{half}L{half} 0L0 {half}L-{half} 0z"
    top, wide, low = num(1.2 * radius), num(1.15 * radius), num(0.85 * radius)
    return f"M0-{top}L{wide} {low}H-{wide}z"


def num(value: float) -> str:
    """A number with two digits behind the point at most."""
    written = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def safe(words: str) -> str:
    """Words as SVG and HTML may hold them, whatever is in them."""
    return escape(NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", words))


def short(words: str, most: int) -> str:
    """At most so many letters of it."""
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def wrapped(words: str, wide: int) -> list[str]:
    """The words in lines of so many letters; what no blank divides stays whole."""
    lines: list[str] = []
    for word in words.split():
        if lines and len(lines[-1]) + 1 + len(word) <= wide:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def counted(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def ranged(positions: Iterable[int]) -> str:
    """Positions that were filled at one instant."""
    ordered = sorted(positions)
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]}–{ordered[-1]}"

"""A report in the form that the name of its file asks for: a page with charts and diagrams, or plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.frames import Frames
from analysis.overview import overview
from analysis.report import report

PAGES = (".html", ".htm")  # how the name of a page ends
MOST_AT_LENGTH = 12  # runs that are told one by one


def is_page(out: Path | None) -> bool:
    """Whether a file of that name is to be a page."""
    return out is not None and out.suffix.lower() in PAGES


def in_form_of(out: Path | None, frames: Frames) -> Iterator[bytes]:
    """The report of these runs, a part at a time."""
    if is_page(out):
        from analysis.page.page import page  # Altair takes a while to import, and the text has no need of it

        yield page(frames)
    else:
        yield from as_text(frames)


def as_text(frames: Frames) -> Iterator[bytes]:
    """Few runs one after the other; of many, and where some could not be played, what they come to together."""
    all_there = all((frames.path(name) / "scenario.json").is_file() for name in frames.names)
    at_length = all_there and len(frames.names) <= MOST_AT_LENGTH
    parts = report(list(map(frames.one, frames.names))) if at_length else overview(frames)
    yield from (part.encode() for part in parts)

"""Frames -> the bytes of one HTML page that needs nothing but itself: no network, no other file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from analysis import output
from analysis.diagram import INTERACTION_JS
from analysis.frames import Frames
from analysis.page import figures
from analysis.page.material import Material, runs_in_words
from analysis.page.parts import Interval, Name, Number, Section, listed, words
from analysis.page.sections import sections

HERE = Path(__file__).parent
NOTHING_PLAYED = "No run that could be played"


def page(frames: Frames) -> bytes:
    """The report of all these runs."""
    return Page(frames).html()


class Page:
    """A report, as one page and as files for papers."""

    def __init__(self, frames: Frames) -> None:
        self._material = Material(frames)
        self._sections = sections(self._material)

    def html(self) -> bytes:
        """The page."""
        return render(self._material, self._sections).encode()

    def write_figures(self, folder: Path) -> int:
        """Every chart and table of it as files for papers; how many there are."""
        return figures.write(self._sections, folder)


def render(material: Material, parts: Sequence[Section]) -> str:
    """Sections as a page."""
    titles = list(map(material.title, material.titles))
    return _template().render(
        title="Report: " + (", ".join(material.titles) or NOTHING_PLAYED),
        heading=words(listed(titles)) if titles else words(NOTHING_PLAYED),
        under=_under(material),
        titles=titles,
        sections=parts,
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        script=(HERE / "script.js").read_text(encoding="utf-8") + "\n" + INTERACTION_JS,
        libraries=libraries(),
    )


def _under(material: Material) -> Any:
    worlds = [world for world in dict.fromkeys(material.runs["world"]) if world]
    where = words(" in the world" + "s" * (len(worlds) > 1) + " ", listed(list(map(Name, worlds)))) if worlds else ""
    return words(runs_in_words(len(material.runs), "runs"), where, material.warm_up)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["for_script"] = for_script
    environment.filters["runs_of_kinds"] = runs_of_kinds
    environment.tests["number_cell"] = lambda cell: isinstance(cell, (Number, Interval))
    return environment.get_template("template.html")


def for_script(document: Any) -> Markup:
    """JSON that may stand in a <script>."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def runs_of_kinds(parts: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Parts of one kind that follow each other, together."""
    for kind, together in groupby(parts, key=lambda part: type(part).__name__):
        yield kind, list(together)


@cache
def libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Making it takes seconds, so it is kept for the next page."""
    import vl_convert

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ordering-lab"
    kept = folder / f"vega-lite-{figures.VEGA_LITE}-by-{version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        made = vl_convert.javascript_bundle(vl_version=figures.VEGA_LITE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        output.write([made.encode()], kept)
    except OSError:
        pass  # there is no place for it; then it is made again
    return made

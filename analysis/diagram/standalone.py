"""A diagram as a file of its own: an SVG for papers and other programs, or a page that can be zoomed."""

from __future__ import annotations

from pathlib import Path

from analysis.diagram.signs import safe
from analysis.diagram.style import DARK, LIGHT
from analysis.diagram.svg import svg
from analysis.diagram.window import Window

INTERACTION_JS = Path(__file__).with_name("interaction.js").read_text(encoding="utf-8")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light dark;--back:{light[back]};--ink:{light[ink]}}}
@media (prefers-color-scheme:dark){{:root{{--back:{dark[back]};--ink:{dark[ink]}}}}}
body{{margin:0;padding:1rem;background:var(--back);color:var(--ink)}}
body{{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
main{{max-width:1320px;margin:auto}}
h1{{font-size:1.15rem;margin:0 0 .25rem}}
p{{margin:0 0 .75rem;max-width:80em}}
.box{{overflow-x:auto}}
.box>svg{{width:100%;min-width:860px;height:auto}}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{sentence}<div class="box">
{svg}</div>
</main>
<script>
{script}</script>
</body>
</html>
"""


def page(window: Window, title: str) -> str:
    """A page with one diagram, which needs nothing else."""
    sentence = f"<p>{safe(window.focus.sentence)}</p>\n" if window.focus else ""
    return _PAGE.format(
        title=safe(title), sentence=sentence, svg=svg(window, title), script=INTERACTION_JS, light=LIGHT, dark=DARK
    )


def picture(window: Window, title: str) -> str:
    """An SVG file with its heading, and without variables."""
    return svg(window, title, heading=True, fixed_colours=True)

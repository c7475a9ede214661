"""The look of a diagram: colours for light and dark that people with any eyes can tell apart, and what wears which.

A page chooses other colours by setting the variables, as in `--diagram-ink: #222`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LIGHT = {
    "back": "#ffffff", "band": "#f4f6f9", "ink": "#1c2430", "muted": "#566171", "lane": "#a9b3c0", "grid": "#dfe4ea",
    "faded": "#c3cbd6", "before": "#7f93b0", "past": "#ffe9b3", "chain": "#f4b942", "alarm": "#b3001e",
    "1": "#0065a8", "2": "#b84300", "3": "#00775a", "4": "#84489c", "5": "#7d6200", "6": "#006a80", "7": "#a32a58",
    "8": "#505a66",
}  # fmt: skip
DARK = {
    "back": "#12161c", "band": "#1a2029", "ink": "#e8ecf2", "muted": "#a5b0be", "lane": "#566273", "grid": "#2a323d",
    "faded": "#3f4a59", "before": "#7188ab", "past": "#4a3c12", "chain": "#a87d14", "alarm": "#ff8f8f",
    "1": "#62b5ff", "2": "#ff9d5c", "3": "#45d3a5", "4": "#d3a0ea", "5": "#e3c34c", "6": "#55cfe4", "7": "#ff92b5",
    "8": "#bac3ce",
}  # fmt: skip
PALETTE = 8

_SHAPES = """
.space-time{display:block;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;touch-action:pan-x pan-y}
.space-time .plot{overflow:hidden;min-width:0;max-width:none;max-height:none}
.space-time path{fill:none;vector-effect:non-scaling-stroke;stroke-linecap:round;stroke-linejoin:round}
.space-time .title{font-size:16px;font-weight:650}
.space-time .sentence{font-size:13px}
.space-time .region{font-size:11px;font-weight:600;letter-spacing:.04em}
.space-time .name{font-size:13px;font-weight:600}
.space-time .name .muted{font-weight:400;font-size:11px}
.space-time .small{font-size:10px}
.space-time .tick,.space-time .position{font-size:10px;text-anchor:middle;font-variant-numeric:tabular-nums}
.space-time .hint{text-anchor:end}
.space-time .late{display:none}
.space-time .sign text{font-size:11px}
.space-time .sign .position{font-size:10px}
.space-time .note text{font-size:11.5px}
.space-time .strong text{font-weight:650}
.space-time .flag{stroke-width:3}
.space-time .lane{stroke-width:1.4}
.space-time .end{stroke-width:2}
.space-time .view{stroke-width:1.4;stroke-dasharray:3 3}
.space-time .past{stroke-width:17;stroke-linecap:butt}
.space-time .chain{stroke-width:8;stroke-opacity:.65}
.space-time .way{stroke-width:1}
.space-time .got{stroke-width:4.4}
.space-time .sent{stroke-width:7}
.space-time .before .way{stroke-width:1.3}
.space-time .message:hover .way{stroke-width:2.4}
.space-time .witness{stroke-width:2.2}
.space-time .lost{stroke-width:1.6;stroke-dasharray:2 6}
.space-time .dash-2{stroke-dasharray:9 5}
.space-time .dash-3{stroke-dasharray:3 5}
.space-time .dash-4{stroke-dasharray:12 4 2 4}
.space-time .mark{stroke-width:2.2}
.space-time .ring{fill:none;stroke-width:2.4}
.space-time .cross{stroke-width:3}
.space-time .label{font-size:11px;font-weight:700;text-anchor:middle;font-variant-numeric:tabular-nums}
.space-time .label{paint-order:stroke;stroke-width:3.5px;stroke-linejoin:round}
.space-time .position{paint-order:stroke;stroke-width:2.5px;stroke-linejoin:round}
@media print{.space-time .hint{display:none}}
"""

_COLOURS = """
.space-time .back{fill:$back}
.space-time .band{fill:$band}
.space-time text{fill:$ink}
.space-time .region,.space-time .muted,.space-time .tick,.space-time .position,.space-time .note text{fill:$muted}
.space-time .strong text{fill:$ink}
.space-time .flag,.space-time .ring,.space-time .cross,.space-time .end{stroke:$alarm}
.space-time .lane{stroke:$lane}
.space-time .view{stroke:$muted}
.space-time .grid{stroke:$grid}
.space-time .past{stroke:$past}
.space-time .chain{stroke:$chain}
.space-time .faded path{stroke:$faded}
.space-time .before path{stroke:$before}
.space-time .message:hover path{stroke:$ink}
.space-time path.mark{fill:$back}
.space-time .label,.space-time .position{stroke:$band}
.space-time:focus-visible{outline:3px solid $1;outline-offset:2px}
"""
_NUMBERED = (
    ".space-time .line-{0},.space-time .line-{0} path{{stroke:${0}}}"
    ".space-time .fill-{0},.space-time path.full.fill-{0}{{fill:${0};stroke:${0}}}"
    ".space-time .ink-{0}{{fill:${0}}}\n"
)


def style(fixed_colours: bool) -> str:
    """The style sheet of one diagram; with fixed colours nothing in it is a variable, and dark is what the system says.

    Without, it follows the page it stands in: its variables, else its `color-scheme`.
    """
    rules = "".join(_NUMBERED.format(number) for number in range(1, PALETTE + 1)) + _COLOURS
    if fixed_colours:
        light, dark = (_coloured(rules, colours.__getitem__) for colours in (LIGHT, DARK))
        return f"{_SHAPES}{light}@media (prefers-color-scheme:dark){{{dark}}}\n"
    return _SHAPES + _coloured(rules, lambda name: f"var(--diagram-{name},light-dark({LIGHT[name]},{DARK[name]}))")


def _coloured(rules: str, colour: Callable[[str], str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: colour(found[1]), rules)

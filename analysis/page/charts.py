"""Small tables -> charts in Vega-Lite, made by Altair: interactive in the page, still in a paper.

A table has a row for each mark and the column `title`, the ordering; what can be chosen is a column too, and a
parameter of that name. Text, axes and grid are `currentColor`, so that a chart follows the page into the dark; the
orderings have colours that do for both. All charts of a page share the parameter `shown`, the orderings that are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import altair as alt
import pandas as pd

from analysis.page.palette import Look

HEIGHT, BAR_HEIGHT = 250, 27
FEW_TICKS = 10
PAPER_WIDTH = 420
DIGITS = 6  # of the data that a chart holds
FORMAT = ",.3~r"
INK = "currentColor"
LABELS = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500}
CONFIG: Mapping[str, Any] = {
    "background": None,
    "aria": False,  # the page names each chart as a whole, and has its numbers in tables
    "font": "system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        **LABELS, "labelOpacity": 0.85, "titlePadding": 8, "labelLimit": 150, "labelFlush": False,
        "gridColor": INK, "gridOpacity": 0.12, "domainColor": INK, "domainOpacity": 0.35,
        "tickColor": INK, "tickOpacity": 0.35,
    },
    "legend": {**LABELS, "title": None, "orient": "top", "columns": 2, "labelLimit": 240, "symbolStrokeWidth": 2},
    "point": {"size": 60, "filled": True, "opacity": 1},
}  # fmt: skip

FROM_ZERO = alt.DomainUnionWith(unionWith=[0, 1e-6])  # also where nothing is left to be drawn

Spec = dict[str, Any]
Named = Mapping[str, str]  # column -> what it is called on axes and when it is pointed at
Choices = Mapping[str, Sequence[str]]  # column and parameter -> what it may be


class Charts:
    """Draws for the orderings of one page; `looks` says how each of them looks."""

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks

    def distributions(
        self, table: pd.DataFrame, x: str, y: str, named: Named, choices: Choices = {}, *, worlds: bool = False
    ) -> Spec:
        """Cumulative distributions: a line an ordering, `y` from 0 to 100; with `worlds` a dash for each world."""
        dash = self._by_title(alt.StrokeDash, "dash")
        if worlds:
            in_order = alt.Scale(domain=list(dict.fromkeys(table["world"])))
            dash = alt.StrokeDash("world:N", scale=in_order, legend=alt.Legend())
        places = {"x": _axis(alt.X, x, named, domain=FROM_ZERO), "y": _axis(alt.Y, y, named, domain=[0, 100])}
        colour = self._by_title(alt.Color, "colour")
        # Between two levels nothing is known but that it goes up: it does where the higher one is reached.
        line = alt.Chart().mark_line(interpolate="step-after")
        width = self._by_title(alt.StrokeWidth, "width")
        line = line.encode(**places, color=colour, strokeDash=dash, strokeWidth=width)
        # What is pointed at are points that nobody sees.
        near = alt.Chart().mark_point(opacity=0, size=140)
        near = near.encode(**_alike(x, y, named), color=colour, tooltip=_told(table, named))
        return self._finished([line, near], table, choices)

    def trends(
        self, table: pd.DataFrame, x: str, y: str, named: Named, choices: Choices = {}, *, top: float | None = None
    ) -> Spec:
        """A line an ordering through medians, each with its interval from `low` to `high` where there is one."""
        up = _axis(alt.Y, y, named, domain=FROM_ZERO if top is None else [0, top])
        values = sorted(map(_plain, table[x].unique()))
        apart = {"labelOverlap": "greedy", "labelSeparation": 6}
        axis = alt.Axis(values=values, format=FORMAT, **apart) if len(values) <= FEW_TICKS else alt.Undefined
        places = {
            "x": alt.X(
                f"{x}:Q",
                title=named[x],
                axis=axis,
                scale=alt.Scale(domain=[values[0], values[-1]], nice=False, padding=12),
            ),
            "y": up,
        }
        colour, shape = self._by_title(alt.Color, "colour"), self._by_title(alt.Shape, "shape")
        dash = self._by_title(alt.StrokeDash, "dash")
        width = self._by_title(alt.StrokeWidth, "width")
        line = alt.Chart().mark_line(opacity=0.75).encode(**places, color=colour, strokeDash=dash, strokeWidth=width)
        points = alt.Chart().mark_point()
        points = points.encode(**_alike(x, y, named), color=colour, shape=shape, tooltip=_told(table, named))
        between = (
            alt.Chart()
            .mark_rule(strokeWidth=1.6)
            .encode(x=_alike(x, y, named)["x"], y="low:Q", y2="high:Q", color=colour)
        )
        return self._finished([line, *_where_known(between, table), points], table, choices)

    def bars(self, table: pd.DataFrame, x: str, named: Named, choices: Choices = {}) -> Spec:
        """A bar an ordering, with its interval."""
        across, rows = (
            _axis(alt.X, x, named, domain=[0, float(table[[x, "high"]].max().max())], nice=True),
            self._rows(),
        )
        colour = self._by_title(alt.Color, "colour")
        bar = alt.Chart().mark_bar(cornerRadiusEnd=3, height={"band": 0.6})
        between = alt.Chart().mark_rule(color=INK, strokeWidth=1.4).encode(x="low:Q", x2="high:Q", y=rows)
        bar = bar.encode(x=across, y=rows, color=colour, tooltip=_told(table, named))
        layers = [bar, *_where_known(between, table)]
        return self._finished(layers, table, choices, height=BAR_HEIGHT * max(2, table["title"].nunique()))

    def against(self, table: pd.DataFrame, x: str, y: str, named: Named, choices: Choices = {}) -> Spec:
        """A point for each pair, beside the line on which both are alike."""
        places = {"x": _axis(alt.X, x, named, domain=FROM_ZERO), "y": _axis(alt.Y, y, named, domain=FROM_ZERO)}
        colour, shape = self._by_title(alt.Color, "colour"), self._by_title(alt.Shape, "shape")
        points = alt.Chart().mark_point(opacity=0.8)
        size = self._by_title(alt.Size, "size")
        points = points.encode(**places, color=colour, shape=shape, size=size, tooltip=_told(table, named))
        alike = alt.Chart().mark_line(color=INK, strokeDash=[4, 4], strokeWidth=1.2, opacity=0.6)
        layers = [alike.encode(x=_alike(x, y, named)["x"], y=alt.Y(f"{x}:Q", title=named[y])), points]
        return self._finished(layers, table, choices)

    def cells(self, table: pd.DataFrame, x: str, value: str, named: Named, choices: Choices = {}) -> Spec:
        """A field for each ordering and column, the fuller the larger its percentage."""
        columns = alt.X(
            f"{x}:N",
            title=named[x],
            sort=list(dict.fromkeys(table[x])),
            axis=alt.Axis(labelAngle=-30, ticks=False, domain=False),
        )
        full = alt.Opacity(f"{value}:Q", scale=alt.Scale(domain=[0, 100], range=[0.08, 0.8]), legend=None)
        rows, colour = self._rows(), self._by_title(alt.Color, "colour")
        field = (
            alt.Chart()
            .mark_rect(cornerRadius=4)
            .encode(x=columns, y=rows, color=colour, opacity=full, tooltip=_told(table, named))
        )
        share = alt.Text(f"{value}:Q", format=".0f")
        text = alt.Chart().mark_text(color=INK, fontWeight=600).encode(x=columns, y=rows, text=share)
        return self._finished([field, text], table, choices, height=1.4 * BAR_HEIGHT * table["title"].nunique())

    def _rows(self) -> alt.Y:
        return alt.Y("title:N", title=None, sort=list(self._looks), axis=alt.Axis(labelLimit=170, ticks=False))

    def _by_title(self, channel: Any, part: str) -> Any:
        """A channel of marks; those that say which is larger are for orderings in their order."""
        kind = "title:O" if channel in (alt.StrokeWidth, alt.Size) else "title:N"
        looks = [getattr(look, part) for look in self._looks.values()]
        scale = alt.Scale(type="ordinal", domain=list(self._looks), range=looks)
        return channel(kind, legend=None, scale=scale)

    def _finished(self, layers: list[Any], table: pd.DataFrame, choices: Choices, height: float = HEIGHT) -> Spec:
        """The layers over their data, of which only what is chosen shows."""
        chart = alt.layer(*layers).transform_filter("indexof(shown, datum.title) >= 0")
        for name in choices:
            chart = chart.transform_filter(f"datum.{name} === {name}")
        parameters = [alt.param(name="shown", value=list(self._looks))]
        parameters += [alt.param(name=name, value=values[0]) for name, values in choices.items()]
        chart = chart.add_params(*parameters).properties(width="container", height=height)
        chart.data = alt.Data(values=records(table))
        return chart.to_dict() | {"config": CONFIG, "autosize": {"type": "fit-x", "contains": "padding"}}


def _alike(x: str, y: str, named: Named) -> dict[str, Any]:
    """The same places for another layer; their scales are told by the first."""
    return {"x": alt.X(f"{x}:Q", title=named[x]), "y": alt.Y(f"{y}:Q", title=named[y])}


def _axis(channel: Any, column: str, named: Named, **scale: Any) -> Any:
    return channel(f"{column}:Q", title=named[column], scale=alt.Scale(**scale))


def _where_known(between: alt.Chart, table: pd.DataFrame) -> list[alt.Chart]:
    """The layer of the intervals, where there are any."""
    return [between] if table["low"].notna().any() else []


def _told(table: pd.DataFrame, named: Named) -> list[alt.Tooltip]:
    """What is said of a mark that is pointed at."""
    told = []
    for column, name in {"title": "ordering", **named}.items():
        if pd.api.types.is_numeric_dtype(table[column]):
            told.append(alt.Tooltip(f"{column}:Q", title=name, format=FORMAT))
        else:
            told.append(alt.Tooltip(f"{column}:N", title=name))
    return told


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON has them: numbers with a few digits, nothing where nothing is known."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or value != value or str(value) == "<NA>":
        return None
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


# For papers


def for_papers(spec: Spec, choices: Choices) -> Iterator[tuple[str, Spec]]:
    """The chart with a legend and a size of its own, once for each choice: what was chosen, and the chart."""
    for chosen in product(*choices.values()):
        still = copy.deepcopy(spec) | {"width": PAPER_WIDTH, "autosize": {"type": "pad"}}
        still["config"] = {**CONFIG, "background": "white"}
        _with_legends(still)
        for parameter in still["params"]:
            parameter["value"] = dict(zip(choices, chosen)).get(parameter["name"], parameter["value"])
        yield "-".join(chosen), still


def _with_legends(spec: Any) -> None:
    """The legends that the page has no need of, since it has one for all of its charts."""
    if isinstance(spec, dict):
        if spec.get("field") == "title" and "scale" in spec and spec.get("legend", 0) is None:
            del spec["legend"]
        for each in spec.values():
            _with_legends(each)
    elif isinstance(spec, list):
        for each in spec:
            _with_legends(each)

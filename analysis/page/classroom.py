"""The section on the classroom program's own count: what it said, what it would say of these runs, what it left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis import classroom
from analysis.page.charts import CONFIG, FORMAT, INK, records
from analysis.page.material import Material
from analysis.page.palette import colour
from analysis.page.parts import (
    Chart,
    Interval,
    Name,
    Number,
    Paragraph,
    Row,
    Section,
    Setting,
    Table,
    Title,
    number,
    words,
)
from analysis.summaries import OF_POINT, points

NAME, HEADING = "classroom", "The classroom's own count"
ROW_HEIGHT = 42
FEWEST_MESSAGES = 2  # of which the count looks at one
MOST_ROWS = 16  # of a table that is open from the start


def section(material: Material) -> Section | None:
    """The section; None where nothing was played without an order, of which alone figures are known."""
    table = figures(material.there[material.there["messages"] >= FEWEST_MESSAGES])
    if not table["ordering"].eq("unordered").any():
        return None
    table = table.sort_values("peers", kind="stable")
    table["settings"] = _differing(table)
    lead = words(
        "Before this lab there was a classroom program, which counted rounds out of order in a way of its own. Counted "
        "its way, do these runs come out as it said, and what did it not see?"
    )
    unordered = table[table["ordering"] == "unordered"]
    return Section(NAME, HEADING, lead, [_comparable(table), _chart(unordered), _table(table), *_definitions()])


def figures(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each world, ordering and point: the program's count from the lowest to the highest run, what was
    published for so many peers, and how many rounds were out of order in truth.

    Points tell places peer by peer, since it matters whose log comes last. `published_low` and `published_high` are
    missing where the settings are others than those that were published, or all peers are in one region.
    """
    there = runs[runs["classroom_of"].gt(0) & runs["rounds"].gt(0)]
    there = there.assign(point=points(there))
    groups = there.groupby(["world", "ordering", "title", "point", *OF_POINT], sort=False, observed=True)
    table = groups.agg(
        runs=("classroom_rounds", "size"),
        low=("classroom_rounds", "min"),
        median=("classroom_rounds", "median"),
        high=("classroom_rounds", "max"),
        of=("classroom_of", "max"),
        truly=("out_of_order_rounds", "median"),
        rounds=("rounds", "max"),
    ).reset_index()
    regions = table["places"].map(lambda places: len(set(places.split(","))))
    alike = [table[name] == value for name, value in classroom.PUBLISHED_AS.items()]
    comparable = np.logical_and.reduce([regions > 1, *alike])
    for end, name in enumerate(("published_low", "published_high")):
        known = table["peers"].map({peers: between[end] for peers, between in classroom.PUBLISHED.items()})
        table[name] = known.where(comparable).astype("Int64")
    return table


def _comparable(table: pd.DataFrame) -> Paragraph:
    """Whether what was published comes out again."""
    known = table[table["published_low"].notna()]
    if known.empty:
        return Paragraph(
            words(
                "Figures were published for runs without an order over several regions, of ",
                Setting("100 messages"),
                " a peer with gaps of ",
                Setting("10 to 99 ms"),
                ". No run here is like that, so there is nothing to be held against them.",
            ),
            "quiet",
        )
    overlap = known[(known["high"] >= known["published_low"]) & (known["low"] <= known["published_high"])]
    return Paragraph(
        words(
            "What these runs come to and what was published for so many peers overlap at ",
            number(len(overlap), NAME, "all", "overlap"),
            " of ",
            number(len(known), NAME, "all", "comparable"),
            " placements that can be compared. Where the published runs had their peers, and whose log came last, is "
            "not known; with few peers it decides the figure.",
        )
    )


def _table(table: pd.DataFrame) -> Table:
    caption = words("The program's count at each place: the median, and the lowest and highest run")
    published = _is_published(table)
    columns = ["ordering", "compared", "left out", "runs", "its count", "of"]
    columns += [*(["published"] if published else []), "truly out of order", "of"]
    rows = [_row(row, published) for row in table.to_dict("records")]
    return Table(NAME, caption, columns, rows, folded=len(table) > MOST_ROWS)


def _is_published(table: pd.DataFrame) -> bool:
    """Whether there is anything that these runs can be held against."""
    return bool(table["published_low"].notna().any())


def _row(row: dict[str, Any], with_published: bool) -> Row:
    compared, left_out = _apart(row["places"])

    def cell(column: str) -> Number | Name:
        return number(row[column], NAME, row["world"], row["title"], row["point"], column)

    published: Any = Name("")
    if isinstance(known := number(row["published_low"], "published", row["peers"], "low"), Number):
        published = words(known, " to ", number(row["published_high"], "published", row["peers"], "high"))
    return Row(
        [
            Title(row["title"], colour(row["title"])),
            Name(compared),
            Name(left_out),
            cell("runs"),
            Interval(cell("median"), cell("low"), cell("high")) if row["low"] < row["high"] else cell("median"),
            cell("of"),
            *([published] if with_published else []),
            cell("truly"),
            cell("rounds"),
        ],
        words(Name(", ".join(filter(None, [f"{row['peers']} peers", row["settings"]])))),
    )


def _differing(table: pd.DataFrame) -> list[str]:
    """Of each row what, beside the peers, is not alike in all rows."""
    told = {
        "world": table["world"],
        "scenario": table["scenario"],
        "planet": table["planet"],
        "workload": table["workload"],
        "messages": table["messages"].map("{} messages".format),
        "size": table["size_bytes"].map("{} bytes".format),
        "gap": table["gap_min_ms"].map("{:g}".format) + table["gap_max_ms"].map("-{:g} ms".format),
        "loss": (table["loss"] * 100).map("{:.3g} % loss".format),
        "duplicate": (table["duplicate"] * 100).map("{:.3g} % doubled".format),
        "reorder": (table["reorder"] * 100).map("{:.3g} % held back".format),
        "jitter": table["jitter_ms"].map("jitter {:g} ms".format),
    }
    differ = [column for column in told.values() if column.nunique() > 1]
    return [", ".join(row) for row in zip(*differ)] if differ else [""] * len(table)


def _apart(places: str) -> tuple[str, str]:
    """The regions whose logs are compared, and that of the log that is not."""
    *compared, left_out = places.split(",")
    counted = Counter(compared)
    return ", ".join(f"{many} × {region}" if many > 1 else region for region, many in counted.items()), left_out


# The chart


def _chart(table: pd.DataFrame) -> Chart:
    """Shares, so that what was counted and what was not can be seen beside each other."""
    pale = "The pale bar is what was published, the" if _is_published(table) else "The"
    about = words(
        f"Runs without an order, as a share of the positions that each count looks at. {pale} line is our lowest to "
        "highest run by the program's count, the dot its median, the diamond the share of all rounds that was out of "
        "order in truth. Each row says how many peers there were, the regions "
        "whose logs were compared, and in brackets that of the log which came last and was left out."
    )
    return Chart(NAME, "Counted, published, and in truth", about, _spec(_shares(table)), wide=True)


def _shares(table: pd.DataFrame) -> pd.DataFrame:
    """Everything in percent, and what each placement is called."""
    shares = {
        "low": table["low"] / table["of"],
        "median": table["median"] / table["of"],
        "high": table["high"] / table["of"],
        "truly": table["truly"] / table["rounds"],
        "published_low": table["published_low"] / classroom.PUBLISHED_OF,
        "published_high": table["published_high"] / classroom.PUBLISHED_OF,
    }
    percent = {name: (100 * share).astype(float) for name, share in shares.items()}
    return pd.DataFrame({"title": table["title"], "place": _places(table), **percent})


def _places(table: pd.DataFrame) -> list[str]:
    apart = map(_apart, table["places"])
    told = [f"{peers}: {compared} ({left_out})" for peers, (compared, left_out) in zip(table["peers"], apart)]
    return [", ".join(filter(None, each)) for each in zip(told, table["settings"])]


def _spec(rows: pd.DataFrame) -> dict[str, Any]:
    percent = alt.Axis(title="of the positions looked at, %", grid=True)
    across = {"scale": alt.Scale(domain=[0, 100]), "axis": percent}
    places = alt.Y("place:N", sort=None, axis=None)
    told = [alt.Tooltip("place:N", title="peers, compared (left out)")]
    for name in ("low", "median", "high", "truly", "published_low", "published_high"):
        told.append(alt.Tooltip(f"{name}:Q", title=f"{name.replace('_', ' ')}, %", format=FORMAT))
    base = alt.Chart().encode(y=places, tooltip=told)
    named = base.mark_text(align="left", dx=4, dy=-0.36 * ROW_HEIGHT, color=INK, fontSize=11)
    published = base.mark_bar(height={"band": 0.36}, color=INK, opacity=0.18, cornerRadius=2)
    ours = base.mark_rule(strokeWidth=3, color=colour("unordered"))
    median = base.mark_point(shape="circle", color=colour("unordered"))
    truly = base.mark_point(shape="diamond", filled=False, color=INK, strokeWidth=1.6)
    layers = [
        named.encode(x=alt.XDatum(0, **across), text="place:N"),
        published.encode(x=alt.X("published_low:Q", **across), x2="published_high:Q"),
        ours.encode(x=alt.X("low:Q", **across), x2="high:Q"),
        median.encode(x=alt.X("median:Q", **across)),
        truly.encode(x=alt.X("truly:Q", **across)),
    ]
    shown = alt.param(name="shown", value=sorted(set(rows["title"])))
    chart = alt.layer(*layers).transform_filter("indexof(shown, datum.title) >= 0").add_params(shown)
    chart = chart.properties(width="container", height=ROW_HEIGHT * len(rows))
    chart.data = alt.Data(values=records(rows))
    return chart.to_dict() | {"config": CONFIG, "autosize": {"type": "fit-x", "contains": "padding"}}


# What is different


def _definitions() -> list[Paragraph]:
    """Where the two counts part, in words."""
    recorded = {name: number(value, "recorded", name) for name, value in classroom.RECORDED.items()}
    return [
        Paragraph(
            words(
                "It looks at as many positions as one peer multicasts, but one. Every log holds the messages of all "
                "peers, so with six peers it sees the first sixth of each log, and never the last round. Our count "
                "looks at every position."
            )
        ),
        Paragraph(
            words(
                "It compares with the first log that arrives, and never looks at the last one. Of three logs it "
                "compares two: the figure is that of one pair of peers, and depends on how far apart these two are. "
                "With three peers in two regions it can say anything: close to nothing if the two in one region are "
                "compared, nearly all if the log that is left out is one of these. Which log comes last is chance in a "
                "classroom; here logs arrive by the number of their peers, and the last peer's is left out. Our count "
                "compares all logs, in no particular order."
            )
        ),
        Paragraph(
            words(
                "So its figure hides how much there is. A recorded classroom run of ",
                recorded["peers"],
                " peers was said to have ",
                recorded["said"],
                " rounds out of order; of its ",
                recorded["rounds"],
                " rounds ",
                recorded["out_of_order_rounds"],
                " were.",
            )
        ),
        Paragraph(
            words(
                "Where a log is too short it breaks off with an error. Here a position that one log lacks counts as "
                "out of order, by either count."
            ),
            "quiet",
        ),
    ]

"""What each section of the page says, shows and counts; one function each, from top to bottom.

The keys of numbers name how each is worked out, so that anybody can work it out again:

    count, what...                                  how many runs, orderings, ... there are
    comparison, world, title, point, measure        the median over repetitions; `low` and `high` end its interval
    paired, measure, world, point, one, other, ...  one less other under the same chance: difference, low, high, pairs
    regions, world, title, origin, target, ...      latencies from a region to a region
    blocked, world, title, region                   the share of the time blocked that is due to a region, in percent
    gap, title, point, measure, ...                 two worlds beside each other
    violations, title, property, ...                violations, and in how many runs
    promises, title                                 how many properties an ordering promises
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis import diagram, summaries
from analysis.page import classroom as classroom_count
from analysis.page.material import Material, few, labels, runs_in_words
from analysis.page.parts import (
    Chart,
    Code,
    Diagrams,
    Drawn,
    Interval,
    Mark,
    Name,
    Paragraph,
    Row,
    Said,
    Section,
    Setting,
    Table,
    Words,
    known,
    listed,
    number,
    words,
)  # fmt: skip
from analysis.statistics import LEAST_REPEATS
from peer.core.errors import SettingsError

LEVELS = (0.0, 0.01, *(step / 20 for step in range(1, 20)), 0.98, 0.99)  # of distributions; the longest are in tables
MOST_TOLD = 6  # of one kind, in words
MOST_PLACES = 12  # that a chart of distributions offers
MOST_WAYS = 20  # between regions
MOST_ROWS = 600  # of one table
DIAGRAM_BYTES = 5_000_000  # in all
SAMPLES = 3  # windows of one run


# The verdict


def verdict(material: Material) -> Section:
    """Who kept its promises, how disordered what was, and what a total order costs."""
    parts = [*_failures(material), *_broken(material), *_kept(material)]
    if material.there.empty:
        parts.append(Paragraph(words("No run was played to its end, so there is nothing to compare.")))
    parts += [*_disorder_in_words(material), *_price_in_words(material)]
    lead = words("What ", runs_in_words(len(material.runs), "runs"), " came to.")
    return Section("verdict", "Verdict", words(lead, *_about_intervals(material.comparison["repeats"])), parts)


def _about_intervals(repeats: pd.Series) -> Iterator[Any]:
    """What an interval is, and why there is none."""
    least = Setting(str(LEAST_REPEATS))
    if repeats.max() >= LEAST_REPEATS:
        yield " An interval in brackets is where the median lies, at about "
        yield words(Setting("95 %"), " confidence, given how much repetitions differ.")
    if repeats.min() < LEAST_REPEATS:
        yield words(" Of fewer than ", least, " repetitions there is no interval, for their range says little: ")
        yield words(Code("--repeat"), ", or in a plan ", Code("repeat:"), ", plays more.")


def _failures(material: Material) -> Iterator[Paragraph]:
    """What did not come to its end."""
    runs = material.runs
    for outcome, says in (("failed", " could not be played: "), ("unfinished", " did not come to an end: ")):
        those = runs[runs["outcome"] == outcome]
        if len(those):
            told = [
                words(Name(str(row.run)), " (", Said(row.error or "nothing says why"), ")")
                for row in those.itertuples()
            ]
            more = len(told) - MOST_TOLD
            rest = words(" and ", number(more, "count", "more", outcome), " more") if more > 0 else ""
            count = runs_in_words(len(those), "outcome", outcome)
            yield Paragraph(words(count, says, listed(told[:MOST_TOLD], ", "), rest, "."), "bad")


def _broken(material: Material) -> Iterator[Paragraph]:
    """Promises that were not kept."""
    broken = material.frames.violations.query("promised")
    titles = dict(zip(material.runs["run"].astype(str), material.runs["title"]))
    broken = broken.assign(title=broken["run"].astype(str).map(titles))
    for (title, name), part in broken.groupby(["title", "property"], sort=False):
        of = int((material.there["title"] == title).sum())
        says = (
            material.title(title), " broke its promise of ", Name(name), " in ",
            number(len(part), "violations", title, name, "runs"), " of ", runs_in_words(of, "runs", "of", title), ": ",
            Said(part.iloc[0]["sentence"]),
        )  # fmt: skip
        yield Paragraph(words(*says), "bad")


def _kept(material: Material) -> Iterator[Paragraph]:
    """Who kept all of its promises, as far as there is evidence of every one."""
    there = material.there
    sure = there["outcome"].eq("held") & _all_held(there)
    held = [title for title in material.titles if sure[there["title"] == title].all()]
    if held:
        told = [
            words(material.title(title), " (all ", number(len(material.promises[title]), "promises", title), ")")
            for title in held
        ]
        runs = int(there["title"].isin(held).sum())
        last = words(" kept every promise in ", runs_in_words(runs, "runs", "of", *held), ".")
        yield Paragraph(words(listed(told), last), "good")


def _all_held(there: pd.DataFrame) -> pd.Series:
    """In which runs every promise held."""
    return there["promised_held"].eq(there["promised"]).fillna(False)


def _outcomes(material: Material, title: str) -> set[str]:
    return set(material.there.loc[material.there["title"] == title, "outcome"])


def _disorder_in_words(material: Material) -> Iterator[Paragraph]:
    for title in material.free:
        if says := _from_to(material, title, "out_of_order_percent", " %", " of the rounds were out of order"):
            yield Paragraph(words("With ", material.title(title), " ", says, "."))
    orderly, rest = [], []
    for title in material.total:
        shares = material.comparison.loc[material.comparison["title"] == title, "out_of_order_percent"]
        if shares.fillna(0).any():
            rest.append(title)
        elif shares.notna().all() and "unfinished" not in _outcomes(material, title):  # else there was more to come
            orderly.append(title)
    for title in rest:
        if says := _from_to(material, title, "out_of_order_percent", " %", " of the rounds were out of order"):
            yield Paragraph(words("With ", material.title(title), " ", says, "."))
    if orderly:
        told = listed(list(map(material.title, orderly)))
        yield Paragraph(words("With ", told, " no round of any run was out of order."))


def _from_to(material: Material, title: str, measure: str, unit: str, what: str) -> Words | None:
    """One figure, or the lowest and the highest of several points, each with where it is."""
    rows = material.comparison[(material.comparison["title"] == title) & material.comparison[measure].notna()]
    if rows.empty:
        return None
    low, high = (next(rows.loc[[at]].itertuples()) for at in (rows[measure].idxmin(), rows[measure].idxmax()))
    if low.point == high.point and low.world == high.world:
        return words(material.measure(low, measure), unit, what)
    return words(
        "from ", material.measure(low, measure), unit, " at ", material.place(low.world, low.point), " to ",
        material.measure(high, measure), unit, " at ", material.place(high.world, high.point), what,
    )  # fmt: skip


def _price_in_words(material: Material) -> Iterator[Paragraph]:
    """What everybody's same order costs above none, where it costs most: at the point with the longest way."""
    if not material.total or not material.free:
        return
    free = material.free[0]
    places = [key for key in material.distances if material.row(key[0], free, key[1]) is not None]
    for title in material.total:
        there = [key for key in places if material.row(key[0], title, key[1]) is not None]
        if not there:
            continue
        farthest = max(np.nan_to_num(material.distances[key]) for key in there)
        candidates = [key for key in there if np.nan_to_num(material.distances[key]) >= farthest * 0.99]
        world, point = max(candidates, key=lambda key: material.row(key[0], title, key[1]).repeats)
        with_it, without = material.row(world, title, point), material.row(world, free, point)
        where = words(" (", material.place(world, point), ")") if len(material.labels) > 1 else ""
        told = []
        for measure, unit in PRICES.items():
            cost = material.measure(with_it, measure)
            if known(cost):
                before = material.measure(without, measure)
                if str(cost) == str(before):
                    told.append(words(cost, unit, " with either"))
                else:
                    more = _apart(material, measure, world, point, title, free)
                    told.append(words(cost, unit, " instead of ", before, more))
        if told:
            price = words(
                "One order for everybody, by ", material.title(title), " instead of ", material.title(free), where
            )
            yield Paragraph(words(price, ": ", listed(told, "; and ", "; "), "."))


PRICES = {
    "own_p50_ms": " ms until a sender delivers its own message",
    "others_p50_ms": " ms until the others do",
    "datagrams_per_delivery": " datagrams a delivery",
}


def _apart(material: Material, measure: str, world: str, point: str, title: str, free: str) -> Words:
    """How much more, or less, than the other ordering, pair by pair of runs with the same chance."""
    for row in material.paired(measure).itertuples():
        those = (row.world, row.point) == (world, point) and {row.one, row.other} == {title, free}
        if those and row.pairs >= LEAST_REPEATS:
            more = row.difference if row.one == title else -row.difference
            one, other, than = (title, free, "more") if more >= 0 else (free, title, "less")
            sign = 1 if row.one == one else -1
            low, high = sorted((sign * row.low, sign * row.high))
            key = ("paired", measure, world, point, one, other)
            ends = number(low, *key, "low"), number(high, *key, "high")
            apart = Interval(number(abs(row.difference), *key, "difference"), *ends)
            return words(", ", apart, f" {than} under the same chance")
    return words()


# The table


def comparison(material: Material) -> Section:
    """All orderings side by side."""
    lead = words(
        "A ", Name("round"), " is a position in the logs; it is out of order if not everybody delivered the same"
        " message there. Times are from the moment the application asked for a multicast to its delivery.",
    )  # fmt: skip
    columns = [
        "ordering", "complete runs", "promises", "out-of-order rounds, %", "inverted pairs, %", "own site: median, ms",
        words("own site: ", Setting("99 %"), ", ms"), "others: median, ms", words("others: ", Setting("99 %"), ", ms"),
        "times the bound", "deliveries a second", "datagrams a delivery",
    ]  # fmt: skip
    measures = (
        "out_of_order_percent", "inversion_percent", "own_p50_ms", "own_p99_ms", "others_p50_ms", "others_p99_ms",
        "bound_ratio", "deliveries_per_s", "datagrams_per_delivery",
    )  # fmt: skip
    rows = []
    for row in material.comparison.itertuples():
        key = ("comparison", row.world, row.title, row.point)
        complete = words(number(row.complete, *key, "complete"), " of ", number(row.repeats, *key, "repeats"))
        measured = [material.measure(row, measure) for measure in measures]
        cells = [material.title(row.title), complete, _promises(row, key), *measured]
        rows.append(Row(cells, _heading(material, row)))
    caption = words("Orderings side by side")
    return Section("comparison", "Comparison", lead, [Table("comparison", caption, columns, rows[:MOST_ROWS])])


def _heading(material: Material, row: Any) -> Words | None:
    return words(material.place(row.world, row.point)) if len(material.labels) > 1 else None


def _promises(row: Any, key: Sequence[str]) -> Words:
    if row.promised_broken:
        return words(Mark("broken", False), " in ", number(row.promised_broken, *key, "promised_broken"))
    if not row.promised:
        return words("not judged")
    if row.promised_held == row.promised:
        return words(Mark("kept", True))
    held, promised = (number(getattr(row, name), *key, name) for name in ("promised_held", "promised"))
    lack = number(row.promised - row.promised_held, *key, "promised_unknown")
    return words(held, " of ", promised, " held, no evidence for ", lack)


# Latency


def latency(material: Material) -> Section:
    """How long messages took: distributions by ordering and by regions."""
    lead = words(
        "How long a message took from the multicast to the delivery, as the share of deliveries that were as fast or "
        "faster. Where clocks are not shared, times across sites are uncertain by what the table says.",
    )  # fmt: skip
    whole = summaries.cdf(material.frames, ("world", "title", "point", "own"))
    whole = _thinned(whole)
    if whole.empty:
        lacks = words(
            "No delivery goes with a recorded multicast: ", Code("python -m experiments local demo"), " has some."
        )
        return Section("latency", "Latency", lead, lacks=material.all_was_warm_up or lacks)
    whole["place"] = [material.labels[key] for key in zip(whole["world"], whole["point"])]
    places = _farthest_first(material, whole)[:MOST_PLACES]
    whole = whole[whole["place"].isin(places)]
    named = {"latency_ms": "latency, ms", "percent": "of deliveries, %"}
    choices = {"place": places} if len(places) > 1 else {}
    columns = ["title", "world", "point", "place", "percent", "latency_ms"]
    parts: list[Any] = []
    for own, name, heading, about in (
        (True, "latency-own", "At the sender’s own site", "Until the sender itself delivers its message."),
        (False, "latency-others", "At the others", "Until another peer delivers it."),
    ):
        table = whole.loc[whole["own"] == own, columns]
        if len(table):
            spec = material.charts.distributions(table, "latency_ms", "percent", named, _there(choices, table))
            parts.append(Chart(name, heading, words(about), spec, _there(choices, table)))
    parts += [*_by_ways(material), _region_table(material)]
    return Section("latency", "Latency", lead, parts)


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Fewer levels, in percent."""
    table = table[table["level"].round(4).isin(LEVELS)]
    return table.assign(percent=(table["level"] * 100).round(4)).drop(columns="level")


def _there(choices: dict[str, list[str]], table: pd.DataFrame) -> dict[str, list[str]]:
    """What can be chosen of what a table holds."""
    return {name: [value for value in values if (table[name] == value).any()] for name, values in choices.items()}


def _farthest_first(material: Material, table: pd.DataFrame) -> list[str]:
    """The places that a chart offers, those whose peers are farthest apart first: there is most to be seen."""
    keys = table[["world", "point", "place"]].drop_duplicates()
    far = [np.nan_to_num(material.distances.get(key, np.nan)) for key in zip(keys["world"], keys["point"])]
    return few(keys.assign(far=far).sort_values("far", ascending=False, kind="stable")["place"])


def _by_ways(material: Material) -> Iterator[Chart]:
    """From region to region, over all settings; the longest ways where there are many."""
    regions = material.regions[~material.regions["own"]]
    if regions[["origin", "target"]].drop_duplicates().shape[0] < 2:
        return
    longest = regions.groupby(["origin", "target"], sort=False)["bound_ms"].min().fillna(0)
    ways = longest.sort_values(ascending=False, kind="stable").index[:MOST_WAYS]
    table = _thinned(summaries.cdf(material.frames, ("world", "title", "origin", "target", "own")))
    table = table[~table["own"]].set_index(["origin", "target"]).loc[lambda part: part.index.isin(ways)].reset_index()
    world = table["world"] + ": " if len(material.worlds) > 1 else ""
    table = table.assign(way=world + table["origin"] + " to " + table["target"])
    first = {f"{origin} to {target}": place for place, (origin, target) in enumerate(ways)}
    choices = {"way": sorted(dict.fromkeys(table["way"]), key=lambda way: first[way.rpartition(": ")[2]])[:MOST_WAYS]}
    table = table.loc[
        table["way"].isin(choices["way"]), ["title", "world", "origin", "target", "way", "percent", "latency_ms"]
    ]
    spec = material.charts.distributions(
        table, "latency_ms", "percent", {"latency_ms": "latency, ms", "percent": "of deliveries, %"}, choices
    )
    about = words("From a region to a region, over all runs of an ordering", _pooled(material), ".")
    yield Chart("latency-regions", "By regions", about, spec, choices, wide=True)


def _pooled(material: Material) -> str:
    """What is to be said where runs of several points are taken together."""
    return ", whatever was set" if len(material.labels) > 1 else ""


def _region_table(material: Material) -> Table:
    columns = [
        "from", "to", "deliveries", "median, ms", words(Setting("90 %"), ", ms"), words(Setting("99 %"), ", ms"),
        "longest, ms", "bound, ms", "median over bound", "uncertain by, ms",
    ]  # fmt: skip
    regions, rows = material.regions, []
    order = {title: place for place, title in enumerate(material.titles)}
    regions = regions.assign(rank=regions["title"].map(order)).sort_values(["world", "rank"], kind="stable")
    shown = regions.assign(here=~regions["own"]).sort_values(["world", "rank", "here"], kind="stable")
    for row in shown.head(MOST_ROWS).itertuples():
        key = ("regions", row.world, row.title, row.origin, row.target, "own" if row.own else "others")
        cells = [Name(row.origin), words("the sender itself") if row.own else Name(row.target)]
        for column in ("deliveries", "p50_ms", "p90_ms", "p99_ms", "max_ms", "bound_ms", "ratio", "uncertain_ms"):
            cells.append(number(getattr(row, column), *key, column))
        world = words(" (", Name(row.world), ")") if len(material.worlds) > 1 else ""
        rows.append(Row(cells, words(material.title(row.title), world)))
    return Table("regions", words("Latencies by regions"), columns, rows, folded=True)


# Disorder


def disorder(material: Material) -> Section:
    """Out-of-order rounds against loss and against distance."""
    lead = words(
        "How many rounds are out of order, and what makes it worse: datagrams that are lost and sent again come late,"
        " and the farther apart the peers, the more messages are on their way at once.",
    )  # fmt: skip
    named = {"out_of_order_percent": "rounds out of order, %"}
    loss = material.comparison.assign(loss_percent=material.comparison["loss"] * 100)
    far = material.comparison.assign(rtt_max_ms=_distances(material))
    parts = [
        *_trend(
            material, "disorder-loss", "Against loss", loss, "loss_percent", "loss of datagrams, %", named, ["loss"]
        ),
        *_trend(
            material, "disorder-distance", "Against distance", far, "rtt_max_ms", "longest round trip, ms", named, FAR
        ),
    ]
    if not parts:
        lacks = words(
            "One loss rate at one place says nothing of trends: ", Code("python -m experiments sweep demo"),
            " plays several.",
        )  # fmt: skip
        return Section("disorder", "Disorder", lead, lacks=lacks)
    return Section("disorder", "Disorder", lead, parts)


FAR = ["scenario", "planet", "regions", "places"]  # what may differ between places at different distances


def _distances(material: Material) -> list[float]:
    table = material.comparison
    return [material.distances.get(key, np.nan) for key in zip(table["world"], table["point"])]


def _trend(
    material: Material,
    name: str,
    heading: str,
    table: pd.DataFrame,
    x: str,
    x_named: str,
    measured: dict[str, str],
    may_differ: Sequence[str],
) -> Iterator[Chart]:
    """A measure against something else, all else being equal; nothing where nothing differs by it alone."""
    ((measure, y_named),) = measured.items()
    rest = ["world", *(column for column in summaries.OF_POINT if column not in {*may_differ, "scenario"})]
    table = table[table[measure].notna() & table[x].notna()]
    groups = table.groupby(rest, sort=False)[x].transform("nunique") if len(table) else pd.Series(dtype=int)
    table = table[groups > 1]
    if table.empty:
        return
    table = table.assign(setting=labels(table, rest), low=table[f"{measure}_low"], high=table[f"{measure}_high"])
    settings = few(table["setting"])
    choices = {"setting": settings} if len(settings) > 1 else {}
    columns = ["title", "world", "point", "setting", x, measure, "low", "high"]
    table = table.loc[table["setting"].isin(settings), columns].sort_values(["title", "setting", x], kind="stable")
    top = 100 if measure.endswith("percent") else None
    spec = material.charts.trends(table, x, measure, {x: x_named, measure: y_named}, choices, top=top)
    yield Chart(name, heading, words("Medians of the runs, with their intervals where there are any."), spec, choices)


def classroom(material: Material) -> Section:
    """What the classroom program would have counted."""
    lead = words(
        "How the program that this lab takes the place of counted rounds out of order, and what it did not see."
    )
    lacks = words(
        "It is known of runs without an order: ", Code("python -m experiments sweep classroom"), " plays them."
    )
    empty = Section(classroom_count.NAME, classroom_count.HEADING, lead, lacks=lacks)
    return classroom_count.section(material) or empty


# Cost


COSTS = {  # measure -> its chart's name, heading, unit
    "datagrams_per_delivery": ("cost-datagrams", "Datagrams", "datagrams a delivery"),
    "bytes_per_delivery": ("cost-bytes", "Bytes", "bytes a delivery"),
    "link_acks_per_delivery": ("cost-link-acks", "Acknowledgements of the link", "packets a delivery"),
    "ordering_acks_per_delivery": ("cost-ordering-acks", "Acknowledgements of the ordering", "packets a delivery"),
    "clock_bytes_per_delivery": ("cost-clock-bytes", "Clocks in messages", "bytes a delivery"),
    "resent_per_delivery": ("cost-resent", "Sent again", "packets a delivery"),
}


def cost(material: Material) -> Section:
    """What every delivery cost the network."""
    lead = words(
        "What was sent for each message delivered anywhere, handshakes and ends included. The link’s acknowledgements"
        " make it reliable; the ordering’s make everybody agree.",
    )  # fmt: skip
    table = material.comparison.assign(
        place=[material.labels[key] for key in zip(material.comparison["world"], material.comparison["point"])]
    )
    places = _farthest_first(material, table)
    table = table[table["place"].isin(places)]
    parts: list[Any] = []
    for measure, (name, heading, unit) in COSTS.items():
        counted = table[table[measure].notna()]
        if not counted[measure].any():
            continue
        choices = _there({"place": places}, counted) if len(places) > 1 else {}
        counted = counted.assign(low=counted[f"{measure}_low"], high=counted[f"{measure}_high"])
        counted = counted[["title", "world", "point", "place", measure, "low", "high"]]
        spec = material.charts.bars(counted, measure, {measure: unit}, choices)
        parts.append(Chart(name, heading, words("Per message delivered anywhere."), spec, choices))
    return Section("cost", "Cost", lead, [*parts, _cost_table(material)])


def _cost_table(material: Material) -> Table:
    told = {
        "datagrams_per_delivery": "datagrams", "packets_per_delivery": "packets", "bytes_per_delivery": "bytes",
        "link_acks_per_delivery": "link acks", "link_ack_bytes_per_delivery": "bytes of link acks",
        "ordering_acks_per_delivery": "ordering acks", "resent_per_delivery": "sent again",
        "clock_bytes_per_delivery": "clock bytes",
        "egress_gb_per_million": "GB between regions a million messages",
    }  # fmt: skip
    measures = [measure for measure in told if material.comparison[measure].notna().any()]
    rows = [
        Row(
            [material.title(row.title), *(material.measure(row, measure) for measure in measures)],
            _heading(material, row),
        )
        for row in material.comparison.head(MOST_ROWS).itertuples()
    ]
    return Table("cost", words("Cost per delivery"), ["ordering", *map(told.get, measures)], rows, folded=True)


# Bounds


def bound(material: Material) -> Section:
    """What was measured beside the least that the distances allow."""
    lead = words(
        "No delivery can be faster than the one-way delays of its run leave its ordering, at any load: that is its"
        " bound. A mark is all messages from one region to another; on the line, half of them were as fast as can be."
        " Where only one message is in the group at a time, the line is what a message takes that nothing holds up.",
    )  # fmt: skip
    table = summaries.against_bound(material.frames)
    table = table[table["least_ms"] > 0]
    if table.empty:
        lacks = words("No round trips are known between these peers: a run with ", Code("--planet"), " has them.")
        return Section("bound", "Against the bound", lead, lacks=material.all_was_warm_up or lacks)
    table = table.assign(place=[material.labels[key] for key in zip(table["world"], table["point"])])
    table["where"] = np.where(table["own"], "the sender itself", table["target"])
    places = _farthest_first(material, table)[:MOST_PLACES]
    table = pd.concat(
        [part.nlargest(MOST_MARKS, "least_ms") for _, part in table.groupby(["place", "title"], sort=False)]
    )
    table = table[table["place"].isin(places)]
    choices = {"place": places} if len(places) > 1 else {}
    columns = ["title", "world", "point", "place", "origin", "where", "least_ms", "p50_ms"]
    named = {"least_ms": "bound, ms", "p50_ms": "median latency, ms", "origin": "from", "where": "to"}
    spec = material.charts.against(table[columns], "least_ms", "p50_ms", named, choices)
    chart = Chart(
        "bound", "Every way between regions", words("The dashed line is the bound."), spec, choices, wide=True
    )
    return Section("bound", "Against the bound", lead, [*_ratios(material), chart])


MOST_MARKS = 60  # of one ordering at one place


def _ratios(material: Material) -> Iterator[Paragraph]:
    for title in material.titles:
        if says := _from_to(material, title, "bound_ratio", " times", " its bound in the median pair of peers"):
            yield Paragraph(words(material.title(title), " took ", says, "."))


# Scaling


def scaling(material: Material) -> Section:
    """What more peers do."""
    lead = words("What grows with the number of peers, and how fast.")
    parts: list[Any] = []
    for measure, name, heading, unit in (
        ("others_p50_ms", "scaling-latency", "Latency", "median at the others, ms"),
        ("datagrams_per_delivery", "scaling-datagrams", "Datagrams", "datagrams a delivery"),
        ("deliveries_per_s", "scaling-rate", "Throughput", "deliveries a second"),
        ("out_of_order_percent", "scaling-disorder", "Disorder", "rounds out of order, %"),
    ):
        may_differ = ["peers", "places", "scenario"]
        parts += _trend(material, name, heading, material.comparison, "peers", "peers", {measure: unit}, may_differ)
    if not parts:
        several = material.there["peers"].nunique() > 1
        why = "No two runs differ in how many peers they have alone: "
        if not several:
            why = "All runs that were played have equally many peers: "
        lacks = words(why, Code("python -m experiments sweep demo"), " plays several numbers of them.")
        return Section("scaling", "Scaling", lead, lacks=lacks)
    return Section("scaling", "Scaling", lead, parts)


# Blocked


def blocked(material: Material) -> Section:
    """On whom everybody waits."""
    lead = words(
        "A message is blocked when it has come, or could have, and still may not be delivered. As much of that as a"
        " message would wait that has the group to itself is due to the region whose word comes last; the rest is due"
        " to load and loss.",
    )  # fmt: skip
    table = material.blocked
    table = table[table["share"].notna()]
    if table.empty:
        lacks = words(
            "Nobody waited for anybody: orderings that wait, as in ", Code("--ordering lamport_all_ack"), ", do."
        )
        return Section("blocked", "Waiting", lead, lacks=material.all_was_warm_up or lacks)
    table = table.assign(share_percent=table["share"] * 100)
    choices = {"world": material.worlds} if len(material.worlds) > 1 else {}
    table = table.sort_values("region", key=lambda regions: regions == summaries.LOAD_AND_LOSS, kind="stable")
    columns = ["title", "world", "region", "blocked_s", "share_percent"]
    named = {"region": "waited for", "share_percent": "of the time blocked, %", "blocked_s": "blocked, s"}
    spec = material.charts.cells(table[columns], "region", "share_percent", named, _there(choices, table))
    about = words("The share of all time blocked in the runs of an ordering", _pooled(material), ", in percent.")
    chart = Chart("blocked", "For whom", about, spec, _there(choices, table), wide=True)
    return Section("blocked", "Waiting", lead, [chart])


# Violations


def violations(material: Material) -> Section:
    """For each kind of violation a diagram around its witness, and an even sample of windows."""
    lead = words(
        "Each line is one kind of violation in one ordering, broken promises first; what is not promised may break."
        " Open it to see one instance: lanes are peers, slanted lines are messages on their way.",
    )  # fmt: skip
    album = Album(DIAGRAM_BYTES)
    kinds = [_witness(material, album, place, *kind) for place, kind in enumerate(_kinds(material))]
    windows = [
        drawn for place, title in enumerate(material.titles) for drawn in _windows(material, album, place, title)
    ]
    parts: list[Any] = [Diagrams("Violations", kinds)] if kinds else []
    if not kinds:
        kind = "good" if _all_held(material.there).all() else ""
        parts.append(Paragraph(words("No property was violated, promised or not, in any run."), kind))
    if windows:
        parts.append(Diagrams("An even sample", windows))
    return Section("violations", "Violations", lead, parts)


def _kinds(material: Material) -> list[tuple[str, str, pd.DataFrame]]:
    """(ordering, property, its violations): broken promises first, then the orderings in their order."""
    table = material.frames.violations
    titles = dict(zip(material.runs["run"].astype(str), material.runs["title"]))
    table = table.assign(title=table["run"].astype(str).map(titles))
    groups = [(title, name, part) for (title, name), part in table.groupby(["title", "property"], sort=False)]
    return sorted(groups, key=lambda group: (not group[2]["promised"].any(), material.titles.index(group[0])))


class Album:
    """Draws diagrams as long as the page has room for them."""

    def __init__(self, room: int) -> None:
        self._room = room

    def picture(self, window: Callable[[], diagram.Window], title: str) -> str:
        """A window as SVG; empty where there is nothing to be drawn, or no room for it."""
        if self._room <= 0:
            return ""
        try:
            drawn = window()
        except SettingsError:  # the logs are not those that were judged
            return ""
        svg = diagram.svg(drawn, title)
        if len(svg) > self._room:
            return ""
        self._room -= len(svg)
        return svg


def _witness(material: Material, album: Album, place: int, title: str, name: str, part: pd.DataFrame) -> Drawn:
    first = part.iloc[0]
    run = str(first["run"])
    promised = bool(part["promised"].any())
    count = number(int(part["violations"].sum()), "violations", title, name, "violations")
    least = "at least " if part["at_least"].any() else ""
    runs = number(len(part), "violations", title, name, "runs")
    heading = words(
        material.title(title), ": ", Name(name), " violated ", least, count, " times in ", runs, " of ",
        runs_in_words(int((material.there["title"] == title).sum()), "runs", "of", title),
        words(", ", Mark("though promised", False)) if promised else ", not promised",
    )  # fmt: skip
    around = partial(diagram.around, material.frames.one(run), name)
    svg = album.picture(around, f"{title}: a violation of {name}")
    about = words("In the run ", Name(run), ": ", Said(first["sentence"]))
    command = Code(f"python -m analysis diagram {material.frames.path(run)} --around {name} --out diagram.html")
    return Drawn(f"violation-{place}", heading, about, svg, command, bad=promised)


def _windows(material: Material, album: Album, place: int, title: str) -> Iterator[Drawn]:
    """Short windows of the first run of an ordering in which anything happened, evenly spread."""
    runs = material.there.query("title == @title and delivered + multicast > 0")
    if runs.empty:
        return
    run = str(runs["run"].iloc[0])
    for at, window in enumerate(diagram.samples(material.frames.one(run), SAMPLES)):
        from_s, to_s = (f"{time_s:.3f}" for time_s in (window.from_s, window.to_s))
        svg = album.picture(lambda window=window: window, f"{title}, from {from_s} s on")
        heading = words(material.title(title), ": from ", Setting(from_s), " s to ", Setting(to_s), " s")
        stretch = f"--from {from_s} --to {to_s} --out diagram.html"
        command = Code(f"python -m analysis diagram {material.frames.path(run)} {stretch}")
        yield Drawn(f"window-{place}-{at}", heading, words("In the run ", Name(run), "."), svg, command)


# Side by side


def side_by_side(material: Material) -> Section:
    """The same ordering and scenario in two worlds."""
    lead = words("The same orderings and scenarios in two worlds, on one axis: how far the one predicts the other.")
    gaps = summaries.gap(material.frames)
    if gaps.empty:
        lacks = words(
            "Only one world is here, or no scenario in two: play one in another, as in ",
            Code("python -m experiments sim demo"), " and ", Code("python -m experiments local demo"),
            ", and name the folders of both.",
        )  # fmt: skip
        return Section("side-by-side", "Side by side", lead, lacks=lacks)
    gaps = gaps.assign(rank=gaps["title"].map(material.titles.index)).sort_values("rank", kind="stable")
    parts = [*_two_worlds(material), _gap_table(material, gaps)]
    return Section("side-by-side", "Side by side", lead, parts)


def _two_worlds(material: Material) -> Iterator[Chart]:
    """Distributions of the latency at the others, a dash for each world."""
    table = summaries.cdf(material.frames, ("world", "title", "point", "own"))
    table = _thinned(table[~table["own"]])
    table = table[table.groupby(["title", "point"], sort=False)["world"].transform("nunique") > 1]
    if table.empty:
        return
    table = table.sort_values("title", key=lambda titles: titles.map(material.titles.index), kind="stable")
    places = _places(material)
    several = table["point"].nunique() > 1
    table["scene"] = table["title"] + (": " + table["point"].map(places) if several else "")
    scenes = few(table["scene"])
    table = table.loc[table["scene"].isin(scenes), ["title", "world", "point", "scene", "percent", "latency_ms"]]
    named = {"latency_ms": "latency at the others, ms", "percent": "of deliveries, %", "world": "world"}
    choices = {"scene": scenes} if len(scenes) > 1 else {}
    spec = material.charts.distributions(table, "latency_ms", "percent", named, choices, worlds=True)
    about = words("Latency at the other peers where all settings are the same; a dash for each world.")
    yield Chart("side-by-side", "Distributions", about, spec, choices, wide=True)


def _places(material: Material) -> dict[str, str]:
    """What the points are called among each other."""
    points = material.comparison.drop_duplicates("point")
    return dict(zip(points["point"], labels(points, summaries.OF_POINT)))


GAPS = {
    "out_of_order_share": "out-of-order rounds, share", "inversion_share": "inverted pairs, share",
    "own_p50_ms": "own site: median, ms", "own_p99_ms": "own site: slowest hundredth, ms",
    "others_p50_ms": "others: median, ms", "others_p99_ms": "others: slowest hundredth, ms",
    "bound_ratio": "times the bound", "deliveries_per_s": "deliveries a second",
    "datagrams_per_delivery": "datagrams a delivery", "bytes_per_delivery": "bytes a delivery",
}  # fmt: skip


def _gap_table(material: Material, gaps: pd.DataFrame) -> Table:
    rows, places = [], _places(material)
    for row in gaps[gaps["measure"].isin(GAPS)].head(MOST_ROWS).itertuples():
        key = ("gap", row.title, row.point, row.measure, row.one_world, row.other_world)
        cells = [
            GAPS[row.measure],
            *(number(getattr(row, part), *key, part) for part in ("one", "other", "gap_percent")),
        ]
        heading = words(material.title(row.title), ", ", Setting(places[row.point]), ": ", Name(row.one_world),
                        " and then ", Name(row.other_world))  # fmt: skip
        rows.append(Row(cells, heading))
    return Table(
        "gap", words("The gap between two worlds"), ["measure", "one", "the other", "gap, %"], rows, folded=True
    )


# Settings


def settings(material: Material) -> Section:
    """What ran, with which seeds, by which program, and how to run it again."""
    lead = words("Every run can be repeated: the same seed gives the same chance, and in the simulator the same bytes.")
    documents = {run: material.document(run) for run in material.frames.names}
    commands = {run: str(document.get("command") or "") for run, document in documents.items()}
    distinct = [command for command in dict.fromkeys(commands.values()) if command]
    rows = []
    for row in material.runs.head(MOST_ROWS).itertuples():
        workload = (
            f"{row.workload}: {row.messages} x {row.size_bytes} B, every {row.gap_min_ms:g} to {row.gap_max_ms:g} ms"
        )
        cells = [
            Name(str(row.run)), material.title(row.title) if row.title else "", Setting(row.world),
            Setting(row.scenario),
            Setting(f"{row.peers} in {row.regions.replace(',', ', ')}"), Setting(workload), Setting(_network(row)),
            Setting(row.chance), Name((row.commit or "unknown")[:12]), _outcome(row),
            Code(commands[str(row.run)]) if commands[str(row.run)] else "not written down",
        ]  # fmt: skip
        rows.append(Row(cells))
    columns = [
        "run",
        "ordering",
        "world",
        "scenario",
        "peers",
        "workload",
        "network",
        "seed",
        "commit",
        "outcome",
        "command",
    ]
    caption = words("All runs: ", number(len(material.runs), "count", "runs"))
    parts: list[Any] = []
    if distinct:
        told = list(map(Code, distinct[:MOST_TOLD]))
        more = ", or what the table says of another one" if len(distinct) > MOST_TOLD else ""
        parts.append(Paragraph(words("To repeat a run: ", listed(told, ", " if more else " or "), more)))
    return Section("settings", "Settings and seeds", lead, [*parts, Table("runs", caption, columns, rows, folded=True)])


def _outcome(row: Any) -> Mark | Words:
    if row.outcome == "held" and row.promised_held < row.promised:
        return words("no promise broken")
    return Mark(row.outcome, row.outcome == "held")


def _network(row: Any) -> str:
    faults = {"loss": row.loss, "duplicates": row.duplicate, "reordering": row.reorder}
    told = [row.planet, *(f"{share * 100:g} % {what}" for what, share in faults.items() if share)]
    return ", ".join(told + ([f"jitter {row.jitter_ms:g} ms"] if row.jitter_ms else []))


# All of them


SECTIONS: Sequence[Callable[[Material], Section]] = (
    verdict, comparison, latency, disorder, classroom, cost, bound, scaling, blocked, violations, side_by_side,
    settings,
)  # fmt: skip


def sections(material: Material) -> list[Section]:
    """The page, from top to bottom; where no run was played, only why, and what was set."""
    shown = (verdict, settings) if material.there.empty else SECTIONS
    return [section(material) for section in shown]

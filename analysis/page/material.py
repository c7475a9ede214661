"""What the sections of a page draw from: the frames, the small tables they come to, and what everything is called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from analysis import summaries
from analysis.frames import Frames
from analysis.page import palette
from analysis.page.charts import Charts
from analysis.page.parts import Code, Interval, Name, Setting, Title, Words, number, words
from peer.core.guarantees import TOTAL
from peer.stacks import ORDERINGS

PERCENT = {"out_of_order_percent": "out_of_order_share", "inversion_percent": "inversion_share"}
MOST_CHOICES = 24  # that one chart offers


class Material:
    """All that a page tells of; what is worked out is worked out once."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._paired: dict[str, pd.DataFrame] = {}

    # Runs

    @cached_property
    def runs(self) -> pd.DataFrame:
        return self.frames.runs

    @cached_property
    def there(self) -> pd.DataFrame:
        """The runs of which there is more than a reason."""
        return self.runs[self.runs["outcome"] != "failed"]

    @cached_property
    def titles(self) -> list[str]:
        """The orderings, in the order of the table of orderings, then of their appearance."""
        known = list(ORDERINGS)
        found = dict.fromkeys(self.there["title"])
        ranks = {
            title: known.index(name) if (name := title.partition(":")[0]) in known else len(known) for title in found
        }
        return sorted(found, key=lambda title: ranks[title])

    @cached_property
    def worlds(self) -> list[str]:
        return list(dict.fromkeys(self.there["world"]))

    @cached_property
    def promises(self) -> dict[str, frozenset[str]]:
        """What each ordering promised in its first run."""
        first = self.there.drop_duplicates("title")
        return {row.title: self._promised(str(row.run)) for row in first.itertuples()}

    @cached_property
    def total(self) -> list[str]:
        """The orderings that promise everybody the same order."""
        return [title for title in self.titles if TOTAL in self.promises[title]]

    @cached_property
    def free(self) -> list[str]:
        """Those that do not."""
        return [title for title in self.titles if title not in self.total]

    def _promised(self, run: str) -> frozenset[str]:
        properties = self.frames.one(run).verdict.get("properties") or {}
        return frozenset(name for name, each in properties.items() if each["promised"])

    def document(self, run: str) -> dict[str, Any]:
        """What scenario.json tells of a run; nothing of one that failed."""
        path = self.frames.path(run) / "scenario.json"
        return json.loads(path.read_bytes()) if path.is_file() else {}

    @property
    def warm_up(self) -> Words:
        """What was left out of the latencies, where something was."""
        if not self.frames.warm_up_s:
            return words()
        before = Setting(f"{self.frames.warm_up_s:g} s")
        option = Code("--warm-up")
        return words("; latencies without what was asked for before ", before, ", which ", option, " left out")

    @property
    def all_was_warm_up(self) -> Words | None:
        """Why there is no latency, where nothing else is why."""
        if not self.frames.all_was_warm_up:
            return None
        before = Setting(f"{self.frames.warm_up_s:g} s")
        return words("All messages were asked for before ", before, ", which ", Code("--warm-up"), " left out.")

    # What everything is called, and how it looks

    @cached_property
    def charts(self) -> Charts:
        return Charts(palette.looks(self.titles))

    def title(self, title: str) -> Title:
        """An ordering, beside its colour."""
        return Title(title, palette.colour(title))

    @cached_property
    def labels(self) -> dict[tuple[str, str], str]:
        """(world, point) -> what tells it from the others on this page."""
        table = self.comparison.drop_duplicates(["world", "point"])
        return dict(zip(zip(table["world"], table["point"]), labels(table, ["world", *summaries.OF_POINT])))

    def place(self, world: str, point: str) -> Setting:
        """A world and a point in words."""
        return Setting(self.labels[world, point])

    # Tables

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """As summaries.comparison has it, in the order of the points, shares in percent too."""
        table = summaries.comparison(self.frames)
        for percent, share in PERCENT.items():
            for end in ("", "_low", "_high"):
                table[percent + end] = table[share + end] * 100
        first = {key: place for place, key in enumerate(dict.fromkeys(zip(table["world"], table["point"])))}
        table["_place"] = [first[key] for key in zip(table["world"], table["point"])]
        table["_title"] = table["title"].map(self.titles.index)
        return table.sort_values(["_place", "_title"], ignore_index=True)

    @cached_property
    def distances(self) -> dict[tuple[str, str], float]:
        """(world, point) -> the longest round trip between two peers, in the median of its runs."""
        table = self.there.assign(point=summaries.points(self.there))
        return table.groupby(["world", "point"], sort=False)["rtt_max_ms"].median().to_dict()

    @cached_property
    def regions(self) -> pd.DataFrame:
        return summaries.region_latencies(self.frames)

    @cached_property
    def blocked(self) -> pd.DataFrame:
        return summaries.blocked(self.frames)

    def paired(self, measure: str) -> pd.DataFrame:
        """As summaries.paired has it."""
        if measure not in self._paired:
            self._paired[measure] = summaries.paired(self.frames, measure)
        return self._paired[measure]

    def measure(self, row: Any, measure: str) -> Interval:
        """A measure of a row of the comparison, with its interval."""
        key = ("comparison", row.world, row.title, row.point, measure)
        low, high = (number(getattr(row, f"{measure}_{end}"), *key, end) for end in ("low", "high"))
        middle = number(getattr(row, measure), *key)
        return Interval(middle) if isinstance(low, Name) or isinstance(high, Name) else Interval(middle, low, high)

    def row(self, world: str, title: str, point: str) -> Any:
        """The row of the comparison for these; None where that ordering did not run there."""
        table = self.comparison
        found = table[(table["world"] == world) & (table["title"] == title) & (table["point"] == point)]
        return next(found.itertuples(), None)


def labels(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """For each row of a table what tells it from the others, in words; settings that are all alike are left out."""
    told = pd.DataFrame([_in_words(row) for row in table.to_dict("records")], index=table.index)
    where = [column for column in ("planet", "regions", "places", "peers") if column in columns]
    different = len(table[where].drop_duplicates())
    enough = [name for name in PLACES if len(told[[name, "peers"]].drop_duplicates()) >= different]
    told["place"] = told[enough[0]]
    wanted = [name for name in WORDS_OF if any(column in columns for column in WORDS_OF[name])]
    differ = [name for name in wanted if told[name].nunique() > 1] or [
        name for name in wanted if name in ("place", "peers")
    ]
    texts = [", ".join(filter(None, row)) for row in told[differ].itertuples(index=False, name=None)]
    return (
        texts if len(set(texts)) == len(set(told[wanted].itertuples(index=False, name=None))) else list(table["point"])
    )


PLACES = ("place", "regions", "every place")  # the shortest that tells places apart is told
WORDS_OF = {  # what labels are made of, the longest last, and the columns that each part tells of
    "world": ["world"],
    "peers": ["peers"],
    "workload": ["workload"],
    "messages": ["messages"],
    "gap": ["gap_min_ms", "gap_max_ms"],
    "size": ["size_bytes"],
    "loss": ["loss"],
    "duplicate": ["duplicate"],
    "reorder": ["reorder"],
    "jitter": ["jitter_ms"],
    "place": ["planet", "regions", "places"],
}


def _in_words(row: dict[str, Any]) -> dict[str, str]:
    regions = row["places"].split(",")
    among = list(dict.fromkeys(regions))
    counted = [f"{regions.count(region)} x {region}" for region in among]
    return {
        "world": row["world"],
        "place": row["planet"] if among == [row["planet"]] else f"{row['planet']}, {_many(len(among), 'region')}",
        "regions": row["planet"] if among == [row["planet"]] else f"{row['planet']}: {' + '.join(among)}",
        "every place": f"{row['planet']}: {' + '.join(counted)}",
        "peers": _many(row["peers"], "peer"),
        "workload": row["workload"],
        "messages": f"{row['messages']} messages each",
        "gap": f"every {row['gap_min_ms']:g} to {row['gap_max_ms']:g} ms",
        "size": f"{row['size_bytes']} bytes",
        "loss": f"{row['loss'] * 100:g} % loss",
        "duplicate": f"{row['duplicate'] * 100:g} % doubled",
        "reorder": f"{row['reorder'] * 100:g} % held back",
        "jitter": f"jitter {row['jitter_ms']:g} ms",
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def few(values: Iterable[str]) -> list[str]:
    """As many choices as a chart offers."""
    return list(dict.fromkeys(values))[:MOST_CHOICES]


def runs_in_words(count: int, *key: Any) -> Words:
    """How many runs."""
    return words(number(count, "count", *key), " run" if count == 1 else " runs")

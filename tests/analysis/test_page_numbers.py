"""Every number that the page prints or draws, worked out anew: from the CSV export alone, in plain Python.

Of the program only the names of things are taken (which point a run belongs to is a name). The delays between peers are
those of scenario.json. The bootstrap is done as analysis/statistics.py says it; numpy gives the dice and nothing else.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from functools import cache
from html.parser import HTMLParser
from itertools import combinations
from statistics import median

import numpy as np
import pytest

import analysis
from analysis import summaries
from analysis.__main__ import app
from analysis.page.page import page
from comparison_server import face
from comparison_server.run_folder import load_run as evidence_of
from comparison_server.verdict import judge
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain
from tests.comparison_server.plain_judge import Case, Peer, PlainJudge

NAMED = {"name", "setting"}  # classes of what may hold digits without counting anything
UNREAD = {"script", "style", "svg", "code", "q", "select", "title", "label", "abbr"}
OF_ANOTHER_TEST = {"classroom", "published", "recorded"}  # tests/analysis/test_page_classroom.py
COUNTED = {
    "datagrams_per_delivery": "datagrams_sent", "packets_per_delivery": "packets_sent",
    "bytes_per_delivery": "bytes_sent",
    "link_acks_per_delivery": "link_acks", "link_ack_bytes_per_delivery": "link_ack_bytes",
    "ordering_acks_per_delivery": "ordering_acks", "resent_per_delivery": "resent",
    "clock_bytes_per_delivery": "clock_bytes",
}  # fmt: skip


# Runs: three orderings at three points, a broken promise among them, and one scenario in a second world


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    orderings = "unordered,lamport_all_ack,fixed_sequencer"
    found = []
    for options in (
        *({"loss": 0.0, "seed": seed} for seed in range(1, 6)),
        {"loss": 0.1, "seed": 1}, {"loss": 0.1, "seed": 2}, {"loss": 0.0, "seed": 1, "peers": 4},
        {"loss": 0.0, "seed": 1, "planet": "lan"},
    ):  # fmt: skip
        runs = plain.played(tmp_path_factory.mktemp("runs"), "wan-3-sites", orderings, messages=8, **options)
        found += [run.folder for run in runs]
    for run in plain.played(tmp_path_factory.mktemp("local"), "wan-3-sites", orderings, messages=8, seed=9):
        plain.change(run.folder / "scenario.json", world="local")
        found.append(run.folder)
    _break_a_promise(next(folder for folder in found if "fixed_sequencer" in folder.name))
    return found


def _break_a_promise(folder):
    """Peer 1 has two messages the other way round."""
    rows = plain.delivered(folder, 1)
    rows[4], rows[5] = (*rows[5][:2], *rows[4][2:]), (*rows[4][:2], *rows[5][2:])
    header = read_header(folder / "trace-1.bin")[0]
    records = [(DELIVERED, sender, number, 1, stamp, time_s) for sender, number, time_s, stamp in rows]
    plain.write_trace(folder, 1, [(RELEASED, 0, 0, 0, 0, plain.zero(folder, 1)), *records], run=header["run"])
    verdict = json.loads((folder / "verdict.json").read_text())
    promised = [name for name, each in verdict["properties"].items() if each["promised"]]
    plain.change(folder / "verdict.json", **judge(evidence_of(folder), promised).as_dict() | {"variant": None})
    plain.change(folder / "verdict.json", ordering="fixed_sequencer", world="sim", messages_per_peer=8)


@pytest.fixture(scope="module")
def frames(folders):
    return analysis.load(*folders)


@pytest.fixture(scope="module")
def read(frames):
    return Reader(page(frames).decode())


@pytest.fixture(scope="module")
def lab(frames, folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("csv")
    assert face.run(app, ["export", *map(str, folders), "--to", "csv", "--frames", str(out)]) == 0
    return Lab(out, frames)


# The page


class Reader(HTMLParser):
    """The numbers of a page, the text beside them, and the data of its charts."""

    def __init__(self, text):
        super().__init__()
        self.numbers, self.charts, self.rest, self.said = [], {}, [], []
        self._path, self._script = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("meta", "link", "input", "br"):
            return
        self._path.append((tag, attrs))
        if tag == "data":
            self.numbers.append([tuple(json.loads(attrs["data-key"])), float(attrs["value"]), ""])

    def handle_endtag(self, tag):
        while self._path and self._path.pop()[0] != tag:
            pass

    def handle_data(self, text):
        tags = [tag for tag, _ in self._path]
        if "data" in tags:
            self.numbers[-1][2] += text
        elif tags[-1:] == ["script"] and self._path[-1][1].get("type") == "application/json":
            self.charts[self._path[-1][1]["id"].removeprefix("spec-")] = json.loads(text)
        elif tags[-1:] == ["q"]:
            self.said.append(text)
        elif not set(tags) & UNREAD and not any(
            NAMED & set((attrs.get("class") or "").split()) for _, attrs in self._path
        ):
            self.rest.append(text)


def test_no_digit_stands_outside_a_number(read):
    assert len(read.numbers) > 300
    wrong = [text for text in read.rest if any(each.isdigit() for each in text)]
    assert not wrong


def test_numbers_are_shown_as_they_are_but_rounded(read):
    for key, value, text in read.numbers:
        decimals = len(text.partition(".")[2])
        assert abs(float(text.replace(",", "")) - value) <= 0.5000001 * 10.0**-decimals, (key, value, text)
        assert text == f"{float(text.replace(',', '')):,.{decimals}f}", (key, text)
        digits = text.replace(",", "").replace(".", "").lstrip("0")
        assert value == 0 or len(digits) >= 3 or decimals == 4 or value == int(value), (key, value, text)


def test_every_number_is_right(read, lab):
    kinds = set()
    for key, value, _ in read.numbers:
        if key[0] not in OF_ANOTHER_TEST:
            kinds.add(key[0])
            assert value == pytest.approx(getattr(lab, f"of_{key[0]}")(*key[1:]), rel=2e-6, abs=1e-7), key
    assert kinds == {"comparison", "paired", "count", "regions", "gap", "violations", "promises"}


def test_every_chart_draws_what_is_so(read, lab):
    drawn = set(read.charts)
    assert {
        "latency-own", "latency-others", "latency-regions", "disorder-loss", "disorder-distance", "bound", "blocked",
        "scaling-latency", "scaling-datagrams", "side-by-side", "cost-datagrams", "cost-bytes",
    } <= drawn  # fmt: skip
    for name, spec in read.charts.items():
        rows = spec["data"]["values"]
        assert rows, name
        if name in OF_ANOTHER_TEST:
            continue
        for row in rows:
            numbers = {column: value for column, value in row.items() if isinstance(value, (int, float))}
            assert numbers
            for column, value in numbers.items():
                right = lab.of_chart(name, column, row)
                assert value == pytest.approx(right, rel=2e-5, abs=1e-5), (name, column, row)


def test_what_the_judge_says_is_so(read, lab):
    witnesses = [(row, json.loads(row["witness"])) for row in lab.tables["violations"]]
    assert {row["sentence"] for row, _ in witnesses} >= set(read.said) and read.said
    for row, witness in witnesses:
        for peer, positions in zip(witness["peers"], witness["positions"]):
            log = lab.runs[row["run"]].logs[int(peer)]
            for message, position in zip(witness["messages"], positions):
                held = (int(message["sender"]), int(message["number"]))
                assert held not in log if position is None else log[position] == held, row


# The lab, from its CSV files


class Lab:
    """What the tables come to."""

    def __init__(self, folder, frames):
        self.tables = {}
        for path in folder.iterdir():
            with open(path, newline="") as file:
                self.tables[path.stem] = list(csv.DictReader(file))
        points = dict(zip(frames.names, summaries.points(frames.runs)))
        rows = {name: defaultdict(list) for name in ("deliveries", "sends", "costs", "violations")}
        for name, by_run in rows.items():
            for row in self.tables[name]:
                by_run[row["run"]].append(row)
        self.runs = {
            row["run"]: OneRun(
                row, points[row["run"]], frames.path(row["run"]), *(each[row["run"]] for each in rows.values())
            )
            for row in self.tables["runs"]
        }

    def those(self, **settings):
        found = [
            run for run in self.runs.values() if all(getattr(run, name) == value for name, value in settings.items())
        ]
        assert found, settings
        return found

    # Numbers of the page, by the first word of their keys

    def of_comparison(self, world, title, point, measure, end="middle"):
        runs = self.those(world=world, title=title, point=point)
        if measure == "repeats":
            return len(runs)
        if measure == "complete":
            return sum(run.complete for run in runs)
        if measure == "promised_broken":
            return sum(any(row["promised"].lower() in ("true", "1") for row in run.violated) for run in runs)
        return with_interval(tuple(run.measure(measure) for run in runs))[end]

    def of_paired(self, measure, world, point, one, other, what):
        ones, others = ({run.chance: run.measure(measure) for run in self.those(world=world, title=title, point=point)}
                        for title in (one, other))  # fmt: skip
        apart = tuple(ones[chance] - others[chance] for chance in ones if chance in others)
        return with_interval(apart)[{"difference": "middle"}.get(what, what)]

    def of_count(self, what, *of):
        assert what == "runs" and of[:1] in ((), ("of",))
        return sum(not of or run.title in of[1:] for run in self.runs.values())

    def of_regions(self, world, title, origin, target, where, column):
        runs = self.those(world=world, title=title)
        values = [value for run in runs for value in run.between(origin, target, where == "own")]
        bounds = [bound for run in runs for bound in run.bounds_between(origin, target, where == "own")]
        told = {
            "deliveries": len(values), "bound_ms": median(bounds) * 1000, "uncertain_ms": 0.0,
            "max_ms": max(values) * 1000,
            **{f"p{share}_ms": plain.percentile(values, share / 100) * 1000 for share in (50, 90, 99)},
        }  # fmt: skip
        return told["p50_ms"] / told["bound_ms"] if column == "ratio" else told[column]

    def of_gap(self, title, point, measure, one_world, other_world, what):
        told = {}
        for name, world in (("one", one_world), ("other", other_world)):
            told[name] = median(run.measure(measure) for run in self.those(world=world, title=title, point=point))
        return told[what] if what in told else (told["other"] - told["one"]) / told["one"] * 100

    def of_violations(self, title, name, what):
        runs = [run for run in self.those(title=title) if run.breaks(name)]
        return len(runs) if what == "runs" else sum(run.breaks(name) for run in runs)

    def of_promises(self, title):
        folder = self.those(title=title)[0].folder
        return sum(
            each["promised"] for each in json.loads((folder / "verdict.json").read_text())["properties"].values()
        )

    # Charts

    def of_chart(self, name, column, row):
        if column == "percent":
            return row["percent"]  # a level: what is at it is to be right
        if name == "blocked":
            return self.of_blocked(row["world"], row["title"], row["region"])[column]
        if column == "latency_ms":
            return plain.percentile(self._latencies(name, row), row["percent"] / 100) * 1000
        runs = self.those(world=row["world"], title=row["title"], point=row["point"])
        if name == "bound":
            own, target = row["where"] == "the sender itself", row["where"]
            if own:
                target = row["origin"]
            if column == "least_ms":  # of a steady load that is the bound
                return median(each for run in runs for each in run.bounds_between(row["origin"], target, own)) * 1000
            return (
                plain.percentile([each for run in runs for each in run.between(row["origin"], target, own)], 0.5) * 1000
            )
        if column == "loss_percent":
            return float(runs[0].settings["loss"]) * 100
        if column == "peers":
            return len(runs[0].logs)
        if column == "rtt_max_ms":
            delays = runs[0].delays_s
            return (
                max(delays[a][b] + delays[b][a] for a in range(len(delays)) for b in range(len(delays)) if a != b)
                * 1000
            )
        measure = next(each for each in row if each not in IDENTITY)
        return self.of_comparison(
            row["world"], row["title"], row["point"], measure, column if column in ENDS else "middle"
        )

    def _latencies(self, name, row):
        if name.startswith("latency-own") or name == "latency-others":
            runs = self.those(world=row["world"], title=row["title"], point=row["point"])
            return [value for run in runs for value in (run.own_s if name == "latency-own" else run.others_s)]
        if name == "latency-regions":
            runs = self.those(world=row["world"], title=row["title"])
            return [value for run in runs for value in run.between(row["origin"], row["target"], False)]
        assert name == "side-by-side"
        runs = [run for run in self.those(world=row["world"], title=row["title"]) if run.point == row["point"]]
        return [value for run in runs for value in run.others_s]

    @cache
    def of_blocked(self, world, title, region):
        waited = defaultdict(float)
        for run in self.those(world=world, title=title):
            for where, seconds in run.waited().items():
                waited[where] += seconds
        return {"blocked_s": waited[region], "share_percent": waited[region] / sum(waited.values()) * 100}


ENDS = ("low", "high")
IDENTITY = {"title", "world", "point", "place", "setting", "low", "high", "loss_percent", "rtt_max_ms", "peers"}


class OneRun:
    """What the logs of a run come to."""

    def __init__(self, settings, point, folder, deliveries, sends, costs, violated):
        self.settings, self.point, self.folder, self.costs, self.violated = settings, point, folder, costs, violated
        self.title, self.world, self.chance = settings["title"], settings["world"], settings["chance"]
        self.scenario, self.places = settings["scenario"], settings["places"]
        self.regions = self.places.split(",")
        peers = range(len(self.regions))
        released = {int(row["peer"]): float(row["released_s"]) for row in costs}
        self.delays_s = json.loads((folder / "scenario.json").read_text())["settings"]["delays_s"]
        self.logs = [
            [(int(row["sender"]), int(row["number"])) for row in deliveries if int(row["peer"]) == p] for p in peers
        ]
        self.sends = [
            [(int(row["number"]), int(row["after"])) for row in sends if int(row["peer"]) == p] for p in peers
        ]
        self.asked = {
            (int(row["peer"]), int(row["number"])): float(row["due_s"]) + released[int(row["peer"])] for row in sends
        }
        self.times = [
            [float(row["time_s"]) + released[p] for row in deliveries if int(row["peer"]) == p] for p in peers
        ]
        self.latencies = [
            (message[0], p, time_s - self.asked[message])
            for p in peers
            for message, time_s in zip(self.logs[p], self.times[p])
        ]
        self.own_s = [value for sender, receiver, value in self.latencies if sender == receiver]
        self.others_s = [value for sender, receiver, value in self.latencies if sender != receiver]
        self.judge = PlainJudge(Case([Peer(log, sent) for log, sent in zip(self.logs, self.sends)]))

    @property
    def complete(self):
        return all(set(log) == set(self.asked) for log in self.logs)

    @cache
    def measure(self, name):
        if name in COUNTED:
            amounts = [row[COUNTED[name]] for row in self.costs]
            return sum(map(int, amounts)) / sum(map(len, self.logs))
        return {
            "out_of_order_percent": lambda: 100 * self.out_of_order() / max(map(len, self.logs)),
            "out_of_order_share": lambda: self.out_of_order() / max(map(len, self.logs)),
            "inversion_percent": lambda: 100 * self.inversion_share(),
            "inversion_share": self.inversion_share,
            "own_p50_ms": lambda: plain.percentile(self.own_s, 0.5) * 1000,
            "own_p99_ms": lambda: plain.percentile(self.own_s, 0.99) * 1000,
            "others_p50_ms": lambda: plain.percentile(self.others_s, 0.5) * 1000,
            "others_p99_ms": lambda: plain.percentile(self.others_s, 0.99) * 1000,
            "bound_ratio": self.bound_ratio,
            "deliveries_per_s": self.rate,
            "egress_gb_per_million": lambda: (
                sum(int(row["egress_bytes"]) for row in self.costs) / len(self.asked) / 1000
            ),
        }[name]()

    def out_of_order(self):
        longest = max(map(len, self.logs))
        return sum(len({log[j] if j < len(log) else None for log in self.logs}) > 1 for j in range(longest))

    def inversion_share(self):
        """Every log holds every message once."""
        count = len(self.logs[0])
        return self.judge.inversions() / (len(list(combinations(self.logs, 2))) * count * (count - 1) / 2)

    def bound_s(self, sender, receiver):
        """What the delays leave of the ordering."""
        delays, through = self.delays_s, range(len(self.delays_s))
        return {
            "unordered": delays[sender][receiver],
            "lamport_all_ack": max(delays[sender][member] + delays[member][receiver] for member in through),
            "fixed_sequencer": delays[sender][0] + delays[0][receiver],
        }[self.title]

    def waits_for(self, sender, receiver):
        """The member through which the bound goes; None: it does not wait."""
        delays = self.delays_s
        if self.title == "lamport_all_ack":
            return max(range(len(delays)), key=lambda member: delays[sender][member] + delays[member][receiver])
        return 0 if self.title == "fixed_sequencer" else None

    def waited(self):
        """By region, and to load and loss, what deliveries were later than the one way from their senders."""
        waited = defaultdict(float)
        for sender, receiver, latency_s in self.latencies:
            blocked_s = max(0.0, latency_s - self.delays_s[sender][receiver])
            explained_s, member = 0.0, self.waits_for(sender, receiver)
            if member is not None:
                one_way_s = latency_s - blocked_s
                explained_s = max(0.0, min(latency_s, self.bound_s(sender, receiver)) - one_way_s)
                waited[self.regions[member]] += explained_s
            waited["load and loss"] += blocked_s - explained_s
        return waited

    def pair(self, sender, receiver):
        return [value for a, b, value in self.latencies if (a, b) == (sender, receiver)]

    def bound_ratio(self):
        peers = range(len(self.logs))
        pairs = [(a, b) for a in peers for b in peers if self.bound_s(a, b) > 0]
        return median(median(self.pair(a, b)) / self.bound_s(a, b) for a, b in pairs)

    def between(self, origin, target, own):
        return [
            value for sender, receiver, value in self.latencies
            if (self.regions[sender], self.regions[receiver]) == (origin, target) and (sender == receiver) == own
        ]  # fmt: skip

    def bounds_between(self, origin, target, own):
        peers = range(len(self.logs))
        return [
            self.bound_s(a, b) for a in peers for b in peers
            if (self.regions[a], self.regions[b]) == (origin, target) and (a == b) == own
        ]  # fmt: skip

    def rate(self):
        """Of the slowest peer, from the first thing that it did to its last delivery."""
        rates = []
        for p, times in enumerate(self.times):
            first = min([*times, *(time_s for (sender, _), time_s in self.asked.items() if sender == p)])
            rates.append(len(times) / (max(times) - first))
        return min(rates)

    def breaks(self, name):
        """How often a property does not hold."""
        if name in (
            "total",
            "uniform_total",
        ):  # told are neighbours in one log that stand the other way round in another
            logs = sorted(self.logs, key=self.logs.index)  # logs that are alike are told in the direction of the first
            pairs = combinations(logs, 2)
            return sum(other.index(a) > other.index(b) for one, other in pairs for a, b in zip(one, one[1:]))
        return len(getattr(self.judge, name)() or [])


@cache
def resamples(count):
    return np.random.default_rng(20_200_605).integers(count, size=(2000, count)).tolist()


@cache
def with_interval(values):
    """The median, and of five values or more the middle 95 % of the medians of 2,000 resamples."""
    told = {"middle": median(values)}
    if len(values) >= 5:
        medians = [median(values[at] for at in which) for which in resamples(len(values))]
        told |= {"low": plain.percentile(medians, 0.025), "high": plain.percentile(medians, 0.975)}
    return told

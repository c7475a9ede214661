"""Summaries of many runs: every figure against plain sums over logs and documents."""

import json
import shutil
from statistics import median

import pandas as pd
import pytest

import analysis
from analysis import summaries
from peer.core.errors import SettingsError
from tests.analysis import plain

REPEATS = 5
TITLES = ["unordered", "fixed_sequencer"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two orderings over two rates of loss, with the same three seeds: (title, loss, seed) -> folder."""
    out = tmp_path_factory.mktemp("grid")
    found = {}
    for loss in (0.0, 0.2):
        for seed in range(REPEATS):
            folder = out / f"{loss}-{seed}"
            for run in plain.played(folder, "wan-3-sites", ",".join(TITLES), peers=4, messages=6, loss=loss, seed=seed):
                found[run.planned.title, loss, seed] = run.folder
    return found


@pytest.fixture(scope="module")
def lab(runs):
    return analysis.load(*runs.values())


def document(folder, name):
    return json.loads((folder / name).read_text())


def per_delivery(folder, what):
    counted = document(folder, "measures.json")["peers"].values()
    return sum(peer[what] for peer in counted) / sum(len(plain.delivered(folder, peer)) for peer in range(4))


def of(folder, own):
    found = plain.latencies(folder, 4)
    return [latency * 1000 for (a, b), each in found.items() if (a == b) is own for latency in each]


BY_HAND = {
    "out_of_order_rounds": lambda folder: document(folder, "verdict.json")["out_of_order_rounds"],
    "out_of_order_share": lambda folder: document(folder, "verdict.json")["out_of_order_rounds"] / 24,
    "own_p50_ms": lambda folder: plain.percentile(of(folder, True), 0.5),
    "own_p99_ms": lambda folder: plain.percentile(of(folder, True), 0.99),
    "others_p50_ms": lambda folder: plain.percentile(of(folder, False), 0.5),
    "others_p99_ms": lambda folder: plain.percentile(of(folder, False), 0.99),
    "datagrams_per_delivery": lambda folder: per_delivery(folder, "datagrams_sent"),
    "packets_per_delivery": lambda folder: per_delivery(folder, "packets_sent"),
    "bytes_per_delivery": lambda folder: per_delivery(folder, "bytes_sent"),
    "link_acks_per_delivery": lambda folder: per_delivery(folder, "link_acks"),
    "link_ack_bytes_per_delivery": lambda folder: per_delivery(folder, "link_ack_bytes"),
    "ordering_acks_per_delivery": lambda folder: per_delivery(folder, "ordering_acks"),
    "resent_per_delivery": lambda folder: per_delivery(folder, "resent"),
    "clock_bytes_per_delivery": lambda folder: per_delivery(folder, "clock_bytes"),
}


def test_the_comparison_is_of_medians_over_repetitions(lab, runs):
    table = summaries.comparison(lab)
    assert len(table) == 4 and set(table["repeats"]) == {REPEATS} and set(table["world"]) == {"sim"}
    assert table["point"].nunique() == 2
    for row in table.itertuples():
        folders = [runs[row.title, row.loss, seed] for seed in range(REPEATS)]
        for measure, by_hand in BY_HAND.items():
            values = [by_hand(folder) for folder in folders]
            assert getattr(row, measure) == pytest.approx(median(values)), (row.title, measure)
            low, high = getattr(row, f"{measure}_low"), getattr(row, f"{measure}_high")
            assert min(values) - 1e-9 <= low <= median(values) + 1e-9
            assert median(values) - 1e-9 <= high <= max(values) + 1e-9
        assert row.complete == REPEATS and row.promised_broken == 0
    unordered, ordered = (table[table["title"] == title] for title in TITLES)
    assert (ordered["out_of_order_share"] == 0).all() and (unordered["out_of_order_share"] > 0.5).all()
    assert (ordered["inversion_share"] == 0).all() and (unordered["inversion_share"] > 0).all()


def test_every_measure_is_there(lab):
    table = summaries.comparison(lab)
    for measure in summaries.MEASURES:
        assert table[measure].notna().all(), measure
    assert set(summaries.MEASURES) >= set(BY_HAND)


def test_egress_of_a_million_messages(lab, runs):
    table = summaries.measured(lab).set_index("run")
    for folder, name in zip(runs.values(), lab.names):
        counted = document(folder, "measures.json")["peers"]
        places = document(folder, "scenario.json")["settings"]["regions"]
        sent = sum(
            counted[f"p{a}"]["bytes_to"][b] + 28 * counted[f"p{a}"]["datagrams_to"][b]
            for a in range(4)
            for b in range(4)
            if places[a] != places[b]
        )
        assert table.loc[name, "egress_gb_per_million"] == pytest.approx(sent / 24 * 1e6 / 1e9)
    priced = summaries.egress_price(lab, 0.09)
    assert (priced["price_per_million"] == priced["egress_gb_per_million"] * 0.09).all()


def test_pairs_share_their_chance(lab, runs):
    table = summaries.paired(lab, "others_p50_ms")
    assert len(table) == 2 and set(table["pairs"]) == {REPEATS}
    point_of = summaries.comparison(lab).set_index("point")["loss"].to_dict()
    for row in table.itertuples():
        loss = point_of[row.point]
        apart = [
            BY_HAND["others_p50_ms"](runs[row.one, loss, seed]) - BY_HAND["others_p50_ms"](runs[row.other, loss, seed])
            for seed in range(REPEATS)
        ]
        assert row.difference == pytest.approx(median(apart))
        assert row.low >= min(apart) - 1e-9 and row.high <= max(apart) + 1e-9
        assert row.lower == pytest.approx(sum(each < 0 for each in apart) / REPEATS)
    with pytest.raises(SettingsError, match="no measure 'speed'; there are out_of_order_share"):
        summaries.paired(lab, "speed")


def test_what_has_no_partner_is_in_no_pair(runs):
    kept = [folder for (title, _, seed), folder in runs.items() if (title, seed) != ("unordered", 1)]
    table = summaries.paired(analysis.load(*kept), "own_p50_ms")
    assert set(table["pairs"]) == {REPEATS - 1}
    assert table["difference"].notna().all() and table[["low", "high"]].isna().all(axis=None)  # four are too few


def test_distributions(lab, runs):
    table = summaries.cdf(lab)
    for title in TITLES:
        for own in (True, False):
            values = [v for (t, _, _), folder in runs.items() if t == title for v in of(folder, own)]
            mine = table[(table["title"] == title) & (table["own"] == own)]
            assert mine["level"].tolist() == pytest.approx([level / 100 for level in range(101)])
            for row in mine.itertuples():
                assert row.latency_ms == pytest.approx(plain.percentile(values, row.level), abs=1e-6)
    by_pair = summaries.cdf(lab, ("run", "sender", "receiver"))
    assert len(by_pair) == len(runs) * 16 * 101


def test_latencies_by_regions(lab, runs):
    table = summaries.region_latencies(lab)
    folder = next(iter(runs.values()))
    places = document(folder, "scenario.json")["settings"]["regions"]
    assert len(set(places)) == 3 and places[0] == places[3]  # two share a region
    for row in table.itertuples():
        values = [
            latency * 1000
            for (title, _, _), each in runs.items()
            if title == row.title
            for (a, b), latencies in plain.latencies(each, 4).items()
            if (places[a], places[b], a == b) == (row.origin, row.target, row.own)
            for latency in latencies
        ]
        assert row.deliveries == len(values) > 0
        for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("max_ms", 1.0)):
            assert getattr(row, name) == pytest.approx(plain.percentile(values, share), abs=1e-6)
        assert row.uncertain_ms == 0
        if row.bound_ms > 0:
            assert row.ratio == pytest.approx(row.p50_ms / row.bound_ms) and row.ratio >= 1 - 1e-6
    assert len(table) == 2 * (3 + 6 + 1)  # at itself, across, and the two of one region


def test_measured_against_bound(lab, runs):
    table = summaries.against_bound(lab)
    assert len(table) == 2 * 2 * 10 and (table["p50_ms"] >= table["bound_ms"] - 1e-3).all()
    calm = table[~table["point"].str.contains("loss")]
    ordered = calm[calm["title"] == "fixed_sequencer"]
    assert (ordered["alone_ms"] >= ordered["bound_ms"] - 1e-9).all()
    far = ordered[(ordered["origin"] == "us-east-1") & (ordered["target"] == "eu-west-1")]
    delays = document(next(iter(runs.values())), "scenario.json")["settings"]["delays_s"]
    through = [(delays[a][0] + delays[0][b]) * 1000 for a in (0, 3) for b in (1,)]
    assert far["bound_ms"].item() == pytest.approx(median(through), rel=1e-6)


def test_on_whom_everybody_waited(lab, runs):
    table = summaries.blocked(lab)
    for _, part in table.groupby("title"):
        assert part["share"].sum() == pytest.approx(1)
    whole = {title: part["blocked_s"].sum() for title, part in table.groupby("title")}
    by_hand = dict.fromkeys(TITLES, 0.0)
    for (title, _, _), folder in runs.items():
        delays = document(folder, "scenario.json")["settings"]["delays_s"]
        for (a, b), each in plain.latencies(folder, 4).items():
            by_hand[title] += sum(max(0.0, latency - delays[a][b]) for latency in each)
    assert whole == pytest.approx(by_hand, rel=1e-4)
    unordered = table[table["title"] == "unordered"]
    assert unordered["region"].tolist() == [summaries.LOAD_AND_LOSS]  # nobody's word is waited for
    ordered = table[table["title"] == "fixed_sequencer"].set_index("region")["share"]
    assert set(ordered.index) == {"us-east-1", summaries.LOAD_AND_LOSS}  # the sequencer's


@pytest.fixture
def two_worlds(runs, tmp_path):
    """The same scenario in two worlds, in the second of which everything takes its time twice."""
    folders = [folder for (_, loss, _), folder in runs.items() if loss == 0.0]
    other = []
    for number, folder in enumerate(folders):
        copy = shutil.copytree(folder, tmp_path / str(number))
        plain.change(copy / "scenario.json", world="local")
        other.append(copy)
    return analysis.load(*folders, *other)


def test_the_gap_between_two_worlds(two_worlds, tmp_path):
    table = summaries.gap(two_worlds)
    assert set(table["one_world"]) == {"sim"} and set(table["other_world"]) == {"local"}
    assert set(table["title"]) == set(TITLES) and (table["gap_percent"].dropna() == 0).all()
    assert {"others_p5_ms", "others_p50_ms", "own_p90_ms", "bytes_per_delivery"} <= set(table["measure"])
    for folder in tmp_path.iterdir():
        peers = document(folder, "measures.json")["peers"]
        more = {name: counted | {"bytes_sent": counted["bytes_sent"] * 3} for name, counted in peers.items()}
        plain.change(folder / "measures.json", peers=more)
    again = analysis.load(*(two_worlds.path(name) for name in two_worlds.names))
    table = summaries.gap(again).set_index(["title", "measure"])
    assert table.loc[("unordered", "bytes_per_delivery"), "gap_percent"] == pytest.approx(200)
    assert table.loc[("unordered", "packets_per_delivery"), "gap_percent"] == 0
    assert pd.isna(table.loc[("fixed_sequencer", "out_of_order_share"), "gap_percent"])  # 0 in both


def test_one_world_has_no_gap(lab):
    assert len(summaries.gap(lab)) == 0 and "gap_percent" in summaries.gap(lab)


def test_points_are_told_apart_by_what_was_set(runs):
    lab = analysis.load(*list(runs.values())[:2])
    one = lab.runs.iloc[:1]
    name = summaries.points(one)[0]
    for column, value in (("loss", 0.3), ("peers", 9), ("planet", "gcp"), ("size_bytes", 9), ("gap_max_ms", 77.0),
                          ("places", "a,b,c,c"), ("messages", 7), ("jitter_ms", 1.0), ("reorder", 0.5)):  # fmt: skip
        assert summaries.points(one.assign(**{column: value}))[0] != name, column
    for column, value in (("title", "x"), ("world", "local"), ("chance", "77"), ("repeat", 3)):
        assert summaries.points(one.assign(**{column: value}))[0] == name, column

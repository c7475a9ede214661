"""What tables add up to: against sums in plain Python, and in small cases worked out by hand."""

import json

import numpy as np
import pytest

from analysis import measures
from analysis.floors import bound, expected
from analysis.run import load_run
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain


def test_latencies_of_every_pair(lossy):
    for title, folder in lossy.items():
        expected = plain.latencies(folder, 3)
        table = measures.pair_latencies(load_run(folder))
        assert {(row.sender, row.receiver) for row in table.itertuples()} == set(expected), title
        for row in table.itertuples():
            values = expected[row.sender, row.receiver]
            assert row.deliveries == len(values) == 25
            summed_up = (row.min_s, row.mean_s, row.p50_s, row.p99_s, row.max_s)
            percentiles = (plain.percentile(values, 0.5), plain.percentile(values, 0.99))
            by_hand = (min(values), sum(values) / 25, *percentiles, max(values))
            assert summed_up == pytest.approx(by_hand, abs=1e-12), (title, row)


def test_floors_are_those_of_the_ordering_that_ran(lossy):
    for title, folder in lossy.items():
        run = load_run(folder)
        delays = json.loads((folder / "scenario.json").read_text())["settings"]["delays_s"]
        ordering, _, variant = title.partition(":")
        floor = bound(ordering, variant or None, delays)
        assert (measures.floor_s(run) == floor).all()
        assert (measures.alone_s(run) == expected(ordering, variant or None, delays)).all()
        for row in measures.pair_latencies(run).itertuples():
            assert row.floor_s == pytest.approx(floor[row.sender, row.receiver], abs=1e-12)


def test_floors_are_those_of_the_place_that_was_chosen(tmp_path):
    (run,) = plain.played(tmp_path, "wan-3-sites", "fixed_sequencer", "ordering_options.sequencer=2", messages=1)
    delays = json.loads((run.folder / "scenario.json").read_text())["settings"]["delays_s"]
    floor = bound("fixed_sequencer", None, delays, {"sequencer": 2})
    assert (measures.floor_s(load_run(run.folder)) == floor).all() and floor[0, 1] == delays[0][2] + delays[2][1]


def shifted(folder, seconds):
    """The clock of each peer begins elsewhere, and each was released a little later than the one before."""
    for peer, zero in enumerate(seconds):
        run = read_header(folder / f"trace-{peer}.bin")[0]["run"]
        later = peer * 0.0625
        records = [(RELEASED, 0, 0, 0, 0, zero + later)]
        records += [
            (DELIVERED, sender, number, 1, stamp, time_s - later)
            for sender, number, time_s, stamp in plain.delivered(folder, peer)
        ]
        sends = [(number, 1, after, time_s - later) for number, time_s, after in plain.multicast(folder, peer)]
        plain.write_trace(folder, peer, records, run=run)
        plain.write_sends(folder, peer, sends, run=run)


def test_the_moments_of_release_line_clocks_up(copied, lossy):
    before = measures.pair_latencies(load_run(lossy["fifo"]))
    shifted(copied, [500.0] * 3)
    after = measures.pair_latencies(load_run(copied))
    assert after["p50_s"].to_numpy() == pytest.approx(before["p50_s"].to_numpy(), abs=1e-9)
    assert after["max_s"].to_numpy() == pytest.approx(before["max_s"].to_numpy(), abs=1e-9)


def test_on_clocks_of_their_own_only_own_deliveries_are_timed(copied, lossy):
    shifted(copied, [5.0, 7000.0, 0.0])
    plain.change(copied / "scenario.json", clock="own")
    table = measures.pair_latencies(load_run(copied))
    expected = plain.latencies(lossy["fifo"], 3)
    assert table[["sender", "receiver"]].values.tolist() == [[0, 0], [1, 1], [2, 2]]
    for row in table.itertuples():
        assert row.max_s == pytest.approx(max(expected[row.sender, row.receiver]), abs=1e-9)


def test_repeats_and_what_nobody_recorded(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    again = [(DELIVERED, 0, 0, 1, 1, 1.5), (DELIVERED, 0, 0, 1, 1, 9.0), (DELIVERED, 0, 7, 1, 1, 9.5)]
    plain.write_trace(copied, 0, [(RELEASED, 0, 0, 0, 0, 3.0), *again], run=run)
    plain.write_sends(copied, 0, [(0, 1, 0, 1.0), (8, 1, 0, 2.0)], run=run)
    table = measures.pair_latencies(load_run(copied))
    own = table[(table["sender"] == 0) & (table["receiver"] == 0)]
    assert own["deliveries"].tolist() == [1] and own["max_s"].tolist() == [0.5]


def test_who_was_never_released_has_no_latencies(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    plain.write_trace(copied, 0, [(DELIVERED, 1, 0, 1, 1, 0.5)], run=run)
    pairs = measures.pair_latencies(load_run(copied))[["sender", "receiver"]].values.tolist()
    assert pairs == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_delays_of_a_real_network_are_half_of_what_was_measured(copied):
    settings = json.loads((copied / "scenario.json").read_text())["settings"]
    plain.change(copied / "scenario.json", settings=settings | {"delays_s": None})
    peers = json.loads((copied / "measures.json").read_text())["peers"]
    for number, name in enumerate(("p0", "p1", "p2")):
        trips = {"before": None, "during": {"count": 3, "least_s": 0.1, "p50_s": 0.25 * (1 + number)}, "after": None}
        peers[name]["round_trips"] = [trips] * 3
    plain.change(copied / "measures.json", peers=peers)
    delays = [[0, 0.125, 0.125], [0.25, 0, 0.25], [0.375, 0.375, 0]]
    assert measures.delays_s(load_run(copied)).tolist() == delays
    nothing = dict.fromkeys(("before", "during", "after"))
    peers["p1"]["round_trips"] = [nothing] * 3
    plain.change(copied / "measures.json", peers=peers)
    delays = [[0, 0.125, 0.125], [0.125, 0, 0.375], [0.375, 0.375, 0]]  # what the others measured to it counts
    assert measures.delays_s(load_run(copied)).tolist() == delays
    peers["p2"]["round_trips"] = [nothing] * 3
    plain.change(copied / "measures.json", peers=peers)
    assert measures.delays_s(load_run(copied)) is None and measures.floor_s(load_run(copied)) is None
    assert measures.pair_latencies(load_run(copied))["floor_s"].isna().all()


def test_floors_are_not_known_of_other_networks_and_orderings(copied):
    settings = json.loads((copied / "scenario.json").read_text())["settings"]
    for path, name in (("overlay", "sparse_mesh"), ("ordering", "paxos")):
        stack = settings["stack"] | {path: {"name": name, "options": {}}}
        plain.change(copied / "scenario.json", settings=settings | {"stack": stack})
        assert measures.floor_s(load_run(copied)) is None


def test_logs_that_are_not_what_was_multicast(copied, lossy):
    for folder in lossy.values():
        rows = [[peer, 75, 0, 0, 0] for peer in range(3)]
        assert measures.logs(load_run(folder)).values.tolist() == rows
    run = read_header(copied / "trace-0.bin")[0]["run"]
    rows = [row for row in plain.delivered(copied, 1) if row[:2] not in [(0, 3), (2, 24)]]
    rows += [rows[0], rows[0], rows[7], (0, 25, 9.0, 1), (9, 0, 9.0, 1), (9, 0, 9.0, 1)]
    records = [(DELIVERED, sender, number, 1, stamp, time_s) for sender, number, time_s, stamp in rows]
    plain.write_trace(copied, 1, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    expected = [[0, 75, 0, 0, 0], [1, 79, 2, 4, 2], [2, 75, 0, 0, 0]]
    assert measures.logs(load_run(copied)).values.tolist() == expected


def test_cost(lossy):
    for folder in lossy.values():
        run = load_run(folder)
        counted = json.loads((folder / "measures.json").read_text())["peers"].values()
        for what in ("datagrams_sent", "packets_sent", "bytes_sent", "resent"):
            each = sum(of_peer[what] for of_peer in counted) / (3 * 75)
            assert measures.cost(run)[f"{what}_per_delivery"] == pytest.approx(each)
        assert measures.cost(run)["resent_per_delivery"] > 0


def test_cost_is_that_of_what_was_delivered_not_of_what_should_have_been(copied, lossy):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    plain.write_trace(copied, 0, [(RELEASED, 0, 0, 0, 0, 3.0)], run=run)
    full, less = (measures.cost(load_run(folder))["bytes_sent_per_delivery"] for folder in (lossy["fifo"], copied))
    assert less == pytest.approx(full * 1.5)


def test_cost_is_unknown_where_somebody_did_not_count(copied):
    peers = json.loads((copied / "measures.json").read_text())["peers"]
    del peers["p1"]["bytes_sent"]
    plain.change(copied / "measures.json", peers=peers)
    costs = measures.cost(load_run(copied))
    assert costs["bytes_sent_per_delivery"] is None and costs["packets_sent_per_delivery"] > 0


def test_throughput(lossy):
    folder = lossy["lamport_all_ack:explicit"]
    for row in measures.throughput(load_run(folder)).itertuples():
        times = [time_s for _, _, time_s, _ in plain.delivered(folder, row.peer)]
        first = min(times + [time_s for _, time_s, _ in plain.multicast(folder, row.peer)])
        assert row.deliveries == 75 and row.took_s == pytest.approx(max(times) - first)
        assert row.deliveries_per_s == pytest.approx(75 / (max(times) - first))


def test_throughput_of_nothing_and_of_a_moment(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    plain.write_trace(copied, 0, [], run=run)
    plain.write_trace(copied, 1, [(RELEASED, 0, 0, 0, 0, 3.0), (DELIVERED, 1, 0, 1, 1, 0.5)], run=run)
    plain.write_sends(copied, 1, [(0, 1, 0, 0.5)], run=run)
    table = measures.throughput(load_run(copied))
    assert table["deliveries"].tolist() == [0, 1, 75]
    assert np.isnan(table["deliveries_per_s"]).tolist() == [True, True, False]


def test_lateness(copied):
    assert len(measures.lateness(load_run(copied))) == 0  # virtual time
    peers = json.loads((copied / "measures.json").read_text())["peers"]
    peers["p1"]["model_lateness"] = {"p50_s": 0.001, "p99_s": 0.004, "worst_s": 0.009}
    plain.change(copied / "measures.json", peers=peers)
    assert measures.lateness(load_run(copied)).values.tolist() == [[1, 0.001, 0.004, 0.009]]


def test_a_run_in_which_nothing_was_multicast(tmp_path):
    (run,) = plain.played(tmp_path, "lan", "fifo", messages=0)
    table = measures.pair_latencies(load_run(run.folder))
    assert len(table) == 0 and "p99_s" in table
    assert measures.cost(load_run(run.folder))["bytes_sent_per_delivery"] is None

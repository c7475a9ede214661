"""Frames of runs: against a plain reading of logs and documents, kept as Parquet, in pieces, and what is refused."""

import gc
import json
import re
import shutil
import sys
from collections import Counter
from itertools import combinations
from statistics import median

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import floors, measures, parquet
from analysis.frames import FRAMES, write
from analysis.run import load_run
from experiments import run_folder
from peer.core.errors import BAD_SETTINGS, SettingsError
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain


@pytest.fixture(scope="module")
def lab(lossy):
    return analysis.load(*lossy.values())


@pytest.fixture(scope="module")
def folders(lossy):
    """By the names of runs."""
    return {folder.name: folder for folder in lossy.values()}


def rows(table, **wanted):
    """Rows as tuples, those in which some columns hold these values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return list(table.drop(columns=list(wanted)).itertuples(index=False, name=None))


# What stands in them


def check_documented(name, table):
    assert {column: str(kind) for column, kind in table.dtypes.items()} == {
        column: kind for column, (kind, _) in FRAMES[name].items()
    }, name


def test_every_column_is_documented_and_of_its_type(lab):
    for name, columns in FRAMES.items():
        check_documented(name, lab.frame(name))
        assert getattr(lab, name) is lab.frame(name)  # made once
        for column, (_, sentence) in columns.items():
            assert len(sentence) > 5 and not sentence.endswith("."), (name, column)
    assert list(lab.runs["run"]) == lab.names


def test_deliveries_and_sends_are_what_the_records_hold(lab, folders):
    for name, folder in folders.items():
        for peer in range(3):
            records = plain.delivered(folder, peer)
            expected = [(at, *record) for at, record in enumerate(records)]
            assert rows(lab.deliveries, run=name, peer=peer) == expected
            assert rows(lab.sends.drop(columns="due_s"), run=name, peer=peer) == plain.multicast(folder, peer)


def messages(folder, peer):
    return [row[:2] for row in plain.delivered(folder, peer)]


def check_rounds(table, logs, starts):
    end = max(start + len(log) for log, start in zip(logs, starts))
    for position in range(end):
        held = [log[position - start] for log, start in zip(logs, starts) if start <= position < start + len(log)]
        taking_part = sum(start <= position for start in starts)
        wrong = len(set(held)) > 1 or len(held) < taking_part
        assert table[position] == (position, len(held), len(set(held)), wrong)
    assert len(table) == end


def test_rounds_one_by_one(lab, folders):
    for name, folder in folders.items():
        check_rounds(rows(lab.rounds, run=name), [messages(folder, peer) for peer in range(3)], [0, 0, 0])
        about = lab.runs[lab.runs["run"] == name].iloc[0]
        assert sum(row[3] for row in rows(lab.rounds, run=name)) == about["out_of_order_rounds"]


def test_rounds_of_logs_that_begin_late_and_end_early(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    for peer, (kept, start) in enumerate([(slice(0, 50), 0), (slice(5, 75), 5), (slice(0, 75), 0)]):
        records = [(DELIVERED, s, n, 1, stamp, time_s) for s, n, time_s, stamp in plain.delivered(copied, peer)[kept]]
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run, start=start)
    logs = [messages(copied, peer) for peer in range(3)]
    check_rounds(rows(analysis.load(copied).rounds, run="run"), logs, [0, 5, 0])


def disorder(logs):
    """Inversions, the pairs they are of, and displacements, by loops."""
    places = [{message: at for at, message in reversed(list(enumerate(dict.fromkeys(log))))} for log in logs]
    inverted = pairs = 0
    for one, other in combinations(places, 2):
        for a, b in combinations(sorted(set(one) & set(other)), 2):
            pairs += 1
            inverted += (one[a] < one[b]) != (other[a] < other[b])
    apart = []
    for message in set().union(*places):
        held = [place[message] for place in places if message in place]
        apart += [abs(at - median(held)) for at in held]
    return inverted, pairs, apart


def test_disorder_is_what_loops_find(lab, folders):
    for name, folder in folders.items():
        inverted, pairs, apart = disorder([messages(folder, peer) for peer in range(3)])
        about = lab.runs[lab.runs["run"] == name].iloc[0]
        assert about["inversions"] == inverted and about["inversion_share"] == pytest.approx(inverted / pairs)
        assert about["displacement_mean"] == pytest.approx(sum(apart) / len(apart))
        assert about["displacement_max"] == max(apart)
        assert (about["displacement_max"] > 0) == (about["title"] in ("fifo", "unordered")), name


def test_disorder_of_logs_that_lack_and_repeat_messages(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    for peer, change in enumerate([lambda log: log[:40] + log[42:], lambda log: log[3:], lambda log: log + log[:3]]):
        records = [
            (DELIVERED, s, n, 1, stamp, time_s) for s, n, time_s, stamp in change(plain.delivered(copied, peer))
        ]
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    inverted, pairs, apart = disorder([messages(copied, peer) for peer in range(3)])
    about = analysis.load(copied).runs.iloc[0]
    assert about["inversions"] == inverted and about["inversion_share"] == pytest.approx(inverted / pairs)
    assert about["displacement_mean"] == pytest.approx(sum(apart) / len(apart))
    assert about["displacement_max"] == max(apart)


def test_of_two_logs_both_are_displaced_by_half(tmp_path):
    (run,) = plain.played(tmp_path, "lan", "fifo", peers=2, messages=2)
    name = read_header(run.folder / "trace-0.bin")[0]["run"]
    for peer, log in enumerate([[(0, 0), (0, 1), (1, 0), (1, 1)], [(1, 0), (0, 0), (0, 1), (1, 1)]]):
        records = [(DELIVERED, sender, number, 1, 1, 0.5) for sender, number in log]
        plain.write_trace(run.folder, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=name)
    about = analysis.load(run.folder).runs.iloc[0]
    assert (about["displacement_mean"], about["displacement_max"]) == ((0.5 + 0.5 + 1 + 0) / 4, 1.0)


def test_what_was_delivered_twice_counts_the_first_time(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    zero, asked = plain.zero(copied, 1), plain.multicast(copied, 1)[4][1]
    again = [(DELIVERED, 1, 4, 1, 1, 7.0), (DELIVERED, 1, 4, 1, 1, 9.0), (DELIVERED, 1, 99, 1, 1, 9.5)]
    plain.write_trace(copied, 0, [(RELEASED, 0, 0, 0, 0, zero), *again], run=run)
    table = analysis.load(copied).latencies.query("receiver == 0")
    assert table[["sender", "number"]].values.tolist() == [[1, 4]]
    assert table["latency_s"].tolist() == pytest.approx([7.0 - asked])


def test_what_ran_and_how_it_ended(lab, folders):
    for name, folder in folders.items():
        about = lab.runs[lab.runs["run"] == name].iloc[0]
        document = json.loads((folder / "scenario.json").read_text())
        verdict = json.loads((folder / "verdict.json").read_text())
        settings = document["settings"]
        assert about["world"] == "sim" and about["scenario"] == "lossy" and about["planet"] == "aws-2020-06-05"
        assert about["places"].split(",") == settings["regions"] and about["peers"] == 3
        assert (about["loss"], about["duplicate"], about["reorder"]) == (0.1, 0.05, 0.1)
        assert (about["gap_min_ms"], about["gap_max_ms"]) == (10, 99) and about["messages"] == 25
        assert about["chance"] == settings["seed"] == "3" and about["seed"] == 3 and about["shared_clock"]
        assert about["outcome"] == "held" and about["error"] == ""
        for column in ("rounds", "out_of_order_rounds", "short_rounds", "disordered_rounds", "complete"):
            assert about[column] == verdict[column]
        first = (verdict["first_divergence"] or {}).get("position")
        assert about["first_divergence"] is pd.NA if first is None else about["first_divergence"] == first
        assert about["delivered"] == 225 and about["multicast"] == 75
        delays = np.array(settings["delays_s"])
        trips = [(delays[a][b] + delays[b][a]) * 1000 for a in range(3) for b in range(3) if a != b]
        assert about["rtt_max_ms"] == pytest.approx(max(trips))
        assert about["rtt_mean_ms"] == pytest.approx(sum(trips) / 6)


def test_violations_are_those_of_the_verdict(lab, folders):
    seen = Counter()
    for name, folder in folders.items():
        found = json.loads((folder / "verdict.json").read_text())["properties"]
        broken = {which: each for which, each in found.items() if each["holds"] is False}
        table = lab.violations[lab.violations["run"] == name].set_index("property")
        assert list(table.index) == list(broken)
        for which, each in broken.items():
            row = table.loc[which]
            count = str(each["violations"])
            assert row["promised"] == each["promised"] and row["sentence"] == each["sentence"]
            assert str(row["violations"]) == count.split()[-1] and row["at_least"] == (not count.isdecimal())
            assert json.loads(row["witness"]) == each["witness"]
            seen[row["at_least"]] += 1
    assert seen[True] and seen[False]


# Latencies


def test_latencies_message_by_message(lab, folders):
    for name, folder in folders.items():
        settings = json.loads((folder / "scenario.json").read_text())["settings"]
        table = lab.latencies[lab.latencies["run"] == name]
        assert len(table) == 225
        zeros = [plain.zero(folder, peer) for peer in range(3)]
        asked = {(peer, n): zeros[peer] + time_s for peer in range(3) for n, time_s, _ in plain.multicast(folder, peer)}
        came = {
            (sender, number, peer): zeros[peer] + time_s
            for peer in range(3)
            for sender, number, time_s, _ in plain.delivered(folder, peer)
        }
        title = lab.runs.set_index("run").loc[name, "title"]
        ordering, _, variant = title.partition(":")
        delays = np.array(settings["delays_s"])
        bound = floors.bound(ordering, variant or None, delays)
        alone = floors.expected(ordering, variant or None, delays)
        through = floors.critical(ordering, variant or None, delays)
        for row in table.itertuples():
            latency = came[row.sender, row.number, row.receiver] - asked[row.sender, row.number]
            assert row.latency_s == pytest.approx(latency, abs=1e-9)
            assert row.asked_s == pytest.approx(asked[row.sender, row.number] - min(zeros), abs=1e-9)
            pair = row.sender, row.receiver
            assert row.bound_s == pytest.approx(bound[pair], rel=1e-6) and row.through == through[pair]
            assert row.alone_s == pytest.approx(alone[pair], rel=1e-6)
            assert row.blocked_s == pytest.approx(max(0, latency - delays[pair]), abs=1e-6)
            assert row.uncertain_s == 0


def test_figures_of_latency(lab, folders):
    for name, folder in folders.items():
        pairs = plain.latencies(folder, 3)
        own = [latency for (a, b), each in pairs.items() if a == b for latency in each]
        others = [latency for (a, b), each in pairs.items() if a != b for latency in each]
        about = lab.runs[lab.runs["run"] == name].iloc[0]
        for where, values in (("own", own), ("others", others)):
            assert about[f"{where}_p50_s"] == pytest.approx(plain.percentile(values, 0.5), abs=1e-9)
            assert about[f"{where}_p99_s"] == pytest.approx(plain.percentile(values, 0.99), abs=1e-9)
        bounds = lab.latencies[lab.latencies["run"] == name].groupby(["sender", "receiver"])["bound_s"].first()
        ratios = [median(pairs[pair]) / bound for pair, bound in bounds.items() if bound > 0]
        assert about["bound_ratio"] == pytest.approx(median(ratios), rel=1e-6)


def test_what_was_asked_for_counts_from_then_however_long_the_window_held_it_up(tmp_path):
    """The same chance asks at the same moments, and a narrow window is paid for in latency."""
    folders = []
    for blocks in (1, 64):
        window = f"window={{blocks: {blocks}, block_bytes: 64}}"  # of one message each
        (run,) = plain.played(tmp_path / str(blocks), "wan-3-sites", "lamport_all_ack", window, messages=30, seed=5)
        folders.append(run.folder)
    held, free = map(analysis.load, folders)
    assert held.sends["time_s"].tolist() == free.sends["time_s"].tolist()
    last = held.latencies.query("sender == receiver and number == 29")["latency_s"]
    assert (last > 10 * free.runs["own_p50_s"][0]).all()  # it left when the 29 before it had been delivered


def test_a_peer_that_is_held_up_does_not_make_its_messages_look_quicker(copied):
    """Latencies count from when a message was due, in the frames as in the tables of a run."""
    before, own = analysis.load(copied).latencies, measures.latencies(load_run(copied))
    run = read_header(copied / "sends-1.bin")[0]["run"]
    rows = [(number, 1, after, time_s) for number, time_s, after in plain.multicast(copied, 1)]
    plain.write_sends(copied, 1, rows, late_us=4_000, run=run)
    lab = analysis.load(copied)
    sends = lab.sends.query("peer == 1")
    assert (sends["time_s"] - sends["due_s"]).tolist() == pytest.approx([0.004] * 25)
    late = np.where(before["sender"] == 1, 0.004, 0.0)
    np.testing.assert_allclose(lab.latencies["latency_s"] - before["latency_s"], late, atol=1e-12)
    np.testing.assert_allclose(before["asked_s"] - lab.latencies["asked_s"], late, atol=1e-12)
    late = np.where(own["sender"] == 1, 0.004, 0.0)
    np.testing.assert_allclose(measures.latencies(load_run(copied))["latency_s"] - own["latency_s"], late, atol=1e-12)


def test_after_a_warm_up(lab):
    warm = lab.after(0.5)
    kept = lab.latencies[lab.latencies["asked_s"] >= 0.5]
    assert 0 < len(kept) < len(lab.latencies)
    pd.testing.assert_frame_equal(warm.latencies, kept.reset_index(drop=True))
    assert warm.rounds is lab.rounds and warm.deliveries is lab.deliveries
    for row in warm.runs.itertuples():
        mine = kept[(kept["run"] == row.run) & (kept["sender"] != kept["receiver"])]
        assert row.others_p50_s == pytest.approx(mine["latency_s"].median())
    for row in warm.costs.itertuples():
        mine = kept[(kept["run"] == row.run) & (kept["receiver"] == row.peer)]
        assert row.blocked_s == pytest.approx(mine["blocked_s"].astype(float).sum())
    pieces = pd.concat(warm.stream("latencies"), ignore_index=True)
    pd.testing.assert_frame_equal(pieces, warm.latencies)
    for name in FRAMES:
        check_documented(name, warm.frame(name))


# Costs


def test_costs_are_those_that_peers_counted(lab, folders):
    for name, folder in folders.items():
        counted = json.loads((folder / "measures.json").read_text())["peers"]
        verdict = json.loads((folder / "verdict.json").read_text())
        zeros = [plain.zero(folder, peer) for peer in range(3)]
        for row in lab.costs[lab.costs["run"] == name].itertuples():
            mine = counted[row.name]
            for column in ("datagrams_sent", "packets_sent", "bytes_sent", "resent", "duplicates", "link_acks",
                           "link_ack_bytes", "ordering_acks", "clock_bytes", "lost_by_model"):  # fmt: skip
                assert getattr(row, column) == mine[column], column
            assert row.released_s == pytest.approx(zeros[row.peer] - min(zeros))
            assert row.on_time == pytest.approx(verdict["on_time"][str(row.peer)])
            abroad = sum(mine["bytes_to"]) + 28 * sum(mine["datagrams_to"])  # each peer has a region of its own
            assert row.egress_bytes == abroad and abroad > mine["bytes_sent"]


def test_traffic_within_a_region_is_no_egress(tmp_path):
    (run,) = plain.played(tmp_path, "wan-3-sites", "fifo", peers=6, messages=5)
    counted = json.loads((run.folder / "measures.json").read_text())["peers"]
    lab = analysis.load(run.folder)
    for row in lab.costs.itertuples():
        mine = counted[row.name]
        abroad = [other for other in range(6) if other % 3 != row.peer % 3]  # they are dealt out in turn
        assert row.egress_bytes == sum(mine["bytes_to"][other] + 28 * mine["datagrams_to"][other] for other in abroad)
        for old in ("bytes_to", "datagrams_to"):
            del mine[old]
    plain.change(run.folder / "measures.json", peers=counted)
    for row in analysis.load(run.folder).costs.itertuples():  # by an older version: an even share for everybody
        assert row.egress_bytes == round((row.bytes_sent + 28 * row.datagrams_sent) * 4 / 5)


def test_on_whom_everybody_waits(tmp_path):
    """Everybody but the sequencer itself waits for the sequencer; it waits for nobody."""
    (run,) = plain.played(tmp_path, "wan-3-sites", "fixed_sequencer", "ordering_options.sequencer=2", messages=5)
    lab = analysis.load(run.folder)
    assert lab.costs["blocked_on"].fillna(-1).tolist() == [2, 2, -1]
    blocked = lab.latencies.groupby("receiver")["blocked_s"].sum()
    assert lab.costs["blocked_s"].tolist() == pytest.approx(blocked.tolist(), rel=1e-5)
    (run,) = plain.played(tmp_path, "wan-3-sites", "fifo", messages=5)
    assert analysis.load(run.folder).costs["blocked_on"].isna().all()  # nobody waits for anybody's word


# Kept as Parquet


def test_frames_come_back_from_parquet_as_they_were(lab, sweep):
    back = analysis.load(sweep)
    for name in FRAMES:
        pd.testing.assert_frame_equal(back.frame(name), lab.frame(name))
        check_documented(name, back.frame(name))
    assert back.names == lab.names and back.one(back.names[0]).title == lab.one(lab.names[0]).title


@pytest.fixture
def sweep(lossy, tmp_path):
    """The folder of a sweep that is through."""
    folder = sweep_of(tmp_path / "sweep", lossy.values())
    write(analysis.load(folder), folder / "frames")
    return folder


def sweep_of(folder, runs, failed=None):
    (folder / "runs").mkdir(parents=True)
    for run in runs:
        shutil.copytree(run, folder / "runs" / run.name)
    failed = failed or {}
    names = [*(run.name for run in runs), *failed]
    plan = [{"run": name, "title": "fifo", "ordering": "fifo", "peers": 3, "loss": 0.25} for name in names]
    (folder / "plan.json").write_text(json.dumps({"points": plan, "commit": "c0ffee"}))
    (folder / "failed.json").write_text(json.dumps(failed))
    return folder


def test_equal_runs_give_equal_bytes_wherever_they_are(lab, sweep, lossy, tmp_path):
    elsewhere = sweep_of(tmp_path / "another" / "place", lossy.values())
    write(analysis.load(elsewhere), elsewhere / "frames")
    for name in FRAMES:
        content = (sweep / "frames" / f"{name}.parquet").read_bytes()
        assert content == (elsewhere / "frames" / f"{name}.parquet").read_bytes(), name
        assert str(tmp_path).encode() not in content and b"pandas" not in content
    assert sorted(path.name for path in (sweep / "frames").iterdir()) == sorted(f"{name}.parquet" for name in FRAMES)


def test_a_file_that_is_given_up_leaves_nothing_and_says_nothing(lab, tmp_path, monkeypatch):
    unheard = []
    monkeypatch.setattr(sys, "unraisablehook", unheard.append)
    with pytest.raises(KeyboardInterrupt), parquet.File(tmp_path / "rounds.parquet", FRAMES["rounds"]) as groups:
        groups.add(lab.rounds)
        raise KeyboardInterrupt
    del groups
    gc.collect()
    assert (list(tmp_path.iterdir()), unheard) == ([], [])


def test_groups_have_one_size_whatever_the_pieces(lab, lossy, sweep, tmp_path, monkeypatch):
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr("analysis.parquet.GROUP_ROWS", 100)
    monkeypatch.setattr("analysis.run.SHORT", 0)
    for folder, at_once in ((tmp_path / "a", 7), (tmp_path / "b", 1000)):
        monkeypatch.setattr("analysis.run.PART_ROWS", at_once)
        write(analysis.load(*lossy.values()), folder)
    for name in FRAMES:
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
    file = ParquetFile(tmp_path / "a" / "deliveries.parquet").metadata
    groups = [file.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [100] * 13 + [50]
    shutil.rmtree(sweep / "frames")
    (tmp_path / "a").rename(sweep / "frames")
    back = analysis.load(sweep)
    pd.testing.assert_frame_equal(back.deliveries, lab.deliveries)
    assert [len(piece) for piece in back.stream("deliveries")] == groups


def test_frames_in_pieces_are_the_same_frames(lab, lossy, monkeypatch):
    monkeypatch.setattr("analysis.run.PART_ROWS", 10)
    monkeypatch.setattr("analysis.run.SHORT", 0)
    again = analysis.load(*lossy.values())
    for name in FRAMES:
        pieces = list(again.stream(name))
        pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), lab.frame(name))
        if name == "deliveries":
            assert 1 < max(map(len, pieces)) <= 10
        elif name == "latencies":
            assert {len(piece) for piece in pieces} == {75}  # at one receiver each


def test_a_block_of_many_messages_is_one_piece(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    records = [(DELIVERED, 1, 0, 1, 1, 9.5), (RELEASED, 0, 0, 0, 0, 10.0), (DELIVERED, 1, 1, 25, 2, 0.5),
               (DELIVERED, 0, 0, 3, 2, 0.75), (DELIVERED, 0, 3, 3, 2, 1.5)]  # fmt: skip
    plain.write_trace(copied, 0, records, run=run)
    loaded = load_run(copied)
    whole = loaded.deliveries_of(loaded.peers[0])
    parts = list(loaded.deliveries_in_parts(loaded.peers[0], 4))
    assert [len(part) for part in parts] != [32] and max(map(len, parts)) <= 25 + 4
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert whole["time_s"].tolist()[:2] == [-0.5, 0.5] and whole["number"].tolist()[-6:] == [0, 1, 2, 3, 4, 5]


# Names, and what is refused


def test_two_runs_of_one_name_are_told_apart(copied, lossy):
    another = copied.parent / "elsewhere" / "run"
    shutil.copytree(lossy["unordered"], another)
    lab = analysis.load(copied, another)
    assert lab.names == ["run", "run.2"] and lab.runs["title"].tolist() == ["fifo", "unordered"]
    assert lab.path("run.2") == another and lab.one("run.2").title == "unordered"
    assert lab.latencies["run"].value_counts().to_dict() == {"run": 225, "run.2": 225}


def test_a_sweep_and_runs_beside_it(sweep, copied, lossy):
    runs = [folder.name for folder in lossy.values()]
    lab = analysis.load(copied, sweep)
    assert lab.names == ["run", *runs]
    assert lab.runs["run"].tolist() == lab.names and lab.runs["title"].tolist()[:2] == ["fifo", lab.one(runs[0]).title]
    for name in FRAMES:
        check_documented(name, lab.frame(name))
        pd.testing.assert_frame_equal(pd.concat(lab.stream(name), ignore_index=True), lab.frame(name))
    clash = copied.parent / runs[0]
    copied.rename(clash)
    assert analysis.load(sweep, clash).names == [*runs, f"{runs[0]}.2"]


def test_failed_runs_of_a_sweep_have_a_row_and_a_reason(lossy, tmp_path):
    folder = sweep_of(tmp_path / "sweep", [lossy["fifo"]], {"gone": "the disk was full"})
    for _ in range(2):
        lab = analysis.load(folder)
        last = lab.runs.iloc[-1]
        about = (last["run"], last["outcome"], last["error"], last["loss"])
        assert about == ("gone", "failed", "the disk was full", 0.25) and last["commit"] == "c0ffee"
        assert last["rounds"] is pd.NA and set(lab.deliveries["run"]) == {lossy["fifo"].name}
        for name in FRAMES:
            check_documented(name, lab.frame(name))
        with pytest.raises(SettingsError, match="nothing of the run 'gone'|no scenario|there is no such folder"):
            lab.one("gone")
        write(lab, folder / "frames")


def test_a_sweep_that_is_not_through(lossy, tmp_path):
    folder = sweep_of(tmp_path / "sweep", [lossy["fifo"], lossy["unordered"]])
    shutil.rmtree(folder / "runs" / lossy["unordered"].name)
    refused(folder, "sweep: 1 of its 2 runs are here")
    assert analysis.load(folder, partial=True).names == [lossy["fifo"].name]
    (folder / "runs" / lossy["fifo"].name / run_folder.PARTIAL).write_text("")
    refused(folder, "sweep: 0 of its 2 runs are here")
    assert analysis.load(folder, partial=True).runs["outcome"].tolist() == ["unfinished"]
    shutil.rmtree(folder / "runs")
    with pytest.raises(SettingsError, match="none of its runs are here yet"):
        analysis.load(folder, partial=True)


def refused(folder, sentence, frame=None):
    with pytest.raises(SettingsError) as caught:
        lab = analysis.load(folder)
        lab.frame(frame)
    assert sentence in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == BAD_SETTINGS


def test_what_is_neither_a_run_nor_a_sweep(tmp_path, lossy, copied):
    refused(tmp_path / "none", "none: there is no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "neither the folder of a run nor that of a sweep")
    shutil.copytree(lossy["fifo"], tmp_path / "empty" / "one")
    refused(tmp_path / "empty", f"1 runs are in it: say {tmp_path}/empty/*")
    with pytest.raises(SettingsError, match="expected folders of runs"):
        analysis.load()
    with pytest.raises(SettingsError, match="run: is given twice"):
        analysis.load(copied, copied.parent / "run" / ".." / "run")
    (copied / "trace-1.bin").unlink()
    refused(copied, "trace-1.bin: is missing")


def test_unknown_names(lab):
    with pytest.raises(SettingsError, match="no frame 'logs'; there are runs, deliveries"):
        next(lab.stream("logs"))
    with pytest.raises(SettingsError, match="there is no run 'x'"):
        lab.one("x")


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda sweep: (sweep / "plan.json").write_text("{"), "plan.json: is damaged: "),
        (lambda sweep: (sweep / "plan.json").write_text("{}"), "plan.json: is damaged: it does not tell its runs"),
        (lambda sweep: (sweep / "frames" / "costs.parquet").unlink(), "costs.parquet: is missing; `python -m exp"),
        (lambda sweep: (sweep / "frames" / "costs.parquet").write_bytes(b"nothing"), "costs.parquet: is damaged: "),
        (
            lambda sweep: shutil.copy(sweep / "frames" / "runs.parquet", sweep / "frames" / "costs.parquet"),
            "costs.parquet: is of another version",
        ),
    ],
    ids=range(5),
)
def test_a_damaged_sweep_is_told_in_one_sentence(sweep, damage, sentence):
    damage(sweep)
    refused(sweep, sentence, "costs")


def test_a_sweep_that_lost_a_run_says_so_whatever_was_kept_of_it(sweep):
    runs, lost = len(analysis.load(sweep).names), next((sweep / "runs").iterdir())
    shutil.rmtree(lost)
    refused(sweep, f"{runs - 1} of its {runs} runs are here; the same sweep command plays the rest")
    there = analysis.load(sweep, partial=True)
    assert lost.name not in there.names and len(there.runs) == runs - 1


def test_a_run_of_a_sweep_that_is_damaged_is_told_with_what_to_do(sweep):
    damaged = next((sweep / "runs").iterdir())
    (damaged / "trace-0.bin").write_bytes((damaged / "trace-0.bin").read_bytes()[:40])
    again = f"remove {damaged}, and the same sweep command plays that run again"
    with pytest.raises(SettingsError, match=re.escape(again)):
        analysis.load(sweep).one(damaged.name)
    shutil.rmtree(sweep / "frames")
    refused(sweep, again)


def test_a_run_in_which_nothing_was_multicast(tmp_path):
    (run,) = plain.played(tmp_path, "lan", "fifo", messages=0)
    lab = analysis.load(run.folder)
    for name in FRAMES:
        check_documented(name, lab.frame(name))
    assert len(lab.latencies) == 0 and np.isnan(lab.runs["own_p50_s"][0])
    write(lab, tmp_path / "frames")


def test_what_an_older_version_did_not_count(copied):
    peers = json.loads((copied / "measures.json").read_text())["peers"]
    for counted in peers.values():
        for name in ("link_acks", "link_ack_bytes", "ordering_acks", "clock_bytes", "bytes_to", "datagrams_to"):
            del counted[name]
    plain.change(copied / "measures.json", peers=peers)
    costs = analysis.load(copied).costs
    check_documented("costs", costs)
    assert costs["link_acks"].isna().all() and (costs["egress_bytes"] > 0).all()

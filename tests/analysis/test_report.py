"""The report: that its numbers are right, and that a person finds in it what the run's files hold."""

import json
import re

import pytest

from analysis import report as reports
from analysis.floors import bound, expected
from analysis.report import report
from analysis.run import load_run
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain

REGIONS = ["us-east-1", "eu-west-1", "ap-northeast-1"]


def text_of(*folders, **options):
    return "".join(report([load_run(folder, **options) for folder in folders]))


def table(text, *titles):
    """The rows of the table with such a line of titles, each as {title: cell}."""
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if re.split(r"\s{2,}", line.strip()) == list(titles))
    rows = []
    for line in lines[at + 1 :]:
        if not line.startswith("  "):
            return rows
        rows.append(dict(zip(titles, re.split(r"\s{2,}", line.strip()))))
    return rows


NUMBERS = ("p50_ms", "p99_ms", "max_ms", "bound_ms", "p50/bound")
COSTS = ("run", "ordering", "datagrams", "packets", "bytes", "resends", "deliveries_per_s")
COMPARED = (
    "run", "ordering", "out-of-order rounds", "complete", "promised properties", "not promised, and broken",
    "datagrams per delivery",
)  # fmt: skip


def check_numbers(row, values, floors, ratio=None):
    """A row's numbers are those of these latencies, rounded."""
    p50_s, floor_s = plain.percentile(values, 0.5), plain.percentile(floors, 0.5)
    for name, value_s in zip(NUMBERS, (p50_s, plain.percentile(values, 0.99), max(values), floor_s)):
        assert float(row[name].replace(",", "")) == pytest.approx(value_s * 1000, abs=0.00051), (name, row)
    if floor_s:
        expected_ratio = p50_s / floor_s if ratio is None else ratio
        assert float(row["p50/bound"].replace(",", "")) == pytest.approx(expected_ratio, abs=0.0051)
    else:
        assert row["p50/bound"] == "-"


def delays_of(folder):
    return json.loads((folder / "scenario.json").read_text())["settings"]["delays_s"]


def test_latencies_by_regions(tmp_path):
    # Two peers at each site, so that the sender itself and its neighbour are told apart.
    (run,) = plain.played(tmp_path, "demo", "fixed_sequencer", messages=20)
    text = text_of(run.folder)
    rows = {(row["from"], row["to"]): row for row in table(text, "from", "to", "deliveries", *NUMBERS)}
    floor = bound("fixed_sequencer", None, delays_of(run.folder))
    values: dict[tuple[str, str], list] = {}
    for (sender, receiver), found in plain.latencies(run.folder, 6).items():
        to = "the sender itself" if sender == receiver else REGIONS[receiver % 3]
        values.setdefault((REGIONS[sender % 3], to), []).extend((value, floor[sender, receiver]) for value in found)
    assert set(rows) == set(values) and len(rows) == 12
    for pair, found in values.items():
        assert rows[pair]["deliveries"] == str(len(found)), pair
        check_numbers(rows[pair], *zip(*found))


def test_latencies_side_by_side(lossy):
    titles = list(lossy)
    text = text_of(*lossy.values())
    rows = table(text, "run", "ordering", "where", *NUMBERS)
    assert len(rows) == 2 * len(titles)
    for number, row in enumerate(rows):
        title = titles[number // 2]
        assert row["run"] == str(number // 2 + 1) and row["ordering"] == title
        ordering, _, variant = title.partition(":")
        floor = bound(ordering, variant or None, delays_of(lossy[title]))
        pairs = {
            (sender, receiver): values
            for (sender, receiver), values in plain.latencies(lossy[title], 3).items()
            if (sender == receiver) == (row["where"] == "at the sender")
        }
        found = [(value, floor[pair]) for pair, values in pairs.items() for value in values]
        ratios = [plain.percentile(values, 0.5) / floor[pair] for pair, values in pairs.items() if floor[pair]]
        check_numbers(row, *zip(*found), plain.percentile(ratios, 0.5) if ratios else None)


def test_what_a_message_alone_takes(lossy):
    for title, folder in lossy.items():
        ordering, _, variant = title.partition(":")
        delays = delays_of(folder)
        floor, alone = (each(ordering, variant or None, delays).mean() * 1000 for each in (bound, expected))
        text = text_of(folder)
        assert f"leave of {title}, at any load: {floor:.1f} ms in the mean of all pairs; a message alone" in text
        assert f"in the group takes {alone:.1f} ms.\n" in text


def test_costs(lossy):
    rows = table(text_of(*lossy.values()), *COSTS)
    assert len(rows) == len(lossy)
    for row, folder in zip(rows, lossy.values()):
        counted = json.loads((folder / "measures.json").read_text())["peers"].values()
        for title, name in zip(COSTS[2:], ("datagrams_sent", "packets_sent", "bytes_sent", "resent")):
            assert row[title] == f"{sum(each[name] for each in counted) / 225:,.2f}"
        rates = []
        for peer in range(3):
            times = [time_s for _, _, time_s, _ in plain.delivered(folder, peer)]
            asked = [time_s for _, time_s, _ in plain.multicast(folder, peer)]
            rates.append(len(times) / (max(times) - min(times + asked)))
        assert row["deliveries_per_s"] == f"{min(rates):,.0f}"


def test_comparison_has_the_counts_of_the_verdicts(lossy):
    text = text_of(*lossy.values())
    rows = table(text, *COMPARED)
    assert [row["ordering"] for row in rows] == list(lossy)
    for row, folder in zip(rows, lossy.values()):
        verdict = json.loads((folder / "verdict.json").read_text())
        assert row["out-of-order rounds"] == f"{verdict['out_of_order_rounds']} of {verdict['rounds']}"
        broken = [name for name, each in verdict["properties"].items() if each["holds"] is False]
        assert row["not promised, and broken"] == (", ".join(broken) or "-")
        assert row["complete"] == "yes" and re.fullmatch(r"all \d held", row["promised properties"])


def test_heading_tells_what_runs_share_and_where_they_differ(lossy):
    text = text_of(lossy["fifo"], lossy["unordered"])
    document = json.loads((lossy["fifo"] / "scenario.json").read_text())
    assert "\nscenario    lossy\nworld       sim\nseed        3\n" in text
    assert "\nnetwork     aws-2020-06-05, 10 % loss, 5 % duplicates, 10 % reordering\n" in text
    assert f"\npython      {document['versions']['python']} on {document['versions']['platform']}\n" in text
    assert f"\ncommit      {(document['commit'] or '-')[:12]}\n" in text
    rows = table(text, "run", "ordering", "folder")
    assert [(row["run"], row["ordering"]) for row in rows] == [("1", "fifo"), ("2", "unordered")]
    assert rows[0]["folder"] == str(lossy["fifo"])
    alone = text_of(lossy["fifo"])
    assert f"\nfolder      {lossy['fifo']}\n" in alone and alone.startswith("A run of fifo\n=============\n")


def test_verdict_in_words(lossy):
    for title, folder in lossy.items():
        text = text_of(folder)
        verdict = json.loads((folder / "verdict.json").read_text())
        rounds = f"{verdict['rounds']} rounds, {verdict['out_of_order_rounds']} out of order"
        assert f"{title} in the world sim: 3 peers, 25 messages each\n{rounds} (" in text
        for name, each in verdict["properties"].items():
            assert re.search(rf"^{name} .*{re.escape(each['sentence'])}$", text, re.MULTILINE), name


def test_logs_that_lack_messages_or_repeat_them_are_told(copied):
    assert "\nEvery log holds each of the 75 messages once.\n" in text_of(copied)
    run = read_header(copied / "trace-0.bin")[0]["run"]
    rows = plain.delivered(copied, 1)[5:] + plain.delivered(copied, 1)[10:12]
    records = [(DELIVERED, sender, number, 1, stamp, time_s) for sender, number, time_s, stamp in rows]
    plain.write_trace(copied, 1, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    titles = ("peer", "delivered", "missing", "repeated", "unexpected")
    assert [list(row.values()) for row in table(text_of(copied), *titles)] == [["1", "72", "5", "2", "0"]]


def side_by_side(text):
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("Where the logs part"))
    return lines[at + 2], lines[at + 3 : lines.index("", at + 3)]


def test_logs_side_by_side_where_they_part(lossy, copied):
    # All logs begin with the same ten messages; then each goes on as it did.
    run = read_header(copied / "trace-0.bin")[0]["run"]
    logs = []
    for peer in range(3):
        same = [(2, 100 + number, 0.0, 1) for number in range(10)]
        logs.append(same + plain.delivered(lossy["unordered"], peer))
        records = [(DELIVERED, sender, number, 1, stamp, time_s) for sender, number, time_s, stamp in logs[peer]]
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    first = next(n for n in range(85) if len({log[n][:2] for log in logs}) > 1)
    verdict = json.loads((copied / "verdict.json").read_text())
    plain.change(copied / "verdict.json", first_divergence=verdict["first_divergence"] | {"position": first})
    titles, rows = side_by_side(text_of(copied))
    assert titles.split() == ["position", "peer", "0", "peer", "1", "peer", "2"]
    assert len(rows) == reports.SHOWN_BEFORE + 1 + reports.SHOWN_AFTER
    for position, row in enumerate(rows, first - reports.SHOWN_BEFORE):
        held = [f"{log[position][0]}:{log[position][1]}" for log in logs]
        assert row.split() == [str(position), *held] + ["<"] * (len(set(held)) > 1)


def test_peers_that_agree_share_a_column_and_ended_logs_show(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    for peer, count in ((0, 5), (1, 3), (2, 5)):
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), (DELIVERED, 1, 0, count, 1, 0.5)], run=run)
    verdict = json.loads((copied / "verdict.json").read_text())
    plain.change(copied / "verdict.json", first_divergence=verdict["first_divergence"] | {"position": 3})
    titles, rows = side_by_side(text_of(copied))
    assert re.split(r"\s{2,}", titles.strip()) == ["position", "peers 0, 2", "peer 1"]
    together, apart = [["1", "1:1", "1:1"], ["2", "1:2", "1:2"]], [["3", "1:3", "-", "<"], ["4", "1:4", "-", "<"]]
    assert [row.split() for row in rows] == together + apart


def test_a_difference_in_a_column_that_is_not_shown_is_marked(copied, monkeypatch):
    monkeypatch.setattr(reports, "MOST_COLUMNS", 1)
    verdict = json.loads((copied / "verdict.json").read_text())
    titles, rows = side_by_side(text_of(copied))
    assert titles.split()[:2] == ["position", "peer"] and verdict["first_divergence"]["position"] == 0
    assert rows[0].split()[-1] == "<" and "Logs of another 2 kinds are not shown." in rows


def test_the_log_of_who_joined_later_begins_later(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    for peer, first, count, start in ((0, 0, 5, 0), (1, 9, 3, 2), (2, 0, 5, 0)):
        records = [(RELEASED, 0, 0, 0, 0, 1.0), (DELIVERED, 1, first, count, 1, 0.5)]
        plain.write_trace(copied, peer, records, run=run, start=start)
    verdict = json.loads((copied / "verdict.json").read_text())
    plain.change(copied / "verdict.json", first_divergence=verdict["first_divergence"] | {"position": 2})
    _, rows = side_by_side(text_of(copied))
    before, since = [["0", "1:0"], ["1", "1:1"]], [[str(n), f"1:{n}", f"1:{n + 7}", "<"] for n in (2, 3, 4)]
    assert [row.split() for row in rows] == before + since


def test_a_log_that_was_sorted_at_the_end_is_told(copied):
    assert "sorted at the end" not in text_of(copied)
    verdict = json.loads((copied / "verdict.json").read_text())
    plain.change(copied / "verdict.json", on_time=verdict["on_time"] | {"1": 0.0})
    assert "Peer 1 delivered nothing before its own last multicast: its log looks sorted at the end." in text_of(copied)


def test_no_side_by_side_where_logs_never_part(lossy):
    assert "Where the logs part" not in text_of(lossy["lamport_all_ack:explicit"])
    assert "Where the logs part" in text_of(lossy["unordered"])


@pytest.mark.parametrize(
    "p99_s, warns",
    [(0.003, False), (0.0036, "for 2 of 6 pairs"), (0.0079, "for 4 of 6 pairs"), (0.2, "for 6 of 6 pairs")],
)
def test_lateness_that_is_large_against_the_delays_is_warned_of(copied, p99_s, warns):
    # The delays are about 35, 76 and 102 ms.
    peers = json.loads((copied / "measures.json").read_text())["peers"]
    for name, late_s in (("p0", p99_s / 2), ("p1", p99_s), ("p2", p99_s / 4)):
        peers[name]["model_lateness"] = {"p50_s": late_s / 8, "p99_s": late_s, "worst_s": 2 * late_s}
    plain.change(copied / "measures.json", peers=peers)
    text = text_of(copied)
    late = [f"{late_s * 1000:.3f} ms" for late_s in (p99_s / 8, p99_s, 2 * p99_s)]
    assert f"late by {late[0]} (p50), {late[1]} (p99) and {late[2]} at worst" in text
    assert ("WARNING" in text) is bool(warns) and (not warns or warns in text)


def test_virtual_time_is_never_late(lossy):
    assert "The emulated network" not in text_of(lossy["fifo"])


def test_clocks_of_their_own(copied):
    plain.change(copied / "scenario.json", clock="own")
    text = text_of(copied)
    assert "clocks of their own" in text and "at the others" not in text
    assert {row["to"] for row in table(text, "from", "to", "deliveries", *NUMBERS)} == {"the sender itself"}


def test_a_partial_run(tmp_path, lossy):
    (run,) = plain.played(tmp_path, "lossy", "lamport_all_ack", "deadlines.deadline_s=2", messages=50)
    text = text_of(run.folder, lossy["fifo"], partial=True)
    assert f"This run did not come to its end: {run.error}.\n" in text
    (run.folder / "verdict.json").unlink()
    (run.folder / "measures.json").unlink()
    text = text_of(run.folder, lossy["fifo"], partial=True)
    assert "It was cut before it was judged." in text
    assert [(row["run"], row["ordering"]) for row in table(text, *COMPARED)] == [("2", "fifo")]
    assert [row["datagrams"] == "-" for row in table(text, *COSTS)] == [True, False]


def test_a_run_in_which_nothing_was_multicast(tmp_path):
    (run,) = plain.played(tmp_path, "lan", "fifo", messages=0)
    text = text_of(run.folder)
    assert "No latencies are known" in text and "0 rounds, 0 out of order" in text
    assert "\nNo log holds a message.\n" in text and "no evidence: all " in text and "  holds  " not in text


def test_what_befell_a_run_and_its_datagrams(copied):
    verdict = json.loads((copied / "verdict.json").read_text())
    measured = json.loads((copied / "measures.json").read_text())
    remark = "p1 stood still for 10.2 s, 3.1 s after its start."
    (copied / "verdict.json").write_text(json.dumps(verdict | {"remarks": [remark]}))
    peers = measured["peers"]
    for peer in peers.values():
        peer |= {"lost_by_model": 100, "doubled_by_model": 0, "held_by_model": 0, "dropped_by_kernel": None}
    first, second, *_ = peers.values()
    first["dropped"], second["dropped"] = {"tag": 3, "replayed": 1}, {"tag": 1500}
    (copied / "measures.json").write_text(json.dumps(measured))
    sent = sum(peer["datagrams_sent"] for peer in peers.values())
    lost = 100 * len(peers)
    assert (
        f"\n{remark}\nOf {sent:,} datagrams: {lost:,} lost by the emulated network, 1,503 refused (tag), "
        "1 refused (replayed).\n"
    ) in text_of(copied)


def test_nothing_is_said_where_nothing_befell_a_run(tmp_path):
    (run,) = plain.played(tmp_path, "lan", "fifo", messages=5)
    assert "datagrams:" not in text_of(run.folder)

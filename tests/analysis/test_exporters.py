"""Exports: what is in them, and that the judge says of an export what it said of the run."""

import csv
import json
import math

import pytest

from analysis.exporters import EXPORTERS, SENDS
from analysis.exporters.lines import LINES_AT_ONCE
from analysis.run import load_run
from comparison_server.judge import load as load_evidence
from comparison_server.verdict import judge
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain


def exported(folder, to="csv", **options):
    return b"".join(EXPORTERS[to](load_run(folder, **options))).decode()


def judged(tmp_path, folder, sends=True):
    """What the judge says of an export."""
    (tmp_path / "deliveries.csv").write_text(exported(folder))
    files = [str(tmp_path / "deliveries.csv")]
    if sends:
        (tmp_path / "sends.csv").write_bytes(b"".join(SENDS["csv"](load_run(folder))))
        files.append(str(tmp_path / "sends.csv"))
    return judge(load_evidence(files)).as_dict()


def without_promises(verdict):
    """What a verdict says that does not come from the settings of the run."""
    properties = {name: each | {"promised": None} for name, each in verdict["properties"].items()}
    own = {
        name for name in verdict if name not in ("ordering", "world", "variant", "repeat", "folder", "error", "remarks")
    }
    return {name: verdict[name] for name in own} | {"properties": properties}


def test_the_judge_says_of_an_export_what_it_said_of_the_run(lossy, tmp_path):
    seen_broken = set()
    for title, folder in lossy.items():
        verdict = json.loads((folder / "verdict.json").read_text())
        assert without_promises(judged(tmp_path, folder)) == without_promises(verdict), title
        seen_broken |= {name for name, each in verdict["properties"].items() if each["holds"] is False}
    assert seen_broken == {"fifo", "causal", "total", "uniform_total", "prefix"}


def test_without_send_records_there_is_no_evidence_of_causality(lossy, tmp_path):
    verdict = judged(tmp_path, lossy["unordered"], sends=False)
    assert verdict["properties"]["causal"]["holds"] is None
    assert verdict["properties"]["total"]["holds"] is False


def test_the_judge_says_the_same_of_a_run_that_lost_messages(copied, tmp_path):
    """One log ends early, and one holds a message twice."""
    run = read_header(copied / "trace-0.bin")[0]["run"]
    for peer, of in ((0, lambda rows: rows[:60]), (2, lambda rows: rows[:30] + rows[20:])):
        rows = of(plain.delivered(copied, peer))
        records = [(DELIVERED, sender, number, 1, stamp, time_s) for sender, number, time_s, stamp in rows]
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    verdict = judge(load_evidence([str(copied)])).as_dict()
    assert verdict["properties"]["integrity"]["holds"] is verdict["properties"]["agreement"]["holds"] is False
    of_export = without_promises(judged(tmp_path, copied))
    verdict["messages_per_peer"] = of_export["messages_per_peer"] = None
    assert of_export == without_promises(verdict)


def test_csv_rows(lossy):
    for folder in lossy.values():
        rows = list(csv.reader(exported(folder).splitlines()))
        assert rows[0] == ["peer", "position", "sender", "number", "time_s"]
        expected = [
            (peer, position, sender, number, time_s)
            for peer in range(3)
            for position, (sender, number, time_s, _) in enumerate(plain.delivered(folder, peer))
        ]
        found = [tuple(map(int, row[:4])) + (float(row[4]),) for row in rows[1:]]
        assert [row[:4] for row in found] == [row[:4] for row in expected]
        assert [row[4] for row in found] == pytest.approx([row[4] for row in expected], abs=6e-10)


def test_rows_of_sends(lossy):
    for folder in lossy.values():
        rows = list(csv.reader(b"".join(SENDS["csv"](load_run(folder))).decode().splitlines()))
        assert rows[0] == ["peer", "number", "time_s", "after"]
        expected = [(peer, *row) for peer in range(3) for row in plain.multicast(folder, peer)]
        found = [(int(row[0]), int(row[1]), float(row[2]), int(row[3])) for row in rows[1:]]
        assert [(row[:2], row[3]) for row in found] == [(row[:2], row[3]) for row in expected]
        assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=6e-10)


def test_text_has_a_line_a_delivery_with_its_stamp(lossy):
    folder = lossy["lamport_all_ack:explicit"]
    regions = json.loads((folder / "scenario.json").read_text())["settings"]["regions"]
    for peer, section in enumerate(exported(folder, "text").split("\n\n")[:-1]):
        heading, titles, *lines = section.splitlines()
        assert heading == f"peer {peer} (p{peer}, {regions[peer]}): 75 deliveries"
        assert titles.split() == ["position", "sender", "number", "stamp", "time_s"]
        assert {len(line) for line in lines} == {len(titles)}  # aligned
        found = [line.split() for line in lines]
        expected = plain.delivered(folder, peer)
        assert [list(map(int, row[:4])) for row in found] == [
            [position, sender, number, stamp] for position, (sender, number, _, stamp) in enumerate(expected)
        ]
        assert [float(row[4]) for row in found] == pytest.approx([row[2] for row in expected], abs=6e-7)


def test_text_says_where_a_log_is_cut(copied):
    plain.write_trace(copied, 1, [], sealed=False)
    (copied / "partial").write_text("")
    text = exported(copied, "text", partial=True)
    assert "peer 1 (p1, eu-west-1): 0 deliveries, and cut there\nposition  sender  number  stamp" in text


def test_a_long_log_comes_in_parts_of_whole_lines(copied):
    count = 2 * LINES_AT_ONCE + 5
    run = read_header(copied / "trace-0.bin")[0]["run"]
    plain.write_trace(copied, 0, [(RELEASED, 0, 0, 0, 0, 1.0), (DELIVERED, 1, 0, count, 1, 0.5)], run=run)
    for to in EXPORTERS:
        parts = list(EXPORTERS[to](load_run(copied)))
        assert all(part.endswith(b"\n") for part in parts)
        assert max(part.count(b"\n") for part in parts) == LINES_AT_ONCE
    rows = exported(copied).splitlines()[1 : count + 1]
    assert rows[-1] == f"0,{count - 1},1,{count - 1},0.500000000"


def test_times_that_nobody_knows(copied):
    plain.write_trace(copied, 0, [(DELIVERED, 1, 0, 1, 1, 0.5)], run=read_header(copied / "trace-1.bin")[0]["run"])
    assert math.isnan(float(exported(copied).splitlines()[1].split(",")[4]))

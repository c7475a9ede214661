"""Exports: what is in them, and that the judge says of an export what it said of the run."""

import csv
import io
import json
import math
import re

import pandas as pd
import pytest

import analysis
from analysis.exporters import EXPORTERS, FRAME_FORMS, SENDS
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
    for to in ("csv", "text", "jsonl"):
        parts = list(EXPORTERS[to](load_run(copied)))
        assert all(part.endswith(b"\n") for part in parts)
        assert max(part.count(b"\n") for part in parts) == LINES_AT_ONCE
    rows = exported(copied).splitlines()[1 : count + 1]
    assert rows[-1] == f"0,{count - 1},1,{count - 1},0.500000000"


def test_times_that_nobody_knows(copied):
    plain.write_trace(copied, 0, [(DELIVERED, 1, 0, 1, 1, 0.5)], run=read_header(copied / "trace-1.bin")[0]["run"])
    assert math.isnan(float(exported(copied).splitlines()[1].split(",")[4]))


def test_objects_and_parquet_hold_every_delivery(lossy):
    columns = ["peer", "position", "sender", "number", "time_s", "stamp"]
    for folder in lossy.values():
        objects = [json.loads(line) for line in exported(folder, "jsonl").splitlines()]
        content = b"".join(EXPORTERS["parquet"](load_run(folder)))
        rows = pd.read_parquet(io.BytesIO(content)).to_dict("records")
        expected = [
            (peer, position, sender, number, time_s, stamp)
            for peer in range(3)
            for position, (sender, number, time_s, stamp) in enumerate(plain.delivered(folder, peer))
        ]
        for found in (objects, rows):
            assert [list(row) for row in found] == [columns] * 225
            assert [tuple(row.values())[:4] for row in found] == [row[:4] for row in expected]
            assert [row["time_s"] for row in found] == pytest.approx([row[4] for row in expected], abs=1e-14)
            assert [row["stamp"] for row in found] == [row[5] for row in expected]


def test_times_that_nobody_knows_are_null(copied):
    plain.write_trace(copied, 0, [(DELIVERED, 1, 0, 1, 1, 0.5)], run=read_header(copied / "trace-1.bin")[0]["run"])
    assert json.loads(exported(copied, "jsonl").splitlines()[0])["time_s"] is None


@pytest.mark.parametrize("form", FRAME_FORMS)
def test_frames_in_every_form_hold_the_same(lossy, form):
    lab = analysis.load(*lossy.values())
    for name in ("runs", "deliveries", "violations", "latencies", "costs"):
        content = b"".join(FRAME_FORMS[form](name, lab.stream(name)))
        read = {
            "csv": lambda: pd.read_csv(io.BytesIO(content), dtype={"chance": str}, keep_default_na=True),
            "jsonl": lambda: pd.read_json(io.BytesIO(content), lines=True, dtype=False),
            "parquet": lambda: pd.read_parquet(io.BytesIO(content)),
        }[form]()
        frame = lab.frame(name)
        assert list(read) == list(frame) and len(read) == len(frame)
        for column in frame:
            if pd.api.types.is_float_dtype(frame[column]):
                assert read[column].astype(float).to_numpy() == pytest.approx(
                    frame[column].astype(float).to_numpy(), rel=1e-6, abs=1e-9, nan_ok=True
                )
            else:
                text = [["" if pd.isna(value) else str(value) for value in table[column]] for table in (frame, read)]
                assert [each.removesuffix(".0") for each in text[1]] == text[0], (name, column)


# ShiViz


def events_of(folder):
    """Each line of the log, read by the log's own regular expression as ShiViz reads it: host, clock, event."""
    text = exported(folder, "shiviz")
    pattern, delimiter, log = text.split("\n", 2)
    assert delimiter == ""
    for group in ("host", "clock", "event"):
        assert f"(?<{group}>" in pattern
    assert pattern.count("(") == pattern.count(")") == 3  # ShiViz takes groups out of each other wrongly
    matches = list(re.finditer(pattern.replace("(?<", "(?P<"), log))
    assert len(matches) == log.count("\n")
    return [(match["host"], json.loads(match["clock"]), match["event"]) for match in matches]


def histories(folder):
    """By host its events in order: (what, message), from the records."""
    found = {}
    for peer in range(3):
        deliveries = [("delivers", f"p{s}:{n}") for s, n, _, _ in plain.delivered(folder, peer)]
        history, made = [], 0
        for number, _, after in plain.multicast(folder, peer):
            history += deliveries[made:after]
            made = max(made, after)
            history.append(("multicasts", f"p{peer}:{number}"))
        found[f"p{peer}"] = history + deliveries[made:]
    return found


def happened_before(history):
    """Every event with the set of all that happened before it and itself, worked out by following each arrow back."""
    every = [((host, at), event) for host, events in history.items() for at, event in enumerate(events)]
    where = {event: place for place, event in every if event[0] == "multicasts"}
    past = {}

    def past_of(event):
        waiting, seen = [event], {event}
        while waiting:
            host, at = waiting.pop()
            causes = [(host, at - 1)] if at else []
            what, message = history[host][at]
            if what == "delivers":
                causes.append(where["multicasts", message])
            for cause in causes:
                if cause not in seen:
                    seen.add(cause)
                    waiting.append(cause)
        return seen

    for host, events in history.items():
        for at in range(len(events)):
            past[host, at] = past_of((host, at))
    return past


def test_vector_clocks_are_those_of_happened_before(lossy):
    for title, folder in lossy.items():
        history = histories(folder)
        past = happened_before(history)
        seen = dict.fromkeys(history, 0)
        for host, clock, event in events_of(folder):
            at = seen[host]
            seen[host] += 1
            assert tuple(event.split()) == history[host][at], title
            before = past[host, at]
            expected = {other: sum(each == other for each, _ in before) for other in history}
            assert clock == {other: count for other, count in expected.items() if count}, (title, host, at)
            assert clock[host] == at + 1 == seen[host]  # counts from 1, by one
        assert seen == {host: len(events) for host, events in history.items()}


def test_clocks_carry_what_came_the_long_way(copied):
    """p1 multicasts after it delivered p0's message, which p2 delivers only later; what p2 then knows p0 hears of."""
    run = read_header(copied / "trace-0.bin")[0]["run"]
    logs = {0: [(0, 0), (2, 0)], 1: [(0, 0), (1, 0)], 2: [(1, 0), (2, 0)]}
    sends = {0: [(0, 1, 0, 0.1)], 1: [(0, 1, 1, 0.2)], 2: [(0, 1, 1, 0.3)]}
    for peer, log in logs.items():
        records = [(DELIVERED, sender, number, 1, 1, 0.5) for sender, number in log]
        plain.write_trace(copied, peer, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
        plain.write_sends(copied, peer, sends[peer], run=run)
    last = [clock for host, clock, event in events_of(copied) if (host, event) == ("p0", "delivers p2:0")]
    assert last == [{"p0": 3, "p1": 2, "p2": 2}]


def test_clocks_in_parts_are_the_same(copied, monkeypatch):
    whole = exported(copied, "shiviz")
    for at_once in (1, 2, 7):
        monkeypatch.setattr("analysis.exporters.shiviz.AT_ONCE", at_once)
        assert exported(copied, "shiviz") == whole


def test_names_that_shiviz_would_cut(copied):
    settings = json.loads((copied / "scenario.json").read_text())["settings"]
    plain.change(copied / "scenario.json", settings=settings | {"members": ["ana maria", "ana_maria", "{bob} \u00e4"]})
    hosts = {host for host, _, _ in events_of(copied)}
    assert hosts == {"ana_maria#0", "ana_maria#1", "{bob}_\u00e4#2"}


def test_messages_of_strangers_and_without_a_record(copied):
    run = read_header(copied / "trace-0.bin")[0]["run"]
    records = [(DELIVERED, 9, 0, 1, 1, 0.5), (DELIVERED, 1, 77, 1, 1, 0.6)]
    plain.write_trace(copied, 0, [(RELEASED, 0, 0, 0, 0, 1.0), *records], run=run)
    plain.write_sends(copied, 0, [], run=run)
    mine = [(clock, event) for host, clock, event in events_of(copied) if host == "p0"]
    assert mine == [({"p0": 1}, "delivers 9:0"), ({"p0": 2}, "delivers p1:77")]

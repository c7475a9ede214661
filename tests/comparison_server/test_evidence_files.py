"""Evidence from files: the binary ones of a run, exports, and what other programs write; what is said of bad ones."""

import json

import numpy as np
import pytest

from comparison_server.evidence import EvidenceError
from comparison_server.judge import load
from comparison_server.run_folder import MOST_MESSAGES, facts_of, load_run
from peer.core.trace import DELIVERED, DELIVERY_RECORD, MAGIC, RELEASED, SEAL, SEND_RECORD, VIEW, pack_header


def write_trace(path, runs, *, sealed=True, header=None):
    """Runs are (sender, first, count) or (view,)."""
    records = [
        DELIVERY_RECORD.pack(*((VIEW, 0, *run, 0, 0, 0.0) if len(run) == 1 else (DELIVERED, *run, 9, 1.5)))
        for run in runs
    ]
    if sealed:
        records.append(DELIVERY_RECORD.pack(SEAL, 0, 0, 0, len(records), 0.0))
    path.write_bytes(pack_header(header or {}) + b"".join(records))


def write_sends(path, runs, *, sealed=True):
    """Runs are (first, count, after)."""
    records = [SEND_RECORD.pack(DELIVERED, first, count, 0, after, 0.5) for first, count, after in runs]
    if sealed:
        records.append(SEND_RECORD.pack(SEAL, 0, 0, 0, len(records), 0.0))
    path.write_bytes(pack_header({}) + b"".join(records))


def pairs(log):
    return [(int(ident) >> 32, int(ident) & 0xFFFFFFFF) for ident in log.ids]


@pytest.fixture
def run(tmp_path):
    for peer, runs in enumerate([[(0, 1, 3), (1, 1, 2)], [(0, 1, 3), (1, 1, 1), (1, 2, 1)]]):
        write_trace(tmp_path / f"trace-{peer}.bin", runs, header={"peer": peer})
        write_sends(tmp_path / f"sends-{peer}.bin", [(1, 2, 0), (3, 1, 2)] if peer == 0 else [(1, 2, 3)])
    (tmp_path / "scenario.json").write_text(json.dumps({"settings": {"members": ["p0", "p1"]}}))
    return tmp_path


# The binary files of a run


def test_runs_are_expanded(run):
    evidence = load_run(run, times=True)
    first, second = evidence.logs
    assert [log.label for log in evidence.logs] == ["0", "1"] and evidence.closed
    assert pairs(first) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)] == pairs(second)
    assert first.ids.dtype == np.uint64
    assert first.sends.numbers.tolist() == [1, 2, 3] and first.sends.after.tolist() == [0, 0, 2]
    assert first.sends.times_s.tolist() == [0.5] * 3 and first.times_s.tolist() == [1.5] * 5
    assert first.up and first.sealed and first.sender == 0
    assert load_run(run).logs[0].times_s is None


def test_a_half_written_record_is_cut_and_a_log_without_seal_is_not_up(run):
    write_trace(run / "trace-1.bin", [(0, 1, 3), (1, 1, 1)], sealed=False)
    with open(run / "trace-1.bin", "ab") as file:
        file.write(DELIVERY_RECORD.pack(DELIVERED, 1, 2, 1, 0, 0.0)[:-1])
    log = load_run(run).logs[1]
    assert pairs(log) == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert (log.up, log.sealed, log.why) == (False, False, "log cut")


def test_send_records_without_seal_cut_the_log_too(run):
    write_sends(run / "sends-1.bin", [(1, 2, 3)], sealed=False)
    assert not load_run(run).logs[1].sealed


def test_missing_send_records_are_no_evidence_and_missing_logs_are_not_up(run):
    (run / "sends-1.bin").unlink()
    log = load_run(run).logs[1]
    assert log.sends is None and log.up
    (run / "trace-0.bin").unlink()
    log = load_run(run).logs[0]
    assert not log.up and len(log.ids) == 0 and log.sends.numbers.tolist() == [1, 2, 3]
    (run / "sends-0.bin").unlink()
    log = load_run(run).logs[0]
    assert (log.label, log.up, log.why, log.sends) == ("0", False, "no log", None)


def test_the_moment_of_release_delivers_nothing(run):
    with open(run / "trace-1.bin", "wb") as file:
        records = [DELIVERY_RECORD.pack(RELEASED, 0, 0, 0, 0, 12.5), DELIVERY_RECORD.pack(DELIVERED, 1, 1, 2, 0, 0.5)]
        file.write(pack_header({"peer": 1}) + b"".join(records) + DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 2, 0.0))
    log = load_run(run).logs[1]
    assert pairs(log) == [(1, 1), (1, 2)] and log.zero_s == 12.5 and log.up


def test_views_stand_where_they_were_installed_and_who_lacks_the_last_was_left_out(run):
    write_trace(run / "trace-0.bin", [(0,), (0, 1, 3), (1,), (1, 1, 2)])
    write_trace(run / "trace-1.bin", [(0,), (0, 1, 3), (1, 1, 2)])
    first, second = load_run(run).logs
    assert first.views == [(0, 0), (3, 1)] and first.up and pairs(first) == pairs(second)
    assert (second.up, second.why) == (False, "left out of view 1")


def test_the_log_of_a_restarted_process_is_one_log(run):
    seal = DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 1, 0.0)
    write_trace(run / "trace-0.bin", [(0, 1, 3)], sealed=False)
    more = DELIVERY_RECORD.pack(DELIVERED, 1, 1, 2, 0, 0.0) + DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 3, 0.0)
    with open(run / "trace-0.bin", "ab") as file:
        file.write(seal + more)
    log = load_run(run, not_up={"0": "crashed"}).logs[0]
    assert pairs(log) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)] and log.sealed
    assert (log.up, log.why) == (False, "crashed")


def test_the_scenario_tells_who_is_not_up_and_the_header_where_a_joiner_began(run):
    scenario = {"settings": {"members": ["p0", "p1", "p2"]}, "not_up": {"1": "crashed"}}
    (run / "scenario.json").write_text(json.dumps(scenario))
    write_trace(run / "trace-2.bin", [(1, 1, 2)], header={"peer": 2, "start": 3})
    logs = load_run(run).logs
    assert [(log.up, log.why, log.start) for log in logs] == [(True, "", 0), (False, "crashed", 0), (True, "", 3)]


def test_what_the_scenario_tells_of_the_run(run):
    scenario = {"world": "sim", "ordering": "skeen", "settings": {"workload": {"messages": 3}}}
    (run / "scenario.json").write_text(json.dumps(scenario))
    assert facts_of(run) == {"ordering": "skeen", "world": "sim", "messages_per_peer": 3}
    (run / "scenario.json").write_text("[]")
    assert facts_of(run) == {"ordering": None, "world": None}
    (run / "scenario.json").write_text("{")
    with pytest.raises(EvidenceError, match="scenario.json is not JSON"):
        load_run(run)


def test_an_empty_trace_is_a_log_without_deliveries(run):
    write_trace(run / "trace-1.bin", [], sealed=False)
    assert pairs(load_run(run).logs[1]) == [] and not load_run(run).logs[1].up


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(b"hello"), "trace-1.bin is not a trace file of this lab"),
        (lambda path: path.write_bytes(MAGIC + b'{"peer"'), "trace-1.bin is cut inside its header"),
        (lambda path: path.write_bytes(MAGIC + b"{peer}\n"), "trace-1.bin has a damaged header"),
        (lambda path: path.write_bytes(MAGIC + b"\xff\n"), "trace-1.bin has a damaged header"),
        (
            lambda path: path.write_bytes(pack_header({}) + DELIVERY_RECORD.pack(7, 0, 0, 0, 0, 0.0)),
            "trace-1.bin, record 0: there is no record of kind 7",
        ),
        (
            lambda path: path.write_bytes(pack_header({}) + DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 4, 0.0)),
            "trace-1.bin was closed after 4 records, but 0 come before its seal",
        ),
        (
            lambda path: write_trace(path, [(0, 1, 1), (0, 2**32 - 1, 2)]),
            "trace-1.bin, record 1: a run of 2 messages goes beyond the last number",
        ),
        (
            lambda path: write_trace(path, [(0, 0, MOST_MESSAGES), (0, 0, 1)]),
            f"trace-1.bin speaks of {MOST_MESSAGES + 1} messages, more than a log can hold",
        ),
        (lambda path: write_trace(path, [], header={"peer": "x"}), "trace-1.bin does not tell the number of its peer"),
    ],
)
def test_a_damaged_trace_is_named(run, damage, sentence):
    damage(run / "trace-1.bin")
    with pytest.raises(EvidenceError) as error:
        load_run(run)
    assert str(error.value) == str(run / sentence)


def test_damaged_send_records_are_named(run):
    write_sends(run / "sends-1.bin", [(1, 1, 3), (2, 1, 2)])
    with pytest.raises(EvidenceError, match="sends-1.bin, record 1: 2 deliveries made before are fewer than before"):
        load_run(run)


def test_a_folder_without_traces_is_named(tmp_path):
    with pytest.raises(EvidenceError, match="holds no trace-<peer>.bin"):
        load_run(tmp_path)


# Text of other programs


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / name)

    return write


def test_rows_of_sender_and_number_in_order(write):
    files = [write("bob.csv", "sender,number\nana,1\nbob,1\n\nana,2\n"), write("ana.csv", "bob,1\r\nana,1")]
    evidence = load(files)
    bob, ana = evidence.logs
    assert [evidence.message_name(ident) for ident in bob.ids] == ["ana:1", "bob:1", "ana:2"]
    assert [evidence.message_name(ident) for ident in ana.ids] == ["bob:1", "ana:1"]
    assert [(log.label, evidence.sender_name(log.sender)) for log in (bob, ana)] == [("bob", "bob"), ("ana", "ana")]
    assert bob.sends is None and bob.up and not evidence.closed


def test_send_rows_tell_how_many_deliveries_came_before(write):
    ana, bob = load([write("ana.csv", "send,1\nana,1\nbob,1\nsend,2\nana,2"), write("bob.csv", "bob,1\nana,1\n")]).logs
    assert ana.sends.numbers.tolist() == [1, 2] and ana.sends.after.tolist() == [0, 2]
    assert bob.sends is None  # a message of his was delivered, so he multicast something that was not recorded


def test_who_has_no_send_rows_and_no_messages_multicast_none(write):
    ana, bob = load(["ana=" + write("1.txt", "send,1\nana,1"), "bob=" + write("2.txt", "ana,1\n")]).logs
    assert bob.sends is not None and len(bob.sends.numbers) == 0


@pytest.mark.parametrize("names", [("logfile0.log", "logfile1.log"), ("run2-0.csv", "run2-1.csv"), ("0", "1")])
def test_a_file_name_may_end_in_the_name_of_its_process(write, names):
    evidence = load([write(name, "0,5\n1,5\n") for name in names])
    assert [evidence.sender_name(log.sender) for log in evidence.logs] == ["0", "1"]


def test_a_file_name_that_fits_twice_fits_nobody(write):
    evidence = load([write("a-1.csv", "1,5\n2,5\n"), write("b-1.csv", "1,5\n2,5")])
    assert [log.sender for log in evidence.logs] == [None, None]


def test_the_operator_names_a_process(write):
    evidence = load([f"ana={write('1.csv', 'bob,1')}", f"bob={write('2.csv', 'bob,1')}"])
    assert [log.label for log in evidence.logs] == ["ana", "bob"]
    assert [evidence.sender_name(log.sender) for log in evidence.logs] == ["ana", "bob"]


def test_a_file_may_have_an_equals_sign_in_its_name(write):
    assert load([write("loss=0.csv", "ana,1")]).logs[0].label == "loss=0"


def test_numbers_that_do_not_fit_are_counted_from_the_smallest(write):
    text = f"ana,{10**30}\nbob,-3\nana,{10**30 + 1}\nbob,-2\ncy,7\n"
    evidence = load([write("ana.csv", text), write("bob.csv", text)])
    log = evidence.logs[0]
    assert pairs(log) == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 7)]
    assert evidence.message_name(log.ids[2]) == f"ana:{10**30 + 1}" and evidence.message_name(log.ids[1]) == "bob:-3"


def test_a_first_row_with_a_number_is_no_line_of_titles(write):
    assert len(load([write("a.csv", "ana,1\n")]).logs[0].ids) == 1
    for titles in ("\ufeffwho,count", "Sender, Number", "process,seq"):
        assert len(load([write("a.csv", f"{titles}\nana,1\n")]).logs[0].ids) == 1
    for row in ("ana,x", "sender,", "number,sender", "who"):  # a log that is broken in its first row
        with pytest.raises(EvidenceError, match="a.csv, line 1: expected"):
            load([write("a.csv", f"{row}\nana,1\n")])
    with pytest.raises(EvidenceError, match="a.csv, line 1: expected a number and found 'x1'"):
        load([write("a.csv", "ana,x1\n")])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ana,1\nbob\n", "line 2: expected sender,number and found 'bob'"),
        ("ana,1\nbob,2,3\n", "line 2: expected sender,number and found 'bob,2,3'"),
        ("ana,1\nbob,1.5\n", "line 2: expected a number and found '1.5'"),
        ("ana,1\nsend,\n", "line 2: expected a number and found ''"),
        ("ana,1\nbob,1_0\n", "line 2: expected a number and found '1_0'"),
        (b"ana,1\n\xff\xfe,2\n", "is not text"),
        (f"ana,0\nana,{2**32}\n", f"the numbers of sender ana run from 0 to {2**32}, too far apart"),
    ],
)
def test_bad_text_is_named(write, text, sentence):
    with pytest.raises(EvidenceError) as error:
        load([write("ana.csv", text)])
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_send_rows_of_a_process_that_cannot_be_told_are_refused(write):
    with pytest.raises(EvidenceError, match="name its process as the logs do, with PEER=FILE"):
        load([write("one.csv", "send,1\nana,1\n")])


def test_logs_without_own_messages_need_their_processes_named(write):
    files = [write("one.csv", "bob,1\n"), write("two.csv", "ana,1\n")]
    with pytest.raises(EvidenceError, match="whose log .*one.csv is cannot be told"):
        load(files, self_delivery=False)
    evidence = load([f"ana={files[0]}", f"bob={files[1]}"], self_delivery=False)
    assert not evidence.self_delivery and [log.sender for log in evidence.logs] == [1, 0]


def test_two_files_of_one_process_are_refused(write):
    with pytest.raises(EvidenceError, match="x.txt and .*ana.csv are both logs of ana"):
        load([write("ana.csv", "ana,1"), "ana=" + write("x.txt", "ana,1")])


def test_what_cannot_be_opened_is_named(tmp_path, write):
    with pytest.raises(EvidenceError, match="none.csv cannot be read: No such file"):
        load([str(tmp_path / "none.csv")])


# Exports

DELIVERIES = "peer,position,sender,number,time_s\n0,0,0,1,0.5\n0,1,1,1,0.75\n1,0,0,1,\n1,1,1,1,1.0\n"
SENDS = "peer,number,time_s,after\n0,1,0.25,0\n1,1,0.5,1\n"


@pytest.mark.parametrize("names", [("d.csv", "s.csv"), ("s.csv", "d.csv")])
def test_an_export_and_its_send_records(write, names):
    write("d.csv", DELIVERIES)
    write("s.csv", SENDS)
    evidence = load([write(name, {"d.csv": DELIVERIES, "s.csv": SENDS}[name]) for name in names])
    first, second = evidence.logs
    assert pairs(first) == [(0, 1), (1, 1)] and (first.label, second.label) == ("0", "1")
    assert first.times_s.tolist() == [0.5, 0.75] and np.isnan(second.times_s[0])
    assert second.sends.numbers.tolist() == [1] and second.sends.after.tolist() == [1]
    assert second.sends.times_s.tolist() == [0.5]


def test_an_export_without_send_records_has_none(write):
    assert [log.sends for log in load([write("d.csv", DELIVERIES)]).logs] == [None, None]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (DELIVERIES + "1,3,0,2,1.0\n", "line 6: expected position 2 of peer 1 and found 3"),
        (DELIVERIES + "1,2,0,2\n", "line 6: expected peer,position,sender,number,time_s and found '1,2,0,2'"),
        (DELIVERIES + "1,2,0,x,1\n", "line 6: expected a number and found 'x'"),
        (DELIVERIES + "1,2,0,2,soon\n", "line 6: expected seconds and found 'soon'"),
        (SENDS + "1,2,1.0,0\n", "line 4: peer 1 cannot have made 0 deliveries by then"),
        (SENDS + "1,2,1.0,-1\n", "line 4: peer 1 cannot have made -1 deliveries by then"),
    ],
)
def test_a_bad_export_is_named(write, text, sentence):
    with pytest.raises(EvidenceError) as error:
        load([write("d.csv", text)])
    assert sentence in str(error.value)


def test_an_export_names_its_peers_itself_and_comes_once(write):
    path = write("d.csv", DELIVERIES)
    with pytest.raises(EvidenceError, match="an export that names its peers itself; leave out ana="):
        load([f"ana={path}"])
    with pytest.raises(EvidenceError, match="are both logs of 0"):
        load([path, write("e.csv", DELIVERIES)])


# Traces on the command line


def test_a_run_folder_and_its_traces_are_judged_alike(run):
    folder, traces = load([str(run)]), load([str(run / "trace-0.bin"), str(run / "trace-1.bin")])
    assert [pairs(log) for log in folder.logs] == [pairs(log) for log in traces.logs]
    assert folder.closed and not traces.closed
    with pytest.raises(EvidenceError, match="cannot be judged together"):
        load([str(run / "trace-0.bin"), str(run)])
    with pytest.raises(EvidenceError, match="--no-self is for logs of other programs"):
        load([str(run)], self_delivery=False)

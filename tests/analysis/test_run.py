"""Run folders as tables: against a plain reading of the records; and folders that are not what they should be."""

import json
import shutil

import pytest

from analysis.run import PARTIAL, load_run
from experiments import run_folder
from peer.core.errors import BAD_SETTINGS, LabError, SettingsError
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain


def test_tables_hold_what_the_records_do(lossy):
    for title, folder in lossy.items():
        run = load_run(folder)
        deliveries, sends = run.deliveries, run.sends
        assert list(deliveries) == ["peer", "position", "sender", "number", "time_s", "stamp"]
        assert list(sends) == ["peer", "number", "time_s", "due_s", "after"]
        assert run.title == title
        for peer in run.peers:
            mine = deliveries[deliveries["peer"] == peer.number].drop(columns="peer").itertuples(index=False)
            rows = [(position, *row) for position, row in enumerate(plain.delivered(folder, peer.number))]
            assert [tuple(row) for row in mine] == rows and len(rows) == peer.delivered == 75
            mine = sends[sends["peer"] == peer.number]
            assert mine["due_s"].tolist() == plain.due(folder, peer.number)
            mine = mine.drop(columns=["peer", "due_s"]).itertuples(index=False)
            rows = plain.multicast(folder, peer.number)
            assert [tuple(row) for row in mine] == rows and len(rows) == peer.multicast == 25


def test_what_is_known_of_a_run(lossy):
    run = load_run(str(lossy["lamport_all_ack:promise"]))
    document = json.loads((run.folder / "scenario.json").read_text())
    assert run.scenario == document and run.shared_clock and not run.partial
    assert run.verdict == json.loads((run.folder / "verdict.json").read_text())
    assert run.measures == json.loads((run.folder / "measures.json").read_text())
    assert [peer.region for peer in run.peers] == document["settings"]["regions"]
    assert [peer.name for peer in run.peers] == ["p0", "p1", "p2"]
    for peer in run.peers:
        assert peer.sealed and peer.start == 0 and peer.zero_s == plain.zero(run.folder, peer.number)


def with_log_of_peer_0(folder, *records):
    """The run after peer 0 wrote these records instead of its own."""
    plain.write_trace(folder, 0, records, run=read_header(folder / "trace-1.bin")[0]["run"])
    run = load_run(folder)
    return run.peers[0], run.deliveries_of(run.peers[0])


def test_a_block_of_several_messages_is_as_many_rows(copied):
    records = [(RELEASED, 0, 0, 0, 0, 10.0), (DELIVERED, 2, 5, 3, 9, 1.5), (DELIVERED, 0, 0, 1, 10, 2.5)]
    _, rows = with_log_of_peer_0(copied, *records)
    assert rows[["sender", "number"]].values.tolist() == [[2, 5], [2, 6], [2, 7], [0, 0]]
    assert rows["stamp"].tolist() == [9, 9, 9, 10] and rows["time_s"].tolist() == [1.5, 1.5, 1.5, 2.5]


def test_what_was_delivered_before_the_release_counts_backwards(copied):
    # Until then the recorder knows no zero, and writes the clock as it is.
    records = [(DELIVERED, 1, 0, 1, 1, 99.5), (RELEASED, 0, 0, 0, 0, 100.0), (DELIVERED, 1, 1, 1, 2, 0.25)]
    peer, rows = with_log_of_peer_0(copied, *records)
    assert rows["time_s"].tolist() == [-0.5, 0.25] and peer.zero_s == 100.0


def test_who_was_never_released_has_no_times(copied):
    peer, rows = with_log_of_peer_0(copied, (DELIVERED, 1, 0, 2, 1, 99.5))
    assert rows["time_s"].isna().tolist() == [True, True] and peer.zero_s is None


# -- folders that are not what they should be


def make_partial(folder):
    (folder / PARTIAL).write_text("")


def cut(folder):
    path = folder / "trace-1.bin"
    path.write_bytes(path.read_bytes()[:-7])


def of_another_run(folder):
    records = [(RELEASED, 0, 0, 0, 0, 1.0)]
    plain.write_trace(folder, 2, records, run="another")


def of_another_peer(folder):
    shutil.copy(folder / "trace-0.bin", folder / "trace-1.bin")


def strange_record(folder):
    plain.write_trace(folder, 1, [(77, 0, 0, 0, 0, 1.0)])


def newer_settings(folder):
    settings = json.loads((folder / "scenario.json").read_text())["settings"]
    plain.change(folder / "scenario.json", settings=settings | {"colour": "red"})


BAD = [
    (lambda folder: shutil.rmtree(folder), "run: there is no such folder"),
    (lambda folder: (folder / "scenario.json").unlink(), "run: this is not the folder of a run: it holds no "),
    (lambda folder: (folder / "scenario.json").write_text("{"), "scenario.json: is damaged: "),
    (lambda folder: (folder / "scenario.json").write_text("[1]"), "scenario.json: is damaged: it holds no object"),
    (lambda folder: plain.change(folder / "scenario.json", settings=...), "json: is damaged: it holds no 'settings'"),
    (lambda folder: plain.change(folder / "scenario.json", settings=[1]), "json: tells settings that this "),
    (newer_settings, "scenario.json: tells settings that this version does not know: colour: unknown setting"),
    (lambda folder: (folder / "verdict.json").unlink(), "verdict.json: is missing, though the run came to its end"),
    (lambda folder: (folder / "verdict.json").write_text("{}"), "verdict.json: is damaged: it holds no 'ordering'"),
    (lambda folder: (folder / "measures.json").write_bytes(b"\xff\xfe"), "measures.json: is damaged: "),
    (lambda folder: (folder / "trace-1.bin").unlink(), "trace-1.bin: is missing, though the run came to its end"),
    (lambda folder: (folder / "sends-2.bin").unlink(), "sends-2.bin: is missing, though the run came to its end"),
    (cut, "run, peer 1: its log is cut, though the run came to its end"),
    (of_another_run, "trace-2.bin: is a log of another run"),
    (of_another_peer, "trace-1.bin: is the log of peer 0"),
    (strange_record, "trace-1.bin, record 0: there is no record of kind 77"),
    (lambda folder: (folder / "trace-0.bin").write_bytes(b"nothing of ours"), "trace-0.bin is not a trace file"),
    (make_partial, "run: only a part of the run is here: the run did not come to its end"),
]


@pytest.mark.parametrize("damage, sentence", BAD, ids=range(len(BAD)))
def test_a_bad_folder_is_told_in_one_sentence(copied, damage, sentence):
    damage(copied)
    with pytest.raises(LabError) as caught:
        load_run(copied)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == BAD_SETTINGS


def test_a_partial_run_says_why_and_can_still_be_read(tmp_path):
    (run,) = plain.played(tmp_path, "lossy", "lamport_all_ack", "deadlines.deadline_s=2", messages=50)
    assert run.error is not None
    with pytest.raises(SettingsError, match="only a part of the run is here: the deadline passed in phase"):
        load_run(run.folder)
    left = load_run(run.folder, partial=True)
    assert left.partial and 0 < len(left.deliveries) < 450
    (run.folder / "trace-1.bin").unlink()
    (run.folder / "verdict.json").unlink()
    (run.folder / "measures.json").unlink()
    left = load_run(run.folder, partial=True)
    assert left.verdict == left.measures == {}
    assert [peer.delivered > 0 for peer in left.peers] == [True, False, True] and not left.peers[1].sealed


def test_the_log_of_a_crashed_peer_may_be_cut(copied):
    cut(copied)
    plain.change(copied / "scenario.json", not_up={"1": "crashed"})
    run = load_run(copied)
    assert [peer.sealed for peer in run.peers] == [True, False, True]


def test_the_mark_of_a_partial_folder_is_that_of_the_worlds():
    assert PARTIAL == run_folder.PARTIAL

"""The simulator: one seed gives the same bytes everywhere, timers fire as promised, and every run ends."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from comparison_server.run_folder import load_traces
from experiments.simulator.world import simulate
from peer.core.settings import DeadlineSettings
from peer.core.trace import DELIVERY_RECORD, RELEASED, SEND_RECORD, read_header
from peer.stacks import ORDERINGS, WORKLOADS, promised
from peer.workload.sender import Sender
from tests.runs import NAMED, faulty, play, records, run_settings

ROOT = Path(__file__).parents[2]

every_ordering = pytest.mark.parametrize("ordering, variant", **NAMED)


def files(played):
    """All that a run leaves."""
    simulated = played.simulated
    return [*simulated.traces, *simulated.sends, *(steps.encode() for steps in simulated.steps)]


# -- the same seed


@every_ordering
def test_one_seed_is_one_run(ordering, variant):
    run = run_settings(ordering, variant, trace="everything", **faulty(0.1))
    one, again, other = play(run), play(run), play(replace(run, seed="2"))
    assert files(one) == files(again) and one.simulated.measures == again.simulated.measures
    assert (one.simulated.virtual_s, one.simulated.turns) == (again.simulated.virtual_s, again.simulated.turns)
    assert all(mine != theirs for mine, theirs in zip(files(one), files(other)))


PRINT_HASHES = """
import hashlib
from tests.experiments.test_simulator import *
for ordering, variant in %r:
    for seed in (1, 2):
        played = play(run_settings(ordering, variant, seed=seed, trace="everything", **faulty(0.1)))
        print(ordering, variant, *[hashlib.blake2b(file).hexdigest() for file in files(played)])
"""


def test_one_seed_is_one_run_in_every_process():
    """Whatever the process salts its hashes with, wherever it stands, whatever the hour and the language."""

    def printed(**environment):
        code = PRINT_HASHES % NAMED["argvalues"]
        environment = {"PYTHONPATH": str(ROOT), **environment}
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True, check=True
        )
        return ran.stdout.splitlines()

    one = printed(PYTHONHASHSEED="1")
    other = printed(PYTHONHASHSEED="4711", TZ="Asia/Tokyo", LC_ALL="C", HOME="/nowhere")
    assert one == other
    assert len(one) == len(set(one)) == 2 * len(NAMED["argvalues"])


def test_the_header_says_what_ran_and_nothing_of_where(tmp_path):
    run = run_settings("fifo")
    simulated = simulate(run, run_id="r7", agreement=True, header={"world": "sim"})
    for peer, (trace, sends) in enumerate(zip(simulated.traces, simulated.sends)):
        for kind, data in (("deliveries", trace), ("sends", sends)):
            (tmp_path / "file").write_bytes(data)
            header, offset = read_header(tmp_path / "file")
            settings = header.pop("settings")
            assert header == {"world": "sim", "peer": peer, "run": "r7", "records": kind}
            assert settings["seed"] == "1" and settings["members"] == ["p0", "p1", "p2"] and offset % 64 == 0


def test_what_is_written_can_be_judged(tmp_path):
    """The files that real runs leave are read by the judge; a simulated run leaves the same."""
    played = play(run_settings(**faulty(0.1)))
    for peer, (trace, sends) in enumerate(zip(played.simulated.traces, played.simulated.sends)):
        (tmp_path / f"trace-{peer}.bin").write_bytes(trace)
        (tmp_path / f"sends-{peer}.bin").write_bytes(sends)
    evidence = load_traces(sorted(tmp_path.glob("trace-*.bin")), peers=3)
    for read, direct in zip(evidence.logs, played.evidence.logs, strict=True):
        assert read.up and read.sender == direct.sender and read.ids.tolist() == direct.ids.tolist()
        assert read.sends.numbers.tolist() == direct.sends.numbers.tolist()
        assert read.sends.after.tolist() == direct.sends.after.tolist()


# -- paired comparison


def asked_at(played):
    """When each peer multicast what, since its release."""
    return [
        [(first, count, pytest.approx(time_s)) for _, first, count, _, _, time_s in records(sends, SEND_RECORD)]
        for sends in played.simulated.sends
    ]


def test_one_orderings_packets_do_not_change_what_another_meets():
    """With the same seed all orderings see the same messages at the same times."""
    at = [asked_at(play(run_settings(*each, workload="steady", loss=0.1))) for each in NAMED["argvalues"]]
    assert all(each == at[0] for each in at[1:])
    assert asked_at(play(run_settings(seed=2, loss=0.1))) != at[0]


def test_the_first_packets_of_a_pair_meet_the_same_fate_whatever_runs():
    """Datagrams are counted by pair, so the handshake of one seed is that of every ordering."""
    reached = set()
    for each in NAMED["argvalues"]:
        played = play(run_settings(*each, loss=0.3))
        rows = [records(trace, DELIVERY_RECORD) for trace in played.simulated.traces]
        reached.add(tuple(row[-1] for log in rows for row in log if row[0] == RELEASED))
    assert len(reached) == 1


# -- time


def test_virtual_time_costs_no_time():
    """Messages hours apart."""
    hours = DeadlineSettings(drain_s=1e5, deadline_s=1e6)
    played = play(run_settings("fifo", peers=2, messages=3, gap_ms=(3_600_000, 3_600_000), deadlines=hours))
    played.assert_flawless()
    assert 3 * 3600 <= played.simulated.virtual_s < 3 * 3600 + 60


@dataclass(slots=True)
class Probe(Sender):
    """A workload that sets timers instead of multicasting, and notes which fire."""

    name = "probe"
    fired: list = field(default_factory=list)

    def on_release(self, out):
        self.ending = True
        out.set_timer("replaced", 0.1)
        out.set_timer("replaced", 0.5)
        out.set_timer("brought forward", 0.9)
        out.set_timer("brought forward", 0.2)
        out.set_timer("cancelled", 0.3)
        out.cancel_timer("cancelled")
        out.cancel_timer("never set")
        for key in ("first", "second", "third"):  # due together; the first cancels the second
            out.set_timer(key, 0.4)
        out.set_timer("renewed", 0.6)
        out.set_timer("again and again", 0.7)
        out.set_timer(("a key", 3), 0.8, 1.0)

    def on_timer(self, key, out):
        self.fired.append(key)
        out.note("fired", key=key)
        if key == "first":
            out.cancel_timer("second")
        if key == "renewed" and self.fired.count(key) == 1:
            out.set_timer("renewed", 0.5)
        if key == "again and again" and self.fired.count(key) < 3:
            out.set_timer(key, 0.0)


def test_timers(monkeypatch):
    """One timer a key: setting it again replaces it, a cancelled one never fires, not even when it is already due."""
    monkeypatch.setitem(WORKLOADS, "probe", Probe)
    quiet = DeadlineSettings(drain_s=5.0)
    run = run_settings("unordered", peers=1, workload="probe", trace="everything", deadlines=quiet)
    run = replace(run, window=replace(run.window, blocks=1))
    monkeypatch.setattr(Probe, "on_flush", lambda self, out: None)  # no END, so that the run lasts until it is quiet
    played = play(run)
    steps = [json.loads(line) for line in played.simulated.steps[0].splitlines()]
    began = next(step["time_s"] for step in steps if any(e.get("key") == "replaced" for e in step["effects"]))
    fired = [
        (round(step["time_s"] - began, 6), effect["fields"]["dict"][0][1])
        for step in steps
        for effect in step["effects"]
        if effect["is"] == "Note" and effect["name"] == "fired"
    ]
    assert fired[:9] == [
        (0.2, "brought forward"), (0.4, "first"), (0.4, "third"), (0.5, "replaced"), (0.6, "renewed"),
        (0.7, "again and again"), (0.7, "again and again"), (0.7, "again and again"), fired[8],
    ]  # fmt: skip
    assert 0.8 < fired[8][0] < 1.0 and fired[8][1] == {"tuple": ["a key", 3]}
    assert fired[9:] == [(1.1, "renewed")]


# -- datagrams


def test_packets_of_a_turn_share_datagrams_that_are_full_but_not_overfull():
    for datagram_bytes in (1372, 9000):
        run = run_settings("fifo", messages=400, workload="burst", size_bytes=200, datagram_bytes=datagram_bytes)
        played = play(replace(run, window=replace(run.window, block_bytes=300)))
        played.assert_flawless()
        for measures in played.simulated.measures:
            assert measures["bytes_sent"] <= measures["datagrams_sent"] * datagram_bytes
            assert measures["packets_sent"] > 2 * measures["datagrams_sent"]


def test_what_was_lost_is_counted_and_sent_again():
    calm, lossy = (play(run_settings("fifo", loss=loss)) for loss in (0.0, 0.3))
    assert total(calm, "resent") == total(calm, "lost_by_model") == total(calm, "duplicates") == 0
    assert total(lossy, "resent") > 20 and total(lossy, "packets_sent") > 1.2 * total(calm, "packets_sent")
    lost = total(lossy, "lost_by_model") / total(lossy, "datagrams_sent")
    assert 0.2 < lost < 0.4


def total(played, measure):
    return sum(measures[measure] for measures in played.simulated.measures)


# -- the end


def test_a_network_that_loses_everything():
    """No pair ever becomes ready: the handshake runs out of time and says who lacks whom."""
    played = play(run_settings(loss=1.0, deadlines=DeadlineSettings(handshake_s=10.0)))
    error = played.coordinator.error
    assert error.phase == "handshake" and error.peers == ["p0", "p1", "p2"] and not played.coordinator.complete
    assert "the handshake did not end in time" in str(error) and "p0 has not reached p1, p2" in str(error)
    assert played.simulated.virtual_s < 20


def test_a_run_that_takes_too_long_is_told_so():
    played = play(run_settings(messages=10_000, deadlines=DeadlineSettings(deadline_s=5.0)))
    assert played.caught() >= {"send"} and "the deadline passed in phase send" in str(played.coordinator.error)
    assert played.simulated.virtual_s < 10
    assert all(len(log.ids) for log in played.evidence.logs)  # and what there is was kept


def test_sending_may_have_a_time_of_its_own():
    played = play(run_settings(messages=10_000, deadlines=DeadlineSettings(send_s=3.0)))
    assert played.caught() >= {"send"} and "the send did not end in time" in str(played.coordinator.error)


def test_where_nothing_was_promised_an_incomplete_run_just_ends():
    """Without resends something is missing for good; nobody promised otherwise, so it is no error."""
    for ordering in ("unordered", "fifo"):
        played = play(run_settings(ordering, link_name="direct", loss=0.2, seed=3))
        assert played.coordinator.error is None and not played.coordinator.complete
        assert played.verdict.complete is False and played.verdict.violated() == []
        assert "agreement" not in promised(played.run)


@pytest.mark.parametrize(("ordering", "variant"), **NAMED)
def test_packets_that_go_over_the_wire_make_the_same_run(ordering, variant):
    runs = [play(run_settings(ordering, variant, messages=30, wire=wire, **faulty(0.1))) for wire in (False, True)]
    assert [each.simulated.measures for each in runs[:1]] == [each.simulated.measures for each in runs[1:]]
    plain, coded = ([records(file, DELIVERY_RECORD) for file in each.simulated.traces] for each in runs)
    assert plain == coded


def test_a_group_of_one_ends_at_once():
    for ordering in ORDERINGS:
        run = play(run_settings(ordering, peers=1, messages=5, gap_ms=(1.0, 1.0)))
        run.assert_flawless()
        assert run.simulated.virtual_s < 0.1


def test_a_message_of_the_largest_size_is_cut_and_joined():
    play(run_settings("fifo", peers=2, messages=1, size_bytes=16 * 2**20)).assert_flawless()

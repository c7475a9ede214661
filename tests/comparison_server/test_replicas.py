"""Replicas worked out again from the logs: how many there are, where they part, and what members say of their own."""

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from comparison_server import replicas
from comparison_server.evidence import Evidence, PeerLog, message_ids
from comparison_server.judge import judge as judge_command
from experiments.local import in_local
from experiments.play import in_simulator, plan
from experiments.play import play as play_planned
from experiments.scenario import load, override, resolve
from peer.core.guarantees import TOTAL
from peer.stacks import ORDERINGS, WORKLOADS, promised
from peer.workload.bank import Account, Bank
from peer.workload.replica import Replicated
from tests.runs import NAMED, evidence_of, faulty, play, run_settings

KINDS = [name for name, kind in WORKLOADS.items() if issubclass(kind, Replicated)]
every_kind = pytest.mark.parametrize("name", KINDS)


def compared(played):
    """The replicas of a simulated run, with what its members reported."""
    reported = dict(zip(played.run.members, played.simulated.measures))
    return replicas.compare(played.evidence, played.run, reported)


def regions(name, ordering, variant=None, messages=30, seed="1"):
    """A standard scenario, six peers in three regions, with fewer messages."""
    return resolve(override(load(name), messages=messages), ordering, variant, seed, "sim")


def evidence(*logs):
    """Logs of (sender, number)."""
    ids = [message_ids(*np.array(log, np.int64).reshape(-1, 2).T) for log in logs]
    return Evidence([PeerLog(str(peer), each, peer) for peer, each in enumerate(ids)])


# -- what is promised, and what is not


@every_kind
@pytest.mark.parametrize("ordering, variant", **NAMED)
def test_a_total_order_has_one_replica_and_what_members_report_is_what_the_logs_say(name, ordering, variant):
    run = regions(name, ordering, variant)
    played = play(run)
    played.assert_flawless()
    found = compared(played).summary
    assert found["faults"] == [] and {each["reported"] for each in found["peers"].values()} == {True}
    assert list(found["peers"]) == list(run.members) and found["workload"] == name
    assert {(each["applied"], each["skipped"]) for each in found["peers"].values()} == {(6 * 30, 0)}
    if TOTAL in promised(run):
        assert found["different"] == 1 and found["sentence"].startswith("Everybody ")


@every_kind
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_without_order_members_end_in_different_states(name, seed):
    found = compared(play(regions(name, "unordered", seed=seed)))
    assert found.summary["different"] >= 3 and found.summary["faults"] == []
    groups = {each["group"] for each in found.summary["peers"].values()}
    assert (
        len(groups) == len({each["digest"] for each in found.summary["peers"].values()}) == found.summary["different"]
    )
    assert found.details["parting"] is not None


def test_balances_differ_everywhere_or_nowhere():
    for ordering, different in (("unordered", 6), ("fifo", 6), ("lamport_all_ack", 1), ("fixed_sequencer", 1)):
        found = compared(play(regions("bank", ordering, messages=50))).summary
        assert len({each["state"] for each in found["peers"].values()}) == found["different"] == different


def test_fifo_keeps_what_one_speaker_says_in_order_and_no_order_does_not():
    one, other = (compared(play(regions("text", ordering))) for ordering in ("unordered", "fifo"))
    assert one.details["jumbled"] and "is out of order at p" in one.summary["sentence"]
    assert other.details["jumbled"] == [] and "is in order everywhere" in other.summary["sentence"]
    assert other.summary["different"] > 1


@every_kind
@pytest.mark.parametrize("ordering", ["unordered", "lamport_all_ack"])
def test_what_travels_through_the_codec_and_a_bad_network_is_the_same(name, ordering):
    run = run_settings(ordering, workload=name, messages=60, gap_ms=(0.0, 2.0), datagram_bytes=1372, **faulty(0.1))
    run = replace(run, window=replace(run.window, blocks=2))  # so that blocks grow
    plain, sealed = (play(replace(run, network=replace(run.network, wire=wire))) for wire in (False, True))
    assert plain.simulated.traces != [] and evidence_of(plain.simulated).logs[0].ids.tolist() == [
        *evidence_of(sealed.simulated).logs[0].ids.tolist()
    ]
    assert compared(plain).summary == compared(sealed).summary
    assert {each["reported"] for each in compared(sealed).summary["peers"].values()} == {True}


@pytest.mark.parametrize("workload", sorted(set(WORKLOADS) - set(KINDS)))
def test_other_workloads_have_none(workload):
    played = play(run_settings(workload=workload, messages=2))
    assert compared(played) is None and all("replica" not in measures for measures in played.simulated.measures)


# -- by hand


def test_a_balance_by_hand():
    run = run_settings(workload="bank", peers=2)
    logs = [[(0, 0), (1, 0), (0, 1)], [(1, 0), (0, 0), (0, 1)]]
    found = replicas.compare(evidence(*logs), run, {})
    balances = []
    for log in logs:
        cents = 100_000
        for sender, number in log:
            word, amount = Bank.say("1", 2, sender, number).split()
            cents += int(amount) if word == b"deposit" else (cents * int(amount) + 50) // 100
        balances.append(f"{cents // 100:,}.{cents % 100:02}")
    assert [each["state"] for each in found.summary["peers"].values()] == balances
    assert {each["reported"] for each in found.summary["peers"].values()} == {None}


def test_the_answers_of_queries_by_hand():
    """Against a table of who had what, kept here by the plainest means."""
    played = play(regions("store", "unordered"))
    found = compared(played)
    answers, tables = defaultdict(dict), []
    for log in played.evidence.logs:
        table = {}
        for ident in map(int, log.ids):
            sender, number = ident >> 32, ident & 0xFFFFFFFF
            verb, item, *price = WORKLOADS["store"].say("1", 6, sender, number).decode().split()
            if verb == "query":
                answers[ident][log.sender] = table.get(item)
            elif verb == "insert":
                table.setdefault(item, int(price[0]))
            elif item in table:
                table.update({item: int(price[0])}) if verb == "update" else table.pop(item)
        tables.append(table)
    unlike = [ident for ident, given in answers.items() if len(set(given.values())) > 1]
    assert (found.details["queries"], found.details["unlike"]) == (len(answers), len(unlike)) and unlike
    items = {item for table in tables for item in table}
    assert found.details["items"] == {
        item: {f"p{peer}": table.get(item) for peer, table in enumerate(tables)}
        for item in sorted(items)
        if len({table.get(item) for table in tables}) > 1
    }
    example = found.details["example"]
    sender, number = map(int, example["message"].split(":"))
    given = answers[sender << 32 | number]
    assert sender << 32 | number in unlike
    assert example["answers"] == {
        answer: [f"p{peer}" for peer in given if str(given[peer] or "no row") == answer]
        for answer in {str(price or "no row") for price in given.values()}
    }


def test_where_two_transcripts_part():
    run = run_settings(workload="text", peers=2)
    same = [(0, 0), (1, 0), (0, 1)]
    found = replicas.compare(evidence(same + [(0, 2), (1, 1)], same + [(1, 1), (0, 2)]), run, {})
    line = {key: f"p{key[0]}: {WORKLOADS['text'].say('1', 2, *key).decode()}" for key in [*same, (0, 2), (1, 1)]}
    assert found.details["parting"] == {
        "peers": ["p0", "p1"],
        "position": 3,
        "rows": [
            [2, line[0, 1], line[0, 1]],
            [3, line[0, 2], line[1, 1]],
            [4, line[1, 1], line[0, 2]],
        ],
    }
    assert (found.details["lines"], found.details["unlike"]) == (5, 2)
    rows = replicas.details_in_words(found.details).splitlines()
    assert rows[0].startswith("Where p0 and p1 part") and [row.endswith("<") for row in rows[2:]] == [False, True, True]


def test_shown_is_where_anybody_parts_from_the_first_at_the_earliest():
    run = run_settings(workload="text", peers=4)
    first, late, early = [(0, 0), (1, 0), (2, 0)], [(0, 0), (2, 0), (1, 0)], [(1, 0), (0, 0), (2, 0)]
    found = replicas.compare(evidence(first, late, early, late), run, {}).details["parting"]
    assert (found["peers"], found["position"]) == (["p0", "p2"], 0)


def test_one_is_in_order_that_multicast_in_order():
    run = run_settings(workload="text", peers=2)
    found = replicas.compare(evidence([(0, 0), (1, 0), (0, 1)], [(0, 1), (1, 0), (0, 0)]), run, {})
    assert found.details["jumbled"] == ["p1"]


# -- what members report


def test_what_is_reported_otherwise_is_a_fault_of_the_program():
    played = play(regions("bank", "lamport_all_ack", messages=5))
    reported = dict(zip(played.run.members, json.loads(json.dumps(played.simulated.measures))))
    reported["p2"]["replica"] |= {"state": "1.00", "digest": "00"}
    reported["p3"]["replica"] = "rubbish" * 100
    del reported["p4"]
    found = replicas.compare(played.evidence, played.run, reported).summary
    assert [found["peers"][f"p{peer}"]["reported"] for peer in range(6)] == [True, True, False, False, None, True]
    assert found["different"] == 1  # which is told from the logs
    state = found["peers"]["p2"]["state"]
    first, second = found["faults"]
    assert first.startswith("p2 reports state 1.00, digest 00 where its log comes to state " + state)
    assert "a fault of this program" in first and second.startswith("p3 reports state None") and len(second) < 400
    assert replicas.describe(found).count("FAULT: p") == 2


def test_a_member_that_runs_another_program_is_found_out(monkeypatch):
    """p1 says something else than it should: everybody applies what it said, and the logs do not come to that."""
    run = regions("bank", "lamport_all_ack", messages=5)
    honest = Bank.says

    def says(self, first, count):
        return honest(self, first, count) if self.me != 1 else (7, b"rubbish" * count)

    monkeypatch.setattr(Bank, "says", says)
    played = play(run)
    played.assert_flawless()  # in what order is another question
    found = compared(played).summary
    assert {each["reported"] for each in found["peers"].values()} == {False} and len(found["faults"]) == 6
    assert "skipped 5" in found["faults"][0] and "applied 25" in found["faults"][0]
    assert [measures["replica"]["skipped"] for measures in played.simulated.measures] == [5] * 6


def test_a_log_that_is_cut_says_less_than_its_member_and_is_no_fault():
    played = play(regions("bank", "lamport_all_ack", messages=5))
    log = played.evidence.logs[1]
    played.evidence.logs[1] = PeerLog(log.label, log.ids[:7], log.sender, log.sends, sealed=False)
    found = compared(played).summary
    assert found["faults"] == [] and found["peers"]["p1"]["reported"] is None and found["peers"]["p1"]["applied"] == 7
    assert found["different"] == 2 and found["sentence"].endswith(" Not all logs go equally far.")


def test_members_without_a_log_are_named_and_not_counted():
    run = run_settings(workload="bank", peers=3)
    logs = evidence([(0, 0)], [(0, 0)], []).logs
    logs[2] = PeerLog("2", logs[2].ids, 2, sealed=False, why="no log")
    found = replicas.compare(Evidence(logs), run, {}).summary
    assert list(found["peers"]) == ["p0", "p1"] and found["different"] == 1
    assert found["sentence"].endswith(" There is no log of p2.")
    nobody = replicas.compare(Evidence(logs[2:]), run, {})
    assert nobody.summary["different"] == 0 and nobody.details["parting"] is None
    assert replicas.describe(nobody.summary) and replicas.details_in_words(nobody.details) == ""


@every_kind
def test_deliveries_that_nobody_can_have_made_are_no_crash(name):
    """A log may hold anything; a sender that does not exist says nothing."""
    run = run_settings(workload=name, peers=2)
    logs = evidence([(0, 0), (9, 3)], [(70_000, 2**32 - 1), (1, 2**32 - 1)])
    found = replicas.compare(logs, run, {})
    assert [each["applied"] for each in found.summary["peers"].values()] == [1, 1]
    assert "stranger 9: nothing that anybody can say" in replicas.details_in_words(found.details)


def test_equal_logs_are_gone_through_once(monkeypatch):
    taken = []
    honest = Account.apply
    monkeypatch.setattr(Account, "apply", lambda *arguments: taken.append(1) or honest(*arguments))
    log = [(0, number) for number in range(50)]
    found = replicas.compare(evidence(log, log, log), run_settings(workload="bank"), {})
    assert found.summary["different"] == 1 and len(taken) == 50


def test_many_members_stay_readable():
    run = run_settings(workload="store", peers=60)
    orders = [[(0, number) for number in np.random.default_rng(peer).permutation(200)] for peer in range(60)]
    found = replicas.compare(evidence(*orders), run, {})
    assert found.summary["different"] == 60 and len({each["group"] for each in found.summary["peers"].values()}) == 60
    assert max(map(len, replicas.details_in_words(found.details).splitlines())) < 1000


# -- run folders


def played_from(tmp_path, world, scenario, ordering, **options):
    runs = plan(
        override(load(scenario), **options), [(ordering, None)], 1, "local" if world is not in_simulator else "sim"
    )
    return next(iter(play_planned(runs, world, tmp_path)))


@every_kind
def test_the_folder_of_a_run_tells_it_all(tmp_path, capsys, name):
    run = played_from(tmp_path, in_simulator, name, "unordered", messages=10)
    verdict, measures = (json.loads((run.folder / f"{file}.json").read_text()) for file in ("verdict", "measures"))
    assert run.exit_code == 0 and verdict["replicas"] == run.verdict.replicas
    assert verdict["replicas"]["different"] > 1 and set(measures["replicas"]) >= {"parting"}
    assert {each["replica"]["digest"] for each in measures["peers"].values()} == {
        each["digest"] for each in verdict["replicas"]["peers"].values()
    }
    assert judge_command([str(run.folder)], False, "", True, False) == 0
    assert json.loads(capsys.readouterr().out)["replicas"] == verdict["replicas"]
    (run.folder / "measures.json").unlink()  # what is left of a run that was cut before it was judged
    assert judge_command([str(run.folder)], False, "", False, False) == 0
    assert capsys.readouterr().out.rstrip().endswith(replicas.describe(verdict["replicas"]))


def test_an_unfinished_run_is_told_from_its_logs(tmp_path):
    """Everybody was cut short: the deadline passed long before the last message."""
    scenario = override(load("bank"), ["deadlines.deadline_s=2"], messages=100)
    (run,) = play_planned(plan(scenario, [("lamport_all_ack", None)], 1, "sim"), in_simulator, tmp_path)
    assert run.error is not None and run.exit_code == 3
    found = run.verdict.replicas
    assert len(found["peers"]) == 6 and found["faults"] == []
    assert all(0 < each["applied"] < 600 and each["reported"] for each in found["peers"].values())


@every_kind
def test_the_documented_scenarios_show_what_they_are_for(name):
    scenario = load(name)
    assert scenario.stack.ordering.name == "unordered" and scenario.workload.kind == name
    assert len(set(scenario.placed())) == 3 and scenario.workload.messages * scenario.peers <= 400
    found = compared(play(resolve(scenario, "unordered", None, "1", "sim")))
    words = f"{replicas.describe(found.summary)}\n{replicas.details_in_words(found.details)}"
    assert max(map(len, words.splitlines())) <= 170 and len(words.splitlines()) <= 30
    assert all(f"  {peer}  " in words for peer in found.summary["peers"])


@pytest.mark.slow
def test_real_processes_come_to_the_same(tmp_path):
    """Over real UDP: what each process reports of its replica is what its log comes to."""
    with in_local(6) as world:
        for name in KINDS:
            for ordering, one in (("unordered", False), ("fixed_sequencer", True)):
                run = played_from(tmp_path, world, name, ordering, messages=15)
                found = run.verdict.replicas
                assert run.error is None and found["faults"] == [], found["faults"]
                assert {each["reported"] for each in found["peers"].values()} == {True}
                assert {each["applied"] for each in found["peers"].values()} == {90}
                assert (found["different"] == 1) is one and run.exit_code == 0


def test_every_ordering_is_looked_at():
    assert {"unordered", "fifo", "lamport_all_ack", "fixed_sequencer"} <= set(ORDERINGS)

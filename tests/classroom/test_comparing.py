"""How the classroom program compared logs and went wrong, and that the judge does none of it.

Each test writes logs as files and has them judged as the command `judge` does.
"""

from itertools import permutations

import pytest

from comparison_server.judge import load
from comparison_server.verdict import describe, judge

PEERS = "abcdef"


@pytest.fixture
def judged(tmp_path):
    """judged(a="a0 b0", b="a0 b0"): the verdict on these logs; `order` is that in which they are handed in."""

    def judged(order=None, **logs):
        files = []
        for peer in order or logs:
            rows = "".join(f"{word[0]},{word[1:]}\n" for word in logs[peer].split())
            (tmp_path / f"{peer}.csv").write_text(rows)
            files.append(f"{peer}={tmp_path / peer}.csv")
        return judge(load(files), {"total", "agreement", "integrity"})

    return judged


def equal(peers, messages):
    """Logs without a fault: everybody delivered `messages` of everybody, in turns."""
    text = " ".join(f"{peer}{number}" for number in range(messages) for peer in PEERS[:peers])
    return dict.fromkeys(PEERS[:peers], text)


def swapped(text, at):
    """The log with this round and the next exchanged."""
    words = text.split()
    words[at : at + 2] = words[at + 1], words[at]
    return " ".join(words)


def test_the_last_round_counts(judged):
    """Fails if the comparison ends before the last delivery, as `for j in range(n - 1)` does."""
    logs = equal(3, 5)
    logs["b"] = logs["b"].replace("c4", "c9")
    rounds = judged(**logs).rounds
    assert (rounds.rounds, rounds.out_of_order, rounds.first) == (15, 1, 14)


@pytest.mark.parametrize("peers", [3, 4, 6])
def test_the_last_log_to_arrive_is_compared(judged, peers):
    """Fails if any log is left out of the comparison, be it the last one only."""
    for peer in PEERS[:peers]:
        logs = equal(peers, 2)
        logs[peer] = swapped(logs[peer], 0)
        verdict = judged(**logs)
        assert (verdict.rounds.out_of_order, verdict.violated()) == (2, ["total"])
        assert peer in verdict.findings["total"].witness["peers"]


def test_two_peers_are_compared(judged):
    """Fails if fewer than three logs are taken for equal."""
    verdict = judged(a="a0 b0", b="b0 a0")
    assert verdict.rounds.out_of_order == 2 and verdict.violated() == ["total"]


def test_all_deliveries_are_compared_and_not_as_many_as_one_peer_sent(judged):
    """Fails if the positions after the first n of the N*n deliveries are not looked at."""
    for at in range(4 * 5 - 1):
        logs = equal(4, 5)
        logs["c"] = swapped(logs["c"], at)
        rounds = judged(**logs).rounds
        assert (rounds.rounds, rounds.out_of_order, rounds.first) == (20, 2, at)


def test_the_first_log_to_arrive_is_no_reference(judged):
    """Fails if what is found depends on the order in which the logs come."""
    logs = equal(3, 3)
    logs["a"], logs["c"] = swapped(logs["a"], 2), swapped(swapped(logs["c"], 2), 5)
    rounds = {tuple(order): judged(order, **logs).rounds for order in permutations("abc")}
    assert len(rounds) == 6 and len(set(map(str, rounds.values()))) == 1
    assert judged(**logs).rounds.out_of_order == 4


@pytest.mark.parametrize("left", [0, 1, 5, 8])
def test_a_short_log_is_no_crash(judged, left):
    """Fails if a position that a log does not have is an error, or counts as equal."""
    logs = equal(3, 3)
    logs["b"] = " ".join(logs["b"].split()[:left])
    rounds = judged(**logs).rounds
    assert (rounds.rounds, rounds.short, rounds.disordered, rounds.out_of_order) == (9, 9 - left, 0, 9 - left)


@pytest.mark.parametrize("longer", "abc")
def test_what_only_one_log_holds_is_not_ignored(judged, longer):
    """Fails if the comparison ends with the shortest log, or with the length of the first."""
    logs = equal(3, 2)
    logs[longer] += " a2 b2"
    verdict = judged(**logs)
    assert (verdict.rounds.rounds, verdict.rounds.short) == (8, 2)
    assert verdict.findings["agreement"].holds is False


@pytest.mark.parametrize("short", "abc")
def test_the_length_of_every_log_is_looked_at(judged, short):
    """Fails if only the first log's length is checked."""
    logs = equal(3, 2)
    logs[short] = logs[short].removesuffix(" c1")
    verdict = judged(**logs)
    assert verdict.rounds.short == 1 and verdict.findings["agreement"].witness["peers"][-1] == short


def test_loss_is_not_taken_for_disorder(judged):
    """Fails if a message that is missing makes the order wrong, or hides that it is wrong."""
    lost, disordered = equal(3, 3), equal(3, 3)
    lost["b"] = lost["b"].replace("b1 ", "")
    disordered["b"] = swapped(disordered["b"], 3)
    assert judged(**lost).violated() == ["agreement"]
    assert judged(**disordered).violated() == ["total"]
    both = {**lost, "c": disordered["b"]}
    assert sorted(judged(**both).violated()) == ["agreement", "total"]


def test_a_duplicate_is_noticed(judged):
    """Fails if logs are compared as sets, or only with each other: here all of them hold the same twice."""
    logs = {peer: log + " a1" for peer, log in equal(3, 2).items()}
    verdict = judged(**logs)
    assert verdict.violated() == ["integrity"] and verdict.rounds.out_of_order == 0


def test_logs_are_not_sorted_before_they_are_compared(judged):
    """Fails if the server brings the logs into any order of its own first."""
    logs = equal(3, 4)
    logs["b"] = " ".join(reversed(logs["b"].split()))
    verdict = judged(**logs)
    assert verdict.rounds.out_of_order == 12 and verdict.violated() == ["total"]


def test_the_sender_counts_and_not_what_was_said_alone(judged):
    """Fails if messages of two senders that have one number, and say the same, are taken for one."""
    verdict = judged(a="a0 b0 a1 b1", b="b0 a0 a1 b1", c="a0 b0 b1 a1")
    assert verdict.rounds.out_of_order == 4 and verdict.violated() == ["total"]


def test_rounds_are_counted_and_not_peers(judged):
    """Fails if a round in which several peers differ counts more than once."""
    verdict = judged(a="a0 a1 a2", b="b0 a1 a2", c="c0 a1 a2", d="d0 a1 a2")
    assert (verdict.rounds.rounds, verdict.rounds.out_of_order) == (3, 1)


def test_it_is_told_where_logs_part_first_and_who_held_what(judged):
    """Fails if only a number is told: not the position, not the messages, not the peers."""
    logs = equal(3, 4)
    logs["c"] = swapped(logs["c"], 7)
    assert "First out of order is position 7: b:2 at peers a, b; c:2 at peer c." in describe(judged(**logs))

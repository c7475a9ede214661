"""Each property on runs written by hand: what breaks it, what does not, and what the witness shows."""

import pytest

from comparison_server.evidence import EvidenceError
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES
from tests.comparison_server.corpus import evidence, find, holding, named

EQUAL = "a1 b1 a2 b2"


def test_equal_logs_hold_everything_there_is_evidence_for():
    found = holding(a="+a1 a1 b1 +a2 a2 c1 b2", b="a1 +b1 b1 a2 c1 +b2 b2", c="a1 b1 a2 +c1 c1 b2")
    assert found.pop("same_view") is None
    assert set(found.values()) == {True}


def test_without_send_records_there_is_no_evidence_for_validity_and_causal_order():
    found = holding(a=EQUAL, b=EQUAL)
    assert [name for name, holds in found.items() if holds is None] == ["validity", "causal", "same_view"]
    sentence = find("integrity", a=EQUAL, b=EQUAL).sentence
    assert "cannot be seen without send records" in sentence


@pytest.mark.parametrize("name", ["agreement", "total", "prefix"])
def test_one_log_is_no_evidence_that_logs_agree(name):
    finding = find(name, a=EQUAL)
    assert (finding.holds, finding.witness, finding.violations) == (None, None, 0)
    assert finding.sentence == "Fewer than two processes are up."


# The places at which comparing programs of classrooms did not look


@pytest.mark.parametrize(
    ("logs", "peers"),
    [
        (dict(a="a1 b1 a2 b2", b="a1 b1 b2 a2", c="a1 b1 a2 b2"), {"a", "b"}),  # in the last position only
        (dict(a="a1 b1 a2", b="a1 b1 a2", c="b1 a1 a2"), {"a", "c"}),  # in the last log only
        (dict(a="a1 b1", b="b1 a1"), {"a", "b"}),  # with two peers
    ],
)
def test_disorder_is_found_wherever_it_is(logs, peers):
    for name in ("total", "uniform_total", "prefix"):
        finding = find(name, **logs)
        assert finding.holds is False
        assert set(finding.witness["peers"]) == peers
    assert find("agreement", **logs).holds is True


def test_a_missing_tail_is_a_matter_of_agreement_alone():
    logs = dict(a="a1 b1 a2 b2", b="a1 b1", c="a1 b1 a2 b2")
    found = holding(**logs)
    assert [name for name, holds in found.items() if holds is False] == ["agreement", "uniform_agreement"]
    finding = find("agreement", **logs)
    assert finding.violations == 2 and named(finding) == ["a2"]
    assert finding.witness["peers"] == ["a", "c", "b"] and finding.witness["positions"] == [[2], [2], [None]]
    assert finding.witness["why"] == {"b": "not yet"}
    assert finding.sentence == "Peer a delivered a:2 at position 2, and peer b did not (not yet)."


def test_a_missing_middle_breaks_agreement_fifo_and_prefix_and_not_total_order():
    logs = dict(a="a1 a2 b1 a3", b="a1 b1 a3", c="a1 a2 b1 a3")
    found = holding(**logs)
    broken = [name for name, holds in found.items() if holds is False]
    assert broken == ["agreement", "uniform_agreement", "fifo", "prefix"]
    assert find("agreement", **logs).witness["why"] == {"b": "passed over"}
    assert find("prefix", **logs).violations == 2


# Validity


def test_validity_shows_the_first_multicast_that_was_not_delivered():
    finding = find("validity", a="+a1 a1 +a2 b1 +a3", b="+b1 b1")
    assert finding.violations == 2 and named(finding) == ["a2"] and finding.witness["positions"] == [[None]]
    assert finding.sentence == "Peer a multicast a:2 and never delivered it."


def test_validity_asks_nothing_of_the_crashed():
    assert find("validity", a="+a1", b="+b1 b1", logs={"a": {"up": False}}).holds is True


def test_validity_is_unknown_where_one_that_is_up_has_no_records():
    run = evidence(a="+a1 a1", b="a1")
    run.logs[1].sends = None
    finding = PROPERTIES["validity"](Positions(run))
    assert finding.holds is None and finding.sentence == "There are no send records of peer b."


# Integrity


def test_a_repeat_breaks_integrity_and_fifo_and_nothing_else_but_the_rounds():
    logs = dict(a="a1 b1 a1 a2", b="a1 b1 a2")
    assert [name for name, holds in holding(**logs).items() if holds is False] == ["integrity", "fifo"]
    finding = find("integrity", **logs)
    assert finding.violations == 1 and finding.witness["positions"] == [[0]] and finding.witness["again"] == 2


def test_a_message_that_its_sender_did_not_multicast_is_foreign():
    finding = find("integrity", a="+a1 a1 b1", b="+b1 b1 a1 a2")
    assert finding.violations == 1 and named(finding) == ["a2"] and finding.witness["again"] is None
    assert "did not multicast" in finding.sentence


def test_numbers_above_the_last_record_of_a_crashed_sender_are_unknown():
    logs = dict(a="+a1 a1 +a3", b="+b1 b1 a1 a3 a4")
    assert find("integrity", **logs, logs={"a": {"up": False}}).holds is True
    assert find("integrity", **logs).violations == 1
    between = find("integrity", a="+a1 a1 +a3", b="+b1 b1 a1 a2", logs={"a": {"up": False}})
    assert between.violations == 1 and named(between) == ["a2"]


def test_a_message_of_nobody_is_foreign_only_where_everybody_is_known():
    assert find("integrity", a="+a1 a1 h7", b="a1").holds is False
    assert find("integrity", a="+a1 a1 h7", b="a1", closed=False).holds is True
    assert find("integrity", a="a1 h7", b="a1").holds is True  # without any send record only repeats are judged


# Agreement


def test_uniform_agreement_asks_for_what_the_crashed_delivered():
    logs = dict(a="a1 b1 c1", b="a1", c="a1", logs={"a": {"up": False, "why": "crashed"}})
    assert find("agreement", **logs).holds is True
    finding = find("uniform_agreement", **logs)
    assert finding.violations == 4 and named(finding) == ["b1"] and finding.witness["peers"] == ["a", "b", "c"]


def test_why_says_what_is_known_of_those_that_are_not_up():
    logs = {"c": {"up": False, "why": "crashed"}, "d": {"sealed": False}}
    finding = find("agreement", a="a1 b1", b="b1", c="b1", d="b1", logs=logs)
    assert finding.witness["why"] == {"b": "not yet", "c": "crashed", "d": "log cut"}


def test_agreement_leaves_out_the_sender_where_programs_do_not_deliver_their_own():
    logs = dict(a="b1 c1", b="a1 c1", c="a1 b1", self_delivery=False)
    assert find("agreement", **logs).holds is True
    assert find("agreement", **{**logs, "c": "a1"}).witness["peers"] == ["a", "c"]
    assert find("validity", **logs).holds is None and find("prefix", **logs).holds is None


# FIFO


@pytest.mark.parametrize(
    ("log", "messages", "at"),
    [
        ("a1 b1 a3", ["a1", "a3"], [0, 2]),  # a gap
        ("a1 a3 a2", ["a1", "a3"], [0, 1]),  # a gap and then a step back
        ("b1 a2 a3", ["a1", "a2"], [None, 1]),  # not begun at the first
        ("a2 a1 b1", ["a1", "a2"], [1, 0]),
        ("a1 a2 a2", ["a2", "a2"], [1, 2]),  # a repeat
    ],
)
def test_fifo_is_broken_by_a_gap_a_step_back_and_a_repeat(log, messages, at):
    finding = find("fifo", a="a1 a2 a3 b1", b=log)
    assert finding.holds is False and finding.witness["peers"] == ["b"]
    assert named(finding) == messages and finding.witness["at"] == at


def test_fifo_is_not_broken_by_an_end_that_comes_early():
    assert find("fifo", a="a1 a2 a3", b="a1").holds is True


def test_a_first_number_that_nobody_delivered_counts_if_it_was_multicast():
    assert find("fifo", a="+a1 +a2 a2", b="a2").violations == 2
    assert find("fifo", a="a2 a3", b="a2").holds is True


# Causal order


def test_causal_order_is_broken_by_an_answer_before_its_question():
    finding = find("causal", a="+a1 a1 b1", b="a1 +b1 b1", c="b1 a1")
    assert finding.violations == 1 and named(finding) == ["a1", "b1"]
    assert finding.witness["peers"] == ["c", "b"] and finding.witness["positions"] == [[1, 0], [0, 1]]
    assert (finding.witness["sender"], finding.witness["after"], finding.witness["link"]) == ("b", 1, "delivered")
    assert finding.sentence == (
        "Peer b had delivered a:1 (position 0) before it multicast b:1,"
        " but peer c delivered b:1 at position 0 and a:1 only at position 1."
    )


def test_causal_order_leaves_messages_free_that_know_nothing_of_each_other():
    assert find("causal", a="+a1 a1 b1", b="+b1 b1 a1", c="b1 a1").holds is True


def test_causal_order_is_broken_by_what_is_never_delivered():
    finding = find("causal", a="+a1 a1 b1", b="a1 +b1 b1", c="b1")
    assert finding.holds is False and finding.sentence.endswith("and a:1 never.")


def test_causal_order_includes_the_order_of_one_sender():
    finding = find("causal", a="+a1 +a2 a1 a2", b="a2 a1")
    assert named(finding) == ["a1", "a2"] and finding.witness["link"] == "multicast"


def test_a_message_does_not_depend_on_itself_even_if_it_was_delivered_before_its_record():
    assert find("causal", a="a1 +a1 b1", b="a1 +b1").holds is True
    assert find("causal", a="b1 a1 +a1", b="+b1 b1 a1").holds is True


def test_causal_order_does_not_ask_a_process_for_its_own_where_it_does_not_deliver_them():
    logs = dict(a="+a1 b1", b="a1 +b1", c="a1 b1", self_delivery=False)
    assert find("causal", **logs).holds is True
    assert find("causal", **{**logs, "c": "b1 a1"}).witness["peers"] == ["c", "b"]


def test_causal_order_with_some_records_missing_is_broken_or_unknown_but_never_held():
    for log, holds in (("a1 b1", None), ("b1 a1", False)):
        run = evidence(a="a1 b1", b="a1 +b1 b1", c=log)
        run.logs[0].sends = None
        assert PROPERTIES["causal"](Positions(run)).holds is holds


# Total order


def test_a_cycle_over_three_logs_of_which_no_two_disagree():
    logs = dict(a="a1 b1", b="b1 c1", c="c1 a1")
    finding = find("total", **logs)
    assert finding.violations == "at least 1"
    assert named(finding) == ["a1", "b1", "c1"] and finding.witness["peers"] == ["a", "b", "c"]
    assert finding.witness["positions"] == [[0, 1, None], [None, 0, 1], [1, None, 0]]
    assert find("total", **{**logs, "c": "a1 c1"}).holds is True


def test_a_pair_is_shown_before_any_cycle():
    finding = find("total", a="a1 b1 d1 d2", b="b1 c1", c="c1 a1", d="d2 d1")
    assert named(finding) == ["d1", "d2"]


def test_the_pair_is_shown_that_is_complete_first():
    finding = find("total", a="a1 a2 a3 b1 b2", b="a1 a2 a3 b2 b1", c="a1 a3 a2 b1 b2")
    assert set(named(finding)) == {"a2", "a3"} and finding.witness["peers"] == ["a", "c"]


def test_the_shorter_cycle_is_shown_though_a_longer_one_is_complete_first():
    logs = dict(a="a1 b1", b="b1 c1", c="c1 d1", d="d1 a1")
    assert len(find("total", **logs).witness["messages"]) == 4
    logs = dict(a="a1 b1 e1 f1", b="b1 c1 f1 g1", c="c1 d1 g1 e1", d="d1 a1")
    finding = find("total", **logs)
    assert named(finding) == ["e1", "f1", "g1"] and finding.witness["peers"] == ["a", "b", "c"]


def test_uniform_total_order_reads_the_logs_of_the_crashed():
    logs = dict(a="a1 b1", b="b1 a1", c="b1 a1", logs={"a": {"up": False}})
    assert find("total", **logs).holds is True
    assert find("uniform_total", **logs).holds is False


# Prefix


def test_of_three_lengths_each_is_a_prefix_of_the_longer():
    assert find("prefix", a="a1 b1 a2", b="a1", c="a1 b1").holds is True


def test_prefix_shows_the_first_position_at_which_two_logs_part():
    finding = find("prefix", a="a1 b1 a2", b="a1", c="a1 a2 b1")
    assert finding.witness["position"] == 1 and finding.violations == 2
    assert named(finding) == ["b1", "a2"] and finding.witness["positions"] == [[1, 2], [2, 1]]


# Who joined later


def test_who_joined_later_is_compared_from_where_it_began():
    joined = {"logs": {"c": {"start": 2}}}
    logs = dict(a="+a1 a1 b1 +a2 a2 b2 +a3 a3", b="a1 +b1 b1 a2 +b2 b2 a3", c="a2 b2 a3")
    found = holding(**logs, **joined)
    assert found.pop("same_view") is None and set(found.values()) == {True}
    assert "agreement" in [name for name, holds in holding(**logs).items() if holds is False]
    for log, broken in (
        ("b2 a2 a3", {"causal", "total", "uniform_total", "prefix"}),
        ("b2 a3", {"agreement", "uniform_agreement", "fifo", "causal", "prefix"}),
        ("a2 b2", {"agreement", "uniform_agreement"}),
    ):
        found = holding(**{**logs, "c": log}, **joined)
        assert {name for name, holds in found.items() if holds is False} == broken, log


def test_who_joined_later_and_who_lost_its_beginning_are_told_apart_though_their_logs_are_equal():
    logs = dict(a="a1 b1 a2 b2", b="a2 b2", c="a2 b2", logs={"c": {"start": 2}})
    assert find("agreement", **logs).violations == 2 and find("agreement", **logs).witness["peers"] == ["a", "b"]
    assert find("fifo", **logs).violations == 2 and find("fifo", **logs).witness["peers"] == ["b"]
    assert find("prefix", **logs).witness["peers"] == ["a", "b"]


def test_of_two_that_joined_later_the_second_is_spared_only_what_came_before_it():
    logs = dict(a="a1 b1 a2 b2", b="a2 b2", c="b2", logs={"b": {"start": 2}, "c": {"start": 3}})
    assert find("agreement", **logs).holds is True
    finding = find("agreement", a="a1", b="a2 b1 a3", c="b1", logs={"b": {"start": 1}, "c": {"start": 2}})
    assert named(finding) == ["a2"] and finding.witness["peers"] == ["b", "a"]
    assert find("agreement", **{**logs, "c": ""}).witness["peers"] == ["a", "b", "c"]


# Views


def test_who_went_to_the_next_view_delivered_the_same_in_the_last():
    views = {"a": {"views": [(0, 0), (2, 1)]}, "b": {"views": [(0, 0), (2, 1)]}, "c": {"views": [(0, 0)]}}
    assert find("same_view", a="a1 b1 a2", b="b1 a1", c="a1", logs=views).holds is True
    finding = find("same_view", a="a1 b1 a2", b="b1 a2 a1", c="", logs=views)
    assert finding.violations == 2 and finding.witness["view"] == 0
    assert named(finding) == ["a1"] and finding.witness["peers"] == ["a", "b"]
    assert finding.witness["positions"] == [[0], [2]]


def test_what_comes_before_the_first_record_belongs_to_the_view_before():
    views = {"a": {"views": [(1, 5)]}, "b": {"views": [(0, 5)]}}
    assert find("same_view", a="a1", b="a1", logs=views).violations == 1
    views["b"]["start"] = 1  # it joined, and was not in that view
    assert find("same_view", a="a1", b="", logs=views).holds is True


def test_a_repeat_does_not_shift_what_was_delivered_in_a_view():
    views = {
        "a": {"views": [(0, 0), (3, 1), (4, 2)]},
        "b": {"views": [(0, 0), (2, 1), (3, 2)]},
    }
    assert find("same_view", a="a1 a1 b1 a2 b2", b="b1 a1 a2", logs=views).holds is True
    finding = find("same_view", a="a1 a1 b1 a2 b2", b="b1 a1 b2", logs=views)
    assert finding.witness["view"] == 1 and named(finding) == ["b2"] and finding.witness["positions"] == [[2], [4]]


def test_recorded_views_that_nobody_left_hold():
    assert find("same_view", a="a1", b="", logs={"a": {"views": [(0, 0)]}}).holds is True


# What cannot be evidence


def test_two_logs_of_one_process_are_refused():
    run = evidence(a="a1", b="a1")
    with pytest.raises(EvidenceError, match="two logs are those of a"):
        type(run)([run.logs[0], run.logs[0]])


def test_no_logs_and_empty_logs_are_judged():
    for logs in ({}, dict(a="", b=""), dict(a="+a1", b="", logs={"a": {"up": False}})):
        assert set(holding(**logs).values()) == {None}
    assert find("integrity", a="", b="").sentence == "Nobody delivered a message."


def test_what_was_multicast_and_never_delivered_breaks_validity_in_empty_logs():
    assert {name for name, holds in holding(a="+a1", b="").items() if holds is not None} == {"validity"}
    assert find("validity", a="+a1", b="").holds is False


@pytest.mark.parametrize("name", ["fifo", "causal", "total", "uniform_total", "prefix"])
def test_of_order_nothing_is_known_until_somebody_delivered_two_messages(name):
    one, two = dict(a="+a1 a1", b="a1", c=""), dict(a="+a1 a1 b1", b="a1 +b1", c="")
    assert find(name, **one).sentence == "Nobody delivered two messages, so there is no order to be judged."
    assert (find(name, **one).holds, find(name, **two).holds) == (None, True)
    assert find("agreement", a="+a1 a1", b="a1").holds is True

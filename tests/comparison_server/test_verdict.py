"""The verdict: its numbers, its form, and what it says to people."""

import json

import pytest

from comparison_server.properties import PROPERTIES
from comparison_server.verdict import describe, exit_code, judge
from tests.comparison_server.corpus import evidence

RUN = dict(a="+a1 a1 b1 +a2 a2 b2", b="a1 +b1 b1 +b2 b2 a2", c="a1 b1 a2 b2")


def test_the_form_of_a_verdict():
    facts = {"ordering": "skeen", "world": "sim", "messages_per_peer": 2}
    shown = judge(evidence(**RUN), {"total", "fifo"}, facts).as_dict()
    properties = shown.pop("properties")
    assert shown == {
        "ordering": "skeen",
        "world": "sim",
        "peers": 3,
        "messages_per_peer": 2,
        "rounds": 4,
        "out_of_order_rounds": 2,
        "short_rounds": 0,
        "disordered_rounds": 2,
        "up": None,
        "complete": True,
        "inversions": None,
        "first_divergence": {
            "position": 2,
            "held": [
                {"message": {"sender": "a", "number": 2}, "peers": ["a", "c"]},
                {"message": {"sender": "b", "number": 2}, "peers": ["b"]},
            ],
        },
        "on_time": {"a": 0.5, "b": 0.5, "c": None},
        "replicas": None,
    }
    assert list(properties) == list(PROPERTIES)
    for name, found in properties.items():
        assert list(found) == ["promised", "holds", "violations", "witness", "sentence"]
        assert found["promised"] is (name in {"total", "fifo"}) and found["sentence"].endswith(".")
    assert json.loads(json.dumps(properties)) == properties


def test_what_only_those_that_are_up_show():
    shown = judge(evidence(**RUN, logs={"b": {"up": False}})).as_dict()
    assert shown["out_of_order_rounds"] == 2
    assert shown["up"] == {"rounds": 4, "out_of_order_rounds": 0, "short_rounds": 0, "disordered_rounds": 0}


def test_messages_per_peer_is_read_from_send_records_where_nobody_tells():
    assert judge(evidence(a="+a1 +a2 a1", b="+b1 +b2")).messages_per_peer == 2
    assert judge(evidence(a="+a1 +a2 a1", b="+b1")).messages_per_peer is None
    assert judge(evidence(a="a1", b="a1")).messages_per_peer is None


def test_complete_asks_for_all_that_anybody_multicast():
    assert judge(evidence(a="+a1 a1", b="a1")).complete is True
    assert judge(evidence(a="+a1 +a2 a1", b="a1")).complete is False
    assert judge(evidence(a="+a1 +a2 a1", b="a1", logs={"a": {"up": False}})).complete is False
    assert judge(evidence(a="a1", b="a1")).complete is None


def test_the_first_round_that_is_out_of_order_may_be_short():
    divergence = judge(evidence(a="a1 b1", b="a1")).first_divergence
    assert divergence["position"] == 1 and divergence["held"][1] == {"message": None, "peers": ["b"]}
    assert judge(evidence(a="a1", b="a1")).first_divergence is None


def test_inversions_are_counted_when_asked():
    assert judge(evidence(**RUN), count_inversions=True).inversions == 2


def test_rounds_are_null_for_programs_that_do_not_deliver_their_own():
    shown = judge(evidence(a="b1", b="a1", self_delivery=False)).as_dict()
    keys = ("rounds", "out_of_order_rounds", "short_rounds", "disordered_rounds", "up", "first_divergence")
    assert [shown[key] for key in keys] == [None] * 6
    assert "Rounds are not counted" in describe(judge(evidence(a="b1", b="a1", self_delivery=False)))


def test_a_log_that_was_sorted_at_the_end_is_said_to_be():
    verdict = judge(evidence(a="+a1 +a2 a1 a2 b1 b2", b="+b1 a1 a2 b1 +b2 b2", c="a1 a2 b1 b2"))
    assert verdict.on_time == {"a": 0.0, "b": 0.75, "c": None} and verdict.sorted_at_the_end == ["a"]
    sentence = "Peer a delivered nothing before its own last multicast: its log looks sorted at the end."
    assert sentence in describe(verdict)
    assert judge(evidence(a="+a1 a1 a1 +a2 a2", b="a1")).on_time["a"] == 2 / 3  # a repeat is a delivery too
    one = judge(evidence(a="+a1 a1", b="a1"))
    assert one.on_time["a"] == 0.0 and one.sorted_at_the_end == [] and "sorted" not in describe(one)


def test_a_promise_that_is_not_kept_ends_with_one():
    run = evidence(**RUN)
    assert exit_code(judge(run, {"agreement"})) == 0
    assert exit_code(judge(run, {"agreement", "total"})) == 1
    assert exit_code(judge(run, {"same_view"})) == 0  # of which there is no evidence
    assert judge(run, {"agreement", "total"}).violated() == ["total"]
    with pytest.raises(ValueError, match="there is no property 'totl'"):
        judge(run, {"totl"})


def test_what_people_read():
    text = describe(judge(evidence(**RUN), {"total", "agreement"}, {"ordering": "skeen", "world": "sim"}))
    assert text.splitlines()[:4] == [
        "skeen in the world sim: 3 peers",
        "4 rounds, 2 out of order (0 short, 2 disordered).",
        "First out of order is position 2: a:2 at peers a, c; b:2 at peer b.",
        "Everybody that is up delivered everything: yes.",
    ]
    rows = {line.split()[0]: line for line in text.splitlines()[5:]}
    assert list(rows) == list(PROPERTIES)
    assert rows["total"].split()[1:3] == ["promised", "VIOLATED"] and "at least 2: Peer" in rows["total"]
    assert rows["prefix"].split()[1:4] == ["does", "not", "hold"]
    assert rows["agreement"].split()[1:3] == ["promised", "holds"]

"""The register of who is there: leases, groups, restarts, and requests that make no sense."""

import pytest

from group_manager.membership import HEARTBEAT_S, LEASE_S, LONGEST_NAME, MOST_ENTRIES, Membership


def register(name="p0", port=7000, **more):
    return {"op": "register", "name": name, "endpoint": ["10.0.0.1", port], **more}


def names(membership, now=0.0, group=""):
    return [row["name"] for row in membership.handle({"op": "list", "group": group}, now)["members"]]


def test_who_registers_is_listed_in_that_order_and_found():
    membership = Membership()
    for port, name in ((7001, "b"), (7002, "a")):
        reply = membership.handle(register(name, port), 0.0)
        assert reply["ok"] and reply["lease_s"] == LEASE_S and reply["heartbeat_s"] == HEARTBEAT_S
    assert names(membership) == ["b", "a"]
    found = membership.handle({"op": "where", "names": ["a", "c"]}, 0.0)
    assert found["endpoints"] == {"a": ["10.0.0.1", 7002]} and found["missing"] == ["c"]


def test_a_lease_is_renewed_by_heartbeats_and_ends_without():
    membership = Membership()
    membership.handle(register("stays"), 0.0)
    membership.handle(register("goes", 7001), 0.0)
    for beat in range(1, 10):
        assert membership.handle({"op": "heartbeat", "name": "stays"}, beat * LEASE_S / 2)["ok"]
    now = 9 * LEASE_S / 2
    assert names(membership, now) == ["stays"]
    reply = membership.handle({"op": "heartbeat", "name": "goes"}, now)
    assert reply["code"] == "unknown name" and not reply["definite"]


def test_a_restarted_peer_is_one_peer_at_its_new_endpoint():
    membership = Membership()
    membership.handle(register("p0", 7000, incarnation="1"), 0.0)
    membership.handle(register("p0", 8000, incarnation="2"), 1.0)
    (row,) = membership.handle({"op": "list"}, 1.0)["members"]
    assert row == {"name": "p0", "endpoint": ["10.0.0.1", 8000], "incarnation": "2"}


def test_unregister_ends_it_at_once_and_tells_whether_it_was_there():
    membership = Membership()
    membership.handle(register("p0"), 0.0)
    assert membership.handle({"op": "unregister", "name": "p0"}, 0.0)["known"]
    assert not membership.handle({"op": "unregister", "name": "p0"}, 0.0)["known"]
    assert names(membership) == []


def test_groups_do_not_see_each_other():
    membership = Membership()
    membership.handle(register("p0", group="red"), 0.0)
    membership.handle(register("p0", 7001, group="blue"), 0.0)
    assert names(membership, group="red") == names(membership, group="blue") == ["p0"]
    assert names(membership) == []
    assert membership.handle({"op": "where", "names": ["p0"], "group": "blue"}, 0.0)["endpoints"] == {
        "p0": ["10.0.0.1", 7001]
    }


def test_peers_are_told_where_the_server_of_their_group_is_while_its_lease_holds():
    membership = Membership()
    assert membership.handle(register("p0"), 0.0)["server"] is None
    membership.handle(register("judge", 5678, role="server"), 0.0)
    assert membership.handle({"op": "heartbeat", "name": "p0"}, 1.0)["server"] == ["10.0.0.1", 5678]
    assert membership.handle(register("p1", 7001, group="red"), 1.0)["server"] is None
    assert names(membership, 1.0) == ["p0"], "a server is no peer"
    assert membership.handle({"op": "heartbeat", "name": "p0"}, LEASE_S)["server"] == ["10.0.0.1", 5678]
    assert membership.handle({"op": "heartbeat", "name": "p0"}, LEASE_S + 1)["server"] is None


def serve(group="", incarnation="1", port=5678, **more):
    return register("comparison-server", port, role="server", group=group, incarnation=incarnation, **more)


def stop(group="", incarnation="1"):
    return {"op": "stop", "name": "comparison-server", "group": group, "incarnation": incarnation}


def test_stop_is_noted():
    membership = Membership()
    assert not membership.stopped
    assert membership.handle({"op": "stop"}, 0.0)["ok"] and membership.stopped


def test_one_operator_does_not_end_what_another_one_uses():
    membership = Membership()
    for group in ("red", "blue"):
        assert membership.handle(serve(group), 0.0)["ok"]
    reply = membership.handle(stop("red"), 0.0)
    assert reply["code"] == "busy" and reply["sentence"] == (
        "group 'blue' is led by the comparison server at 10.0.0.1:5678"
    )
    assert membership.handle(stop("red", "another"), 0.0)["code"] == "busy" and not membership.stopped
    membership.handle({**stop("blue"), "op": "unregister"}, 0.0)
    assert membership.handle(stop("red"), 0.0)["ok"] and membership.stopped


def test_a_group_has_one_comparison_server_until_another_takes_over():
    membership = Membership()
    beat = {"op": "heartbeat", "name": "comparison-server", "incarnation": "1"}
    assert membership.handle(serve(), 0.0)["ok"]
    assert membership.handle(serve(port=9999), 0.0)["ok"], "the same process may register again"
    second = membership.handle(serve(incarnation="2"), 0.0)
    assert second["code"] == "busy" and "10.0.0.1:9999" in second["sentence"]
    assert membership.handle(register(), 0.0)["server"] == ["10.0.0.1", 9999]
    assert membership.handle(serve(incarnation="2", take_over=True), 0.0)["ok"]
    assert membership.handle(register(), 0.0)["server"] == ["10.0.0.1", 5678]
    assert membership.handle(beat, 0.0)["code"] == "busy", "the first one is told"
    assert not membership.handle({**beat, "op": "unregister"}, 0.0)["known"], "nor does it unregister the second"
    assert membership.handle({**beat, "incarnation": "2"}, 0.0)["ok"]
    assert membership.handle(serve(incarnation="3"), LEASE_S + 1)["ok"], "a lease that ran out is no bar"


@pytest.mark.parametrize(
    "request_, code",
    [
        (None, "malformed"),
        ([], "malformed"),
        ("register", "malformed"),
        ({}, "unknown op"),
        ({"op": "dance"}, "unknown op"),
        ({"op": ["list"]}, "unknown op"),
        (register(""), "malformed"),
        (register("n" * (LONGEST_NAME + 1)), "malformed"),
        (register(7), "malformed"),
        (register(None), "malformed"),
        (register(group=["g"]), "malformed"),
        (register(role="king"), "malformed"),
        (register(role=["peer"]), "malformed"),
        (register(port=0), "malformed"),
        (register(port=65536), "malformed"),
        (register(port="80"), "malformed"),
        (register(port=True), "malformed"),
        ({"op": "register", "name": "p0"}, "malformed"),
        ({"op": "register", "name": "p0", "endpoint": "10.0.0.1:80"}, "malformed"),
        ({"op": "register", "name": "p0", "endpoint": ["h" * 256, 80]}, "malformed"),
        ({"op": "heartbeat", "name": ["p0"]}, "malformed"),
        ({"op": "heartbeat", "name": "p0", "group": {}}, "malformed"),
        ({"op": "heartbeat"}, "unknown name"),
        ({"op": "unregister", "name": {}}, "malformed"),
        ({"op": "list", "group": []}, "malformed"),
        ({"op": "where", "names": "p0"}, "malformed"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence_and_harms_nothing(request_, code):
    membership = Membership()
    membership.handle(register("there"), 0.0)
    reply = membership.handle(request_, 1.0)
    assert reply["ok"] is False and reply["code"] == code
    assert reply["sentence"] and len(reply["sentence"]) < 200
    assert names(membership, 1.0) == ["there"]


def test_it_holds_so_many_and_no_more():
    membership = Membership()
    for number in range(MOST_ENTRIES):
        assert membership.handle(register(f"p{number}"), 0.0)["ok"]
    assert membership.handle(register("one more"), 0.0)["code"] == "full"
    assert membership.handle(register("p0", 9000), 0.0)["ok"], "who is there may register again"
    assert len(membership.entries) == MOST_ENTRIES
    assert membership.handle(register("one more"), LEASE_S + 1)["ok"], "leases that ended make room"

"""What a peer says of itself when a run is over, and a group manager of its group, is believed where it can be read."""

from __future__ import annotations

import pytest

from comparison_server.coordinator import Member
from comparison_server.delivery_log import MOST_LOG_BYTES, Collection
from comparison_server.service import Registration, _standstills
from experiments.play import totals
from peer.core.commands import Prepare, Sealed
from peer.core.errors import RunError


def test_standstills_that_cannot_be_read_are_left_out():
    def told(stood_still):
        sealed = Sealed("r1", {}, {"stood_still": stood_still})
        return _standstills("p1", Member("p1", Prepare("r1", 1, {}), sealed=sealed))

    right = {"at_s": 1, "for_s": 2.5}
    assert told([right]) == ["p1 stood still for 2.5 s, 1.0 s after its start."]
    for wrong in (None, 7, "long", {"at_s": 1}, [1], [{}], [{"at_s": 1, "for_s": "long"}], [right, {"at_s": 1}]):
        assert told(wrong) == []


def test_measures_that_are_no_numbers_are_not_added_up():
    peers = {"p0": {"datagrams_sent": 5, "resent": 1}, "p1": {"datagrams_sent": "many", "resent": [1]}}
    assert totals(peers, 5) == {
        "datagrams_sent": 5, "packets_sent": None, "bytes_sent": None, "resent": 1,
        "datagrams_sent_per_delivery": 1.0, "packets_sent_per_delivery": None,
        "bytes_sent_per_delivery": None, "resent_per_delivery": 0.2,
    }  # fmt: skip


@pytest.mark.parametrize("size", [MOST_LOG_BYTES + 1, -1, 10**18, True, 0.5, "1"])
def test_a_log_of_a_size_that_none_has_is_refused(tmp_path, size):
    collection = Collection("r1", tmp_path, ("p0",))
    with pytest.raises(RunError, match="p0 announced its log 'trace' as"):
        collection.sealed("p0", {"trace": [size, "00"], "sends": [0, "00"]})


@pytest.mark.parametrize(
    "reply",
    [
        {"ok": True, "members": 7},
        {"ok": True, "members": ["p0"]},
        {"ok": True, "heartbeat_s": "soon"},
        {"ok": True, "heartbeat_s": None, "members": None},
        {"ok": "yes"},
        {},
    ],
    ids=str,
)
def test_a_group_manager_that_talks_nonsense_is_not_believed(reply):
    registration = Registration(bytes(32), "", ("127.0.0.1", 1), None, False)
    registration._on_reply(reply)
    assert not registration.registered and registration.peers == []

"""Logs that come by another way than the control connections: whole, once, and over those where the other way fails."""

from __future__ import annotations

import pytest

from comparison_server.service import Service
from tests.comparison_server.fake_peer import FakePeer
from tests.comparison_server.test_service import KEY, LOOPBACK, play

FILES = {"trace": b"deliveries" * 1000, "sends": b"sends" * 100}


class Porter:
    """Brings what it is given, by name of a peer; a text is the reason why it cannot."""

    def __init__(self, loads: dict[str, dict[str, bytes] | str]) -> None:
        self.loads, self.asked, self.ready, self.forgotten = loads, [], [], []

    def bring(self, run, member, logs):
        self.asked.append(member)
        load = self.loads.get(member)
        if load is None:
            return False
        if isinstance(load, str):
            self.ready.append((run, member, load))
            return True
        for kind, log in logs.items():
            log.partial_path.write_bytes(load[kind])
            log.have = len(load[kind])
        self.ready.append((run, member, ""))
        return True

    def came(self):
        ready, self.ready = self.ready, []
        return ready

    def forget(self, run):
        self.forgotten.append(run)


@pytest.fixture
def lead(tmp_path):
    """Leads a run of two peers with this porter; the outcome, the peers, and what was kept of whom."""
    peers = []

    def lead(porter, **options):
        with Service(LOOPBACK, KEY, carrier=porter) as service:
            for name in ("ana", "bob"):
                peers.append(FakePeer(name, service.endpoint, KEY, files=FILES, **options).start())
            outcome = play(service, "ana", "bob", folder=tmp_path / "run", upload_s=10)
        kept = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        return outcome, peers, kept

    yield lead
    for peer in peers:
        peer.end()


WHOLE = {f"{kind}-{place}.bin": data for kind, data in FILES.items() for place in (0, 1)}


def test_what_was_brought_is_not_asked_for(lead):
    porter = Porter({"ana": FILES, "bob": FILES})
    outcome, peers, kept = lead(porter)
    assert porter.forgotten == [outcome.run]
    assert outcome.error is None and not outcome.missing and not outcome.remarks
    assert kept == WHOLE and [peer.chunks for peer in peers] == [0, 0]


def test_who_cannot_be_brought_sends_its_logs_itself_and_that_is_told(lead):
    outcome, peers, kept = lead(Porter({"ana": "h1: SFTP is off there", "bob": FILES}))
    assert outcome.error is None and kept == WHOLE
    assert peers[0].chunks > 0 and peers[1].chunks == 0
    assert outcome.remarks == ["h1: SFTP is off there; the logs of ana come over its control connection."]


def test_who_declines_leaves_it_to_the_peers(lead):
    outcome, peers, kept = lead(Porter({}))
    assert outcome.error is None and kept == WHOLE and all(peer.chunks for peer in peers)


@pytest.mark.parametrize("wrong", [FILES["trace"][:-1], b"x" + FILES["trace"][1:], b""])
def test_what_was_brought_damaged_is_fetched_whole(lead, wrong):
    outcome, peers, kept = lead(Porter({"ana": FILES | {"trace": wrong}, "bob": FILES}))
    assert outcome.error is None and kept == WHOLE
    assert peers[0].chunks == 1, "the trace alone; the other log was whole"


def test_a_peer_that_announces_its_logs_again_disturbs_nothing(lead):
    from peer.core.commands import Collected

    porter = Porter({"ana": FILES, "bob": FILES})
    outcome, peers, kept = lead(porter, cut_before=(Collected,))
    assert outcome.error is None and kept == WHOLE


def test_what_still_comes_of_a_run_that_was_given_up_is_no_concern_of_the_next_one(lead):
    porter = Porter({"ana": FILES, "bob": FILES})
    porter.ready = [("a run before", "ana", ""), ("a run before", "nobody", "h1: the connection broke")]
    outcome, peers, kept = lead(porter)
    assert outcome.error is None and kept == WHOLE and not outcome.remarks
    assert [peer.chunks for peer in peers] == [0, 0]

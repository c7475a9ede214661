"""The classroom program waited by asking again and again; who waits here uses no processor.

The time that each peer's thread was given is read at its heartbeats, and a stretch of waiting ends with the run.
"""

from time import monotonic, thread_time

import pytest

from comparison_server.coordinator import HANDSHAKE, SEND
from peer import session
from peer.drivers.udp import UdpPeer
from tests.classroom.lab import Lab

MOST = 0.01  # of a processor; waiting takes a fifth of that, asking again and again all that can be had
BEAT_S, BEATS = 0.2, 6


class Timed(UdpPeer):
    """Notes at each heartbeat what it was doing, when that was, and how much of a processor it has had."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.noted, self.heartbeat_s = [], BEAT_S

    def _ask_manager(self, request):
        super()._ask_manager(request)
        if request["op"] == "heartbeat":
            self.noted.append((self.session.phase, monotonic(), thread_time()))

    def beats(self, phase):
        """When its heart beat in this phase, and what it had used by then."""
        return [(when, used) for each, when, used in self.noted if each == phase]

    def share(self, phase):
        """Of a processor, between the first heartbeat in this phase and the last."""
        beats = self.beats(phase)
        (began, before), (ended, after) = beats[0], beats[-1]
        return (after - before) / (ended - began)


@pytest.fixture
def peers(lab: Lab, monkeypatch):
    """Three of them, whose hearts beat quickly."""
    monkeypatch.setattr("group_manager.membership.HEARTBEAT_S", BEAT_S)
    return lab.start("a", "b", "c", kind=Timed)


def until_they_waited(lab, peers, phase):
    """For a run: it is ended once each of these has waited long enough."""

    def look(progress):
        if all(len(peer.beats(phase)) > BEATS for peer in peers):
            lab.server.coordinator.interrupt(monotonic())

    return look


def test_a_peer_that_waits_for_others_does_not_ask_again_and_again(lab: Lab, peers):
    """Fails if a peer without a run, or one in a handshake that cannot end, loops instead of sleeping."""
    a, b, c = peers
    b.network._send = lambda datagrams, neighbour: None
    outcome, _ = lab.run(on_progress=until_they_waited(lab, (a, b), session.HANDSHAKE), members=("a", "b"))
    assert outcome.error.phase == HANDSHAKE
    assert a.share(session.HANDSHAKE) < MOST and b.share(session.HANDSHAKE) < MOST
    assert c.share(session.IDLE) < MOST


def test_a_peer_that_has_nothing_to_send_yet_does_not_loop_until_it_has(lab: Lab, peers):
    """Fails if the time between two messages, or until the others have ended, is spent looping."""
    waited = until_they_waited(lab, peers, session.RUNNING)
    outcome, _ = lab.run(on_progress=waited, gap_ms=(60_000.0, 60_000.0), messages=1)
    assert outcome.error.phase == SEND
    assert all(peer.share(session.RUNNING) < MOST for peer in peers)

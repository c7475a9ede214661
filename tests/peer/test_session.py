"""A session: what it does when it is told, what it reports, and what it refuses."""

import json
from dataclasses import replace

import pytest

from peer.core.blocks import Block
from peer.core.commands import Close, Counts, Prepare, Reached, Rejected, Release, Stop
from peer.core.effects import Ask, Deliver, RecordMulticast, SetTimer, Transmit
from peer.core.events import PacketArrived, Started, TimerFired
from peer.core.news import Drained, GroupReady, PairRefused
from peer.core.settings import RunSettings, from_json, to_json
from peer.core.trace import DELIVERY_RECORD, RELEASED, SEAL
from peer.links.ack_resend import Ack, Data
from peer.session import CLOSED, DRAINED, HANDSHAKE, IDLE, READY, RUNNING, SERVER, Play, Seal, Session
from tests.runs import run_settings

RUN = run_settings("fifo", peers=2, messages=2)
WIRE = json.loads(to_json(RUN))


def prepared(run="r1"):
    session = Session("p0")
    session.on_command(Prepare(run, 0, WIRE), 0.0)
    session.host.step([Started()], 0.0)
    return session


def running():
    session = prepared()
    session.on_news(GroupReady())
    session.on_command(Release("r1"), 5.0)
    return session


def reports(effects):
    assert all(type(effect) is Ask and effect.service == SERVER for effect in effects)
    return [effect.question for effect in effects]


def test_a_life():
    session = Session("p0")
    assert session.phase == IDLE
    assert session.on_command(Prepare("r1", 0, WIRE, {"world": "sim"}), 0.0) == [
        Play("r1", 0, RUN, {"world": "sim", "peer": 0, "run": "r1", "settings": WIRE})
    ]
    assert session.phase == HANDSHAKE
    assert reports(session.on_news(GroupReady())) == [Reached("r1")] and session.phase == READY
    effects = session.on_command(Release("r1"), 5.0)
    assert [type(effect) for effect in effects] == [SetTimer] and session.phase == RUNNING
    (counts,) = reports(session.on_news(Drained(4)))
    assert counts.phase == DRAINED and session.phase == DRAINED
    assert session.on_command(Close("r1"), 9.0)[-1] == Seal("r1") and session.phase == CLOSED


def test_counts_of_who_has_done_nothing_yet():
    assert Session("p0").counts() == Counts("", IDLE)


def test_counts_say_how_far_it_is():
    session = running()
    assert session.counts() == Counts("r1", RUNNING, waits_for=["p1"])
    effects = session.host.step([TimerFired("steady", "gap")], 6.0)
    assert {type(effect) for effect in effects} >= {RecordMulticast, Transmit, Deliver}
    so_far = Counts("r1", RUNNING, asked=1, delivered=1, held={"unacknowledged": 1}, waits_for=["p1"], latency_s=0.0)
    assert session.counts() == session.counts(9.0) == so_far
    session.host.step([TimerFired("steady", "gap")], 7.0)
    assert session.counts().asked == 2 and session.counts().ended and not session.counts().drained


def test_who_drained_stays_and_answers():
    """It goes on acknowledging until it is told to close."""
    bare = replace(RUN.stack, discovery=None, connection=None, overlay=None, allow_unmet=True)
    session = Session("p0")
    session.on_command(Prepare("r1", 0, json.loads(to_json(replace(RUN, stack=bare)))), 0.0)
    session.host.step([Started()], 0.0)
    session.on_command(Release("r1"), 5.0)
    session.on_news(Drained(4))
    end = PacketArrived(1, Data(0, 0, 0, Block(1, 0, 0, 0, 1, b"")))
    assert session.host.step([end], 8.0)
    assert session.host.step([end], 9.0) == [Transmit(1, Ack(1, 0))]


def test_times_count_from_the_release():
    session = running()
    session.host.step([TimerFired("steady", "gap")], 6.5)
    session.on_command(Close("r1"), 9.0)
    deliveries, sends, _ = session.host.recorder.take()
    rows = list(DELIVERY_RECORD.iter_unpack(deliveries))
    assert [(row[0], row[-1]) for row in rows] == [(RELEASED, 5.0), (0, 1.5), (SEAL, 0.0)]
    assert sends


def test_one_run_at_a_time():
    session = running()
    (refused,) = reports(session.on_command(Prepare("r2", 0, WIRE), 6.0))
    assert refused == Rejected("r2", "busy", "p0 is busy with run r1") and session.run == "r1"
    session.on_command(Close("r1"), 7.0)
    before = session.host
    assert type(session.on_command(Prepare("r2", 0, WIRE), 8.0)[0]) is Play
    assert session.host is not before and session.counts() == Counts("r2", HANDSHAKE, waits_for=["p1"])


@pytest.mark.parametrize("command", [Release("r0"), Close("r0")])
def test_commands_for_another_run(command):
    session = running()
    assert reports(session.on_command(command, 6.0)) == [Rejected("r0", "unknown run", "p0 does not play run r0")]
    assert session.phase == RUNNING
    assert reports(Session("p0").on_command(command, 6.0))[0].code == "unknown run"


def test_a_second_release_or_close_does_nothing():
    session = running()
    assert session.on_command(Release("r1"), 6.0) == []
    session.on_command(Close("r1"), 7.0)
    assert session.on_command(Close("r1"), 8.0) == [] and session.on_command(Release("r1"), 8.0) == []
    assert session.phase == CLOSED


def test_stop_seals_whatever_there_is():
    assert Session("p0").on_command(Stop("enough"), 1.0) == []
    for session in (prepared(), running()):
        assert session.on_command(Stop("enough"), 6.0)[-1] == Seal("r1") and session.phase == CLOSED
        assert session.on_command(Stop("enough"), 7.0) == []


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"stock": {}}, "stock: unknown setting; known are members, "),
        ({"stack": {"link": {"name": "pigeon"}}}, "stack.link: unknown link 'pigeon'"),
        ({"stack": {"ordering": {"name": "fifo", "options": {"x": 1}}}}, "stack.ordering.x: "),
        ({"stack": {"ordering": {"name": "lamport_all_ack"}, "link": {"name": "direct"}}}, "stack: "),
        ({"network": {"datagram_bytes": "many"}}, ""),
        ({"members": 5}, ""),
        ({"stack": None}, "stack: expected an object, found None"),
        ({"workload": None}, ""),
    ],
)
def test_settings_that_cannot_be_played(change, sentence):
    session = Session("p0")
    (refused,) = reports(session.on_command(Prepare("r1", 0, WIRE | change), 0.0))
    assert refused.code == "settings" and refused.sentence.startswith(f"p0 cannot play this run: {sentence}")
    assert session.phase == IDLE and type(session.on_command(Prepare("r2", 0, WIRE), 1.0)[0]) is Play


@pytest.mark.parametrize("me", [-1, 2, 99])
def test_a_place_that_is_none(me):
    (refused,) = reports(Session("p0").on_command(Prepare("r1", me, WIRE), 0.0))
    assert refused.code == "settings" and refused.sentence == f"p0 cannot play this run: it has no member {me}"


def test_what_the_peers_say_of_each_other():
    (refused,) = reports(prepared().on_news(PairRefused(1, "told run 1, this peer run 2")))
    assert refused == Rejected("r1", "other settings", "p0 and p1 differ: told run 1, this peer run 2")


def test_the_settings_it_plays_are_those_it_was_sent():
    assert prepared().settings == from_json(RunSettings, WIRE) == RUN

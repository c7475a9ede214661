"""Connection `ready_ack` under an overlay: both ends confirm each other whatever is lost, and nothing early is lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.connection.ready_ack import HELD_AT_MOST, HandshakeAck, Ready, ReadyAck
from peer.core.events import Answered, Started
from peer.core.guarantees import ADDRESSES, PAIRS
from peer.core.layer import Layer
from peer.core.news import GroupReady, PairReady, PairRefused
from peer.core.requests import Connect
from peer.core.stack import Stack
from peer.discovery.group_manager import GroupManager
from peer.overlay.full_mesh import FullMesh
from tests.runs import run_settings
from tests.table import Listener, Table, Word


def layers(me, peers=2, digest=7) -> list[Layer]:
    return [GroupManager(tuple(f"p{peer}" for peer in range(peers))), ReadyAck(digest), FullMesh(), Listener()]


def table_of(peers=2, fates="", digests=None):
    return Table([layers(me, peers, digests[me] if digests else 7) for me in range(peers)], fates)


def half_open():
    """Peer 0 is ready and may send; what confirms it at peer 1 was lost, so peer 1 is not ready yet."""
    table = table_of(fates={(0, 1): ".xxx"}).start().carry()
    assert ready(table) == [0]
    return table


def ready(table):
    """Whose whole group is reached."""
    return [me for me in range(len(table.stacks)) if table.told(me, GroupReady)]


def test_all_pairs_become_ready():
    table = table_of(peers=5).start().settle()
    assert ready(table) == [0, 1, 2, 3, 4]
    assert not any(stack.layer("ready_ack").shut for stack in table.stacks)  # from here on packets pass it by
    assert all(len(table.told(me, GroupReady)) == 1 and not table.stacks[me].waits_for() for me in range(5))


@pytest.mark.parametrize("fates", "x xx xxxxxxxx .x .xx x.x.x xx.xx 2222222 2x2x2 < <<<< 2<x<2".split())
@pytest.mark.parametrize("directions", [[(0, 1)], [(1, 0)], [(0, 1), (1, 0)]])
def test_whatever_is_lost_doubled_or_overtaken(fates, directions):
    table = table_of(fates=dict.fromkeys(directions, fates)).start().settle()
    assert ready(table) == [0, 1]


@given(st.text(".x2<", max_size=12), st.text(".x2<", max_size=12))
def test_whatever_the_wire_does(there, back):
    table = table_of(fates={(0, 1): there, (1, 0): back}).start().settle()
    assert ready(table) == [0, 1]
    assert all(len(table.told(me, GroupReady)) == 1 for me in (0, 1))


def test_members_are_counted_and_not_messages():
    """However often one member says READY and acknowledges, the other is missing."""
    table = table_of(peers=3, fates={(2, 0): "x" * 1000, (0, 2): "x" * 1000, (0, 1): "2" * 9, (1, 0): "2" * 9})
    table.start().pass_time(5.0)
    assert ready(table) == [1] and table.stacks[0].waits_for() == [2]
    for _ in range(5):
        for _, packet in table.sent_by(1, Ready) + table.sent_by(1, HandshakeAck):
            table.arrive(0, 1, packet)
    assert ready(table) == [1] and table.stacks[0].waits_for() == [2]


def test_a_late_ready_is_confirmed():
    """A member whose pair is ready long since still answers who has not heard of it."""
    table = table_of(fates={(0, 1): "." + "x" * 6}).start()
    while not ready(table):
        table.fire()
        table.carry()
    assert ready(table) == [0]  # it heard and was confirmed; its own confirmations got lost
    table.settle()
    assert ready(table) == [0, 1]
    answers = len(table.sent_by(0, HandshakeAck))
    table.arrive(0, 1, table.sent_by(1, Ready)[0][1])
    assert len(table.sent_by(0, HandshakeAck)) == answers + 1


def test_only_the_own_nonce_confirms():
    """An acknowledgement of somebody else's READY, or of one of an earlier life, is none."""
    table = table_of().start()
    (_, said) = table.sent_by(0, Ready)[0]
    table.arrive(0, 1, Ready(99, 7))
    table.arrive(0, 1, HandshakeAck(said.nonce ^ 1, 7))
    assert not table.told(0, GroupReady)
    table.arrive(0, 1, HandshakeAck(said.nonce, 7))
    assert table.told(0, GroupReady)


def test_nonces_differ_by_pair_and_by_life():
    nonces = set()
    for life in (b"a" * 32, b"b" * 32):
        stack = Stack([GroupManager(("p0", "p1", "p2")), ReadyAck(7), FullMesh()], 0, (0, 1, 2))
        stack.handle([Started(entropy=life)])
        effects = stack.handle([Answered("group_manager", {"endpoints": {"p1": ["h", 1], "p2": ["h", 2]}})])
        nonces |= {effect.packet.nonce for effect in effects if type(getattr(effect, "packet", None)) is Ready}
    assert len(nonces) == 4


def test_who_was_told_another_run_is_refused():
    table = table_of(digests=[7, 8]).start().pass_time(5.0)
    assert ready(table) == [] and table.stacks[0].waits_for() == [1]
    for me in (0, 1):
        (refused,) = table.told(me, PairRefused)  # said once, however often it tries
        assert refused.peer == 1 - me
        assert f"{7:016x}" in refused.sentence and f"{8:016x}" in refused.sentence
    assert not table.sent_by(0, HandshakeAck) + table.sent_by(1, HandshakeAck)


def test_one_odd_member_does_not_keep_the_others_apart():
    table = table_of(peers=3, digests=[7, 7, 8]).start().pass_time(5.0)
    assert table.stacks[0].waits_for() == table.stacks[1].waits_for() == [2]
    assert table.stacks[2].waits_for() == [0, 1]


def test_the_digest_is_that_of_the_settings():
    run = run_settings()
    assert ReadyAck.make(run, 0, {}) == ReadyAck.make(run, 1, {})
    assert ReadyAck.make(run, 0, {}) != ReadyAck.make(replace(run, seed="9"), 0, {})


def test_early_packets_are_held_and_handed_up_in_order():
    table = half_open()
    table.arrive(1, 0, Word("a"), Word("b"))
    table.arrive(1, 0, Word("c"))
    assert table.heard(1) == []
    table.settle()
    assert ready(table) == [0, 1] and table.heard(1) == ["a", "b", "c"]
    table.arrive(1, 0, Word("d"))
    assert table.heard(1) == ["a", "b", "c", "d"]


def test_what_arrives_with_the_confirmation_comes_after_what_was_early():
    table = half_open()
    said = table.sent_by(1, Ready)[0][1]
    table.arrive(1, 0, Word("a"))
    table.arrive(1, 0, Word("b"), HandshakeAck(said.nonce, 7), Word("c"))
    assert table.heard(1) == ["a", "b", "c"]


def test_one_pair_opens_without_the_others():
    table = table_of(peers=3, fates={(2, 1): "x" * 99, (1, 2): "x" * 99}).start().pass_time(5.0)
    table.arrive(1, 2, Word("early"))
    table.arrive(1, 0, Word("in time"))
    assert table.heard(1) == ["in time"]
    table.settle()
    assert table.heard(1) == ["in time", "early"]


def test_what_is_early_of_one_is_not_handed_up_with_another():
    table = table_of(peers=3, fates="x" * 30).start()
    for number in range(3):
        table.arrive(1, 0, Word(f"a{number}"))
        table.arrive(1, 2, Word(f"b{number}"))
    table.settle()
    assert table.heard(1, 0) == ["a0", "a1", "a2"] and table.heard(1, 2) == ["b0", "b1", "b2"]


def test_no_more_is_held_than_may_be():
    table = half_open()
    for number in range(HELD_AT_MOST + 5):
        table.arrive(1, 0, Word(str(number)))
    assert table.notes[1] == ["early packet dropped"] * 5
    table.settle()
    assert table.heard(1) == [str(number) for number in range(HELD_AT_MOST)]


def test_it_comes_to_rest():
    """Once everybody is ready nothing is sent and no timer runs."""
    table = table_of(peers=3).start().settle()
    sent = len(table.sent)
    table.pass_time(100.0)
    assert len(table.sent) == sent and not table.timers


def test_retries_slow_down_but_never_end():
    table = table_of(fates={(0, 1): "x" * 10_000}).start().pass_time(60.0)
    before = len(table.sent_by(0, Ready))
    table.pass_time(60.0)
    assert 60 <= len(table.sent_by(0, Ready)) - before <= 80


def test_pairs_are_made_with_whom_the_overlay_wants():
    """And with nobody else, though a READY of anybody is answered."""
    table = Table([[GroupManager(("p0", "p1")), ReadyAck(7)] for _ in range(2)]).start()
    assert table.pass_time(3.0).sent == []
    table.ask(0, Connect(1))
    assert [target for target, _ in table.sent_by(0, Ready)] == [1]  # at once
    table.pass_time(3.0)
    assert table.sent_by(1, HandshakeAck) and not table.sent_by(1, Ready)
    assert table.told(0, PairReady) == table.told(1, PairReady) == []
    table.ask(1, Connect(0)).settle()
    assert table.told(0, PairReady) == [PairReady(1)] and table.told(1, PairReady) == [PairReady(0)]


def test_what_it_needs_and_gives():
    assert ReadyAck.needs == {ADDRESSES} and ReadyAck.gives == {PAIRS}

"""Each ordering's rule in small stacks: who is told what, what is held back, and what is delivered when."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparison_server.evidence import Evidence, PeerLog, Sends, message_ids
from comparison_server.verdict import judge
from peer.core.blocks import Block
from peer.core.guarantees import RELIABLE
from peer.core.news import Settled
from peer.core.requests import MulticastBlock
from peer.ordering.fixed_sequencer import Numbered
from peer.ordering.lamport_all_ack import BlockAck, Holds, Promise
from peer.stacks import variant_class
from tests.runs import ORDERINGS_AND_VARIANTS, run_settings
from tests.table import Table


def table_of(name, variant=None, peers=3, **options):
    """Stacks of nothing but an ordering, on a wire that is reliable and keeps order unless told otherwise."""
    run = run_settings(name, variant, peers=peers)
    return Table([[variant_class(name, variant).make(run, me, dict(options))] for me in range(peers)])


def multicast(table, me, first, count=1):
    return table.ask(me, MulticastBlock(first, count, 1, b"x" * count))


def block(sender, first, stamp, count=1):
    return Block(sender, first, count, 1, stamp, b"x" * count)


def delivered(table, me):
    return [(each.sender, each.first) for each in table.delivered[me]]


def stamps(table, me):
    return [each.stamp for each in table.delivered[me]]


@pytest.mark.parametrize("name", ["unordered", "fifo"])
def test_blocks_are_stamped_above_what_was_received(name):
    table = table_of(name)
    table.arrive(0, 1, block(1, 0, 41), block(1, 1, 7))
    multicast(table, 0, 0)
    assert {packet.stamp for _, packet in table.sent_by(0, Block)} == {42}


# -- unordered


def test_unordered_delivers_what_arrives_as_it_arrives():
    table = table_of("unordered")
    table.arrive(0, 1, block(1, 3, 9), block(1, 0, 1))
    table.arrive(0, 2, block(2, 7, 2))
    assert delivered(table, 0) == [(1, 3), (1, 0), (2, 7)]


def test_unordered_delivers_nothing_twice():
    table = table_of("unordered")
    for first in (2, 2, 0, 2, 0, 1, 1, 2, 0, 5, 3, 5):
        table.arrive(0, 1, block(1, first, 1))
    assert delivered(table, 0) == [(1, 2), (1, 0), (1, 1), (1, 5), (1, 3)]


def test_unordered_delivers_its_own_at_once():
    table = multicast(table_of("unordered"), 0, 0)
    assert delivered(table, 0) == [(0, 0)] and [(s, t) for s, t, _ in table.sent] == [(0, 1), (0, 2)]
    assert delivered(table.carry(), 2) == [(0, 0)]


# -- fifo


def test_fifo_holds_back_what_is_beyond_a_gap():
    table = table_of("fifo")
    table.arrive(0, 1, block(1, 2, 3), block(1, 5, 4, count=3))
    assert delivered(table, 0) == [] and table.stacks[0].held() == {"held back": 2}
    table.arrive(0, 1, block(1, 0, 1, count=2))
    assert delivered(table, 0) == [(1, 0), (1, 2)]
    table.arrive(0, 1, block(1, 3, 3, count=2))
    assert delivered(table, 0) == [(1, 0), (1, 2), (1, 3), (1, 5)] and table.stacks[0].held() == {"held back": 0}


def test_fifo_waits_for_each_sender_alone():
    table = table_of("fifo")
    table.arrive(0, 1, block(1, 1, 2))
    table.arrive(0, 2, block(2, 0, 1))
    assert delivered(table, 0) == [(2, 0)]


def test_fifo_delivers_nothing_twice():
    table = table_of("fifo")
    for first in (0, 0, 2, 2, 1, 0, 1, 2):
        table.arrive(0, 1, block(1, first, 1))
    assert delivered(table, 0) == [(1, 0), (1, 1), (1, 2)]


# -- lamport_all_ack

VARIANTS = pytest.mark.parametrize("variant", ["explicit", "promise", "textbook"])


@VARIANTS
def test_lamport_delivers_nothing_before_everybody_has_answered(variant):
    table = multicast(table_of("lamport_all_ack", variant), 0, 0)
    answers = []
    for peer in (1, 2):
        table.arrive(peer, 0, table.sent[0][2])
        answers.append([(source, packet) for source, target, packet in table.sent if source == peer and target == 0])
    assert delivered(table, 0) == []
    for _ in range(3):  # however often one member says it
        for source, packet in answers[0]:
            table.arrive(0, source, packet)
    assert delivered(table, 0) == []
    for source, packet in answers[1]:
        table.arrive(0, source, packet)
    assert delivered(table, 0) == [(0, 0)]


@VARIANTS
def test_lamport_breaks_ties_by_sender(variant):
    """All three multicast before they hear of each other; whoever is heard of first does not count."""
    table = table_of("lamport_all_ack", variant)
    for me in (2, 0, 1):
        multicast(table, me, 0)
    table.carry(choose=lambda directions: directions[-1])
    assert stamps(table, 0) == [1, 1, 1]
    assert [delivered(table, me) for me in range(3)] == [[(0, 0), (1, 0), (2, 0)]] * 3


@VARIANTS
def test_lamport_delivers_by_stamp(variant):
    """Peer 2 stamps low, since it has heard nothing; its block comes first though it arrives last."""
    table = table_of("lamport_all_ack", variant)
    multicast(table, 0, 0).carry()
    multicast(table, 1, 0)
    multicast(table, 1, 1)
    multicast(table, 2, 0)
    table.carry(choose=lambda directions: directions[0])
    assert all(delivered(table, me) == delivered(table, 0) for me in range(3))
    order = [(each.stamp, each.sender) for each in table.delivered[0]]
    assert order == sorted(order) and order.index((table.delivered[0][-1].stamp, 1)) == 3
    assert delivered(table, 0).index((2, 0)) < delivered(table, 0).index((1, 1))


@VARIANTS
def test_lamport_stamps_above_what_it_has_received(variant):
    table = table_of("lamport_all_ack", variant)
    table.arrive(0, 1, block(1, 0, 41))
    multicast(table, 0, 0)
    (own,) = {packet.stamp for _, packet in table.sent_by(0, Block)}
    assert own > 41
    table.arrive(0, 2, block(2, 0, 5))  # what is older does not set the clock back
    multicast(table, 0, 1)
    assert table.sent_by(0, Block)[-1][1].stamp > own


def test_acks_and_promises_move_no_clock():
    """Else they would answer each other for ever."""
    table = table_of("lamport_all_ack", "explicit")
    table.arrive(0, 1, Holds((0, 1), (100, 100)))
    multicast(table, 0, 0)
    assert table.sent_by(0, Block)[0][1].stamp == 1
    table = table_of("lamport_all_ack", "promise")
    table.arrive(0, 1, Promise(100))
    multicast(table, 0, 0)
    assert table.sent_by(0, Block)[0][1].stamp == 1


@VARIANTS
def test_lamport_comes_to_rest(variant):
    table = multicast(table_of("lamport_all_ack", variant, peers=5), 0, 0).carry()
    assert not table.wire and all(delivered(table, me) == [(0, 0)] for me in range(5))
    answers = len(table.sent) - 4
    assert answers == 4 * 4  # everybody but the sender to everybody else


def test_explicit_acknowledges_a_turn_at_once_and_together():
    table = table_of("lamport_all_ack", "explicit")
    table.arrive(0, 1, block(1, 0, 1, count=3), block(1, 3, 2))
    assert table.sent_by(0, Holds) == [(1, Holds((1,), (4,))), (2, Holds((1,), (4,)))]
    table.arrive(0, 2, Holds((1,), (4,)))
    assert delivered(table, 0) == [(1, 0), (1, 3)]


def test_explicit_says_of_every_sender_how_far():
    table = table_of("lamport_all_ack", "explicit")
    for event in ((2, block(2, 0, 1)), (1, block(1, 0, 1))):
        table.arrive(0, *event)
    assert [packet for to, packet in table.sent_by(0, Holds) if to == 1] == [Holds((2,), (1,)), Holds((1,), (1,))]


def test_explicit_needs_the_word_of_everybody_for_this_very_block():
    table = table_of("lamport_all_ack", "explicit")
    table.arrive(0, 1, block(1, 0, 1), block(1, 1, 2))
    table.arrive(0, 2, Holds((1,), (1,)))
    assert delivered(table, 0) == [(1, 0)]
    table.arrive(0, 2, Holds((2,), (9,)))
    assert delivered(table, 0) == [(1, 0)]
    table.arrive(0, 2, Holds((1,), (2,)))
    assert delivered(table, 0) == [(1, 0), (1, 1)]


def test_explicit_waits_for_the_head():
    """A later block that everybody holds does not overtake an earlier one that somebody may lack."""
    table = table_of("lamport_all_ack", "explicit")
    table.arrive(0, 1, block(1, 0, 1))
    table.arrive(0, 2, block(2, 0, 2))
    table.arrive(0, 1, Holds((2,), (1,)))
    assert delivered(table, 0) == []
    table.arrive(0, 2, Holds((1,), (1,)))
    assert delivered(table, 0) == [(1, 0), (2, 0)]


def test_promise_is_said_only_where_no_block_says_it():
    table = table_of("lamport_all_ack", "promise")
    table.arrive(0, 1, block(1, 0, 7))
    assert table.sent_by(0, Promise) == [(1, Promise(7)), (2, Promise(7))]
    table.arrive(0, 2, block(2, 0, 5))
    assert len(table.sent_by(0, Promise)) == 2  # that is promised already
    multicast(table, 0, 0)
    assert len(table.sent_by(0, Promise)) == 2  # the block's own stamp promises as much


def test_promise_delivers_on_stamps_alone():
    """Before everybody holds the block: it gives up uniform agreement for that."""
    table = table_of("lamport_all_ack", "promise")
    table.arrive(0, 1, block(1, 0, 3))
    table.arrive(0, 2, block(2, 0, 2))
    assert delivered(table, 0) == [(2, 0)]
    table.arrive(0, 2, block(2, 1, 4))
    assert delivered(table, 0) == [(2, 0), (1, 0)]


def test_a_promise_holds_whatever_is_said_later():
    table = table_of("lamport_all_ack", "promise")
    table.arrive(0, 1, Promise(9), Promise(3))
    table.arrive(0, 2, block(2, 0, 5))
    assert delivered(table, 0) == [(2, 0)]


def test_textbook_acknowledges_every_block_by_itself():
    table = table_of("lamport_all_ack", "textbook")
    table.arrive(0, 1, block(1, 0, 7), block(1, 1, 8))
    acks = [packet for target, packet in table.sent_by(0, BlockAck) if target == 2]
    assert acks == [BlockAck(1, 0, 8), BlockAck(1, 1, 9)]


# -- fixed_sequencer


def sequencer_table(**options):
    return table_of("fixed_sequencer", "ub", **options)


def test_the_sequencer_numbers_and_everybody_delivers_by_number():
    table = multicast(sequencer_table(), 1, 0)
    assert [(source, target, type(packet)) for source, target, packet in table.sent] == [(1, 0, Block)]
    assert [delivered(table, me) for me in range(3)] == [[], [], []]
    table.carry()
    assert [delivered(table, me) for me in range(3)] == [[(1, 0)]] * 3
    assert [target for target, _ in table.sent_by(0, Numbered)] == [1, 2]


def test_the_sequencer_delivers_its_own_at_once():
    table = multicast(sequencer_table(), 0, 0)
    assert delivered(table, 0) == [(0, 0)] and not table.sent_by(0, Block)
    assert delivered(table.carry(), 2) == [(0, 0)]


def test_numbers_are_waited_for():
    table = sequencer_table()
    table.arrive(1, 0, Numbered(1, block(2, 1, 2)), Numbered(2, block(2, 2, 3)))
    assert delivered(table, 1) == [] and table.stacks[1].held() == {"held back": 2}
    table.arrive(1, 0, Numbered(0, block(2, 0, 1)))
    table.arrive(1, 0, Numbered(0, block(2, 0, 1)), Numbered(2, block(2, 2, 3)))
    assert delivered(table, 1) == [(2, 0), (2, 1), (2, 2)] and table.stacks[1].held() == {"held back": 0}
    multicast(table, 1, 0)
    assert table.sent_by(1, Block)[0][1].stamp == 4  # above all that it has received


def test_only_the_sequencer_gives_numbers():
    table = sequencer_table(sequencer=2)
    table.arrive(1, 0, Numbered(0, block(0, 0, 1)))
    assert delivered(table, 1) == []
    table.arrive(1, 2, Numbered(0, block(0, 0, 1)))
    assert delivered(table, 1) == [(0, 0)]


def test_the_sequencer_takes_only_the_next_of_a_sender():
    table = sequencer_table()
    table.arrive(0, 1, block(1, 1, 2), block(1, 2, 3))
    assert delivered(table, 0) == []
    table.arrive(0, 1, block(1, 0, 1), block(1, 0, 1), block(1, 2, 3))
    assert delivered(table, 0) == [(1, 0), (1, 1), (1, 2)] and table.stacks[0].held() == {"held back": 0}
    assert [packet.number for target, packet in table.sent_by(0, Numbered) if target == 2] == [0, 1, 2]


def test_who_does_not_send_to_all_itself_is_settled_by_its_delivery():
    table = multicast(sequencer_table(), 1, 0)
    assert table.told(1, Settled) == []
    table.carry()
    assert table.told(1, Settled) == [Settled(1)] and table.told(2, Settled) == []


# -- all of them, whatever arrives when

AT_REST = ("unordered", "fifo", "causal", "lamport_all_ack", "fixed_sequencer", "skeen")  # alone, without any timer


@pytest.mark.parametrize(
    "name, variant", [(name, variant) for name, variant in ORDERINGS_AND_VARIANTS if name in AT_REST], ids=str
)
@settings(max_examples=60)
@given(data=st.data())
def test_every_promise_is_kept_in_whatever_order_packets_arrive(name, variant, data):
    """Between any two members packets keep their order; in which order the pairs come is up to the test."""
    peers = data.draw(st.integers(1, 4), label="peers")
    table = table_of(name, variant, peers=peers)
    asked = [[] for _ in range(peers)]  # of each, how many deliveries came before each of its multicasts
    while sum(map(len, asked)) < 8:
        directions = sorted({(source, target) for source, target, _ in table.wire})
        step = data.draw(st.integers(0, peers - 1) | st.sampled_from(directions or [0]), label="step")
        if isinstance(step, int):
            asked[step].append(len(table.delivered[step]))
            multicast(table, step, len(asked[step]) - 1)
        else:
            place = next(place for place, (source, target, _) in enumerate(table.wire) if (source, target) == step)
            source, target, packet = table.wire[place]
            del table.wire[place]
            table.arrive(target, source, packet)
    table.carry(choose=lambda directions: data.draw(st.sampled_from(directions), label="next"))

    logs = []
    for me in range(peers):
        messages = table.messages(me)
        ids = message_ids([sender for sender, _ in messages], [number for _, number in messages])
        logs.append(PeerLog(f"p{me}", ids, me, Sends(range(len(asked[me])), asked[me])))
    ordering = variant_class(name, variant)
    promised = ordering.promises | ordering.promises_if.get(RELIABLE, frozenset())
    verdict = judge(Evidence(logs), promised)
    assert verdict.complete and verdict.violated() == []

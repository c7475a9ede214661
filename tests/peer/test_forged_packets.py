"""What a member of the group might send that no peer of ours would: it changes nothing, and nobody stumbles over it."""

from __future__ import annotations

import pytest

from peer.core.blocks import Block
from peer.core.events import PacketArrived
from peer.core.layer import freeze
from peer.core.stack import Stack
from peer.ordering.fixed_sequencer import Numbered
from peer.ordering.lamport_all_ack import BlockAck, Holds, Promise
from peer.stacks import ORDERINGS, variant_class
from tests.runs import NAMED

MEMBERS = (0, 1, 2)
OF_ANOTHER = Block(2, 0, 1, 1, 5, b"x")
FORGED = {
    "unordered": [OF_ANOTHER],
    "fifo": [OF_ANOTHER],
    "lamport_all_ack": [OF_ANOTHER, Holds((200, 3), (9, 9)), Holds((0,), ()), Promise(0), BlockAck(200, 7, 0)],
    "fixed_sequencer": [OF_ANOTHER, Numbered(0, Block(1, 0, 1, 1, 5, b"x")), Numbered(0, Block(9, 0, 1, 1, 5, b"x"))],
}


def test_every_ordering_is_here():
    assert set(FORGED) == set(ORDERINGS)


@pytest.mark.parametrize(("ordering", "variant"), **NAMED)
def test_forged_packets_change_nothing(ordering, variant):
    cls = variant_class(ordering, variant)
    for packet in FORGED[ordering]:
        layer = cls(members=3)
        if type(packet) not in cls.packets:
            continue
        stack = Stack([layer], 0, MEMBERS)
        before = freeze(layer)
        effects = stack.handle([PacketArrived(1, packet)])
        assert effects == [] or type(packet) is BlockAck, (packet, effects)
        if type(packet) is not BlockAck:  # whose receipt alone moves the clock
            assert freeze(layer) == before, packet


def test_blocks_for_the_sequencer_go_to_the_sequencer():
    layer = ORDERINGS["fixed_sequencer"](members=3)
    assert Stack([layer], 2, MEMBERS).handle([PacketArrived(1, Block(1, 0, 1, 1, 5, b"x"))]) == []

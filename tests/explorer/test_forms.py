"""Freezing made to measure says the same of a layer as freezing that asks every value."""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from experiments.explorer.forms import Frozen, Packets
from experiments.explorer.model import model_of
from peer.core.blocks import Block
from peer.core.clocks import LamportClock
from peer.core.effects import Transmit
from peer.core.events import PacketArrived, Started, TimerFired
from peer.core.layer import Layer, freeze
from peer.core.wire import Packet
from peer.ordering.fixed_sequencer import Numbered
from tests.runs import NAMED


@pytest.mark.parametrize("name, variant", **NAMED)
def test_layers_as_they_are_played(name, variant):
    """Two sets of stacks play the same random run; of one of them only what was frozen is left after each step."""
    chance = random.Random(f"{name} {variant}")
    model = model_of(name, variant, "reliable", 3, 4)
    packets = Packets()
    played = [model.stack(me) for me in range(3)]
    woken = [model.stack(me) for me in range(3)]
    frozen = Frozen(type(played[0].ordering), packets)
    seen = {}
    under_way = []
    for stack in (*played, *woken):
        stack.handle([Started()])
    for _ in range(400):
        me = chance.randrange(3)
        mine = [each for each in under_way if each[0] == me]
        if mine and chance.random() < 0.7:
            arrived = chance.choice(mine)
            under_way.remove(arrived)
            events = [PacketArrived(*arrived[1:])]
        elif played[me].application.asked < 4:
            events = [TimerFired("application", "multicast")]
        else:
            events = []
        effects = played[me].handle(events)
        value, asked = frozen.freeze(woken[me].ordering), woken[me].application.asked
        woken[me] = model.stack(me)
        frozen.wake(woken[me].ordering, value)
        woken[me].application.asked = asked
        assert woken[me].handle(events) == effects
        whole = freeze(played[me].ordering)
        assert freeze(woken[me].ordering) == whole
        assert seen.setdefault(frozen.freeze(woken[me].ordering), whole) == whole
        under_way += [(each.target, me, each.packet) for each in effects if type(each) is Transmit]
    assert len(set(seen.values())) == len(seen) > 20, "one state was taken for two"


@dataclass(slots=True)
class Everything(Layer):
    """One field of each kind that a layer may have."""

    number: int = 3
    clock: LamportClock = field(default_factory=lambda: LamportClock(4))
    plain: list[int] = field(default_factory=lambda: [1, 2])
    rows: list[list[int]] = field(default_factory=lambda: [[1], [2, 3]])
    queue: list[tuple[int, Block]] = field(default_factory=lambda: [(7, BLOCK)])
    waiting: deque[Block] = field(default_factory=lambda: deque([BLOCK, BLOCK]))
    by_place: dict[int, Block] = field(default_factory=lambda: {9: BLOCK, 2: BLOCK})
    by_pair: dict[tuple[int, int], int] = field(default_factory=lambda: {(2, 1): 5, (1, 2): 6})
    chosen: set[int] = field(default_factory=lambda: {3, 1, 2})
    fixed: frozenset[str] = frozenset({"b", "a"})
    pair: tuple[int, str] = (1, "x")
    many: tuple[int, ...] = (1, 2, 3)
    clocks: list[LamportClock] = field(default_factory=lambda: [LamportClock(1), LamportClock(2)])
    unclear: dict = field(default_factory=lambda: {"x": [1, {"y": (2,)}]})
    either: LamportClock | None = None
    nested: list[dict[int, list[int]]] = field(default_factory=lambda: [{2: [1], 1: []}])


BLOCK = Block(1, 2, 1, 1, 5, b"x")


def test_every_kind_of_field():
    frozen = Frozen(Everything, Packets())
    value = frozen.freeze(Everything())
    hash(value)
    woken = Everything(*[None] * 16)
    frozen.wake(woken, value)
    assert woken == Everything() and freeze(woken) == freeze(Everything())
    assert type(woken.waiting) is deque and type(woken.chosen) is set
    woken.rows[1].append(9)
    woken.clocks[0].time = 9
    woken.nested[0][2].append(9)
    again = Everything()
    frozen.wake(again, value)
    assert again == Everything(), "what is woken is fresh"


def test_the_order_of_entries_does_not_count():
    frozen = Frozen(Everything, Packets())
    other = Everything(by_place={2: BLOCK, 9: BLOCK}, by_pair={(1, 2): 6, (2, 1): 5}, nested=[{1: [], 2: [1]}])
    assert frozen.freeze(other) == frozen.freeze(Everything())
    assert frozen.freeze(Everything(plain=[2, 1])) != frozen.freeze(Everything())


def test_equal_packets_have_one_number():
    packets = Packets()
    one, other = Block(1, 2, 1, 1, 5, b"x"), Block(1, 2, 1, 1, 6, b"x")
    assert packets.number(one) == packets.number(Block(1, 2, 1, 1, 5, b"x")) != packets.number(other)
    assert packets.number(Numbered(0, one)) == packets.number(Numbered(0, Block(1, 2, 1, 1, 5, b"x")))
    assert packets.number(Numbered(0, one)) != packets.number(Numbered(0, other))
    assert all(isinstance(packet, Packet) for packet in packets.all) and len(packets.all) == 4

"""Layers broken on purpose, over the links that they need: the search finds each, and fresh stacks confirm it.

As they ship, test_counts finds nothing wrong with them.
"""

from bisect import insort

import pytest

from experiments.explorer.minimise import minimise
from experiments.explorer.search import explore
from peer.core.blocks import Block
from peer.core.requests import SendAll
from peer.ordering.fifo import Fifo
from peer.ordering.fixed_sequencer import FixedSequencer, Numbered
from peer.ordering.lamport_all_ack import Explicit, Holds, Promise, Promised, Textbook, key
from peer.ordering.unordered import Unordered

# -- lamport_all_ack


class NoWait(Explicit):
    def is_sure(self, block):
        return True


class NotTheHead(Explicit):
    def on_turn(self, out):
        for entry in [entry for entry in self.queue if self.is_sure(entry[1])]:
            self.queue.remove(entry)
            out.deliver(entry[1])


class TiesByArrival(Explicit):
    def enqueue(self, block, out):
        insort(self.queue, (key(block), block), key=lambda entry: entry[1].stamp)
        return True


class ClockOfItsOwn(Explicit):
    def on_arrival(self, arrival, out):
        before = self.clock.time
        Explicit.on_arrival(self, arrival, out)
        self.clock.time = before


class OneAckIsEnough(Textbook):
    def is_sure(self, block):
        return bin(self.ackers.get((block.sender, block.first), 0)).count("1") >= 2


class NeverAcks(Explicit):
    def on_flush(self, out):
        self.untold.clear()


class AcksOnce(Explicit):
    """An ack says up to where everything is held; this one forgets all senders but the first."""

    def on_flush(self, out):
        if self.untold:
            sender = min(self.untold)
            out.down(SendAll(Holds((sender,), (self.upto[sender][out.me],))))
            self.untold.clear()


class PromisesTooMuch(Promised):
    def on_flush(self, out):
        if self.clock.time > self.told:
            self.told = self.clock.time + 1  # one more than it keeps
            out.down(SendAll(Promise(self.told)))


class PromisesNothing(Promised):
    def on_flush(self, out):
        pass


# -- the others


class OwnAtOnce(FixedSequencer):
    """Who multicasts delivers at once, numbered or not."""

    def on_request(self, request, out):
        if out.me != self.sequencer:
            out.deliver(Block(out.me, request.first, request.count, request.size, self.clock.time + 1, request.body))
        FixedSequencer.on_request(self, request, out)


class TwoSequencers(FixedSequencer):
    def on_request(self, request, out):
        block = Block(out.me, request.first, request.count, request.size, self.clock.stamp(), request.body)
        self._number(block, out)

    def on_arrival(self, arrival, out):
        if type(arrival.packet) is Numbered:
            self._numbered(arrival.packet.number, arrival.packet.block, out)


class SameNumberTwice(FixedSequencer):
    def _number(self, block, out):
        FixedSequencer._number(self, block, out)
        if self.numbers == 2:
            self.numbers = 1


class GapsDoNotMatter(Fifo):
    def on_arrival(self, arrival, out):
        block = arrival.packet
        if block.first >= self.next[block.sender]:
            self.next[block.sender] = block.following
            out.deliver(block)


class KeepsDuplicates(Unordered):
    def on_arrival(self, arrival, out):
        out.deliver(arrival.packet)


BROKEN = [
    # what, over which links, peers, messages, and what of it is noticed first
    (NoWait, "fifo", 2, 1, "prefix"),
    (NoWait, "fifo", 3, 1, "prefix"),
    (NotTheHead, "fifo", 3, 1, "prefix"),
    (TiesByArrival, "fifo", 2, 1, "total"),
    (ClockOfItsOwn, "fifo", 2, 2, "prefix"),
    (OneAckIsEnough, "fifo", 3, 1, "prefix"),
    (NeverAcks, "fifo", 2, 1, "validity"),
    (AcksOnce, "fifo", 3, 1, "validity"),
    (PromisesTooMuch, "fifo", 2, 2, "prefix"),
    (PromisesNothing, "fifo", 2, 1, "validity"),
    (OwnAtOnce, "fifo", 2, 1, "prefix"),
    (TwoSequencers, "fifo", 2, 1, "prefix"),
    (SameNumberTwice, "fifo", 2, 2, "validity"),
    (GapsDoNotMatter, "reliable", 2, 2, "fifo"),
    (KeepsDuplicates, "datagrams", 2, 1, "integrity"),
]


@pytest.mark.parametrize("layer, network, peers, messages, noticed", BROKEN)
def test_broken_on_purpose(layer, network, peers, messages, noticed):
    broken = explore(layer, None, network, peers, messages)
    assert broken.violation is not None and broken.violation.property == noticed, broken.violation
    witness = minimise(broken)  # plays it with fresh stacks
    assert witness.violation.property == noticed
    assert len(witness.steps) <= len(broken.witness)


class AcksEveryTurn(Explicit):
    """Right, but says more often what it holds."""

    def on_flush(self, out):
        self.untold = [sender for sender in range(self.members) if self.upto[sender][out.me]]
        Explicit.on_flush(self, out)


class AcksArrivals(Explicit):
    """Right, but acks every block by itself instead of once a turn."""

    def on_arrival(self, arrival, out):
        Explicit.on_arrival(self, arrival, out)
        Explicit.on_flush(self, out)


@pytest.mark.parametrize("layer", [AcksEveryTurn, AcksArrivals])
def test_a_line_that_breaks_nothing_still_changes_the_count(layer):
    shipped, changed = explore(Explicit, None, "fifo", 2, 2), explore(layer, None, "fifo", 2, 2)
    assert changed.violation is None and shipped.violation is None
    assert changed.states != shipped.states

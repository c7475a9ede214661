"""Protocols broken on purpose: each shipped rule is taken out once, and the judge or a named timeout must catch it.

Every test plays the same few seeds twice: as shipped, where every run must be flawless, and with one line changed,
where at least one must be caught by what the rule is there for.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from peer.connection.ready_ack import Ready, ReadyAck
from peer.core.blocks import Block
from peer.core.clocks import LamportClock
from peer.core.events import PacketArrived
from peer.core.news import Settled
from peer.core.requests import SendAll
from peer.links import ack_resend
from peer.links.ack_resend import Ack, AckResend, Data
from peer.ordering.fifo import Fifo
from peer.ordering.fixed_sequencer import FixedSequencer, Numbered
from peer.ordering.lamport_all_ack import Explicit, Holds, LamportAllAck, Promise, Promised, Textbook
from peer.ordering.lamport_all_ack import key as place_of
from peer.ordering.unordered import Unordered
from tests.runs import faulty, play, run_settings

SEEDS = range(4)


@pytest.fixture
def breaking(monkeypatch):
    """breaking(patch, *stack, by=...): `patch(monkeypatch)` breaks a rule; `by` names what must notice, any of it."""

    def breaking(patch: Callable[[pytest.MonkeyPatch], None], ordering, variant=None, *, by, every=False, **settings):
        runs = [run_settings(ordering, variant, seed=seed, **{**faulty(0.05), **settings}) for seed in SEEDS]
        for run in runs:
            play(run).assert_flawless()
        with monkeypatch.context() as patched:
            patch(patched)
            caught = [play(run).caught() for run in runs]
        noticed = [found & by for found in caught]
        assert (all if every else any)(noticed), f"not caught by {by}: {caught}"
        for run in runs[:1]:
            play(run).assert_flawless()  # and nothing of it is left

    return breaking


def method(cls, name, function):
    return lambda patched: patched.setattr(cls, name, function)


# -- lamport_all_ack

ORDER = {"total", "prefix"}


def test_no_wait_for_acks(breaking):
    breaking(method(Explicit, "is_sure", lambda self, block: True), "lamport_all_ack", "explicit", by=ORDER, every=True)


@pytest.mark.parametrize("variant", ["explicit", "textbook", "promise"])
def test_any_fully_acked_message_instead_of_the_head(breaking, variant):
    def on_turn(self, out):
        sure = [entry for entry in self.queue if self.is_sure(entry[1])]
        self.queue[:] = [entry for entry in self.queue if entry not in sure]
        for _, block in sure:
            out.deliver(block)

    def out_of_turn(self, block):
        return block.stamp <= sorted(self.stamps)[1]  # all but one have promised

    def patch(patched):
        patched.setattr(LamportAllAck, "on_turn", on_turn)
        if variant == "promise":  # who promises a stamp promises all below; so here one promise is not waited for
            patched.setattr(Promised, "is_sure", out_of_turn)

    breaking(patch, "lamport_all_ack", variant, by=ORDER)


@pytest.mark.parametrize("variant", ["explicit", "textbook", "promise"])
def test_ties_broken_by_arrival(breaking, variant):
    def enqueue(self, block, out):
        later = [at for at, (_, other) in enumerate(self.queue) if other.stamp > block.stamp]
        self.queue.insert(later[0] if later else len(self.queue), (place_of(block), block))
        return True

    breaking(method(LamportAllAck, "enqueue", enqueue), "lamport_all_ack", variant, by=ORDER)


@pytest.mark.parametrize("variant", ["explicit", "promise"])
def test_clock_not_moved_by_received_data(breaking, variant):
    """By nothing else either: the textbook variant moves it on every receipt, and is spared."""
    patch = method(LamportClock, "receive", lambda self, stamp: None)
    breaking(patch, "lamport_all_ack", variant, by={*ORDER, "causal", "drain", "send"})


def test_a_majority_is_not_everybody(breaking):
    def is_sure(self, block):
        return 2 * self.ackers.get((block.sender, block.first), 0).bit_count() > self.members

    breaking(method(Textbook, "is_sure", is_sure), "lamport_all_ack", "textbook", by=ORDER, peers=5)


def test_an_ack_that_says_more_than_is_held(breaking):
    """Whoever holds one block is taken to hold all that follow."""
    on_arrival = Explicit.on_arrival

    def trusting(self, arrival, out):
        packet = arrival.packet
        if type(packet) is Holds:
            arrival = replace(arrival, packet=replace(packet, upto=tuple(upto + 1000 for upto in packet.upto)))
        on_arrival(self, arrival, out)

    breaking(method(Explicit, "on_arrival", trusting), "lamport_all_ack", "explicit", by=ORDER)


def test_one_member_that_is_not_asked(breaking):
    """All but the last member must hold the head."""

    def is_sure(self, block):
        return sorted(self.upto[block.sender])[1] >= block.following

    breaking(method(Explicit, "is_sure", is_sure), "lamport_all_ack", "explicit", by=ORDER)


def test_a_promise_that_is_not_kept(breaking):
    """More is promised than the own clock will keep."""

    def on_flush(self, out):
        if self.clock.time > self.told:
            self.told = self.clock.time
            out.down(SendAll(Promise(self.told + 3)))

    breaking(method(Promised, "on_flush", on_flush), "lamport_all_ack", "promise", by=ORDER)


@pytest.mark.parametrize("cls, variant", [(Explicit, "explicit"), (Promised, "promise")])
def test_acks_and_promises_never_sent(breaking, cls, variant):
    breaking(method(cls, "on_flush", lambda self, out: None), "lamport_all_ack", variant, by={"send", "drain"})


@pytest.mark.parametrize("cls, variant", [(Explicit, "explicit"), (Promised, "promise"), (Textbook, "textbook")])
def test_acks_ignored(breaking, cls, variant):
    on_arrival = cls.on_arrival

    def deaf(self, arrival, out):
        if type(arrival.packet) is Block:
            on_arrival(self, arrival, out)

    breaking(method(cls, "on_arrival", deaf), "lamport_all_ack", variant, by={"send", "drain"})


# -- links


def on_arrival_of_the_link(change):
    """The link's handler, with `change(self, arrival, out)` before it: what it returns arrives instead."""
    on_arrival = AckResend.on_arrival

    def changed(self, arrival, out):
        arrival = change(self, arrival, out)
        if arrival is not None:
            on_arrival(self, arrival, out)

    return method(AckResend, "on_arrival", changed)


@pytest.mark.parametrize("variant", ["explicit", "promise"])
def test_a_resend_delivered_twice(breaking, variant):
    seen = set()

    def hand_up_again(self, arrival, out):
        packet = arrival.packet
        if type(packet) is Data:
            number = (id(self), arrival.source, packet.number)
            if number in seen:
                out.up(PacketArrived(arrival.source, packet.body))
            seen.add(number)
        return arrival

    breaking(on_arrival_of_the_link(hand_up_again), "lamport_all_ack", variant, by={"integrity"}, loss=0.2)


ANY_ORDERING = pytest.mark.parametrize("ordering", ["unordered", "fifo", "lamport_all_ack", "fixed_sequencer"])
OUT_OF_TIME = {"send", "drain"}


@ANY_ORDERING
def test_resends_switched_off(breaking, ordering):
    on_timer = AckResend.on_timer

    def only_acks(self, key, out):
        if key[0] == "ack":
            on_timer(self, key, out)

    def patch(patched):
        patched.setattr(AckResend, "on_timer", only_acks)
        patched.setattr(ack_resend, "OVERTAKEN", 1 << 40)  # and none because later packets came first

    breaking(patch, ordering, by=OUT_OF_TIME, every=True, loss=0.1)


@ANY_ORDERING
def test_link_acks_ignored(breaking, ordering):
    def without_acks(self, arrival, out):
        packet = arrival.packet
        return None if type(packet) is Ack else replace(arrival, packet=replace(packet, upto=0, mask=0))

    breaking(on_arrival_of_the_link(without_acks), ordering, by=OUT_OF_TIME, every=True, messages=40)


def test_link_acks_that_claim_too_much(breaking):
    """A receiver acknowledges what it does not hold: it is never sent again."""

    def generous(self, arrival, out):
        packet = arrival.packet
        return replace(arrival, packet=replace(packet, upto=packet.upto + 1))

    breaking(on_arrival_of_the_link(generous), "fifo", by={*OUT_OF_TIME, "agreement"}, loss=0.2)


def test_a_link_that_does_not_keep_order(breaking):
    """What comes after a gap is handed up at once, though fifo links were promised."""

    def disorderly(self, arrival, out):
        self.order = "none"
        return arrival

    breaking(on_arrival_of_the_link(disorderly), "lamport_all_ack", "explicit", by={*ORDER, "fifo"}, loss=0.2)


# -- the other orderings


def test_fifo_that_holds_nothing_back(breaking):
    def at_once(self, arrival, out):
        out.deliver(arrival.packet)

    breaking(method(Fifo, "on_arrival", at_once), "fifo", by={"fifo"}, link={"order": "none"})


def test_unordered_that_does_not_look_for_duplicates(breaking):
    def at_once(self, arrival, out):
        out.deliver(arrival.packet)

    def patch(patched):
        patched.setattr(Unordered, "on_arrival", at_once)
        patched.setattr(Unordered, "on_request", twice)

    def twice(self, request, out):
        block = Block(out.me, request.first, request.count, request.size, self.clock.stamp(), request.body)
        out.down(SendAll(block, own=True))
        out.down(SendAll(block))
        out.deliver(block)

    breaking(patch, "unordered", by={"integrity"}, every=True)


def test_everybody_numbers_their_own(breaking):
    """Two that give the same number, each to its own block."""
    on_request = FixedSequencer.on_request

    def usurp(self, request, out):
        self.sequencer = out.me
        on_request(self, request, out)

    breaking(method(FixedSequencer, "on_request", usurp), "fixed_sequencer", by={*ORDER, *OUT_OF_TIME, "agreement"})


def test_numbers_that_are_not_waited_for(breaking):
    on_arrival = FixedSequencer.on_arrival

    def at_once(self, arrival, out):
        if type(arrival.packet) is not Numbered:
            on_arrival(self, arrival, out)
            return
        block = arrival.packet.block
        out.deliver(block)
        if block.sender == out.me:
            out.tell(Settled(1))

    patch = method(FixedSequencer, "on_arrival", at_once)
    breaking(patch, "fixed_sequencer", "ub", by=ORDER, link={"order": "none"}, allow_unmet=True)


def test_a_sequencer_that_gives_one_number_twice(breaking):
    on_arrival = FixedSequencer.on_arrival

    def forgetful(self, arrival, out):
        if type(arrival.packet) is Block and self.numbers == 7:
            self.numbers = 6
        on_arrival(self, arrival, out)

    breaking(method(FixedSequencer, "on_arrival", forgetful), "fixed_sequencer", "ub", by={*OUT_OF_TIME, "agreement"})


# -- the rest of the stack


def test_a_ready_that_nobody_hears(breaking):
    on_arrival = ReadyAck.on_arrival

    def deaf(self, arrival, out):
        if type(arrival.packet) is not Ready:
            on_arrival(self, arrival, out)

    breaking(method(ReadyAck, "on_arrival", deaf), "fifo", by={"handshake"}, every=True)


def test_a_message_that_its_sender_keeps_to_itself(breaking):
    on_request = Fifo.on_request

    def selfish(self, request, out):
        if request.first == 5:
            out.deliver(Block(out.me, request.first, request.count, request.size, self.clock.stamp(), request.body))
            out.tell(Settled(1))
        else:
            on_request(self, request, out)

    breaking(method(Fifo, "on_request", selfish), "fifo", by={"agreement"}, every=True)


def test_a_message_that_is_never_sent_at_all(breaking):
    on_request = Unordered.on_request

    def forgetful(self, request, out):
        if request.first == 5:
            out.tell(Settled(1))
        else:
            on_request(self, request, out)

    breaking(method(Unordered, "on_request", forgetful), "unordered", by={"validity"}, every=True)

"""Timers in a search: they may fire at any moment within their bound, and the bound is never taken for the end."""

from dataclasses import dataclass, field

from experiments.explorer.minimise import minimise
from experiments.explorer.search import explore
from experiments.explorer.witness import Firing
from peer.core.blocks import Block
from peer.core.layer import Layer
from peer.core.requests import MulticastBlock, SendAll


@dataclass(slots=True)
class Patient(Layer):
    """Waits for a timer before it sends; delivers on arrival, in the order in which it comes."""

    name = "patient"
    promises = frozenset({"validity", "agreement", "integrity"})
    promises_if = {}
    packets = (Block,)
    requests = (MulticastBlock,)

    members: int
    waiting: list[Block] = field(default_factory=list)

    @classmethod
    def make(cls, run, me, options):
        return cls(members=len(run.members), **options)

    def on_request(self, request, out):
        self.waiting.append(Block(out.me, request.first, request.count, request.size, 0, request.body))
        out.set_timer("send", 0.1)

    def on_timer(self, key, out):
        for block in self.waiting:
            out.down(SendAll(block))
            out.deliver(block)
        self.waiting.clear()

    def on_arrival(self, arrival, out):
        out.deliver(arrival.packet)


class Hasty(Patient):
    """Sends at every firing, and sets the timer again: right as long as it fires once."""

    def on_timer(self, key, out):
        for block in self.waiting:
            out.down(SendAll(block))
            out.deliver(block)
        out.set_timer("send", 0.1)


class Distracted(Patient):
    """Forgets its timer when something arrives."""

    def on_arrival(self, arrival, out):
        out.cancel_timer("send")
        Patient.on_arrival(self, arrival, out)


class Eager(Patient):
    """Sends on request, and once more when the timer fires, though it was cancelled by then."""

    def on_request(self, request, out):
        Patient.on_request(self, request, out)
        Patient.on_timer(self, "send", out)
        out.cancel_timer("send")

    def on_timer(self, key, out):
        raise AssertionError("a cancelled timer fired")


def test_a_timer_fires_at_any_moment():
    explored = explore(Patient, None, "fifo", 2, 1)
    assert explored.exhausted and explored.violation is None
    assert explored.states == 4 * 4  # of each message: not asked for, waiting for the timer, under way, arrived
    assert "each timer fires at most 1 time" in explored.bounds


def test_a_bound_that_keeps_a_timer_from_firing_is_not_the_end():
    explored = explore(Patient, None, "fifo", 2, 1, firings=0)
    assert explored.exhausted and explored.violation is None, "nothing was sent, but it would have been"
    assert explore(Patient, None, "fifo", 2, 2).violation is None
    more = explore(Patient, None, "fifo", 2, 2, firings=2)
    assert more.violation is None and more.states > explore(Patient, None, "fifo", 2, 2).states


def test_how_often_it_may_fire_matters():
    assert explore(Hasty, None, "fifo", 2, 1, firings=1).violation is None
    twice = explore(Hasty, None, "fifo", 2, 1, firings=2)
    assert twice.violation.property == "integrity"
    witness = minimise(twice)
    assert [type(step) for step in witness.steps].count(Firing) == 2
    assert "p0's timer 'send' of patient runs out" in witness.conversation()


def test_a_cancelled_timer_never_fires():
    assert explore(Eager, None, "fifo", 2, 1).violation is None
    lost = explore(Distracted, None, "fifo", 2, 1)
    assert lost.violation.property == "validity"
    assert lost.violation.sentence.endswith("and now that all is at rest never delivers it")
    assert minimise(lost).violation == lost.violation


@dataclass(slots=True)
class Greeter(Patient):
    """Sends when it starts."""

    greeted: int = 0

    def start(self, out):
        out.down(SendAll(Block(out.me, 0, 0, 0, 0, b"")))

    def on_arrival(self, arrival, out):
        if arrival.packet.count:
            Patient.on_arrival(self, arrival, out)
        else:
            self.greeted += 1
            assert self.greeted < self.members


def test_what_is_sent_at_the_start_arrives_too():
    plain, greeting = explore(Patient, None, "fifo", 2, 1), explore(Greeter, None, "fifo", 2, 1)
    assert greeting.exhausted and greeting.violation is None
    assert greeting.states > 2 * plain.states

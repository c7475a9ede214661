"""Workloads: who multicasts what and when, held back by the window, and ended by a count."""

from dataclasses import dataclass, field, replace

import pytest

from peer.core.blocks import Block, unpack
from peer.core.commands import Release
from peer.core.effects import Deliver, RecordMulticast, SetTimer
from peer.core.events import Commanded, TimerFired
from peer.core.layer import Layer
from peer.core.news import Drained, Settled
from peer.core.requests import MulticastBlock
from peer.core.settings import WindowSettings
from peer.core.stack import Stack
from peer.core.trace import DELIVERED, DELIVERY_RECORD, SEND_RECORD
from peer.stacks import WORKLOADS, build_layers
from tests.runs import play, records, run_settings
from tests.table import Table


@dataclass(slots=True)
class Ordering(Layer):
    """Below the workload: keeps what is multicast, and delivers and settles when the test says so."""

    name = "ordering"
    requests = (MulticastBlock,)

    asked: list[MulticastBlock] = field(default_factory=list)

    def on_request(self, request, out):
        self.asked.append(request)

    def on_timer(self, key, out):
        for item in key:
            if type(item) is Block:
                out.deliver(item)
            else:
                out.tell(Settled(item))


class Bench:
    """A workload of three members, alone on its ordering."""

    def __init__(self, kind, window=2, me=0, window_bytes=2**20, block_bytes=8192, **settings):
        run = run_settings("fifo", workload=kind, **settings)
        run = replace(run, window=WindowSettings(window, window_bytes, block_bytes))
        self.me, self.ordering, self.workload = me, Ordering(), WORKLOADS[kind].make(run, me, {})
        self.stack = Stack([self.ordering, self.workload], me, tuple(range(len(run.members))))
        self.delivered_own = 0

    def turn(self, *events):
        return self.stack.handle(list(events))

    def release(self):
        return self.turn(Commanded(Release("run")))

    def gap(self):
        """The application asks once more."""
        return self.turn(TimerFired(self.workload.name, "gap"))

    def below(self, *items):
        """Blocks that are delivered, and numbers of blocks that are settled."""
        effects = self.turn(TimerFired("ordering", items))
        if SetTimer(self.workload.name, "more", 0.0, 0.0) in effects:
            effects += self.turn(TimerFired(self.workload.name, "more"))
        return effects

    def own(self, place):
        """The block that left as the place-th, as it is delivered."""
        asked = self.ordering.asked[place]
        return Block(self.me, asked.first, asked.count, asked.size, place + 1, asked.body)

    @property
    def left(self):
        return [(block.first, block.count) for block in self.ordering.asked]


# -- steady


def test_steady_asks_after_every_gap():
    bench = Bench("steady", window=99, messages=3, gap_ms=(10.0, 99.0))
    assert bench.release() == [SetTimer("steady", "gap", 0.010, 0.099, paced=True)] and bench.left == []
    assert bench.gap() == [RecordMulticast(0, 1), SetTimer("steady", "gap", 0.010, 0.099, paced=True)]
    assert bench.left == [(0, 1)]
    bench.gap()
    assert bench.gap() == [RecordMulticast(2, 1)]  # the last one
    assert bench.left == [(0, 1), (1, 1), (2, 1), (3, 0)]  # and the END after three


def test_nothing_is_asked_before_the_release():
    bench = Bench("burst")
    bench.turn()
    assert bench.left == [] and bench.below(Block(1, 0, 1, 1, 1, b"x"))[0] == Deliver(Block(1, 0, 1, 1, 1, b"x"))
    bench.release()
    assert bench.left


def test_a_second_release_changes_nothing():
    bench = Bench("steady", messages=3)
    bench.release()
    assert bench.release() == []


@pytest.mark.parametrize("kind", ["steady", "burst"])
def test_nothing_to_say_is_said_with_an_end(kind):
    bench = Bench(kind, messages=0)
    bench.release()
    assert bench.left == [(0, 0)]


# -- the window


def test_the_window_holds_back_and_blocks_grow_meanwhile():
    bench = Bench("steady", window=2, messages=9)
    bench.release()
    for _ in range(5):
        bench.gap()
    assert bench.left == [(0, 1), (1, 1)] and bench.stack.held() == {"waiting for the window": 3}
    bench.below(bench.own(0), 1)
    assert bench.left == [(0, 1), (1, 1), (2, 3)] and bench.stack.held() == {"waiting for the window": 0}


def test_asking_is_on_record_even_where_the_window_holds_back():
    bench = Bench("steady", window=1, messages=9)
    bench.release()
    asked = [effect for _ in range(3) for effect in bench.gap() if type(effect) is RecordMulticast]
    assert asked == [RecordMulticast(0, 1), RecordMulticast(1, 1), RecordMulticast(2, 1)] and bench.left == [(0, 1)]


def test_a_block_is_in_flight_until_delivered_and_settled():
    for first, second in ((0, 1), (1, 0)):
        bench = Bench("steady", window=1, messages=9)
        bench.release()
        bench.gap()
        bench.gap()
        news = [bench.own(0), 1]
        bench.below(news[first])
        assert bench.left == [(0, 1)]
        bench.below(news[second])
        assert bench.left == [(0, 1), (1, 1)]


def test_the_window_is_bounded_by_bytes_too():
    """Of 100 bytes two blocks of up to 64 are in flight, the second beyond them, and no third before one is through."""
    bench = Bench("burst", window=64, messages=9, size_bytes=64, window_bytes=100, block_bytes=64)
    bench.release()
    assert bench.left == [(0, 1), (1, 1)] and bench.workload.bytes_in_flight == 128
    bench.below(bench.own(0))
    assert bench.left == [(0, 1), (1, 1)]
    bench.below(1)
    assert bench.left == [(0, 1), (1, 1), (2, 1)] and bench.workload.bytes_in_flight == 128
    bench.below(bench.own(1), bench.own(2), 2)
    assert bench.left[3:] == [(3, 1), (4, 1)]


def test_what_others_multicast_opens_no_window():
    bench = Bench("steady", window=1, messages=9)
    bench.release()
    bench.gap()
    bench.gap()
    bench.below(Block(1, 0, 1, 1, 1, b"x"), Block(2, 0, 1, 1, 1, b"x"), 1)
    assert bench.left == [(0, 1)]


def test_the_end_waits_for_the_window_too():
    bench = Bench("steady", window=1, messages=1)
    bench.release()
    bench.gap()
    assert bench.left == [(0, 1)]
    bench.below(bench.own(0), 1)
    assert bench.left == [(0, 1), (1, 0)]


def test_burst_fills_the_window_and_keeps_it_full():
    bench = Bench("burst", window=3, messages=1000, size_bytes=64)
    per_block = bench.workload.per_block()
    assert per_block == 8192 // 64
    assert RecordMulticast(0, 3 * per_block) in bench.release()
    assert bench.left == [(place * per_block, per_block) for place in range(3)]
    assert RecordMulticast(3 * per_block, per_block) in bench.below(bench.own(0), 1)
    assert bench.left[3:] == [(3 * per_block, per_block)]


def test_burst_asks_for_no_more_than_it_was_told():
    bench = Bench("burst", window=3, messages=200, size_bytes=64)
    bench.release()
    assert bench.left == [(0, 128), (128, 72), (200, 0)]


def test_a_message_larger_than_a_block_has_one_of_its_own():
    bench = Bench("burst", window=2, messages=2, size_bytes=20_000)
    bench.release()
    assert bench.left == [(0, 1), (1, 1)]


# -- what is said


def test_messages_are_as_long_as_they_should_be_and_a_matter_of_seed_and_peer():
    said = {}
    for seed, me in ((1, 0), (1, 1), (2, 0), (1, 0)):
        bench = Bench("burst", me=me, seed=seed, messages=10, size_bytes=100)
        bench.release()
        block = bench.own(0)
        block.check()
        messages = [bytes(message) for message in unpack(block)]
        assert len(messages) == 10 and {len(message) for message in messages} == {100}
        assert said.setdefault((seed, me), messages) == messages
    assert len({message for messages in said.values() for message in messages}) >= 3


# -- the end


def told_drained(effects):
    return [effect.news for effect in effects if type(getattr(effect, "news", None)) is Drained]


def test_an_end_is_no_message():
    bench = Bench("burst", messages=1)
    bench.release()
    effects = bench.below(bench.own(0), bench.own(1))
    assert [effect.block.count for effect in effects if type(effect) is Deliver] == [1]


def test_drained_once_every_end_and_all_before_it_was_delivered():
    bench = Bench("burst", messages=1)
    bench.release()
    assert not told_drained(bench.below(bench.own(0), bench.own(1), 2))
    assert not told_drained(bench.below(Block(1, 2, 0, 0, 1, b"")))  # its END came before its two messages
    assert not told_drained(bench.below(Block(2, 0, 0, 0, 1, b"")))  # who had nothing to say
    assert not told_drained(bench.below(Block(1, 0, 1, 1, 1, b"x")))
    assert told_drained(bench.below(Block(1, 1, 1, 1, 2, b"x"))) == [Drained(3)]
    assert not told_drained(bench.below(Block(1, 7, 1, 1, 2, b"x")))  # said once


# -- single


def log_of(played):
    """(sender, number) in the order of peer 0, and of each multicast how many deliveries came before it."""
    rows = records(played.simulated.traces[0], DELIVERY_RECORD)
    log = [(sender, first) for kind, sender, first, count, _, _ in rows if kind == DELIVERED and count]
    after = {
        (sender, first): before
        for sender, sends in enumerate(played.simulated.sends)
        for _, first, _, _, before, _ in records(sends, SEND_RECORD)
    }
    return log, after


@pytest.mark.parametrize("ordering", ["unordered", "lamport_all_ack", "fixed_sequencer"])
def test_single_takes_turns(ordering):
    """Each message is multicast by who has delivered all before it; so all logs are equal whatever the ordering."""
    played = play(run_settings(ordering, peers=4, messages=5, workload="single"))
    played.assert_flawless()
    log, after = log_of(played)
    assert [after[message] for message in log] == list(range(20))
    assert played.verdict.rounds.out_of_order == 0
    senders = [sender for sender, _ in log]
    assert sorted(senders) == sorted(list(range(4)) * 5) and senders != sorted(senders)


def test_single_draws_the_turns_from_the_seed():
    orders = [
        [sender for sender, _ in log_of(play(run_settings("fifo", messages=9, workload="single", seed=seed)))[0]]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_single_waits_for_two_to_four_of_the_longest_round_trips():
    run = run_settings("fifo", messages=4, workload="single")
    played = play(run)
    times = sorted(time_s for sends in played.simulated.sends for *_, time_s in records(sends, SEND_RECORD))
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    longest = run.longest_round_trip_s()
    assert all(2 * longest - 0.01 <= gap <= 5 * longest for gap in gaps) and max(gaps) - min(gaps) > longest / 4


def test_single_waits_for_a_gap_where_round_trips_are_not_known():
    run = replace(run_settings("fifo", messages=1, workload="single", gap_ms=(20.0, 30.0)), delays_s=None)
    waits = []
    for me in range(3):
        stack = Stack([Ordering(), WORKLOADS["single"].make(run, me, {})], me, (0, 1, 2))
        waits += stack.handle([Commanded(Release("run"))])
    assert waits == [SetTimer("single", "pause", 0.020, 0.030)]  # one of them is the first


# -- over real orderings


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("window", [1, 2, 64])
def test_all_is_said_through_any_window(kind, window):
    run = run_settings("lamport_all_ack", workload=kind, messages=30, gap_ms=(0.0, 1.0))
    played = play(replace(run, window=replace(run.window, blocks=window)))
    played.assert_flawless()


def test_no_more_than_the_window_is_in_flight():
    """Of its own, a peer has multicast at most `window` blocks that it has not delivered yet."""
    run = run_settings("fifo", messages=40, workload="burst", size_bytes=4096)
    run = replace(run, window=replace(run.window, blocks=3))
    table = Table([build_layers(run, me) for me in range(3)], fates={(0, 1): "." * 8 + "x" * 60}).start()
    table.pass_time(2.0)
    table.release()
    for _ in range(200):
        table.pass_time(0.01)
        unsettled = table.stacks[0].held()["unacknowledged"]
        assert unsettled <= 3 * 2
    assert len(table.settle().messages(1)) == 3 * 40

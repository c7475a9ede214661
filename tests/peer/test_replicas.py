"""The workloads with a meaning: what their messages say, what a replica makes of them, and of what strangers say."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.blocks import Block, pack, unpack
from peer.core.commands import Release
from peer.core.effects import Deliver, Note, RecordMulticast, SetTimer
from peer.core.errors import SettingsError
from peer.core.events import Commanded, TimerFired
from peer.core.layer import Layer, freeze, thaw
from peer.core.requests import MulticastBlock
from peer.core.stack import Stack
from peer.stacks import WORKLOADS, build_layers
from peer.workload.bank import FULL, Account, Bank, money
from peer.workload.replica import Replicated
from peer.workload.store import ITEMS, PriceList
from peer.workload.text import SCRIPT, Text, Transcript
from tests.runs import run_settings

KINDS = [name for name, kind in WORKLOADS.items() if issubclass(kind, Replicated)]
every_kind = pytest.mark.parametrize("name", KINDS)


def told(replica, *messages):
    """What came of each message; the sender is peer 0, and the numbers go up."""
    return [replica.take(0, number, message) for number, message in enumerate(messages)]


def test_the_kinds():
    assert KINDS == ["bank", "store", "text"]


# -- the account


def test_a_deposit_adds_its_cents():
    account = Account(cents=1)
    assert told(account, b"deposit 1250") == ["deposit 12.50 -> 12.51"] and account.cents == 1251


@pytest.mark.parametrize(
    "cents, percent, after",
    [
        (1000_00, 3, 1030_00),
        (1000_00, -3, 970_00),
        (49, 1, 49),  # 0.49 of a cent
        (50, 1, 51),  # half a cent, up
        (150, 1, 152),  # and a cent and a half too: up, not to the even cent
        (50, -1, 50),  # minus half a cent, up
        (51, -1, 50),
        (1, -3, 1),
        (0, 3, 0),
    ],
)
def test_interest_is_rounded_to_a_whole_cent(cents, percent, after):
    account = Account(cents=cents)
    assert told(account, b"interest %d" % percent) == [f"interest {percent} % -> {money(after)}"]
    assert account.cents == after


def test_deposits_and_interest_do_not_commute():
    one, other = Account(), Account()
    told(one, b"deposit 10000", b"interest 2")
    told(other, b"interest 2", b"deposit 10000")
    assert (one.state(), other.state()) == ("1,122.00", "1,120.00") and one.digest() != other.digest()


def test_large_accounts_stay_exact():
    account = Account(cents=10**14 + 1)
    told(account, b"interest 1")
    assert account.cents == 101 * 10**12 + 1


def test_nobody_can_fill_an_account_without_end():
    """A member with another program deposits for ever; what it reports stays a line."""
    account = Account()
    for number in range(3000):
        account.take(1, number, b"interest 3")
    assert account.skipped > 0 and account.cents <= FULL and len(account.state()) < 25


def test_a_long_honest_run_stays_readable():
    account = Account()
    for number in range(30_000):
        assert account.take(0, number, Bank.say("1", 3, 0, number)) is not None
    assert 0 < account.cents < 10**9


# -- the price list


def test_what_a_price_list_does():
    prices = PriceList()
    assert told(prices, b"query tea", b"update tea 200", b"delete tea") == [
        "query tea: no row", "update tea 200: refused, no row", "delete tea: refused, no row",
    ]  # fmt: skip
    assert prices.rows == {} and prices.state() == "empty"
    assert told(prices, b"insert tea 300", b"query tea", b"insert tea 400", b"query tea") == [
        "insert tea 300: done", "query tea: 300", "insert tea 400: refused, a row is there", "query tea: 300",
    ]  # fmt: skip
    assert told(prices, b"update tea 500", b"insert salt 100", b"query tea") == [
        "update tea 500: done", "insert salt 100: done", "query tea: 500",
    ]  # fmt: skip
    assert prices.state() == "salt 100, tea 500"
    assert told(prices, b"delete tea", b"query tea") == ["delete tea: done", "query tea: no row"]
    assert prices.rows == {"salt": 100} and (prices.applied, prices.skipped) == (12, 0)


def test_answers_count_as_much_as_rows():
    """The same rows in the end, and the only query answered otherwise."""
    early, late = PriceList(), PriceList()
    early.take(1, 0, b"query tea"), early.take(0, 0, b"insert tea 300")
    late.take(0, 0, b"insert tea 300"), late.take(1, 0, b"query tea")
    assert early.rows == late.rows and early.digest() != late.digest()


def test_the_order_in_which_queries_are_answered_does_not_count():
    one, other = PriceList(), PriceList()
    one.take(0, 0, b"query tea"), one.take(1, 0, b"query salt")
    other.take(1, 0, b"query salt"), other.take(0, 0, b"query tea")
    assert one.digest() == other.digest()


def test_who_was_answered_what_counts():
    """Two members ask the same, one before and one after the insert; at another replica it is the other way round."""
    one, other = PriceList(), PriceList()
    one.take(1, 0, b"query tea"), one.take(0, 0, b"insert tea 300"), one.take(2, 0, b"query tea")
    other.take(2, 0, b"query tea"), other.take(0, 0, b"insert tea 300"), other.take(1, 0, b"query tea")
    assert one.rows == other.rows and one.digest() != other.digest()


def test_the_order_of_inserts_does_not_show_in_the_state():
    one, other = PriceList(), PriceList()
    told(one, b"insert tea 300", b"insert salt 100")
    told(other, b"insert salt 100", b"insert tea 300")
    assert one.state() == other.state() and one.digest() == other.digest()


# -- the conversation


@pytest.mark.parametrize("members", [1, 3, 6, 255])
def test_the_script_is_dealt_out_line_by_line(members):
    """Everything is said by exactly one member, each says its lines in order, and the script begins again."""
    numbers = range(2 + 2 * len(SCRIPT) // members)
    said = {(peer, number): Text.say("1", members, peer, number) for peer in range(members) for number in numbers}
    lines = [
        f"{turn + 1}. {SCRIPT[turn % len(SCRIPT)]}".encode() for turn in range(members * len(numbers))
    ]  # fmt: skip
    assert Counter(said.values()) == Counter(lines) and len(lines) > len(SCRIPT)
    for peer in range(members):
        turns = [int(said[peer, number].partition(b".")[0]) for number in numbers]
        assert turns == sorted(turns)


def test_who_begins_is_a_matter_of_the_seed():
    openers = {next(peer for peer in range(6) if Text.say(str(seed), 6, peer, 0)[:2] == b"1.") for seed in range(40)}
    assert openers == set(range(6))


def test_the_lines_of_the_script():
    assert len(SCRIPT) == len(set(SCRIPT)) >= 36 and all(line.isascii() and len(line) <= 60 for line in SCRIPT)


def test_a_transcript_tells_every_order_and_every_speaker_apart():
    read = set()
    for order in (
        [(0, b"1. Yes."), (1, b"2. No.")],
        [(1, b"2. No."), (0, b"1. Yes.")],
        [(1, b"1. Yes."), (0, b"2. No.")],
    ):
        transcript = Transcript()
        for sender, line in order:
            assert transcript.take(sender, 0, line) == line.decode()
        read.add(transcript.digest())
    assert len(read) == 3


# -- what is said


@every_kind
def test_what_is_said_is_a_matter_of_seed_peer_and_number(name):
    kind = WORKLOADS[name]

    def said(seed, peer):
        return tuple(kind.say(seed, 3, peer, number) for number in range(200))

    assert said("1", 0) == said("1", 0)
    assert len({said("1", peer) for peer in range(3)}) == 3
    assert len({said(str(seed), 0) for seed in range(20)}) == (3 if name == "text" else 20)


@every_kind
def test_everything_that_is_said_is_understood(name):
    kind = WORKLOADS[name]
    replica = kind.replicates()
    numbers = [*range(500), 2**32 - 1]
    for peer in range(3):
        for number in numbers:
            message = kind.say("7", 3, peer, number)
            assert replica.take(peer, number, message) is not None and len(message) <= kind.longest
    assert (replica.applied, replica.skipped) == (3 * len(numbers), 0)


def test_every_operation_is_said_often():
    words = Counter(WORKLOADS["bank"].say("1", 3, 0, number).split()[0] for number in range(1000))
    assert set(words) == {b"deposit", b"interest"} and min(words.values()) > 400
    said = [WORKLOADS["store"].say("1", 3, 0, number).split() for number in range(1000)]
    verbs, items = Counter(words[0] for words in said), Counter(words[1] for words in said)
    assert set(verbs) == {b"insert", b"update", b"delete", b"query"} and min(verbs.values()) > 50
    assert set(items) == {item.encode() for item in ITEMS} and min(items.values()) > 100


# -- what strangers say


STRANGE = [
    b"", b"\xff\xfe", b"deposit", b"deposit 0", b"deposit -5", b"deposit 100000", b"deposit 5 ", b"deposit 5\n",
    b"interest 0", b"interest 4", b"interest 99", b"interest +1", "deposit ٣".encode(), b"withdraw 5",
    b"insert gold 100", b"insert tea", b"insert tea 1000", b"insert tea 99", b"query", b"query tea 100", b"drop tea",
    b"1.Yes.", b"0. Yes.", b"1. ", b"1. \x1b[2J", b"1. " + b"x" * 61, b"9" * 14 + b". Yes.",
    b"1. Ja, f\xc3\xbcr immer.",
]  # fmt: skip


@every_kind
@pytest.mark.parametrize("message", STRANGE)
def test_what_nobody_says_is_skipped(name, message):
    replica = WORKLOADS[name].replicates()
    before = (replica.state(), replica.digest())
    assert replica.take(1, 0, message) is None
    assert (replica.state(), replica.digest()) == before and (replica.applied, replica.skipped) == (0, 1)


@every_kind
@given(
    messages=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(STRANGE), st.text(max_size=20).map(str.encode)))
)
def test_nothing_that_arrives_breaks_a_replica(name, messages):
    replica = WORKLOADS[name].replicates()
    outcomes = told(replica, *messages)
    assert (replica.applied, replica.skipped) == (len(outcomes) - outcomes.count(None), outcomes.count(None))
    assert len(json.dumps(replica.summary())) < 400


# -- the layer


class Below(Layer):
    """In place of an ordering: keeps what is multicast, delivers what the test says."""

    name = "below"
    requests = (MulticastBlock,)

    def __init__(self):
        self.asked = []

    def on_request(self, request, out):
        self.asked.append(request)

    def on_timer(self, key, out):
        for block in key:
            out.deliver(block)


class Bench:
    """A workload of three members, alone."""

    def __init__(self, name, me=0, **settings):
        self.run = run_settings("fifo", workload=name, **settings)
        self.below, self.workload = Below(), WORKLOADS[name].make(self.run, me, {})
        self.stack = Stack([self.below, self.workload], me, (0, 1, 2))

    def release(self):
        return self.stack.handle([Commanded(Release("run"))])

    def gaps(self, count):
        return [effect for _ in range(count) for effect in self.stack.handle([TimerFired(self.workload.name, "gap")])]

    def deliver(self, *blocks):
        return self.stack.handle([TimerFired("below", blocks)])


def block(sender, first, *messages):
    size, body = pack(list(messages))
    made = Block(sender, first, len(messages), size, 1, body)
    made.check()
    return made


@every_kind
def test_when_they_multicast_is_the_rule_of_steady(name):
    bench = Bench(name, messages=2, gap_ms=(0.0, 30.0))
    gap = SetTimer(name, "gap", 0.0, 0.030, paced=True)
    assert bench.release() == [gap]
    assert bench.gaps(2) == [RecordMulticast(0, 1), gap, RecordMulticast(1, 1)]
    assert [(asked.first, asked.count) for asked in bench.below.asked] == [(0, 1), (1, 1), (2, 0)]


@every_kind
def test_a_block_holds_what_is_to_be_said(name):
    """However many messages a block has grown to, and however different their lengths are."""
    bench = Bench(name, me=1, messages=300, gap_ms=(0.0, 0.0))
    bench.release()
    bench.gaps(300)  # sixteen blocks of one message, and then the window is full
    assert [asked.count for asked in bench.below.asked] == [1] * 16
    size, body = bench.workload.says(16, 284)
    grown = Block(1, 16, 284, size, 1, body)
    grown.check()
    assert size == 0 and len(body) <= 284 * (bench.workload.longest + 4)
    said = [WORKLOADS[name].say("1", 3, 1, number) for number in range(300)]
    first = [unpack(asked.block(1, 1)) for asked in bench.below.asked]
    assert [message for messages in first for message in messages] + unpack(grown) == said


@every_kind
def test_blocks_fit_the_smallest_datagrams(name):
    bench = Bench(name, messages=300, datagram_bytes=548)
    per_block = bench.workload.per_block()
    _, body = bench.workload.says(0, per_block)
    assert 1 <= per_block and len(body) <= bench.run.block_bytes() == 356


def test_what_was_sent_is_applied_not_what_could_be_worked_out():
    bench = Bench("bank")
    assert Bank.say("1", 3, 1, 0) != b"deposit 777"
    bench.deliver(block(1, 0, b"deposit 777", b"interest -1"))
    assert bench.workload.replica.cents == (1000_00 + 777) - 1008


@every_kind
def test_what_says_nothing_is_noted_and_the_rest_applied(name):
    bench, kind = Bench(name, messages=0), WORKLOADS[name]
    good = [kind.say("1", 3, 1, number) for number in (0, 2)]
    strange = block(1, 0, good[0], b"\x00rubbish", good[1])
    effects = bench.deliver(strange)
    assert [effect for effect in effects if type(effect) is Note] == [Note("skipped", {"sender": 1, "number": 1})]
    assert Deliver(strange) in effects  # the order of messages is one thing, what they say another
    told_alone = kind.replicates()
    told_alone.take(1, 0, good[0]), told_alone.take(1, 2, good[1])
    summary = bench.stack.measures()["replica"]
    assert summary == {**told_alone.summary(), "skipped": 1} and summary["applied"] == 2


@every_kind
def test_an_end_says_nothing(name):
    bench = Bench(name)
    before = bench.stack.measures()
    bench.deliver(Block(1, 0, 0, 0, 1, b""))
    assert bench.stack.measures() == before


@every_kind
def test_its_state_can_be_frozen_and_goes_on_from_there(name):
    bench, kind = Bench(name), WORKLOADS[name]
    said = [[kind.say("1", 3, peer, number) for number in range(20)] for peer in range(3)]
    bench.deliver(*(block(peer, 0, *said[peer][:10]) for peer in range(3)))
    frozen = freeze(bench.workload)
    other = thaw(frozen)
    assert other == bench.workload and freeze(other) == frozen and hash(frozen) == hash(freeze(other))
    fresh = Stack([Below(), other], 0, (0, 1, 2))
    rest = [block(peer, 10, *said[peer][10:]) for peer in range(3)]
    bench.deliver(*rest)
    assert freeze(other) == frozen  # nothing is shared
    fresh.handle([TimerFired("below", rest)])
    assert fresh.measures() == bench.stack.measures() and bench.workload.replica.applied == 60


@every_kind
def test_a_size_that_would_be_ignored_is_refused(name):
    with pytest.raises(SettingsError, match=f"workload.size_bytes: what {name} says is as long as it is"):
        build_layers(run_settings(workload=name, size_bytes=100), 0)


def test_other_workloads_have_no_replica_to_tell_of():
    for name in set(WORKLOADS) - set(KINDS):
        assert "replica" not in Stack(build_layers(run_settings(workload=name), 0), 0, (0, 1, 2)).measures()

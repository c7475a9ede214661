"""Link `ack_resend`: whatever the wire does, what was sent comes up once, and in order unless told otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.guarantees import FIFO_LINKS, LARGE, ONCE, REACH, RELIABLE
from peer.core.news import Settled
from peer.core.requests import SendAll, SendTo
from peer.core.wire import encode, size_of
from peer.links.ack_resend import LARGEST_BODY, Ack, AckResend, Data, Piece
from tests.runs import run_settings
from tests.table import Blob, Listener, Table, Word

FATES = st.text(".x2<", max_size=40)
ORDERS = pytest.mark.parametrize("order", ["fifo", "none"])


def table_of(peers=2, fates="", rtt_s=None, **options):
    return Table([[AckResend(members=peers, **options), Listener()] for _ in range(peers)], fates, rtt_s)


def words(count, first=0):
    return [str(number) for number in range(first, first + count)]


def send(table, me, peer, *texts):
    """One word a turn."""
    for text in texts:
        table.ask(me, SendTo(peer, Word(text)))
    return table


def held(table):
    return [sum(stack.held().values()) for stack in table.stacks]


# -- what arrives


@pytest.mark.parametrize("fates", ". x 2 < xx x.x.x.x xxxxxxxxxxxx .x ...x <<< ..<.. 222222 2x2x <x<x2".split())
def test_each_comes_up_once_and_in_order(fates):
    table = send(table_of(fates=fates), 0, 1, *words(8)).settle()
    assert table.heard(1) == words(8) and held(table) == [0, 0]


@settings(max_examples=200)
@given(there=FATES, back=FATES, count=st.integers(1, 30), together=st.booleans())
def test_whatever_the_wire_does(there, back, count, together):
    table = table_of(fates={(0, 1): there, (1, 0): back})
    if together:
        table.ask(0, *[SendTo(1, Word(text)) for text in words(count)])
        table.ask(1, *[SendTo(0, Word(text)) for text in words(count)])
    else:
        send(table, 0, 1, *words(count))
        send(table, 1, 0, *words(count))
    table.settle()
    assert table.heard(1) == table.heard(0) == words(count) and held(table) == [0, 0]


@settings(max_examples=200)
@given(there=FATES, back=FATES, count=st.integers(1, 30))
def test_without_order_each_comes_up_once(there, back, count):
    table = send(table_of(fates={(0, 1): there, (1, 0): back}, order="none"), 0, 1, *words(count)).settle()
    assert sorted(table.heard(1), key=int) == words(count) and held(table) == [0, 0]


@given(directions=st.lists(FATES, min_size=6, max_size=6), own=st.booleans())
def test_what_is_for_all_comes_up_everywhere(directions, own):
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    table = table_of(peers=3, fates=dict(zip(pairs, directions)))
    for me in range(3):
        table.ask(me, *[SendAll(Word(text), own=own) for text in words(10)])
    table.settle()
    assert all(table.heard(me, peer) == words(10) for me, peer in pairs) and held(table) == [0, 0, 0]
    for me in range(3):
        assert sum(news.blocks for news in table.told(me, Settled)) == 10 * own


def test_fifo_waits_for_what_is_missing_and_none_does_not():
    for order, at_once in (("fifo", ["0"]), ("none", ["0", "2", "3"])):
        table = send(table_of(fates={(0, 1): ".x"}, order=order), 0, 1, "0", "1", "2", "3")
        for _ in range(4):  # the four packets, but none of the answers to them
            source, target, packet = table.wire.popleft()
            if packet.body != Word("1"):
                table.arrive(target, source, packet)
        assert table.heard(1) == at_once
        assert sorted(table.settle().heard(1)) == words(4)


def test_a_duplicate_is_acknowledged_and_not_handed_up():
    table = send(table_of(), 0, 1, "a").settle()
    (_, packet) = table.sent_by(0, Data)[0]
    before = len(table.sent_by(1, Ack))
    for _ in range(3):
        table.arrive(1, 0, packet)
    acks = table.sent_by(1, Ack)[before:]
    assert [ack for _, ack in acks] == [Ack(1, 0)] * 3 and table.heard(1) == ["a"]


def test_duplicates_of_one_turn_are_acknowledged_together():
    table = send(table_of(), 0, 1, "a").settle()
    (_, packet) = table.sent_by(0, Data)[0]
    before = len(table.sent_by(1, Ack))
    table.arrive(1, 0, packet, packet, packet)
    assert len(table.sent_by(1, Ack)) == before + 1


@ORDERS
def test_a_lost_acknowledgement_costs_a_resend_and_no_second_delivery(order):
    table = send(table_of(fates={(1, 0): "xxx"}, order=order), 0, 1, *words(5)).settle()
    assert table.heard(1) == words(5) and held(table) == [0, 0]
    assert len(table.sent_by(0, Data)) > 5


def test_without_loss_nothing_is_sent_twice():
    table = table_of(peers=4, rtt_s=0.01)
    for text in words(50):
        table.ask(0, SendAll(Word(text))).pass_time(0.01)
    table.settle()
    assert len(table.sent_by(0, Data)) == 150
    assert all(table.heard(me) == words(50) for me in (1, 2, 3))


# -- what is sent


def test_acknowledgements_ride_on_what_goes_the_other_way():
    table = table_of(rtt_s=0.01)
    for text in words(20):
        send(table, 0, 1, text).carry()
        send(table, 1, 0, text).carry()
    assert table.sent_by(0, Ack) == table.sent_by(1, Ack) == []
    table.settle()
    assert len(table.sent_by(0, Ack)) == 1 and table.sent_by(1, Ack) == []  # for the very last one
    assert held(table) == [0, 0]


def test_few_are_acknowledged_together_after_a_little_while():
    table = send(table_of(rtt_s=1.0), 0, 1, "a", "b", "c").carry()
    assert table.sent_by(1, Ack) == []
    assert [ack for _, ack in table.pass_time(0.1).sent_by(1, Ack)] == [Ack(3, 0)]


@pytest.mark.parametrize("together", [1, 3, 8, 20])
def test_many_are_acknowledged_before_their_time(together):
    """Eight that are owed leave in an acknowledgement of their own, whether they came in one turn or in many."""
    table = table_of(rtt_s=1.0)
    packets = [Data(number, 0, 0, Word(str(number))) for number in range(40)]
    for first in range(0, 40, together):
        table.arrive(1, 0, *packets[first : first + together])
    turns_until_eight = -(-8 // together)
    assert [ack.upto for _, ack in table.sent_by(1, Ack)] == list(range(0, 41, together * turns_until_eight))[1:]
    assert len(table.sent_by(1, Ack)) >= 2 and table.now_s == 0


@pytest.mark.parametrize("late", [Data(1, 0, 0, Word("again")), Data(9, 0, 0, Word("after a gap"))])
def test_a_duplicate_or_a_gap_is_answered_at_once_though_an_acknowledgement_is_due_soon(late):
    table = table_of(rtt_s=1.0)
    table.arrive(1, 0, Data(0, 0, 0, Word("a")), Data(1, 0, 0, Word("b")))
    assert table.sent_by(1, Ack) == []
    table.arrive(1, 0, late)
    assert [(ack.upto, bool(ack.mask)) for _, ack in table.sent_by(1, Ack)] == [(2, late.number == 9)]


def test_a_gap_is_shown_at_once():
    table = send(table_of(fates={(0, 1): "x"}), 0, 1, "a", "b")
    for _ in range(2):
        source, target, packet = table.wire.popleft()
        if packet.body != Word("a"):
            table.arrive(target, source, packet)
    assert table.sent_by(1, Ack) == [(0, Ack(0, 0b1))]


def test_what_was_overtaken_is_sent_again_before_its_time():
    """Three later packets arrived: the sender learns from the mask and does not wait for its timer."""
    table = send(table_of(fates={(0, 1): "x"}), 0, 1, *words(6)).carry()
    assert table.heard(1) == words(6) and table.now_s == 0.0


@pytest.mark.parametrize("fates", ["<", "..<", "<.<.<.<."])
def test_what_merely_comes_late_is_not_sent_again(fates):
    table = send(table_of(fates={(0, 1): fates}, rtt_s=1.0), 0, 1, *words(8)).carry()
    assert table.heard(1) == words(8) and len(table.sent_by(0, Data)) == 8


def test_what_was_overtaken_is_sent_again_once():
    """However many later packets show the same gap; and the timer does not send it once more on top."""
    table = table_of(fates={(0, 1): "x" + "." * 60}, rtt_s=0.1)
    table.ask(0, *[SendTo(1, Word(text)) for text in words(40)]).carry()
    assert len(table.sent_by(0, Data)) <= 40 + 1 + 40 // 16
    assert table.heard(1) == words(40)


def test_only_what_is_missing_is_sent_again():
    table = send(table_of(fates={(0, 1): "xxxx"}), 0, 1, *words(4)).carry()
    table.arrive(0, 1, Ack(0, 0b101))  # 1 and 3 arrived
    sent = len(table.sent_by(0, Data))
    table.fates[0, 1] = iter("x" * 20)
    table.pass_time(20.0)
    assert {packet.number for _, packet in table.sent_by(0, Data)[sent:]} == {0, 2}


def test_who_does_not_answer_is_asked_ever_more_slowly_but_for_ever():
    table = send(table_of(fates={(0, 1): "x" * 10_000}), 0, 1, "a").pass_time(60.0)
    after_a_minute = len(table.sent_by(0, Data))
    assert 10 < after_a_minute < 60
    table.pass_time(600.0)
    assert len(table.sent_by(0, Data)) > after_a_minute + 100


def test_after_a_long_silence_all_comes_up():
    table = send(table_of(fates={(0, 1): "x" * 200}), 0, 1, *words(40)).settle()
    assert table.heard(1) == words(40) and held(table) == [0, 0]


def test_the_round_trip_decides_how_long_it_waits():
    def waits(rtt_s):
        table = table_of(rtt_s=rtt_s)
        send(table, 1, 0, "so that the round trip is known").settle()
        sent = len(table.sent_by(0, Data))
        table.fates[0, 1] = iter("x")
        send(table, 0, 1, "a").carry()
        begun = table.now_s
        while len(table.sent_by(0, Data)) < sent + 2:
            table.fire()
        return table.now_s - begun

    assert 0.01 < waits(0.01) < 0.2
    assert 0.3 <= waits(0.3) < 1.5


def test_it_comes_to_rest():
    table = send(table_of(fates="x.2<"), 0, 1, *words(5)).settle()
    assert not table.timers and not table.wire
    sent = len(table.sent)
    assert len(table.pass_time(100.0).sent) == sent


# -- the window


def test_no_more_is_on_its_way_than_the_window():
    table = send(table_of(fates={(0, 1): "x" * 10_000}, window=16), 0, 1, *words(100)).pass_time(30.0)
    assert {packet.number for _, packet in table.sent_by(0, Data)} == set(range(16))
    assert table.stacks[0].held()["unacknowledged"] == 100


@given(there=FATES, back=FATES, window=st.integers(1, 9), order=st.sampled_from(["fifo", "none"]))
def test_what_waits_for_the_window_leaves_in_its_turn(there, back, window, order):
    table = table_of(fates={(0, 1): there, (1, 0): back}, window=window, order=order)
    send(table, 0, 1, *words(40)).settle()
    heard = table.heard(1) if order == "fifo" else sorted(table.heard(1), key=int)
    assert heard == words(40) and held(table) == [0, 0]


def test_the_numbers_of_one_member_are_not_those_of_another():
    """A member that hears nothing holds up nobody else."""
    table = table_of(peers=3, fates={(0, 2): "x" * 1000}, window=8)
    table.ask(0, *[SendAll(Word(text), own=True) for text in words(30)]).pass_time(1.0)
    assert table.heard(1) == words(30) and table.heard(2) == []
    assert table.told(0, Settled) == []  # settled is what all have
    table.settle()
    assert table.heard(2) == words(30) and sum(news.blocks for news in table.told(0, Settled)) == 30


def test_alone_everything_is_settled_at_once():
    table = table_of(peers=1).ask(0, SendAll(Word("a"), own=True), SendAll(Word("b"), own=True))
    assert table.told(0, Settled) == [Settled(1), Settled(1)] and held(table) == [0]


# -- large bodies


def test_bodies_are_cut_where_they_must_be():
    small, large = Word("x" * 88), Word("x" * 500)
    table = table_of(piece_bytes=size_of(small)).ask(0, SendTo(1, small), SendTo(1, large)).settle()
    bodies = [packet.body for _, packet in table.sent_by(0, Data)]
    assert bodies[0] == small and {type(body) for body in bodies[1:]} == {Piece}
    assert len(bodies) == 1 + -(-size_of(large) // size_of(small))
    assert all(len(body.data) <= size_of(small) for body in bodies[1:])
    assert b"".join(body.data for body in bodies[1:]) == encode(large)
    assert table.heard(1) == [small.text, large.text]


@settings(max_examples=150)
@given(
    there=FATES,
    back=FATES,
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=8),
    piece_bytes=st.integers(1, 90),
    order=st.sampled_from(["fifo", "none"]),
)
def test_what_was_cut_is_joined(there, back, sizes, piece_bytes, order):
    texts = [f"{number}:" + "x" * size for number, size in enumerate(sizes)]
    table = table_of(fates={(0, 1): there, (1, 0): back}, piece_bytes=piece_bytes, order=order)
    for text in texts:
        table.ask(0, SendTo(1, Word(text)))
    table.settle()
    assert (table.heard(1) == texts) if order == "fifo" else (sorted(table.heard(1)) == sorted(texts))
    assert held(table) == [0, 0] and table.notes == [[], []]


def test_a_large_body_is_settled_as_one():
    table = table_of(peers=3, fates="x..x2", piece_bytes=50)
    table.ask(0, SendAll(Word("x" * 500), own=True)).settle()
    assert table.told(0, Settled) == [Settled(1)]


def test_pieces_leave_room_for_the_headers_of_a_datagram():
    run = run_settings(datagram_bytes=1372)
    link = AckResend.make(run, 0, {})
    piece = Piece(2**32 - 1, 2**16 - 1, 2**16 - 1, bytes(link.piece_bytes))
    assert size_of(Data(2**32 - 1, 2**32 - 1, 2**64 - 1, piece)) + 64 + 4 <= 1372
    assert AckResend.make(run, 0, {"piece_bytes": 500}).piece_bytes == 500


LARGEST = Blob((bytes(range(251)) * 66_847)[: LARGEST_BODY - 1])  # and one byte that says its kind


@pytest.mark.parametrize("piece_bytes", [1372 - 128, 60_000 - 128])
def test_the_largest_body(piece_bytes):
    assert size_of(LARGEST) == LARGEST_BODY
    table = table_of(fates={(0, 1): "x..2.<"}, piece_bytes=piece_bytes).ask(0, SendTo(1, LARGEST)).settle()
    assert table.heard(1) == [LARGEST.text] and held(table) == [0, 0]


def test_what_is_larger_is_refused():
    with pytest.raises(AssertionError, match=f"{LARGEST_BODY + 1} bytes; at most {LARGEST_BODY}"):
        table_of().ask(0, SendTo(1, Blob(LARGEST.text + b"!")))


# -- what no peer of ours would send


@pytest.mark.parametrize("forged", [Ack(1, 0), Ack(2**32 - 1, 2**64 - 1), Ack(0, 2**64 - 1), Data(7, 9, 1, Word("?"))])
@pytest.mark.parametrize("sent", [0, 3])
def test_acknowledgements_of_what_was_never_sent(forged, sent):
    """Nothing is settled by them that did not arrive, and all that is sent later arrives."""
    table = table_of(fates={(0, 1): "x" * 99})
    if forged.upto <= sent and type(forged) is Ack:
        forged = Ack(sent + 1, forged.mask)
    table.arrive(0, 1, forged)
    table.ask(0, *[SendAll(Word(text), own=True) for text in words(sent)]).carry()
    table.arrive(0, 1, forged)
    assert table.heard(1) == [] and table.told(0, Settled) == []
    table.fates[0, 1] = iter("")
    table.ask(0, *[SendAll(Word(text), own=True) for text in words(5, first=sent)]).settle()
    assert table.heard(1) == words(sent + 5)
    assert sum(news.blocks for news in table.told(0, Settled)) == sent + 5


def test_numbers_far_ahead_are_not_kept():
    table = table_of(window=16)
    for number in (16, 17, 1000, 2**32 - 1):
        table.arrive(1, 0, Data(number, 0, 0, Word("?")))
    assert table.stacks[1].held()["beyond a gap"] == 0
    table.arrive(1, 0, Data(15, 0, 0, Word("?")))
    assert table.stacks[1].held()["beyond a gap"] == 1 and table.heard(1) == []


@pytest.mark.parametrize("order", ["fifo", "none"])
@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(1, 0, 0, b"")],  # one of none
        [Piece(1, 5, 1, b"x")],  # the sixth of one
        [Piece(1, 0, 1, b"")],  # a body of nothing
        [Piece(1, 0, 1, b"\xfe!")],  # a body of an unknown kind
        [Piece(1, 0, 2, encode(Word("abc"))[:2]), Piece(1, 1, 2, b"\xff\xff\xff\xff")],
        [Piece(1, 0, 2, b"a"), Piece(1, 7, 2, b"b")],
    ],
    ids=repr,
)
def test_pieces_that_do_not_fit(pieces, order):
    """They are dropped with a note, and nobody dies of them."""
    table = table_of(order=order)
    for number, piece in enumerate(pieces):
        table.arrive(1, 0, Data(number, 0, 0, piece))
    assert table.notes[1] == ["a body was given up"] and table.heard(1) == []
    table.arrive(1, 0, Data(len(pieces), 0, 0, Word("fine")))
    assert table.heard(1) == ["fine"]


def test_what_it_needs_and_gives():
    assert AckResend.needs == {REACH}
    assert AckResend(members=2).granted() == {RELIABLE, FIFO_LINKS, ONCE, LARGE}
    assert AckResend(members=2, order="none").granted() == {RELIABLE, ONCE, LARGE}

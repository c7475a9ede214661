"""How the classroom program's orderings delivered twice, too late or never, and that the shipped ones do not.

The peers are real ones in virtual time; what is lost is lost on purpose.
"""

import pytest

from peer.core.blocks import Block
from peer.core.trace import DELIVERED, DELIVERY_RECORD, SEND_RECORD
from peer.links.ack_resend import Ack, Data
from peer.ordering.lamport_all_ack import BlockAck, Explicit, Holds, LamportAllAck, Promise, Promised, Textbook
from tests.runs import NAMED, faulty, play, records, run_settings
from tests.table import Table

EVERY_ORDERING = pytest.mark.parametrize(("ordering", "variant"), **NAMED)


@EVERY_ORDERING
def test_what_is_sent_again_is_delivered_once(losing, ordering, variant):
    """Fails if a message whose acknowledgement was lost is put into the log again when it comes again."""
    losses = losing(lambda source, target, part: type(part) is Ack, 30)
    run = play(run_settings(ordering, variant, peers=3, **faulty(0.1)))
    run.assert_flawless()
    measures = run.simulated.measures
    assert losses.lost and all(each["resent"] > 0 and each["duplicates"] > 0 for each in measures)
    assert run.verdict.findings["integrity"].holds is True


@pytest.mark.parametrize(("variant", "what"), [("explicit", Holds), ("promise", Promise), ("textbook", BlockAck)])
def test_an_ack_that_is_lost_between_two_others_is_sent_again(losing, variant, what):
    """Fails if an ack is sent again only to whom the message came from: p2 would wait for p1's ack of p0's for ever."""
    losses = losing(lambda source, target, part: (source, target) == (1, 2) and type(part) is what, 10)
    play(run_settings("lamport_all_ack", variant, peers=3)).assert_flawless()
    assert losses.lost[1, 2] == 10


@EVERY_ORDERING
def test_nobody_waits_for_the_ends_before_it_delivers(ordering, variant):
    """Fails if messages are kept until every sender has ended, and only then sorted and delivered."""
    run = play(run_settings(ordering, variant, peers=3, messages=50, delay_s=0.005))
    run.assert_flawless()
    assert run.verdict.sorted_at_the_end == [] and min(run.verdict.on_time.values()) > 0.9


ACKS = {
    "textbook": (Textbook, lambda sender: BlockAck(sender, 0, 2)),
    "explicit": (Explicit, lambda sender: Holds((sender,), (1,))),
}


@pytest.mark.parametrize("variant", ACKS)
def test_messages_with_one_stamp_do_not_share_their_acks(variant):
    """Fails if acks are counted by stamp: two that multicast at once have the same one."""
    kind, ack = ACKS[variant]
    table = Table([[kind(members=4)] for _ in range(4)])
    for sender in (1, 2):
        table.arrive(0, sender, Block(sender, 0, 1, 1, 1, b"x"))
    for member, sender in ((2, 1), (3, 1), (1, 2)):
        table.arrive(0, member, ack(sender))
    assert table.messages(0) == [(1, 0)], "of the other 3 has not said that it holds it"
    table.arrive(0, 3, ack(2))
    assert table.messages(0) == [(1, 0), (2, 0)]


@EVERY_ORDERING
def test_what_a_sender_delivers_makes_no_gap_in_its_own_numbers(losing, ordering, variant):
    """Fails if a delivery moves what the next message is numbered with: others would wait for the number between."""
    left: dict[int, set[int]] = {}

    def note(source, target, part):
        if type(part) is Block and part.sender == source:
            left.setdefault(source, set()).update(range(part.first, part.following))
        return False

    losing(note, 1)
    run = play(run_settings(ordering, variant, peers=3, messages=20))
    run.assert_flawless()
    assert left == {sender: set(range(21)) for sender in range(3)}, "the END takes the last place"
    for sends in run.simulated.sends:
        assert [row[1] for row in records(sends, SEND_RECORD)] == list(range(20))


@pytest.mark.parametrize("variant", LamportAllAck.variants)
def test_a_receipt_moves_the_clock(variant):
    """Fails if the clock stays behind what was received, so that an answer is stamped before its question."""
    kind = {"explicit": Explicit, "promise": Promised, "textbook": Textbook}[variant]
    table = Table([[kind(members=2)] for _ in range(2)])
    table.arrive(0, 1, Block(1, 0, 1, 1, 41, b"x"))
    assert table.stacks[0].layer("lamport_all_ack").clock.stamp() > 41


@pytest.mark.parametrize("variant", LamportAllAck.variants)
def test_an_ack_never_overtakes_an_earlier_message_of_the_same_peer(losing, variant):
    """Fails if acks go beside the link that keeps messages in order: a lost message would then be delivered late."""
    came = set()

    def first_time(source, target, part):
        if type(part) is not Data or type(part.body) is not Block:
            return False
        new = (source, target, part.number) not in came
        came.add((source, target, part.number))
        return new  # every message is lost once, while acks come through

    losses = losing(first_time, 1000)
    run = play(run_settings("lamport_all_ack", variant, peers=3))
    run.assert_flawless()
    assert len(losses.lost) == 6 and min(losses.lost.values()) >= 10 and run.verdict.rounds.out_of_order == 0
    for trace in run.simulated.traces:
        order = [(row[4], row[1]) for row in records(trace, DELIVERY_RECORD) if row[0] == DELIVERED]
        assert order == sorted(order), "by stamp, and where stamps are equal by sender"

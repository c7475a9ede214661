"""What nobody in the group would send. Without the key it changes no byte of any log; a member may spoil the run with
it, or end it by a named error, but nobody stumbles over it, and nobody keeps it without end."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from experiments.simulator.world import Simulated, World
from peer.connection.ready_ack import HandshakeAck, Ready
from peer.core.blocks import BESIDE_BODY_BYTES, HELD_AT_MOST, HIGHEST_PLACE, Block
from peer.core.commands import Counts, from_message, to_message
from peer.core.effects import Report, Transmit
from peer.core.errors import SettingsError, WireError
from peer.core.events import PacketArrived
from peer.core.layer import freeze
from peer.core.news import Overfull
from peer.core.requests import SendAll, SendTo
from peer.core.settings import LayerSettings, RunSettings
from peer.core.stack import Stack
from peer.core.wire import decode, encode, size_of
from peer.drivers.datagram import Border, Envelope
from peer.links.ack_resend import Ack, AckResend, Data, Piece
from peer.ordering.fixed_sequencer import FixedSequencer, Numbered
from peer.ordering.lamport_all_ack import BlockAck, Explicit, Holds, Promise, Promised, Textbook
from peer.ordering.unordered import Unordered
from peer.stacks import ORDERINGS, build_stack, promised, variant_class
from tests.fuzz import nonsense
from tests.runs import NAMED, play, run_settings

MEMBERS = (0, 1, 2)
KEY_ID_ENDS = 5  # bytes of the header: the version, the id of the key
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
        assert stack.handle([PacketArrived(1, packet)]) == [] and freeze(layer) == before, packet


def test_blocks_for_the_sequencer_go_to_the_sequencer():
    layer = ORDERINGS["fixed_sequencer"](members=3)
    assert Stack([layer], 2, MEMBERS).handle([PacketArrived(1, Block(1, 0, 1, 1, 5, b"x"))]) == []


# -- without the key


class Intruder:
    """Hears everything, holds what it heard in other runs, and sends whatever it can make of that to everybody."""

    def __init__(self, *recorded: bytes) -> None:
        self.chance, self.recorded = Random(1), list(recorded)
        self.heard: list[bytes] = []
        self.sent = 0

    def __call__(self, world: World, source: int, target: int, datagram: bytes) -> None:
        self.heard.append(datagram)
        for number in range(len(world.peers)):
            self.give(world, number, datagram)  # again, back to its sender, on to the third
        self.give(world, target, self.forged(world, source, target, datagram))
        self.give(world, target, nonsense.mutated(self.chance, datagram, self.heard))
        self.give(world, self.chance.randrange(len(world.peers)), self.chance.choice(self.heard))
        if self.recorded:
            self.give(world, target, self.chance.choice(self.recorded))
        world.schedule.after(0.3, self.give, world, target, datagram)

    def give(self, world: World, target: int, datagram: bytes) -> None:
        self.sent += 1
        world.peers[target].take(datagram)

    def forged(self, world: World, source: int, target: int, datagram: bytes) -> bytes:
        """Another datagram of that sender, right in everything but the key."""
        chance, peers = self.chance, world.peers
        envelope = Envelope(bytes(32), peers[source].name)
        members = world.run.members
        forger = Border(envelope, peers[source].incarnation, world.run_id, source, members, {})
        forger.counter = 10**6 + self.sent
        number = chance.randrange(200)
        block = Block(source, number, 1, 1, number, b"x")
        digest = int.from_bytes(world.run.digest(), "little")
        packets = [
            Ack(number, chance.getrandbits(64)),
            Data(number, number, 0, block),
            Data(number, number, 0, Numbered(number, block)),
            Data(number, number, 0, Holds((0, 1, 2), (number,) * 3)),
            Data(number, number, 0, Promise(1 << 40)),
            Data(number, number, 0, BlockAck(target, number, 1 << 40)),
            Ready(number, digest),
            Ready(number, digest + 1),
            HandshakeAck(number, digest),
        ]
        entries = [envelope.entry(packet, {}) for packet in chance.sample(packets, 3)]
        forged = forger.seal(target, 0, 0, 0, entries)
        return datagram[:KEY_ID_ENDS] + forged[KEY_ID_ENDS:]  # which key it is, everybody can see


def simulated(run: RunSettings, run_id: str, intruder: Any = None, former: bool = False) -> Simulated:
    """A run over the wire; `former`: by processes that were replaced since."""
    world = World(run, run_id, "agreement" in promised(run), {}, 1e5, intruder)
    for peer in world.peers if former else ():
        peer.incarnation = f"former {peer.me}"
    return world.play()


@pytest.mark.parametrize(("ordering", "variant"), **NAMED)
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_without_the_key_no_byte_of_any_log_changes(ordering, variant, loss):
    run = run_settings(ordering, variant, messages=8, wire=True, trace="everything", loss=loss, duplicate=loss)
    undisturbed = simulated(run, "this")
    earlier, former = Intruder(), Intruder()
    simulated(run, "earlier", earlier)
    simulated(run, "this", former, former=True)
    intruder = Intruder(*earlier.heard, *former.heard)
    disturbed = simulated(run, "this", intruder)
    assert disturbed.coordinator.error is None and disturbed.coordinator.complete
    assert disturbed.traces == undisturbed.traces and disturbed.sends == undisturbed.sends
    assert disturbed.steps == undisturbed.steps and all(disturbed.steps)
    dropped = [measures["dropped"] for measures in disturbed.measures]
    assert {"tag", "replayed", "other run", "incarnation"} <= set.intersection(*map(set, dropped))
    given = intruder.sent
    assert sum(sum(each.values()) for each in dropped) == given > 5 * len(intruder.heard)
    assert not any(measures["dropped"] for measures in undisturbed.measures)


def test_the_intruder_would_succeed_with_the_key():
    """So that the test above is known to be able to fail."""
    run = run_settings("fifo", messages=8, wire=True)

    class Traitor(Intruder):
        def __call__(self, world: World, source: int, target: int, datagram: bytes) -> None:
            envelope = world.peers[source].border.envelope
            liar = Border(envelope, world.peers[source].incarnation, world.run_id, source, world.run.members, {})
            liar.counter = 10**6 + self.sent
            block = Block(source, self.sent, 1, 1, 1, b"x")
            self.give(world, target, liar.seal(target, 0, 0, 0, [envelope.entry(block, {})]))

    assert simulated(run, "this", Traitor()).traces != simulated(run, "this").traces


# -- from a member: bounds


def arrives(layer: Any, *packets: Any, source: int = 1, me: int = 0, members: tuple[int, ...] = MEMBERS) -> list[Any]:
    """All effects of these packets, each in a turn of its own."""
    stack = Stack([layer], me, members)
    return [effect for packet in packets for effect in stack.handle([PacketArrived(source, packet)])]


def gave_up(effects: list[Any]) -> bool:
    return any(type(effect) is Report and type(effect.news) is Overfull for effect in effects)


def blocks(count: int, sender: int = 1, first: int = 0) -> list[Block]:
    return [Block(sender, place, 1, 1, place + 1, b"x") for place in range(first, first + count)]


def test_a_place_beyond_32_bits_is_refused():
    beyond = Block(1, HIGHEST_PLACE, 0, 0, 5, b"")
    with pytest.raises(WireError, match="block"):
        decode(encode(beyond))
    last = decode(encode(replace(beyond, first=HIGHEST_PLACE - 1)))
    said = [effect.packet for effect in arrives(Explicit(members=3), last) if type(effect) is Transmit]
    assert said == [Holds((1,), (HIGHEST_PLACE,))] * 2 and decode(encode(said[0])) == said[0]


@pytest.mark.parametrize("cls", [Explicit, Promised, Textbook])
def test_the_same_block_twice_is_no_accident(cls):
    one, other = Block(1, 0, 1, 1, 5, b"x"), Block(1, 0, 1, 1, 5, b"y")
    layer = cls(members=3)
    arrives(layer, one, other, one)
    assert [block for _, block in layer.queue] == [one, other, one]


@pytest.mark.parametrize("cls", [Explicit, Promised, Textbook])
def test_a_queue_of_which_nothing_can_be_delivered_does_not_grow_without_end(cls):
    layer = cls(members=3, most_bytes=10_000)
    assert not gave_up(arrives(layer, *blocks(30)))
    assert gave_up(arrives(layer, *blocks(1000, first=30))) and layer.queued_bytes <= 10_000
    assert len(layer.queue) < 40 and len(getattr(layer, "ackers", {})) < 40


def test_what_is_delivered_makes_room_in_the_queue():
    layer = Promised(members=2, most_bytes=10_000)
    stack = Stack([layer], 0, (0, 1))
    for block in blocks(500):
        assert not gave_up(stack.handle([PacketArrived(1, block)]))
    assert (layer.queue, layer.queued_bytes) == ([], 0)


def test_acks_of_blocks_that_never_come_do_not_grow_without_end():
    layer = Textbook(members=3, most_acked=100)
    acks = [BlockAck(2, place, place) for place in range(1000)]
    assert not gave_up(arrives(layer, *acks[:100]))
    assert gave_up(arrives(layer, *acks)) and len(layer.ackers) == 100


@pytest.mark.parametrize("me", [0, 1])
def test_what_a_sequencer_and_its_followers_hold_back_is_bounded(me):
    layer = FixedSequencer(members=3)
    said = blocks(2 * HELD_AT_MOST, first=1) if me == 0 else []
    said += [Numbered(place, block) for place, block in enumerate(blocks(2 * HELD_AT_MOST, 2), 1)] if me else []
    arrives(layer, *said, source=1 - me, me=me)
    assert layer.held() == {"held back": HELD_AT_MOST}
    first = Numbered(0, *blocks(1, 2)) if me else blocks(1)[0]
    assert arrives(layer, first, source=1 - me, me=me), "what closes the gap is always taken"
    assert layer.held() == {"held back": 0}


def test_unordered_forgets_the_oldest_gaps():
    layer = Unordered(members=2)
    arrives(layer, *blocks(3 * HELD_AT_MOST)[::2], members=(0, 1))
    assert len(layer.ahead[1]) <= HELD_AT_MOST and layer.next[1] > 0
    assert arrives(layer, *blocks(1, first=1), members=(0, 1)) == [], "what comes too late for that is lost"
    late = Block(1, 6 * HELD_AT_MOST - 1, 1, 1, 1, b"x")
    assert len(arrives(layer, late, late, members=(0, 1))) == 1


# -- from a member: the link


def linked(**options: Any) -> tuple[AckResend, Stack]:
    link = AckResend(members=3, **options)
    return link, Stack([link], 0, MEMBERS)


def pieces(whole: int, of: int, indices: range, size: int = 10) -> list[Piece]:
    return [Piece(whole, index, of, bytes(size)) for index in indices]


def joined(link: AckResend, stack: Stack, said: list[Piece]) -> int:
    """How many bodies are unfinished after these pieces, which come in order."""
    first = link.pairs[1].expected
    for number, piece in enumerate(said, first):
        stack.handle([PacketArrived(1, Data(number, 0, 0, piece))])
    return len(link.pairs[1].joining)


def test_one_unfinished_body_a_pair():
    link, stack = linked()
    assert joined(link, stack, [piece for whole in range(100) for piece in pieces(whole, 9, range(5))]) == 1


def test_over_no_order_a_window_of_unfinished_bodies():
    link, stack = linked(order="none", window=16)
    assert joined(link, stack, [Piece(whole, 1, 9, b"x") for whole in range(100)]) == 16


@pytest.mark.parametrize("order", ["fifo", "none"])
@pytest.mark.parametrize(
    "spoiler",
    [
        Piece(1, 3, 9, b"x"),
        Piece(1, 4, 8, b"x"),
        Piece(1, 9, 9, b"x"),
        Piece(1, 4, 0, b"x"),
        Piece(1, 4, 9, bytes(2**24)),
    ],
    ids=["twice", "of another count", "beyond", "of none", "too large"],
)
def test_a_body_whose_pieces_do_not_fit_is_given_up(order, spoiler):
    link, stack = linked(order=order)
    assert joined(link, stack, pieces(1, 9, range(4), size=500)) == 1
    assert joined(link, stack, [spoiler]) == 0
    body = encode(Block(1, 0, 1, 1, 1, b"x"))
    effects = stack.handle([PacketArrived(1, Data(5, 0, 0, Piece(2, 0, 1, body)))])
    assert [effect.fields["packet"] for effect in effects if hasattr(effect, "fields")] == ["Block"], (
        "the next one comes"
    )


def test_what_waits_for_who_acknowledges_nothing_is_bounded():
    link, stack = linked(window=4, most_bytes=5000)
    body = Block(0, 0, 1, 1, 1, b"x")
    pair = link.pairs[1]
    for _ in range(4 + 5000 // (BESIDE_BODY_BYTES + size_of(body))):
        stack.ask(SendTo(1, body))
        assert not gave_up(stack.sweep())
    stack.ask(SendTo(1, body))
    assert gave_up(stack.sweep()) and 4500 < pair.waiting_bytes <= 5000
    stack.handle([PacketArrived(1, Ack(pair.next, 0))])
    assert len(pair.unacked) == 4, "acknowledgements make room"
    while pair.unacked:
        stack.handle([PacketArrived(1, Ack(pair.next, 0))])
    assert pair.waiting_bytes == 0 and not pair.waiting


def test_an_acknowledgement_of_what_was_never_sent_has_nothing_sent_again():
    link, stack = linked()
    stack.ask(SendAll(Block(0, 0, 1, 1, 1, b"x"), own=True))
    stack.sweep()
    for mask in (1, 2**63, 2**64 - 1):
        effects = stack.handle([PacketArrived(1, Ack(0, mask))])
        assert not any(type(effect) is Transmit for effect in effects) and link.resent == 0
    assert len(link.pairs[1].unacked) == 1


# -- a run that cannot go on


@pytest.mark.parametrize("variant", ["explicit", "promise", "textbook"])
def test_who_would_have_to_keep_too_much_ends_the_run_and_says_so(variant):
    run = run_settings("lamport_all_ack", variant, messages=200, gap_ms=(0.1, 0.2))
    options = run.stack.ordering.options | {"most_bytes": 1000}
    stack = replace(run.stack, ordering=LayerSettings("lamport_all_ack", options))
    error = play(replace(run, stack=stack)).coordinator.error
    assert "cannot go on" in str(error) and "blocks wait in its queue" in str(error) and len(error.peers) == 1


def test_an_honest_run_of_many_large_messages_keeps_within_the_bounds():
    run = run_settings("lamport_all_ack", workload="burst", messages=60, size_bytes=100_000, delay_s=0.1)
    played = play(run)
    played.assert_flawless()


# -- control


@pytest.mark.parametrize(
    "change",
    [{"waits_for": [1]}, {"waits_for": [[]]}, {"held": {"x": "y"}}, {"held": []}, {"asked": True}, {"asked": 0.5}],
    ids=str,
)
def test_reports_whose_parts_have_other_types_are_refused(change):
    right = to_message(Counts("r1", "running", held={"x": 1}, waits_for=["p1"]))
    assert from_message(right).waits_for == ["p1"]
    with pytest.raises(WireError, match=f"Counts.{next(iter(change))} is "):
        from_message(right | change)


@pytest.mark.parametrize(
    "place, options, path",
    [
        ("ordering", {"sequencer": 3}, "sequencer"),
        ("ordering", {"sequencer": "p0"}, "sequencer"),
        ("link", {"window": 0}, "window"),
        ("link", {"window": 0.5}, "window"),
        ("link", {"piece_bytes": 0}, "piece_bytes"),
        ("link", {"order": "random"}, "order"),
        ("link", {"pairs": [1]}, "pairs"),
    ],
    ids=str,
)
def test_options_that_no_layer_can_have_are_refused_before_a_run_begins(place, options, path):
    run = run_settings("fixed_sequencer")
    entry = getattr(run.stack, place)
    stack = replace(run.stack, **{place: LayerSettings(entry.name, entry.options | options)})
    with pytest.raises(SettingsError) as caught:
        build_stack(replace(run, stack=stack), 0)
    assert path in caught.value.path

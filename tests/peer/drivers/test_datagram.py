"""Datagrams: what is sealed opens, and nothing else does."""

from __future__ import annotations

import random

import pytest

import peer.stacks  # noqa: F401  (all packets are registered)
from peer.core.blocks import Block
from peer.core.errors import WireError
from peer.drivers.datagram import HEADER, OVERHEAD_BYTES, SMALL_BYTES, Border, Envelope, ReplayWindow, short_hash
from peer.links.ack_resend import Ack, Data
from peer.ordering.fixed_sequencer import Numbered

KEY, OTHER = bytes(range(32)), bytes(32)
HEADERS = (7, short_hash("ana"), 99, 1, 123_456_789, 987_654_321, 55)
SMALL = [Data(1, 2, 3, Block(0, 5, 1, 4, 9, b"abcd")), Ack(4, 0)]
LARGE = [
    Data(1, 2, 3, Block(0, 5, 100, 64, 9, bytes(6400))),
    Ack(4, 0),
    Data(2, 2, 0, Numbered(7, Block(1, 0, 0, 0, 1, b""))),
]


def sealed(packets: list, key: bytes = KEY) -> bytes:
    envelope = Envelope(key, "ana")
    bodies: dict = {}
    return envelope.seal(envelope.addressed("bob"), HEADERS, [envelope.entry(packet, bodies) for packet in packets])


def opened(data: bytes, key: bytes = KEY, name: str = "bob"):
    return Envelope(key, name).open(memoryview(data))


def refusal(data: bytes, key: bytes = KEY) -> str:
    with pytest.raises(WireError) as caught:
        opened(data, key)
    return caught.value.reason


@pytest.mark.parametrize("packets", [[], SMALL, LARGE])
def test_what_is_sealed_opens(packets):
    data = sealed(packets)
    assert (len(data) - OVERHEAD_BYTES > SMALL_BYTES) == (packets is LARGE)
    result = opened(data)
    assert (result.run, result.sender, result.incarnation, result.counter) == HEADERS[:4]
    assert (result.stamp_ns, result.echo_ns, result.held_us) == HEADERS[4:]
    assert result.packets == packets


def test_another_key_opens_nothing():
    assert refusal(sealed(SMALL), OTHER) == "key"


@pytest.mark.parametrize("packets", [SMALL, LARGE])
def test_every_changed_bit_is_noticed(packets):
    data = sealed(packets)
    chance = random.Random(1)
    places = range(len(data)) if packets is SMALL else sorted(chance.sample(range(len(data)), 400))
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(WireError):
            opened(bytes(changed))


@pytest.mark.parametrize("packets", [SMALL, LARGE])
def test_a_cut_or_overlong_datagram_is_refused(packets):
    data = sealed(packets)
    for length in (0, 1, HEADER.size, OVERHEAD_BYTES - 1, OVERHEAD_BYTES + 1, len(data) // 2, len(data) - 1):
        assert refusal(data[:length]) in ("short", "cut", "tag")
    assert refusal(data + b"\0") in ("cut", "tag")
    assert refusal(data + data) in ("cut", "tag")


def test_noise_is_refused():
    chance = random.Random(2)
    for _ in range(2000):
        with pytest.raises(WireError):
            opened(chance.randbytes(chance.randrange(2000)))


def test_packets_cannot_be_moved_from_one_datagram_to_another():
    one, two = sealed([Ack(1, 0)]), sealed([Ack(2, 0)])
    assert refusal(one[:OVERHEAD_BYTES] + two[OVERHEAD_BYTES:]) == "tag"


@pytest.mark.parametrize("packets", [[], SMALL, LARGE])
@pytest.mark.parametrize("name", ["ana", "eve"])
def test_only_the_target_can_open_it(packets, name):
    with pytest.raises(WireError, match="tag"):
        opened(sealed(packets), name=name)


def test_both_ends_agree_on_which_bodies_are_large():
    """A body's kind and numbers take 22 bytes of it."""
    for size in range(SMALL_BYTES - 24, SMALL_BYTES + 3):
        packets = [Data(1, 0, 0, Block(0, 0, 1, size, 1, bytes(size))), Ack(4, 0)]
        data = sealed(packets)
        assert opened(data).packets == packets
        place = data.index(bytes(size)) + size // 2
        assert refusal(data[:place] + b"x" + data[place + 1 :]) == "tag"


def test_a_body_is_encoded_once_for_all_targets():
    envelope, bodies = Envelope(KEY, "ana"), {}
    body = LARGE[0].body
    first = envelope.entry(Data(1, 0, 0, body), bodies)
    second = envelope.entry(Data(8, 3, 0, body), bodies)
    assert first[1] is second[1] and first[0] != second[0] and len(bodies) == 1


def test_a_counter_is_new_once():
    window = ReplayWindow()
    assert [window.is_new(counter) for counter in (5, 5, 3, 4, 3, 9, 8, 9, 5)] == [
        True, False, True, True, False, True, True, False, False,
    ]  # fmt: skip


def test_what_is_older_than_the_window_is_taken_for_seen():
    window = ReplayWindow()
    assert window.is_new(5000)
    assert window.is_new(5000 - ReplayWindow.WIDTH + 1) and not window.is_new(5000 - ReplayWindow.WIDTH)
    assert window.is_new(5000 + 10 * ReplayWindow.WIDTH)
    assert not window.is_new(5000)


def test_the_window_agrees_with_a_set():
    chance, window, seen, highest = random.Random(3), ReplayWindow(), set(), -1
    for _ in range(20_000):
        counter = max(0, highest + chance.randrange(-1100, 40))
        fresh = counter not in seen and counter > highest - ReplayWindow.WIDTH
        assert window.is_new(counter) == fresh
        seen.add(counter)
        highest = max(highest, counter)


# -- the border of a run

NAMES = ("ana", "bob", "eve")
PROCESSES = {"ana": "a1", "bob": "b1", "eve": "e1"}


def border(me: int, run: str = "r1", incarnation: str | None = None, known: dict[str, str] = PROCESSES) -> Border:
    name = NAMES[me]
    return Border(Envelope(KEY, name), incarnation or PROCESSES[name], run, me, NAMES, known)


def sent(source: Border, target: int, packet=Ack(1, 0)) -> bytes:
    return source.seal(target, 1, 2, 3, [source.envelope.entry(packet, {})])


def refused(target: Border, data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        target.admit(memoryview(data))
    return caught.value.reason


def test_what_a_member_sends_is_let_in_once():
    ana, bob = border(0), border(1)
    data = [sent(ana, 1, Ack(number, 0)) for number in range(3)]
    for number in (2, 0, 1):  # in whatever order
        source, opened = bob.admit(memoryview(data[number]))
        assert (source, opened.packets) == (0, [Ack(number, 0)])
    assert [refused(bob, each) for each in data] == ["replayed"] * 3


def test_what_is_sent_on_or_back_is_refused():
    data = sent(border(0), 1)
    assert refused(border(2), data) == refused(border(0), data) == "tag"


def test_what_belongs_to_another_run_or_to_no_member_is_refused():
    assert refused(border(1), sent(border(0, run="r0"), 1)) == "other run"
    stranger = Border(Envelope(KEY, "joe"), "j1", "r1", 0, ("joe", "bob"), {})
    assert refused(border(1), sent(stranger, 1)) == "stranger"
    own = Border(Envelope(KEY, "bob"), "b2", "r1", 1, NAMES, {})
    assert refused(border(1), sent(own, 1)) == "stranger", "nobody hears himself"


def test_only_the_process_that_belongs_to_the_run_is_let_in():
    former, present, bob = border(0, incarnation="a0"), border(0), border(1)
    assert refused(bob, sent(former, 1)) == "incarnation"
    bob.admit(memoryview(sent(present, 1)))
    assert refused(bob, sent(former, 1)) == "incarnation"


def test_of_a_member_whose_process_is_not_known_the_first_one_heard_counts():
    bob = border(1, known={"bob": "b1"})
    bob.admit(memoryview(sent(border(0), 1)))
    assert refused(bob, sent(border(0, incarnation="a2"), 1)) == "incarnation"


def test_what_is_refused_leaves_nothing_behind():
    bob = border(1, known={"bob": "b1"})
    for data in (sent(border(0, run="r0"), 1), sent(border(0), 2), sent(border(0), 1)[:-1] + b"x"):
        refused(bob, data)
    assert bob.processes[0] is None and bob.windows[0].highest == -1

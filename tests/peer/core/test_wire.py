"""The wire: every packet survives it, nothing but WireError comes of other bytes, and sizes are known beforehand."""

import ast
import struct
import sys
from dataclasses import dataclass, fields
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import peer.stacks  # noqa: F401  (all packets are registered)
from peer.core.blocks import HIGHEST_PLACE, HIGHEST_STAMP, Block, pack
from peer.core.errors import WireError
from peer.core.wire import (
    DEEPEST,
    F64,
    U8,
    U16,
    U32,
    Packet,
    codec_of,
    codec_of_kind,
    decode,
    encode,
    packet_classes,
    register,
    size_of,
)
from peer.links.ack_resend import Ack, Data, Piece
from peer.ordering.fixed_sequencer import Numbered


@dataclass(slots=True)
class Everything(Packet):
    """A packet with a field of every kind."""

    small: U8
    middle: U16
    real: F64
    flag: bool
    numbers: tuple[U32, ...]
    text: str
    more: tuple[U16, ...]
    tail: bytes


register(251, Everything)

CLASSES = packet_classes()
BITS = {"B": 8, "H": 16, "I": 32, "Q": 64}


def values(form, depth):
    """Values of a field's type."""
    if form is bool:
        return st.booleans()
    if form is str:
        return st.text(max_size=20)
    if form is bytes:
        return st.binary(max_size=60)
    if form is Packet:
        return packets(depth + 1)
    if isinstance(form, type) and issubclass(form, Packet):
        return packets_of(form, depth + 1)
    if get_origin(form) is tuple:
        return st.lists(values(get_args(form)[0], depth), max_size=9).map(tuple)
    assert get_origin(form) is Annotated
    code = get_args(form)[1]
    return st.floats(allow_nan=False) if code == "d" else st.integers(0, (1 << BITS[code]) - 1)


def packets_of(cls, depth=1):
    """Packets of one class."""
    if cls is Block:
        return sound_blocks()
    hints = get_type_hints(cls, include_extras=True)
    given = {f.name: values(hints[f.name], depth) for f in fields(cls)}
    if hasattr(cls, "check"):
        given["stamp"] = st.integers(0, HIGHEST_STAMP)
    return st.builds(cls, **given)


@st.composite
def sound_blocks(draw):
    """Blocks whose body is what they say: no other is let in."""
    messages = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
    size, body = pack(messages) if messages else (0, b"")
    sender, stamp = (draw(st.integers(0, (1 << bits) - 1)) for bits in (8, 56))
    return Block(sender, draw(st.integers(0, HIGHEST_PLACE - 9)), len(messages), size, stamp, body)


def packets(depth=1):
    """Packets of any class, with as many inside each other as may be."""
    kinds = [cls for cls in CLASSES.values() if depth < DEEPEST or not codec_of_class(cls).tail_is_packet]
    return st.sampled_from(kinds).flatmap(lambda cls: packets_of(cls, depth))


def codec_of_class(cls):
    return next(codec for kind in range(256) if (codec := codec_of_kind(kind)) and codec.cls is cls)


@pytest.mark.parametrize("name", CLASSES)
@given(data=st.data())
def test_every_packet_survives(name, data):
    packet = data.draw(packets_of(CLASSES[name]))
    coded = encode(packet)
    assert decode(coded) == packet and decode(memoryview(coded)) == packet
    assert size_of(packet) == len(coded)
    assert coded[0] == codec_of(packet).kind


def test_every_packet_class_is_registered():
    def below(cls):
        return {cls, *(kin for child in cls.__subclasses__() for kin in below(child))}

    def by_name(cls):
        return getattr(sys.modules[cls.__module__], cls.__name__, None)

    # `slots=True` makes a class anew, and the one that it replaced may still be about.
    of_ours = {cls for cls in below(Packet) - {Packet} if cls.__module__.startswith("peer.") and by_name(cls) is cls}
    assert of_ours - {*CLASSES.values()} == set()
    assert {"Block", "Data", "Ack", "Ready", "Holds", "Numbered"} <= set(CLASSES)


def outcome(data):
    """The packet, or the reason why there is none; anything but a WireError fails the test."""
    try:
        return decode(data)
    except WireError as error:
        assert error.reason and str(error)
        return error.reason


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x00")
def test_arbitrary_bytes(data):
    packet = outcome(data)
    if isinstance(packet, Packet):
        assert size_of(packet) == len(data)


@given(kind=st.sampled_from([codec_of_class(cls).kind for cls in CLASSES.values()]), rest=st.binary(max_size=120))
def test_arbitrary_bytes_of_a_known_kind(kind, rest):
    outcome(bytes([kind]) + rest)


@given(packet=packets(), data=st.data())
def test_changed_bytes(packet, data):
    """A few bytes changed, cut off, put in or repeated: a packet or a WireError, and what it is survives again."""
    coded = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(coded)))
        match data.draw(st.sampled_from(["change", "cut", "insert", "repeat"])):
            case "change":
                coded[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del coded[at:]
            case "insert":
                coded[at:at] = data.draw(st.binary(max_size=8))
            case "repeat":
                coded += coded[at:]
    found = outcome(bytes(coded))
    if isinstance(found, Packet):
        again = decode(encode(found))
        assert repr(again) == repr(found)  # a changed number may be NaN, which equals nothing


@given(packets().filter(lambda packet: len(encode(packet)) > 1), st.data())
def test_cut_packets_with_a_fixed_end(packet, data):
    """Whatever has no open tail is not taken for whole when it was cut."""
    coded = encode(packet)
    inner = packet
    while codec_of(inner).tail_is_packet:
        inner = getattr(inner, codec_of(inner).tail)
    if codec_of(inner).tail is None:
        assert outcome(coded[: data.draw(st.integers(0, len(coded) - 1))]) in ("cut", "empty")
        assert outcome(coded + b"\x00") == "overlong"


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"\xfe", "kind"),
        (encode(Ack(1, 2))[:-1], "cut"),
        (encode(Ack(1, 2)) + b"!", "overlong"),
        (encode(Data(0, 0, 0, Ack(1, 2)))[:-13], "empty"),
        (encode(Block(1, 2, 3, 4, 5, b"x" * 12))[:-1], "block"),
        (encode(Numbered(7, Block(1, 2, 3, 0, 5, b"x" * 11))), "block"),
        (encode(Everything(1, 2, 3.0, True, (), "ä", (), b"")).replace("ä".encode(), b"\xff\xff"), "text"),
    ],
)
def test_reasons(data, reason):
    assert outcome(data) == reason


def test_lengths_are_checked_before_anything_is_made():
    coded = bytearray(encode(Everything(1, 2, 3.0, True, (), "", (), b"")))
    lengths_at = len(coded) - 6
    for at in (0, 2, 4):
        lying = coded.copy()
        struct.pack_into("<H", lying, lengths_at + at, 65535)
        assert outcome(bytes(lying)) == "cut"


def test_packets_inside_each_other():
    packet = Block(1, 2, 0, 0, 3, b"")
    for depth in range(1, DEEPEST):
        packet = Data(depth, 0, 0, packet)
    assert decode(encode(packet)) == packet
    assert outcome(encode(Data(0, 0, 0, packet))) == "nested"
    endless = encode(Data(0, 0, 0, Ack(0, 0)))[:-13] * 10_000
    assert outcome(endless) == "nested"


def test_a_body_of_another_class_is_refused():
    assert outcome(encode(Numbered(7, Ack(0, 0)))) == "body"


def test_a_body_is_bytes_of_its_own():
    """What was received may be overwritten afterwards."""
    buffer = bytearray(encode(Piece(1, 0, 1, b"abc")))
    piece = decode(memoryview(buffer))
    buffer[-3:] = b"xyz"
    assert piece.data == b"abc" and type(piece.data) is bytes


@pytest.mark.parametrize(
    "annotations, complaint",
    [
        ("tail: bytes; number: U8", "must be the last field"),
        ("names: tuple[U8, ...]; number: U8", "numbers first"),
        ("text: str; body: Packet", "fixed fields only"),
        ("anything: dict", "has no wire form"),
    ],
)
def test_classes_without_a_wire_form(annotations, complaint):
    source = "class Odd(Packet):\n" + "".join(f"    {line.strip()}\n" for line in annotations.split(";"))
    scope = {"Packet": Packet, "U8": U8, "__name__": __name__}
    exec(compile(ast.parse(source), "odd", "exec"), scope)
    odd = dataclass(scope["Odd"])
    with pytest.raises(AssertionError, match=complaint):
        register(252, odd)


def test_a_kind_is_given_once():
    with pytest.raises(AssertionError, match="kind 251 is taken"):
        register(251, Ack)
    with pytest.raises(AssertionError):
        register(256, Ack)
